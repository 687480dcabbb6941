//! Judging one target: measure, decide, look whether it would work, order.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use snapback_api::conditions::cut;
use snapback_api::v1alpha1::{CheckStatus, ReadinessStatus, RollbackPolicy, TargetStatus};
use snapback_core::notice::Notice;
use snapback_core::permission::{Permission, Request, permission};
use snapback_core::readiness::data;
use snapback_core::watch::{self, Arrival, Decision, Order, RevisionRef, Target};

use super::checklist::{self, RETRY, Ready};
use super::guard::Guarded;
use super::measure::{looks_bad, measure, rest};
use super::order::{self, Ordered};
use super::{configuration, freeze, quarantine, ready, unheard};
use crate::context::Context;
use crate::error::Error;
use crate::sampler::Grid;
use crate::status::{check_status, target_from_status, target_status};
use crate::workload::{ConfigRules, Live, created, snapshot};

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

/// What one look at one target goes by.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) shared: &'a Context,
    pub(super) policy: &'a RollbackPolicy,
    pub(super) guarded: &'a Guarded,
    pub(super) name: &'a str,
    /// What is remembered of it.
    pub(super) known: Option<&'a TargetStatus>,
    /// As it lives.
    pub(super) live: &'a Live,
}

impl<'a> Look<'a> {
    pub(super) fn namespace(&self) -> String {
        self.policy.namespace().unwrap_or_default()
    }

    /// What becomes of the configuration.
    pub(super) fn rules(&self) -> ConfigRules {
        self.shared.config_rules(self.guarded.policy.rollback.config)
    }

    /// What was told of its readiness, if it was about this workload and by this spec.
    pub(super) fn readiness_before(&self) -> Option<&'a ReadinessStatus> {
        let status = self.policy.status.as_ref()?;
        let is_same_spec = status.observed_generation == self.policy.metadata.generation;
        let known = self.known.filter(|known| is_same_spec && known.uid == self.live.workload.uid.as_str())?;
        known.readiness.as_ref()
    }
}

pub(super) async fn judge(look: Look<'_>) -> Result<Judged, Error> {
    let Look { shared, policy, guarded, name, known, live } = look;
    let now = shared.now();
    let former = former(&look).await?;
    let (state, mut notices) = follow(&look, former, now);
    let acting = match &state.rollback {
        Some(rollback) => order::acting(shared, &look.namespace(), rollback).await?,
        None => None,
    };
    let (checks, asked) = measure(&look, &state, now).await;
    shared.bad_now.note(&state.uid, looks_bad(&checks), shared.limits.brake_window, now);

    let (before, rollout) = (state.phase, state.rollout.clone());
    let mut decision = watch::decide(&guarded.policy, state, &live.workload, &checks, acting.as_ref(), now);
    let not_kept = ready::keep(&look, &mut decision.state).await;
    let (drifted, notice) = configuration::drift(&look, &decision.state).await;
    notices.extend(notice);
    let heard = match &rollout {
        Some(_) => data(&guarded.policy, rollout.as_ref(), &checks, now),
        None => unheard::ask(&look, &decision.state, now).await,
    };
    let Ready { obstacle, told } = checklist::readiness(&look, &decision, &not_kept, heard).await;
    shared.retries.note(decision.state.uid.as_str(), &told, now);
    decision = freeze::carry_out(shared, policy, name, live, decision, before).await?;
    decision = if let Some(obstacle) = obstacle {
        watch::blocked(decision, before, &obstacle)
    } else {
        let permission = may(&look, &decision, now);
        watch::permitted(decision, before, permission)
    };

    let Decision { mut state, order, freeze: _, notices: decided, next_look } = decision;
    notices.extend(decided);
    if let Some(order) = &order {
        notices = place(&look, order, &mut state, notices, &asked, now).await?;
    }
    rest(&look, &state);
    let next_look = when_next(&look, &state, rollout.map(|rollout| rollout.started), next_look, &told, now);
    let checks = match (checks.as_slice(), known) {
        ([], known) => known.map(|known| known.checks.clone()).unwrap_or_default(),
        (checks, _) => checks.iter().map(|check| check_status(check, &asked)).collect(),
    };
    let checks = steady(known, &state, checks);
    let status = target_status((guarded.kind, name), &state, &guarded.policy, live.workload.generation, checks, told);
    let delivered_by = live.workload.delivery.told().map(|told| cut(&told, 600));
    let status = TargetStatus { drifted, delivered_by, ..status };
    Ok(Judged { status: Some(status), uid: Some(state.uid.as_str().to_owned()), notices, next_look })
}

