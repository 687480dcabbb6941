//! The service's metrics, under the names of a preset; for a mesh as its proxy would have them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What the metrics are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Names {
    /// `http_requests_total{code}` and `http_request_duration_seconds`.
    Http,
    /// `http_server_request_duration_seconds{http_response_status_code}`.
    Otel,
    /// `istio_requests_total` and `istio_request_duration_milliseconds`.
    Istio,
    /// `response_total` and `response_latency_ms`.
    Linkerd,
    /// No request metrics at all.
    None,
}

/// Counts by status code: good (200) and bad (500).
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    codes: [Counted; 2],
    orders: AtomicU64,
    /// When the first request failed: microseconds since 1970, 0 before.
    first_failure: AtomicU64,
}

#[derive(Debug, Default)]
struct Counted {
    requests: AtomicU64,
    micros: AtomicU64,
    buckets: [AtomicU64; 11],
}

impl Metrics {
    /// Counts one answered request.
    pub(crate) fn request(&self, failed: bool, seconds: f64, ordered: bool) {
        let counted = &self.codes[usize::from(failed)];
        if failed && self.first_failure.load(Ordering::Relaxed) == 0 {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).as_ref().map_or(0, Duration::as_micros);
            self.first_failure.store(u64::try_from(now).unwrap_or(0), Ordering::Relaxed);
        }
        counted.requests.fetch_add(1, Ordering::Relaxed);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few seconds")]
        counted.micros.fetch_add((seconds * 1e6) as u64, Ordering::Relaxed);
        for (bucket, bound) in counted.buckets.iter().zip(BOUNDS) {
            if seconds <= bound {
                bucket.fetch_add(1, Ordering::Relaxed);
            }
        }
        if ordered {
            self.orders.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The text that Prometheus reads.
    pub(crate) fn text(&self, names: Names, version: &str) -> String {
        let mut out = format!("# TYPE sample_build_info gauge\nsample_build_info{{version=\"{version}\"}} 1\n");
        out += &format!("# TYPE orders_total counter\norders_total {}\n", self.orders.load(Ordering::Relaxed));
        let first_failure = self.first_failure.load(Ordering::Relaxed);
        if first_failure > 0 {
            let (seconds, micros) = (first_failure / 1_000_000, first_failure % 1_000_000);
            out += &format!(
                "# TYPE sample_first_failure_seconds gauge\nsample_first_failure_seconds {seconds}.{micros:06}\n"
            );
        }
        let shape = match names {
            Names::None => return out,
            Names::Http => Shape::of("http_request_duration_seconds", Some("http_requests_total"), &["code"], ""),
            Names::Otel => Shape::of("http_server_request_duration_seconds", None, &["http_response_status_code"], ""),
            Names::Istio => Shape {
                unit: 1e3,
                // What the sidecar sends, too, and fails at: that is another's business.
                beside: "istio_requests_total{reporter=\"source\",response_code=\"503\"} 1000000\n",
                ..Shape::of(
                    "istio_request_duration_milliseconds",
                    Some("istio_requests_total"),
                    &["response_code"],
                    "reporter=\"destination\",request_protocol=\"http\",",
                )
            },
            Names::Linkerd => Shape {
                unit: 1e3,
                beside: "response_total{direction=\"outbound\",classification=\"failure\"} 1000000\n",
                ..Shape::of(
                    "response_latency_ms",
                    Some("response_total"),
                    &["status_code", "classification"],
                    "direction=\"inbound\",tls=\"true\",",
                )
            },
        };
        out + &shape.text(&self.codes)
    }
}

/// How a family of metrics is written.
struct Shape {
    histogram: &'static str,
    counter: Option<&'static str>,
    labels: &'static [&'static str],
    more: &'static str,
    /// Units a second.
    unit: f64,
    /// Further lines under the counter's name.
    beside: &'static str,
}

impl Shape {
    fn of(
        histogram: &'static str,
        counter: Option<&'static str>,
        labels: &'static [&'static str],
        more: &'static str,
    ) -> Self {
        Self { histogram, counter, labels, more, unit: 1.0, beside: "" }
    }

    fn text(&self, codes: &[Counted; 2]) -> String {
        let Self { histogram, more, unit, .. } = self;
        let codes = ["200", "500"].into_iter().zip(codes).map(|(code, counted)| {
            let value = |label: &str| match (label, code) {
                ("classification", "500") => "failure",
                ("classification", _) => "success",
                _ => code,
            };
            let labels: Vec<String> = self.labels.iter().map(|label| format!("{label}=\"{}\"", value(label))).collect();
            (format!("{more}{}", labels.join(",")), counted, counted.requests.load(Ordering::Relaxed))
        });
        let mut out = String::new();
        if let Some(counter) = self.counter {
            out += &format!("# TYPE {counter} counter\n{}", self.beside);
            for (labels, _, requests) in codes.clone() {
                out += &format!("{counter}{{{labels}}} {requests}\n");
            }
        }
        out += &format!("# TYPE {histogram} histogram\n");
        for (labels, counted, requests) in codes {
            for (bucket, bound) in counted.buckets.iter().zip(BOUNDS) {
                let at_most = bucket.load(Ordering::Relaxed).min(requests);
                out += &format!("{histogram}_bucket{{{labels},le=\"{}\"}} {at_most}\n", bound * unit);
            }
            #[allow(clippy::cast_precision_loss, reason = "a few hours of microseconds")]
            let sum = counted.micros.load(Ordering::Relaxed) as f64 / 1e6 * unit;
            out += &format!("{histogram}_bucket{{{labels},le=\"+Inf\"}} {requests}\n");
            out += &format!("{histogram}_sum{{{labels}}} {sum}\n{histogram}_count{{{labels}}} {requests}\n");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{Metrics, Names};

    #[test]
    fn all_presets_tell_the_same_requests() {
        let metrics = Metrics::default();
        metrics.request(false, 0.03, true);
        metrics.request(true, 0.3, false);
        let http = metrics.text(Names::Http, "v1");
        assert!(http.contains("http_requests_total{code=\"500\"} 1\n"), "{http}");
        assert!(http.contains("http_request_duration_seconds_bucket{code=\"200\",le=\"0.05\"} 1\n"), "{http}");
        assert!(http.contains("http_request_duration_seconds_bucket{code=\"200\",le=\"0.025\"} 0\n"), "{http}");
        assert!(http.contains("orders_total 1\n"));
        assert!(http.contains("\nsample_first_failure_seconds 1"), "{http}");
        let otel = metrics.text(Names::Otel, "v1");
        assert!(
            otel.contains("http_server_request_duration_seconds_count{http_response_status_code=\"500\"} 1\n"),
            "{otel}"
        );
        let istio = metrics.text(Names::Istio, "v1");
        let received =
            "istio_requests_total{reporter=\"destination\",request_protocol=\"http\",response_code=\"500\"} 1\n";
        assert!(istio.contains(received) && istio.contains(",le=\"50\"} 1\n"), "{istio}");
        let linkerd = metrics.text(Names::Linkerd, "v1");
        assert!(linkerd.contains("status_code=\"500\",classification=\"failure\"} 1\n"), "{linkerd}");
        assert!(!metrics.text(Names::None, "v1").contains("http_"));
        assert!(!Metrics::default().text(Names::Http, "v1").contains("first_failure"), "nothing has failed");
    }
}
