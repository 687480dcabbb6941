//! Measuring one target that is judged.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::ResourceExt;
use snapback_core::checks::{CheckResult, Control, Measured, Verdict, Why, evaluate_beside};
use snapback_core::policy::{Policy, Rule, Severity};
use snapback_core::watch::{RevisionRef, Rollout, Target};
use snapback_core::workload::{Kind, Workload};
use snapback_prometheus::{ordinals_pattern, pods_pattern};

use super::controls;
use super::judge::Look;
use super::saturation;
use crate::sampler::{Samples, Wanted, WatchKey, own_queries};

/// The checks' results, and the queries that were asked; none while nothing is judged.
pub(super) async fn measure(
    look: &Look<'_>,
    state: &Target,
    now: Timestamp,
) -> (Vec<CheckResult>, BTreeMap<String, String>) {
    let Look { shared, policy, guarded, name, live, .. } = *look;
    let Some(rollout) = judged(look, state) else { return (Vec::new(), BTreeMap::new()) };
    shared.pod_watches.start(&look.namespace(), &policy.name_any(), name, &live.selector);
    let wanted = wanted(look, state, rollout.started);
    let beside = controls::wanted(&guarded.policy, &live.workload, &wanted);
    let current: Vec<&WatchKey> = std::iter::once(&wanted).chain(&beside).map(|wanted| &wanted.key).collect();
    shared.sampler.forget(&wanted.key.watcher, state.uid.as_str(), &current);
    for control in &beside {
        shared.sampler.expect(control, now);
    }
    let mut samples = shared.sampler.sample(&wanted, now).await;
    let controls = controls::sample(&shared.sampler, &beside, now).await;
    let results = results(&guarded.policy, state, &live.workload, &samples, &controls);
    for check in &guarded.policy.checks {
        let parts = parts(&samples.asked, &check.name);
        samples.asked.extend(parts.map(|parts| (check.name.clone(), parts)));
    }
    (results, samples.asked)
}

/// The rollout that is measured. What came back is not: it is undone.
fn judged<'a>(look: &Look<'_>, state: &'a Target) -> Option<&'a Rollout> {
    let is_on = state.rollback.is_none() && !look.guarded.policy.suspend;
    state.rollout.as_ref().filter(|rollout| is_on && rollout.returned.is_none())
}

/// Ends the watch of the pods and forgets the samples, unless the target is still judged: the next look may be long after.
pub(super) fn rest(look: &Look<'_>, state: &Target) {
    if judged(look, state).is_none() {
        let Look { shared, policy, .. } = *look;
        shared.pod_watches.stop(&look.namespace(), &policy.name_any(), look.name);
        shared.sampler.forget(&policy.uid().unwrap_or_default(), state.uid.as_str(), &[]);
    }
}

/// All queries of a check that has several, by the rest of their keys.
fn parts(asked: &BTreeMap<String, String>, check: &str) -> Option<String> {
    let part =
        |(key, query): (&String, &String)| Some(format!("{}: {query}", key.strip_prefix(check)?.strip_prefix('/')?));
    let parts: Vec<String> = asked.iter().filter_map(part).collect();
    (!parts.is_empty()).then(|| parts.join("\n"))
}

/// Whether a target looks bad at this time, decided or not: outside a critical limit twice in a row.
pub(super) fn looks_bad(checks: &[CheckResult]) -> bool {
    let critical = checks.iter().filter(|check| check.severity == Severity::Critical);
    let mut outside = critical.filter(|check| matches!(check.why, Why::OutsideLimit | Why::CountingUp));
    outside.any(|check| check.verdict == Verdict::Breached || check.in_a_row >= 2 || check.odds.is_some())
}

/// What is asked for to judge the live revision since then.
pub(super) fn wanted(look: &Look<'_>, state: &Target, since: Timestamp) -> Wanted {
    let Look { policy, guarded, name, live, .. } = *look;
    let (checks, workload) = (&guarded.policy.checks, &live.workload);
    let (new_sets, old_sets) = sets(workload, state.known_good.as_ref());
    let (namespace, interval) = (policy.namespace().unwrap_or_default(), guarded.policy.soak.interval);
    let queries = checks.iter().flat_map(|check| match &check.rule {
        Rule::Saturation { max } => {
            saturation::queries(&check.name, max, live, state.known_good.as_ref(), &namespace, interval)
        }
        _ => own_queries(check),
    });
    let queries = queries.collect();
    Wanted {
        key: WatchKey {
            watcher: policy.uid().unwrap_or_default(),
            revision: format!("{}/{}", state.uid, state.current.fingerprint),
            since,
        },
        namespace,
        target: name.to_owned(),
        source: policy.spec.metrics.as_ref().and_then(|metrics| metrics.source.clone()),
        names: guarded.names.clone(),
        all_pods: all_pods(workload, name),
        new_sets,
        old_sets,
        since,
        interval,
        // An extended soak has something to be compared with, too.
        before: guarded.policy.soak.longest_looks(),
        past: true,
        requests: checks.iter().any(|check| matches!(check.rule, Rule::ErrorRate { .. } | Rule::TrafficDrop { .. })),
        latencies: checks.iter().any(|check| matches!(check.rule, Rule::Latency { .. })),
        queries,
    }
}

/// A pattern of all pods of a workload whose pods' names do not tell their revision.
pub(crate) fn all_pods(workload: &Workload, name: &str) -> Option<String> {
    match workload.kind {
        Kind::Deployment => None,
        Kind::StatefulSet => Some(ordinals_pattern(name)),
        Kind::DaemonSet => Some(pods_pattern(&[name.to_owned()])),
    }
}

/// The ReplicaSets of the live revision, and those of the others that have pods or had them when all was well. Where
/// there are no ReplicaSets: the pods of the live revision.
pub(crate) fn sets(workload: &Workload, known_good: Option<&RevisionRef>) -> (Vec<String>, Vec<String>) {
    if workload.kind != Kind::Deployment {
        let new: BTreeSet<String> = workload.pods_of(&workload.live).map(|pod| pod.name.clone()).collect();
        return (new.into_iter().collect(), Vec::new());
    }
    let mut new = BTreeSet::new();
    let mut old = BTreeSet::new();
    for revision in &workload.revisions {
        let is_good = known_good.is_some_and(|good| good.fingerprint == revision.fingerprint);
        if revision.fingerprint == workload.live {
            new.insert(revision.name.clone());
        } else if is_good || revision.replicas > 0 || revision.desired > 0 {
            old.insert(revision.name.clone());
        }
    }
    (new.into_iter().collect(), old.into_iter().collect())
}

/// What the checks say of the live revision.
pub(super) fn results(
    policy: &Policy,
    state: &Target,
    workload: &Workload,
    samples: &Samples,
    controls: &[Control],
) -> Vec<CheckResult> {
    let Some(rollout) = &state.rollout else { return Vec::new() };
    let measured = Measured {
        revision: &state.current.fingerprint,
        known_good: state.known_good.as_ref().map(|good| &good.fingerprint),
        since: rollout.started,
        completed: rollout.completed,
        workload,
        requests: &samples.requests,
        latencies: &samples.latencies,
        past: Some(&samples.past),
        looks: policy.soak.looks(),
        queries: &samples.queries,
        minimum_requests: policy.minimum_requests,
    };
    evaluate_beside(&policy.checks, policy.analysis, &measured, controls)
}
