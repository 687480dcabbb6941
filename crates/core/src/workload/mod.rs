//! What was observed of a target: the workload, its revisions (ReplicaSets of a Deployment, ControllerRevisions of a
//! StatefulSet or DaemonSet), its pods.
//!
//! Plain facts, gathered by live reads in the shell. Nothing here decides.

mod called;
mod container;
mod kind;
mod pod;
mod references;
mod rollout;
mod said;

pub use called::{LONGEST_NAME, REVISION, called};
pub use container::{Container, Ended};
pub use kind::{Kind, Replacing};
pub use pod::{ContainerLimits, Failure, PodFacts};
pub use references::{Reference, ReferenceKind, references};
pub use rollout::{Incomplete, rolled_out};
pub use said::{FROZEN, MIGRATION, MIGRATION_JOB, MODE, Migration, Said};

use jiff::Timestamp;

use crate::fingerprint::Fingerprint;
use crate::gitops::Delivery;
use crate::ids::{ReplicaSetUid, WorkloadUid};
use crate::jobs::is_name;
use crate::ownership::Owner;
use crate::rollback::RollingUpdate;

/// One look at a target.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// Its kind.
    pub kind: Kind,
    /// Its name; for people.
    pub name: String,
    /// Its UID.
    pub uid: WorkloadUid,
    /// When it was made.
    pub created: Timestamp,
    /// `metadata.generation`.
    pub generation: i64,
    /// `status.observedGeneration`; 0 before the controller's first look.
    pub observed_generation: i64,
    /// Fingerprint of the live `spec.template`.
    pub live: Fingerprint,
    /// Images of the live template, in container order.
    pub images: Vec<String>,
    /// What those who deploy it call the live template.
    pub called: Vec<String>,
    /// `spec.replicas` (1 when absent); of a DaemonSet `status.desiredNumberScheduled`.
    pub replicas: i32,
    /// `spec.paused`; only Deployments can be.
    pub paused: bool,
    /// Whether somebody else's manifest asks for the pause as well.
    pub pause_is_applied: bool,
    /// The revision whose rollout we froze, as [`FROZEN`] says.
    pub frozen: Option<Fingerprint>,
    /// `status.updatedReplicas`.
    pub updated: i32,
    /// `status.availableReplicas`.
    pub available: i32,
    /// `status.replicas`.
    pub total: i32,
    /// `spec.revisionHistoryLimit`: how many revisions Kubernetes keeps besides the live one.
    pub revision_history_limit: i32,
    /// When Kubernetes says that the rollout exceeded its progress deadline: the condition's last update.
    pub progress_deadline_exceeded: Option<Timestamp>,
    /// Its revisions that there is an object of.
    pub revisions: Vec<Revision>,
    /// Its pods.
    pub pods: Vec<PodFacts>,
    /// Who applied the live template, the main one first.
    pub owners: Vec<Owner>,
    /// The Helm release that it belongs to, if its annotations say so.
    pub helm_release: Option<HelmRelease>,
    /// Who delivers it, and what holds that.
    pub delivery: Delivery,
    /// A Deployment's rolling-update parameters; `None` with another strategy.
    pub rolling: Option<RollingUpdate>,
    /// How the pods of a StatefulSet or DaemonSet are replaced.
    pub replacing: Replacing,
    /// What its authors say by our annotations.
    pub said: Said,
}

/// How many revisions Kubernetes keeps where nobody says it.
pub const DEFAULT_HISTORY: i32 = 10;

/// A Helm release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelmRelease {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
}

impl HelmRelease {
    /// As annotations say. What cannot be a name is none: it would become a part of a command.
    pub fn read(name: &str, namespace: &str) -> Option<Self> {
        (is_name(name) && is_name(namespace)).then(|| Self { name: name.to_owned(), namespace: namespace.to_owned() })
    }
}

/// One revision that there is an object of: a ReplicaSet or a ControllerRevision. Of the latter, what it has is counted
/// from the pods.
#[derive(Debug, Clone, PartialEq)]
pub struct Revision {
    /// Fingerprint of its template.
    pub fingerprint: Fingerprint,
    /// The object's name; the pods' names start with that of a ReplicaSet.
    pub name: String,
    /// The object's UID.
    pub uid: ReplicaSetUid,
    /// Images, in container order.
    pub images: Vec<String>,
    /// What those who deploy it call it.
    pub called: Vec<String>,
    /// `deployment.kubernetes.io/revision`, or `.revision`; 0 when absent or unreadable. For people and for order, never
    /// an identity.
    pub number: i64,
    /// When it was made.
    pub created: Timestamp,
    /// `spec.replicas`; of a ControllerRevision all pods if it is the one to run, else none.
    pub desired: i32,
    /// `status.replicas`.
    pub replicas: i32,
    /// `status.availableReplicas`.
    pub available: i32,
    /// Whether its status speaks of its current spec; of a ControllerRevision, whether it is the one to run.
    pub observed: bool,
}

impl Workload {
    /// The ReplicaSet of the live template: the oldest, as the Deployment controller itself picks
    /// (`FindNewReplicaSet`).
    pub fn live_revision(&self) -> Option<&Revision> {
        self.revision(&self.live)
    }

    /// The ReplicaSet of a template.
    pub fn revision(&self, fingerprint: &Fingerprint) -> Option<&Revision> {
        self.revisions
            .iter()
            .filter(|revision| revision.fingerprint == *fingerprint)
            // A restart makes a second ReplicaSet with the same fingerprint: the one that runs is meant.
            .max_by_key(|revision| (revision.desired > 0, std::cmp::Reverse(revision.created)))
    }

    /// The pods that run a template.
    pub fn pods_of<'a>(&'a self, fingerprint: &'a Fingerprint) -> impl Iterator<Item = &'a PodFacts> {
        self.pods.iter().filter(move |pod| {
            self.revisions.iter().any(|revision| revision.uid == pod.owner && revision.fingerprint == *fingerprint)
        })
    }

    /// The pods that run any other template.
    pub fn pods_not_of<'a>(&'a self, fingerprint: &'a Fingerprint) -> impl Iterator<Item = &'a PodFacts> {
        self.pods.iter().filter(move |pod| {
            self.revisions.iter().any(|revision| revision.uid == pod.owner && revision.fingerprint != *fingerprint)
        })
    }
}
