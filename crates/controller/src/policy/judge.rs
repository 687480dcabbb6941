//! Judging one target: measure, decide, order.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use snapback_api::v1alpha1::{RollbackPolicy, TargetStatus};
use snapback_core::checks::{CheckResult, Measured, Verdict, Why, evaluate_all};
use snapback_core::notice::Notice;
use snapback_core::permission::{Permission, Request, permission};
use snapback_core::policy::{ConfigMode, Policy, Rule, Severity};
use snapback_core::readiness::Readiness;
use snapback_core::watch::{self, Decision, RevisionRef, Target};
use snapback_core::workload::{Kind, Workload};
use snapback_prometheus::{ordinals_pattern, pods_pattern};

use super::guard::Guarded;
use super::order::{self, Ordered};
use super::{freeze, quarantine, ready};
use crate::context::Context;
use crate::error::Error;
use crate::sampler::{Grid, Samples, Wanted, WatchKey};
use crate::status::{check_status, target_from_status, target_status};
use crate::workload::{Live, preflight};

/// When a copy of the known good template is tried again.
const COPY_RETRY: SignedDuration = SignedDuration::from_mins(5);

/// What came of one target.
pub(super) struct Judged {
    pub(super) status: Option<TargetStatus>,
    pub(super) uid: Option<String>,
    pub(super) notices: Vec<Notice>,
    pub(super) next_look: Option<SignedDuration>,
}

impl Judged {
    /// There is no such workload.
    pub(super) fn absent() -> Self {
        Self { status: None, uid: None, notices: Vec::new(), next_look: None }
    }
}

pub(super) async fn judge(
    policy: &RollbackPolicy,
    guarded: &Guarded,
    name: &str,
    known: Option<&TargetStatus>,
    live: &Live,
    shared: &Context,
) -> Result<Judged, Error> {
    let now = shared.now();
    let namespace = policy.namespace().unwrap_or_default();
    let before = known.map(target_from_status);
    let (mut state, mut notices) = watch::observe(before.as_ref(), &live.workload, now);
    let released = quarantine::released(shared, &namespace, known);
    notices.extend(watch::release(&mut state, &released, now));
    if state.rollback.is_none() {
        let good = state.known_good.as_ref().map(|good| good.fingerprint.as_str());
        state.rollback = quarantine::by_hand(shared, state.uid.as_str(), good, state.current.fingerprint.as_str());
    }
    let acting = match &state.rollback {
        Some(rollback) => order::acting(shared, &namespace, rollback).await?,
        None => None,
    };

    // What came back is not measured: it is undone.
    let judged = state
        .rollout
        .as_ref()
        .filter(|rollout| state.rollback.is_none() && !guarded.policy.suspend && rollout.returned.is_none());
    let (checks, asked) = if let Some(rollout) = judged {
        shared.pod_watches.start(&namespace, &policy.name_any(), name, &live.selector);
        let wanted = wanted(policy, guarded, name, &state, &live.workload, rollout.started);
        shared.sampler.forget(&wanted.key.watcher, state.uid.as_str(), Some(&wanted.key));
        let samples = shared.sampler.sample(&wanted, now).await;
        let results = results(&guarded.policy, &state, &live.workload, &samples);
        (results, samples.asked)
    } else {
        shared.pod_watches.stop(&namespace, &policy.name_any(), name);
        shared.sampler.forget(&policy.uid().unwrap_or_default(), state.uid.as_str(), None);
        (Vec::new(), BTreeMap::new())
    };
    let started = state.rollout.as_ref().map(|rollout| rollout.started);
    shared.bad_now.note(&state.uid, looks_bad(&checks), now);
    let before = state.phase;
    let mut decision = watch::decide(&guarded.policy, state, &live.workload, &checks, acting.as_ref(), now);
    ready::keep_copy(shared, &namespace, name, live, &mut decision.state).await;
    let config = guarded.policy.rollback.config;
    let not_kept = ready::keep_config(shared, &namespace, name, live, config, &mut decision.state).await;
    let mut readiness = ready::readiness(shared, &namespace, name, live, known, config, &decision.state).await;
    if let (Some(why), ConfigMode::Restore, Some(good)) = (&not_kept, config, &decision.state.known_good) {
        readiness = ready::stored(&Readiness::configuration_is_not_kept(good, why));
    }
    decision = freeze::carry_out(shared, policy, name, live, decision, before).await?;
    if let Some(order) = &decision.order {
        // Once more, right before: what was there after the last rollout may be gone.
        let found = preflight(&shared.client, &namespace, name, live, &order.to, config).await;
        readiness = ready::stored(&found);
        decision = if found.ready {
            let permission = may(guarded, &namespace, &decision, shared, now);
            watch::permitted(decision, before, permission)
        } else {
            watch::blocked(decision, before, &found)
        };
    }
    let Decision { mut state, order, freeze: _, notices: decided, mut next_look } = decision;
    if state.known_good.as_ref().is_some_and(|good| good.snapshot.is_empty() || ready::is_owed(good, config)) {
        next_look = Some(next_look.unwrap_or(COPY_RETRY).min(COPY_RETRY));
    }
    notices.extend(decided);

    if let Some(order) = &order {
        match order::place(shared, policy, guarded, name, live, order, &asked).await? {
            Ordered::Placed(rollback) => {
                shared.metrics.decided(order.started, now);
                if order.returned.is_some() {
                    shared.metrics.returned();
                }
                state.rollback = Some(rollback);
            }
            Ordered::Adopted(rollback) => {
                notices.clear();
                state.rollback = Some(rollback);
            }
            Ordered::NotAgain(rollback) => {
                notices = quarantine::not_again(&mut state, order, &namespace, &rollback);
            }
            Ordered::Contended(rollback) => {
                notices = quarantine::contended(&mut state, order, &namespace, &rollback);
            }
        }
    }
    // The grid decides when there is something new to ask for; a pod event may come earlier.
    let next_look = match (started, next_look) {
        (Some(started), Some(next)) => {
            Some(next.min(Grid::new(started, guarded.policy.soak.interval, 0, now).until_next()))
        }
        (_, next) => next,
    };
    let checks = if checks.is_empty() {
        known.map(|known| known.checks.clone()).unwrap_or_default()
    } else {
        checks.iter().map(|check| check_status(check, &asked)).collect()
    };
    let checks = steady(known, &state, checks);
    let status =
        target_status((guarded.kind, name), &state, &guarded.policy, live.workload.generation, checks, readiness);
    Ok(Judged { status: Some(status), uid: Some(state.uid.as_str().to_owned()), notices, next_look })
}

