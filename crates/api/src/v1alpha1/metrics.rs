//! Where the numbers come from.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which source is asked, and what the metrics are called there.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
pub struct MetricsSpec {
    /// Name of a source in the operator's configuration. Default: the one the administrator made the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), extend("pattern" = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub source: Option<String>,
    /// A set of well-known metric names. Default: HttpServer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<PresetName>,
    /// What the proxy knows the target by, with the presets IngressNginx and Traefik (its Service, for Traefik's own
    /// IngressRoutes their name) and EnvoyGateway (its HTTPRoute or GRPCRoute). Default: the target's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), extend("pattern" = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub service: Option<String>,
    /// Own names for the request counter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<RequestsMetric>,
    /// Own names for the duration histogram.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyMetric>,
    /// Own names of the labels that say whose sample it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<LabelNames>,
}

/// A set of well-known metric names: HttpServer (http_requests_total with the label code,
/// http_request_duration_seconds), OpenTelemetry (http_server_request_duration_seconds with the label
/// http_response_status_code), Istio (istio_requests_total, as its sidecars count what they receive), Linkerd
/// (response_total, as its proxies count what they receive); and by Service, old and new pods together: IngressNginx
/// (nginx_ingress_controller_requests), Traefik (traefik_service_requests_total), EnvoyGateway
/// (envoy_cluster_upstream_rq_xx). Default: HttpServer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PresetName {
    /// http_requests_total{code} and http_request_duration_seconds.
    HttpServer,
    /// http_server_request_duration_seconds with http_response_status_code.
    OpenTelemetry,
    /// istio_requests_total and istio_request_duration_milliseconds, with reporter="destination".
    Istio,
    /// response_total and response_latency_ms, with direction="inbound".
    Linkerd,
    /// nginx_ingress_controller_requests and nginx_ingress_controller_response_duration_seconds, by Service.
    IngressNginx,
    /// traefik_service_requests_total and traefik_service_request_duration_seconds, by service.
    Traefik,
    /// envoy_cluster_upstream_rq_xx and envoy_cluster_upstream_rq_time, by rule of a route.
    EnvoyGateway,
}

impl PresetName {
    /// Whether a proxy in front of all pods counts, which cannot tell the new ones from the old.
    pub fn is_in_front(self) -> bool {
        match self {
            Self::HttpServer | Self::OpenTelemetry | Self::Istio | Self::Linkerd => false,
            Self::IngressNginx | Self::Traefik | Self::EnvoyGateway => true,
        }
    }
}

/// Names for the request counter.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestsMetric {
    /// The counter, such as http_requests_total.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), extend("pattern" = "^[a-zA-Z_:][a-zA-Z0-9_:]*$"))]
    pub metric: Option<String>,
    /// The label that holds the status code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), extend("pattern" = "^[a-zA-Z_][a-zA-Z0-9_]*$"))]
    pub code_label: Option<String>,
    /// Regular expression for the codes that are errors, matched whole. Default: 5..
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub error_codes: Option<String>,
}

/// Names for the duration histogram.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
pub struct LatencyMetric {
    /// The histogram without _bucket, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), extend("pattern" = "^[a-zA-Z_:][a-zA-Z0-9_:]*$"))]
    pub metric: Option<String>,
}

/// Names of the labels that say whose sample it is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
pub struct LabelNames {
    /// The label that holds the namespace. Default: namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), extend("pattern" = "^[a-zA-Z_][a-zA-Z0-9_]*$"))]
    pub namespace: Option<String>,
    /// The label that holds the pod's name. Default: pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), extend("pattern" = "^[a-zA-Z_][a-zA-Z0-9_]*$"))]
    pub pod: Option<String>,
}
