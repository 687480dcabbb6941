//! The ConfigMaps and Secrets of the known good revision: remembering what was in them, keeping copies, and putting them
//! back.

mod keep;
mod objects;

pub use keep::{forget, keep};

use kube::Client;
use serde_json::Value;
use snapback_core::configuration::{ConfigKind, Configured, Found, Now, Restoration, read_by_name, restore};
use snapback_core::policy::ConfigMode;

use super::Live;
use crate::error::Error;
use objects::Objects;

/// What becomes of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigRules {
    /// What the policy wants.
    pub mode: ConfigMode,
    /// Whether the administrator allows it for Secrets. Otherwise they are neither read nor copied.
    pub secrets: bool,
}

impl ConfigRules {
    /// Whether objects of this kind are looked at.
    pub fn covers(self, kind: ConfigKind) -> bool {
        self.mode != ConfigMode::Ignore && (kind == ConfigKind::ConfigMap || self.secrets)
    }
}

/// What puts a revision back.
#[derive(Debug, Clone)]
pub struct PutBack {
    /// Its template, with its configuration.
    pub template: Value,
    /// What became of that.
    pub config: Restoration,
    /// Whether a part of it could not be read just now, and perhaps can be in a moment.
    pub unread: bool,
}

/// The template that puts a revision back with its configuration. What cannot be read keeps its name.
pub async fn restored(
    client: &Client,
    namespace: &str,
    live: &Live,
    template: &Value,
    configured: &[Configured],
    rules: ConfigRules,
) -> PutBack {
    let objects = Objects { client, namespace };
    let (mut all, mut unread, mut not_read) = (Vec::new(), false, Vec::new());
    for one in configured.iter().filter(|one| rules.covers(one.kind)) {
        let found = found(&objects, live.workload.uid.as_str(), one, rules).await;
        if let Err(error) = &found {
            unread |= error.is_transient();
            not_read.push(one.title());
        }
        all.push((one, found.ok()));
    }
    let known = |one: &Configured| all.iter().find(|(known, _)| *known == one).and_then(|(_, found)| *found);
    let (template, config) = restore(template, configured, known);
    PutBack { template, config: Restoration { unread: not_read, ..config }, unread }
}

/// What the live template reads that is not what the revision was known good with any more, or is gone. What cannot be read
/// is not counted.
pub async fn drifted(
    client: &Client,
    namespace: &str,
    live: &Live,
    configured: &[Configured],
    rules: ConfigRules,
) -> Vec<String> {
    let objects = Objects { client, namespace };
    let mut titles = Vec::new();
    for one in read_by_name(&live.template, configured).into_iter().filter(|one| rules.covers(one.kind)) {
        let found = found(&objects, live.workload.uid.as_str(), one, rules).await;
        if found.is_ok_and(|found| found.now != Now::Same) {
            titles.push(one.title());
        }
    }
    titles
}

/// How what a revision ran with compares to what is there.
///
/// # Errors
/// The API server's, if that cannot be read. A copy that cannot be read for good counts as none.
async fn found(
    objects: &Objects<'_>,
    workload_uid: &str,
    one: &Configured,
    rules: ConfigRules,
) -> Result<Found, Error> {
    let version = objects.version(one.kind, &one.name).await?;
    if version.as_deref() == Some(one.digest.as_str()) {
        return Ok(Found { now: Now::Same, copy: false });
    }
    let is_secret = one.kind == ConfigKind::Secret;
    let copy = if one.copy.is_empty() || !is_secret && rules.mode != ConfigMode::Restore {
        None
    } else {
        match objects.read(one.kind, &one.copy).await {
            Err(error) if error.is_transient() => return Err(error),
            read => read.ok().flatten(),
        }
    };
    // Not just any object: a record that a person writes may name one that only others may read.
    let copy =
        copy.filter(|copy| copy.is_copy_of(&one.name, workload_uid) && (is_secret || copy.version == one.digest));
    let now = match (&version, &copy) {
        (None, _) => Now::Gone,
        // Another version of a Secret may hold the same: a new label makes one.
        (Some(_), Some(copy)) if is_secret => match objects.read(one.kind, &one.name).await? {
            Some(live) if live.holds_the_same(copy) => Now::Same,
            Some(_) => Now::Other,
            None => Now::Gone,
        },
        (Some(_), _) => Now::Other,
    };
    Ok(Found { now, copy: copy.is_some() && rules.mode == ConfigMode::Restore })
}
