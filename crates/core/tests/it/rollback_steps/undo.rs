//! The request, the undo, and every death between the two.

use super::*;
use crate::support::*;
use jiff::SignedDuration;
use snapback_core::ids::WorkloadUid;
use snapback_core::notice::{Notice, Reason};
use snapback_core::readiness::Readiness;
use snapback_core::rollback::{
    Act, Approval, Order, Phase, Progress, Step, cannot_work, is_to_be_looked_through, step, told_as, undo_refused,
};
use snapback_core::workload::Workload;

#[test]
fn the_request_is_noted_before_the_undo_is_sent() {
    let asked = look(&Progress::default(), &complete_v2(), 1);
    assert_eq!(asked.act, Act::Undo);
    assert_eq!(asked.progress.undo_requested, Some(at(1)));
    assert_eq!(asked.progress.number_at_request, Some(1));
    assert_eq!(asked.progress.generation_at_request, Some(1));
    assert_eq!(asked.progress.undo_accepted, None);
}

#[test]
fn a_persons_order_is_looked_through_at_its_first_look_and_when_it_is_approved() {
    let is_due = |progress: &Progress, next: &Step| is_to_be_looked_through(progress, next);
    let first = look(&Progress::default(), &complete_v2(), 1);
    assert!(is_due(&Progress::default(), &first));
    assert!(!is_due(&first.progress, &look(&first.progress, &complete_v2(), 2)), "it has begun");
    assert!(!is_due(&Progress::default(), &look(&Progress::default(), &back(), 1)), "it is done already");
    let newer = workload("v3", vec![revision("v2", 2, 0, 0), revision("v3", 3, 3, 3)]);
    assert!(!is_due(&Progress::default(), &look(&Progress::default(), &newer, 1)), "it is over");
    let asks = Order { needs_approval: true, ..order() };
    let waits = step(&asks, &Progress::default(), Some(&complete_v2()), None, at(1));
    assert!(is_due(&Progress::default(), &waits), "who asks hears of it at once");
    assert!(!is_due(&waits.progress, &step(&asks, &waits.progress, Some(&complete_v2()), None, at(2))));
    let yes = Order { approval: Some(Approval::Approved), ..asks };
    let approved = step(&yes, &waits.progress, Some(&complete_v2()), None, at(3000));
    assert!(is_due(&waits.progress, &approved), "that may be long after");
}

#[test]
fn an_order_that_cannot_work_ends_with_the_reason_and_nothing_of_its_step() {
    let first = look(&Progress::default(), &complete_v2(), 1);
    assert_eq!(first.act, Act::Undo);
    let found = Readiness::refused(&reference("v1"), "quota");
    let ended = cannot_work(&order(), &Progress::default(), first, &found, at(1));
    assert_eq!((ended.act, ended.reason), (Act::Nothing, "UndoWouldBeRefused"));
    assert_eq!((ended.progress.phase, ended.progress.ended), (Some(Phase::Failed), Some(at(1))));
    assert_eq!((ended.progress.undo_requested, ended.progress.number_at_request), (None, None));
    assert!(ended.message.contains("nothing was changed") && ended.message.contains("quota"), "{}", ended.message);
    let told: Vec<Reason> = ended.notices.iter().map(|notice| notice.reason).collect();
    assert_eq!((told, ended.next_look), (vec![Reason::RollbackFailed], None));
}

/// Accepted, and put back by somebody before it was noted, and before the workload's controller saw it: the good
/// revision's number is what it was.
#[test]
fn an_undo_that_was_put_back_at_once_is_not_sent_again() {
    let asked = look(&Progress::default(), &complete_v2(), 1);
    let put_back = Workload { generation: 3, ..complete_v2() };
    let again = look(&asked.progress, &put_back, 9);
    assert_eq!((again.act, again.reason), (Act::Nothing, "Contended"));
    assert!(again.message.contains("may have been accepted"), "{}", again.message);
}

/// One change of the spec is an autoscaler's, say. The undo is noted anew with the generation that it tests.
#[test]
fn another_change_of_the_workload_only_delays_the_undo() {
    let asked = look(&Progress::default(), &complete_v2(), 1);
    let scaled = look(&asked.progress, &Workload { generation: 2, ..complete_v2() }, 2);
    assert_eq!((scaled.act, scaled.progress.generation_at_request), (Act::Undo, Some(2)));
    let scaled = look(&scaled.progress, &Workload { generation: 3, ..complete_v2() }, 3);
    assert_eq!((scaled.act, scaled.progress.generation_at_request), (Act::Undo, Some(3)));
}

