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

/// The revision that was known good to a policy before, where that is still so: of the newest copy, unless something else was
/// released since that nobody undid, or it was undone itself. Whoever goes on without a policy leaves a copy that says nothing any
/// more.
///
/// A revision that is not live any more has to be there still: an old copy alone does not show that nothing came after it.
/// `undone` are the revisions that records of this workload undid.
pub fn former(copies: &[Kept], workload: &Workload, undone: &[Fingerprint]) -> Option<RevisionRef> {
    let copy = copies.iter().max_by_key(|copy| copy.made).filter(|copy| !undone.contains(&copy.fingerprint))?;
    let came_since = |revision: &&Revision| {
        revision.created > copy.made
            && revision.fingerprint != workload.live
            && revision.fingerprint != copy.fingerprint
            && !undone.contains(&revision.fingerprint)
    };
    if workload.revisions.iter().any(|revision| came_since(&revision)) {
        return None;
    }
    let revision = if copy.fingerprint == workload.live {
        RevisionRef::live(workload)
    } else {
        RevisionRef::in_workload(workload, &copy.fingerprint)?
    };
    Some(RevisionRef { snapshot: copy.name.clone(), ..revision })
}
