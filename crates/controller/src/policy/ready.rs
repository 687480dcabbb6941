//! Keeping copies of what the known good revision needs.

use snapback_core::policy::ConfigMode;
use snapback_core::watch::{RevisionRef, Target};

use super::judge::Look;
use crate::context::Context;
use crate::error::{Error, report};
use crate::workload::{Live, configuration, snapshot, template_of};

/// What could not be kept of the known good revision, and why.
#[derive(Default)]
pub(super) struct NotKept {
    /// The copy of its template.
    pub(super) copy: Option<String>,
    /// The copies of its ConfigMaps.
    pub(super) config: Option<String>,
}

/// Keeps what is still to be kept.
pub(super) async fn keep(look: &Look<'_>, state: &mut Target) -> NotKept {
    let (shared, namespace, name, live) = (look.shared, look.namespace(), look.name, look.live);
    let copy = keep_copy(shared, &namespace, name, live, state).await;
    let config = keep_config(shared, &namespace, name, live, look.guarded.policy.rollback.config, state).await;
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

/// Remembers what the known good revision is configured with, unless that is known. Gives why it failed, if it did. That
/// stops nothing: an undo then goes back with the configuration of the day.
async fn keep_config(
    shared: &Context,
    namespace: &str,
    name: &str,
    live: &Live,
    mode: ConfigMode,
    state: &mut Target,
) -> Option<String> {
    let good = state.known_good.as_mut().filter(|good| is_owed(good, mode))?;
    let template = template_of(live, &good.fingerprint)?;
    let client = &shared.client;
    let kept = async {
        if good.config.is_none() {
            good.config = Some(configuration::remember(client, namespace, &template).await?);
        }
        match good.config.as_mut().filter(|_| mode == ConfigMode::Restore) {
            Some(config) => configuration::keep(client, namespace, name, live, &template, config).await,
            None => Ok::<_, Error>(()),
        }
    };
    let why = report(&kept.await.err()?);
    tracing::warn!(namespace, name, "the configuration of the known good revision is not kept: {why}");
    Some(why)
}

/// Whether something is still to be remembered or kept.
pub(super) fn is_owed(good: &RevisionRef, mode: ConfigMode) -> bool {
    match mode {
        ConfigMode::Ignore => false,
        ConfigMode::Warn => good.config.is_none(),
        ConfigMode::Restore => good.config.as_ref().is_none_or(|config| config.iter().any(|one| one.copy.is_empty())),
    }
}
