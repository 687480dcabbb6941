//! Revisions that were rolled back, and come back.
//!
//! What was undone for cause must not come back by itself: a pipeline that runs again, a GitOps tool that heals, a person
//! who did not know. It is undone again at once, without waiting for metrics, but not for ever: who puts it back twice
//! means it, or is a machine that never tires. And a person may always let it go.

use jiff::Timestamp;

use super::observe::begin;
use super::{Phase, Rollout, Standing, Target};
use crate::notice::{Notice, Reason};

/// Lets the revisions go whose `Rollback` a person released. One that is live is judged like a new one.
pub fn release(target: &mut Target, released: &[String], now: Timestamp) -> Vec<Notice> {
    let mut notices = Vec::new();
    let is_free = |rollback: &String| released.contains(rollback);
    let live = &target.current.fingerprint;
    let lives = target.quarantined.iter().any(|bad| is_free(&bad.rollback) && bad.fingerprint == *live);
    target.quarantined.retain(|bad| !is_free(&bad.rollback));
    if lives && target.rollback.is_none() {
        begin(target, now, &mut notices);
    }
    notices
}

/// A quarantined revision is live again.
pub(super) fn returned(target: &mut Target, rollback: String, now: Timestamp, notices: &mut Vec<Notice>) {
    let message = format!("{} is back, though Rollback {rollback} undid it", target.current.name());
    notices.push(Notice::new(Reason::RevisionReturned, message.clone()));
    target.phase = Phase::Progressing;
    target.standing = Standing::new("Quarantined", message);
    target.rollout = Some(Rollout { started: now, completed: None, returned: Some(rollback), freeze: None });
}
