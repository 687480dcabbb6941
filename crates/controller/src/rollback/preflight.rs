//! Looking a person's order through before it is begun.

use kube::ResourceExt;
use snapback_api::v1alpha1::Rollback;
use snapback_core::rollback::{Order, Progress, Step, cannot_work, is_to_be_looked_through};

use crate::context::Context;
use crate::workload::{Live, preflight};

/// The step, or the end of an order that cannot work. What a policy decided was looked through before.
pub(super) async fn look_through(
    ctx: &Context,
    rollback: &Rollback,
    order: &Order,
    progress: &Progress,
    live: Option<&Live>,
    next: Step,
) -> Step {
    let Some(live) = live.filter(|_| rollback.is_by_hand() && is_to_be_looked_through(progress, &next)) else {
        return next;
    };
    let (namespace, name) = (rollback.namespace().unwrap_or_default(), &rollback.spec.target.name);
    let job = order.jobs.migration.as_ref().map(|planned| planned.template.as_str());
    let found = preflight(&ctx.client, &namespace, name, live, &order.to, ctx.config_rules(order.config), job).await;
    match found.obstacle() {
        Some(found) => cannot_work(order, progress, next, &found, ctx.now()),
        None => next,
    }
}
