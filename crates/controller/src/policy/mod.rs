//! The controller that judges.
//!
//! ```text
//! guard    parse the spec, find the targets          pure (the store is a cache of names and labels only)
//! observe  live GET of the workload, LIST what it owns   I/O
//! measure  samples from the sampler                      I/O
//! decide   core::watch::{observe, decide}                pure
//! commit   create the Rollback, freeze; write the status  I/O, with preconditions
//! announce Events and metrics                            I/O, best effort
//! tidy     remove copies that nobody needs any more       I/O, best effort
//! ```
//! Acting is the other controller's.

mod accepted;
mod checklist;
mod commit;
mod configuration;
mod controls;
mod doubts;
mod freeze;
mod gate;
mod guard;
mod judge;
mod measure;
mod order;
pub(crate) mod overlap;
mod quarantine;
mod ready;
mod saturation;
mod summary;
mod tidy;
mod told;
mod unheard;

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use kube::api::ObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};
use snapback_api::v1alpha1::{PhaseName, RollbackPhase, RollbackPolicy, TargetStatus};
use snapback_core::notice::Notice;
use snapback_core::workload::Kind;

use crate::context::Context;
use crate::error::{Error, report};
use crate::status::revision_ref;
use crate::unreadable;
use crate::workload::{Observed, observe};
pub use checklist::Retries;
use commit::{Committed, Outline};
use guard::Guarded;
use judge::{Judged, Look};
pub(crate) use measure::{all_pods, sets};
use tidy::Tidy;
pub use unheard::Away;

/// When a workload on trial is looked at again.
const TRIAL: SignedDuration = SignedDuration::from_secs(2);

/// The policy controller's own context.
pub struct PolicyContext {
    /// The shell's tools.
    pub shared: Arc<Context>,
    /// All policies, for the question which of two is the older.
    pub policies: Store<DeserializeGuard<RollbackPolicy>>,
}

/// One reconcile of one policy.
pub async fn reconcile(
    object: Arc<DeserializeGuard<RollbackPolicy>>,
    ctx: Arc<PolicyContext>,
) -> Result<Action, Error> {
    let shared = &ctx.shared;
    let policy = match &object.0 {
        Ok(policy) => policy,
        Err(invalid) => {
            forget(shared, &ObjectRef::from_obj(&*object));
            let said =
                [("Ready", false, "InvalidSpec"), ("Stalled", true, "InvalidSpec"), ("Accepted", false, "Invalid")];
            unreadable::say::<RollbackPolicy>(shared, object.meta(), &invalid.error, &said).await?;
            return Ok(Action::await_change());
        }
    };
    let (key, reference) = (key_of(object.meta()), ObjectRef::from_obj(&*object));
    let result = look(policy, &ctx).await;
    if ctx.policies.get(&reference).is_none() {
        // It was deleted meanwhile, and what we did since is not undone by anybody else.
        forget(shared, &reference);
    }
    match &result {
        Ok(_) => {
            shared.failures.reset(&key);
            shared.metrics.reconciled("policy", "Ok");
        }
        Err(error) => shared.metrics.reconciled("policy", error.reason()),
    }
    shared.metrics.judged(shared.pod_watches.count());
    result
}

/// Forgets what only this process remembers of a policy that judges no more, and ends its watches.
pub(crate) fn forget(shared: &Context, gone: &ObjectRef<DeserializeGuard<RollbackPolicy>>) {
    shared.pod_watches.retain(gone.namespace.as_deref().unwrap_or_default(), &gone.name, &[]);
    if let Some(uid) = &gone.extra.uid {
        shared.sampler.forget(uid, "", &[]);
    }
    shared.metrics.judged(shared.pod_watches.count());
}

/// What its failures are counted under.
pub(crate) fn key_of(policy: &ObjectMeta) -> String {
    format!("{}/{}", policy.namespace.as_deref().unwrap_or_default(), policy.name.as_deref().unwrap_or_default())
}

