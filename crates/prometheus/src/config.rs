//! The configuration of one metrics source.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How to reach one Prometheus, or a back end that answers like it.
///
/// Holds no secret: those are in files, which are read again for each query, so that they can be rotated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SourceConfig {
    /// The name by which policies refer to it.
    pub name: String,
    /// The base URL, without `/api/v1`: `http://prometheus.monitoring:9090`, `https://mimir/prometheus`.
    pub url: String,
    /// How the operator proves who it is; absent means not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthConfig>,
    /// Headers of every request, such as `X-Scope-OrgID`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, HeaderValueConfig>,
    /// How long one query may take in all, as `10s` or `1m30s`. Ten seconds if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Parameters of every query, such as `lookback_delta: 1m`. Those that make Thanos and VictoriaMetrics answer for all
    /// that they have, or not at all, are sent in any case; an empty value leaves one out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query_params: BTreeMap<String, String>,
    /// A label of every series, such as `namespace`: policies may select by their own namespace in it, and see no other
    /// series. Absent: they may ask for anything that the source has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confine_to_namespace_by: Option<String>,
    /// The longest reply that is read, in bytes.
    #[serde(default = "default_max_response_bytes")]
    pub max_response_bytes: usize,
    /// How many queries the source is asked at the same time.
    #[serde(default = "default_max_concurrent_queries")]
    pub max_concurrent_queries: usize,
}

/// A bearer token or a user name with a password, and TLS settings with either or alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AuthConfig {
    /// A file that holds a token for `Authorization: Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token_file: Option<PathBuf>,
    /// HTTP basic authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicConfig>,
    /// Whom to trust, and the operator's own certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
}

/// HTTP basic authentication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BasicConfig {
    /// The user's name; holds no colon.
    pub username: String,
    /// A file that holds the password.
    pub password_file: PathBuf,
}

/// TLS settings; need an https URL.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TlsConfig {
    /// A PEM file of the only authorities to trust; absent means those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// A PEM file of the operator's certificate and its chain; needs `keyFile`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// A PEM file of the certificate's key; needs `certFile`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// The DNS name that the server's certificate is for, if it is not the URL's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Takes any certificate. For trials only.
    #[serde(default)]
    pub insecure_skip_verify: bool,
}

/// A header's value: exactly one of the two.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HeaderValueConfig {
    /// The value itself, if it is no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// A file that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_file: Option<PathBuf>,
}

fn default_max_response_bytes() -> usize {
    16 * 1024 * 1024
}

fn default_max_concurrent_queries() -> usize {
    4
}

impl SourceConfig {
    /// A source with every setting at its default.
    pub fn new(name: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            url: url.into(),
            auth: None,
            headers: BTreeMap::new(),
            timeout: None,
            query_params: BTreeMap::new(),
            confine_to_namespace_by: None,
            max_response_bytes: default_max_response_bytes(),
            max_concurrent_queries: default_max_concurrent_queries(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_url_are_enough() {
        let read: SourceConfig = serde_yaml_ng::from_str("{name: main, url: 'http://prometheus:9090'}").unwrap();
        assert_eq!(read, SourceConfig::new("main", "http://prometheus:9090"));
        assert_eq!((read.max_response_bytes, read.max_concurrent_queries), (16 << 20, 4));
    }

    #[test]
    fn every_setting_reads_as_documented() {
        let text = "
name: mimir
url: https://mimir/prometheus
auth:
  basic: {username: snapback, passwordFile: /secrets/password}
  tls: {caFile: /tls/ca.crt, certFile: /tls/tls.crt, keyFile: /tls/tls.key, serverName: mimir.example}
headers:
  X-Scope-OrgID: {value: shop}
  X-Key: {valueFile: /secrets/key}
timeout: 5s
queryParams: {partial_response: 'false'}
maxResponseBytes: 1024
maxConcurrentQueries: 2
";
        let read: SourceConfig = serde_yaml_ng::from_str(text).unwrap();
        assert_eq!(read.headers["X-Scope-OrgID"].value.as_deref(), Some("shop"));
        assert_eq!(read.auth.clone().unwrap().basic.unwrap().username, "snapback");
        let again: SourceConfig = serde_yaml_ng::from_str(&serde_yaml_ng::to_string(&read).unwrap()).unwrap();
        assert_eq!(again, read);
    }

    #[test]
    fn a_misspelt_setting_is_refused_by_name() {
        let text = "{name: main, url: 'http://p', auth: {bearerToken: abc}}";
        let error = serde_yaml_ng::from_str::<SourceConfig>(text).unwrap_err().to_string();
        assert!(error.contains("bearerToken"), "{error}");
    }
}
