//! Is a rollout complete? By the facts of the ReplicaSets.
//!
//! The Deployment's conditions are stale after an undo: `NewReplicaSetAvailable` and `ProgressDeadlineExceeded` both
//! survive it with a current `observedGeneration` (`kubernetes-rollback`, "Rollback complete predicate").

use super::Workload;
use crate::fingerprint::Fingerprint;

/// What a rollout still waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incomplete {
    /// The Deployment controller has not seen the newest spec.
    NotObserved,
    /// The template has no ReplicaSet yet.
    NoReplicaSet,
    /// Pods of the revision are missing or not available yet.
    Unavailable {
        /// Available pods of the revision.
        available: i32,
        /// Pods wanted.
        wanted: i32,
    },
    /// Pods of other revisions still run.
    OldPods {
        /// How many.
        remaining: i32,
    },
}

impl Incomplete {
    /// For messages: `2 of 3 pods available`.
    pub fn describe(&self) -> String {
        match self {
            Self::NotObserved => "waiting for the Deployment controller".to_owned(),
            Self::NoReplicaSet => "waiting for the ReplicaSet".to_owned(),
            Self::Unavailable { available, wanted } => format!("{available} of {wanted} pods available"),
            Self::OldPods { remaining } => format!("{remaining} pods of other revisions still run"),
        }
    }
}

/// Whether `fingerprint` is rolled out: its ReplicaSet has all wanted pods available, and no other has any pod.
pub fn rolled_out(workload: &Workload, fingerprint: &Fingerprint) -> Result<(), Incomplete> {
    if workload.observed_generation < workload.generation {
        return Err(Incomplete::NotObserved);
    }
    let revision = workload.revision(fingerprint).ok_or(Incomplete::NoReplicaSet)?;
    let wanted = workload.replicas;
    let settled = revision.observed && revision.desired == wanted && revision.replicas == wanted;
    if !settled || revision.available < wanted {
        return Err(Incomplete::Unavailable { available: revision.available.min(wanted), wanted });
    }
    let remaining: i32 =
        workload.revisions.iter().filter(|other| other.uid != revision.uid).map(|other| other.replicas).sum();
    if remaining > 0 { Err(Incomplete::OldPods { remaining }) } else { Ok(()) }
}
