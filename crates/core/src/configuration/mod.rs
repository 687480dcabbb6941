//! The configuration that a revision ran with.
//!
//! A pod template names its ConfigMaps and Secrets; what is in them is no part of it. An undo of the template alone runs the
//! old code with the new configuration. So what was in them is remembered when a revision becomes known good, and a copy of
//! each is kept under a name of its own (`checkout-config-snapback-0123456789`). To go back to that content the template is
//! made to name the copy: the object itself, which other workloads may read and a GitOps tool may own, is left alone.
//!
//! Of a ConfigMap a digest of its content is remembered. Of a Secret, whose digest would let who reads it try out what the
//! content may be, only which version of the object it was.

mod names;
mod restore;

pub use names::{copy_name, named, original, read_by_name, renamed};
pub use restore::{Found, Now, Restoration, restore};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::fingerprint::write_canonical;

/// Most objects of each kind that are remembered of a revision.
pub const MOST_OF_A_KIND: usize = 16;

/// The kind of an object that holds configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

impl ConfigKind {
    /// Kubernetes' word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
}

/// An object that a revision ran with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configured {
    /// Its kind.
    pub kind: ConfigKind,
    /// Its name, as the authors of the template know it.
    pub name: String,
    /// What tells its content from another one: [`digest`], or [`secret_version`].
    pub digest: String,
    /// The name of the copy; empty if none was kept.
    pub copy: String,
    /// Whether its content changed before a copy was made: then there is nothing left to copy.
    pub lost: bool,
}

impl Configured {
    /// What people call it: `ConfigMap settings`.
    pub fn title(&self) -> String {
        format!("{} {}", self.kind.as_str(), self.name)
    }

    /// Whether a copy of it is still to be made.
    pub fn is_owed(&self) -> bool {
        self.copy.is_empty() && !self.lost
    }
}

/// SHA-256 of a ConfigMap's content, first 20 hex digits. Labels and annotations are no part of it.
pub fn digest(config_map: &Value) -> String {
    let mut canonical = String::new();
    for part in ["data", "binaryData"] {
        write_canonical(&config_map[part], &mut canonical);
        canonical.push('\n');
    }
    hex(&canonical, 10)
}

/// Which version of a Secret this is: SHA-256 of its UID and resource version, first 20 hex digits. Nothing of it comes from
/// the content, so nothing about the content can be found out by it; the price is that a new label is another version too.
pub fn secret_version(uid: &str, resource_version: &str) -> String {
    hex(&format!("{uid}\n{resource_version}"), 10)
}

/// The first bytes of a SHA-256, as hex digits.
fn hex(text: &str, bytes: usize) -> String {
    Sha256::digest(text.as_bytes()).iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_digest_is_of_the_content_alone() {
        let one = json!({"metadata": {"name": "a"}, "data": {"b": "2", "a": "1"}});
        let same = json!({"metadata": {"name": "b", "labels": {"x": "y"}}, "data": {"a": "1", "b": "2"}});
        assert_eq!(digest(&one), digest(&same));
        assert_ne!(digest(&one), digest(&json!({"data": {"a": "1", "b": "3"}})));
        assert_ne!(digest(&json!({"data": {"a": "MQ=="}})), digest(&json!({"binaryData": {"a": "MQ=="}})));
        assert_eq!(digest(&json!({})), digest(&json!({"data": null})));
    }

    #[test]
    fn a_version_of_a_secret_is_the_object_and_its_resource_version() {
        assert_eq!(secret_version("a", "1"), secret_version("a", "1"));
        assert_ne!(secret_version("a", "1"), secret_version("a", "2"));
        assert_ne!(secret_version("a", "1"), secret_version("b", "1"));
        assert_ne!(secret_version("a", "11"), secret_version("a1", "1"));
        assert_eq!(secret_version("a", "1").len(), 20);
    }

    #[test]
    fn a_copy_is_owed_until_it_is_there_or_cannot_be_made_any_more() {
        let one = Configured {
            kind: ConfigKind::ConfigMap,
            name: "settings".into(),
            digest: "d".into(),
            copy: String::new(),
            lost: false,
        };
        assert!(one.is_owed());
        assert!(!Configured { copy: "c".into(), ..one.clone() }.is_owed());
        assert!(!Configured { lost: true, ..one }.is_owed());
    }
}