#[test]
fn whatever_generation_a_record_notes_the_step_is_taken() {
    let asked = look(&Progress::default(), &complete_v2(), 1);
    let noted = Progress { generation_at_request: Some(i64::MAX), ..asked.progress };
    assert_eq!(look(&noted, &complete_v2(), 2).act, Act::Undo);
}

#[test]
fn died_between_the_note_and_the_undo_it_is_sent_again() {
    let asked = look(&Progress::default(), &complete_v2(), 1);
    let again = look(&asked.progress, &complete_v2(), 9);
    assert_eq!((again.act, again.progress), (Act::Undo, asked.progress));
}

#[test]
fn died_between_the_undo_and_its_note_it_is_not_sent_again() {
    let asked = look(&Progress::default(), &complete_v2(), 1);
    let again = look(&asked.progress, &back(), 9);
    assert_eq!((again.act, again.progress.undo_accepted), (Act::Nothing, Some(at(9))));
}

#[test]
fn an_undo_that_was_put_back_before_it_was_noted_is_not_repeated() {
    let asked = look(&Progress::default(), &complete_v2(), 1);
    let reverted = workload("v2", vec![revision("v1", 3, 0, 0), revision("v2", 4, 3, 3)]);
    let again = look(&asked.progress, &reverted, 9);
    assert_eq!((again.act, again.progress.phase, again.reason), (Act::Nothing, Some(Phase::Failed), "Contended"));
}

#[test]
fn an_undo_that_was_put_back_later_is_not_repeated() {
    let reverted = workload("v2", vec![revision("v1", 3, 0, 0), revision("v2", 4, 3, 3)]);
    let again = look(&undone(), &reverted, 9);
    assert_eq!((again.act, again.progress.phase, again.reason), (Act::Nothing, Some(Phase::Failed), "Contended"));
}

#[test]
fn somebody_newer_wins_before_and_after_the_undo() {
    let newer = workload("v3", vec![revision("v1", 1, 0, 0), revision("v2", 2, 3, 3), revision("v3", 3, 1, 0)]);
    for progress in [Progress::default(), undone()] {
        let next = look(&progress, &newer, 9);
        assert_eq!((next.act, next.progress.phase), (Act::Nothing, Some(Phase::Superseded)));
    }
}

#[test]
fn a_deleted_or_remade_workload_ends_it() {
    let gone = step(&order(), &Progress::default(), None, None, at(1));
    assert_eq!((gone.progress.phase, gone.reason), (Some(Phase::Failed), "TargetGone"));
    let remade = Workload { uid: WorkloadUid::new("other"), ..complete_v2() };
    assert_eq!(look(&Progress::default(), &remade, 1).reason, "TargetGone");
}

#[test]
fn without_the_good_replica_set_there_is_no_template_to_go_back_to() {
    let next = look(&Progress::default(), &workload("v2", vec![revision("v2", 2, 3, 3)]), 1);
    assert_eq!((next.act, next.reason), (Act::Nothing, "KnownGoodIsGone"));
}

#[test]
fn an_undo_that_is_refused_until_the_deadline_fails() {
    let asked = look(&Progress::default(), &complete_v2(), 1);
    assert_eq!(look(&asked.progress, &complete_v2(), 601).act, Act::Undo);
    assert_eq!(look(&asked.progress, &complete_v2(), 602).reason, "UndoRefused");
}

