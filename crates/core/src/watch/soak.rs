//! Is the soak over?

use jiff::Timestamp;

use super::Rollout;
use crate::checks::{CheckResult, Verdict, Why};
use crate::policy::{OnInconclusive, OnNoData, Policy, Severity};

/// How a soak stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Soaked {
    /// Its time is not over.
    Running,
    /// Its time is over and every critical check is inside its limit.
    Passed,
    /// Its time is over, but there is too little to judge by.
    WaitingForData(String),
    /// Its time is over while a check is outside its limit, though not breached, or too close to it.
    Undecided(String),
    /// Its longest time is over and the checks still cannot tell; the policy accepts that.
    Accepted(String),
}

/// Whether the soak that began at the completion of `rollout` is over at `now`.
///
/// A critical check that is read from a source must be passing, and its windows must cover at least half of the soak:
/// one good minute after an hour without data says little. While a check cannot tell, the soak is extended, up to its
/// longest; then the policy decides. No data at all is waited for without an end. A check that has nothing to compare with (no baseline, no
/// bucket, no limit) cannot hold a release for ever; it is left out.
pub fn soaked(policy: &Policy, rollout: &Rollout, checks: &[CheckResult], now: Timestamp) -> Soaked {
    let Some(completed) = rollout.completed else { return Soaked::Running };
    if now.duration_since(completed) < policy.soak.duration {
        return Soaked::Running;
    }
    let needed = policy.soak.duration / 2;
    let is_last =
        now.duration_since(completed) >= policy.soak.longest && policy.on_inconclusive == OnInconclusive::Accept;
    let mut accepted = None;
    for check in checks.iter().filter(|check| check.severity == Severity::Critical) {
        let enough = check.covered >= needed;
        let told = || format!("{}: {}", check.name, check.message);
        let open = match (check.verdict, &check.why) {
            (Verdict::Passing, _) if enough => continue,
            (Verdict::Inconclusive, Why::NoBaseline | Why::NoBucketAbove | Why::NoLimits) => continue,
            (Verdict::Breached, _) => return Soaked::Undecided(told()),
            (_, Why::CountingUp | Why::ExternalCause | Why::RollingOut | Why::OnePod | Why::TooCloseToSay) => {
                Soaked::Undecided(told())
            }
            _ if policy.on_no_data == OnNoData::Pass => continue,
            (Verdict::NoData, _) => return Soaked::WaitingForData(told()),
            (Verdict::Passing, _) => {
                Soaked::WaitingForData(format!("{}: data for less than half of the soak so far", check.name))
            }
            (Verdict::Inconclusive, _) => Soaked::WaitingForData(told()),
        };
        if !is_last {
            return open;
        }
        accepted.get_or_insert_with(told);
    }
    if let Some(why) = accepted {
        return Soaked::Accepted(why);
    }
    Soaked::Passed
}
