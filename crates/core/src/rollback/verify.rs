//! Did going back cure the fault?
//!
//! Verification knows nothing of policies: the record carries the limits that were breached, as plain numbers.

use jiff::{SignedDuration, Timestamp};

use crate::checks::{CheckResult, Measured, Verdict, Why, evaluate};
use crate::policy::{Check, Rule, Severity};

/// A breached check as an absolute rule on the good revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// The check's name.
    pub name: String,
    /// The rule, without anything relative.
    pub rule: Rule,
}

/// What the checks and probes say of the good revision.
#[derive(Debug, Clone, PartialEq)]
pub enum Verification {
    /// Every limit is kept, by fresh data.
    Within,
    /// A limit is broken; the sentence says which.
    Outside(String),
    /// There is no data to say.
    Unknown(String),
}

impl Verification {
    /// Both: one that is outside is enough, and only two that are within are.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (&self, &other) {
            (Self::Outside(_), _) | (Self::Unknown(_), Self::Within | Self::Unknown(_)) => self,
            (Self::Within, _) | (Self::Unknown(_), Self::Outside(_)) => other,
        }
    }
}

/// Judges the good revision by the limits that the bad one broke, window by window since it was rolled out.
pub fn verify(limits: &[Limit], measured: &Measured<'_>) -> (Verification, Vec<CheckResult>) {
    // A single bad window is enough here to wait on; `step` decides how long.
    let results: Vec<CheckResult> = limits
        .iter()
        .map(|limit| {
            let check = Check { name: limit.name.clone(), severity: Severity::Critical, rule: limit.rule.clone() };
            evaluate(&check, 1, measured)
        })
        .collect();
    let told = |check: &CheckResult| format!("{}: {}", check.name, check.message);
    // An external cause is as bad for the good revision as for the other: not cured.
    let outside = results.iter().find(|check| check.verdict == Verdict::Breached || check.why == Why::ExternalCause);
    let unknown = results.iter().find(|check| check.verdict != Verdict::Passing);
    let verification = match (outside, unknown) {
        (Some(check), _) => Verification::Outside(told(check)),
        (None, Some(check)) => Verification::Unknown(told(check)),
        (None, None) => Verification::Within,
    };
    (verification, results)
}

/// Whether the verification is over.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verified {
    Waiting,
    Cured,
    /// The pods run, but nothing tells whether the fault is gone.
    Unmeasured(String),
    NotCured(String),
}

/// The clean stretch, which began at `clean_since`, has to last `duration`; twice that is the most that is waited for it to
/// begin and for data.
pub(super) fn judge(
    verification: &Verification,
    rolled_out: Timestamp,
    clean_since: Option<Timestamp>,
    duration: SignedDuration,
    now: Timestamp,
) -> Verified {
    let over = clean_since.is_some_and(|since| now.duration_since(since) >= duration);
    let long_over = now.duration_since(rolled_out) >= duration * 2;
    match verification {
        Verification::Within if over => Verified::Cured,
        Verification::Outside(why) if long_over => Verified::NotCured(why.clone()),
        Verification::Unknown(why) if long_over => Verified::Unmeasured(why.clone()),
        _ => Verified::Waiting,
    }
}