#[test]
fn nothing_is_sent_before_a_person_approved() {
    let asking = Order { needs_approval: true, ..order() };
    let waiting = step(&asking, &Progress::default(), Some(&complete_v2()), None, at(1));
    assert_eq!((waiting.act, waiting.progress.phase), (Act::Nothing, Some(Phase::AwaitingApproval)));
    assert_eq!(waiting.notices.len(), 1);
    let command = "kubectl patch -n shop rollback web-1 --type=merge -p \"spec: {approval: {decision: Approved, \
                   by: '$(kubectl auth whoami -o jsonpath={.status.userInfo.username})'}}\"";
    assert!(waiting.message.ends_with(command), "{}", waiting.message);
    let still = step(&asking, &waiting.progress, Some(&complete_v2()), None, at(2));
    assert!(still.notices.is_empty(), "a person is asked once");

    let yes = Order { approval: Some(Approval::Approved), ..asking.clone() };
    let approved = step(&yes, &waiting.progress, Some(&complete_v2()), None, at(3));
    assert_eq!((approved.act, approved.progress.approved), (Act::Undo, Some(at(3))));
    let no = |by: Option<&str>, reason: Option<&str>| {
        let approval = Approval::Rejected { by: by.map(str::to_owned), reason: reason.map(str::to_owned) };
        let no = Order { approval: Some(approval), ..asking.clone() };
        step(&no, &waiting.progress, Some(&complete_v2()), None, at(3))
    };
    let rejected = no(None, None);
    assert_eq!((rejected.act, rejected.progress.phase), (Act::Nothing, Some(Phase::Rejected)));
    let who_and_why = no(Some("ada"), Some("the database is at fault")).message;
    assert!(who_and_why.ends_with(" stays: ada refused the rollback: the database is at fault"), "{who_and_why}");
    assert!(rejected.message.ends_with(" stays: a person refused the rollback"), "{}", rejected.message);
    let newer = workload("v3", vec![revision("v1", 1, 0, 0), revision("v3", 3, 3, 3)]);
    let late = step(&yes, &waiting.progress, Some(&newer), None, at(3));
    assert_eq!(
        (late.act, late.progress.phase),
        (Act::Nothing, Some(Phase::Superseded)),
        "a late yes undoes nothing newer"
    );
}

#[test]
fn it_waits_for_the_pods_by_the_facts_of_the_replica_sets_and_calls_a_person_at_the_deadline() {
    let half = workload("v1", vec![revision("v1", 3, 3, 1), revision("v2", 2, 1, 1)]);
    let waiting = look(&undone(), &half, 100);
    assert_eq!((waiting.progress.phase, waiting.progress.rolled_out), (Some(Phase::Running), None));
    let late = look(&undone(), &half, 603);
    assert_eq!((late.progress.phase, late.reason), (Some(Phase::Escalated), "DeadlineExceeded"));
    let there = look(&undone(), &back(), 100);
    assert_eq!((there.progress.phase, there.progress.rolled_out), (Some(Phase::Verifying), Some(at(100))));
}

#[test]
fn an_approval_that_nobody_gives_expires() {
    let asking = Order { needs_approval: true, ask: Some("the policy's mode is Approve".into()), ..order() };
    let waiting = step(&asking, &Progress::default(), Some(&complete_v2()), None, at(10));
    let until = " waits for a person until 1970-01-12 14:46 UTC (the policy's mode is Approve). To approve";
    assert!(waiting.message.contains(until), "{}", waiting.message);
    assert_eq!(waiting.next_look, Some(SignedDuration::from_secs(3591)), "it looks again when the time is over");
    let late = step(&asking, &waiting.progress, Some(&complete_v2()), None, at(3601));
    assert_eq!((late.progress.phase, late.reason, late.act), (Some(Phase::Rejected), "ApprovalExpired", Act::Nothing));
    let patient = Order { approval_timeout: None, cause: Some("errors: 12 % are over 5 %".to_owned()), ..asking };
    let waiting = step(&patient, &Progress::default(), Some(&complete_v2()), None, at(36000));
    assert_eq!((waiting.progress.phase, waiting.next_look), (Some(Phase::AwaitingApproval), None));
    let wrong =
        " waits for a person (the policy's mode is Approve). What is wrong: errors: 12 % are over 5 %. To approve";
    assert!(waiting.message.contains(wrong), "{}", waiting.message);
}

#[test]
fn a_question_that_nobody_asks_any_more_is_closed_unless_it_was_answered() {
    let gone = Some("RollbackPolicy web was deleted".to_owned());
    let asking = Order { needs_approval: true, withdrawn: gone, ..order() };
    let closed = step(&asking, &Progress::default(), Some(&complete_v2()), None, at(10));
    assert_eq!((closed.progress.phase, closed.reason, closed.act), (Some(Phase::Rejected), "PolicyGone", Act::Nothing));
    let why = " stays: nobody had approved the rollback when RollbackPolicy web was deleted";
    assert!(closed.message.ends_with(why), "{}", closed.message);
    let answered = Order { approval: Some(Approval::Approved), ..asking };
    assert_eq!(step(&answered, &Progress::default(), Some(&complete_v2()), None, at(10)).act, Act::Undo);
}

