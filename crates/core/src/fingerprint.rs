//! The identity of a pod template.
//!
//! A revision is what a template says, not the number that Kubernetes gives it: an undo renumbers. Keys that change
//! without a change of what runs (the ReplicaSet's hash label, `kubectl rollout restart`) are left out, so a restart is
//! the same revision. So is one whose ConfigMaps and Secrets are named by their copies ([`crate::configuration`]): it
//! says the same.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::configuration::{original, renamed};

/// Label that the Deployment controller adds to every ReplicaSet's template.
const HASH_LABEL: &str = "pod-template-hash";

/// Annotations that say when or by whom, not what.
const VOLATILE_ANNOTATIONS: [&str; 1] = ["kubectl.kubernetes.io/restartedAt"];

/// SHA-256 of the canonical template, first 20 hex digits.
///
/// 80 bits: two different templates of one Deployment never meet, and the text still fits names and columns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of a pod template as raw JSON (`spec.template`).
    pub fn of_template(template: &Value) -> Self {
        let mut canonical = String::new();
        let template = renamed(&without_volatile(template), |_, name| Some(original(name).to_owned()));
        write_canonical(&template, &mut canonical);
        let digest = Sha256::digest(canonical.as_bytes());
        Self(digest.iter().take(10).map(|byte| format!("{byte:02x}")).collect())
    }

    /// A fingerprint read back from status.
    pub fn recorded(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// All 20 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 8 characters, for people.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The template without the keys that the fingerprint leaves out; maps that become empty disappear.
pub fn without_volatile(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("creationTimestamp");
        drop_keys(metadata, "labels", &[HASH_LABEL]);
        drop_keys(metadata, "annotations", &VOLATILE_ANNOTATIONS);
    }
    template
}

/// A ReplicaSet's template as a Deployment would hold it: raw, minus the hash label and nothing else.
pub fn without_hash_label(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        drop_keys(metadata, "labels", &[HASH_LABEL]);
    }
    template
}

fn drop_keys(metadata: &mut serde_json::Map<String, Value>, map: &str, keys: &[&str]) {
    let Some(entries) = metadata.get_mut(map).and_then(Value::as_object_mut) else { return };
    let before = entries.len();
    entries.retain(|key, _| !keys.contains(&key.as_str()));
    if entries.is_empty() && before > 0 {
        metadata.remove(map);
    }
}

/// JSON with sorted keys, without nulls: `null` and absent mean the same to Kubernetes.
pub(crate) fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.iter().filter(|(_, value)| !value.is_null()).collect();
            keys.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (key, value) in keys {
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                write_canonical(value, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                write_canonical(item, out);
                out.push(',');
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn template() -> Value {
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}})
    }

    #[test]
    fn a_replica_sets_template_is_the_same_revision_as_its_deployments() {
        let mut of_set = template();
        of_set["metadata"]["labels"]["pod-template-hash"] = json!("7d9f");
        of_set["metadata"]["creationTimestamp"] = Value::Null;
        assert_eq!(Fingerprint::of_template(&of_set), Fingerprint::of_template(&template()));
        of_set["metadata"].as_object_mut().unwrap().remove("creationTimestamp");
        assert_eq!(without_hash_label(&of_set), template());
    }

    #[test]
    fn a_restart_is_the_same_revision() {
        let mut restarted = template();
        restarted["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"});
        assert_eq!(Fingerprint::of_template(&restarted), Fingerprint::of_template(&template()));
    }

    #[test]
    fn every_other_change_is_another_revision() {
        let mut changed = template();
        changed["spec"]["containers"][0]["image"] = json!("web:2");
        assert_ne!(Fingerprint::of_template(&changed), Fingerprint::of_template(&template()));
        let mut annotated = template();
        annotated["metadata"]["annotations"] = json!({"checksum/config": "1"});
        assert_ne!(Fingerprint::of_template(&annotated), Fingerprint::of_template(&template()));
    }

    #[test]
    fn the_order_of_keys_does_not_matter_but_the_order_of_lists_does() {
        let one: Value = serde_json::from_str(r#"{"spec":{"a":1,"b":[1,2]}}"#).unwrap();
        let two: Value = serde_json::from_str(r#"{"spec":{"b":[1,2],"a":1}}"#).unwrap();
        let three: Value = serde_json::from_str(r#"{"spec":{"b":[2,1],"a":1}}"#).unwrap();
        assert_eq!(Fingerprint::of_template(&one), Fingerprint::of_template(&two));
        assert_ne!(Fingerprint::of_template(&one), Fingerprint::of_template(&three));
    }

    #[test]
    fn nothing_but_the_hash_label_is_taken_from_the_template_that_is_put_back() {
        let bare = json!({"metadata": {"labels": {}, "annotations": {}}});
        assert_eq!(without_hash_label(&bare), bare, "an empty map was written by somebody");
    }

    #[test]
    fn people_are_told_the_first_eight_digits() {
        assert_eq!(Fingerprint::recorded("12345678901234567890").short(), "12345678");
        assert_eq!(Fingerprint::recorded("123").short(), "123");
    }
}
