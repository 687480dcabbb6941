//! Copies that the known good revision does not need any more go, once it is written which one that is.
//!
//! Not before: a look that comes too late, and whose status is refused, has kept copies for a revision that nobody will know as
//! good. It must not have removed those of the one that still is.

use kube::Client;
use snapback_api::v1alpha1::{PhaseName, RevisionStatus, TargetStatus};

use crate::error::report;
use crate::status::revision_ref;
use crate::workload::{ConfigRules, Live, configuration, snapshot};

/// What is to be removed.
pub(super) struct Tidy {
    name: String,
    live: Box<Live>,
    rules: ConfigRules,
    good: RevisionStatus,
}

impl Tidy {
    /// Something, if other copies are needed than before; or perhaps, where a target has come to rest: a look whose status was
    /// refused may have kept some for a revision that never became known good.
    pub(super) fn due(
        known: Option<&TargetStatus>,
        next: Option<&TargetStatus>,
        live: Box<Live>,
        rules: ConfigRules,
    ) -> Option<Self> {
        let next = next?;
        let good = next.known_good.as_ref()?;
        let before = known.and_then(|known| known.known_good.as_ref());
        let is_same = before.is_some_and(|before| before.snapshot == good.snapshot && before.config == good.config);
        let rests = next.phase == PhaseName::Idle && known.is_none_or(|known| known.phase != PhaseName::Idle);
        (!is_same || rests).then(|| Self { name: next.name.clone(), live, rules, good: good.clone() })
    }

    /// Removes it. What is left over does no harm: the next time removes it.
    pub(super) async fn up(&self, client: &Client, namespace: &str) {
        let Self { name, live, rules, .. } = self;
        let good = revision_ref(&self.good);
        let uid = live.workload.uid.as_str();
        if !good.snapshot.is_empty()
            && let Err(error) = snapshot::forget(client, namespace, name, uid, &good.snapshot).await
        {
            tracing::debug!(namespace, name, "old copies of templates are left: {}", report(&error));
        }
        if let Some(config) = &good.config {
            configuration::forget(client, namespace, name, live, *rules, config).await;
        }
    }
}
