//! What other records say of the same workload: which revisions they undid, and whether they hold it, too.

use std::sync::Arc;

use kube::ResourceExt;
use kube::core::DeserializeGuard;
use snapback_api::v1alpha1::Rollback;
use snapback_core::fingerprint::Fingerprint;
use snapback_core::gitops::{Claim, Hold, Trial, leads};
use snapback_core::rollback::{Order, Phase, Progress};

use super::{guard, read};
use crate::context::Context;

/// What counts of them for a hold. From the cache: one that is late ends a hold, or a trial, a look later.
pub(super) struct Beside {
    /// The revisions that were undone and that nobody released, with that of the record itself.
    pub(super) bad: Vec<Fingerprint>,
    /// The other holds that are open, with the label of each.
    holds: Vec<(&'static str, Claim)>,
}

/// Reads the records of the same workload.
pub(super) fn records(ctx: &Context, rollback: &Rollback, order: &Order) -> Beside {
    let all: Vec<Arc<DeserializeGuard<Rollback>>> = ctx.records.state();
    let (namespace, name) = (rollback.namespace().unwrap_or_default(), rollback.name_any());
    let others = of_workload(&all, &namespace, order.uid.as_str()).filter(|record| record.name_any() != name);
    let mut beside = Beside { bad: vec![order.from.fingerprint.clone()], holds: Vec::new() };
    for record in others {
        let Ok((other, progress)) = guard::guard(record) else { continue };
        let was_undone = is_undone(&progress) && record.spec.released.is_none();
        // What is put back now is what somebody wants, whatever became of it before.
        if was_undone && other.from.fingerprint != order.to.fingerprint {
            beside.bad.push(other.from.fingerprint);
        }
        if let Some(hold) = progress.hold.filter(Hold::is_open)
            && let Some(label) = hold.label()
        {
            beside.holds.push((label, claim(record, &hold)));
        }
    }
    beside
}

/// The other record that put back what this one undid. From the cache: one that is late is not named.
pub(super) fn rival(ctx: &Context, rollback: &Rollback, order: &Order, progress: &Progress) -> Option<String> {
    let since = progress.undo_requested?;
    let all: Vec<Arc<DeserializeGuard<Rollback>>> = ctx.records.state();
    let (namespace, name) = (rollback.namespace().unwrap_or_default(), rollback.name_any());
    let others = of_workload(&all, &namespace, order.uid.as_str()).filter(|record| record.name_any() != name);
    let puts_back = others.filter(|record| {
        record.ordered().is_some_and(|ordered| ordered.to.fingerprint == order.from.fingerprint.as_str())
    });
    let sent = puts_back.filter_map(|record| {
        let at = read(record.status.as_ref()?.timeline.undo_requested_at.as_ref())?;
        Some((at, record.name_any()))
    });
    sent.filter(|(at, _)| *at >= since).max().map(|(_, rival)| rival)
}

/// The newest record that undid the same revision after this one, and that keeps it in quarantine.
pub(super) fn undone_since(ctx: &Context, rollback: &Rollback) -> Option<String> {
    let ordered = rollback.ordered()?;
    let all: Vec<Arc<DeserializeGuard<Rollback>>> = ctx.records.state();
    let namespace = rollback.namespace().unwrap_or_default();
    let later = of_workload(&all, &namespace, ordered.uid).filter(|record| {
        record.decided_at().0 > rollback.decided_at().0
            && record.spec.released.is_none()
            && record.ordered().is_some_and(|other| other.from.fingerprint == ordered.from.fingerprint)
    });
    later.filter(|record| was_undone(record)).max_by_key(|record| record.decided_at().0).map(ResourceExt::name_any)
}

/// Whether a record undid what it was to undo.
fn was_undone(record: &Rollback) -> bool {
    let Ok((_, progress)) = guard::guard(record) else { return false };
    is_undone(&progress)
}

fn is_undone(progress: &Progress) -> bool {
    progress.undo_accepted.is_some() && !matches!(progress.phase, Some(Phase::Superseded | Phase::Rejected))
}

/// Those of all records that act on this workload.
pub(super) fn of_workload<'a>(
    all: &'a [Arc<DeserializeGuard<Rollback>>],
    namespace: &'a str,
    uid: &'a str,
) -> impl Iterator<Item = &'a Rollback> {
    let here = all.iter().filter_map(|record| record.0.as_ref().ok());
    here.filter(move |record| {
        record.metadata.namespace.as_deref() == Some(namespace)
            && record.ordered().is_some_and(|ordered| ordered.uid == uid)
    })
}

impl Beside {
    /// Whether it is on this record's hold to let the tool at the workload.
    pub(super) fn is_led_by(&self, rollback: &Rollback, hold: &Hold, trial: Option<Trial>) -> bool {
        let Some(label) = hold.label() else { return true };
        let same = self.holds.iter().filter(|(other, _)| *other == label);
        let others: Vec<Claim> = same.map(|(_, claim)| claim.clone()).collect();
        leads(&claim(rollback, hold), &others, trial)
    }
}

fn claim(rollback: &Rollback, hold: &Hold) -> Claim {
    Claim { tried: hold.tried, decided: rollback.decided_at().0, record: rollback.name_any() }
}
