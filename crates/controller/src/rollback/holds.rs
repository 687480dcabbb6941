//! Holds: placing one before or with the undo, keeping it, and ending it, long after the record has ended.

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Api, Resource, ResourceExt};
use serde_json::json;
use snapback_api::v1alpha1::{HOLD_FINALIZER, Rollback};
use snapback_core::gitops::{Deliverer, Hold, HoldAct, Look, Plan, Scene, Tended, Tool, begin, plan, tend};
use snapback_core::rollback::{Act, Order, Phase, Progress, Step};

use super::{asker, beside, commit, guard};
use crate::context::Context;
use crate::error::Error;
use crate::gitops::{self, Placed};
use crate::workload::{self, Live};

/// A step that would undo, with the hold that goes before or with it.
pub(super) async fn with_hold(
    ctx: &Context,
    rollback: &Rollback,
    order: &Order,
    progress: &Progress,
    live: Option<&Live>,
    next: Step,
) -> Step {
    let Some(live) = live.filter(|_| next.act == Act::Undo) else { return next };
    let plan = match &progress.hold {
        Some(_) => Plan::Nothing,
        None => planned(ctx, rollback, live).await,
    };
    begin(order, progress, next, &plan, ctx.now())
}

async fn planned(ctx: &Context, rollback: &Rollback, live: &Live) -> Plan {
    let by = &live.workload.delivery.by;
    let tool = by.iter().find_map(|one| match one {
        Deliverer::Tool(tool) => Some(tool),
        Deliverer::Helm(_) | Deliverer::Controller(_) => None,
    });
    let Some(tool) = tool else { return Plan::Nothing };
    plan(by, Some(&look(ctx, rollback, tool).await))
}

async fn look(ctx: &Context, rollback: &Rollback, tool: &Tool) -> Look {
    let target = &rollback.spec.target;
    let namespace = rollback.namespace().unwrap_or_default();
    gitops::look(&ctx.client, &ctx.gitops, tool, (target.kind.into(), &namespace, &target.name)).await
}