async fn look(policy: &RollbackPolicy, ctx: &PolicyContext) -> Result<Action, Error> {
    let shared = &ctx.shared;
    let namespace = policy.namespace().unwrap_or_default();
    // Before the first list, every target would seem to be absent.
    shared.lists.workloads().await;
    let guarded = match guard::guard(policy, ctx) {
        Ok(guarded) => guarded,
        Err(invalid) => {
            shared.pod_watches.retain(&namespace, &policy.name_any(), &[]);
            write(shared, policy, &Committed::invalid(policy, &invalid)).await?;
            return Ok(Action::await_change());
        }
    };

    let mut told: Vec<(Vec<Notice>, String)> = Vec::new();
    let mut targets: Vec<TargetStatus> = Vec::new();
    let mut tidy: Vec<Tidy> = Vec::new();
    let mut next: Option<SignedDuration> = None;
    let mut failure = None;
    for name in &guarded.targets {
        let known = known_target(policy, guarded.kind, name);
        // A freeze that nobody means any more is to be ended, at rest and in suspension too.
        let is_marked = guarded.seen.get(name).is_some_and(|seen| seen.marked);
        if !is_marked
            && (guarded.policy.suspend && known.is_none_or(|known| known.rollback.is_none())
                || is_mirrored(policy, known, &guarded)
                || is_settled(shared, policy, known, &guarded, name)
                    && quarantine::released(shared, &namespace, known).is_empty())
        {
            let retry = known.and_then(|known| shared.retries.left(known, shared.now()));
            next = [next, retry.filter(|_| !guarded.policy.suspend)].into_iter().flatten().min();
            targets.extend(known.cloned());
            continue;
        }
        match one_target(policy, &guarded, name, known, ctx).await {
            Ok((judged, left_over)) => {
                next = [next, judged.next_look].into_iter().flatten().min();
                tidy.extend(left_over);
                told.extend(judged.uid.map(|uid| (judged.notices, format!("{name}/{uid}"))));
                targets.extend(judged.status);
            }
            // One target that cannot be read must not stop the others.
            Err(error) => {
                targets.extend(known.cloned());
                failure = Some(error);
            }
        }
    }
    let judged = if guarded.policy.suspend { &[] } else { guarded.targets.as_slice() };
    shared.pod_watches.retain(&namespace, &policy.name_any(), judged);
    let committed = Committed { targets, guarded: &guarded, failure: failure.as_ref().map(|error| report(error)) };
    write(shared, policy, &summary::describe(policy, &committed)).await?;
    for (notices, target) in told {
        announce(shared, policy, guarded.kind, &target, &notices).await;
    }
    for tidy in &tidy {
        tidy.up(&shared.client, &namespace).await;
    }
    if let Some(error) = failure {
        return Err(error);
    }
    Ok(next.map_or_else(Action::await_change, |next| {
        Action::requeue(Duration::try_from(next).unwrap_or_default().max(Duration::from_secs(1)))
    }))
}

/// Writes the status, and then tells of it what is an Event of the policy alone.
async fn write(shared: &Context, policy: &RollbackPolicy, outline: &Outline) -> Result<(), Error> {
    let before = policy.status.as_ref().and_then(|status| status.summary.as_ref());
    let notice = told::notice(before, &outline.summary);
    commit::status(shared, policy, outline).await?;
    shared.announcer.tell(notice.as_slice(), &[policy.object_ref(&())]).await;
    Ok(())
}

