//! Every transition of a `Rollback`, and every point at which the process may die.

mod support;

use jiff::SignedDuration;
use snapback_core::ids::WorkloadUid;
use snapback_core::jobs::{JobLook, Purpose};
use snapback_core::notice::Reason;
use snapback_core::ownership::Owner;
use snapback_core::readiness::Readiness;
use snapback_core::rollback::{
    Act, Answer, Approval, JobLooks, JobRun, Order, Phase, PlannedJob, PlannedJobs, Probe, Progress, Reply,
    RollingUpdate, Scheme, Step, Verification, after_the_end, asked, cannot_work, handed_back, helm_record,
    is_to_be_looked_through, job_created, job_refused, judge_answers, step, surge_restored, undo_accepted, with_jobs,
};
use snapback_core::workload::{HelmRelease, Workload};
use support::*;

fn look(progress: &Progress, workload: &Workload, second: i64) -> Step {
    step(&order(), progress, Some(workload), None, at(second))
}

/// The undo was accepted at second 2.
fn undone() -> Progress {
    let asked = look(&Progress::default(), &complete_v2(), 1);
    undo_accepted(asked, &order(), at(2)).progress
}

/// `v1` runs again, as revision 3.
fn back() -> Workload {
    workload("v1", vec![revision("v1", 3, 3, 3), revision("v2", 2, 0, 0)])
}

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
    let no = Order { approval: Some(Approval::Rejected), ..asking.clone() };
    let rejected = step(&no, &waiting.progress, Some(&complete_v2()), None, at(3));
    assert_eq!((rejected.act, rejected.progress.phase), (Act::Nothing, Some(Phase::Rejected)));
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
fn it_succeeds_when_the_limits_are_kept_for_the_whole_time_and_escalates_when_they_are_not() {
    let verifying = look(&undone(), &back(), 100).progress;
    let say_on = |progress: &Progress, verification: Verification, second| {
        step(&order(), progress, Some(&back()), Some(&verification), at(second))
    };
    let say = |verification, second| say_on(&verifying, verification, second);
    let bad = || Verification::Outside("errors".into());
    let clean = say(Verification::Within, 105).progress;
    assert_eq!(say_on(&clean, Verification::Within, 134).progress.phase, Some(Phase::Verifying));
    let cured = say_on(&clean, Verification::Within, 135);
    assert_eq!((cured.progress.phase, cured.verified), (Some(Phase::Succeeded), Some(true)));
    assert_eq!(cured.progress.recovered, Some(at(105)));
    // A relapse starts the time anew.
    let relapsed = say_on(&clean, bad(), 120).progress;
    let clean_again = say_on(&relapsed, Verification::Within, 125).progress;
    assert_eq!(say_on(&clean_again, Verification::Within, 154).progress.phase, Some(Phase::Verifying));
    assert_eq!(say_on(&clean_again, Verification::Within, 155).progress.phase, Some(Phase::Succeeded));
    assert_eq!(
        say(bad(), 130).progress.phase,
        Some(Phase::Verifying),
        "the last bad requests take a while to leave the windows"
    );
    let not_cured = say(bad(), 160);
    assert_eq!((not_cured.progress.phase, not_cured.reason), (Some(Phase::Escalated), "NotCured"));
    let unknown = say(Verification::Unknown("no data".into()), 160);
    assert_eq!(
        (unknown.progress.phase, unknown.verified, unknown.reason),
        (Some(Phase::Succeeded), None, "NotMeasured")
    );
}

#[test]
fn a_good_revision_that_crashes_now_is_no_cure() {
    let verifying = look(&undone(), &back(), 100).progress;
    let mut sick = back();
    sick.pods = vec![crashing("v1", 0), crashing("v1", 1), crashing("v1", 2)];
    let next = step(&order(), &verifying, Some(&sick), Some(&Verification::Within), at(160));
    assert_eq!((next.progress.phase, next.act), (Some(Phase::Escalated), Act::Nothing), "and there is no second undo");
}

fn probe() -> Probe {
    Probe { scheme: Scheme::Http, port: 8080, path: "/healthz".into() }
}

