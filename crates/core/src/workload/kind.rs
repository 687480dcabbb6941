//! The kinds of workloads, and how those without ReplicaSets replace their pods.

use super::PodFacts;

/// A kind of workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// apps/v1 Deployment.
    Deployment,
    /// apps/v1 StatefulSet.
    StatefulSet,
    /// apps/v1 DaemonSet.
    DaemonSet,
}

impl Kind {
    /// Kubernetes' word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        }
    }

    /// The kind of the objects that keep its revisions.
    pub fn revisions(self) -> &'static str {
        match self {
            Self::Deployment => "ReplicaSet",
            Self::StatefulSet | Self::DaemonSet => "ControllerRevision",
        }
    }
}

/// How the pods of a StatefulSet or DaemonSet are replaced. The default is a Deployment's, which knows none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replacing {
    /// `OnDelete`: the controller replaces no pod by itself.
    pub on_delete: bool,
    /// `OrderedReady`: a StatefulSet waits for its first pod that is not ready, even if that is the one to replace.
    pub in_order: bool,
    /// A StatefulSet's first ordinal.
    pub first: i32,
    /// How many of its ordinals, from the first on, keep the revision that they have.
    pub partition: i32,
}

impl Replacing {
    /// Whether a rollout leaves this pod alone.
    pub fn spares(&self, pod: &PodFacts) -> bool {
        self.partition > 0 && pod.ordinal().is_some_and(|ordinal| ordinal < self.first.saturating_add(self.partition))
    }
}
