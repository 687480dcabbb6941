//! Writing a record's status, with the version that was read as the precondition.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use snapback_api::conditions::{Said, clear, cut, set};
use snapback_api::v1alpha1::{
    ActionStatus, DeletedPod, FieldOwner, HeldKind, HoldStatus, JobStatus, ResolvedStatus, RevisionStatus, Rollback,
    RollbackPhase, RollbackStatus, Timeline,
};
use snapback_core::checks::CheckResult;
use snapback_core::configuration::Restoration;
use snapback_core::gitops::{Hold, ToolKind};
use snapback_core::ownership::Owner;
use snapback_core::rollback::{JobRun, Phase, Progress, Step, amount_to_text, helm_record};

use super::guard::phase;
use crate::context::Context;
use crate::error::Error;
use crate::status::{check_status, restoration_status, revision_ref, stored};

/// Most actions that are kept.
const MOST_ACTIONS: usize = 32;

/// Writes the status if it says anything new, and gives the object as it is now.
pub(super) async fn status(
    ctx: &Context,
    rollback: &Rollback,
    step: &Step,
    checks: &[CheckResult],
) -> Result<Rollback, Error> {
    let known = rollback.status.clone().unwrap_or_default();
    let next = next_status(rollback, &known, step, checks, ctx.now());
    write(ctx, rollback, next).await
}

/// Whether the status of a record that has ended speaks of its newest spec. That changes when a person releases the revision,
/// and what does not say so seems to be under way again.
pub(super) fn is_seen(rollback: &Rollback) -> bool {
    let status = rollback.status.as_ref();
    let is_over = status.and_then(|status| status.phase).is_some_and(|known| phase(known).is_terminal());
    !is_over
        || rollback.metadata.deletion_timestamp.is_some()
        || status.and_then(|status| status.observed_generation) == rollback.metadata.generation
}