/// What came of one target, and what is to be removed once its status is written.
async fn one_target(
    policy: &RollbackPolicy,
    guarded: &Guarded,
    name: &str,
    known: Option<&TargetStatus>,
    ctx: &PolicyContext,
) -> Result<(Judged, Option<Tidy>), Error> {
    let shared = &ctx.shared;
    let namespace = policy.namespace().unwrap_or_default();
    match observe(&shared.client, &namespace, guarded.kind, name).await? {
        Observed::Absent => {
            shared.pod_watches.stop(&namespace, &policy.name_any(), name);
            if let (Some(policy), Some(known)) = (policy.uid(), known) {
                shared.sampler.forget(&policy, &known.uid, &[]);
            }
            Ok((Judged::absent(), None))
        }
        // What a tool brings in a trial is another's to see to, and no pod runs it.
        Observed::Live(live) if live.workload.delivery.trial.is_some() && known.is_some() => {
            let next_look = Some(TRIAL);
            Ok((Judged { status: known.cloned(), uid: None, notices: Vec::new(), next_look }, None))
        }
        Observed::Live(live) => {
            let look = Look { shared, policy, guarded, name, known, live: &live };
            let (judged, rules) = (judge::judge(look).await?, look.rules());
            let tidy = Tidy::due(known, judged.status.as_ref(), live, rules);
            Ok((judged, tidy))
        }
    }
}

/// Whether a `Rollback` acts on this target, and the target says all that it says. The workload is the other controller's to
/// look at until then; what becomes of the `Rollback` wakes us.
fn is_mirrored(policy: &RollbackPolicy, known: Option<&TargetStatus>, guarded: &Guarded) -> bool {
    let Some((known, name)) = known.and_then(|known| Some((known, known.rollback.as_deref()?))) else { return false };
    let mirrors = match guarded.records.standing(&known.uid, name) {
        Some((RollbackPhase::Running, message)) => known.phase == PhaseName::RollingBack && known.message == message,
        Some((RollbackPhase::Verifying, message)) => known.phase == PhaseName::Verifying && known.message == message,
        _ => false,
    };
    mirrors
        && policy.status.as_ref().and_then(|status| status.observed_generation) == policy.metadata.generation
        && guarded.seen.get(&known.name).is_some_and(|seen| seen.uid == known.uid)
}

/// Whether nothing can have changed for this target: it is at rest, and the watch shows the very generation that the
/// status speaks of, with nothing owed to the known good revision. Such a target costs no request at all.
fn is_settled(
    shared: &Context,
    policy: &RollbackPolicy,
    known: Option<&TargetStatus>,
    guarded: &Guarded,
    name: &str,
) -> bool {
    let Some(known) = known else { return false };
    let seen = guarded.seen.get(name);
    let rules = shared.config_rules(guarded.policy.rollback.config);
    let is_kept = known.known_good.as_ref().map(revision_ref).is_none_or(|good| {
        !good.snapshot.is_empty() && !configuration::is_owed(&good, rules) && !configuration::has_lost(&good, rules)
    });
    let good = known.known_good.as_ref().map(|good| good.fingerprint.as_str());
    let quarantined: Vec<String> = known.quarantined.iter().map(|bad| bad.rollback.clone()).collect();
    known.rollout.is_none()
        && known.rollback.is_none()
        && guarded.records.unknown_to(&known.uid, good, &known.current.fingerprint, &quarantined).is_none()
        && is_kept
        && !shared.retries.left(known, shared.now()).is_some_and(|left| left.is_zero())
        && policy.status.as_ref().and_then(|status| status.observed_generation) == policy.metadata.generation
        && seen.is_some_and(|seen| seen.uid == known.uid && Some(seen.generation) == known.observed_generation)
}

fn known_target<'a>(policy: &'a RollbackPolicy, kind: Kind, name: &str) -> Option<&'a TargetStatus> {
    policy.status.as_ref()?.targets.iter().find(|target| target.name == name && Kind::from(target.kind) == kind)
}

async fn announce(shared: &Context, policy: &RollbackPolicy, kind: Kind, target: &str, notices: &[Notice]) {
    let (name, uid) = target.split_once('/').unwrap_or((target, ""));
    let workload = crate::workload_reference(policy.namespace(), kind, name, uid);
    shared.announcer.tell(notices, &[policy.object_ref(&()), workload]).await;
}
