//! What an application calls its metrics.

use promql_parser::parser::{Expr, parse};
use regex::Regex;
use thiserror::Error;

use crate::front::Front;

/// The metrics and labels that the built-in checks ask for.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricNames {
    /// A counter of requests.
    pub requests: String,
    /// Its label with the status code.
    pub code_label: String,
    /// A regular expression of the codes that are errors; must match the whole code.
    pub error_codes: String,
    /// The buckets of a classic histogram of request durations. Its `+Inf` bucket is also the count.
    pub latency_bucket: String,
    /// The label with the namespace.
    pub namespace_label: String,
    /// The label with the pod's name.
    pub pod_label: String,
    /// How many seconds one unit of the histogram's bounds is: 1 for seconds, 0.001 for milliseconds.
    pub unit_seconds: f64,
    /// A label that both must have, with its value: a proxy counts what it receives and what it sends under one name.
    pub only: Option<(&'static str, &'static str)>,
    /// The proxy that counts, if it stands in front of all pods and cannot tell them apart.
    pub front: Option<Front>,
    /// What such a proxy knows the target by; the target's own name if absent.
    pub service: Option<String>,
}

/// A family of applications whose metrics have the same names.
///
/// A new family is one more variant, and one more row of [`Preset::names`]. Those that count by pod can tell one
/// revision from another; a proxy in front of the pods ([`Front`]) cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// The names that most Prometheus client libraries give: `http_requests_total`.
    HttpServer,
    /// OpenTelemetry's semantic conventions for HTTP servers, as Prometheus names them.
    OpenTelemetry,
    /// What Istio's sidecars count of the requests that they receive (`reporter="destination"`).
    Istio,
    /// What Linkerd's proxies count of the requests that they receive (`direction="inbound"`).
    Linkerd,
    /// What ingress-nginx counts by Service.
    IngressNginx,
    /// What Traefik counts by service.
    Traefik,
    /// What the proxies of Envoy Gateway count by rule of a route.
    EnvoyGateway,
}

impl Preset {
    /// All presets.
    pub const ALL: [Self; 7] = [
        Self::HttpServer,
        Self::OpenTelemetry,
        Self::Istio,
        Self::Linkerd,
        Self::IngressNginx,
        Self::Traefik,
        Self::EnvoyGateway,
    ];

    /// The proxy in front of the pods that counts, if it is not the pods or their sidecars.
    pub fn front(self) -> Option<Front> {
        match self {
            Self::HttpServer | Self::OpenTelemetry | Self::Istio | Self::Linkerd => None,
            Self::IngressNginx => Some(Front::IngressNginx),
            Self::Traefik => Some(Front::Traefik),
            Self::EnvoyGateway => Some(Front::EnvoyGateway),
        }
    }

    /// The names that the family uses.
    pub fn names(self) -> MetricNames {
        let (requests, code_label, latency_bucket) = match self {
            Self::HttpServer => ("http_requests_total", "code", "http_request_duration_seconds_bucket"),
            Self::OpenTelemetry => (
                "http_server_request_duration_seconds_count",
                "http_response_status_code",
                "http_server_request_duration_seconds_bucket",
            ),
            Self::Istio => ("istio_requests_total", "response_code", "istio_request_duration_milliseconds_bucket"),
            // Linkerd's own word for a failure knows gRPC's statuses as well.
            Self::Linkerd => ("response_total", "classification", "response_latency_ms_bucket"),
            // Of the two durations the one that leaves the client's own slowness out.
            Self::IngressNginx => (
                "nginx_ingress_controller_requests",
                "status",
                "nginx_ingress_controller_response_duration_seconds_bucket",
            ),
            Self::Traefik => {
                ("traefik_service_requests_total", "code", "traefik_service_request_duration_seconds_bucket")
            }
            Self::EnvoyGateway => {
                ("envoy_cluster_upstream_rq_xx", "envoy_response_code_class", "envoy_cluster_upstream_rq_time_bucket")
            }
        };
        let (error_codes, unit_seconds, only) = match self {
            Self::HttpServer | Self::OpenTelemetry | Self::Traefik => ("5..", 1.0, None),
            // 0: the connection broke before there was a code.
            Self::Istio => ("5..|0", 0.001, Some(("reporter", "destination"))),
            Self::Linkerd => ("failure", 0.001, Some(("direction", "inbound"))),
            // With --report-status-classes it counts 5xx.
            Self::IngressNginx => ("5..|5xx", 1.0, None),
            // By class, in milliseconds.
            Self::EnvoyGateway => ("5", 0.001, None),
        };
        MetricNames {
            requests: requests.to_owned(),
            code_label: code_label.to_owned(),
            error_codes: error_codes.to_owned(),
            latency_bucket: latency_bucket.to_owned(),
            namespace_label: "namespace".to_owned(),
            pod_label: "pod".to_owned(),
            unit_seconds,
            only,
            front: self.front(),
            service: None,
        }
    }
}