/// Makes sure that the record cannot go before its hold has ended. Gives the record as it is then.
pub(super) async fn guarded(ctx: &Context, rollback: &Rollback, progress: &Progress) -> Result<Rollback, Error> {
    let is_open = progress.hold.as_ref().is_some_and(Hold::is_open);
    let finalizers = rollback.finalizers();
    let has = finalizers.iter().any(|one| one == HOLD_FINALIZER);
    if is_open == has || (is_open && rollback.meta().deletion_timestamp.is_some()) {
        return Ok(rollback.clone());
    }
    let mut finalizers = finalizers.to_vec();
    finalizers.retain(|one| one != HOLD_FINALIZER);
    finalizers.extend(is_open.then(|| HOLD_FINALIZER.to_owned()));
    let patch = Patch::Merge(json!({"metadata": {
        "resourceVersion": rollback.resource_version(), "finalizers": finalizers
    }}));
    let rollbacks: Api<Rollback> = Api::namespaced(ctx.client.clone(), &rollback.namespace().unwrap_or_default());
    let params = PatchParams { field_manager: Some(crate::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    crate::timed("the Rollback's finalizer", rollbacks.patch(&rollback.name_any(), &params, &patch)).await
}

/// Holds the Application that a step names. Gives the state after it.
pub(super) async fn place(ctx: &Context, rollback: &Rollback, mut next: Step) -> Step {
    next.act = Act::Nothing;
    let Some(hold) = next.progress.hold.take() else { return next };
    let placed = gitops::hold(&ctx.client, &ctx.gitops, &hold.tool, &record(rollback)).await;
    next.progress.hold = Some(match placed {
        // The next look sees it, and tells.
        Placed::Done => hold,
        Placed::Refused(why) => {
            let message = format!("{} may put the bad revision back: it cannot be held ({why})", hold.tool);
            next.notices.push(snapback_core::notice::Notice::new(snapback_core::notice::Reason::HoldRefused, message));
            hold.refused(why, ctx.now())
        }
        Placed::Unknown(why) => {
            tracing::warn!(tool = %hold.tool, "the hold had no clear answer: {why}");
            hold.unanswered(why)
        }
    });
    next
}

/// A record, as the annotation of an Application names it.
fn record(rollback: &Rollback) -> String {
    format!("{}/{}", rollback.namespace().unwrap_or_default(), rollback.name_any())
}

/// Whether a record that has ended has a hold that has not.
pub(super) fn outlasts(rollback: &Rollback) -> bool {
    let hold = rollback.status.as_ref().and_then(|status| status.hold.as_ref());
    hold.is_some_and(|hold| hold.ended_at.is_none()) || rollback.finalizers().iter().any(|one| one == HOLD_FINALIZER)
}

/// Sees to a hold that was begun: notes what became of it, and does the next thing. Gives the record and its progress as
/// they are then, and when to look again.
pub(super) async fn see_to(
    ctx: &Context,
    rollback: &Rollback,
    order: &Order,
    mut progress: Progress,
    live: Option<&Live>,
) -> Result<(Rollback, Progress, Option<jiff::SignedDuration>), Error> {
    let Some(hold) = progress.hold.clone().filter(Hold::is_open) else {
        return Ok((guarded(ctx, rollback, &progress).await?, progress, None));
    };
    let now = ctx.now();
    let found = look(ctx, rollback, &hold.tool).await;
    let record = record(rollback);
    let unwanted = unwanted(ctx, rollback, &found).await;
    let live = live.filter(|live| live.workload.uid == order.uid);
    let is_over = progress.phase.is_some_and(Phase::is_terminal)
        || rollback.meta().deletion_timestamp.is_some()
        || ctx.ends_holds;
    let trial = live.and_then(|live| live.workload.delivery.trial);
    let others = beside::records(ctx, rollback, order);
    let scene = Scene {
        bad: &others.bad,
        good: &order.to.fingerprint,
        live: live.map(|live| &live.workload.live),
        trial,
        is_labelled: live.zip(hold.label()).is_some_and(|(live, label)| live.workload.delivery.labels.contains(&label)),
        record: &record,
        unwanted,
        is_back: progress.rolled_out.is_some() || is_over,
        is_over,
        is_deleted: rollback.meta().deletion_timestamp.is_some(),
        leads: others.is_led_by(rollback, &hold, trial),
    };
    let Tended { hold: next, act, notices, next_look } = tend(&hold, &found, &scene, now);
    let tried = next.tried;
    progress.hold = Some(next);
    if let (HoldAct::UndoAgain, Some(live)) = (act, live) {
        // The tool took the fields over again; noted before they become ours, for the hand-back.
        progress.owners.clone_from(&live.workload.owners);
        progress.handed_back = None;
    }
    // The intent is written before the act.
    let mut written = commit::hold(ctx, rollback, &progress).await?;
    super::tell(ctx, &written, order, live.map(|live| &live.workload), &notices).await;
    carry_out(ctx, rollback, order, &progress, live, act).await?;
    if scene.trial.is_some() || act == HoldAct::Try {
        ask(ctx, &hold.tool, &found, tried).await;
    }
    written = guarded(ctx, &written, &progress).await?;
    Ok((written, progress, next_look))
}

async fn carry_out(
    ctx: &Context,
    rollback: &Rollback,
    order: &Order,
    progress: &Progress,
    live: Option<&Live>,
    act: HoldAct,
) -> Result<(), Error> {
    let Some(hold) = &progress.hold else { return Ok(()) };
    let namespace = rollback.namespace().unwrap_or_default();
    if act == HoldAct::Heal {
        if let Placed::Refused(why) | Placed::Unknown(why) =
            gitops::heal(&ctx.client, &ctx.gitops, &hold.tool, &record(rollback)).await
        {
            tracing::warn!(tool = %hold.tool, "the hold could not be ended yet: {why}");
        }
        return Ok(());
    }
    let Some(live) = live.filter(|_| act != HoldAct::Nothing) else { return Ok(()) };
    let mut good = None;
    if act == HoldAct::UndoAgain {
        let rules = ctx.config_rules(order.config);
        let back = workload::put_back(&ctx.client, &namespace, live, &order.to, rules).await;
        let Some(back) = back else { return Ok(()) };
        good = Some(back.template);
    }
    match gitops::change(&ctx.client, &namespace, live, hold, act, good).await {
        Err(Error::Conflict(_)) => Ok(()),
        other => other,
    }
}

/// Asks the tool to come at once, once for each trial. Without that it comes at its interval.
async fn ask(ctx: &Context, tool: &Tool, found: &Look, tried: Option<Timestamp>) {
    let (Look::Kustomization(one), Some(tried)) = (found, tried) else { return };
    let token = tried.to_string();
    if one.requested.as_deref() != Some(token.as_str())
        && let Err(error) = gitops::request(&ctx.client, &ctx.gitops, tool, &token).await
    {
        tracing::warn!(%tool, "it could not be asked to reconcile at once: {}", crate::error::report(&error));
    }
}

/// Why nobody wants the hold any more, whatever the source says.
async fn unwanted(ctx: &Context, rollback: &Rollback, found: &Look) -> Option<String> {
    if ctx.ends_holds {
        return Some("Snapback is being uninstalled".to_owned());
    }
    if rollback.meta().deletion_timestamp.is_some() {
        return Some("its Rollback is being deleted".to_owned());
    }
    if rollback.spec.released.is_some() {
        return Some("a person released the revision".to_owned());
    }
    if let Look::Forbidden(why) = found {
        return Some(why.clone());
    }
    asker::gone(ctx, rollback).await.ok().flatten()
}

/// Sees to the hold of a record that has ended, or that is being deleted. Gives the record as it is then, and when to look
/// again; `None` when the hold has ended.
pub(super) async fn follow(ctx: &Context, rollback: &Rollback) -> Result<(Rollback, Option<Action>), Error> {
    let Ok((order, progress)) = guard::guard(rollback) else { return Ok((rollback.clone(), None)) };
    let live = super::look(ctx, rollback).await?;
    let (mut written, progress, next_look) = Box::pin(see_to(ctx, rollback, &order, progress, live.as_deref())).await?;
    let is_held = progress.hold.as_ref().is_some_and(Hold::is_open);
    let is_owed = progress.undo_accepted.is_some() && progress.handed_back.is_none() && !progress.owners.is_empty();
    if is_owed && live.is_some_and(|live| live.workload.live == order.to.fingerprint) {
        written = give_back(ctx, &written, &order, progress).await?;
    }
    let next = next_look.filter(|_| is_held).map(|next| {
        Action::requeue(std::time::Duration::try_from(next).unwrap_or_default().max(std::time::Duration::from_secs(1)))
    });
    Ok((written, next))
}

/// Gives the fields back that an undo after the end took.
async fn give_back(
    ctx: &Context,
    rollback: &Rollback,
    order: &Order,
    mut progress: Progress,
) -> Result<Rollback, Error> {
    let target = (rollback.spec.target.kind.into(), rollback.spec.target.name.as_str());
    let namespace = rollback.namespace().unwrap_or_default();
    let (uid, good) = (order.uid.as_str(), &order.to.fingerprint);
    match workload::hand_back(&ctx.client, &namespace, target, uid, good, &progress.owners).await {
        workload::HandedBack::Done => progress.handed_back = Some(ctx.now()),
        workload::HandedBack::NotYet(why) => {
            tracing::warn!(namespace, name = target.1, "the fields of the template could not be given back yet: {why}");
        }
    }
    commit::hold(ctx, rollback, &progress).await
}