fn says(pod: &str, code: u16) -> Vec<Answer> {
    vec![Answer { pod: pod.into(), probe: probe(), reply: Reply::Code(code) }]
}

#[test]
fn probes_confirm_a_cure_refute_it_or_leave_it_open() {
    let order = Order { probes: vec![probe()], ..order() };
    let verifying = look(&undone(), &back(), 100).progress;
    let say =
        |answers: &[Answer], second| step(&order, &verifying, Some(&back()), Some(&judge_answers(answers)), at(second));
    let good = judge_answers(&says("web-v1-a", 200));
    let clean = step(&order, &verifying, Some(&back()), Some(&good), at(100)).progress;
    let cured = step(&order, &clean, Some(&back()), Some(&good), at(130));
    assert_eq!((cured.progress.phase, cured.reason, cured.verified), (Some(Phase::Succeeded), "Verified", Some(true)));
    assert!(cured.message.ends_with("and its pods answer their probes"), "{}", cured.message);

    let bad = says("web-v1-a", 503);
    let waiting = say(&bad, 159);
    assert_eq!(waiting.progress.phase, Some(Phase::Verifying), "a service may need a while to warm up");
    assert!(waiting.message.ends_with("; GET :8080/healthz of pod web-v1-a answered 503"), "{}", waiting.message);
    let not_cured = say(&bad, 160);
    assert_eq!((not_cured.progress.phase, not_cured.reason), (Some(Phase::Escalated), "NotCured"));
    assert!(not_cured.message.contains("(GET :8080/healthz of pod web-v1-a answered 503)"), "{}", not_cured.message);

    let silence = Answer { reply: Reply::Silence("refused the connection".into()), ..bad[0].clone() };
    let open = say(&[silence], 160);
    assert_eq!((open.progress.phase, open.reason, open.verified), (Some(Phase::Succeeded), "NotMeasured", None));
    assert!(open.message.contains("a NetworkPolicy?"), "{}", open.message);
}

#[test]
fn limits_and_probes_both_have_to_confirm_and_one_is_enough_to_refute() {
    let outside = || Verification::Outside("bad".into());
    let unknown = || Verification::Unknown("no data".into());
    for (limits, probes, both) in [
        (Verification::Within, Verification::Within, Verification::Within),
        (Verification::Within, unknown(), unknown()),
        (unknown(), Verification::Within, unknown()),
        (unknown(), outside(), outside()),
        (outside(), unknown(), outside()),
        (Verification::Within, outside(), outside()),
    ] {
        assert_eq!(limits.clone().and(probes.clone()), both, "{limits:?} and {probes:?}");
    }
    let first = Verification::Outside("errors".into());
    assert_eq!(first.clone().and(outside()), first, "the sentence does not change with the second");
}

#[test]
fn ready_pods_of_the_good_revision_are_asked_the_same_ten_at_each_look() {
    let mut many = workload("v1", vec![revision("v1", 3, 14, 14), revision("v2", 2, 1, 1)]);
    many.pods[0].ready = false;
    many.pods[1].leaving = true;
    let names = |workload: &Workload| -> Vec<String> {
        asked(workload, &version("v1")).into_iter().map(|pod| pod.name.clone()).collect()
    };
    let first = names(&many);
    assert_eq!(first.len(), 10);
    assert!(first.iter().all(|name| name.starts_with("web-v1-")), "{first:?}");
    assert!(!first.contains(&many.pods[0].name) && !first.contains(&many.pods[1].name), "{first:?}");
    many.pods.reverse();
    assert_eq!(names(&many), first);
}

fn owned(workload: Workload) -> Workload {
    let owner = Owner {
        manager: "helm".into(),
        operation: "Apply".into(),
        api_version: "apps/v1".into(),
        fields: serde_json::json!({"f:spec": {"f:template": {}}}),
    };
    Workload { owners: vec![owner], ..workload }
}

#[test]
fn the_owners_are_noted_before_the_undo_takes_their_fields() {
    let asked = look(&Progress::default(), &owned(complete_v2()), 1);
    assert_eq!(asked.progress.owners, owned(complete_v2()).owners);
    // Later looks see an object in which they own less: what was noted stays.
    let again = look(&asked.progress, &complete_v2(), 9);
    assert_eq!(again.progress.owners, asked.progress.owners);
}

