//! Ending the holds of all records.

use std::time::Duration;

use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::Event;
use kube::{Api, Resource, ResourceExt};
use snapback_api::v1alpha1::{HOLD_FINALIZER, Rollback};
use tokio::time::{Instant, sleep};

use super::{guard, holds};
use crate::context::Context;
use crate::error::{Error, report};

/// Time between two looks at what is still held.
const AGAIN: Duration = Duration::from_secs(1);

/// A hold that could not be ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Its record: `shop/checkout-7f5aa-6870515aab`.
    pub record: String,
    /// Why it is still there.
    pub why: String,
    /// What a person can do.
    pub by_hand: String,
}

/// Ends every hold, and takes its finalizer off. Gives the records whose holds were ended, and what is left when the time is
/// over. `records` is the writer of the context's store.
///
/// # Errors
/// The records cannot be listed.
pub(crate) async fn end_all(
    ctx: &Context,
    rollbacks: &Api<DeserializeGuard<Rollback>>,
    records: &mut Writer<DeserializeGuard<Rollback>>,
    until: Instant,
) -> Result<(Vec<String>, Vec<Left>), Error> {
    let mut seen: Vec<String> = Vec::new();
    loop {
        let listed = crate::timed("the list of Rollbacks", rollbacks.list(&ListParams::default())).await;
        let all = match listed {
            Ok(list) => list.items,
            Err(error) if Instant::now() >= until => return Err(error),
            Err(error) => {
                tracing::warn!("the records could not be listed yet: {}", report(&error));
                sleep(AGAIN).await;
                continue;
            }
        };
        records.apply_watcher_event(&Event::Init);
        for one in &all {
            records.apply_watcher_event(&Event::InitApply(one.clone()));
        }
        records.apply_watcher_event(&Event::InitDone);
        let mut left = Vec::new();
        for record in &all {
            let still = match &record.0 {
                Ok(rollback) if holds::outlasts(rollback) => end(ctx, rollback).await,
                Err(invalid) if record.meta().finalizers.iter().flatten().any(|one| one == HOLD_FINALIZER) => {
                    Some(format!("the record cannot be read: {}", invalid.error))
                }
                _ => continue,
            };
            let name = format!("{}/{}", record.meta().namespace.as_deref().unwrap_or_default(), record.name_any());
            if !seen.contains(&name) {
                seen.push(name.clone());
            }
            if let Some(why) = still {
                left.push(Left { record: name, why, by_hand: by_hand(ctx, record) });
            }
        }
        if left.is_empty() || Instant::now() >= until {
            seen.retain(|name| !left.iter().any(|left| left.record == *name));
            return Ok((seen, left));
        }
        sleep(AGAIN).await;
    }
}

/// One look at one hold, and one step. Why it is not ended yet, if it is not.
async fn end(ctx: &Context, rollback: &Rollback) -> Option<String> {
    if let Err(problem) = guard::guard(rollback) {
        return Some(format!("the record cannot be read: {problem}"));
    }
    match Box::pin(holds::follow(ctx, rollback)).await {
        Ok((_, None)) => None,
        Ok((_, Some(_))) => Some("it has not ended in time; the log above may say why".to_owned()),
        Err(error) => Some(report(&error)),
    }
}

fn by_hand(ctx: &Context, record: &DeserializeGuard<Rollback>) -> String {
    let namespace = record.meta().namespace.clone().unwrap_or_default();
    let finalizer = format!(
        "kubectl -n {namespace} patch rollback {} --type=merge -p '{{\"metadata\":{{\"finalizers\":null}}}}'",
        record.name_any()
    );
    let known = record.0.as_ref().ok().and_then(|rollback| Some((rollback, guard::guard(rollback).ok()?.1.hold?)));
    let hold = known.filter(|(_, hold)| hold.is_open());
    let hold = hold.map(|(rollback, hold)| {
        let target = &rollback.spec.target;
        hold.ended_by_hand((target.kind.into(), &namespace, &target.name), &ctx.gitops.argocd.namespace)
    });
    hold.into_iter().chain([finalizer]).collect::<Vec<_>>().join("\n")
}
