//! One step of a `Rollback`.

use jiff::{SignedDuration, Timestamp};

use super::unwedge;
use super::verify::{Verification, Verified, judge};
use crate::configuration::Restoration;

use super::{Approval, CONTENDED, Order, Phase, Progress};
use crate::jobs::Purpose;
use crate::notice::{Notice, Reason};
use crate::workload::{PodFacts, Workload, rolled_out};

/// Fills the approver's name in, in the shell that the command is pasted into: an approval must name its giver, and
/// only the API server knows by which name.
pub const WHO: &str = "$(kubectl auth whoami -o jsonpath={.status.userInfo.username})";

/// What a person does to let a revision run that a record keeps in quarantine.
pub fn how_to_release(namespace: &str, rollback: &str) -> String {
    format!(
        "kubectl patch -n {namespace} rollback {rollback} --type=merge \
         -p \"spec: {{released: {{reason: '...', by: '{WHO}'}}}}\""
    )
}

/// How often a running undo is looked at when nothing else wakes us.
pub(super) const LOOK: SignedDuration = SignedDuration::from_secs(5);

/// The one change that may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    Nothing,
    /// Hold the Application of `progress.hold`. Only after `progress` was committed.
    Hold,
    /// Send the undo patch. Only after `progress` was committed.
    Undo,
    /// Put the original `maxSurge` back.
    RestoreSurge,
    /// Give the fields of the template back to their former owners.
    HandBack,
    /// Create a Job. Only after `progress` was committed.
    RunJob(Purpose),
    /// Delete the last of `progress.deleted`, provided that it is as it was at this look.
    DeletePod,
}

/// What a step says.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// To commit before acting.
    pub progress: Progress,
    /// One CamelCase word.
    pub reason: &'static str,
    /// One sentence, without clocks and ages.
    pub message: String,
    /// What to do then.
    pub act: Act,
    /// What to tell.
    pub notices: Vec<Notice>,
    /// Whether the checks confirmed the cure; `None` while it is not known.
    pub verified: Option<bool>,
    /// What the applier's own record will leave behind, and the command that prevents it.
    pub residue: Option<String>,
    /// When to look again; `None` when it has ended, or at the next change.
    pub next_look: Option<SignedDuration>,
}

/// The next step, from the order, what happened so far, and a live look. `workload` is `None` when the workload is gone.
///
/// `verification` is what the checks and probes say of the good revision; it is only asked for while verifying.
pub fn step(
    order: &Order,
    progress: &Progress,
    workload: Option<&Workload>,
    verification: Option<&Verification>,
    now: Timestamp,
) -> Step {
    let next = advance(order, progress, workload, verification, now);
    let is_there = workload.is_some_and(|workload| workload.uid == order.uid);
    let is_over = next.progress.phase.is_some_and(Phase::is_terminal);
    if !is_there || !is_raised(order, progress, now) || !(is_over || next.progress.rolled_out.is_some()) {
        return next;
    }
    // However it goes on from here, the workload's own parameters come back first.
    Step {
        progress: Progress { rolled_out: next.progress.rolled_out, ..progress.clone() },
        reason: "RestoringStrategy",
        message: format!("{} is rolled out; maxSurge is being put back to what it was", order.to.name()),
        act: Act::RestoreSurge,
        notices: Vec::new(),
        verified: None,
        next_look: Some(SignedDuration::from_secs(1)),
        ..next
    }
}

/// Whether `maxSurge` is ours to lower. Not for ever: what cannot be lowered within twice the deadline is told of.
fn is_raised(order: &Order, progress: &Progress, now: Timestamp) -> bool {
    let since = progress.undo_accepted.or(progress.undo_requested);
    progress.surge.is_some()
        && progress.surge_restored.is_none()
        && since.is_some_and(|since| now.duration_since(since) < order.deadline * 2)
}

/// The state after `maxSurge` was put back: the field is to be given back as well.
pub fn surge_restored(mut next: Step, now: Timestamp) -> Step {
    next.progress.surge_restored = Some(now);
    next.progress.handed_back = None;
    next.act = if is_owed(&next.progress) { Act::HandBack } else { Act::Nothing };
    next
}

