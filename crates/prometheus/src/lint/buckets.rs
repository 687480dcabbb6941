//! Can a histogram show that a latency limit is exceeded?
//!
//! "p95 over 500 ms" is tested as "more than 5 % of the requests are slower than the smallest bound that is not under
//! 500 ms" ([`Histogram::bound_at`]). Above the highest finite bound there is nothing to count; and where that bound is
//! far over the limit, what lies between is let pass.

use snapback_core::checks::{Unit, format_value};
use snapback_core::sample::Histogram;

use super::{Code, Finding, Level};
use crate::names::MetricNames;

/// How far over the limit the bound may be that slow requests are counted from, as a part of the limit.
const COARSE: f64 = 0.2;

/// client_golang's `DefBuckets`, which most client libraries have taken over; seconds.
const CLIENT_LIBRARIES: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// The advice of OpenTelemetry's semantic conventions for `http.server.request.duration`; seconds.
const OPEN_TELEMETRY: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// The bounds that a well-known metric has unless its application chose others.
fn conventional(names: &MetricNames) -> Option<&'static [f64]> {
    match names.latency_bucket.as_str() {
        "http_request_duration_seconds_bucket" => Some(CLIENT_LIBRARIES),
        "http_server_request_duration_seconds_bucket" => Some(OPEN_TELEMETRY),
        _ => None,
    }
}

/// Whether the bounds that the metric has by convention can show a limit of `max` seconds. Only the application knows
/// better, so what is found is a warning.
pub fn limit_by_convention(field: &str, max: f64, names: &MetricNames) -> Option<Finding> {
    let bounds = conventional(names)?;
    let highest = bounds.iter().copied().fold(0.0, f64::max);
    if histogram(bounds).bound_at(max).is_some() {
        return None;
    }
    let problem = format!(
        "{} has no bucket over {}, unless your application chose others, so nothing can show a limit of {}",
        names.latency_bucket.trim_end_matches("_bucket"),
        seconds(highest),
        seconds(max)
    );
    let fix = format!("write {} or less, or give the histogram a bucket of {}", seconds(highest), seconds(max));
    Some(Finding { level: Level::Warning, ..Finding::new(Code::LatencyBucketMissing, field, problem, fix) })
}

/// Whether the bounds that pods have, in seconds, can show a limit of `max` seconds. `is_counted` says whether slow
/// requests are counted (`Sequential`), or a quantile is interpolated (`Consecutive`).
pub fn limit_by_bounds(field: &str, max: f64, bounds: &[f64], is_counted: bool) -> Option<Finding> {
    let finite: Vec<f64> = bounds.iter().copied().filter(|bound| bound.is_finite()).collect();
    let (max_text, below) = (seconds(max), finite.iter().copied().filter(|bound| *bound < max).fold(0.0, f64::max));
    match histogram(&finite).bound_at(max) {
        None if finite.is_empty() => {
            let problem = format!("no bucket can show a limit of {max_text}: the pods' histogram has none but +Inf");
            Some(Finding::new(
                Code::LatencyBucketMissing,
                field,
                problem,
                "give it buckets around the limit".to_owned(),
            ))
        }
        None => {
            let highest = finite.iter().copied().fold(0.0, f64::max);
            let problem = format!(
                "no bucket can show a limit of {max_text}: the highest bound of the pods is {}",
                seconds(highest)
            );
            let fix = format!("write {} or less, or give the histogram a bucket of {max_text}", seconds(highest));
            Some(Finding::new(Code::LatencyBucketMissing, field, problem, fix))
        }
        Some(bound) if is_counted && bound > max * (1.0 + COARSE) => {
            let problem = format!(
                "there is no bucket at {max_text}: only requests slower than {} are counted as slow",
                seconds(bound)
            );
            let lower = if below > 0.0 { format!("{} or ", seconds(below)) } else { String::new() };
            let fix = format!("write {lower}{}, or give the histogram a bucket of {max_text}", seconds(bound));
            Some(Finding::new(Code::LatencyBucketCoarse, field, problem, fix))
        }
        Some(_) => None,
    }
}

/// What a limit is told of that a look at the pods' histograms found no bucket for.
pub fn limit_not_shown(field: &str, limit: &str) -> Finding {
    let problem = format!("no bucket of the pods' histogram can show a limit of {limit}");
    let fix = format!("lower it, or give the histogram a bucket of {limit}");
    Finding::new(Code::LatencyBucketMissing, field, problem, fix)
}

fn histogram(bounds: &[f64]) -> Histogram {
    let mut histogram = Histogram::default();
    for bound in bounds {
        histogram.record(*bound, 0.0);
    }
    histogram
}

fn seconds(value: f64) -> String {
    format_value(Unit::Seconds, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Preset;

    #[test]
    fn a_limit_over_the_highest_bound_cannot_be_shown() {
        let found = limit_by_bounds("f", 30.0, &[0.1, 1.0, 10.0, f64::INFINITY], true).unwrap();
        assert_eq!((found.code, found.level), (Code::LatencyBucketMissing, Level::Error));
        assert_eq!(
            found.to_string(),
            "f: no bucket can show a limit of 30s: the highest bound of the pods is 10s; write 10s or less, or give the \
             histogram a bucket of 30s"
        );
        assert_eq!(limit_by_bounds("f", 10.0, &[0.1, 10.0, f64::INFINITY], true), None);
        let none = limit_by_bounds("f", 10.0, &[f64::INFINITY], true).unwrap();
        assert!(none.problem.ends_with("has none but +Inf"), "{none}");
    }

    #[test]
    fn a_limit_far_under_the_next_bound_is_coarse_where_requests_are_counted() {
        let bounds = [1.0, 2.5, f64::INFINITY];
        let found = limit_by_bounds("f", 1.5, &bounds, true).unwrap();
        assert_eq!((found.code, found.level), (Code::LatencyBucketCoarse, Level::Warning));
        assert_eq!(found.fix, "write 1s or 2.5s, or give the histogram a bucket of 1.5s");
        assert_eq!(limit_by_bounds("f", 1.5, &bounds, false), None, "interpolated");
        assert_eq!(limit_by_bounds("f", 2.2, &bounds, true), None, "near enough");
        assert_eq!(limit_by_bounds("f", 0.4, &bounds, true).unwrap().fix.split(',').next(), Some("write 1s"));
    }

    #[test]
    fn conventions_are_only_a_warning_and_only_where_there_is_one() {
        let names = Preset::HttpServer.names();
        let found = limit_by_convention("f", 30.0, &names).unwrap();
        assert_eq!((found.code, found.level), (Code::LatencyBucketMissing, Level::Warning));
        assert!(found.problem.contains("http_request_duration_seconds has no bucket over 10s"), "{found}");
        assert_eq!(limit_by_convention("f", 10.0, &names), None);
        assert_eq!(limit_by_convention("f", 30.0, &Preset::Istio.names()), None);
        let own = MetricNames { latency_bucket: "app_seconds_bucket".to_owned(), ..names };
        assert_eq!(limit_by_convention("f", 30.0, &own), None);
    }
}
