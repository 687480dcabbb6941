//! The Jobs around an undo, as steps of a `Rollback`.
//!
//! ```text
//!  approved ──▶ Job that takes the data back ──succeeded──▶ undo ──▶ fields handed back ──▶ Helm's Job
//!                     │ failed, or too late                                       (never changes the phase)
//!                  Failed, nothing undone
//! ```
//!
//! That a Job is wanted is committed before it is created, and its name is derived from the record: after a crash, or
//! with two operators, there is one.

use jiff::{SignedDuration, Timestamp};

use super::step::{LOOK, end};
use super::{Act, Order, Phase, Progress, Step};
use crate::jobs::{JobLook, Purpose};
use crate::workload::Workload;

/// The reason of a `Rollback` that ended before its undo: the change of data could not be taken back.
pub const MIGRATION_FAILED: &str = "MigrationFailed";

/// The Jobs that a `Rollback` runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlannedJobs {
    /// Takes the change of data back, before the undo.
    pub migration: Option<PlannedJob>,
    /// Brings Helm's own record up to date, after it.
    pub helm: Option<PlannedJob>,
}

/// A Job that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedJob {
    /// The CronJob or Job that is its template.
    pub template: String,
    /// Its name.
    pub job: String,
    /// How one names it to kubectl: `-n shop job/checkout-7f5aa-6870515aab-0b9b44aa-migrate`.
    pub handle: String,
}

/// What became of a Job; persisted in the `Rollback`'s status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRun {
    /// Its name.
    pub job: String,
    /// When it was about to be created. Committed before it is.
    pub requested: Timestamp,
    /// When it was there.
    pub created: Option<Timestamp>,
    /// Why it is not there yet.
    pub refused: Option<String>,
    /// When it had ended.
    pub ended: Option<Timestamp>,
    /// Why it failed; `None` when it succeeded.
    pub failure: Option<String>,
}

/// How the Jobs that are under way fare.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobLooks {
    /// The one before the undo.
    pub migration: Option<JobLook>,
    /// The one after it.
    pub helm: Option<JobLook>,
}

impl JobRun {
    fn requested(planned: &PlannedJob, now: Timestamp) -> Self {
        let job = planned.job.clone();
        Self { job, requested: now, created: None, refused: None, ended: None, failure: None }
    }

    /// Whether its end is not known.
    pub fn is_open(&self) -> bool {
        self.ended.is_none()
    }

    /// Whether it did what it is for.
    pub fn has_succeeded(&self) -> bool {
        self.ended.is_some() && self.failure.is_none()
    }

    fn failed(mut self, why: &str, now: Timestamp) -> Self {
        (self.ended, self.failure) = (Some(now), Some(why.to_owned()));
        self
    }

    /// After a look at it.
    fn seen(mut self, look: Option<&JobLook>, deadline: SignedDuration, now: Timestamp) -> Self {
        if !self.is_open() {
            return self;
        }
        match look {
            // To run it a second time is not the same as to run it once.
            Some(JobLook::NotThere) if self.created.is_some() => {
                return self.failed("it was deleted before it ended", now);
            }
            Some(JobLook::Foreign) => return self.failed("somebody else's Job has its name", now),
            Some(JobLook::Failed(why)) => {
                self.created.get_or_insert(now);
                return self.failed(why, now);
            }
            Some(JobLook::Succeeded) => {
                self.created.get_or_insert(now);
                self.ended = Some(now);
                return self;
            }
            Some(JobLook::Running) => {
                self.created.get_or_insert(now);
                self.refused = None;
            }
            Some(JobLook::Unreadable(why)) => self.refused = Some(why.clone()),
            Some(JobLook::NotThere) | None => {}
        }
        if now.duration_since(self.requested) <= deadline {
            return self;
        }
        let why = match &self.refused {
            Some(why) => format!("it was not started before the deadline: {why}"),
            None => "it did not end before the deadline".to_owned(),
        };
        self.failed(&why, now)
    }
}

/// A step with the Jobs around it: one that would undo waits for the change of data to be taken back, and one after the
/// undo sees to Helm's record.
pub fn with_jobs(order: &Order, progress: &Progress, next: Step, looks: &JobLooks, now: Timestamp) -> Step {
    let next = before_undo(order, progress, next, looks.migration.as_ref(), now);
    after_undo(order, next, looks.helm.as_ref(), now)
}