#[test]
fn the_fields_are_given_back_after_the_undo_and_once() {
    let asked = look(&Progress::default(), &owned(complete_v2()), 1);
    let accepted = undo_accepted(asked.clone(), &order(), at(2));
    assert_eq!(accepted.act, Act::HandBack);
    // Died before the note of the acceptance, or after it: it is still owed.
    assert_eq!(look(&asked.progress, &back(), 9).act, Act::HandBack);
    assert_eq!(look(&accepted.progress, &back(), 9).act, Act::HandBack);
    let done = handed_back(accepted, at(3));
    assert_eq!((done.act, done.progress.handed_back), (Act::Nothing, Some(at(3))));
    assert_eq!(look(&done.progress, &back(), 9).act, Act::Nothing);
}

#[test]
fn nothing_is_given_back_over_a_newer_template() {
    let accepted = undo_accepted(look(&Progress::default(), &owned(complete_v2()), 1), &order(), at(2));
    let newer = workload("v3", vec![revision("v1", 3, 0, 0), revision("v2", 2, 0, 0), revision("v3", 4, 3, 3)]);
    assert_eq!(look(&accepted.progress, &newer, 9).act, Act::Nothing);
}

#[test]
fn helms_own_record_is_told_of_while_only_it_can_be_wrong() {
    use snapback_core::ownership::residue;
    use snapback_core::workload::HelmRelease;
    let release = HelmRelease { name: "shop".into(), namespace: "prod".into() };
    let mut owners = owned(complete_v2()).owners;
    assert_eq!(residue(&owners, Some(&release)), None, "server-side apply knows what it owns");
    owners[0].operation = "Update".into();
    assert!(residue(&owners, Some(&release)).unwrap().contains("`helm rollback shop --namespace prod`"));
    assert_eq!(residue(&owners, None), None);
}

