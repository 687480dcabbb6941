//! Revisions.

use snapback_api::conditions::cut;
use snapback_api::v1alpha1::{ConfigKindName, ConfigStatus, RevisionStatus};
use snapback_core::configuration::{ConfigKind, Configured};
use snapback_core::fingerprint::Fingerprint;
use snapback_core::ids::ReplicaSetUid;
use snapback_core::watch::RevisionRef;

/// As stored.
pub(crate) fn revision_status(revision: &RevisionRef) -> RevisionStatus {
    RevisionStatus {
        fingerprint: revision.fingerprint.as_str().to_owned(),
        replica_set: revision.replica_set.clone(),
        replica_set_uid: revision.replica_set_uid.as_str().to_owned(),
        snapshot: revision.snapshot.clone(),
        config: revision.config.as_deref().map(|config| config.iter().map(config_status).collect()),
        images: revision.images.iter().map(|image| cut(image, 512)).collect(),
        called: revision.called.clone(),
    }
}

/// As read back.
pub(crate) fn revision_ref(status: &RevisionStatus) -> RevisionRef {
    RevisionRef {
        fingerprint: Fingerprint::recorded(status.fingerprint.clone()),
        replica_set: status.replica_set.clone(),
        replica_set_uid: ReplicaSetUid::new(status.replica_set_uid.clone()),
        images: status.images.clone(),
        called: status.called.clone(),
        snapshot: status.snapshot.clone(),
        config: status.config.as_deref().map(|config| config.iter().map(configured).collect()),
    }
}

fn config_status(one: &Configured) -> ConfigStatus {
    ConfigStatus {
        kind: (one.kind == ConfigKind::Secret).then_some(ConfigKindName::Secret),
        name: one.name.clone(),
        digest: one.digest.clone(),
        copy: one.copy.clone(),
        lost: one.lost.then_some(true),
    }
}

fn configured(status: &ConfigStatus) -> Configured {
    Configured {
        kind: match status.kind {
            Some(ConfigKindName::Secret) => ConfigKind::Secret,
            Some(ConfigKindName::ConfigMap) | None => ConfigKind::ConfigMap,
        },
        name: status.name.clone(),
        digest: status.digest.clone(),
        copy: status.copy.clone(),
        lost: status.lost == Some(true),
    }
}
