//! How much one look speaks against "no worse than that", as the logarithm of an e-value, for several alternatives.

use super::look::Tally;

/// How much worse than the largest tolerated ratio the alternatives are: 2, 4, 8 and 32 at a tolerance of 1.1.
const RATIOS: [f64; 4] = [2.0 / 1.1, 4.0 / 1.1, 8.0 / 1.1, 32.0 / 1.1];

/// How many times the limit the alternatives are.
const LIMITS: [f64; 4] = [2.0, 4.0, 8.0, 32.0];

/// The largest share that an alternative may be.
const MOST: f64 = 0.95;

/// The new pods fail more often than `tolerance` times as often as the old ones: a conditional two-sample test.
///
/// Given the number of failures, each is one of the new pods' with probability `θ(λ) = λρ/(λρ+1−ρ)` when they fail `λ`
/// times as often and serve the share `ρ` of the requests. Whatever changes for both alike, cancels.
///
/// Source: Lindon and Malek (2022), section 3; that the expectation stays at most 1 for any smaller ratio, and for
/// sampling without replacement, follows from Hoeffding (1963), theorem 4.
pub(super) fn ratio(new: Tally, old: Tally, tolerance: f64) -> [f64; 4] {
    let all = new.all + old.all;
    if !(new.all > 0.0 && old.all > 0.0) {
        return [0.0; 4];
    }
    let share = new.all / all;
    let odds = |lambda: f64| lambda * share / (lambda * share + 1.0 - share);
    let null = odds(tolerance);
    RATIOS.map(|times| {
        let worse = odds(tolerance * times);
        new.bad * libm::log(worse / null) + old.bad * libm::log((1.0 - worse) / (1.0 - null))
    })
}

/// The new pods fail more often than the share `limit`: a one-sample test of a Bernoulli rate.
///
/// Source: the likelihood ratio of Wald (1945), of a fixed alternative; its expectation is 1 at the limit and less under it.
pub(super) fn limit(new: Tally, limit: f64) -> [f64; 4] {
    LIMITS.map(|times| {
        let worse = (limit * times).min(MOST);
        if worse <= limit { 0.0 } else { bernoulli(new, worse, limit) }
    })
}

/// `ln` of the likelihood of the counts at the rate `one`, over that at the rate `other`.
pub(super) fn bernoulli(counts: Tally, one: f64, other: f64) -> f64 {
    let good = (counts.all - counts.bad).max(0.0);
    counts.bad * libm::log(one / other) + good * libm::log((1.0 - one) / (1.0 - other))
}

/// The new pods get less than `1/least` of the requests that are due to them: 1/5 and 1/25 of that again.
///
/// Each request goes to a new pod with probability `due` when every ready pod gets the same. The null hypothesis is that
/// they get at least the share `due/least`.
pub(super) fn silence(new: f64, old: f64, due: f64, least: f64) -> [f64; 2] {
    if !(due > 0.0 && due < 1.0) {
        return [0.0; 2];
    }
    [5.0, 25.0].map(|times| bernoulli(Tally::new(new + old, new), due / (least * times), due / least))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Probabilities of a binomial distribution.
    fn binomial(n: u32, p: f64) -> Vec<f64> {
        let mut row = vec![1.0];
        for _ in 0..n {
            let mut next = vec![0.0; row.len() + 1];
            for (k, probability) in row.iter().enumerate() {
                next[k] += probability * (1.0 - p);
                next[k + 1] += probability * p;
            }
            row = next;
        }
        row
    }

    fn expectation(probabilities: &[f64], log_e: impl Fn(f64) -> f64) -> f64 {
        (0u32..).zip(probabilities).map(|(k, probability)| probability * log_e(f64::from(k)).exp()).sum()
    }

    #[test]
    fn at_the_tolerated_ratio_the_expectation_is_one_and_less_under_it() {
        let share = 0.3;
        for (ratio_now, expected) in [(1.5, Some(1.0)), (1.0, None), (0.5, None)] {
            let theta = ratio_now * share / (ratio_now * share + 1.0 - share);
            for alternative in 0..4 {
                let e = expectation(&binomial(12, theta), |bad| {
                    ratio(Tally::new(300.0, bad), Tally::new(700.0, 12.0 - bad), 1.5)[alternative]
                });
                match expected {
                    Some(expected) => assert!((e - expected).abs() < 1e-9, "{e}"),
                    None => assert!(e < 1.0, "{e}"),
                }
            }
        }
    }

    #[test]
    fn at_the_limit_the_expectation_is_one_and_less_under_it() {
        for (rate, most) in [(0.05, 1.0 + 1e-9), (0.02, 0.999)] {
            for alternative in 0..4 {
                let e = expectation(&binomial(40, rate), |bad| limit(Tally::new(40.0, bad), 0.05)[alternative]);
                assert!(e <= most, "{e}");
            }
        }
    }

    #[test]
    fn at_the_least_share_the_expectation_of_silence_is_one_and_less_over_it() {
        for (share, most) in [(0.2 / 4.0, 1.0 + 1e-9), (0.2, 0.999)] {
            for alternative in 0..2 {
                let e = expectation(&binomial(40, share), |new| silence(new, 40.0 - new, 0.2, 4.0)[alternative]);
                assert!(e <= most, "{e}");
            }
        }
    }

    #[test]
    fn a_limit_of_everything_cannot_be_exceeded() {
        assert_eq!(limit(Tally::new(100.0, 100.0), 1.0), [0.0; 4]);
    }

    #[test]
    fn without_one_of_the_two_samples_a_ratio_says_nothing() {
        assert_eq!(ratio(Tally::new(10.0, 10.0), Tally::default(), 1.5), [0.0; 4]);
        assert_eq!(ratio(Tally::default(), Tally::new(10.0, 10.0), 1.5), [0.0; 4]);
    }

    #[test]
    fn the_alternatives_are_multiples_of_what_is_tolerated() {
        // Half of the requests are new ones, and eight of nine failures: at twice the rate two of three would be.
        let expected = 8.0 * libm::log((2.0 / 3.0) / (1.1 / 2.1)) + libm::log((1.0 / 3.0) / (1.0 / 2.1));
        assert!((ratio(Tally::new(100.0, 8.0), Tally::new(100.0, 1.0), 1.1)[0] - expected).abs() < 1e-9);
        // A hundred requests, and none of them a new one, of which at least an eighth is due: a fortieth would be.
        let expected = 100.0 * libm::log((1.0 - 0.025) / (1.0 - 0.125));
        assert!((silence(0.0, 100.0, 0.5, 4.0)[0] - expected).abs() < 1e-9);
    }

    #[test]
    fn where_nothing_or_everything_is_due_silence_says_nothing() {
        for due in [0.0, 1.0, 1.5, f64::NAN] {
            assert_eq!(silence(0.0, 100.0, due, 4.0), [0.0; 2], "{due}");
        }
    }
}
