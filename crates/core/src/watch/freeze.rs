//! Freezing the rollout of a revision that cannot be undone, and letting it go on.
//!
//! An irreversible change of data leaves one way, forward. While old pods still serve, the Deployment is paused, so that
//! they stay; and marked ([`FROZEN`]), so that our pause is told from a person's for ever. What is marked is a fact of the
//! live object: a process that dies between the patch and the status finds it there.

use super::{Decision, FreezeState, Phase, Target};
use crate::notice::{Notice, Reason};
use crate::policy::{Mode, Policy};
use crate::workload::{FROZEN, MIGRATION, Workload};

/// What is to be done to the Deployment, in one guarded patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FreezeAct {
    /// Pause it, and mark the pause as ours.
    Begin,
    /// Let its rollout go on, and take the mark off.
    End,
    /// Take the mark off; the pause is over, or somebody else's.
    Unmark,
}

/// The mode that counts: the workload's word goes over the policy's.
pub(super) fn mode(policy: &Policy, workload: &Workload) -> Mode {
    workload.said.mode.clone().and_then(Result::ok).unwrap_or(policy.mode)
}

/// Whether the live revision is frozen by us.
pub(super) fn is_frozen(workload: &Workload) -> bool {
    workload.paused && is_marked(workload)
}

fn is_marked(workload: &Workload) -> bool {
    workload.frozen.as_ref() == Some(&workload.live)
}

/// Available pods of other revisions that would stay if the rollout stopped here.
pub(super) fn still_serving(workload: &Workload) -> i32 {
    let others = workload.revisions.iter().filter(|revision| revision.fingerprint != workload.live);
    others.map(|revision| revision.available.min(revision.desired)).sum()
}

/// Follows a freeze: remembers that it began, or that a person ended it, and gives how it ends.
///
/// A person's resume is remembered before the mark is taken off: the other way round a process that dies in between would
/// freeze the revision again.
pub(super) fn follow(
    policy: &Policy,
    state: &mut Target,
    workload: &Workload,
    notices: &mut Vec<Notice>,
) -> Option<FreezeAct> {
    let is_off = policy.suspend || mode(policy, workload) == Mode::Observe;
    let before = state.rollout.as_ref().and_then(|rollout| rollout.freeze);
    let name = state.current.name();
    if let Some(rollout) = state.rollout.as_mut() {
        rollout.freeze = match before {
            _ if is_off => None,
            None if is_frozen(workload) => {
                notices.push(Notice::new(Reason::RolloutFrozen, frozen(&name, workload)));
                Some(FreezeState::Frozen)
            }
            None | Some(FreezeState::Frozen) if is_resumed(before, workload) => {
                let message = format!("a person resumed the rollout of {name}; it is not frozen again");
                notices.push(Notice::new(Reason::RolloutResumed, message));
                Some(FreezeState::Resumed)
            }
            // The mark was taken off by hand: the pause is a person's now.
            Some(FreezeState::Frozen) if !is_marked(workload) => Some(FreezeState::Resumed),
            same => same,
        };
    }
    workload.frozen.as_ref()?;
    let is_kept = is_marked(workload) && !is_off && state.rollout.is_some();
    if is_kept {
        return (before == Some(FreezeState::Resumed)).then_some(FreezeAct::Unmark);
    }
    if workload.paused && workload.pause_is_applied {
        return Some(FreezeAct::Unmark);
    }
    if workload.paused || !is_marked(workload) {
        let why = match () {
            () if policy.suspend => "the policy is suspended".to_owned(),
            () if is_off => "nothing but observing is asked for".to_owned(),
            () if is_marked(workload) => "nobody judges it any more".to_owned(),
            () => "it is another revision than the frozen one".to_owned(),
        };
        notices.push(Notice::new(Reason::RolloutResumed, format!("the rollout of {name} goes on: {why}")));
    }
    Some(if workload.paused { FreezeAct::End } else { FreezeAct::Unmark })
}

/// Whether somebody lets the frozen revision go on: with the mark, or with the mark taken off as well.
fn is_resumed(before: Option<FreezeState>, workload: &Workload) -> bool {
    !workload.paused && (before.is_some() || is_marked(workload))
}

/// What people are told while it is frozen.
pub(super) fn frozen(name: &str, workload: &Workload) -> String {
    let serving = still_serving(workload);
    let deployment = &workload.name;
    format!(
        "{name} is bad and changed data irreversibly ({MIGRATION}): its rollout is frozen ({FROZEN}), and {serving} pods \
         of other revisions still serve. Apply a fix, which rolls out by itself; or let this one go on: kubectl rollout \
         resume deploy/{deployment}"
    )
}

/// The API server would not let the freeze in: the revision is only held, as one that may not be frozen.
/// `before` is the phase before the decision: what is held already is not told again.
pub fn not_frozen(mut decision: Decision, before: Phase, why: &str) -> Decision {
    let message = format!("{}; it could not be frozen: {why}", decision.state.standing.message);
    if before != Phase::Held {
        decision.notices.push(Notice::new(Reason::Held, message.clone()));
    }
    decision.freeze = None;
    decision.state.standing.message = message;
    decision
}
