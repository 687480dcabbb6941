//! The controller that acts: one `Rollback` from its order to its end.
//!
//! ```text
//! resolve  what a person's order means, written first     I/O, once
//! guard    parse the record                               pure
//! observe  live GET of the workload, LIST what it owns    I/O
//! measure  the breached checks and the probes, on the     I/O, only while verifying
//!          good revision
//! decide   core::rollback::step                           pure
//! through  whether a person's order would work             I/O, before it is begun
//! commit   write the status: that the undo is requested   I/O, before acting
//! act      the one guarded patch, or what goes with it    I/O
//! commit   write what became of it                        I/O
//! announce Events and metrics                             I/O, best effort
//! ```
//! It knows nothing of policies: the record holds all that it needs. Only what a person left out is asked of them, and whether
//! the one that asks is still there.

mod asker;
mod beside;
mod commit;
mod ending;
mod guard;
mod history;
mod holds;
mod jobs;
mod measure;
mod preflight;
pub mod probe;
mod released;
mod resolve;
mod retell;

pub use commit::next_status;
pub use ending::Left;
pub(crate) use ending::end_all;
pub use guard::guard;
pub(crate) use guard::phase;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use serde_json::Value;
use snapback_api::v1alpha1::Rollback;
use snapback_core::checks::CheckResult;
use snapback_core::notice::Notice;
use snapback_core::rollback::{
    Act, Order, Phase, Progress, Step, handed_back, step, surge_restored, undo_accepted, undo_refused, with_jobs,
};
use snapback_core::workload::Workload;

use crate::context::Context;
use crate::error::{Error, report};
use crate::unreadable;
use crate::workload::{
    self, Along, HandedBack, Live, Observed, Undone, delete_pod, hand_back, observe, restore_surge, undo,
};

/// How long after the decision an undo waits for a configuration that cannot be read just now. Longer, and a service that is
/// down would wait for what it may not even need.
const UNREAD: jiff::SignedDuration = jiff::SignedDuration::from_secs(30);

/// One reconcile of one `Rollback`.
pub async fn reconcile(object: Arc<DeserializeGuard<Rollback>>, ctx: Arc<Context>) -> Result<Action, Error> {
    let rollback = match &object.0 {
        Ok(rollback) => rollback,
        Err(invalid) => {
            let said = [("Ready", false, "InvalidSpec"), ("Stalled", true, "InvalidSpec")];
            unreadable::say::<Rollback>(&ctx, object.meta(), &invalid.error, &said).await?;
            return Ok(Action::await_change());
        }
    };
    let is_over =
        rollback.status.as_ref().and_then(|status| status.phase).is_some_and(|known| phase(known).is_terminal());
    let key = format!("rollback {}/{}", rollback.namespace().unwrap_or_default(), rollback.name_any());
    if is_over {
        ctx.sampler.forget(&rollback.uid().unwrap_or_default(), "", &[]);
        retell::retell(&ctx, rollback).await;
        if !jobs::outlasts(rollback) && !holds::outlasts(rollback) && commit::is_seen(rollback) {
            ctx.failures.reset(&key);
            return Ok(history::prune(&ctx, rollback).await);
        }
    }
    let is_over = is_over || rollback.meta().deletion_timestamp.is_some();
    let result = if is_over { Box::pin(follow(rollback, &ctx)).await } else { Box::pin(advance(rollback, &ctx)).await };
    match &result {
        Ok(_) => {
            ctx.failures.reset(&key);
            ctx.metrics.reconciled("rollback", "Ok");
        }
        Err(error) => ctx.metrics.reconciled("rollback", error.reason()),
    }
    result
}

/// Sees to what outlasts a record.
async fn follow(rollback: &Rollback, ctx: &Context) -> Result<Action, Error> {
    let mut rollback = released::see(ctx, rollback).await?;
    let mut next = None;
    if holds::outlasts(&rollback) {
        (rollback, next) = Box::pin(holds::follow(ctx, &rollback)).await?;
    }
    if jobs::outlasts(&rollback) && rollback.meta().deletion_timestamp.is_none() {
        // What holds is looked at as often as a Job is.
        let job = jobs::follow(ctx, &rollback).await?;
        next = next.or(Some(job));
    }
    Ok(next.unwrap_or_else(Action::await_change))
}

