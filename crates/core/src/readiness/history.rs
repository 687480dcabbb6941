//! Will the template of the known good revision still be there when it is needed?

use super::Readiness;
use crate::watch::RevisionRef;
use crate::workload::Workload;

/// Says so when nothing but an object that Kubernetes will delete holds the template: there is no copy of it (`why` there
/// is none), and the next release pushes it out of `revisionHistoryLimit`.
///
/// Kubernetes keeps so many revisions besides the live one, the newest first (`cleanupDeployment`; the controllers of
/// StatefulSets and DaemonSets do the same).
pub fn history_is_too_short(good: &RevisionRef, workload: &Workload, why: Option<&str>) -> Option<Readiness> {
    if !good.snapshot.is_empty() {
        return None;
    }
    let own = workload.revisions.iter().filter(|revision| revision.fingerprint == good.fingerprint);
    let own = own.map(|revision| revision.number).max()?;
    // All of these will be old ones, and newer than it, once there is a release more.
    let newer = workload.revisions.iter().filter(|other| other.number > own);
    let newer = if workload.live == good.fingerprint { 0 } else { i32::try_from(newer.count()).unwrap_or(i32::MAX) };
    let limit = workload.revision_history_limit;
    if limit > newer {
        return None;
    }
    let (object, copy) = (workload.kind.revisions(), why.map_or_else(String::new, |why| format!(" ({why})")));
    let message = format!(
        "the template of {} is in its {object} only, which Kubernetes deletes after the next release \
         (revisionHistoryLimit: {limit}), and no copy of it could be kept{copy}: raise revisionHistoryLimit to at least \
         {}, or let the operator create ControllerRevisions",
        good.name(),
        newer + 1
    );
    Some(Readiness::not("HistoryTooShort", message))
}
