//! Is a rollout complete? By the facts of the ReplicaSets, or of the pods where there are none.
//!
//! The Deployment's conditions are stale after an undo: `NewReplicaSetAvailable` and `ProgressDeadlineExceeded` both
//! survive it with a current `observedGeneration` (`kubernetes-rollback`, "Rollback complete predicate").

use super::{Kind, PodFacts, Workload};
use crate::fingerprint::Fingerprint;

/// What a rollout still waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incomplete {
    /// The workload's controller has not seen the newest spec.
    NotObserved,
    /// The template has no ReplicaSet or ControllerRevision yet.
    NoRevision,
    /// A StatefulSet's partition lets no pod run it.
    Partitioned,
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
            Self::NotObserved => "waiting for the workload's controller".to_owned(),
            Self::NoRevision => "waiting for the revision's object".to_owned(),
            Self::Partitioned => "the partition of the StatefulSet lets no pod run it".to_owned(),
            Self::Unavailable { available, wanted } => format!("{available} of {wanted} pods available"),
            Self::OldPods { remaining } => format!("{remaining} pods of other revisions still run"),
        }
    }
}

/// Whether `fingerprint` is rolled out: its revision has all wanted pods available, and no other has any pod. Those that
/// a StatefulSet's partition spares may be of any revision.
pub fn rolled_out(workload: &Workload, fingerprint: &Fingerprint) -> Result<(), Incomplete> {
    if workload.observed_generation < workload.generation {
        return Err(Incomplete::NotObserved);
    }
    let revision = workload.revision(fingerprint).ok_or(Incomplete::NoRevision)?;
    if workload.kind != Kind::Deployment {
        return if revision.observed { by_pods(workload, fingerprint) } else { Err(Incomplete::NotObserved) };
    }
    let wanted = workload.replicas;
    let settled = revision.observed && revision.desired == wanted && revision.replicas == wanted;
    if !settled || revision.available < wanted {
        return Err(Incomplete::Unavailable { available: revision.available.min(wanted), wanted });
    }
    let remaining: i32 =
        workload.revisions.iter().filter(|other| other.uid != revision.uid).map(|other| other.replicas).sum();
    if remaining > 0 { Err(Incomplete::OldPods { remaining }) } else { Ok(()) }
}

/// A ControllerRevision has no status: the pods that carry its hash are counted. What `minReadySeconds` asks for is in
/// the workload's own count of available pods.
fn by_pods(workload: &Workload, fingerprint: &Fingerprint) -> Result<(), Incomplete> {
    let stays = |pod: &&PodFacts| !pod.leaving;
    let is_reached = |pod: &&PodFacts| stays(pod) && !workload.replacing.spares(pod);
    let count = |pods: usize| i32::try_from(pods).unwrap_or(i32::MAX);
    let wanted = (workload.replicas - workload.replacing.partition).max(0);
    if wanted == 0 && workload.pods_not_of(fingerprint).any(|pod| stays(&pod)) {
        return Err(Incomplete::Partitioned);
    }
    let available = workload.pods_of(fingerprint).filter(is_reached).filter(|pod| pod.ready).count();
    let available = count(available);
    if available < wanted {
        return Err(Incomplete::Unavailable { available, wanted });
    }
    if workload.available < workload.replicas {
        return Err(Incomplete::Unavailable { available: workload.available, wanted: workload.replicas });
    }
    let remaining = count(workload.pods_not_of(fingerprint).filter(is_reached).count());
    if remaining > 0 { Err(Incomplete::OldPods { remaining }) } else { Ok(()) }
}
