//! What pods are asked after an undo.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One GET that the good revision's pods must answer with a code from 200 to 399. It goes to their own addresses, and a
/// redirect is not followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct HttpProbeSpec {
    /// The path, with a query if you like, such as "/healthz".
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = ("self.matches('^/[!-\"$-~]*$')", "must begin with / and hold only visible ASCII characters other than #; percent-encode the rest"))]
    pub path: String,
    /// The port of the pods, not of a Service.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// HTTP or HTTPS, whose certificate is not checked. Default: HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<SchemeName>,
}

/// HTTP or HTTPS, whose certificate is not checked. Default: HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SchemeName {
    /// Plain.
    #[serde(rename = "HTTP")]
    Http,
    /// TLS, without a check of the certificate.
    #[serde(rename = "HTTPS")]
    Https,
}