fn advance(
    order: &Order,
    progress: &Progress,
    workload: Option<&Workload>,
    verification: Option<&Verification>,
    now: Timestamp,
) -> Step {
    let mut next = Step {
        progress: progress.clone(),
        reason: "",
        message: String::new(),
        act: Act::Nothing,
        notices: Vec::new(),
        verified: None,
        residue: None,
        next_look: None,
    };
    let Some(workload) = workload.filter(|workload| workload.uid == order.uid) else {
        return end(next, Phase::Failed, "TargetGone", "the workload was deleted".to_owned(), now);
    };
    next.residue = crate::ownership::residue(&progress.owners, workload.helm_release.as_ref());
    if order.needs_approval && progress.approved.is_none() {
        match &order.approval {
            _ if workload.live != order.from.fingerprint => return superseded(next, workload, now),
            Some(Approval::Approved) => next.progress.approved = Some(now),
            Some(Approval::Rejected { by, reason }) => {
                let who = by.as_deref().unwrap_or("a person");
                let why = reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
                let message = format!("{} stays: {who} refused the rollback{why}", order.from.name());
                return end(next, Phase::Rejected, "Rejected", message, now);
            }
            None if order.withdrawn.is_some() => {
                let why = order.withdrawn.as_deref().unwrap_or_default();
                let message = format!("{} stays: nobody had approved the rollback when {why}", order.from.name());
                return end(next, Phase::Rejected, "PolicyGone", message, now);
            }
            None if order.approval_timeout.is_some_and(|timeout| now.duration_since(order.decided) > timeout) => {
                let message = format!("{} stays: nobody approved the rollback in time", order.from.name());
                return end(next, Phase::Rejected, "ApprovalExpired", message, now);
            }
            None => {
                let message = question(order);
                if progress.phase.is_none() {
                    next.notices.push(Notice::new(Reason::ApprovalRequested, message.clone()));
                }
                next.progress.phase = Some(Phase::AwaitingApproval);
                (next.reason, next.message) = ("AwaitingApproval", message);
                next.next_look = order.approval_timeout.map(|timeout| {
                    let left = timeout - now.duration_since(order.decided);
                    left.max(SignedDuration::ZERO) + SignedDuration::from_secs(1)
                });
                return next;
            }
        }
    }
    if progress.undo_accepted.is_none() {
        let mut next = undo(next, order, workload, now);
        if is_owed(&next.progress) {
            next.act = Act::HandBack;
        }
        return next;
    }
    if workload.live == order.from.fingerprint {
        let message = format!("{} was put back by {} after the undo", order.from.name(), rival(order));
        return end(next, Phase::Failed, CONTENDED, message, now);
    }
    if workload.live != order.to.fingerprint {
        return superseded(next, workload, now);
    }
    let mut next = match progress.rolled_out {
        None => wait_for_pods(next, order, workload, now),
        Some(since) => verifying(next, order, workload, verification, since, now),
    };
    // A hand-back that fails must not keep the pods away.
    if is_owed(&next.progress) && next.act == Act::Nothing {
        next.act = Act::HandBack;
    }
    next
}

/// What a person is asked: why it is theirs to say, until when, what is wrong, and how to answer.
fn question(order: &Order) -> String {
    let because = order.ask.as_deref().map_or_else(String::new, |ask| format!(" ({ask})"));
    let end = order.approval_timeout.and_then(|timeout| order.decided.checked_add(timeout).ok());
    let until = end.map_or_else(String::new, |end| format!(" until {}", end.strftime("%Y-%m-%d %H:%M UTC")));
    let wrong = order.cause.as_deref().map_or_else(String::new, |cause| format!(" What is wrong: {cause}."));
    format!(
        "going back from {} to {} waits for a person{until}{because}.{wrong} To approve (or Rejected): \
         kubectl patch {} --type=merge -p \"spec: {{approval: {{decision: Approved, by: '{WHO}'}}}}\"",
        order.from.name(),
        order.to.name(),
        order.handle
    )
}

/// Whether somebody waits for the fields that the undo took.
fn is_owed(progress: &Progress) -> bool {
    progress.undo_accepted.is_some() && progress.handed_back.is_none() && !progress.owners.is_empty()
}

/// The state after the fields were given back.
pub fn handed_back(mut next: Step, now: Timestamp) -> Step {
    next.progress.handed_back = Some(now);
    next.act = Act::Nothing;
    next
}

