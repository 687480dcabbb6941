//! The rules: what each check measures, and what its result is.
//!
//! One file per kind of check. Each turns facts into [`Reading`]s; [`evaluate`] makes a [`CheckResult`] of them. Missing
//! data is a verdict here, never an error and never a breach.

mod burn_rate;
mod controls;
mod counted;
mod crash_rate;
mod error_rate;
mod latency;
mod lives;
mod multiple;
mod query;
mod result;
mod saturation;
mod sequential;
mod span;
mod traffic;

pub use burn_rate::key as burn_rate_key;
pub use controls::Control;
pub(crate) use crash_rate::Failing;
pub use result::{CheckResult, Odds, Unit, Verdict, Why, format_value};
pub use saturation::key as saturation_key;
pub(crate) use sequential::IN_A_ROW;
pub use sequential::weight;
pub use span::TOLERANCE;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::analysis::Reading;
use crate::fingerprint::Fingerprint;
use crate::policy::{Analysis, Check, Rule};
use crate::sample::{Answer, PodSeries, Point, Side, is_proxy};
use crate::workload::{Kind, Workload};

/// Everything that checks are judged by, at one instant.
#[derive(Debug, Clone)]
pub struct Measured<'a> {
    /// The revision that is judged.
    pub revision: &'a Fingerprint,
    /// The known good one, if there is one: other revisions that still have pods say nothing of what is normal.
    pub known_good: Option<&'a Fingerprint>,
    /// From when on its windows count.
    pub since: Timestamp,
    /// From when on time is covered, for the soak: the completion of the rollout, if it is complete.
    pub completed: Option<Timestamp>,
    /// The live look at the target.
    pub workload: &'a Workload,
    /// Request counters by pod.
    pub requests: &'a Answer<Vec<PodSeries>>,
    /// Duration histograms by pod.
    pub latencies: &'a Answer<Vec<PodSeries>>,
    /// Both of the old pods, over a longer time before the rollout, in longer steps: how much they scatter.
    pub past: Option<&'a [PodSeries]>,
    /// The looks of the planned soak.
    pub looks: u32,
    /// Points of the users' own queries, by check name; of other checks that ask for numbers by [`saturation_key`] and
    /// [`burn_rate_key`].
    pub queries: &'a BTreeMap<String, Answer<Vec<Point>>>,
    /// Requests that a window must hold.
    pub minimum_requests: u64,
}

/// Judges all checks of a policy.
pub fn evaluate_all(checks: &[Check], analysis: Analysis, measured: &Measured<'_>) -> Vec<CheckResult> {
    evaluate_beside(checks, analysis, measured, &[])
}

/// The same beside controls. They can only hold a breach back, never cause one.
///
/// While a control has got worse too, nothing that was counted in that time is held against the release. When that is over
/// the check is judged by what is counted from then on.
pub fn evaluate_beside(
    checks: &[Check],
    analysis: Analysis,
    measured: &Measured<'_>,
    controls: &[Control],
) -> Vec<CheckResult> {
    let mut after: Vec<After> = vec![None; checks.len()];
    loop {
        let mut results = match analysis {
            Analysis::Consecutive { failures } => {
                let by_run = |(check, after): (&Check, &After)| evaluate_after(check, failures, measured, *after);
                checks.iter().zip(&after).map(by_run).collect()
            }
            Analysis::Sequential { false_alarms } => sequential::evaluate(checks, false_alarms, measured, &after),
        };
        if !controls::ask(checks, measured, controls, &mut results, &mut after) {
            return results;
        }
    }
}

/// What was counted in windows that begin before is left out, of the time since the rollout began.
type After = Option<Timestamp>;

/// Judges one check by the number of bad windows in a row.
pub fn evaluate(check: &Check, failures: u32, measured: &Measured<'_>) -> CheckResult {
    evaluate_after(check, failures, measured, None)
}

