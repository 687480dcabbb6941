//! The configuration of the known good revision: kept at transitions, and looked at again when its target is at rest.

use snapback_core::configuration::Configured;
use snapback_core::notice::{Notice, Reason};
use snapback_core::policy::ConfigMode;
use snapback_core::readiness::Readiness;
use snapback_core::watch::{RevisionRef, Target};

use super::judge::Look;
use crate::error::report;
use crate::workload::configuration::{drifted, keep};
use crate::workload::{ConfigRules, template_of};

/// Remembers what the known good revision is configured with, and keeps copies, as far as that is not done. Gives what is to
/// be said if a rollback would not bring it back. That stops nothing: an undo then goes back with the configuration of the
/// day.
pub(super) async fn keep_config(look: &Look<'_>, state: &mut Target) -> Option<Readiness> {
    let (namespace, name, live, rules) = (look.namespace(), look.name, look.live, look.rules());
    let good = state.known_good.as_mut()?;
    let mut why = None;
    // While another revision is live, what is there now is that one's: nobody knows what the good one read.
    let is_known = good.config.is_some() || good.fingerprint == live.workload.live;
    if is_known
        && (is_owed(good, rules) || has_lost(good, rules))
        && let Some(template) = template_of(live, &good.fingerprint)
        && let Err(error) = keep(&look.shared.client, &namespace, name, live, &template, rules, &mut good.config).await
    {
        let told = report(&error);
        tracing::warn!(namespace, name, "the configuration of the known good revision is not kept: {told}");
        why = Some(told);
    }
    if rules.mode != ConfigMode::Restore {
        return None;
    }
    let config = good.config.iter().flatten();
    let lost: Vec<String> = config.filter(|one| one.lost && rules.covers(one.kind)).map(Configured::title).collect();
    (why.is_some() || !lost.is_empty()).then(|| Readiness::configuration_is_not_kept(good, why.as_deref(), &lost))
}

/// Whether something is still to be remembered or kept.
pub(super) fn is_owed(good: &RevisionRef, rules: ConfigRules) -> bool {
    match rules.mode {
        ConfigMode::Ignore => false,
        ConfigMode::Warn => good.config.is_none(),
        ConfigMode::Restore => good.config.as_ref().is_none_or(|config| config.iter().any(Configured::is_owed)),
    }
}

/// Whether something cannot be kept any more, unless its content comes back.
pub(super) fn has_lost(good: &RevisionRef, rules: ConfigRules) -> bool {
    rules.mode == ConfigMode::Restore && good.config.iter().flatten().any(|one| one.lost)
}

/// What the known good revision reads that changed while it runs, and what there is to tell. Looked at only when the target is
/// looked at anyway, and at rest: while another revision is live nobody reads it, and an undo looks for itself.
pub(super) async fn drift(look: &Look<'_>, state: &Target) -> (Vec<String>, Option<Notice>) {
    let (known, live, rules) = (look.known, look.live, look.rules());
    let good = state
        .known_good
        .as_ref()
        .filter(|good| state.rollout.is_none() && state.rollback.is_none() && good.fingerprint == live.workload.live);
    // What was remembered at this very look is what is there.
    let is_new = known.and_then(|known| known.known_good.as_ref()?.config.as_ref()).is_none();
    let (Some(good), false) = (good, is_new) else { return (Vec::new(), None) };
    let config = good.config.as_deref().unwrap_or_default();
    let drifted = drifted(&look.shared.client, &look.namespace(), live, config, rules).await;
    let told_before = known.map(|known| known.drifted.as_slice()).unwrap_or_default();
    let is_told = drifted.iter().all(|title| told_before.contains(title));
    let notice = (!is_told).then(|| {
        let message = format!("{} changed since {} became known good", drifted.join(", "), good.name());
        Notice::new(Reason::ConfigDrifted, format!("{message}, and its pods may read what is there now"))
    });
    (drifted, notice)
}
