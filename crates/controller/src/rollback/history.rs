//! Deleting records that nobody asks about any more.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::{DeleteParams, Preconditions};
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};
use snapback_api::v1alpha1::Rollback;
use snapback_core::history::{Record, surplus};
use snapback_core::ids::WorkloadUid;

use super::guard::phase;
use crate::context::Context;

/// Deletes what is too much of the target of a record that has ended, and says when that one itself is too old.
///
/// The records come from the cache: one that is late keeps a record for a while longer, and no more.
pub(super) async fn prune(ctx: &Context, ended: &Rollback) -> Action {
    let now = ctx.now();
    let namespace = ended.namespace().unwrap_or_default();
    let uid = target(ended);
    let records: Vec<(Record, Preconditions)> = ctx
        .records
        .state()
        .iter()
        .filter_map(|record| record.0.as_ref().ok())
        .filter(|record| target(record) == uid && has_ended(record) && !super::holds::outlasts(record))
        .map(noted)
        .collect();
    let known: Vec<Record> = records.iter().map(|(record, _)| record.clone()).collect();
    let rollbacks: Api<Rollback> = Api::namespaced(ctx.client.clone(), &namespace);
    for old in surplus(&known, &uid, &ctx.history, now) {
        let preconditions = records.iter().find(|(record, _)| record == old).map(|(_, read)| read.clone());
        let params = DeleteParams { preconditions, ..DeleteParams::default() };
        match crate::timed("an old record", rollbacks.delete(&old.name, &params)).await {
            Ok(_) => tracing::info!(namespace, name = old.name, "an old record was deleted"),
            Err(error) => {
                tracing::warn!(namespace, name = old.name, "an old record stays: {}", crate::error::report(&error));
            }
        }
    }
    let left = ctx.history.max_age - now.duration_since(end_of(ended));
    Action::requeue(Duration::try_from(left).unwrap_or_default() + Duration::from_mins(1))
}

/// What a record is about. One that found no workload is about the name that a person wrote.
fn target(record: &Rollback) -> WorkloadUid {
    let named = || format!("{}/{}", record.namespace().unwrap_or_default(), record.spec.target.name);
    WorkloadUid::new(record.ordered().map_or_else(named, |ordered| ordered.uid.to_owned()))
}

fn has_ended(record: &Rollback) -> bool {
    record.status.as_ref().and_then(|status| status.phase).is_some_and(|known| phase(known).is_terminal())
}

fn end_of(record: &Rollback) -> Timestamp {
    let ended = record.status.as_ref().and_then(|status| status.timeline.ended_at.as_ref());
    ended.map_or(record.decided_at().0, |ended| ended.0)
}

fn noted(record: &Rollback) -> (Record, Preconditions) {
    let uid = target(record);
    // What was released, approved or followed meanwhile is not the record that was read.
    let read = Preconditions { uid: record.uid(), resource_version: record.resource_version() };
    (Record { name: record.name_any(), uid, ended: end_of(record) }, read)
}