fn evaluate_after(check: &Check, failures: u32, measured: &Measured<'_>, after: After) -> CheckResult {
    match &check.rule {
        Rule::CrashRate { max } => crash_rate::evaluate(check, *max, measured),
        Rule::ErrorRate { max, max_ratio, floor } => {
            let limits = error_rate::Limits { max: *max, max_ratio: *max_ratio, floor: *floor };
            let readings = spans(measured.requests, measured, after).map(|spans| error_rate::readings(limits, &spans));
            result::from_readings(check, Unit::Share, failures, measured, readings)
        }
        Rule::Latency { quantile, max, max_ratio } => {
            let spans = spans(measured.latencies, measured, after);
            let readings = spans.map(|spans| latency::readings(*quantile, *max, *max_ratio, &spans));
            result::from_readings(check, Unit::Seconds, failures, measured, readings)
        }
        Rule::TrafficDrop { max } => {
            let readings = counted::windows_of(measured.requests, measured)
                .map(|windows| traffic::readings(*max, &windows, measured));
            let is_answered = readings.is_ok();
            let result = result::from_readings(check, Unit::Share, failures, measured, readings);
            if is_answered { traffic::at_rest(result) } else { result }
        }
        Rule::Saturation { max } => saturation::evaluate(check, max, failures, measured),
        Rule::BurnRate { budget, windows, .. } => burn_rate::evaluate(check, *budget, windows, failures, measured),
        Rule::Query { promql, min, max, floor } => {
            let limits = query::Limits { min: *min, max: *max, floor: *floor };
            let settled = query::settled(promql, measured.since, measured.completed);
            let readings = query::readings(limits, measured.queries.get(&check.name), measured.since, settled);
            result::from_readings(check, Unit::Plain, failures, measured, readings)
        }
    }
}

/// The readings of a check, with what is still open.
pub(crate) struct Readings {
    /// Closed windows, oldest first.
    pub(crate) closed: Vec<Reading>,
    /// Requests that were counted and fill no window yet.
    pub(crate) open_requests: Option<u64>,
}

fn spans(answer: &Answer<Vec<PodSeries>>, measured: &Measured<'_>, after: After) -> Answer<span::Spans> {
    let windows = counted::windows_after(answer, measured, after)?;
    Ok(span::close(&windows, measured.since, measured.minimum_requests))
}

/// Whose pod a name is: by the ReplicaSet whose name it starts with, since pods of the past are asked about too. A proxy
/// in front of all pods counts for the old revision before the rollout, and for the new one since.
fn side_of(measured: &Measured<'_>, pod: &str, at: Timestamp) -> Option<Side> {
    if is_proxy(pod) {
        return Some(if at <= measured.since { Side::Old } else { Side::New });
    }
    if measured.workload.kind != Kind::Deployment {
        return side_by_life(measured, pod, at);
    }
    let owner = measured
        .workload
        .revisions
        .iter()
        .filter(|revision| made_by(&revision.name, pod))
        .max_by_key(|revision| revision.name.len())?;
    if owner.fingerprint == *measured.revision {
        return Some(Side::New);
    }
    measured.known_good.is_none_or(|good| owner.fingerprint == *good).then_some(Side::Old)
}

/// The names of a StatefulSet's or DaemonSet's pods say nothing of their revision: the pods that live do, from their
/// start on. Before the rollout began every pod was an old one; what came and went since is nobody's, unless it
/// [went on](lives::lives) from before.
fn side_by_life(measured: &Measured<'_>, name: &str, at: Timestamp) -> Option<Side> {
    let new = measured.workload.pods_of(measured.revision).find(|pod| pod.name == name);
    if new.is_some_and(|pod| at > pod.created) {
        return Some(Side::New);
    }
    let is_old = at <= measured.since || measured.workload.pods_not_of(measured.revision).any(|pod| pod.name == name);
    is_old.then_some(Side::Old)
}

/// Whether a ReplicaSet of this name could have made a pod of that name. Kubernetes cuts the base to 58 characters and
/// adds five (`k8s.io/apiserver` `names.SimpleNameGenerator`).
pub fn made_by(replica_set: &str, pod: &str) -> bool {
    let base = format!("{replica_set}-");
    let base = base.get(..58).unwrap_or(&base);
    pod.strip_prefix(base).is_some_and(|suffix| suffix.len() == 5 && !suffix.contains('-'))
}

/// How much of the time since `completed` closed windows cover.
fn covered(readings: &[Reading], completed: Option<Timestamp>) -> SignedDuration {
    let Some(completed) = completed else { return SignedDuration::ZERO };
    readings.iter().map(|one| one.to.max(completed).duration_since(one.from.max(completed))).sum()
}

#[cfg(test)]
mod tests {
    use super::made_by;

    #[test]
    fn a_pod_belongs_to_the_set_whose_name_it_carries() {
        assert!(made_by("checkout-7d9f", "checkout-7d9f-abcde"));
        assert!(!made_by("checkout-7d9f", "checkout-7d9f-abcdef"));
        assert!(!made_by("checkout", "checkout-7d9f-abcde"));
    }

    #[test]
    fn a_long_name_is_cut_as_kubernetes_cuts_it() {
        let set = "a".repeat(60);
        assert!(made_by(&set, &format!("{}abcde", "a".repeat(58))));
    }
}
