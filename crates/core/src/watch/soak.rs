//! Is the soak over?

use jiff::Timestamp;

use super::Rollout;
use crate::checks::{CheckResult, Verdict, Why};
use crate::policy::{OnNoData, Policy, Severity};

/// How a soak stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Soaked {
    /// Its time is not over.
    Running,
    /// Its time is over and every critical check is inside its limit.
    Passed,
    /// Its time is over, but there is too little to judge by.
    WaitingForData(String),
    /// Its time is over while a check is outside its limit, though not breached.
    Undecided(String),
}

/// Whether the soak that began at the completion of `rollout` is over at `now`.
///
/// A critical check that is read from a source must be passing, and its windows must cover at least half of the soak:
/// one good minute after an hour without data says little. A check that has nothing to compare with (no baseline, no
/// bucket) cannot hold a release for ever; it is left out.
pub fn soaked(policy: &Policy, rollout: &Rollout, checks: &[CheckResult], now: Timestamp) -> Soaked {
    let Some(completed) = rollout.completed else { return Soaked::Running };
    if now.duration_since(completed) < policy.soak.duration {
        return Soaked::Running;
    }
    let needed = policy.soak.duration / 2;
    for check in checks.iter().filter(|check| check.severity == Severity::Critical) {
        let enough = check.covered >= needed;
        match (check.verdict, &check.why) {
            (Verdict::Passing, _) if enough => {}
            (Verdict::Inconclusive, Why::NoBaseline | Why::NoBucketAbove) => {}
            (Verdict::Breached, _) | (_, Why::CountingUp | Why::ExternalCause) => {
                return Soaked::Undecided(format!("{}: {}", check.name, check.message));
            }
            _ if policy.on_no_data == OnNoData::Pass => {}
            (Verdict::Passing, _) => {
                let message = format!("{}: data for less than half of the soak so far", check.name);
                return Soaked::WaitingForData(message);
            }
            _ => return Soaked::WaitingForData(format!("{}: {}", check.name, check.message)),
        }
    }
    Soaked::Passed
}
