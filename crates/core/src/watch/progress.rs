//! A rollout that does not get on, as a check that every policy has: Kubernetes' own progress deadline, and for the kinds
//! that have none, ours.

use jiff::{SignedDuration, Timestamp};

use super::Rollout;
use crate::checks::{CheckResult, Unit, Verdict, Why};
use crate::duration;
use crate::policy::Severity;
use crate::workload::{Kind, PodFacts, Workload, rolled_out};

/// What a rollout that does not get on says about its revision; `None` while it does.
pub(super) fn evaluate(
    workload: &Workload,
    rollout: &Rollout,
    deadline: SignedDuration,
    now: Timestamp,
) -> Option<CheckResult> {
    if rollout.completed.is_some() || rolled_out(workload, &workload.live).is_ok() {
        return None;
    }
    let pods: Vec<&PodFacts> = workload.pods_of(&workload.live).filter(|pod| !pod.leaving).collect();
    match workload.kind {
        Kind::Deployment => exceeded(workload, rollout, &pods),
        Kind::StatefulSet | Kind::DaemonSet => hanging(workload, &pods, deadline, now),
    }
}

/// A breach when Kubernetes gave this rollout up: `ProgressDeadlineExceeded`, newer than the rollout (the condition
/// survives an undo), while a pod of the revision exists and has a place to run. A lack of capacity is not the
/// release's fault.
fn exceeded(workload: &Workload, rollout: &Rollout, pods: &[&PodFacts]) -> Option<CheckResult> {
    let exceeded = workload.progress_deadline_exceeded.filter(|at| *at >= rollout.started)?;
    let no_room = pods.is_empty() || pods.iter().any(|pod| pod.unschedulable);
    let ready = pods.iter().filter(|pod| pod.ready).count();
    Some(if no_room {
        let message = "the progress deadline passed, but pods found no place to run: not the release's fault";
        not_the_release(exceeded, message.to_owned())
    } else {
        breach(exceeded, format!("the progress deadline passed with {ready} of {} new pods ready", pods.len()))
    })
}

/// A breach when at least half of the new pods run for longer than `deadline` without becoming ready, and no old one has
/// the same trouble. Only pods that their kubelet calls started count: neither a lost node, nor a slow pull, nor a long
/// start under a startup probe is one. Fewer than half, with others that are ready, speak of a node or a volume.
fn hanging(workload: &Workload, pods: &[&PodFacts], deadline: SignedDuration, now: Timestamp) -> Option<CheckResult> {
    let is_late = |since: &Timestamp| now.duration_since(*since) >= deadline;
    let late = pods.iter().filter_map(|pod| pod.hanging_since.filter(is_late).map(|since| (since, &pod.name)));
    let late: Vec<(Timestamp, &String)> = late.collect();
    let (first, name) = late.iter().min()?;
    let (count, of, allowed) = (late.len(), pods.len(), duration::format(deadline));
    let of_new = format!("{count} of {of} new pods run, but were not ready within {allowed}");
    let mut old = workload.pods.iter().filter(|pod| !pod.leaving && !pods.iter().any(|new| new.uid == pod.uid));
    Some(if let Some(old) = old.find(|pod| pod.hanging_since.is_some()) {
        not_the_release(*first, format!("{of_new}; nor is {}, which is not new: not the release's fault", old.name))
    } else if count * 2 < of {
        not_the_release(*first, format!("{of_new} ({name}); the others speak against the release's being the cause"))
    } else {
        breach(*first, format!("{of_new} ({name})"))
    })
}

fn breach(since: Timestamp, message: String) -> CheckResult {
    result(Verdict::Breached, Why::OutsideLimit, since, message)
}

fn not_the_release(since: Timestamp, message: String) -> CheckResult {
    result(Verdict::Inconclusive, Why::ExternalCause, since, message)
}

fn result(verdict: Verdict, why: Why, since: Timestamp, message: String) -> CheckResult {
    CheckResult {
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
        first_bad: Some(since),
        covered: SignedDuration::MAX,
        odds: None,
        record: String::new(),
        message,
    }
}
