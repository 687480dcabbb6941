//! The metric names of a policy.

use snapback_api::v1alpha1::{MetricsSpec, PresetName};
use snapback_prometheus::{CompiledNames, NamesError, Preset};

/// The preset's names, with the policy's own over them. Errors name the part of `spec.metrics` that is wrong.
pub fn metric_names(spec: Option<&MetricsSpec>) -> Result<CompiledNames, NamesError> {
    let spec = spec.cloned().unwrap_or_default();
    let preset = match spec.preset {
        None | Some(PresetName::HttpServer) => Preset::HttpServer,
        Some(PresetName::OpenTelemetry) => Preset::OpenTelemetry,
        Some(PresetName::Istio) => Preset::Istio,
        Some(PresetName::Linkerd) => Preset::Linkerd,
        Some(PresetName::IngressNginx) => Preset::IngressNginx,
        Some(PresetName::Traefik) => Preset::Traefik,
        Some(PresetName::EnvoyGateway) => Preset::EnvoyGateway,
    };
    let mut names = preset.names();
    let own = |name: &mut String, own: Option<String>| {
        if let Some(own) = own {
            *name = own;
        }
    };
    let requests = spec.requests.unwrap_or_default();
    own(&mut names.requests, requests.metric);
    own(&mut names.code_label, requests.code_label);
    own(&mut names.error_codes, requests.error_codes);
    own(&mut names.latency_bucket, spec.latency.unwrap_or_default().metric.map(|base| format!("{base}_bucket")));
    names.service = spec.service;
    let labels = spec.labels.unwrap_or_default();
    own(&mut names.namespace_label, labels.namespace);
    own(&mut names.pod_label, labels.pod);
    names.compile()
}
