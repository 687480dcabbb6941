//! Do the checks' queries return data? Where they do not, the next bad release might not be noticed, and a cure could not
//! be verified.

use jiff::Timestamp;

use super::Readiness;
use crate::checks::{CheckResult, Why};
use crate::policy::{OnNoData, Policy, Severity};
use crate::sample::Missing;
use crate::watch::Rollout;

/// What the checks say of their queries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// Nothing was asked, or it is too early to tell: what was found before stays.
    Unknown,
    /// Each critical check has data, or lacks it for no fault of its query. Or the author does not mind.
    Fine,
    /// A critical check has none.
    Missing(Readiness),
}

impl Data {
    /// The word for it.
    pub const REASON: &'static str = "ChecksHaveNoData";

    /// What is to be told. `before` is the word and sentence of the last look, if it was about the same spec.
    pub fn obstacle(self, before: Option<(&str, &str)>) -> Option<Readiness> {
        match (self, before) {
            (Self::Missing(readiness), _) => Some(readiness),
            (Self::Unknown, Some((Self::REASON, message))) => Some(Readiness::not(Self::REASON, message.to_owned())),
            (Self::Unknown | Self::Fine, _) => None,
        }
    }
}

/// Whether a check is blind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Blind {
    /// Until somebody changes the query, the policy or the metric.
    Lasting,
    /// At this look: new pods are scraped only after a while, and a source may be away for a moment.
    Now,
}

fn blind(why: &Why) -> Option<Blind> {
    match why {
        Why::NoBucketAbove | Why::NoLimits => Some(Blind::Lasting),
        Why::Missing(missing) => Some(match missing {
            Missing::ManySeries(_) | Missing::BadQuery(_) | Missing::UnknownSource(_) => Blind::Lasting,
            Missing::Unavailable(_)
            | Missing::TooLarge(_)
            | Missing::Empty
            | Missing::NotANumber
            | Missing::Partial(_) => Blind::Now,
        }),
        // There is data; or there is none because there were no requests, no pods, nothing before.
        Why::WithinLimit
        | Why::OutsideLimit
        | Why::CountingUp
        | Why::ExternalCause
        | Why::TooFewRequests
        | Why::NoRequests
        | Why::NoBaseline
        | Why::NoPods
        | Why::RollingOut
        | Why::OnePod
        | Why::TooCloseToSay => None,
    }
}

/// Judges the results of one look at `rollout`.
///
/// What may pass by itself counts only when half of the soak is over: from then on the soak cannot end in time any more
/// ([`crate::watch::soaked`]).
pub fn data(policy: &Policy, rollout: Option<&Rollout>, results: &[CheckResult], now: Timestamp) -> Data {
    if policy.on_no_data == OnNoData::Pass {
        return Data::Fine;
    }
    let Some(rollout) = rollout.filter(|_| !results.is_empty()) else { return Data::Unknown };
    let is_late = rollout.completed.is_some_and(|at| now.duration_since(at) >= policy.soak.duration / 2);
    let critical = results.iter().filter(|check| check.severity == Severity::Critical);
    let blind: Vec<(&CheckResult, Blind)> =
        critical.filter_map(|check| blind(&check.why).map(|blind| (check, blind))).collect();
    let counts = |blind: Blind| blind == Blind::Lasting || is_late;
    let told: Vec<String> = blind
        .iter()
        .filter(|(_, blind)| counts(*blind))
        .map(|(check, _)| format!("{}: {} ({})", check.name, check.message, check.why.reason()))
        .collect();
    match (blind.is_empty(), told.is_empty()) {
        (true, _) => Data::Fine,
        (false, true) => Data::Unknown,
        (false, false) => Data::Missing(Readiness::not(
            Data::REASON,
            format!(
                "an undo would work, but critical checks have no data to judge by: {}. The next bad release might not be \
                 noticed, and no cure verified: mend the metrics, or the checks",
                told.join("; ")
            ),
        )),
    }
}