fn before_undo(order: &Order, progress: &Progress, next: Step, look: Option<&JobLook>, now: Timestamp) -> Step {
    let Some(planned) = &order.jobs.migration else { return next };
    if next.act != Act::Undo {
        return and_the_data(next);
    }
    let run = progress.migration.clone().unwrap_or_else(|| JobRun::requested(planned, now));
    let run = run.seen(look, order.deadline, now);
    if run.has_succeeded() {
        return Step { progress: Progress { migration: Some(run), ..next.progress }, ..next };
    }
    // Nothing of the undo is noted before its turn has come.
    let mut waiting = Step {
        progress: Progress {
            phase: Some(Phase::Running),
            approved: next.progress.approved,
            migration: Some(run.clone()),
            ..progress.clone()
        },
        reason: "Migrating",
        act: Act::Nothing,
        notices: Vec::new(),
        residue: None,
        next_look: Some(LOOK),
        ..next
    };
    let (bad, job) = (order.from.name(), &run.job);
    if let Some(why) = &run.failure {
        let message = format!(
            "{bad} stays: Job {job}, which takes its change of data back, failed ({why}). Nothing was undone; see \
             kubectl logs {}",
            planned.handle
        );
        return end(waiting, Phase::Failed, MIGRATION_FAILED, message, now);
    }
    waiting.message = format!("before {bad} is undone, Job {job} takes its change of data back");
    if let Some(why) = &run.refused {
        waiting.message = format!("{}; it is not started yet: {why}", waiting.message);
    }
    if run.created.is_none() {
        waiting.act = Act::RunJob(Purpose::Migration);
    }
    waiting
}

/// Of an end without an undo, what became of the data belongs to the story.
fn and_the_data(mut next: Step) -> Step {
    let is_over = next.progress.phase.is_some_and(Phase::is_terminal);
    let Some(run) = next.progress.migration.as_ref().filter(|_| is_over && next.progress.undo_accepted.is_none())
    else {
        return next;
    };
    let data = if run.is_open() { "may still take" } else { "took" };
    let message = format!("{}; Job {} {data} the change of data back", next.message, run.job);
    for notice in &mut next.notices {
        if notice.message == next.message {
            notice.message.clone_from(&message);
        }
    }
    next.message = message;
    next
}

fn after_undo(order: &Order, mut next: Step, look: Option<&JobLook>, now: Timestamp) -> Step {
    let Some(planned) = &order.jobs.helm else { return next };
    // Where a newer template won, `helm rollback` would undo that.
    let is_good = !matches!(next.progress.phase, Some(Phase::Superseded | Phase::Failed));
    let run = match next.progress.helm.take() {
        Some(run) => run.seen(look, order.deadline, now),
        None if is_good
            && next.act == Act::Nothing
            && next.progress.handed_back.is_some()
            && next.residue.is_some() =>
        {
            JobRun::requested(planned, now)
        }
        None => return next,
    };
    if run.is_open() {
        if run.created.is_none() && is_good && next.act == Act::Nothing {
            next.act = Act::RunJob(Purpose::Helm);
        }
        next.next_look = Some(next.next_look.map_or(LOOK, |look| look.min(LOOK)));
    }
    next.progress.helm = Some(run);
    next
}

/// What became of Helm's Job after the record had ended, and whether it is to be created now: only while the good
/// revision is live, or `helm rollback` would undo a newer one.
pub fn after_the_end(
    order: &Order,
    run: JobRun,
    workload: Option<&Workload>,
    look: Option<&JobLook>,
    now: Timestamp,
) -> (JobRun, bool) {
    let run = run.seen(look, order.deadline, now);
    if !run.is_open() || run.created.is_some() {
        return (run, false);
    }
    let is_good = workload.is_some_and(|live| live.uid == order.uid && live.live == order.to.fingerprint);
    if is_good { (run, true) } else { (run.failed("another revision was applied before it was started", now), false) }
}

/// The state after a Job was created.
pub fn job_created(run: JobRun, now: Timestamp) -> JobRun {
    JobRun { created: Some(now), refused: None, ..run }
}

/// The state after a Job was not created, for a good reason: it is tried again until the deadline.
pub fn job_refused(run: JobRun, why: &str) -> JobRun {
    JobRun { refused: Some(why.to_owned()), ..run }
}

/// What is to be said of Helm's own record: whether residue is to be expected, one word, one sentence. `residue` is
/// what it would leave behind.
pub fn helm_record(residue: Option<&str>, run: Option<&JobRun>) -> Option<(bool, &'static str, String)> {
    let told = residue.unwrap_or("Helm's own record still holds the undone manifest");
    let Some(run) = run else { return residue.map(|told| (true, "HelmKeepsItsOwnRecord", told.to_owned())) };
    let job = &run.job;
    Some(match (&run.failure, &run.refused) {
        (None, _) if run.has_succeeded() => {
            (false, "ReleaseRolledBack", format!("Job {job} rolled Helm's own record back"))
        }
        (Some(why), _) => (true, "ReleaseRollbackFailed", format!("Job {job} failed ({why}). {told}")),
        (None, Some(why)) => {
            (true, "ReleaseRollingBack", format!("Job {job} is to do it, and is not started yet: {why}. {told}"))
        }
        (None, None) => (true, "ReleaseRollingBack", format!("Job {job} is doing it. {told}")),
    })
}
