//! The other way round: the counts prove that a limit is kept.
//!
//! A release passes because there is proof that it keeps its limit, not because there is none that it exceeds it: an
//! hour without requests proves nothing.

use super::evalue::bernoulli;
use super::look::{Look, Tally};
use super::start::log_add;

/// How much smaller than the limit the alternatives are.
const PARTS: [f64; 4] = [2.0, 4.0, 8.0, 32.0];

/// `ln` of the e-value against "the rate is `limit` or more": it reaches `ln(1/α)` exactly when the upper end of a
/// `1−α` confidence sequence of the rate falls under the limit.
///
/// Source: the mixture likelihood ratio of Robbins (1970), with four alternatives.
pub fn keeps_limit(counts: Tally, limit: f64, scatter: f64) -> f64 {
    if limit >= 1.0 {
        return f64::INFINITY;
    }
    mean(PARTS.map(|part| bernoulli(counts, limit / part, limit) / scatter))
}

/// The same of "the new pods get `1/least` of the requests that are due to them, or less".
pub fn keeps_share(looks: &[Look], least: f64, scatter: f64) -> f64 {
    mean([1.0, 0.75, 0.5].map(|part| {
        let one = |look: &Look| {
            let new = look.total_requests();
            look.due.map_or(0.0, |due| bernoulli(Tally::new(new + look.old.all, new), due * part, due / least))
        };
        looks.iter().map(one).sum::<f64>() / scatter
    }))
}

/// The same of "the new pods fail `ratio` times as often as the old ones, or more".
pub fn keeps_ratio(new: Tally, old: Tally, ratio: f64, scatter: f64) -> f64 {
    if !(new.all > 0.0 && old.all > 0.0) {
        return 0.0;
    }
    let share = new.all / (new.all + old.all);
    let odds = |lambda: f64| lambda * share / (lambda * share + 1.0 - share);
    let failed = Tally::new(new.bad + old.bad, new.bad);
    mean(PARTS.map(|part| bernoulli(failed, odds(ratio / part), odds(ratio)) / scatter))
}

#[allow(clippy::cast_precision_loss, reason = "a handful of alternatives")]
fn mean<const A: usize>(logs: [f64; A]) -> f64 {
    logs.iter().fold(f64::NEG_INFINITY, |sum, one| log_add(sum, *one)) - libm::log(A as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_good_requests_prove_five_percent_and_ten_do_not() {
        let twenty = libm::log(20.0);
        assert!(keeps_limit(Tally::new(100.0, 0.0), 0.05, 1.0) >= twenty);
        assert!(keeps_limit(Tally::new(10.0, 0.0), 0.05, 1.0) < twenty);
        assert!(keeps_limit(Tally::new(1000.0, 48.0), 0.05, 1.0) < twenty, "too close to say");
    }

    #[test]
    fn a_limit_of_everything_is_always_kept() {
        assert_eq!(keeps_limit(Tally::default(), 1.0, 1.0), f64::INFINITY);
    }

    #[test]
    fn as_few_failures_as_the_old_pods_prove_that_a_ratio_is_kept() {
        let twenty = libm::log(20.0);
        assert!(keeps_ratio(Tally::new(1000.0, 20.0), Tally::new(1000.0, 40.0), 2.0, 1.0) >= twenty);
        assert!(keeps_ratio(Tally::new(1000.0, 40.0), Tally::new(1000.0, 25.0), 2.0, 1.0) < twenty);
        assert_eq!(keeps_ratio(Tally::new(1000.0, 0.0), Tally::default(), 2.0, 1.0), 0.0);
    }

    #[test]
    fn a_fair_share_is_proven_by_a_few_requests() {
        let look = |new: f64, due: Option<f64>| Look {
            new: vec![Tally::new(new, 0.0)],
            old: Tally::new(20.0, 0.0),
            against: crate::analysis::sequential::Against::OldPods,
            due,
        };
        assert!(keeps_share(&[look(20.0, Some(0.5))], 4.0, 1.0) >= libm::log(20.0));
        assert!(keeps_share(&[look(1.0, Some(0.5))], 4.0, 1.0) < 0.0);
        assert_eq!(keeps_share(&[look(20.0, None)], 4.0, 1.0), 0.0);
    }

    #[test]
    fn counts_that_scatter_prove_less() {
        let (few, many) = (Tally::new(1000.0, 20.0), Tally::new(1000.0, 40.0));
        let look = Look {
            new: vec![Tally::new(20.0, 0.0)],
            old: Tally::new(20.0, 0.0),
            against: crate::analysis::sequential::Against::OldPods,
            due: Some(0.5),
        };
        let proofs: [&dyn Fn(f64) -> f64; 3] =
            [&|scatter| keeps_limit(few, 0.05, scatter), &|scatter| keeps_ratio(few, many, 2.0, scatter), &|scatter| {
                keeps_share(std::slice::from_ref(&look), 4.0, scatter)
            }];
        for proof in proofs {
            assert!(proof(1.0) > proof(3.0) && proof(3.0) > 0.0, "{} {}", proof(1.0), proof(3.0));
        }
        // ln of the mean of three e-values: 20 of 40 requests at a half, at three eighths and at a quarter, over an eighth.
        assert!((keeps_share(&[look], 4.0, 1.0) - 15.6805).abs() < 0.001);
    }

    #[test]
    fn without_new_requests_nothing_is_proven_of_a_ratio() {
        assert_eq!(keeps_ratio(Tally::default(), Tally::new(1000.0, 40.0), 2.0, 1.0), 0.0);
    }
}
