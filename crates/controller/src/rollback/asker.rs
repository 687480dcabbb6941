//! The policy that a record came from: what it wanted, nobody wants any more when it is deleted.

use kube::{Api, ResourceExt};
use snapback_api::v1alpha1::{Rollback, RollbackPolicy};
use snapback_core::jobs::is_name;
use snapback_core::rollback::{Order, Progress};

use crate::context::Context;
use crate::error::Error;

/// What became of the policy, if it is there no more.
pub(super) async fn gone(ctx: &Context, rollback: &Rollback) -> Result<Option<String>, Error> {
    let policy = rollback.spec.trigger.policy.as_deref().filter(|name| is_name(name));
    let Some(policy) = policy else { return Ok(None) };
    let policies: Api<RollbackPolicy> = Api::namespaced(ctx.client.clone(), &rollback.namespace().unwrap_or_default());
    let found = crate::timed("the policy", policies.get_metadata_opt(policy)).await?;
    Ok(found.is_none().then(|| format!("RollbackPolicy {policy} was deleted")))
}

/// Why an answer is not waited for any more. What a person ordered is that person's question.
pub(super) async fn withdrawn(
    ctx: &Context,
    rollback: &Rollback,
    order: &Order,
    progress: &Progress,
) -> Result<Option<String>, Error> {
    let is_open = order.needs_approval && progress.approved.is_none() && order.approval.is_none();
    if is_open && !rollback.is_by_hand() { gone(ctx, rollback).await } else { Ok(None) }
}
