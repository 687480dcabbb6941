//! What a `Rollback` orders: as its spec says, or as was found out where a person left it out.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::jobs::RollbackJobs;
use super::observed::RevisionStatus;
use super::rollback::{Rollback, RollbackVerify, TriggerType};

/// The deadline of an order without one.
const DEADLINE: &str = "10m";

/// What is put back where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ordered<'a> {
    /// UID of the workload.
    pub uid: &'a str,
    /// The revision to leave.
    pub from: &'a RevisionStatus,
    /// The revision to go back to.
    pub to: &'a RevisionStatus,
}

impl Rollback {
    /// What is put back where; `None` while that is not found out yet.
    pub fn ordered(&self) -> Option<Ordered<'_>> {
        let spec = &self.spec;
        let to = spec.to.as_ref().and_then(|to| to.known.as_ref());
        if let (Some(uid), Some(from), Some(to)) = (&spec.target.uid, &spec.from, to) {
            return Some(Ordered { uid, from, to });
        }
        let resolved = self.status.as_ref()?.resolved.as_ref()?;
        Some(Ordered { uid: &resolved.uid, from: &resolved.from, to: &resolved.to })
    }

    /// Whether a person ordered it.
    pub fn is_by_hand(&self) -> bool {
        self.spec.trigger.type_ == TriggerType::Manual
    }

    /// When it was decided: a person decides by creating it.
    pub fn decided_at(&self) -> Time {
        let decided = self.spec.decided_at.clone().or_else(|| self.metadata.creation_timestamp.clone());
        decided.unwrap_or(Time(Timestamp::UNIX_EPOCH))
    }

    /// Time for the good revision's pods to be back.
    pub fn deadline(&self) -> &str {
        self.spec.deadline.as_deref().unwrap_or(DEADLINE)
    }

    /// Jobs around the undo. A person who names some, or none, has decided that, too.
    pub fn jobs(&self) -> Option<&RollbackJobs> {
        let resolved = || self.status.as_ref()?.resolved.as_ref()?.jobs.as_ref();
        self.spec.jobs.as_ref().or_else(resolved)
    }

    /// How the cure is verified.
    pub fn verify(&self) -> Cow<'_, RollbackVerify> {
        self.spec.verify.as_ref().map_or_else(|| Cow::Owned(by_the_pods()), Cow::Borrowed)
    }
}

/// A person has no limits at hand: the pods say whether it is cured.
fn by_the_pods() -> RollbackVerify {
    RollbackVerify {
        duration: "2m".to_owned(),
        interval: "30s".to_owned(),
        minimum_requests: 50,
        metrics: None,
        limits: Vec::new(),
        http: Vec::new(),
    }
}
