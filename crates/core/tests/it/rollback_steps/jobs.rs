//! Jobs around the undo: data that is taken back first, and Helm's own record.

use super::*;
use crate::support::*;
use snapback_core::jobs::{JobLook, Purpose};
use snapback_core::notice::{Notice, Reason};
use snapback_core::rollback::{
    Act, Approval, JobLooks, JobRun, Order, Phase, PlannedJob, PlannedJobs, Progress, Step, Verification,
    after_the_end, handed_back, helm_record, job_created, job_refused, step, undo_accepted, with_jobs,
};
use snapback_core::workload::{HelmRelease, Workload};

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

#[test]
fn nothing_of_the_undo_is_told_while_the_data_is_taken_back() {
    let mut next = step(&with_both(), &Progress::default(), Some(&by_helm(complete_v2())), None, at(1));
    assert!(next.residue.is_some());
    next.notices.push(Notice::new(Reason::RollbackStarted, "it begins"));
    let waits = with_jobs(&with_both(), &Progress::default(), next, &JobLooks::default(), at(1));
    assert_eq!((waits.residue, waits.notices), (None, Vec::new()));
}

#[test]
fn the_data_is_spoken_of_only_at_an_end_without_an_undo() {
    let verifying = around(&given_back(), &by_helm(back()), None, 5).progress;
    assert!(verifying.migration.is_some());
    let ended = around(&Progress { recovered: Some(at(6)), ..verifying }, &by_helm(back()), None, 40);
    assert_eq!(ended.progress.phase, Some(Phase::Succeeded));
    assert!(!ended.message.contains("change of data"), "{}", ended.message);
    let asking = Order { needs_approval: true, ..with_both() };
    let asked = step(&asking, &migrating(), Some(&complete_v2()), None, at(9));
    let asked = with_jobs(&asking, &migrating(), asked, &JobLooks::default(), at(9));
    assert!(!asked.message.contains("change of data"), "{}", asked.message);
}

#[test]
fn helms_job_is_made_once() {
    let due = around(&given_back(), &by_helm(back()), None, 5).progress;
    let refused = job_refused(due.helm.clone().unwrap(), "quota");
    let created = job_created(refused, at(6));
    assert_eq!((created.created, created.refused.as_deref()), (Some(at(6)), None));
    let running = Progress { helm: Some(created.clone()), ..due };
    assert_eq!(around(&running, &by_helm(back()), Some(JobLook::Running), 7).act, Act::Nothing);
    let look = Some(&JobLook::Running);
    let (after, is_due) = after_the_end(&with_both(), created, Some(&by_helm(back())), look, at(8));
    assert!(after.is_open() && !is_due, "it runs");
    let (over, is_due) = after_the_end(&with_both(), after, Some(&by_helm(back())), Some(&JobLook::Succeeded), at(9));
    assert!(over.has_succeeded() && !is_due);
}