impl From<Preset> for MetricNames {
    fn from(preset: Preset) -> Self {
        preset.names()
    }
}

/// Why names cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NamesError {
    /// Not a metric name.
    #[error("{0} is no metric name: {1:?}")]
    Metric(&'static str, String),
    /// Not a label name.
    #[error("{0} is no label name: {1:?}")]
    Label(&'static str, String),
    /// Not a regular expression.
    #[error("errorCodes is no regular expression: {0:?}")]
    ErrorCodes(String),
    /// Not a positive number.
    #[error("the histogram's unit must be a positive number of seconds")]
    Unit,
    /// Not the name of a Service or route.
    #[error("service is no name of a Service or route: {0:?}")]
    Service(String),
}

/// Names that were checked, with the regular expression ready for use.
#[derive(Debug, Clone)]
pub struct CompiledNames {
    names: MetricNames,
    error_codes: Regex,
}

impl MetricNames {
    /// Checks the names, so that they can stand in a query.
    ///
    /// # Errors
    /// Names the first that cannot.
    pub fn compile(self) -> Result<CompiledNames, NamesError> {
        for (field, name) in [("requests", &self.requests), ("latencyBucket", &self.latency_bucket)] {
            if !is_name(name, true) || !selects(name) {
                return Err(NamesError::Metric(field, name.clone()));
            }
        }
        for (field, name) in
            [("codeLabel", &self.code_label), ("namespaceLabel", &self.namespace_label), ("podLabel", &self.pod_label)]
        {
            if !is_name(name, false) || !groups(name) {
                return Err(NamesError::Label(field, name.clone()));
            }
        }
        if let Some(service) = self.service.as_ref().filter(|service| !is_object_name(service)) {
            return Err(NamesError::Service(service.clone()));
        }
        if !(self.unit_seconds.is_finite() && self.unit_seconds > 0.0) {
            return Err(NamesError::Unit);
        }
        // Compiled alone first: a stray parenthesis must not become well-formed by the anchors around it.
        let wrong = |_| NamesError::ErrorCodes(self.error_codes.clone());
        Regex::new(&self.error_codes).map_err(wrong)?;
        let error_codes = Regex::new(&format!("^(?:{})$", self.error_codes)).map_err(wrong)?;
        Ok(CompiledNames { names: self, error_codes })
    }
}

impl CompiledNames {
    /// The names.
    pub fn names(&self) -> &MetricNames {
        &self.names
    }

    /// By what a target's counters are asked for: the pattern of its pods, or what the proxy in front of them knows it by.
    pub fn whose<'a>(&'a self, target: &'a str, pods: &'a str) -> &'a str {
        match self.names.front {
            None => pods,
            Some(_) => self.names.service.as_deref().unwrap_or(target),
        }
    }

    /// Whether a status code is an error.
    pub fn is_error(&self, code: &str) -> bool {
        self.error_codes.is_match(code)
    }
}

/// Prometheus' classic names. Those in quotes (`{"http.requests"}`) are not supported: no preset needs them.
pub(crate) fn is_name(text: &str, colons: bool) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    text.starts_with(|c: char| fits(c) && !c.is_ascii_digit()) && text.chars().all(fits)
}

