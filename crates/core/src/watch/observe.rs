//! Folding a live look into what is remembered: which rollout is this, and is it complete?

use jiff::{SignedDuration, Timestamp};

use super::{Phase, RevisionRef, Rollout, Standing, Target, quarantine};
use crate::notice::{Notice, Reason};
use crate::policy::Soak;
use crate::workload::{Revision, Workload, rolled_out};

/// Whether a workload that is seen for the first time ran before anybody asked to have it judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// A policy that is gone judged it, and this is the known good revision that it left ([`former`](super::former)).
    Taken(RevisionRef),
    /// It did: what is complete is what people run.
    Before,
    /// It came after the policy: its first rollout is judged like any other, however fast it was.
    After,
}

impl Arrival {
    /// Of a workload that a policy of `since` sees now. What has run for a whole soak has run before.
    ///
    /// Times of the API are whole seconds: of two in the same second, the workload counts as the later one. Nothing
    /// is lost by judging it.
    /// What is live instead of a `former` known good revision is judged on, unless it is older than any soak: then nobody may have
    /// judged it for long, and people run it. A restart makes it no younger.
    pub fn of(workload: &Workload, since: Timestamp, soak: &Soak, former: Option<RevisionRef>, now: Timestamp) -> Self {
        let has_run_for = |soak: SignedDuration| {
            workload.live_revision().is_some_and(|revision| now.duration_since(revision.created) > soak)
        };
        let is_old = |revision: &Revision| {
            revision.fingerprint == workload.live && now.duration_since(revision.created) > soak.longest
        };
        if let Some(former) = former
            && (former.fingerprint == workload.live || !workload.revisions.iter().any(is_old))
        {
            return Self::Taken(former);
        }
        if workload.created < since || has_run_for(soak.duration) { Self::Before } else { Self::After }
    }
}

/// The state after a look at `workload`, and what there is to tell. The same look twice changes nothing. `arrival` is
/// asked of only where `state` does not know it.
pub fn observe(
    state: Option<&Target>,
    workload: &Workload,
    arrival: &Arrival,
    now: Timestamp,
) -> (Target, Vec<Notice>) {
    let mut notices = Vec::new();
    let mut target = match state {
        Some(known) if known.uid == workload.uid => follow(known, workload, now, &mut notices),
        _ => first_sight(workload, arrival, now, &mut notices),
    };
    refresh_names(&mut target, workload);
    if let Some(rollout) = target.rollout.as_mut()
        && rollout.completed.is_none()
        && rollout.returned.is_none()
        && target.rollback.is_none()
        && workload.replicas > 0
        && !workload.paused
        && rolled_out(workload, &workload.live).is_ok()
    {
        rollout.completed = Some(now);
        target.phase = Phase::Soaking;
        notices.push(Notice::new(
            Reason::SoakStarted,
            format!("all pods of {} are available; its soak has begun", target.current.name()),
        ));
    }
    (target, notices)
}

/// A target that is complete when it is first seen, and was there before, is what people run: it is adopted as known
/// good. Otherwise the rollout under way is watched, with the revision that still serves as the one to return to.
///
/// What a policy before had learned goes over both.
fn first_sight(workload: &Workload, arrival: &Arrival, now: Timestamp, notices: &mut Vec<Notice>) -> Target {
    let current = RevisionRef::live(workload);
    let complete = workload.replicas > 0 && rolled_out(workload, &workload.live).is_ok();
    let mut target = Target {
        uid: workload.uid.clone(),
        phase: Phase::Idle,
        standing: Standing::default(),
        known_good: None,
        rollout: None,
        rollback: None,
        quarantined: Vec::new(),
        current,
    };
    match arrival {
        Arrival::Taken(good) if good.fingerprint == workload.live => {
            notices.push(Notice::new(
                Reason::RevisionAdopted,
                format!("{} was known good before, and stays so", good.name()),
            ));
            target.standing = Standing::new("KnownGood", format!("{} is known good", good.name()));
            target.known_good = Some(good.clone());
        }
        Arrival::Before if complete => {
            notices.push(Notice::new(
                Reason::RevisionAdopted,
                format!("{} was complete when first seen and is adopted as known good", target.current.name()),
            ));
            target.standing = Standing::new("Adopted", format!("{} is adopted as known good", target.current.name()));
            target.known_good = Some(target.current.clone());
        }
        Arrival::Taken(good) => {
            target.known_good = Some(good.clone());
            begin(&mut target, now, notices);
        }
        Arrival::Before | Arrival::After => {
            target.known_good = still_serving(workload);
            begin(&mut target, now, notices);
        }
    }
    target
}

