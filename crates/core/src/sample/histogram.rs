//! Request durations as a classic histogram.

use std::collections::BTreeMap;

/// Cumulative counts by upper bound, as increases of a window.
///
/// Bounds are kept as the bits of a non-negative float, which sort as the numbers do.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Histogram {
    at_most: BTreeMap<u64, f64>,
}

/// Where a quantile lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Quantiled {
    /// Between two bounds.
    Within {
        /// The bucket's lower bound: the quantile is certainly over it. Seconds.
        lower: f64,
        /// Linear interpolation in the bucket, as Prometheus' `histogram_quantile` does. Seconds.
        estimate: f64,
    },
    /// Above the highest finite bound; how far is not known. Seconds.
    Above(f64),
}

impl Quantiled {
    /// The best single number, in seconds.
    pub fn estimate(self) -> f64 {
        match self {
            Self::Within { estimate, .. } => estimate,
            Self::Above(bound) => bound,
        }
    }

    /// A value that the quantile is certainly not under, in seconds.
    pub fn at_least(self) -> f64 {
        match self {
            Self::Within { lower, .. } => lower,
            Self::Above(bound) => bound,
        }
    }
}

impl Histogram {
    /// Adds requests that took at most `bound` seconds (cumulative, as in the `le` label).
    pub fn record(&mut self, bound: f64, requests: f64) {
        if bound >= 0.0 {
            *self.at_most.entry(bound.to_bits()).or_default() += requests;
        }
    }

    /// Adds another histogram.
    pub fn add(&mut self, other: &Self) {
        for (bound, requests) in &other.at_most {
            *self.at_most.entry(*bound).or_default() += requests;
        }
    }

    /// All requests.
    pub fn requests(&self) -> f64 {
        self.at_most.get(&f64::INFINITY.to_bits()).copied().unwrap_or(0.0)
    }

    /// Requests that took longer than `bound` seconds, which must be one of the histogram's bounds.
    pub fn slower_than(&self, bound: f64) -> f64 {
        let at_most = self.at_most.get(&bound.to_bits()).copied().unwrap_or(0.0);
        (self.requests() - at_most).max(0.0)
    }

    /// The smallest finite bound of at least `seconds`.
    pub fn bound_at(&self, seconds: f64) -> Option<f64> {
        // Bounds such as 0.1 do not survive a change of unit exactly.
        let least = (seconds * (1.0 - 1e-9)).max(0.0);
        self.at_most
            .range(least.to_bits()..)
            .map(|(bits, _)| f64::from_bits(*bits))
            .next()
            .filter(|bound| bound.is_finite())
    }

    /// The quantile `share` (0 to 1), or `None` without requests or without a finite bucket.
    pub fn quantile(&self, share: f64) -> Option<Quantiled> {
        let total = self.requests();
        if total <= 0.0 {
            return None;
        }
        let rank = share * total;
        let (mut lower, mut below) = (0.0, 0.0_f64);
        let mut any = false;
        for (bound, requests) in self.at_most.iter().map(|(bits, requests)| (f64::from_bits(*bits), *requests)) {
            if bound.is_infinite() {
                return any.then_some(Quantiled::Above(lower));
            }
            any = true;
            // Pods that end in mid-window can make a bucket's sum fall below its neighbour's; it never truly does.
            let requests = requests.max(below);
            if requests >= rank && requests > below {
                let estimate = lower + (bound - lower) * ((rank - below) / (requests - below)).clamp(0.0, 1.0);
                return Some(Quantiled::Within { lower, estimate });
            }
            (lower, below) = (bound, requests);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(buckets: &[(f64, f64)]) -> Histogram {
        let mut histogram = Histogram::default();
        for (bound, requests) in buckets {
            histogram.record(*bound, *requests);
        }
        histogram
    }

    #[test]
    fn the_estimate_is_that_of_histogram_quantile() {
        let found = histogram(&[(0.1, 50.0), (0.2, 100.0), (f64::INFINITY, 100.0)]).quantile(0.95).unwrap();
        assert!((found.estimate() - 0.19).abs() < 1e-9, "{found:?}");
        assert!((found.at_least() - 0.1).abs() < 1e-9);
    }

    #[test]
    fn a_quantile_over_the_last_bound_is_known_only_to_be_over_it() {
        let found = histogram(&[(0.1, 50.0), (f64::INFINITY, 100.0)]).quantile(0.95);
        assert_eq!(found, Some(Quantiled::Above(0.1)));
    }

    #[test]
    fn slow_requests_are_counted_at_a_bound() {
        let histogram = histogram(&[(0.1, 50.0), (0.2, 90.0), (f64::INFINITY, 100.0)]);
        assert_eq!(histogram.bound_at(0.15), Some(0.2));
        assert_eq!(histogram.bound_at(0.1 + 1e-12), Some(0.1), "a bound in another unit is the same bound");
        assert_eq!(histogram.bound_at(0.3), None);
        assert_eq!(histogram.slower_than(0.2), 10.0);
    }

    #[test]
    fn no_requests_and_no_buckets_have_no_quantile() {
        assert_eq!(histogram(&[]).quantile(0.95), None);
        assert_eq!(histogram(&[(0.1, 0.0), (f64::INFINITY, 0.0)]).quantile(0.95), None);
        assert_eq!(histogram(&[(f64::INFINITY, 10.0)]).quantile(0.95), None);
    }

    proptest::proptest! {
        #[test]
        fn the_estimate_lies_within_its_bucket(counts in proptest::collection::vec(0u32..50, 5), share in 0.01f64..0.999) {
            let mut sum = 0.0;
            let mut buckets = Vec::new();
            for (bound, count) in [0.1, 0.2, 0.5, 1.0, f64::INFINITY].into_iter().zip(&counts) {
                sum += f64::from(*count);
                buckets.push((bound, sum));
            }
            if let Some(Quantiled::Within { lower, estimate }) = histogram(&buckets).quantile(share) {
                proptest::prop_assert!(lower <= estimate && estimate <= 1.0);
            }
        }
    }
}
