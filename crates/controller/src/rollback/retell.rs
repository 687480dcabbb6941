//! The end of a record is told at least once: the process that ended it may have died before its Event.

use jiff::SignedDuration;
use kube::{Resource, ResourceExt};
use snapback_api::v1alpha1::Rollback;
use snapback_core::notice::Notice;
use snapback_core::rollback::told_as;

use super::{phase, read};
use crate::context::Context;

/// How long before our start an end may lie that we tell again: longer than another one takes to lead.
const RECENT: SignedDuration = SignedDuration::from_mins(2);

/// Tells the end of a record that ended just before we started. Whoever was told twice has lost nothing.
pub(super) async fn retell(ctx: &Context, rollback: &Rollback) {
    let Some(status) = &rollback.status else { return };
    let (Some(ended), Some(phase)) = (read(status.timeline.ended_at.as_ref()), status.phase.map(phase)) else { return };
    let is_recent = ended <= ctx.started && ctx.started.duration_since(ended) < RECENT;
    if !is_recent || !ctx.retold(&rollback.uid().unwrap_or_default()) {
        return;
    }
    let target = &rollback.spec.target;
    let uid = rollback.ordered().map(|ordered| ordered.uid.to_owned()).unwrap_or_default();
    let workload = crate::workload_reference(rollback.namespace(), target.kind.into(), &target.name, &uid);
    let notice = Notice::new(told_as(phase), status.message.clone());
    ctx.announcer.tell(&[notice], &[rollback.object_ref(&()), workload]).await;
}
