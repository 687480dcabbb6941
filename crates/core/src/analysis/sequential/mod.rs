//! Breached when the counts prove it: a sequential test that may be looked at as often as one likes.
//!
//! Evidence is an *e-value*: a number whose expectation is at most 1 while nothing is wrong, so that it ever reaches
//! `1/α` with a probability of at most `α` (Ville's inequality), however many looks there are. It multiplies from look to
//! look: a hundred requests or a hundred thousand, a minute or an hour, the same rule holds, and no window length has to
//! be chosen.
//!
//! ```text
//! look       counts since the look before: bad among all, by new pod, and in the old pods (or the time before)
//! evalue     how much one look speaks against "no worse than that"
//! start      the fault may have begun at any look: a mixture over its beginnings
//! dispersion requests are not independent: how much the old pods scatter more than chance would
//! test       the chains of one check put together
//! proof      the other way round: the counts prove that a limit is kept
//! record     what a verdict was reached by, to be recomputed bit for bit
//! ```
//!
//! The method is that of Lindon and Malek, "Anytime-Valid Inference for Multinomial Count Data" (NeurIPS 2022), with the old
//! pods as the concurrent control.

mod dispersion;
mod evalue;
mod look;
mod proof;
mod record;
mod start;
mod test;

pub use dispersion::{Scatter, among_pods, over_time};
pub use look::{Against, Look, Tally};
pub use proof::{keeps_limit, keeps_ratio, keeps_share};
pub use record::{Part, PartRule, RecordError, Recorded, evidence};
pub use test::{Evidence, Limits, Plan, TOLERANCE, mean, regression, silence, spare};

/// `ln(1/α)`: what the logarithm of an e-value must reach.
pub fn needed(alpha: f64) -> f64 {
    -libm::log(alpha)
}

/// `ln` of the weighted mean of e-values given as logarithms. The weights add up to 1.
///
/// A mean of e-values is one, whether they are independent or not (Vovk and Wang, 2021), so the checks of a policy share
/// one rate of false alarms.
pub fn together(weights: &[f64], log_values: &[f64]) -> f64 {
    let parts = weights.iter().zip(log_values).map(|(weight, value)| value + libm::log(*weight));
    parts.fold(f64::NEG_INFINITY, start::log_add)
}
