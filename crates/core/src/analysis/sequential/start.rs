//! The fault may have begun at any look.

/// A mixture of tests, each of which begins at another look, for `A` alternatives of equal weight.
///
/// A release is mostly bad from its first pod on, so half of the weight begins there; the rest is spread over the planned
/// looks. `S_k = E_k (S_{k−1} + π_k)` and `V_k` = the mean of `S_k` over the alternatives + the weight that has not
/// begun yet. A weighted mean of e-processes is one, so `V` reaches `1/α` with a probability of at most `α` while nothing is
/// wrong. Looks after the planned ones begin nothing new; what began goes on.
///
/// Kept as logarithms: a clear fault is worth more than an `f64` can hold.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StartMixture<const A: usize> {
    sums: [f64; A],
    looks: u32,
    planned: u32,
    unspent: f64,
}

impl<const A: usize> StartMixture<A> {
    pub(super) fn new(planned: u32) -> Self {
        Self { sums: [f64::NEG_INFINITY; A], looks: 0, planned: planned.max(1), unspent: 1.0 }
    }

    /// Takes the next look's evidence, as logarithms.
    pub(super) fn next(&mut self, evidence: [f64; A]) {
        let spread = 0.5 / f64::from(self.planned);
        let weight = match self.looks {
            0 => 0.5 + spread,
            k if k < self.planned => spread,
            _ => 0.0,
        };
        self.looks = self.looks.saturating_add(1);
        self.unspent = if self.looks >= self.planned { 0.0 } else { self.unspent - weight };
        let begun = libm::log(weight);
        for (sum, evidence) in self.sums.iter_mut().zip(evidence) {
            *sum = evidence + log_add(*sum, begun);
        }
    }

    /// `ln V`.
    #[allow(clippy::cast_precision_loss, reason = "a handful of alternatives")]
    pub(super) fn log_value(&self) -> f64 {
        let sum = self.sums.iter().fold(f64::NEG_INFINITY, |sum, one| log_add(sum, *one));
        log_add(sum - libm::log(A as f64), libm::log(self.unspent.max(0.0)))
    }
}

/// `ln(e^a + e^b)`.
pub(super) fn log_add(a: f64, b: f64) -> f64 {
    let (most, least) = if a >= b { (a, b) } else { (b, a) };
    if least == f64::NEG_INFINITY { most } else { most + libm::log1p(libm::exp(least - most)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_evidence_it_stays_at_one() {
        let mut mixture = StartMixture::<2>::new(5);
        for _ in 0..9 {
            assert!(mixture.log_value().abs() < 1e-12, "{}", mixture.log_value());
            mixture.next([0.0; 2]);
        }
    }

    #[test]
    fn it_is_the_mean_over_the_beginnings() {
        // Written out by hand, for four looks and one alternative.
        let evidence = [0.5_f64, 3.0, 0.2, 7.0];
        let mut mixture = StartMixture::<1>::new(4);
        for (k, one) in evidence.iter().enumerate() {
            mixture.next([one.ln()]);
            let mut value = 0.0;
            for begin in 0..4 {
                let weight = if begin == 0 { 0.5 + 0.125 } else { 0.125 };
                value += weight * if begin <= k { evidence[begin..=k].iter().product() } else { 1.0 };
            }
            assert!((mixture.log_value() - f64::ln(value)).abs() < 1e-12);
        }
    }

    #[test]
    fn a_fault_that_begins_late_is_not_drowned_by_the_good_time_before() {
        let mut mixture = StartMixture::<1>::new(30);
        for _ in 0..20 {
            mixture.next([-3.0]);
        }
        for _ in 0..5 {
            mixture.next([4.0]);
        }
        assert!(mixture.log_value() > 20.0 + (0.5_f64 / 30.0).ln() - 0.1);
    }

    #[test]
    fn what_no_float_can_hold_is_still_compared() {
        let mut mixture = StartMixture::<1>::new(2);
        mixture.next([2000.0]);
        assert!(mixture.log_value().is_finite() && mixture.log_value() > 1999.0);
    }
}
