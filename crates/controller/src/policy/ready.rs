//! Keeping a copy of the known good template, and looking whether a rollback would work: at transitions, not at ticks.

use snapback_api::conditions::cut;
use snapback_api::v1alpha1::{ReadinessStatus, TargetStatus};
use snapback_core::policy::ConfigMode;
use snapback_core::readiness::Readiness;
use snapback_core::watch::{RevisionRef, Target};

use crate::context::Context;
use crate::error::{Error, report};
use crate::workload::{Live, configuration, preflight, snapshot, template_of};

/// Keeps a copy of the known good template, unless there is one. That it fails is told, and stops nothing: while the
/// revision's own object is there, the copy is not needed.
pub(super) async fn keep_copy(shared: &Context, namespace: &str, name: &str, live: &Live, state: &mut Target) {
    let uid = state.uid.as_str().to_owned();
    let Some(good) = state.known_good.as_mut().filter(|good| good.snapshot.is_empty()) else { return };
    let Some(template) = template_of(live, &good.fingerprint) else { return };
    match snapshot::keep(&shared.client, namespace, (live.workload.kind, name), &uid, &good.fingerprint, &template)
        .await
    {
        Ok(kept) => good.snapshot = kept,
        Err(error) => {
            tracing::warn!(namespace, name, "no copy of the known good template could be kept: {}", report(&error));
        }
    }
}

/// Remembers what the known good revision is configured with, unless that is known. Gives why it failed, if it did. That
/// stops nothing: an undo then goes back with the configuration of the day.
pub(super) async fn keep_config(
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

/// Whether a rollback would work now. Looked at anew when either revision changed, and at each look while it would not.
pub(super) async fn readiness(
    shared: &Context,
    namespace: &str,
    name: &str,
    live: &Live,
    known: Option<&TargetStatus>,
    config: ConfigMode,
    state: &Target,
) -> ReadinessStatus {
    let Some(good) = &state.known_good else { return stored(&Readiness::nothing()) };
    if let Some(known) = known
        && let (Some(before), Some(readiness)) = (&known.known_good, &known.readiness)
        && before.fingerprint == good.fingerprint.as_str()
        && known.current.fingerprint == state.current.fingerprint.as_str()
        && readiness.ready
    {
        return readiness.clone();
    }
    stored(&preflight(&shared.client, namespace, name, live, good, config).await)
}

/// As stored.
pub(super) fn stored(readiness: &Readiness) -> ReadinessStatus {
    ReadinessStatus { ready: readiness.ready, reason: readiness.reason.clone(), message: cut(&readiness.message, 1024) }
}