/// Whether a name, where a metric's is due, is none of the language's own words, such as `group_left` or `inf`.
fn selects(name: &str) -> bool {
    matches!(parse(&format!("{name}{{}}")), Ok(Expr::VectorSelector(_)))
}

/// The same of a label's name.
fn groups(name: &str) -> bool {
    parse(&format!(r#"sum by ({name}) (x{{{name}="x"}})"#)).is_ok()
}

/// What Kubernetes takes as the name of an object (RFC 1123).
fn is_object_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_part =
        |part: &str| part.starts_with(fits) && part.ends_with(fits) && part.chars().all(|c| fits(c) || c == '-');
    text.len() <= 253 && text.split('.').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_compiles() {
        for preset in Preset::ALL {
            assert!(preset.names().compile().is_ok(), "{preset:?}");
        }
    }

    #[test]
    fn a_proxy_in_front_is_asked_by_the_service_and_everything_else_by_pods() {
        let whose = |preset: Preset| preset.names().compile().unwrap().whose("web", "(web-1)").to_owned();
        assert_eq!((whose(Preset::Istio), whose(Preset::Traefik)), ("(web-1)".to_owned(), "web".to_owned()));
        let own =
            MetricNames { service: Some("web-api".to_owned()), ..Preset::IngressNginx.names() }.compile().unwrap();
        assert_eq!(own.whose("web", "(web-1)"), "web-api");
    }

    #[test]
    fn classes_of_codes_are_errors_where_a_proxy_counts_by_class() {
        let is_error = |preset: Preset, code: &str| preset.names().compile().unwrap().is_error(code);
        assert!(is_error(Preset::IngressNginx, "502") && is_error(Preset::IngressNginx, "5xx"));
        assert!(is_error(Preset::EnvoyGateway, "5") && !is_error(Preset::EnvoyGateway, "4"));
    }

    #[test]
    fn an_error_code_must_match_as_a_whole() {
        let names = Preset::HttpServer.names().compile().unwrap();
        assert!(names.is_error("503"));
        assert!(!names.is_error("1503") && !names.is_error("5030") && !names.is_error("200"));
        let either = MetricNames { error_codes: "5..|429".to_owned(), ..Preset::HttpServer.names() }.compile().unwrap();
        assert!(either.is_error("429") && !either.is_error("4290"));
    }

    #[test]
    fn names_that_would_change_the_query_are_refused() {
        let base = || Preset::HttpServer.names();
        let refused = |names: MetricNames| names.compile().unwrap_err();
        let metric = MetricNames { requests: "up} or vector(1".to_owned(), ..base() };
        assert!(matches!(refused(metric), NamesError::Metric("requests", _)));
        for word in ["group_left", "bool", "inf", "NaN"] {
            let metric = MetricNames { latency_bucket: word.to_owned(), ..base() };
            assert!(matches!(refused(metric), NamesError::Metric("latencyBucket", _)), "{word}");
        }
        let label = MetricNames { code_label: "Inf".to_owned(), ..base() };
        assert!(matches!(refused(label), NamesError::Label("codeLabel", _)));
        assert!(MetricNames { requests: "sum".to_owned(), ..base() }.compile().is_ok(), "a word that may be a name");
        let label = MetricNames { pod_label: "pod:name".to_owned(), ..base() };
        assert!(matches!(refused(label), NamesError::Label("podLabel", _)));
        let codes = MetricNames { error_codes: "5..)|(".to_owned(), ..base() };
        assert!(matches!(refused(codes), NamesError::ErrorCodes(_)));
        let unit = MetricNames { unit_seconds: 0.0, ..base() };
        assert_eq!(refused(unit), NamesError::Unit);
        let service = MetricNames { service: Some("web\"} or up{a=\"".to_owned()), ..Preset::Traefik.names() };
        assert!(matches!(refused(service), NamesError::Service(_)));
    }
}
