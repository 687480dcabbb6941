//! The service's metrics, under the names of either preset.

use std::sync::atomic::{AtomicU64, Ordering};

const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What the metrics are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Names {
    /// `http_requests_total{code}` and `http_request_duration_seconds`.
    Http,
    /// `http_server_request_duration_seconds{http_response_status_code}`.
    Otel,
    /// No request metrics at all.
    None,
}

/// Counts by status code: good (200) and bad (500).
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    codes: [Counted; 2],
    orders: AtomicU64,
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
        let (histogram, label) = match names {
            Names::None => return out,
            Names::Http => ("http_request_duration_seconds", "code"),
            Names::Otel => ("http_server_request_duration_seconds", "http_response_status_code"),
        };
        let codes = ["200", "500"].into_iter().zip(&self.codes);
        if names == Names::Http {
            out += "# TYPE http_requests_total counter\n";
            for (code, counted) in codes.clone() {
                let requests = counted.requests.load(Ordering::Relaxed);
                out += &format!("http_requests_total{{code=\"{code}\"}} {requests}\n");
            }
        }
        out += &format!("# TYPE {histogram} histogram\n");
        for (code, counted) in codes {
            let requests = counted.requests.load(Ordering::Relaxed);
            for (bucket, bound) in counted.buckets.iter().zip(BOUNDS) {
                let at_most = bucket.load(Ordering::Relaxed).min(requests);
                out += &format!("{histogram}_bucket{{{label}=\"{code}\",le=\"{bound}\"}} {at_most}\n");
            }
            #[allow(clippy::cast_precision_loss, reason = "a few hours of microseconds")]
            let sum = counted.micros.load(Ordering::Relaxed) as f64 / 1e6;
            out += &format!("{histogram}_bucket{{{label}=\"{code}\",le=\"+Inf\"}} {requests}\n");
            out += &format!(
                "{histogram}_sum{{{label}=\"{code}\"}} {sum}\n{histogram}_count{{{label}=\"{code}\"}} {requests}\n"
            );
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{Metrics, Names};

    #[test]
    fn both_presets_tell_the_same_requests() {
        let metrics = Metrics::default();
        metrics.request(false, 0.03, true);
        metrics.request(true, 0.3, false);
        let http = metrics.text(Names::Http, "v1");
        assert!(http.contains("http_requests_total{code=\"500\"} 1\n"), "{http}");
        assert!(http.contains("http_request_duration_seconds_bucket{code=\"200\",le=\"0.05\"} 1\n"), "{http}");
        assert!(http.contains("http_request_duration_seconds_bucket{code=\"200\",le=\"0.025\"} 0\n"), "{http}");
        assert!(http.contains("orders_total 1\n"));
        let otel = metrics.text(Names::Otel, "v1");
        assert!(
            otel.contains("http_server_request_duration_seconds_count{http_response_status_code=\"500\"} 1\n"),
            "{otel}"
        );
        assert!(!metrics.text(Names::None, "v1").contains("http_"));
    }
}
