//! Native histograms, as counts at bounds of our own.
//!
//! The bounds of a native histogram come and go with its observations, and get coarser when there are many; a count at a
//! bound can be differenced only when it is known at every instant. So each histogram is read at the same [`BOUNDS`].
//! Those seldom are bounds of its own: a bucket that reaches over one counts as under it. What is left are the requests
//! that were surely slower, and an error of one bucket (9 % at the schema that client libraries begin with) is always in
//! favour of the release. The bounds that clients use for classic histograms are among ours, so that a classic one that
//! the source converted (`convert_classic_histograms_to_nhcb`) loses nothing.

use jiff::Timestamp;

/// Where durations are counted, in seconds. Few enough for many pods, close enough for limits as people write them.
const BOUNDS: [f64; 30] = [
    0.001, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75,
    1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0, 30.0, 60.0,
];

/// How much a bound may be off by arithmetic alone, as a part of it.
const ROUNDING: f64 = 1e-9;

/// A native histogram at one instant.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NativeHistogram {
    /// All observations, since the counter began.
    pub count: f64,
    /// The buckets that hold any.
    pub buckets: Vec<Bucket>,
}

/// The observations between two bounds, in the metric's own unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// The lower bound.
    pub lower: f64,
    /// How many.
    pub count: f64,
}

impl NativeHistogram {
    /// Whether its numbers are counts.
    pub(crate) fn is_counted(&self) -> bool {
        let is_count = |count: f64| count.is_finite() && count >= 0.0;
        is_count(self.count) && self.buckets.iter().all(|bucket| is_count(bucket.count))
    }

    /// All but those that are surely over `bound`.
    fn at_most(&self, bound: f64) -> f64 {
        let over = self.buckets.iter().filter(|bucket| bucket.lower >= bound * (1.0 - ROUNDING));
        (self.count - over.map(|bucket| bucket.count).sum::<f64>()).max(0.0)
    }
}

/// A cumulative count at one bound, over time.
pub(crate) struct AtBound {
    /// In seconds; infinite for all.
    pub(crate) seconds: f64,
    pub(crate) points: Vec<(Timestamp, f64)>,
}

/// What a classic histogram would have counted at our bounds.
///
/// Nothing if no histogram holds counts.
pub(crate) fn at_bounds(histograms: &[(Timestamp, NativeHistogram)], unit_seconds: f64) -> Vec<AtBound> {
    let counts: Vec<_> = histograms.iter().filter(|(_, one)| one.is_counted()).collect();
    if counts.is_empty() {
        return Vec::new();
    }
    let counted = |seconds: f64| {
        let count = |one: &NativeHistogram| match seconds {
            f64::INFINITY => one.count,
            _ => one.at_most(seconds / unit_seconds),
        };
        AtBound { seconds, points: counts.iter().map(|(at, one)| (*at, count(one))).collect() }
    };
    BOUNDS.into_iter().chain([f64::INFINITY]).map(counted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(buckets: &[(f64, f64)]) -> NativeHistogram {
        let buckets: Vec<Bucket> =
            buckets.iter().map(|(lower, count)| Bucket { lower: *lower, count: *count }).collect();
        NativeHistogram { count: buckets.iter().map(|bucket| bucket.count).sum(), buckets }
    }

    #[test]
    fn a_bucket_that_reaches_over_a_bound_counts_as_under_it() {
        // Schema 0: each bound is twice the one before it.
        let found = histogram(&[(0.0625, 10.0), (0.125, 20.0), (0.25, 30.0), (0.5, 40.0)]);
        assert_eq!(found.at_most(0.25), 30.0, "a bound of its own is exact");
        assert_eq!(found.at_most(0.3), 60.0, "up to 0.5 may be under 0.3");
        assert_eq!(found.at_most(0.1), 10.0);
        assert_eq!((found.at_most(0.05), found.at_most(10.0)), (0.0, 100.0));
    }

    #[test]
    fn a_zero_bucket_and_negative_ones_are_never_slow() {
        assert_eq!(histogram(&[(-0.5, 1.0), (-0.001, 2.0), (0.1, 3.0)]).at_most(0.1), 3.0);
    }

    #[test]
    fn every_bound_is_counted_at_every_instant() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let all = at_bounds(&[(at(0), NativeHistogram::default()), (at(30), histogram(&[(250.0, 5.0)]))], 0.001);
        assert_eq!(all.len(), BOUNDS.len() + 1);
        let points = |seconds: f64| all.iter().find(|one| one.seconds == seconds).unwrap().points.clone();
        assert_eq!(points(0.25), [(at(0), 0.0), (at(30), 0.0)], "slower than 250 ms, in milliseconds");
        assert_eq!(points(0.3), [(at(0), 0.0), (at(30), 5.0)]);
        assert_eq!(points(f64::INFINITY), [(at(0), 0.0), (at(30), 5.0)]);
    }

    #[test]
    fn what_is_no_count_is_dropped() {
        let nan = NativeHistogram { count: f64::NAN, buckets: Vec::new() };
        let at = |second| Timestamp::from_second(second).unwrap();
        assert!(at_bounds(&[(at(0), nan.clone())], 1.0).is_empty());
        let all = at_bounds(&[(at(0), nan), (at(30), histogram(&[(0.1, 5.0)]))], 1.0);
        assert_eq!(all[0].points, [(at(30), 0.0)]);
    }

    #[test]
    fn the_bounds_rise_and_hold_those_that_clients_use() {
        assert!(BOUNDS.is_sorted());
        for usual in [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0] {
            assert!(BOUNDS.contains(&usual), "{usual}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_coarser_histogram_never_counts_more_slow_requests(
            durations in proptest::collection::vec(0.0005f64..50.0, 1..200),
            bound in proptest::sample::select(BOUNDS.to_vec()),
        ) {
            let of_schema = |schema: i32| {
                let width = (2.0_f64).powi(-schema);
                let lowers = durations.iter().map(|seconds| ((seconds.log2() / width).ceil() - 1.0) * width);
                histogram(&lowers.map(|lower| (lower.exp2(), 1.0)).collect::<Vec<_>>())
            };
            #[allow(clippy::cast_precision_loss, reason = "a few hundred")]
            let truly = durations.iter().filter(|seconds| **seconds > bound).count() as f64;
            let slow = |schema| { let found = of_schema(schema); found.count - found.at_most(bound) };
            proptest::prop_assert!(slow(0) <= slow(3) && slow(3) <= truly);
        }
    }
}