/// Before the undo: is it still wanted, was it already done, may it be sent?
fn undo(mut next: Step, order: &Order, workload: &Workload, now: Timestamp) -> Step {
    if workload.live == order.to.fingerprint {
        // We did it and died before noting it, or a person was faster. Either way it is done.
        return accept(next, order, now);
    }
    if workload.live != order.from.fingerprint {
        return superseded(next, workload, now);
    }
    let good = workload.revision(&order.to.fingerprint);
    if good.is_none() && order.to.snapshot.is_empty() {
        let (good, object) = (order.to.name(), workload.kind.revisions());
        let message = format!("{good} has no {object} and no copy any more; there is no template to go back to");
        return end(next, Phase::Failed, "KnownGoodIsGone", message, now);
    }
    // Without an object of it there is no number yet: it gets one when the undo is accepted.
    let good_number = good.map_or(0, |good| good.number);
    match (next.progress.undo_requested, next.progress.number_at_request) {
        (Some(_), Some(number)) if good_number > number => {
            let message = format!("the undo was accepted, and {} put back by {}", order.from.name(), rival(order));
            return end(next, Phase::Failed, CONTENDED, message, now);
        }
        // Fewer than two changes of the spec are no undo that was put back. Two may be others: then a new record loses a
        // second, where a second undo by this one would be nobody's decision.
        (Some(_), _)
            if next
                .progress
                .generation_at_request
                .is_some_and(|noted| workload.generation > noted.saturating_add(1)) =>
        {
            let message = format!(
                "the workload was changed more than once since the undo was sent: it may have been accepted, and {} put \
                 back by {}",
                order.from.name(),
                rival(order)
            );
            return end(next, Phase::Failed, CONTENDED, message, now);
        }
        (Some(requested), _) if now.duration_since(requested) > order.deadline => {
            let why = next.progress.refused.as_deref().unwrap_or("it gave no reason");
            let message = format!("the API server did not accept the undo before the deadline: {why}");
            return end(next, Phase::Failed, "UndoRefused", message, now);
        }
        (Some(_), _) => {}
        (None, _) => {
            next.progress.undo_requested = Some(now);
            next.progress.number_at_request = Some(good_number);
            next.progress.owners.clone_from(&workload.owners);
            let slow = workload.rolling.as_ref().filter(|rolling| order.fast && rolling.is_slow(workload.replicas));
            next.progress.surge = slow.map(|rolling| rolling.max_surge.clone());
            next.residue = crate::ownership::residue(&workload.owners, workload.helm_release.as_ref());
        }
    }
    // No undo that tests an older generation can be accepted any more.
    next.progress.generation_at_request = Some(workload.generation);
    next.progress.phase = Some(Phase::Running);
    (next.reason, next.message) = match &next.progress.refused {
        Some(why) => ("UndoRefused", refused(why)),
        None => ("Undoing", format!("going back from {} to {}", order.from.name(), order.to.name())),
    };
    next.act = Act::Undo;
    next.next_look = Some(LOOK);
    next
}

/// Who put the bad revision back.
fn rival(order: &Order) -> String {
    order.rival.as_ref().map_or_else(|| "somebody".to_owned(), |rival| format!("Rollback {rival}"))
}

fn refused(why: &str) -> String {
    format!("the API server refused the undo, which is tried again until the deadline: {why}")
}

/// The state after the API server accepted the undo patch.
pub fn undo_accepted(mut committed: Step, order: &Order, now: Timestamp) -> Step {
    committed = accept(committed, order, now);
    committed.act = if is_owed(&committed.progress) { Act::HandBack } else { Act::Nothing };
    committed
}

/// The state after the API server refused it for good reason (not for a failed precondition, which the next look
/// explains): kept, with the reason shown, until the deadline.
pub fn undo_refused(mut committed: Step, why: &str) -> Step {
    committed.act = Act::Nothing;
    (committed.reason, committed.message) = ("UndoRefused", refused(why));
    committed.progress.refused = Some(why.to_owned());
    committed.next_look = Some(LOOK);
    committed
}

fn accept(mut next: Step, order: &Order, now: Timestamp) -> Step {
    next.progress.phase = Some(Phase::Running);
    next.progress.undo_requested.get_or_insert(now);
    next.progress.undo_accepted = Some(now);
    next.progress.refused = None;
    let config = next.progress.config.as_ref().map_or_else(String::new, Restoration::told);
    let message = format!("{} is being put back in place of {}{config}", order.to.name(), order.from.name());
    next.notices.push(Notice::new(Reason::RollbackStarted, message.clone()));
    (next.reason, next.message) = ("RollingOut", message);
    next.next_look = Some(LOOK);
    next
}

