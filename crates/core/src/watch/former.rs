//! What a policy that is gone had learned of a target: its known good revision, by the copy that it left.
//!
//! A policy's status goes with the policy; the copies of templates belong to the workload, and stay. So a policy that is
//! renamed, made anew or takes a target over from another one need not take a release that is still judged for a good one.

use jiff::Timestamp;

use super::RevisionRef;
use crate::fingerprint::Fingerprint;
use crate::workload::{Revision, Workload};

/// The copy of a known good revision's template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What the template says.
    pub fingerprint: Fingerprint,
    /// The name of the object.
    pub name: String,
    /// When it was made: no later than the revision was known good in a status.
    pub made: Timestamp,
}

/// An undo of a revision, as a record of this workload tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undone {
    /// The revision that was live before.
    pub fingerprint: Fingerprint,
    /// When the API server took the undo.
    pub at: Timestamp,
}

/// The revision that was known good to a policy before, where that is still so: of the newest copy, unless it was undone after that.
///
/// Of what is not live any more, the copy alone is not enough: it stays as long as its workload. Nothing else may have been live since. By
/// Kubernetes' numbers it is the last one before the live one then: one that comes back gets a new number, and so outranks what
/// was undone. That also holds for what people did without a policy.
///
/// Of what is live, nothing may have been released since that nobody undid: else it is another release of an old template.
pub fn former(copies: &[Kept], workload: &Workload, undone: &[Undone]) -> Option<RevisionRef> {
    let copy = copies.iter().max_by_key(|copy| copy.made)?;
    if undone.iter().any(|undo| undo.fingerprint == copy.fingerprint && undo.at >= copy.made) {
        return None;
    }
    let mut others = workload.revisions.iter().filter(|revision| revision.fingerprint != workload.live);
    let revision = if copy.fingerprint == workload.live {
        let was_undone = |revision: &Revision| undone.iter().any(|undo| undo.fingerprint == revision.fingerprint);
        let came_since = |revision: &Revision| revision.created > copy.made && !was_undone(revision);
        (!others.any(came_since)).then(|| RevisionRef::live(workload))?
    } else {
        let last = others.max_by_key(|revision| revision.number)?;
        (last.fingerprint == copy.fingerprint).then(|| RevisionRef::in_workload(workload, &last.fingerprint))??
    };
    Some(RevisionRef { snapshot: copy.name.clone(), ..revision })
}