/// Whether a target looks bad at this time, decided or not: outside a critical limit twice in a row.
fn looks_bad(checks: &[CheckResult]) -> bool {
    let critical = checks.iter().filter(|check| check.severity == Severity::Critical);
    let mut outside = critical.filter(|check| matches!(check.why, Why::OutsideLimit | Why::CountingUp));
    outside.any(|check| check.verdict == Verdict::Breached || check.in_a_row >= 2 || check.odds.is_some())
}

/// Whether the order of a decision may be placed without a person. What a person is asked about anyway needs none.
fn may(guarded: &Guarded, namespace: &str, decision: &Decision, shared: &Context, now: Timestamp) -> Permission {
    if decision.order.as_ref().is_none_or(|order| order.ask.is_some()) {
        return Permission::Act;
    }
    let request = Request {
        namespace,
        uid: &decision.state.uid,
        cooldown: guarded.policy.rollback.cooldown,
        limits: &shared.limits,
        now,
    };
    permission(&request, &shared.past(), &shared.bad_now.within(shared.limits.brake_window, now))
}

/// Status is written on transitions, not on ticks: while phase, verdicts and reasons stay, the last written numbers do.
fn steady(
    known: Option<&TargetStatus>,
    state: &Target,
    checks: Vec<snapback_api::v1alpha1::CheckStatus>,
) -> Vec<snapback_api::v1alpha1::CheckStatus> {
    let Some(known) = known else { return checks };
    let same_rollout = known.rollout.is_some() == state.rollout.is_some()
        && known.current.fingerprint == state.current.fingerprint.as_str();
    let outline = |checks: &[snapback_api::v1alpha1::CheckStatus]| -> Vec<(String, String)> {
        checks.iter().map(|check| (check.name.clone(), check.reason.clone())).collect()
    };
    if same_rollout && outline(&known.checks) == outline(&checks) { known.checks.clone() } else { checks }
}

fn wanted(
    policy: &RollbackPolicy,
    guarded: &Guarded,
    name: &str,
    state: &Target,
    workload: &Workload,
    since: Timestamp,
) -> Wanted {
    let checks = &guarded.policy.checks;
    let (new_sets, old_sets) = sets(workload, state.known_good.as_ref());
    let queries = checks.iter().filter_map(|check| match &check.rule {
        Rule::Query { promql, .. } => Some((check.name.clone(), promql.clone())),
        _ => None,
    });
    Wanted {
        key: WatchKey {
            watcher: policy.uid().unwrap_or_default(),
            revision: format!("{}/{}", state.uid, state.current.fingerprint),
            since,
        },
        namespace: policy.namespace().unwrap_or_default(),
        target: name.to_owned(),
        source: policy.spec.metrics.as_ref().and_then(|metrics| metrics.source.clone()),
        names: guarded.names.clone(),
        all_pods: all_pods(workload, name),
        new_sets,
        old_sets,
        since,
        interval: guarded.policy.soak.interval,
        before: guarded.policy.soak.looks(),
        past: true,
        requests: checks.iter().any(|check| matches!(check.rule, Rule::ErrorRate { .. } | Rule::TrafficDrop { .. })),
        latencies: checks.iter().any(|check| matches!(check.rule, Rule::Latency { .. })),
        queries: queries.collect(),
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

fn results(policy: &Policy, state: &Target, workload: &Workload, samples: &Samples) -> Vec<CheckResult> {
    let Some(rollout) = &state.rollout else { return Vec::new() };
    let measured = Measured {
        revision: &state.current.fingerprint,
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
    evaluate_all(&policy.checks, policy.analysis, &measured)
}