fn wait_for_pods(mut next: Step, order: &Order, workload: &Workload, now: Timestamp) -> Step {
    let missing = match rolled_out(workload, &order.to.fingerprint) {
        Err(missing) => Some(missing.describe()),
        Ok(()) => unwedge::out_of_reach(workload, &order.from.fingerprint),
    };
    match missing {
        None => {
            next.progress.rolled_out = Some(now);
            next.progress.phase = Some(Phase::Verifying);
            (next.reason, next.message) =
                ("Verifying", format!("{} runs again; checking that this cured it", order.to.name()));
            next.next_look = Some(SignedDuration::from_secs(1));
            next
        }
        Some(mut missing) => {
            if let Some(by_hand) = unwedge::by_hand(workload, &order.to.fingerprint) {
                missing = format!("{missing}; {by_hand}");
            }
            let started = next.progress.undo_accepted.unwrap_or(now);
            if now.duration_since(started) > order.deadline {
                let message = format!("{} is not back before the deadline: {missing}", order.to.name());
                return end(next, Phase::Escalated, "DeadlineExceeded", message, now);
            }
            next.next_look = Some(LOOK);
            if let Some(pod) = unwedge::stuck(workload, &order.to.fingerprint, &next.progress.deleted) {
                let message =
                    format!("deleting pod {}, which is not ready and keeps {} away", pod.name, order.to.name());
                let known = next.progress.deleted.len();
                next.progress.deleted.retain(|noted| *noted != pod);
                if next.progress.deleted.len() == known {
                    next.notices.push(Notice::new(Reason::StuckPodDeleted, message.clone()));
                }
                next.progress.deleted.push(pod);
                (next.reason, next.message) = ("Unwedging", message);
                next.act = Act::DeletePod;
                return next;
            }
            (next.reason, next.message) = ("RollingOut", missing);
            next
        }
    }
}

fn verifying(
    mut next: Step,
    order: &Order,
    workload: &Workload,
    verification: Option<&Verification>,
    since: Timestamp,
    now: Timestamp,
) -> Step {
    let failing = |pod: &&PodFacts| !pod.leaving && pod.failure.is_some();
    let pods = workload.pods_of(&order.to.fingerprint).find(failing).and_then(|pod| pod.failure.as_ref());
    let verification = match (pods, verification) {
        (Some(failure), _) => Verification::Outside(failure.describe()),
        (None, Some(verification)) => verification.clone(),
        (None, None) => Verification::Unknown("not measured yet".to_owned()),
    };
    match verification {
        Verification::Within => _ = next.progress.recovered.get_or_insert(now),
        Verification::Outside(_) => next.progress.recovered = None,
        Verification::Unknown(_) => {}
    }
    let good = order.to.name();
    match judge(&verification, since, next.progress.recovered, order.verify, now) {
        Verified::Cured => {
            next.verified = Some(true);
            let message = if order.probes.is_empty() {
                format!("{good} is back, and its checks are inside their limits")
            } else {
                format!("{good} is back, its checks are inside their limits, and its pods answer their probes")
            };
            end(next, Phase::Succeeded, "Verified", message, now)
        }
        Verified::Unmeasured(why) => {
            let message = format!("{good} is back and its pods are healthy; not confirmed by the checks ({why})");
            end(next, Phase::Succeeded, "NotMeasured", message, now)
        }
        Verified::NotCured(why) => {
            next.verified = Some(false);
            let message = format!("{good} is back, but the fault is not gone ({why}): it is probably not the release");
            end(next, Phase::Escalated, "NotCured", message, now)
        }
        Verified::Waiting => {
            next.progress.phase = Some(Phase::Verifying);
            let why = match verification {
                Verification::Within => "inside the limits so far".to_owned(),
                Verification::Outside(why) | Verification::Unknown(why) => why,
            };
            (next.reason, next.message) = ("Verifying", format!("{good} runs again; {why}"));
            next.next_look = Some(LOOK);
            next
        }
    }
}

fn superseded(next: Step, workload: &Workload, now: Timestamp) -> Step {
    let newer = crate::watch::RevisionRef::live(workload).name();
    end(
        next,
        Phase::Superseded,
        "Superseded",
        format!("{newer} was applied meanwhile; nothing was undone over it"),
        now,
    )
}

/// As what the end of a rollback is told.
pub fn told_as(phase: Phase) -> Reason {
    match phase {
        Phase::Succeeded => Reason::RollbackSucceeded,
        Phase::Superseded => Reason::RollbackSuperseded,
        Phase::Escalated => Reason::RollbackEscalated,
        Phase::Rejected => Reason::RollbackRejected,
        _ => Reason::RollbackFailed,
    }
}

pub(super) fn end(mut next: Step, phase: Phase, reason: &'static str, message: String, now: Timestamp) -> Step {
    next.notices.push(Notice::new(told_as(phase), message.clone()));
    next.progress.phase = Some(phase);
    next.progress.ended = Some(now);
    next.act = Act::Nothing;
    (next.reason, next.message) = (reason, message);
    next.next_look = None;
    next
}
