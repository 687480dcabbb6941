//! Failed requests among all requests of the new pods.

use super::Readings;
use super::span::{Spans, TOLERANCE};
use crate::analysis::{Quality, Reading};
use crate::sample::Increase;

/// What the share of failed requests is held against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) max: Option<f64>,
    pub(super) max_ratio: Option<f64>,
    pub(super) floor: f64,
}

impl Limits {
    /// The limit that decides, and what it says of a value. With both, either one breaches.
    fn compare(&self, value: f64, baseline: Option<f64>) -> (f64, Quality) {
        let absolute = self.max.map(|max| {
            let quality = match baseline {
                _ if value <= max => Quality::Fine,
                Some(baseline) if baseline > max && value <= baseline * TOLERANCE => Quality::Common,
                _ => Quality::Bad,
            };
            (max, quality)
        });
        let relative = self.max_ratio.map(|ratio| match baseline {
            Some(baseline) => {
                let limit = (baseline * ratio).max(self.floor);
                (limit, if value > limit { Quality::Bad } else { Quality::Fine })
            }
            None => (f64::NAN, Quality::NoBaseline),
        });
        match (absolute, relative) {
            (Some(one), Some(other)) if one.1 == Quality::Fine && other.1 == Quality::Bad => other,
            (Some(one), _) | (None, Some(one)) => one,
            (None, None) => (f64::NAN, Quality::NoBaseline),
        }
    }
}

/// One reading per closed span.
pub(super) fn readings(limits: Limits, spans: &Spans) -> Readings {
    let closed = spans.closed.iter().map(|span| {
        let value = rate(&span.new);
        let baseline = spans.baseline(span, Increase::requests).map(rate);
        let (limit, quality) = limits.compare(value, baseline);
        Reading {
            from: span.from,
            to: span.to,
            value,
            limit,
            baseline,
            requests: Some(whole(span.new.requests())),
            bad: Some(whole(span.new.bad)),
            quality,
        }
    });
    Readings {
        closed: closed.collect(),
        open_requests: Some(spans.open.as_ref().map_or(0, |span| whole(span.new.requests()))),
    }
}

fn rate(increase: &Increase) -> f64 {
    let requests = increase.requests();
    if requests > 0.0 { increase.bad / requests } else { 0.0 }
}

/// A count as a whole number; back ends that extrapolate may answer in fractions.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are finite and not negative")]
pub(super) fn whole(count: f64) -> u64 {
    count.round().max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Limits = Limits { max: Some(0.05), max_ratio: Some(2.0), floor: 0.005 };

    #[test]
    fn a_multiple_of_the_baseline_breaches_under_the_maximum() {
        assert_eq!(BOTH.compare(0.03, Some(0.01)), (0.02, Quality::Bad));
        assert_eq!(BOTH.compare(0.015, Some(0.01)), (0.05, Quality::Fine));
    }

    #[test]
    fn a_multiple_of_next_to_nothing_does_not_matter() {
        assert_eq!(BOTH.compare(0.004, Some(0.0001)).1, Quality::Fine);
        assert_eq!(BOTH.compare(0.006, Some(0.0)), (0.005, Quality::Bad));
    }

    #[test]
    fn over_the_maximum_breaches_unless_the_baseline_is_too() {
        assert_eq!(BOTH.compare(0.06, None), (0.05, Quality::Bad));
        assert_eq!(BOTH.compare(0.06, Some(0.055)), (0.05, Quality::Common));
        assert_eq!(BOTH.compare(0.2, Some(0.06)), (0.05, Quality::Bad), "it got much worse");
        let absolute = Limits { max_ratio: None, ..BOTH };
        assert_eq!(absolute.compare(0.052, Some(0.05)), (0.05, Quality::Bad), "the baseline kept the maximum");
    }

    #[test]
    fn what_lies_on_its_limit_keeps_it() {
        assert_eq!(BOTH.compare(0.02, Some(0.01)).1, Quality::Fine);
        assert_eq!(BOTH.compare(0.05, None), (0.05, Quality::Fine));
    }

    #[test]
    fn of_no_requests_none_failed() {
        assert_eq!(rate(&Increase::default()), 0.0);
    }
}
