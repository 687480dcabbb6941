//! A policy after validation: what the judgement may rely on.
//!
//! Every value here was checked once, at the boundary (`snapback-api`); nothing further in has to look again.

mod check;
mod schedule;
mod window;

pub use check::{Bound, BurnWindow, BurnWindows, Check, Quantile, Relative, Resource, Rule, Severity};
pub use schedule::{Schedule, ScheduleError, zone};
pub use window::{Window, WindowKind, WindowState};

use jiff::SignedDuration;

use crate::gate::Gate;
use crate::rollback::Probe;

/// A whole policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Who acts.
    pub mode: Mode,
    /// A person has stopped this policy.
    pub suspend: bool,
    /// How long and how often a rollout is judged.
    pub soak: Soak,
    /// How single windows become a verdict.
    pub analysis: Analysis,
    /// Requests that a window must hold before it says anything.
    pub minimum_requests: u64,
    /// What the end of a soak means when there was nothing to judge by.
    pub on_no_data: OnNoData,
    /// What the end of the longest soak means when the checks could not tell.
    pub on_inconclusive: OnInconclusive,
    /// The rules; at least one, names unique.
    pub checks: Vec<Check>,
    /// Deployments that share dependencies with the targets and do not call them, by name.
    pub controls: Vec<String>,
    /// Whether requests are counted by a proxy in front of all pods, which cannot tell the new ones from the old.
    pub in_front: bool,
    /// How an undo is carried out.
    pub rollback: RollbackRules,
    /// When we may act alone; empty means at any time.
    pub windows: Vec<Window>,
    /// Whether those who wait for a release wait for its verdict.
    pub gate: Option<Gate>,
}

impl Policy {
    /// Whether a check rests on what is counted in front of all pods, by its name. Such a breach has no control: whatever
    /// hits the service during a rollout looks like the release.
    pub fn is_without_control(&self, check: &str) -> bool {
        let rule = self.checks.iter().find(|one| one.name == check).map(|one| &one.rule);
        self.in_front && matches!(rule, Some(Rule::ErrorRate { .. } | Rule::Latency { .. }))
    }
}

/// Who acts on a bad revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Snapback rolls back by itself.
    Automatic,
    /// A person approves first.
    Approve,
    /// Nothing is done; the decision is recorded.
    Observe,
}

/// How long and how often a rollout is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Soak {
    /// Time after the completed rollout.
    pub duration: SignedDuration,
    /// Time between two looks.
    pub interval: SignedDuration,
    /// The longest that a soak is extended to while the checks cannot tell.
    pub longest: SignedDuration,
    /// How long a started pod of a StatefulSet or DaemonSet may take to become ready.
    pub progress_deadline: SignedDuration,
}

impl Soak {
    /// The looks of the planned soak, at most [`Soak::MOST_LOOKS`].
    pub fn looks(&self) -> u32 {
        let looks = self.duration.as_secs() / self.interval.as_secs().max(1);
        u32::try_from(looks).unwrap_or(Self::MOST_LOOKS).clamp(1, Self::MOST_LOOKS)
    }

    /// The looks of the longest soak, at most as many.
    pub fn longest_looks(&self) -> u32 {
        Self { duration: self.longest, ..*self }.looks()
    }

    /// Most looks that are planned for, and most of the time before that a rollout is compared with.
    pub const MOST_LOOKS: u32 = 120;
}

/// How single windows become a verdict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Analysis {
    /// Breached when the counts prove it.
    Sequential {
        /// The probability that a release that is no worse than the one before is found bad, over its whole soak; over 0
        /// and under 1.
        false_alarms: f64,
    },
    /// Breached after this many bad windows in a row (at least one).
    Consecutive {
        /// Bad windows in a row.
        failures: u32,
    },
}

/// What the end of a soak means when there was nothing to judge by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnNoData {
    /// The revision stays unjudged until there is data.
    Hold,
    /// The revision is accepted.
    Pass,
}

/// What the end of the longest soak means when the checks could not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnInconclusive {
    /// The revision is accepted, with a warning.
    Accept,
    /// The revision stays unjudged.
    Hold,
}

/// What becomes of the ConfigMaps that a known good revision ran with, when it is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigMode {
    /// They are not looked at.
    Ignore,
    /// That they changed is told.
    Warn,
    /// Their content is put back, too.
    Restore,
}

/// How an undo is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollbackRules {
    /// Time for the good revision's pods to be back before a person is called.
    pub deadline: SignedDuration,
    /// Time the checks must stay inside their limits afterwards.
    pub verify: SignedDuration,
    /// What becomes of the configuration.
    pub config: ConfigMode,
    /// What the pods are asked meanwhile.
    pub probes: Vec<Probe>,
    /// Whether an undo may raise `maxSurge` for its own time.
    pub fast: bool,
    /// Time after an automatic rollback in which the next one of the same target is a person's to approve.
    pub cooldown: SignedDuration,
    /// Time after which an approval that nobody gave is no longer waited for.
    pub approval_timeout: SignedDuration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_looks_of_a_soak_are_its_time_by_their_interval_within_reason() {
        let soak = |duration, interval, longest| Soak {
            duration: SignedDuration::from_secs(duration),
            interval: SignedDuration::from_secs(interval),
            longest: SignedDuration::from_secs(longest),
            progress_deadline: SignedDuration::from_mins(10),
        };
        assert_eq!((soak(65, 10, 240).looks(), soak(65, 10, 240).longest_looks()), (6, 24));
        assert_eq!(soak(0, 10, 240).looks(), 1);
        assert_eq!(soak(1_000_000, 1, 1_000_000).longest_looks(), Soak::MOST_LOOKS);
    }
}
