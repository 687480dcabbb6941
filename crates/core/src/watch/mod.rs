//! Watching one target through its rollouts, and deciding.
//!
//! ```text
//!            new fingerprint            all new pods available         soak over, checks Passing
//!  Idle ─────────────────────▶ Progressing ────────────▶ Soaking ────────────────────────▶ Idle (known good := new)
//!    ▲                             │                         │   a newer template: superseded, Progressing again
//!    │                             └────────────┬────────────┘
//!    │                                          ▼ Breached
//!    │        nothing to go back to, external cause,          Automatic      Approve, or only Warnings
//!    │        Observe, irreversible change of data                │              │
//!    │              Held, perhaps frozen                     RollingBack   AwaitingApproval
//!    │                                                            │              │
//!    └──────────────── the Rollback succeeded ◀──────────── Verifying ◀──────────┘
//!                                                                 │ not cured
//!                                                             Escalated
//! ```
//!
//! [`observe`] folds a live look into the state: which rollout is this, is it complete? [`decide`] judges it. Both are
//! total, take `now`, and return data: the shell commits the state, carries out the one [`Order`] or [`FreezeAct`], and tells
//! the [`Notice`](crate::notice::Notice)s.

mod blocked;
mod decide;
mod former;
mod freeze;
mod observe;
mod progress;
mod quarantine;
mod soak;

pub use blocked::{blocked, permitted};
pub use decide::{Decision, Order, decide};
pub use former::{Kept, Undone, former};
pub use freeze::{FreezeAct, not_frozen};
pub use observe::{Arrival, observe};
pub use quarantine::release;
pub use soak::{Soaked, soaked};

use jiff::Timestamp;

use crate::configuration::Configured;
use crate::fingerprint::Fingerprint;
use crate::ids::{ReplicaSetUid, WorkloadUid};
use crate::workload::Workload;

/// What is remembered of a target between two looks; persisted in the policy's status.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The workload. Another UID is another target.
    pub uid: WorkloadUid,
    /// Where it stands.
    pub phase: Phase,
    /// Why it stands there.
    pub standing: Standing,
    /// The revision of the live template.
    pub current: RevisionRef,
    /// The revision to go back to: it passed its soak, or was adopted.
    pub known_good: Option<RevisionRef>,
    /// The rollout that is judged now.
    pub rollout: Option<Rollout>,
    /// The `Rollback` that acts now.
    pub rollback: Option<String>,
    /// Revisions that were rolled back and must not come back by themselves, newest last; at most
    /// [`MAX_QUARANTINED`].
    pub quarantined: Vec<Quarantined>,
}

/// How many quarantined revisions are remembered.
pub const MAX_QUARANTINED: usize = 16;

/// Where a target stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing is judged.
    Idle,
    /// A rollout is under way and watched.
    Progressing,
    /// The rollout is complete and its soak runs.
    Soaking,
    /// A `Rollback` waits for a person.
    AwaitingApproval,
    /// A `Rollback` acts.
    RollingBack,
    /// A `Rollback` checks that it cured the fault.
    Verifying,
    /// Something is wrong and nothing is done about it.
    Held,
    /// A rollback did not cure the fault.
    Escalated,
}

impl Phase {
    /// The word shown in status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "Idle",
            Self::Progressing => "Progressing",
            Self::Soaking => "Soaking",
            Self::AwaitingApproval => "AwaitingApproval",
            Self::RollingBack => "RollingBack",
            Self::Verifying => "Verifying",
            Self::Held => "Held",
            Self::Escalated => "Escalated",
        }
    }
}

/// Why a target stands where it does: one word and one sentence, without clocks and ages, so that it stays the same
/// while nothing changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// CamelCase.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl Standing {
    /// A standing.
    pub fn new(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), message: message.into() }
    }
}

/// A revision by everything that identifies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionRef {
    /// What its template says.
    pub fingerprint: Fingerprint,
    /// The name of its ReplicaSet or ControllerRevision; empty before there is one.
    pub replica_set: String,
    /// That object's UID; empty before there is one.
    pub replica_set_uid: ReplicaSetUid,
    /// Its images.
    pub images: Vec<String>,
    /// What those who deploy it call it.
    pub called: Vec<String>,
    /// Name of the object that keeps a copy of its template; empty if there is none.
    pub snapshot: String,
    /// The ConfigMaps and Secrets that it ran with; `None` while that is not known.
    pub config: Option<Vec<Configured>>,
}

impl RevisionRef {
    /// The live revision of a workload.
    pub fn live(workload: &Workload) -> Self {
        Self::in_workload(workload, &workload.live).unwrap_or_else(|| Self {
            fingerprint: workload.live.clone(),
            replica_set: String::new(),
            replica_set_uid: ReplicaSetUid::new(""),
            images: workload.images.clone(),
            called: workload.called.clone(),
            snapshot: String::new(),
            config: None,
        })
    }

    /// A revision that there is an object of.
    pub fn in_workload(workload: &Workload, fingerprint: &Fingerprint) -> Option<Self> {
        workload.revision(fingerprint).map(|revision| Self {
            fingerprint: revision.fingerprint.clone(),
            replica_set: revision.name.clone(),
            replica_set_uid: revision.uid.clone(),
            images: revision.images.clone(),
            called: revision.called.clone(),
            snapshot: String::new(),
            config: None,
        })
    }

    /// What people call it: its images, and what tells it from another revision with the same ones.
    pub fn name(&self) -> String {
        let hash = self.replica_set.rsplit('-').next().filter(|hash| !hash.is_empty());
        format!("{} ({})", self.images(), hash.unwrap_or_else(|| self.fingerprint.short()))
    }

    /// Its images, without registries and digests.
    pub fn images(&self) -> String {
        match self.images.as_slice() {
            [] => "<no image>".to_owned(),
            images => images.iter().map(|image| short_image(image)).collect::<Vec<_>>().join(", "),
        }
    }
}

/// An image without its registry and digest: `shop/checkout:v2`.
fn short_image(image: &str) -> &str {
    let without_digest = image.split_once('@').map_or(image, |(name, _)| name);
    match without_digest.split_once('/') {
        Some((host, rest)) if host.contains('.') || host.contains(':') || host == "localhost" => rest,
        _ => without_digest,
    }
}

/// A rollout that is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// When it was first seen. The windows of the checks start here.
    pub started: Timestamp,
    /// When all its pods were available. The soak's clock starts here.
    pub completed: Option<Timestamp>,
    /// The record of its undo, when a quarantined revision is back. Such a rollout is not judged: it is undone.
    pub returned: Option<String>,
    /// What became of it, if we froze it.
    pub freeze: Option<FreezeState>,
}

/// What became of a rollout that we froze.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FreezeState {
    /// It is frozen.
    Frozen,
    /// A person resumed it. It is not frozen again.
    Resumed,
}

/// A revision that was rolled back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// What its template says.
    pub fingerprint: Fingerprint,
    /// The record of its rollback.
    pub rollback: String,
    /// What those who deploy it call it.
    pub called: Vec<String>,
    /// When.
    pub at: Timestamp,
}