async fn advance(rollback: &Rollback, ctx: &Context) -> Result<Action, Error> {
    let now = ctx.now();
    let resolved;
    let rollback = if rollback.is_by_hand() && rollback.ordered().is_none() {
        let Some(written) = resolve::resolve(ctx, rollback).await? else { return Ok(Action::await_change()) };
        resolved = written;
        &resolved
    } else {
        rollback
    };
    let (mut order, progress) = match guard::guard(rollback) {
        Ok(guarded) => guarded,
        Err(problem) => {
            let invalid = guard::refused(rollback, &problem, now);
            commit::status(ctx, rollback, &invalid, &[]).await?;
            return Ok(Action::await_change());
        }
    };
    order.withdrawn = asker::withdrawn(ctx, rollback, &order, &progress).await?;
    order.rival = beside::rival(ctx, rollback, &order, &progress);
    let namespace = rollback.namespace().unwrap_or_default();
    let live = look(ctx, rollback).await?;
    let (held, progress, hold_look) = Box::pin(holds::see_to(ctx, rollback, &order, progress, live.as_deref())).await?;
    let rollback = &held;
    let workload = live.as_ref().map(|live| &live.workload);
    let verifying = progress.phase == Some(Phase::Verifying);
    let measured = match (workload, progress.rolled_out) {
        (Some(workload), Some(since)) if verifying => {
            Some(measure::measure(ctx, rollback, &order, workload, since, now).await)
        }
        _ => None,
    };
    let (verification, checks) = measured.unzip();
    let looks = jobs::look(ctx, rollback, &progress).await;
    let next = step(&order, &progress, workload, verification.as_ref(), now);
    let next = with_jobs(&order, &progress, next, &looks, now);
    let next = holds::with_hold(ctx, rollback, &order, &progress, live.as_deref(), next).await;
    let mut next = preflight::look_through(ctx, rollback, &order, &progress, live.as_deref(), next).await;
    let checks: Vec<CheckResult> = checks.unwrap_or_default();

    let mut put_back = None;
    if let (Act::Undo, Some(live)) = (next.act, &live) {
        let rules = ctx.config_rules(order.config);
        put_back = workload::put_back(&ctx.client, &namespace, live, &order.to, rules).await;
        let decided = progress.approved.unwrap_or(order.decided);
        if put_back.as_ref().is_some_and(|back| back.unread) && now.duration_since(decided) < UNREAD {
            return Ok(Action::requeue(Duration::from_secs(1)));
        }
        next.progress.config = put_back.as_ref().map(|back| back.config.clone());
    }

    // The intent is written before the act, with the version that was read as the precondition: who loses this
    // race does nothing.
    let mut written = commit::status(ctx, rollback, &next, &checks).await?;
    written = holds::guarded(ctx, &written, &next.progress).await?;
    if next.act == Act::Hold {
        next = holds::place(ctx, rollback, next).await;
        written = commit::status(ctx, &written, &next, &checks).await?;
    }
    if let (Act::Undo, Some(live)) = (next.act, &live) {
        let template = put_back.map(|back| back.template);
        let (after, look_again) = act(ctx, rollback, &order, live, template, next.clone()).await;
        if let Some(after) = after {
            written = commit::status(ctx, &written, &after, &checks).await?;
            next = after;
        }
        if look_again {
            next.next_look = Some(jiff::SignedDuration::from_secs(1));
        }
    }
    if let (Act::RestoreSurge, Some(original)) = (next.act, next.progress.surge.clone()) {
        let name = &rollback.spec.target.name;
        match restore_surge(&ctx.client, &namespace, name, order.uid.as_str(), &original).await {
            Ok(()) => {
                next = surge_restored(next, ctx.now());
                written = commit::status(ctx, &written, &next, &checks).await?;
            }
            Err(why) => tracing::warn!(namespace, name, "maxSurge could not be put back yet: {why}"),
        }
    }
    if let (Act::DeletePod, Some(workload), Some(pod)) = (next.act, workload, next.progress.deleted.last()) {
        match delete_pod(&ctx.client, &namespace, workload, pod).await {
            Ok(()) | Err(Error::Conflict(_)) => next.next_look = Some(jiff::SignedDuration::from_secs(1)),
            Err(error) => tracing::warn!(namespace, pod = pod.name, "a stuck pod was not deleted: {}", report(&error)),
        }
    }
    if next.act == Act::HandBack {
        next = give_back(ctx, rollback, &order, next).await;
        written = commit::status(ctx, &written, &next, &checks).await?;
    }
    if let Act::RunJob(purpose) = next.act {
        next = jobs::run(ctx, rollback, &order, workload, purpose, next).await;
        written = commit::status(ctx, &written, &next, &checks).await?;
    }
    told(ctx, &written, &progress, &order, &next, workload).await;
    let next_look = [next.next_look, hold_look].into_iter().flatten().min();
    Ok(next_look.map_or_else(Action::await_change, |next| {
        Action::requeue(Duration::try_from(next).unwrap_or_default().max(Duration::from_secs(1)))
    }))
}

