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
/// (response_total, as its proxies count what they receive). Default: HttpServer.
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
