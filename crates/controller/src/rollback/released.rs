//! A record that has ended, and that a person changed: the one thing that may be said is that its revision is released.

use kube::{Resource, ResourceExt};
use snapback_api::v1alpha1::Rollback;
use snapback_core::notice::{Notice, Reason};
use snapback_core::rollback::how_to_release;

use super::{beside, commit};
use crate::context::Context;
use crate::error::Error;

/// Notes that the newest spec was seen. A release that a newer record of the same revision makes void is told.
pub(super) async fn see(ctx: &Context, rollback: &Rollback) -> Result<Rollback, Error> {
    if commit::is_seen(rollback) {
        return Ok(rollback.clone());
    }
    let newer = rollback.spec.released.as_ref().and_then(|_| beside::undone_since(ctx, rollback));
    let Some(newer) = newer else { return commit::seen(ctx, rollback, None).await };
    let namespace = rollback.namespace().unwrap_or_default();
    let name = rollback.status.as_ref().map_or("the revision", |status| status.from.as_str());
    let message = format!(
        "{name} stays in quarantine: Rollback {newer} undid it again after this one. To let it run and be judged: {}",
        how_to_release(&namespace, &newer)
    );
    let reason = Reason::ReleaseWithoutEffect;
    let written = commit::seen(ctx, rollback, Some((reason.as_str(), &message))).await?;
    ctx.announcer.tell(&[Notice::new(reason, message)], &[written.object_ref(&())]).await;
    Ok(written)
}
