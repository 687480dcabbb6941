//! Revisions that were undone before: whom a person let go, and what is said of those that nobody undoes again.

use std::collections::HashMap;
use std::sync::Arc;

use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;
use snapback_api::v1alpha1::{
    ApprovalDecision, HeldKind, HoldStatus, Rollback, RollbackPhase, RollbackStatus, TargetStatus, Timeline,
};
use snapback_core::fingerprint::Fingerprint;
use snapback_core::gitops::Delivery;
use snapback_core::notice::{Notice, Reason};
use snapback_core::rollback::how_to_release;
use snapback_core::watch::{Order, Phase, Standing, Target, Undone};

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

/// The records of one namespace, by the UID of their workload. Read from the cache once for all targets of a policy.
#[derive(Default)]
pub(super) struct Records(HashMap<String, Vec<Arc<DeserializeGuard<Rollback>>>>);

impl Records {
    pub(super) fn of(shared: &Context, namespace: &str) -> Self {
        let mut by_workload: HashMap<String, Vec<_>> = HashMap::new();
        for record in shared.records.state() {
            let here = record.0.as_ref().ok().filter(|one| one.metadata.namespace.as_deref() == Some(namespace));
            if let Some(uid) = here.and_then(Rollback::ordered).map(|ordered| ordered.uid.to_owned()) {
                by_workload.entry(uid).or_default().push(record);
            }
        }
        Self(by_workload)
    }

    /// Where a record stands, and what it says.
    pub(super) fn standing(&self, uid: &str, name: &str) -> Option<(RollbackPhase, &str)> {
        let status = self.status(uid, name)?;
        Some((status.phase?, &status.message))
    }

    /// The undos of this workload.
    pub(super) fn undone(&self, uid: &str) -> Vec<Undone> {
        let undo = |record: &Rollback| {
            let fingerprint = Fingerprint::recorded(record.ordered()?.from.fingerprint.clone());
            Some(Undone { fingerprint, at: timeline(record)?.undo_accepted_at.as_ref()?.0 })
        };
        self.of_target(uid).filter_map(undo).collect()
    }

    /// Whether a person said that this revision is not to be undone.
    pub(super) fn may_stay(&self, uid: &str, revision: &str) -> bool {
        let is_from = |record: &&Rollback| record.ordered().is_some_and(|ordered| ordered.from.fingerprint == revision);
        let newest = self.of_target(uid).filter(is_from).max_by_key(|record| record.decided_at());
        newest
            .and_then(|record| record.spec.approval.as_ref())
            .is_some_and(|one| one.decision == ApprovalDecision::Rejected)
    }

    fn of_target(&self, uid: &str) -> impl Iterator<Item = &Rollback> {
        self.0.get(uid).into_iter().flatten().filter_map(|record| record.0.as_ref().ok())
    }

    /// The record that put this revision back after `undone` had undone it.
    pub(super) fn rival(&self, uid: &str, revision: &str, undone: &str) -> Option<String> {
        let since = self.status(uid, undone)?.timeline.undo_accepted_at.as_ref()?;
        let of_target = self.0.get(uid)?.iter().filter_map(|record| record.0.as_ref().ok());
        let puts_back = of_target
            .filter(|record| record.ordered().is_some_and(|ordered| ordered.to.fingerprint == revision))
            .filter_map(|record| Some((timeline(record)?.undo_accepted_at.as_ref()?.0, record.name_any())));
        puts_back.filter(|(at, _)| *at >= since.0).max().map(|(_, rival)| rival)
    }

    fn status(&self, uid: &str, name: &str) -> Option<&RollbackStatus> {
        let mut of_target = self.0.get(uid)?.iter().filter_map(|record| record.0.as_ref().ok());
        of_target.find(|record| record.metadata.name.as_deref() == Some(name))?.status.as_ref()
    }

    /// The tool that the hold of a record keeps off the workload altogether, newer things included.
    pub(super) fn keeps_away(&self, uid: &str, name: &str) -> Option<String> {
        let hold =
            self.status(uid, name)?.hold.as_ref().filter(|hold| hold.placed_at.is_some() && hold.ended_at.is_none())?;
        let tool = |hold: &HoldStatus| match &hold.namespace {
            Some(namespace) => format!("Flux Kustomization {namespace}/{}", hold.name),
            None => format!("Flux Kustomization {}", hold.name),
        };
        (hold.kind == HeldKind::Kustomization).then(|| tool(hold))
    }

    /// The record whose undo put the known good revision back, and of which the target does not know: a person's while
    /// it is under way, and one of ours whose order was placed when we died, or could not write it into the status. The
    /// target follows it, and quarantines what was left. Not before the undo is done: until then, it is judged on.
    pub(super) fn unknown_to(
        &self,
        uid: &str,
        good: Option<&str>,
        current: &str,
        quarantined: &[String],
    ) -> Option<String> {
        let of_target: Vec<&Rollback> = self.0.get(uid)?.iter().filter_map(|record| record.0.as_ref().ok()).collect();
        let has_put_back = |record: &&&Rollback| {
            let puts_back = record.ordered().is_some_and(|ordered| ordered.to.fingerprint == current);
            good == Some(current) && puts_back && timeline(record).is_some_and(|times| times.undo_accepted_at.is_some())
        };
        let by_hand = of_target.iter().filter(|record| record.is_by_hand()).filter(has_put_back);
        let mut under_way = by_hand.filter(|record| timeline(record).is_some_and(|times| times.ended_at.is_none()));
        let ours = || {
            let newest =
                of_target.iter().filter(|record| !record.is_by_hand()).max_by_key(|record| record.decided_at());
            newest.filter(has_put_back).filter(|record| {
                let phase = record.status.as_ref().and_then(|status| status.phase);
                let is_void = matches!(phase, Some(RollbackPhase::Superseded | RollbackPhase::Rejected));
                !is_void && record.spec.released.is_none() && !quarantined.contains(&record.name_any())
            })
        };
        under_way.next().or_else(ours).map(|record| record.name_any())
    }
}

fn timeline(record: &Rollback) -> Option<&Timeline> {
    record.status.as_ref().map(|status| &status.timeline)
}

/// The undo did not help before: a second one would not either.
pub(super) fn not_again(state: &mut Target, order: &Order, namespace: &str, rollback: &str) -> Vec<Notice> {
    let message = format!(
        "{} is back; its undo by Rollback {rollback} did not help, so it is not undone again. To let it run and be judged: {}",
        order.from.name(),
        how_to_release(namespace, rollback)
    );
    end(state, Phase::Held, "Quarantined", &message);
    vec![Notice::new(Reason::Held, message)]
}

/// Somebody puts it back again and again.
pub(super) fn contended(
    state: &mut Target,
    order: &Order,
    namespace: &str,
    rollback: &str,
    rival: Option<String>,
    delivery: &Delivery,
) -> Vec<Notice> {
    let last = rival.map_or_else(String::new, |rival| format!(" (the last time by Rollback {rival})"));
    let message = format!(
        "{} was undone as often as it may be, and came back each time{last}: {}. To let it run and be judged: {}",
        order.from.name(),
        delivery.how_to_stop(),
        how_to_release(namespace, rollback)
    );
    end(state, Phase::Escalated, "Contended", &message);
    vec![Notice::new(Reason::Contended, message)]
}

fn end(state: &mut Target, phase: Phase, reason: &str, message: &str) {
    state.phase = phase;
    state.rollout = None;
    state.standing = Standing::new(reason, message);
}
