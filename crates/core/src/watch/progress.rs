//! Kubernetes' own progress deadline, as a check that every policy has.

use jiff::SignedDuration;

use super::Rollout;
use crate::checks::{CheckResult, Unit, Verdict, Why};
use crate::policy::Severity;
use crate::workload::{PodFacts, Workload, rolled_out};

/// A breach when Kubernetes gave this rollout up: `ProgressDeadlineExceeded`, newer than the rollout (the condition
/// survives an undo), while a pod of the revision exists and has a place to run. A lack of capacity is not the
/// release's fault.
pub(super) fn evaluate(workload: &Workload, rollout: &Rollout) -> Option<CheckResult> {
    let exceeded = workload.progress_deadline_exceeded.filter(|at| *at >= rollout.started)?;
    if rollout.completed.is_some() || rolled_out(workload, &workload.live).is_ok() {
        return None;
    }
    let pods: Vec<&PodFacts> = workload.pods_of(&workload.live).filter(|pod| !pod.leaving).collect();
    let no_room = pods.is_empty() || pods.iter().any(|pod| pod.unschedulable);
    let ready = pods.iter().filter(|pod| pod.ready).count();
    let (verdict, why, message) = if no_room {
        let message = "the progress deadline passed, but pods found no place to run: not the release's fault";
        (Verdict::Inconclusive, Why::ExternalCause, message.to_owned())
    } else {
        let message = format!("the progress deadline passed with {ready} of {} new pods ready", pods.len());
        (Verdict::Breached, Why::OutsideLimit, message)
    };
    Some(CheckResult {
        name: "progress".to_owned(),
        severity: Severity::Critical,
        verdict,
        why,
        unit: Unit::Plain,
        value: None,
        limit: None,
        baseline: None,
        requests: None,
        bad: None,
        in_a_row: 0,
        window: None,
        first_bad: Some(exceeded),
        covered: SignedDuration::MAX,
        odds: None,
        record: String::new(),
        message,
    })
}
