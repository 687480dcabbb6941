//! A quantile of the request duration of the new pods.

use super::Readings;
use super::error_rate::whole;
use super::span::{Spans, TOLERANCE};
use crate::analysis::{Quality, Reading};
use crate::policy::Quantile;
use crate::sample::{Increase, Quantiled};

/// One reading per closed span.
///
/// Against `max` the interpolated quantile is compared, as users' dashboards show it. Against the baseline only what
/// the buckets prove is: the new quantile's *lower* bound must be at least `max_ratio` times the baseline, for a step
/// over one bucket bound doubles an interpolated value all by itself.
pub(super) fn readings(quantile: Quantile, max: Option<f64>, max_ratio: Option<f64>, spans: &Spans) -> Readings {
    let closed = spans.closed.iter().filter_map(|span| {
        let new = span.new.durations.quantile(quantile.share())?;
        let baseline = spans
            .baseline(span, |increase| increase.durations.requests())
            .and_then(|increase: &Increase| increase.durations.quantile(quantile.share()))
            .map(Quantiled::estimate);
        let (limit, quality) = compare(new, baseline, max, max_ratio);
        Some(Reading {
            from: span.from,
            to: span.to,
            value: shown(new, limit, quality),
            limit,
            baseline,
            requests: Some(whole(span.new.durations.requests())),
            bad: None,
            quality,
        })
    });
    Readings {
        closed: closed.collect(),
        open_requests: Some(spans.open.as_ref().map_or(0, |span| whole(span.new.durations.requests()))),
    }
}

/// What is told of the quantile: the interpolated value, unless the limit is kept only because the buckets prove less.
fn shown(new: Quantiled, limit: f64, quality: Quality) -> f64 {
    let proven = new.at_least();
    if quality == Quality::Fine && new.estimate() > limit { proven } else { new.estimate() }
}

/// The limit that decided, and what it says. With both limits, either one breaches.
fn compare(new: Quantiled, baseline: Option<f64>, max: Option<f64>, max_ratio: Option<f64>) -> (f64, Quality) {
    let absolute = max.map(|max| (max, against_max(new, baseline, max)));
    let relative = max_ratio.map(|ratio| match baseline {
        Some(baseline) => {
            let limit = baseline * ratio;
            (limit, if new.at_least() >= limit { Quality::Bad } else { Quality::Fine })
        }
        None => (f64::NAN, Quality::NoBaseline),
    });
    let weight = |quality: Quality| match quality {
        Quality::Bad => 4,
        Quality::Common => 3,
        Quality::NoBucketAbove => 2,
        Quality::Fine => 1,
        Quality::NoBaseline | Quality::RollingOut => 0,
    };
    [absolute, relative]
        .into_iter()
        .flatten()
        .max_by_key(|(_, quality)| weight(*quality))
        .unwrap_or((f64::NAN, Quality::NoBaseline))
}

fn against_max(new: Quantiled, baseline: Option<f64>, max: f64) -> Quality {
    let over = match new {
        Quantiled::Above(bound) if bound < max => return Quality::NoBucketAbove,
        Quantiled::Above(_) => true,
        Quantiled::Within { estimate, .. } => estimate > max,
    };
    match baseline {
        _ if !over => Quality::Fine,
        Some(baseline) if baseline > max && new.estimate() <= baseline * TOLERANCE => Quality::Common,
        _ => Quality::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(lower: f64, estimate: f64) -> Quantiled {
        Quantiled::Within { lower, estimate }
    }

    #[test]
    fn a_step_over_one_bucket_bound_is_no_doubling() {
        // 49 ms and 51 ms lie in neighbouring buckets, whose interpolated values are 48.75 ms and 97.5 ms.
        assert_eq!(compare(within(0.05, 0.0975), Some(0.04875), None, Some(2.0)).1, Quality::Fine);
        assert_eq!(compare(within(0.1, 0.2425), Some(0.04875), None, Some(2.0)).1, Quality::Bad);
    }

    #[test]
    fn what_keeps_its_limit_is_not_told_to_be_over_it() {
        let by_buckets = within(0.1, 0.2425);
        assert!((shown(by_buckets, 0.114, Quality::Fine) - 0.1).abs() < 1e-9);
        assert!((shown(by_buckets, 0.098, Quality::Bad) - 0.2425).abs() < 1e-9);
        assert!((shown(by_buckets, 0.3, Quality::Fine) - 0.2425).abs() < 1e-9);
    }

    #[test]
    fn without_a_baseline_a_ratio_says_nothing() {
        assert_eq!(compare(within(0.5, 0.7), None, None, Some(2.0)).1, Quality::NoBaseline);
    }

    #[test]
    fn with_both_limits_either_one_breaches() {
        assert_eq!(compare(within(0.5, 0.7), Some(0.6), Some(0.5), Some(2.0)).1, Quality::Common);
        assert_eq!(compare(within(0.5, 0.7), None, Some(0.5), Some(2.0)), (0.5, Quality::Bad));
        assert_eq!(compare(within(0.25, 0.3), Some(0.1), Some(0.5), Some(2.0)).1, Quality::Bad);
        assert_eq!(compare(within(0.25, 0.3), None, Some(0.5), Some(2.0)).1, Quality::Fine);
    }

    #[test]
    fn a_limit_over_the_last_bound_cannot_be_judged() {
        assert_eq!(compare(Quantiled::Above(10.0), None, Some(20.0), None).1, Quality::NoBucketAbove);
        assert_eq!(compare(Quantiled::Above(10.0), None, Some(10.0), None).1, Quality::Bad);
    }

    #[test]
    fn slowness_that_was_there_before_is_not_the_releases() {
        assert_eq!(compare(within(0.5, 0.7), Some(0.69), Some(0.5), None).1, Quality::Common);
        assert_eq!(compare(within(1.0, 1.5), Some(0.69), Some(0.5), None).1, Quality::Bad);
    }

    #[test]
    fn what_lies_on_its_limit_keeps_it() {
        assert_eq!(compare(within(0.25, 0.5), None, Some(0.5), None).1, Quality::Fine);
        assert_eq!(compare(within(0.5, 0.52), Some(0.5), Some(0.5), None).1, Quality::Bad, "so did the baseline");
        assert_eq!(shown(within(0.1, 0.2425), 0.2425, Quality::Fine), 0.2425);
    }
}