/// What was known good to a policy before this one, of a workload that this one sees for the first time. What a person let stay is not
/// judged again. Where the copies may not be read, there were none; else the look has to know.
async fn former(look: &Look<'_>) -> Result<Option<RevisionRef>, Error> {
    let workload = &look.live.workload;
    let uid = workload.uid.as_str();
    let records = &look.guarded.records;
    if look.known.is_some_and(|known| known.uid == uid) || records.may_stay(uid, workload.live.as_str()) {
        return Ok(None);
    }
    let copies = match snapshot::all(&look.shared.client, &look.namespace(), look.name, uid).await {
        Err(error) if !error.is_transient() => Vec::new(),
        copies => copies?,
    };
    Ok(watch::former(&copies, workload, &records.undone(uid)))
}

/// What is remembered, after this look; whom a person let go, and whose undo is followed.
fn follow(look: &Look<'_>, former: Option<RevisionRef>, now: Timestamp) -> (Target, Vec<Notice>) {
    let before = look.known.map(target_from_status);
    let (since, soak) = (created(look.policy), &look.guarded.policy.soak);
    let arrival = Arrival::of(&look.live.workload, since, soak, former, now);
    let (mut state, mut notices) = watch::observe(before.as_ref(), &look.live.workload, &arrival, now);
    let released = quarantine::released(look.shared, &look.namespace(), look.known);
    notices.extend(watch::release(&mut state, &released, now));
    if state.rollback.is_none() {
        let good = state.known_good.as_ref().map(|good| good.fingerprint.as_str());
        let quarantined: Vec<String> = state.quarantined.iter().map(|bad| bad.rollback.clone()).collect();
        let current = state.current.fingerprint.as_str();
        state.rollback = look.guarded.records.unknown_to(state.uid.as_str(), good, current, &quarantined);
    }
    (state, notices)
}

/// Places an order. Gives what there is to tell then.
async fn place(
    look: &Look<'_>,
    order: &Order,
    state: &mut Target,
    notices: Vec<Notice>,
    asked: &BTreeMap<String, String>,
    now: Timestamp,
) -> Result<Vec<Notice>, Error> {
    let Look { shared, policy, guarded, name, live, .. } = *look;
    Ok(match order::place(shared, policy, guarded, name, live, order, asked).await? {
        Ordered::Placed(rollback) => {
            shared.metrics.decided(order.started, now);
            if order.returned.is_some() {
                shared.metrics.returned();
            }
            state.rollback = Some(rollback);
            notices
        }
        Ordered::Adopted(rollback) => {
            state.rollback = Some(rollback);
            Vec::new()
        }
        Ordered::NotAgain(rollback) => quarantine::not_again(state, order, &look.namespace(), &rollback),
        Ordered::Contended(rollback) => {
            let rival = guarded.records.rival(state.uid.as_str(), order.from.fingerprint.as_str(), &rollback);
            quarantine::contended(state, order, &look.namespace(), &rollback, rival, &live.workload.delivery)
        }
    })
}

/// The grid decides when there is something new to ask for; a pod event may come earlier. What is still to be kept, and
/// what is in the way of a rollback, is tried again at rest, too.
fn when_next(
    look: &Look<'_>,
    state: &Target,
    started: Option<Timestamp>,
    next: Option<SignedDuration>,
    told: &ReadinessStatus,
    now: Timestamp,
) -> Option<SignedDuration> {
    let rules = &look.guarded.policy;
    let is_kept = |good: &RevisionRef| !good.snapshot.is_empty() && !configuration::is_owed(good, look.rules());
    let is_open = state.known_good.as_ref().is_some_and(|good| !is_kept(good)) || checklist::may_cease(told);
    let next = if is_open { Some(next.unwrap_or(RETRY).min(RETRY)) } else { next };
    let grid = started.map(|started| Grid::new(started, rules.soak.interval, 0, now).until_next());
    next.map(|next| grid.map_or(next, |grid| next.min(grid)))
}

/// Whether the order of a decision may be placed without a person. What a person is asked about anyway needs none.
fn may(look: &Look<'_>, decision: &Decision, now: Timestamp) -> Permission {
    if decision.order.as_ref().is_none_or(|order| order.ask.is_some()) {
        return Permission::Act;
    }
    let request = Request {
        namespace: &look.namespace(),
        uid: &decision.state.uid,
        cooldown: look.guarded.policy.rollback.cooldown,
        limits: &look.shared.limits,
        now,
    };
    let bad_now = look.shared.bad_now.within(look.shared.limits.brake_window, now);
    permission(&request, &look.shared.past(), &bad_now)
}

/// Status is written on transitions, not on ticks: while phase, verdicts and reasons stay, the last written numbers do.
fn steady(known: Option<&TargetStatus>, state: &Target, checks: Vec<CheckStatus>) -> Vec<CheckStatus> {
    let Some(known) = known else { return checks };
    let same_rollout = known.rollout.is_some() == state.rollout.is_some()
        && known.current.fingerprint == state.current.fingerprint.as_str();
    let outline = |checks: &[CheckStatus]| -> Vec<(String, String)> {
        checks.iter().map(|check| (check.name.clone(), check.reason.clone())).collect()
    };
    if same_rollout && outline(&known.checks) == outline(&checks) { known.checks.clone() } else { checks }
}
