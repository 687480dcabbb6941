//! Results of checks.

use std::collections::BTreeMap;

use snapback_api::conditions::cut;
use snapback_api::v1alpha1::{CheckStatus, SeverityName, VerdictName};
use snapback_core::checks::{CheckResult, Unit, Verdict, format_value};
use snapback_core::policy::Severity;

use super::stored;

/// The same for a record: with what a breach was proven by, if that is not too long to keep.
pub(crate) fn evidence(result: &CheckResult, asked: &BTreeMap<String, String>) -> CheckStatus {
    let is_kept = result.verdict == Verdict::Breached && (1..=MOST_COUNTS).contains(&result.record.len());
    CheckStatus { counts: is_kept.then(|| result.record.clone()), ..check_status(result, asked) }
}

/// Longest text of counts that a record holds: four checks' fit into its 32 KiB with all else.
const MOST_COUNTS: usize = 6144;

/// As stored. `asked` holds the queries, by check name, or under `requests` and `latencies` for the presets'.
pub(crate) fn check_status(result: &CheckResult, asked: &BTreeMap<String, String>) -> CheckStatus {
    let show = |value: Option<f64>| value.map(|value| format_value(result.unit, value));
    let count = |count: Option<u64>| count.and_then(|count| i64::try_from(count).ok());
    let by_preset = match (result.unit, result.window.is_some()) {
        (Unit::Share, true) => asked.get("requests"),
        (Unit::Seconds, true) => asked.get("latencies"),
        _ => None,
    };
    CheckStatus {
        name: result.name.clone(),
        severity: match result.severity {
            Severity::Critical => SeverityName::Critical,
            Severity::Warning => SeverityName::Warning,
        },
        verdict: match result.verdict {
            Verdict::Passing => VerdictName::Passing,
            Verdict::Breached => VerdictName::Breached,
            Verdict::Inconclusive => VerdictName::Inconclusive,
            Verdict::NoData => VerdictName::NoData,
        },
        reason: result.why.reason().to_owned(),
        value: show(result.value),
        limit: show(result.limit),
        baseline: show(result.baseline),
        requests: count(result.requests),
        bad: count(result.bad),
        window_start: result.window.map(|(from, _)| stored(from)),
        window_end: result.window.map(|(_, to)| stored(to)),
        query: asked.get(&result.name).or(by_preset).map(|query| cut(query, 8192)),
        counts: None,
        message: cut(&result.message, 1024),
    }
}