#[test]
fn an_approval_that_nobody_gives_expires() {
    let asking = Order { needs_approval: true, ask: Some("the policy's mode is Approve".into()), ..order() };
    let waiting = step(&asking, &Progress::default(), Some(&complete_v2()), None, at(10));
    assert!(waiting.message.contains("the policy's mode is Approve"), "{}", waiting.message);
    assert_eq!(waiting.next_look, Some(SignedDuration::from_secs(3591)), "it looks again when the time is over");
    let late = step(&asking, &waiting.progress, Some(&complete_v2()), None, at(3601));
    assert_eq!((late.progress.phase, late.reason, late.act), (Some(Phase::Rejected), "ApprovalExpired", Act::Nothing));
    let patient = Order { approval_timeout: None, ..asking };
    let waiting = step(&patient, &Progress::default(), Some(&complete_v2()), None, at(36000));
    assert_eq!((waiting.progress.phase, waiting.next_look), (Some(Phase::AwaitingApproval), None));
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

fn fast() -> Order {
    Order { fast: true, ..order() }
}

fn one_by_one(workload: Workload) -> Workload {
    let rolling = RollingUpdate { max_surge: 1.into(), max_unavailable: 0.into() };
    Workload { rolling: Some(rolling), ..workload }
}

fn look_fast(progress: &Progress, workload: &Workload, second: i64) -> Step {
    step(&fast(), progress, Some(workload), None, at(second))
}

#[test]
fn a_fast_undo_notes_the_original_surge_with_the_request_where_it_saves_rounds() {
    let asked = look_fast(&Progress::default(), &one_by_one(complete_v2()), 1);
    assert_eq!((asked.act, asked.progress.surge), (Act::Undo, Some(1.into())));
    let normal = look(&Progress::default(), &one_by_one(complete_v2()), 1);
    assert_eq!(normal.progress.surge, None);
    let rolling = RollingUpdate { max_surge: "100%".into(), max_unavailable: 0.into() };
    let quick = Workload { rolling: Some(rolling), ..complete_v2() };
    assert_eq!(look_fast(&Progress::default(), &quick, 1).progress.surge, None, "there is nothing to save");
}

#[test]
fn the_surge_is_lowered_when_the_pods_are_back_and_before_anything_else_goes_on() {
    let asked = look_fast(&Progress::default(), &one_by_one(complete_v2()), 1);
    let accepted = undo_accepted(asked, &fast(), at(2)).progress;
    let back = one_by_one(back());
    let lower = look_fast(&accepted, &back, 5);
    assert_eq!((lower.act, lower.progress.rolled_out), (Act::RestoreSurge, Some(at(5))));
    // Died before it was done: it is done by the next look. Done: it goes on.
    assert_eq!(look_fast(&lower.progress, &back, 9).act, Act::RestoreSurge);
    let done = surge_restored(lower, at(6));
    assert_eq!(done.progress.surge_restored, Some(at(6)));
    let on = look_fast(&done.progress, &back, 9);
    assert_eq!((on.act, on.progress.phase), (Act::Nothing, Some(Phase::Verifying)));
}

#[test]
fn the_surge_is_lowered_however_it_ends_but_not_tried_for_ever() {
    let asked = look_fast(&Progress::default(), &one_by_one(complete_v2()), 1);
    let accepted = undo_accepted(asked, &fast(), at(2)).progress;
    let newer = one_by_one(workload("v3", vec![revision("v2", 2, 0, 0), revision("v3", 4, 3, 3)]));
    let lower = look_fast(&accepted, &newer, 9);
    assert_eq!((lower.act, lower.progress.phase), (Act::RestoreSurge, Some(Phase::Running)));
    let ended = look_fast(&surge_restored(lower, at(10)).progress, &newer, 11);
    assert_eq!(ended.progress.phase, Some(Phase::Superseded));
    let late = look_fast(&accepted, &newer, 2 + 1200);
    assert_eq!(late.progress.phase, Some(Phase::Superseded));
}

fn planned(job: &str) -> PlannedJob {
    PlannedJob { template: "template".into(), job: job.into(), handle: format!("-n shop job/{job}") }
}

/// The data is to be taken back before, and Helm's record after.
fn with_both() -> Order {
    Order { jobs: PlannedJobs { migration: Some(planned("down")), helm: Some(planned("helm")) }, ..order() }
}

fn around(progress: &Progress, workload: &Workload, look: Option<JobLook>, second: i64) -> Step {
    let order = with_both();
    let verification = Some(Verification::Within);
    let next = step(&order, progress, Some(workload), verification.as_ref(), at(second));
    let looks = JobLooks { migration: look.clone(), helm: look };
    with_jobs(&order, progress, next, &looks, at(second))
}

fn migrating() -> Progress {
    around(&Progress::default(), &complete_v2(), None, 1).progress
}

#[test]
fn the_data_is_taken_back_before_anything_of_the_undo_is_noted() {
    let asked = around(&Progress::default(), &owned(complete_v2()), None, 1);
    assert_eq!(asked.act, Act::RunJob(Purpose::Migration));
    assert_eq!((asked.progress.undo_requested, asked.progress.owners.len()), (None, 0));
    assert_eq!(asked.progress.migration.as_ref().map(|run| run.requested), Some(at(1)));
    // Died before the Job was created, and after it.
    assert_eq!(around(&asked.progress, &complete_v2(), Some(JobLook::NotThere), 9).act, asked.act);
    let running = around(&asked.progress, &complete_v2(), Some(JobLook::Running), 9);
    assert_eq!((running.act, running.reason), (Act::Nothing, "Migrating"));
    assert_eq!(running.progress.migration.as_ref().and_then(|run| run.created), Some(at(9)));
    let done = around(&running.progress, &complete_v2(), Some(JobLook::Succeeded), 20);
    assert_eq!((done.act, done.progress.undo_requested), (Act::Undo, Some(at(20))));
    assert!(done.progress.migration.as_ref().is_some_and(JobRun::has_succeeded));
    // It is not asked for again.
    assert_eq!(around(&done.progress, &complete_v2(), None, 30).act, Act::Undo);
}

#[test]
fn data_that_is_not_taken_back_ends_it_with_nothing_undone() {
    let created = job_created(migrating().migration.unwrap(), at(2));
    let running = Progress { migration: Some(created), ..migrating() };
    for (progress, look, second, why) in [
        (&migrating(), JobLook::Failed("BackoffLimitExceeded".into()), 9, "BackoffLimitExceeded"),
        (&migrating(), JobLook::Foreign, 9, "somebody else's"),
        (&running, JobLook::NotThere, 9, "deleted before it ended"),
        (&running, JobLook::Running, 602, "did not end before the deadline"),
    ] {
        let next = around(progress, &complete_v2(), Some(look), second);
        assert_eq!(
            (next.act, next.progress.phase, next.reason),
            (Act::Nothing, Some(Phase::Failed), "MigrationFailed")
        );
        assert!(
            next.message.contains(why) && next.message.contains("kubectl logs -n shop job/down"),
            "{}",
            next.message
        );
        assert_eq!(next.notices.iter().map(|notice| notice.reason).collect::<Vec<_>>(), [Reason::RollbackFailed]);
        assert_eq!(next.progress.undo_requested, None);
    }
    assert_eq!(around(&running, &complete_v2(), Some(JobLook::Running), 601).progress.phase, Some(Phase::Running));
}

#[test]
fn a_job_that_may_not_be_made_is_tried_until_the_deadline_and_then_told() {
    let refused = job_refused(migrating().migration.unwrap(), "quota");
    let progress = Progress { migration: Some(refused), ..migrating() };
    let again = around(&progress, &complete_v2(), Some(JobLook::NotThere), 300);
    assert_eq!(again.act, Act::RunJob(Purpose::Migration));
    assert!(again.message.ends_with("not started yet: quota"), "{}", again.message);
    let unreadable = around(&migrating(), &complete_v2(), Some(JobLook::Unreadable("no right".into())), 300);
    assert!(unreadable.message.ends_with("not started yet: no right"), "{}", unreadable.message);
    let late = around(&progress, &complete_v2(), Some(JobLook::NotThere), 602);
    assert!(late.message.contains("not started before the deadline: quota"), "{}", late.message);
    assert_eq!(late.reason, "MigrationFailed");
}

#[test]
fn no_data_is_touched_before_a_yes_nor_where_there_is_nothing_to_go_back_to() {
    let asking = Order { needs_approval: true, ..with_both() };
    let waiting = step(&asking, &Progress::default(), Some(&complete_v2()), None, at(1));
    let waiting = with_jobs(&asking, &Progress::default(), waiting, &JobLooks::default(), at(1));
    assert_eq!((waiting.act, waiting.progress.migration), (Act::Nothing, None));
    let yes = Order { approval: Some(Approval::Approved), ..asking };
    let next = step(&yes, &Progress::default(), Some(&complete_v2()), None, at(2));
    let next = with_jobs(&yes, &Progress::default(), next, &JobLooks::default(), at(2));
    assert_eq!((next.act, next.progress.approved), (Act::RunJob(Purpose::Migration), Some(at(2))));
    let gone = around(&Progress::default(), &workload("v2", vec![revision("v2", 2, 3, 3)]), None, 1);
    assert_eq!((gone.reason, gone.progress.migration), ("KnownGoodIsGone", None));
}

#[test]
fn an_end_without_an_undo_says_what_became_of_the_data() {
    let newer = workload("v3", vec![revision("v1", 1, 0, 0), revision("v3", 3, 3, 3)]);
    let running = around(&migrating(), &newer, Some(JobLook::Running), 9);
    assert_eq!(running.progress.phase, Some(Phase::Superseded));
    assert!(running.message.ends_with("Job down may still take the change of data back"), "{}", running.message);
    assert_eq!(running.notices[0].message, running.message);
    let taken = around(&migrating(), &complete_v2(), Some(JobLook::Succeeded), 9).progress;
    let refused = around(&taken, &complete_v2(), None, 700);
    assert_eq!(refused.reason, "UndoRefused");
    assert!(refused.message.ends_with("Job down took the change of data back"), "{}", refused.message);
}

/// Helm 3 applied it.
fn by_helm(workload: Workload) -> Workload {
    let mut workload = owned(workload);
    workload.owners[0].operation = "Update".into();
    Workload { helm_release: HelmRelease::read("shop", "prod"), ..workload }
}

/// Undone and handed back.
fn given_back() -> Progress {
    let asked = around(&migrating(), &by_helm(complete_v2()), Some(JobLook::Succeeded), 2);
    handed_back(undo_accepted(asked, &with_both(), at(3)), at(4)).progress
}

#[test]
fn helms_record_is_rolled_back_once_the_fields_were_handed_back() {
    let asked = around(&migrating(), &by_helm(complete_v2()), Some(JobLook::Succeeded), 2);
    let accepted = undo_accepted(asked, &with_both(), at(3)).progress;
    let half = workload("v1", vec![revision("v1", 3, 3, 1), revision("v2", 2, 1, 1)]);
    assert_eq!(around(&accepted, &by_helm(half.clone()), None, 4).act, Act::HandBack);
    let next = around(&given_back(), &by_helm(half), None, 5);
    assert_eq!((next.act, next.progress.phase), (Act::RunJob(Purpose::Helm), Some(Phase::Running)));
    assert_eq!(around(&given_back(), &owned(back()), None, 5).act, Act::Nothing, "another tool knows what it owns");
}

#[test]
fn a_record_ends_on_time_whatever_helms_job_does() {
    let verifying = around(&given_back(), &by_helm(back()), None, 5).progress;
    let verifying = Progress { recovered: Some(at(6)), ..verifying };
    for look in [JobLook::Running, JobLook::Failed("it is broken".into()), JobLook::NotThere] {
        let ended = around(&verifying, &by_helm(back()), Some(look.clone()), 40);
        assert_eq!(ended.progress.phase, Some(Phase::Succeeded), "{look:?}");
        let is_open = ended.progress.helm.as_ref().is_some_and(JobRun::is_open);
        assert_eq!((is_open, ended.next_look.is_some()), (!matches!(look, JobLook::Failed(_)), is_open), "{look:?}");
    }
}

#[test]
fn what_cannot_be_a_releases_name_becomes_no_part_of_a_command() {
    for (name, namespace) in [("shop; true", "prod"), ("--all", "prod"), ("shop", "$(id)")] {
        assert_eq!(HelmRelease::read(name, namespace), None);
    }
}

#[test]
fn helms_record_is_left_alone_where_a_newer_template_won() {
    let newer = by_helm(workload("v3", vec![revision("v1", 3, 0, 0), revision("v3", 4, 3, 3)]));
    let ended = around(&given_back(), &newer, None, 9);
    assert_eq!((ended.act, ended.progress.helm, ended.progress.phase), (Act::Nothing, None, Some(Phase::Superseded)));
    // Asked for, died before it was created, and meanwhile somebody was faster.
    let run = around(&given_back(), &by_helm(back()), None, 5).progress.helm.unwrap();
    let not_there = Some(&JobLook::NotThere);
    let (due, is_due) = after_the_end(&with_both(), run.clone(), Some(&by_helm(back())), not_there, at(9));
    assert!(due.is_open() && is_due);
    let (over, is_due) = after_the_end(&with_both(), run, Some(&newer), not_there, at(9));
    assert!(!over.is_open() && !is_due, "`helm rollback` would undo v3");
}

#[test]
fn what_is_said_of_helms_record_follows_its_job() {
    let said = |run: Option<&JobRun>| helm_record(Some("run `helm rollback`"), run).unwrap();
    let run = around(&given_back(), &by_helm(back()), None, 5).progress.helm.unwrap();
    let after = |look: JobLook| after_the_end(&with_both(), run.clone(), Some(&back()), Some(&look), at(9)).0;
    assert_eq!((said(None).0, said(None).1), (true, "HelmKeepsItsOwnRecord"));
    assert_eq!((said(Some(&run)).0, said(Some(&run)).1), (true, "ReleaseRollingBack"));
    let failed = said(Some(&after(JobLook::Failed("no image".into()))));
    assert_eq!((failed.0, failed.1), (true, "ReleaseRollbackFailed"));
    assert!(failed.2.contains("no image") && failed.2.contains("`helm rollback`"), "{}", failed.2);
    let done = said(Some(&after(JobLook::Succeeded)));
    assert_eq!((done.0, done.1), (false, "ReleaseRolledBack"));
    assert_eq!(helm_record(None, None), None);
}