/// Makes it so, and adds what was found by it. Nothing else of the record changes.
pub(super) async fn seen(
    ctx: &Context,
    rollback: &Rollback,
    found: Option<(&'static str, &str)>,
) -> Result<Rollback, Error> {
    let mut status = rollback.status.clone().unwrap_or_default();
    if let Some((action, message)) = found {
        push(&mut status.actions, ctx.now(), action, message);
    }
    let generation = rollback.metadata.generation;
    status.observed_generation = generation;
    status.conditions.iter_mut().for_each(|condition| condition.observed_generation = generation);
    write(ctx, rollback, status).await
}

async fn write(ctx: &Context, rollback: &Rollback, next: RollbackStatus) -> Result<Rollback, Error> {
    if rollback.status.as_ref() == Some(&next) {
        return Ok(rollback.clone());
    }
    replace(ctx, rollback, next).await
}

/// Writes what a person's order means, and why, before anything is done by it.
pub(super) async fn resolved(
    ctx: &Context,
    rollback: &Rollback,
    resolved: ResolvedStatus,
    message: &str,
) -> Result<Rollback, Error> {
    let known = rollback.status.clone().unwrap_or_default();
    let message = cut(message, 1024);
    let mut next = RollbackStatus { reason: "Resolved".to_owned(), message: message.clone(), ..known };
    (next.from, next.to) = (named(&resolved.from), named(&resolved.to));
    next.actions.push(ActionStatus { at: stored(ctx.now()), action: next.reason.clone(), message });
    next.resolved = Some(resolved);
    replace(ctx, rollback, next).await
}

/// A revision as people call it.
fn named(revision: &RevisionStatus) -> String {
    cut(&revision_ref(revision).name(), 512)
}

async fn replace(ctx: &Context, rollback: &Rollback, status: RollbackStatus) -> Result<Rollback, Error> {
    let mut object = rollback.clone();
    object.status = Some(status);
    let rollbacks: Api<Rollback> = Api::namespaced(ctx.client.clone(), &rollback.namespace().unwrap_or_default());
    let params = PostParams { field_manager: Some(crate::FIELD_MANAGER.to_owned()), ..PostParams::default() };
    crate::timed("the Rollback's status", rollbacks.replace_status(&rollback.name_any(), &params, &object)).await
}

/// What is written after a step: all that the next one is to know, and what people see.
pub fn next_status(
    rollback: &Rollback,
    known: &RollbackStatus,
    step: &Step,
    checks: &[CheckResult],
    now: Timestamp,
) -> RollbackStatus {
    let generation = rollback.metadata.generation;
    let phase = step.progress.phase.unwrap_or(Phase::Running);
    let mut conditions = known.conditions.clone();
    let mut say = |type_: &str, status: Option<bool>| {
        set(&mut conditions, &Said { type_, status, reason: step.reason, message: &step.message }, generation, now);
    };
    say("Ready", Some(phase == Phase::Succeeded));
    match step.verified {
        Some(verified) => say("Verified", Some(verified)),
        None if phase == Phase::Succeeded => say("Verified", None),
        None => {}
    }
    if phase.is_terminal() {
        clear(&mut conditions, "Reconciling");
        // Also of what a person refused, or somebody newer won: what was ordered was not done and never will be, and without
        // this word it would seem to be under way for ever.
        if phase != Phase::Succeeded {
            let stalled = Said { type_: "Stalled", status: Some(true), reason: step.reason, message: &step.message };
            set(&mut conditions, &stalled, generation, now);
        }
    } else {
        say("Reconciling", Some(true));
    }

    ownership(&mut conditions, step, generation, now);
    holding(&mut conditions, step.progress.hold.as_ref(), generation, now);

    let mut actions = known.actions.clone();
    if known.reason != step.reason {
        push(&mut actions, now, step.reason, &step.message);
    }
    let progress = &step.progress;
    let ordered = rollback.ordered();
    RollbackStatus {
        observed_generation: generation,
        phase: Some(phase_name(phase)),
        reason: step.reason.to_owned(),
        message: cut(&step.message, 1024),
        from: ordered.map(|ordered| named(ordered.from)).unwrap_or_default(),
        to: ordered.map(|ordered| named(ordered.to)).unwrap_or_default(),
        resolved: known.resolved.clone(),
        conditions,
        timeline: Timeline {
            deployed_at: rollback.spec.started_at.clone(),
            first_bad_at: rollback.spec.first_bad_at.clone(),
            decided_at: Some(rollback.decided_at()),
            approved_at: progress.approved.map(stored),
            undo_requested_at: progress.undo_requested.map(stored),
            undo_accepted_at: progress.undo_accepted.map(stored),
            surge_restored_at: progress.surge_restored.map(stored),
            handed_back_at: progress.handed_back.map(stored),
            rolled_out_at: progress.rolled_out.map(stored),
            recovered_at: progress.recovered.map(stored),
            ended_at: progress.ended.map(stored),
        },
        revision_at_request: progress.number_at_request,
        generation_at_request: progress.generation_at_request,
        owners: owners(&progress.owners, progress.handed_back.is_none()),
        original_max_surge: progress.surge.as_ref().map(|amount| cut(&amount_to_text(amount), 16)),
        config: progress.config.as_ref().and_then(restoration_status),
        migration: progress.migration.as_ref().map(job),
        helm: progress.helm.as_ref().map(job),
        hold: progress.hold.as_ref().map(held),
        deleted_pods: progress
            .deleted
            .iter()
            .map(|pod| DeletedPod { name: pod.name.clone(), uid: pod.uid.as_str().to_owned() })
            .collect(),
        refusal: progress.refused.as_deref().map(|why| cut(why, 512)),
        actions,
        checks: match checks {
            [] => known.checks.clone(),
            checks => checks.iter().map(|check| check_status(check, &BTreeMap::new())).collect(),
        },
    }
}

/// One more action; the oldest ones go.
fn push(actions: &mut Vec<ActionStatus>, now: Timestamp, action: &str, message: &str) {
    actions.push(ActionStatus { at: stored(now), action: action.to_owned(), message: cut(message, 1024) });
    let surplus = actions.len().saturating_sub(MOST_ACTIONS);
    actions.drain(..surplus);
}

/// Most owners that are kept, and the longest text of their fields in all: a record stays small.
const MOST_OWNERS: usize = 8;
const LONGEST_FIELDS: usize = 8192;

/// As stored. Of an owner with very many fields only the name is kept: what it owned then goes to the main owner. Once
/// the fields were given back, nobody needs to read them any more.
fn owners(owners: &[Owner], are_owed: bool) -> Vec<FieldOwner> {
    let mut left = if are_owed { LONGEST_FIELDS } else { 0 };
    let mut stored = Vec::new();
    for owner in owners.iter().take(MOST_OWNERS) {
        let fields = Some(owner.fields.to_string()).filter(|fields| fields.len() <= left && owner.fields.is_object());
        left -= fields.as_ref().map_or(0, String::len);
        stored.push(FieldOwner {
            manager: cut(&owner.manager, 128),
            operation: cut(&owner.operation, 16),
            api_version: cut(&owner.api_version, 64),
            fields,
        });
    }
    stored
}

/// What became of the template's fields, once the undo took them.
fn ownership(conditions: &mut Vec<Condition>, step: &Step, generation: Option<i64>, now: Timestamp) {
    let progress = &step.progress;
    if progress.undo_accepted.is_none() {
        return;
    }
    let over = progress.phase.is_some_and(Phase::is_terminal);
    strategy(conditions, progress, over, generation, now);
    configuration(conditions, progress, generation, now);
    let Some(main) = progress.owners.first() else { return };
    let (status, reason, message) = match (progress.handed_back, over) {
        (Some(_), _) => (true, "OwnersRestored", format!("the template's fields belong to {} again", main.manager)),
        (None, false) => {
            (false, "InProgress", format!("the template's fields are being given back to {}", main.manager))
        }
        (None, true) => {
            let message = format!(
                "the template's fields still belong to {}: the next server-side apply by {} may have to force conflicts",
                crate::FIELD_MANAGER,
                main.manager
            );
            (false, "HandBackFailed", message)
        }
    };
    set(conditions, &Said { type_: "HandedBack", status: Some(status), reason, message: &message }, generation, now);
    record_of_helm(conditions, step.residue.as_deref(), progress.helm.as_ref(), generation, now);
}

fn record_of_helm(
    conditions: &mut Vec<Condition>,
    residue: Option<&str>,
    run: Option<&JobRun>,
    generation: Option<i64>,
    now: Timestamp,
) {
    match helm_record(residue, run) {
        Some((status, reason, message)) => {
            let said = Said { type_: "ResidueExpected", status: Some(status), reason, message: &message };
            set(conditions, &said, generation, now);
        }
        None => clear(conditions, "ResidueExpected"),
    }
}

/// Writes what became of Helm's Job of a record that has ended.
pub(super) async fn helm(ctx: &Context, rollback: &Rollback, run: &JobRun, residue: Option<&str>) -> Result<(), Error> {
    let mut status = rollback.status.clone().unwrap_or_default();
    status.helm = Some(job(run));
    record_of_helm(&mut status.conditions, residue, Some(run), rollback.metadata.generation, ctx.now());
    write(ctx, rollback, status).await.map(drop)
}

/// Writes what became of a hold, and of the fields that an undo for its sake took.
pub(super) async fn hold(ctx: &Context, rollback: &Rollback, progress: &Progress) -> Result<Rollback, Error> {
    let mut status = rollback.status.clone().unwrap_or_default();
    status.hold = progress.hold.as_ref().map(held);
    status.owners = owners(&progress.owners, progress.handed_back.is_none());
    status.timeline.handed_back_at = progress.handed_back.map(stored);
    holding(&mut status.conditions, progress.hold.as_ref(), rollback.metadata.generation, ctx.now());
    write(ctx, rollback, status).await
}

/// As stored.
fn held(hold: &Hold) -> HoldStatus {
    HoldStatus {
        kind: match hold.tool.kind {
            ToolKind::Application | ToolKind::PossibleApplication => HeldKind::Application,
            ToolKind::Kustomization => HeldKind::Kustomization,
            ToolKind::HelmRelease => HeldKind::HelmRelease,
        },
        namespace: hold.tool.namespace.clone(),
        name: hold.tool.name.clone(),
        requested_at: stored(hold.requested),
        placed_at: hold.placed.map(stored),
        revision: hold.mark.revision.as_deref().map(|revision| cut(revision, 512)),
        digest: hold.mark.digest.as_deref().map(|digest| cut(digest, 256)),
        tried_at: hold.tried.map(stored),
        because: hold.because.as_deref().map(|why| cut(why, 512)),
        ended_at: hold.ended.map(stored),
    }
}

/// Whether the bad revision is kept from coming back.
fn holding(conditions: &mut Vec<Condition>, hold: Option<&Hold>, generation: Option<i64>, now: Timestamp) {
    let Some(hold) = hold else { return };
    let because = hold.because.as_deref().unwrap_or_default();
    let (status, reason, message) = match hold {
        hold if hold.was_refused() => (false, "NotHeld", format!("{} is not held: {because}", hold.tool)),
        Hold { ended: Some(_), .. } => (false, "Ended", format!("{} is not held any more: {because}", hold.tool)),
        Hold { placed: None, .. } => (false, "InProgress", format!("{} is being held", hold.tool)),
        hold => (true, "Held", hold.told()),
    };
    set(conditions, &Said { type_: "Held", status: Some(status), reason, message: &message }, generation, now);
}

/// As stored.
fn job(run: &JobRun) -> JobStatus {
    JobStatus {
        job: cut(&run.job, 63),
        requested_at: stored(run.requested),
        created_at: run.created.map(stored),
        refusal: run.refused.as_deref().map(|why| cut(why, 512)),
        ended_at: run.ended.map(stored),
        failure: run.failure.as_deref().map(|why| cut(why, 512)),
    }
}

/// What became of a raised `maxSurge`.
fn strategy(conditions: &mut Vec<Condition>, progress: &Progress, over: bool, generation: Option<i64>, now: Timestamp) {
    if progress.surge.is_some() {
        let (status, reason, message) = match (progress.surge_restored, over) {
            (Some(_), _) => (true, "Restored", "maxSurge is what it was before the undo"),
            (None, false) => (false, "InProgress", "maxSurge is raised for the undo"),
            (None, true) => (false, "NotRestored", "maxSurge could not be put back; set it by hand"),
        };
        let said = Said { type_: "StrategyRestored", status: Some(status), reason, message };
        set(conditions, &said, generation, now);
    }
}

/// What became of a configuration that has changed since the revision was known good, or may have.
fn configuration(conditions: &mut Vec<Condition>, progress: &Progress, generation: Option<i64>, now: Timestamp) {
    let Some(config) = progress.config.as_ref().filter(|config| **config != Restoration::default()) else { return };
    let mut parts = Vec::new();
    for (titles, what) in [
        (
            &config.drifted,
            "these have changed since it was known good (a Secret without a copy: was written), and its pods read what is \
             there now",
        ),
        (&config.unread, "these could not be read, so nobody knows whether its pods read what they did then"),
        (
            &config.restored,
            "its pods read copies of what was in these when it was known good; mend them before the next release",
        ),
    ] {
        if !titles.is_empty() {
            parts.push(format!("{}: {what}", titles.join(", ")));
        }
    }
    let (status, reason) = match (config.drifted.is_empty(), config.unread.is_empty()) {
        (false, _) => (Some(false), "Drifted"),
        (true, false) => (None, "NotRead"),
        (true, true) => (Some(true), "CopiesUsed"),
    };
    let message = parts.join("; ");
    set(conditions, &Said { type_: "ConfigRestored", status, reason, message: &message }, generation, now);
}

fn phase_name(phase: Phase) -> RollbackPhase {
    match phase {
        Phase::AwaitingApproval => RollbackPhase::AwaitingApproval,
        Phase::Running => RollbackPhase::Running,
        Phase::Verifying => RollbackPhase::Verifying,
        Phase::Succeeded => RollbackPhase::Succeeded,
        Phase::Failed => RollbackPhase::Failed,
        Phase::Superseded => RollbackPhase::Superseded,
        Phase::Escalated => RollbackPhase::Escalated,
        Phase::Rejected => RollbackPhase::Rejected,
    }
}
