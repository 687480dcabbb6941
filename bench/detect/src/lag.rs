//! How long a running operator took to decide, once the evidence was there.
//!
//! The floor is the look at which the same series suffice: what comes before it (the evidence itself, the wait for a scrape
//! and for a look) no operator that looks as often can spare.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use jiff::SignedDuration;
use serde::Serialize;
use snapback_core::policy::{Policy, Soak};

use crate::product;
use crate::recorded::{self, Case};

/// What `make record-lag` records: seconds between two looks, and rollouts.
pub(crate) const PLANNED: [(i64, usize); 2] = [(1, 20), (15, 20)];

/// The lags at one interval. All in seconds.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Lag {
    /// Between two looks, and between two scrapes.
    pub(crate) interval: i64,
    /// Rollouts.
    pub(crate) rollouts: usize,
    /// From the first bad request, by the clock of the pod that failed it, to the instant at which a watch shows the
    /// `Rollback`: the median and 95 %.
    pub(crate) total: [f64; 2],
    /// From there to the look at which the evidence suffices.
    pub(crate) floor: [f64; 2],
    /// From that look to the decision.
    pub(crate) over: [f64; 2],
}

/// Reads the recordings with an operator, and measures each interval.
///
/// # Errors
/// A recording that cannot be read, is none with an operator, or is not decided when it is judged again.
pub(crate) fn read(folder: &Path) -> Result<Vec<Lag>> {
    let cases = recorded::read(folder)?;
    let mut intervals: Vec<i64> = cases.iter().map(|case| case.rollout.interval).collect();
    intervals.sort_unstable();
    intervals.dedup();
    intervals
        .into_iter()
        .map(|interval| measure(interval, cases.iter().filter(|case| case.rollout.interval == interval)))
        .collect()
}

fn measure<'a>(interval: i64, cases: impl Iterator<Item = &'a Case>) -> Result<Lag> {
    let policy = product::policy();
    let policy = Policy { soak: Soak { interval: SignedDuration::from_secs(interval), ..policy.soak }, ..policy };
    let (mut total, mut floor, mut over) = (Vec::new(), Vec::new(), Vec::new());
    for case in cases {
        let id = &case.rollout.plan.id;
        let decided = case.rollout.operator.as_ref().with_context(|| format!("{id}: no operator"))?;
        let acted = case.judge(&policy, |_| ()).with_context(|| format!("{id}: not decided when judged again"))?;
        #[allow(clippy::cast_precision_loss, reason = "minutes of seconds")]
        let enough = acted.second as f64;
        total.push(decided.decided - decided.first_bad);
        floor.push(enough - decided.first_bad);
        over.push(decided.decided - enough);
    }
    ensure!(!over.is_empty(), "no recordings at {interval} s");
    let rollouts = over.len();
    Ok(Lag { interval, rollouts, total: quantiles(total), floor: quantiles(floor), over: quantiles(over) })
}

/// The median and 95 %: the smallest value that so many are not over.
fn quantiles(mut values: Vec<f64>) -> [f64; 2] {
    values.sort_by(f64::total_cmp);
    [50, 95].map(|percent| {
        let rank = (values.len() * percent).div_ceil(100).saturating_sub(1);
        values.get(rank).copied().unwrap_or(f64::NAN)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        assert_eq!(quantiles((1..=20).map(f64::from).collect()), [10.0, 19.0]);
        assert_eq!(quantiles(vec![3.0]), [3.0, 3.0]);
    }
}
