//! Revisions that were undone before: whom a person let go, and what is said of those that nobody undoes again.

use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use snapback_api::v1alpha1::TargetStatus;
use snapback_core::notice::{Notice, Reason};
use snapback_core::rollback::WHO;
use snapback_core::watch::{Order, Phase, Standing, Target};

use crate::context::Context;

/// The records of this target's quarantined revisions that a person released. The cache may be late, and is never wrong:
/// a release cannot be taken back.
pub(super) fn released(shared: &Context, namespace: &str, known: Option<&TargetStatus>) -> Vec<String> {
    let names = known.into_iter().flat_map(|known| &known.quarantined).map(|bad| &bad.rollback);
    let is_released = |name: &&String| {
        let record = shared.records.get(&ObjectRef::new(name).within(namespace));
        record.is_some_and(|record| record.0.as_ref().is_ok_and(|record| record.spec.released.is_some()))
    };
    names.filter(is_released).cloned().collect()
}

/// The record of a person who is putting the known good revision back: the target follows it like one of its own, and
/// quarantines what was left. `current` is the live revision. Once the undo is done: before, the policy judges on.
pub(super) fn by_hand(shared: &Context, uid: &str, good: Option<&str>, current: &str) -> Option<String> {
    let record = shared.records.state().into_iter().find(|record| {
        record.0.as_ref().is_ok_and(|record| {
            let puts_back = record.ordered().is_some_and(|ordered| {
                ordered.uid == uid && ordered.to.fingerprint == current && good == Some(current)
            });
            let is_done = record
                .status
                .as_ref()
                .is_some_and(|status| status.timeline.undo_accepted_at.is_some() && status.timeline.ended_at.is_none());
            record.is_by_hand() && puts_back && is_done
        })
    });
    record.map(|record| record.name_any())
}

/// The undo did not help before: a second one would not either.
pub(super) fn not_again(state: &mut Target, order: &Order, namespace: &str, rollback: &str) -> Vec<Notice> {
    let message = format!(
        "{} is back; its undo by Rollback {rollback} did not help, so it is not undone again. {}",
        order.from.name(),
        how_to_release(namespace, rollback)
    );
    end(state, Phase::Held, "Quarantined", &message);
    vec![Notice::new(Reason::Held, message)]
}

/// Somebody puts it back again and again.
pub(super) fn contended(state: &mut Target, order: &Order, namespace: &str, rollback: &str) -> Vec<Notice> {
    let message = format!(
        "{} was undone as often as it may be, and came back each time: stop what applies it (a GitOps tool? revert it in Git). {}",
        order.from.name(),
        how_to_release(namespace, rollback)
    );
    end(state, Phase::Escalated, "Contended", &message);
    vec![Notice::new(Reason::Contended, message)]
}

fn how_to_release(namespace: &str, rollback: &str) -> String {
    format!(
        "To let it run and be judged: kubectl patch -n {namespace} rollback {rollback} --type=merge \
         -p \"spec: {{released: {{reason: '...', by: '{WHO}'}}}}\""
    )
}

fn end(state: &mut Target, phase: Phase, reason: &str, message: &str) {
    state.phase = phase;
    state.rollout = None;
    state.standing = Standing::new(reason, message);
}
