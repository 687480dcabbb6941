//! Pods that keep the good revision away, though its template is back.
//!
//! A StatefulSet with `OrderedReady` waits for its first pod that is not ready before it replaces any, even if that is
//! the very one to replace: the crash-looping pod of the bad revision stays for ever (kubernetes/kubernetes#67250).
//! With `OnDelete` nothing is replaced at all. So the pods that are not ready, and not of the good revision, are
//! deleted: one at a time, the lowest ordinal first, since that is the one that is waited for. Ready pods are left to
//! people.

use crate::fingerprint::Fingerprint;
use crate::ids::PodUid;
use crate::workload::{Kind, PodFacts, Workload};

/// Most pods that one `Rollback` deletes.
pub const MOST_DELETED: usize = 64;

/// Most pods that are named in a sentence.
const MOST_NAMED: usize = 5;

/// A pod that is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: PodUid,
}

/// The pod to delete next, if one has to be.
pub(super) fn stuck(workload: &Workload, good: &Fingerprint, deleted: &[Stuck]) -> Option<Stuck> {
    let replacing = &workload.replacing;
    // Before the controller has taken the good revision up, it would make the bad pod again.
    let is_taken_up = workload.observed_generation >= workload.generation
        && workload.revision(good).is_some_and(|revision| revision.observed);
    if !(replacing.in_order || replacing.on_delete) || !is_taken_up {
        return None;
    }
    // One at a time: the one before is gone, is there again, and is ready.
    let is_back = match (workload.kind, deleted.last()) {
        (Kind::StatefulSet, Some(last)) => workload.pods.iter().any(|pod| pod.name == last.name),
        (_, Some(_)) => i32::try_from(workload.pods.len()).is_ok_and(|pods| pods >= workload.replicas),
        (_, None) => true,
    };
    if !is_back || workload.pods.iter().any(|pod| pod.leaving) || workload.pods_of(good).any(|pod| !pod.ready) {
        return None;
    }
    let pods = workload.pods_not_of(good).filter(|pod| !pod.ready && !replacing.spares(pod));
    let pod = pods.min_by_key(|pod| (pod.ordinal(), &pod.name))?;
    let stuck = Stuck { name: pod.name.clone(), uid: pod.uid.clone() };
    // Noted and still there: we died before it was deleted, or it changed meanwhile.
    (deleted.contains(&stuck) || deleted.len() < MOST_DELETED).then_some(stuck)
}

/// What a person has to do: with `OnDelete`, ready pods are theirs to delete.
pub(super) fn by_hand(workload: &Workload, good: &Fingerprint) -> Option<String> {
    let pods = workload.pods_not_of(good).filter(|pod| pod.ready && !pod.leaving && !workload.replacing.spares(pod));
    let names = named(pods).filter(|_| workload.replacing.on_delete)?;
    Some(format!("with OnDelete ready pods are not replaced by themselves; delete them: {names}"))
}

/// The pods of the bad revision that going back does not reach, because the partition was raised since.
pub(super) fn out_of_reach(workload: &Workload, bad: &Fingerprint) -> Option<String> {
    let pods = workload.pods_of(bad).filter(|pod| !pod.leaving && workload.replacing.spares(pod));
    named(pods).map(|names| format!("the partition keeps pods at the bad revision; lower it to reach them: {names}"))
}

fn named<'a>(pods: impl Iterator<Item = &'a PodFacts>) -> Option<String> {
    let mut names: Vec<&str> = pods.map(|pod| pod.name.as_str()).collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(MOST_NAMED);
    names.truncate(MOST_NAMED);
    let shown = names.join(", ");
    match (names.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(shown),
        (false, more) => Some(format!("{shown} and {more} more")),
    }
}