/// The workload as it lives; `None` when it is gone.
async fn look(ctx: &Context, rollback: &Rollback) -> Result<Option<Box<Live>>, Error> {
    let namespace = rollback.namespace().unwrap_or_default();
    let target = &rollback.spec.target;
    Ok(match observe(&ctx.client, &namespace, target.kind.into(), &target.name).await? {
        Observed::Live(live) => Some(live),
        Observed::Absent => None,
    })
}

/// Sends the undo. Gives the state after it, if that is known, and whether to look again at once.
async fn act(
    ctx: &Context,
    rollback: &Rollback,
    order: &Order,
    live: &Live,
    template: Option<Value>,
    committed: Step,
) -> (Option<Step>, bool) {
    let namespace = rollback.namespace().unwrap_or_default();
    let name = &rollback.spec.target.name;
    // Changed since it was noted: then it is left alone, and there is nothing to put back.
    let now = live.workload.rolling.as_ref().map(|rolling| &rolling.max_surge);
    let surge = committed.progress.surge.clone().filter(|original| now == Some(original));
    let Some(template) = template else { return (None, true) };
    match undo(
        &ctx.client,
        &namespace,
        name,
        live,
        template,
        Along { surge: surge.as_ref(), hold: committed.progress.hold.as_ref() },
        false,
    )
    .await
    {
        Undone::Accepted => {
            let now = ctx.now();
            ctx.metrics.undone(order.decided, now);
            (Some(undo_accepted(committed, order, now)), false)
        }
        Undone::Outdated => (None, true),
        Undone::Unknown(why) => {
            tracing::warn!(namespace, name, "the undo had no clear answer: {why}");
            (None, true)
        }
        Undone::Refused(why) => (Some(undo_refused(committed, &why)), false),
    }
}

/// Gives the template's fields back to their former owners. That it fails must not stop the verification: the next look
/// tries again.
async fn give_back(ctx: &Context, rollback: &Rollback, order: &Order, next: Step) -> Step {
    let namespace = rollback.namespace().unwrap_or_default();
    let name = &rollback.spec.target.name;
    let owners = &next.progress.owners;
    let target = (rollback.spec.target.kind.into(), name.as_str());
    match hand_back(&ctx.client, &namespace, target, order.uid.as_str(), &order.to.fingerprint, owners).await {
        HandedBack::Done => handed_back(next, ctx.now()),
        HandedBack::NotYet(why) => {
            tracing::warn!(namespace, name, "the fields of the template could not be given back yet: {why}");
            next
        }
    }
}

async fn told(
    ctx: &Context,
    written: &Rollback,
    before: &Progress,
    order: &Order,
    next: &Step,
    workload: Option<&Workload>,
) {
    if let (None, Some(rolled_out), Some(accepted)) =
        (before.rolled_out, next.progress.rolled_out, next.progress.undo_accepted)
    {
        ctx.metrics.recovered(accepted, rolled_out);
    }
    if let Some(phase) = next.progress.phase.filter(|phase| phase.is_terminal()) {
        ctx.metrics.ended(phase.as_str());
    }
    tell(ctx, written, order, workload, &next.notices).await;
}

async fn tell(ctx: &Context, rollback: &Rollback, order: &Order, workload: Option<&Workload>, notices: &[Notice]) {
    let uid = workload.map_or(order.uid.as_str(), |workload| workload.uid.as_str());
    let kind = rollback.spec.target.kind.into();
    let target = crate::workload_reference(rollback.namespace(), kind, &rollback.spec.target.name, uid);
    ctx.announcer.tell(notices, &[rollback.object_ref(&()), target]).await;
}

/// The time stored in status.
fn read(time: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>) -> Option<Timestamp> {
    time.map(|time| time.0)
}
