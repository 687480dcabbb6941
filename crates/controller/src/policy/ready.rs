//! Keeping copies of what the known good revision needs.

use snapback_core::readiness::Readiness;
use snapback_core::watch::Target;

use super::configuration::keep_config;
use super::judge::Look;
use crate::context::Context;
use crate::error::report;
use crate::workload::{Live, snapshot, template_of};

/// What could not be kept of the known good revision, and why.
#[derive(Default)]
pub(super) struct NotKept {
    /// The copy of its template.
    pub(super) copy: Option<String>,
    /// What is to be said of its configuration.
    pub(super) config: Option<Readiness>,
}

/// Keeps what is still to be kept.
pub(super) async fn keep(look: &Look<'_>, state: &mut Target) -> NotKept {
    let (shared, namespace, name, live) = (look.shared, look.namespace(), look.name, look.live);
    let copy = keep_copy(shared, &namespace, name, live, state).await;
    let config = keep_config(look, state).await;
    NotKept { copy, config }
}

/// Keeps a copy of the known good template, unless there is one. Gives why it failed, if it did. That stops nothing: while
/// the revision's own object is there, the copy is not needed.
async fn keep_copy(shared: &Context, namespace: &str, name: &str, live: &Live, state: &mut Target) -> Option<String> {
    let uid = state.uid.as_str().to_owned();
    let good = state.known_good.as_mut().filter(|good| good.snapshot.is_empty())?;
    let template = template_of(live, &good.fingerprint)?;
    match snapshot::keep(&shared.client, namespace, (live.workload.kind, name), &uid, &good.fingerprint, &template)
        .await
    {
        Ok(kept) => {
            good.snapshot = kept;
            None
        }
        Err(error) => {
            let why = report(&error);
            tracing::warn!(namespace, name, "no copy of the known good template could be kept: {why}");
            Some(why)
        }
    }
}
