//! Going back by hand: which revision is meant, when a person names a number or nothing at all.
//!
//! Somebody who knows `kubectl rollout undo` must get what that would give, or something safer: never the live revision,
//! never one that was undone before, and the known good one where somebody has judged.

use crate::fingerprint::Fingerprint;
use crate::watch::{Quarantined, RevisionRef};
use crate::workload::{Kind, MIGRATION, Migration, Revision, Workload};

use super::how_to_release;

/// What a policy remembers of the workload; nothing, where none watches it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Remembered {
    /// Where its records are.
    pub namespace: String,
    /// The known good revision.
    pub known_good: Option<RevisionRef>,
    /// Revisions that were undone before.
    pub quarantined: Vec<Quarantined>,
}

/// What is put back in place of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The live revision.
    pub from: RevisionRef,
    /// The one to go back to.
    pub to: RevisionRef,
    /// Why that one.
    pub why: &'static str,
}

/// Why nothing can be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// One CamelCase word.
    pub reason: &'static str,
    /// One sentence, with what to do.
    pub message: String,
}

impl Refusal {
    /// There is no such workload.
    pub fn not_found(namespace: &str, kind: Kind, name: &str) -> Self {
        let kind = kind.as_str();
        let message = format!("there is no {kind} {name:?} in namespace {namespace:?}; correct spec.target");
        Self { reason: "TargetNotFound", message }
    }
}

/// Chooses the revision with this number; without one the known good one, else the newest that still serves, else the one
/// before.
///
/// # Errors
/// Why there is none to go back to, in words for whoever asked.
pub fn choose(workload: &Workload, number: Option<i64>, remembered: &Remembered) -> Result<Choice, Refusal> {
    let refuse = |reason, message| Err(Refusal { reason, message });
    let from = RevisionRef::live(workload);
    // First: a frozen rollout is paused as well, and must not be resumed for this.
    if workload.said.migration == Some(Ok(Migration::Irreversible)) {
        let message = format!(
            "{} changed data irreversibly ({MIGRATION}), so it can only be fixed forward (kubectl rollout undo goes over that)",
            from.name()
        );
        return refuse("ForwardFixOnly", message);
    }
    if workload.paused {
        let message = "the Deployment is paused: resume it (kubectl rollout resume), then ask again";
        return refuse("Paused", message.to_owned());
    }
    let (to, why) = match number {
        Some(number) => (numbered(workload, number, remembered)?, "as asked"),
        None => earlier(workload, remembered)?,
    };
    Ok(Choice { from, to, why })
}

fn numbered(workload: &Workload, number: i64, remembered: &Remembered) -> Result<RevisionRef, Refusal> {
    let refuse = |reason, message| Err(Refusal { reason, message });
    let Some(found) = workload.revisions.iter().find(|revision| revision.number == number) else {
        let message = format!("there is no revision {number}: {}", numbers(workload));
        return refuse("NoSuchRevision", message);
    };
    if found.fingerprint == workload.live {
        let message = format!("revision {number} says what is live already: {}", numbers(workload));
        return refuse("AlreadyLive", message);
    }
    let to = reference(workload, found, remembered);
    match remembered.quarantined.iter().find(|bad| bad.fingerprint == found.fingerprint) {
        // Its policy would undo it again at once.
        Some(bad) => refuse(
            "Quarantined",
            format!(
                "revision {number}, {}, was undone before; release it first: {}",
                to.name(),
                how_to_release(&remembered.namespace, &bad.rollback)
            ),
        ),
        None => Ok(to),
    }
}

fn earlier(workload: &Workload, remembered: &Remembered) -> Result<(RevisionRef, &'static str), Refusal> {
    let may = |fingerprint: &Fingerprint| {
        *fingerprint != workload.live && !remembered.quarantined.iter().any(|bad| bad.fingerprint == *fingerprint)
    };
    if let Some(good) = remembered.known_good.as_ref().filter(|good| may(&good.fingerprint)) {
        match workload.revision(&good.fingerprint) {
            Some(found) => return Ok((reference(workload, found, remembered), "it is known good")),
            None if !good.snapshot.is_empty() => return Ok((good.clone(), "it is known good")),
            None => {}
        }
    }
    let others = || workload.revisions.iter().filter(|other| other.number > 0 && may(&other.fingerprint));
    // While a rollout is under way, the one before may be a release that failed as well.
    let serving = others().filter(|other| other.available > 0).max_by_key(|other| (other.available, other.number));
    let why = if serving.is_some() { "it still serves" } else { "it is the one before" };
    let Some(found) = serving.or_else(|| others().max_by_key(|other| other.number)) else {
        let message = format!("there is no other revision that was not undone before: {}", numbers(workload));
        return Err(Refusal { reason: "NothingToGoBackTo", message });
    };
    Ok((reference(workload, found, remembered), why))
}

/// A revision, with the copies that a policy keeps of it.
fn reference(workload: &Workload, found: &Revision, remembered: &Remembered) -> RevisionRef {
    let kept = remembered.known_good.as_ref().filter(|good| good.fingerprint == found.fingerprint);
    let to = RevisionRef::in_workload(workload, &found.fingerprint).unwrap_or_else(|| RevisionRef::live(workload));
    let snapshot = kept.map(|good| good.snapshot.clone()).unwrap_or_default();
    RevisionRef { snapshot, config: kept.and_then(|good| good.config.clone()), ..to }
}

/// The numbers that there are, for people.
fn numbers(workload: &Workload) -> String {
    let mut there: Vec<&Revision> = workload.revisions.iter().filter(|revision| revision.number > 0).collect();
    there.sort_by_key(|revision| revision.number);
    if there.is_empty() {
        return "it has none yet".to_owned();
    }
    let told = there.iter().map(|revision| {
        let live = if revision.fingerprint == workload.live { " (live)" } else { "" };
        format!("{}{live}", revision.number)
    });
    format!("there are {}", told.collect::<Vec<_>>().join(", "))
}