#[test]
fn without_its_replica_set_the_good_revision_comes_from_the_copy() {
    let bare = workload("v2", vec![revision("v2", 2, 3, 3)]);
    let mut kept = order();
    kept.to.snapshot = "copy".into();
    let asked = step(&kept, &Progress::default(), Some(&bare), None, at(1));
    assert_eq!((asked.act, asked.progress.number_at_request), (Act::Undo, Some(0)));
    // Accepted, and put back by somebody before it was noted: the set has a number now.
    let reverted = workload("v2", vec![revision("v1", 3, 0, 0), revision("v2", 4, 3, 3)]);
    let again = step(&kept, &asked.progress, Some(&reverted), None, at(9));
    assert_eq!((again.act, again.reason), (Act::Nothing, "Contended"));
}

#[test]
fn the_rollback_that_put_the_bad_revision_back_is_named() {
    let back = workload("v2", vec![revision("v1", 3, 0, 0), revision("v2", 4, 3, 3)]);
    let told = |rival: Option<&str>| {
        let order = Order { rival: rival.map(str::to_owned), ..order() };
        let step = step(&order, &undone(), Some(&back), None, at(100));
        assert_eq!((step.progress.phase, step.reason), (Some(Phase::Failed), "Contended"));
        step.message
    };
    assert!(told(Some("by-hand")).ends_with(" was put back by Rollback by-hand after the undo"));
    assert!(told(None).ends_with(" was put back by somebody after the undo"));
}

#[test]
fn an_order_that_cannot_work_when_it_is_approved_keeps_the_yes() {
    let yes = Order { needs_approval: true, approval: Some(Approval::Approved), ..order() };
    let mut next = step(&yes, &Progress::default(), Some(&complete_v2()), None, at(3));
    next.residue = Some("what Helm keeps".into());
    next.notices.push(Notice::new(Reason::RollbackStarted, "it begins"));
    let found = Readiness::refused(&reference("v1"), "quota");
    let ended = cannot_work(&yes, &Progress::default(), next, &found, at(3));
    assert_eq!((ended.progress.approved, ended.residue), (Some(at(3)), None));
    let told: Vec<Reason> = ended.notices.iter().map(|notice| notice.reason).collect();
    assert_eq!(told, [Reason::RollbackFailed]);
}

#[test]
fn what_is_replaced_while_a_person_is_asked_needs_no_answer() {
    let asking = Order { needs_approval: true, ..order() };
    let newer = workload("v3", vec![revision("v1", 1, 0, 0), revision("v3", 3, 3, 3)]);
    for approval in [None, Some(Approval::Rejected { by: None, reason: None })] {
        let asked = Order { approval: approval.clone(), ..asking.clone() };
        let next = step(&asked, &Progress::default(), Some(&newer), None, at(3));
        assert_eq!(next.progress.phase, Some(Phase::Superseded), "{approval:?}");
    }
}

#[test]
fn deadlines_are_over_when_they_have_passed() {
    let asking = Order { needs_approval: true, ..order() };
    let waiting = step(&asking, &Progress::default(), Some(&complete_v2()), None, at(3600));
    assert_eq!(waiting.progress.phase, Some(Phase::AwaitingApproval));
    let half = workload("v1", vec![revision("v1", 3, 3, 1), revision("v2", 2, 1, 1)]);
    assert_eq!(look(&undone(), &half, 602).progress.phase, Some(Phase::Running));
}

#[test]
fn why_the_undo_is_refused_is_shown_until_it_is_let_in() {
    let refused = undo_refused(look(&Progress::default(), &complete_v2(), 1), "quota");
    let told = "the API server refused the undo, which is tried again until the deadline: quota";
    assert_eq!((refused.act, refused.reason, refused.message.as_str()), (Act::Nothing, "UndoRefused", told));
    let again = look(&refused.progress, &complete_v2(), 9);
    assert_eq!((again.act, again.reason, again.message.as_str()), (Act::Undo, "UndoRefused", told));
}

#[test]
fn each_end_is_told_as_what_it_is() {
    for (phase, reason) in [
        (Phase::Succeeded, Reason::RollbackSucceeded),
        (Phase::Superseded, Reason::RollbackSuperseded),
        (Phase::Escalated, Reason::RollbackEscalated),
        (Phase::Rejected, Reason::RollbackRejected),
        (Phase::Failed, Reason::RollbackFailed),
    ] {
        assert_eq!(told_as(phase), reason);
        // In the API it is the word of its own event.
        assert_eq!(reason.as_str(), format!("Rollback{}", phase.as_str()));
    }
}