/// The other revision with the most available pods.
fn still_serving(workload: &Workload) -> Option<RevisionRef> {
    let other = workload
        .revisions
        .iter()
        .filter(|revision| revision.fingerprint != workload.live && revision.available > 0)
        .max_by_key(|revision| (revision.available, revision.number))?;
    RevisionRef::in_workload(workload, &other.fingerprint)
}

fn follow(known: &Target, workload: &Workload, now: Timestamp, notices: &mut Vec<Notice>) -> Target {
    let mut target = known.clone();
    if workload.live == known.current.fingerprint {
        return target;
    }
    let is_known_good = known.known_good.as_ref().is_some_and(|good| good.fingerprint == workload.live);
    if is_known_good && known.rollback.is_some() {
        // The undo at work: the Rollback says how it goes.
        return target;
    }
    if known.rollout.is_some() {
        notices.push(Notice::new(
            Reason::RolloutSuperseded,
            match known.standing.reason.as_str() {
                "WaitingForData" => format!("{} was replaced while its soak waited for data", known.current.name()),
                _ => format!("{} was replaced before its soak ended", known.current.name()),
            },
        ));
    }
    target.current = RevisionRef::live(workload);
    target.rollout = None;
    target.rollback = None;
    if is_known_good {
        target.phase = Phase::Idle;
        target.standing = Standing::new("KnownGood", format!("{} is known good", target.current.name()));
    } else {
        arrive(&mut target, now, notices);
    }
    target
}

/// Something else than the known good revision is live: what is quarantined has returned, and all else is judged.
pub(super) fn arrive(target: &mut Target, now: Timestamp, notices: &mut Vec<Notice>) {
    match target.quarantined.iter().find(|bad| bad.fingerprint == target.current.fingerprint) {
        Some(quarantined) => quarantine::returned(target, quarantined.rollback.clone(), now, notices),
        None => begin(target, now, notices),
    }
}

pub(super) fn begin(target: &mut Target, now: Timestamp, notices: &mut Vec<Notice>) {
    target.phase = Phase::Progressing;
    target.rollout = Some(Rollout { started: now, completed: None, returned: None, freeze: None });
    let back = target.known_good.as_ref().map_or_else(
        || "there is no known good revision to go back to yet".to_owned(),
        |good| format!("known good is {}", good.name()),
    );
    notices.push(Notice::new(
        Reason::RolloutDetected,
        format!("watching the rollout of {}; {back}", target.current.name()),
    ));
}

/// ReplicaSets appear after their template, and a restart changes them: names follow, fingerprints stay.
fn refresh_names(target: &mut Target, workload: &Workload) {
    let refresh = |revision: &mut RevisionRef| {
        let is_same = |found: &Revision| found.uid == revision.replica_set_uid;
        let runs = workload.revision(&revision.fingerprint).is_some_and(|found| found.desired > 0);
        // A restart, or an undo that named copies of its configuration, left two: of those that do not run any more, the one
        // that ran last is meant.
        if !runs && workload.revisions.iter().any(is_same) {
            return;
        }
        if let Some(found) = RevisionRef::in_workload(workload, &revision.fingerprint) {
            let snapshot = std::mem::take(&mut revision.snapshot);
            // New pods started with what its ConfigMaps and Secrets hold now.
            let started = runs && found.replica_set_uid != revision.replica_set_uid;
            let config = revision.config.take().filter(|_| !started);
            *revision = RevisionRef { snapshot, config, ..found };
        }
    };
    refresh(&mut target.current);
    if let Some(good) = target.known_good.as_mut() {
        refresh(good);
    }
}
