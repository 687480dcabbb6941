//! Acting on a decision: one `Rollback`, from its order to its end.
//!
//! ```text
//!  AwaitingApproval ──yes──▶ Running ── undo accepted, pods back ──▶ Verifying ── inside the limits ──▶ Succeeded
//!        │ no                   │ a newer template won                   │ still bad, or too slow
//!     Rejected              Superseded                               Escalated
//! ```
//!
//! [`step`] is re-entrant: the process may die between any two writes, and the next step finds out from the live
//! object whether the undo happened. The undo is requested once; that it was is committed before it is sent.

mod address;
mod choice;
mod jobs;
mod preflight;
mod probe;
mod step;
mod surge;
mod unwedge;
mod verify;

pub use address::no_address_of_a_pod;
pub use choice::{Choice, Refusal, Remembered, choose};
pub use jobs::{
    JobLooks, JobRun, MIGRATION_FAILED, PlannedJob, PlannedJobs, after_the_end, helm_record, job_created, job_refused,
    with_jobs,
};
pub use preflight::{cannot_work, is_to_be_looked_through};
pub use probe::{Answer, LONGEST_PATH, Probe, Reply, Scheme, asked, is_path, judge_answers};
pub use step::{
    Act, Step, WHO, handed_back, how_to_release, step, surge_restored, told_as, undo_accepted, undo_refused,
};
pub use surge::{RAISED, RollingUpdate, amount_from_text, amount_to_text};
pub use unwedge::{MOST_DELETED, Stuck};
pub use verify::{Limit, Verification, verify};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::configuration::Restoration;
use crate::fingerprint::Fingerprint;
use crate::gitops::Hold;
use crate::ids::WorkloadUid;
use crate::ownership::Owner;
use crate::policy::ConfigMode;
use crate::watch::RevisionRef;

/// The reason of a `Rollback` that ended because somebody put the bad revision back.
pub const CONTENDED: &str = "Contended";

/// Where a `Rollback` stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Waits for a person.
    AwaitingApproval,
    /// The undo is under way.
    Running,
    /// The good revision runs; does it cure the fault?
    Verifying,
    /// Cured.
    Succeeded,
    /// The undo could not be carried out.
    Failed,
    /// Somebody newer won.
    Superseded,
    /// Not cured, or not in time: a person is needed.
    Escalated,
    /// A person refused.
    Rejected,
}

impl Phase {
    /// Whether nothing follows.
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::AwaitingApproval | Self::Running | Self::Verifying)
    }

    /// The word shown in status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AwaitingApproval => "AwaitingApproval",
            Self::Running => "Running",
            Self::Verifying => "Verifying",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Superseded => "Superseded",
            Self::Escalated => "Escalated",
            Self::Rejected => "Rejected",
        }
    }
}

/// What is to be done; fixed when the `Rollback` was created.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// The workload.
    pub uid: WorkloadUid,
    /// The revision to leave.
    pub from: RevisionRef,
    /// The revision to go back to.
    pub to: RevisionRef,
    /// Whether a person must approve.
    pub needs_approval: bool,
    /// Why one must.
    pub ask: Option<String>,
    /// What is wrong, as the checks said it; `None` where a person ordered it.
    pub cause: Option<String>,
    /// How one names this record to kubectl: `-n shop rollback checkout-7f5aa-6870515aab`.
    pub handle: String,
    /// What the person said.
    pub approval: Option<Approval>,
    /// Why nobody asks any more: the policy that did was deleted.
    pub withdrawn: Option<String>,
    /// The record whose undo put the bad revision back, if one of ours did.
    pub rival: Option<String>,
    /// When it was decided.
    pub decided: Timestamp,
    /// Time after which an approval is no longer waited for.
    pub approval_timeout: Option<SignedDuration>,
    /// What becomes of the configuration.
    pub config: ConfigMode,
    /// Whether `maxSurge` may be raised for the undo.
    pub fast: bool,
    /// Time for the undo to be rolled out.
    pub deadline: SignedDuration,
    /// Time the checks must stay inside their limits.
    pub verify: SignedDuration,
    /// What the good revision's pods are asked meanwhile.
    pub probes: Vec<Probe>,
    /// The Jobs around the undo.
    pub jobs: PlannedJobs,
}

/// A person's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// Do it.
    Approved,
    /// Leave it.
    Rejected {
        /// Who said so.
        by: Option<String>,
        /// Why.
        reason: Option<String>,
    },
}

/// What has happened so far; persisted in the `Rollback`'s status.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Progress {
    /// Where it stands; `None` before the first step.
    pub phase: Option<Phase>,
    /// When a person approved.
    pub approved: Option<Timestamp>,
    /// The Job that takes the change of data back, before the undo.
    pub migration: Option<JobRun>,
    /// The Job that brings Helm's own record up to date, after it.
    pub helm: Option<JobRun>,
    /// What keeps a GitOps tool from bringing the bad revision back.
    pub hold: Option<Hold>,
    /// When the undo was about to be sent. Committed before it is.
    pub undo_requested: Option<Timestamp>,
    /// The good revision's number at that time: it rises when the undo is accepted, so a step after a crash
    /// can tell "not sent" from "sent, and put back by somebody".
    pub number_at_request: Option<i64>,
    /// The workload's generation at that time, or when the undo was last about to be sent again. An undo that was accepted
    /// and put back has raised it twice; the number may not have risen, when the workload's controller saw neither.
    pub generation_at_request: Option<i64>,
    /// Who owned the template's fields before the undo; noted with the request, for the hand-back.
    pub owners: Vec<Owner>,
    /// The original `maxSurge`, if it is raised for the undo; noted with the request.
    pub surge: Option<Value>,
    /// What becomes of the good revision's configuration; noted with the request.
    pub config: Option<Restoration>,
    /// When it was put back.
    pub surge_restored: Option<Timestamp>,
    /// When the fields were given back to them.
    pub handed_back: Option<Timestamp>,
    /// What the API server said when it last refused the undo.
    pub refused: Option<String>,
    /// When the API server had accepted the undo.
    pub undo_accepted: Option<Timestamp>,
    /// Stuck pods that were deleted after it; noted before they are.
    pub deleted: Vec<Stuck>,
    /// When the good revision was rolled out.
    pub rolled_out: Option<Timestamp>,
    /// Since when the checks are back inside their limits.
    pub recovered: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

/// What a policy's target needs to know of its `Rollback`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acting {
    /// Its phase.
    pub phase: Phase,
    /// Its message.
    pub message: String,
    /// The revision it leaves.
    pub bad: Fingerprint,
    /// Whether somebody put that back while it acted.
    pub contended: bool,
}
