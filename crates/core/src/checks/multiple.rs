//! How many times as slow, where no bucket shows it.
//!
//! Twice a quantile often lies inside a wide bucket: twice 75 ms between 100 and 250 ms. Requests over 250 ms are proof, but a
//! release may be three times as slow without any. What needs no guess at where in a bucket requests lie: if the new
//! requests take at most `ratio` times as long as the old ones, at every quantile, then for any bound `b` no more of them
//! are over `ratio * b` than old ones are over `b`. So the new pods are counted at one bound and the old ones at another.

use crate::sample::{Histogram, Quantiled};

/// The most of the old requests that may be over their bound, as a multiple of those over the quantile: of a p95, one in
/// five. What more of them exceed, is not the slow end that the check is about.
const SLOW_END: f64 = 4.0;

/// A bound for the old requests, and one at least `ratio` times as large for the new ones. Seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bounds {
    pub(super) old: f64,
    pub(super) new: f64,
}

/// The bounds next under the old quantile `share` that show a multiple of it, if they are any sharper than `at`, the bound
/// at which the limit itself is counted.
pub(super) fn bounds(old: &Histogram, new: &Histogram, share: f64, ratio: f64, at: Option<f64>) -> Option<Bounds> {
    let Quantiled::Within { lower, .. } = old.quantile(share)? else { return None };
    let is_slow_end = lower > 0.0 && old.slower_than(lower) <= SLOW_END * (1.0 - share) * old.requests();
    let bound = new.bound_at(lower * ratio)?;
    (is_slow_end && at.is_none_or(|at| bound < at)).then_some(Bounds { old: lower, new: bound })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With Prometheus' default bounds between 25 and 500 ms: how many of a hundred lie in each bucket, the last one open.
    fn histogram(requests: [f64; 6]) -> Histogram {
        let mut histogram = Histogram::default();
        let mut sum = 0.0;
        for (bound, more) in [0.025, 0.05, 0.1, 0.25, 0.5, f64::INFINITY].into_iter().zip(requests) {
            sum += more;
            histogram.record(bound, sum);
        }
        histogram
    }

    #[test]
    fn twice_as_slow_shows_at_twice_the_bound_under_the_quantile() {
        let old = histogram([20.0, 70.0, 9.0, 1.0, 0.0, 0.0]);
        let found = bounds(&old, &old, 0.95, 2.0, Some(0.25));
        assert_eq!(found, Some(Bounds { old: 0.05, new: 0.1 }));
        assert_eq!(bounds(&old, &old, 0.95, 2.0, Some(0.1)), None, "the limit itself is counted there");
        assert_eq!(bounds(&old, &old, 0.95, 2.0, None), found, "the limit is over all bounds");
        assert_eq!(bounds(&old, &old, 0.95, 2.5, Some(0.25)), None, "the next bound is a quarter of a second");
    }

    #[test]
    fn requests_that_all_lie_in_one_bucket_have_no_slow_end_that_shows() {
        // All at 99 ms: were they all at 101 ms, they would be in the next bucket, and hardly slower.
        assert_eq!(bounds(&histogram([0.0, 0.0, 100.0, 0.0, 0.0, 0.0]), &Histogram::default(), 0.95, 2.0, None), None);
        let old = histogram([0.0, 60.0, 40.0, 0.0, 0.0, 0.0]);
        assert_eq!(bounds(&old, &old, 0.95, 2.0, None), None);
    }

    #[test]
    fn under_the_first_bound_and_over_the_last_there_is_nothing_to_go_by() {
        let fast = histogram([100.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(bounds(&fast, &fast, 0.95, 2.0, None), None);
        let slow = histogram([0.0, 0.0, 0.0, 0.0, 10.0, 90.0]);
        assert_eq!(bounds(&slow, &slow, 0.95, 2.0, None), None);
    }
}
