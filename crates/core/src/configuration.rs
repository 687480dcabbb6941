//! The configuration that a revision ran with.
//!
//! A pod template names its ConfigMaps; what is in them is no part of it. An undo of the template alone runs the old code
//! with the new configuration. So the content is fingerprinted when a revision becomes known good, and a copy of it is
//! kept under a name that says what it holds (`checkout-config-snapback-0123456789`). To go back to that content the
//! template is made to name the copy: the ConfigMap itself, which other workloads may read and a GitOps tool may own, is
//! left alone.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::fingerprint::write_canonical;

/// What stands between the name of a ConfigMap and the digest of its copy.
const INFIX: &str = "-snapback-";

/// Digits of the digest in a name.
const DIGITS: usize = 10;

/// Longest name of an object.
const LONGEST_NAME: usize = 253;

/// Most ConfigMaps of a revision that are remembered.
pub const MOST_CONFIG_MAPS: usize = 16;

/// A ConfigMap that a revision ran with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configured {
    /// Its name, as the authors of the template know it.
    pub name: String,
    /// Digest of its content.
    pub digest: String,
    /// The name of the copy; empty if none was kept.
    pub copy: String,
}

/// SHA-256 of a ConfigMap's content, first 20 hex digits. Labels and annotations are no part of it.
pub fn digest(config_map: &Value) -> String {
    let mut canonical = String::new();
    for part in ["data", "binaryData"] {
        write_canonical(&config_map[part], &mut canonical);
        canonical.push('\n');
    }
    let digest = Sha256::digest(canonical.as_bytes());
    digest.iter().take(10).map(|byte| format!("{byte:02x}")).collect()
}

/// The name of the copy of a content: the same for everybody who keeps it.
pub fn copy_name(name: &str, digest: &str) -> String {
    let short: String = digest.chars().take(DIGITS).collect();
    let most = LONGEST_NAME - INFIX.len() - DIGITS;
    let name: String = name.chars().take(most).collect();
    format!("{}{INFIX}{short}", name.trim_end_matches(['-', '.']))
}

/// The name that the authors know, of a name in a template: that of a copy is the one it was copied from.
pub fn original(name: &str) -> &str {
    match name.rsplit_once(INFIX) {
        Some((original, digits))
            if digits.len() == DIGITS && digits.bytes().all(|one| one.is_ascii_hexdigit()) && !original.is_empty() =>
        {
            original
        }
        _ => name,
    }
}

/// The ConfigMaps that a template names, as they are named in it, each once.
pub fn config_maps(template: &Value) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut template = template.clone();
    each_name(&mut template, &mut |name| {
        if !found.iter().any(|known| known == name) {
            found.push(name.clone());
        }
    });
    found.sort();
    found
}

/// A template in which ConfigMaps have other names.
pub fn renamed(template: &Value, rename: impl Fn(&str) -> Option<String>) -> Value {
    let mut template = template.clone();
    each_name(&mut template, &mut |name| {
        if let Some(other) = rename(name) {
            *name = other;
        }
    });
    template
}

/// Visits each place of a pod template that names a ConfigMap.
fn each_name(template: &mut Value, visit: &mut dyn FnMut(&mut String)) {
    let Some(spec) = template.get_mut("spec") else { return };
    for volume in items(spec, "volumes") {
        name_in(volume.get_mut("configMap"), visit);
        if let Some(projected) = volume.get_mut("projected") {
            for source in items(projected, "sources") {
                name_in(source.get_mut("configMap"), visit);
            }
        }
    }
    for list in ["containers", "initContainers"] {
        for container in items(spec, list) {
            for source in items(container, "envFrom") {
                name_in(source.get_mut("configMapRef"), visit);
            }
            for variable in items(container, "env") {
                name_in(variable.get_mut("valueFrom").and_then(|from| from.get_mut("configMapKeyRef")), visit);
            }
        }
    }
}

fn items<'a>(of: &'a mut Value, list: &str) -> impl Iterator<Item = &'a mut Value> + use<'a> {
    of.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten()
}

fn name_in(source: Option<&mut Value>, visit: &mut dyn FnMut(&mut String)) {
    if let Some(Value::String(name)) = source.and_then(|source| source.get_mut("name")) {
        visit(name);
    }
}

/// What became of the configuration of the good revision when it was put back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restoration {
    /// ConfigMaps whose present content is another one, or that are gone, and whose copy is used instead.
    pub restored: Vec<String>,
    /// ConfigMaps whose present content is another one, and is used.
    pub drifted: Vec<String>,
}

impl Restoration {
    /// The end of a sentence about the revision; empty when its configuration has not changed.
    pub fn told(&self) -> String {
        let mut told = String::new();
        if !self.restored.is_empty() {
            told.push_str(&format!(", with what the ConfigMaps {} held then", self.restored.join(", ")));
        }
        if !self.drifted.is_empty() {
            told.push_str(&format!(", though the ConfigMaps {} have changed since", self.drifted.join(", ")));
        }
        told
    }
}

/// What is found now of a ConfigMap that a known good revision ran with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Digest of its present content; `None` if it is gone.
    pub now: Option<String>,
    /// Whether the copy is there.
    pub copy: bool,
}

/// The template that puts a revision back with its configuration, as far as that was kept.
///
/// `found` answers for the names in `configured`. What has not changed keeps its name, so that an undo of an unchanged
/// configuration puts back exactly what its author applied.
pub fn restore(
    template: &Value,
    configured: &[Configured],
    found: impl Fn(&str) -> Option<Found>,
) -> (Value, Restoration) {
    let mut restoration = Restoration::default();
    let mut copies: Vec<(&str, &str)> = Vec::new();
    for one in configured {
        let Some(found) = found(&one.name) else { continue };
        if found.now.as_deref() == Some(one.digest.as_str()) {
            copies.push((&one.name, &one.name));
        } else if found.copy {
            copies.push((&one.name, &one.copy));
            restoration.restored.push(one.name.clone());
        } else if found.now.is_some() {
            restoration.drifted.push(one.name.clone());
        }
    }
    let template = renamed(template, |name| {
        let known = copies.iter().find(|(known, _)| *known == original(name));
        known.map(|(_, copy)| (*copy).to_owned())
    });
    (template, restoration)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fingerprint::Fingerprint;

    fn template() -> Value {
        json!({"spec": {
            "volumes": [
                {"name": "a", "configMap": {"name": "settings"}},
                {"name": "b", "projected": {"sources": [{"configMap": {"name": "flags"}}]}}
            ],
            "initContainers": [{"envFrom": [{"configMapRef": {"name": "settings"}}]}],
            "containers": [{"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "key", "key": "a"}}}]}]
        }})
    }

    fn known(name: &str) -> Configured {
        Configured {
            name: name.into(),
            digest: "0123456789abcdef0123".into(),
            copy: copy_name(name, "0123456789abcdef0123"),
        }
    }

    #[test]
    fn every_place_that_names_a_config_map_is_found() {
        assert_eq!(config_maps(&template()), ["flags", "key", "settings"]);
    }

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
    fn a_copy_knows_what_it_is_a_copy_of_and_its_name_fits() {
        let copy = copy_name("settings", "0123456789abcdef0123");
        assert_eq!(copy, "settings-snapback-0123456789");
        assert_eq!(original(&copy), "settings");
        for name in ["settings", "a-snapback-b", "a-snapback-012345678z", "-snapback-0123456789"] {
            assert_eq!(original(name), name);
        }
        assert_eq!(copy_name(&"x".repeat(253), "0123456789abcdef0123").len(), 253);
    }

    #[test]
    fn a_template_that_names_copies_is_the_same_revision() {
        let (restored, _) = restore(&template(), &[known("settings")], |_| Some(Found { now: None, copy: true }));
        assert_ne!(restored, template());
        assert_eq!(Fingerprint::of_template(&restored), Fingerprint::of_template(&template()));
    }

    #[test]
    fn what_has_not_changed_keeps_its_name() {
        let found = |_: &str| Some(Found { now: Some("0123456789abcdef0123".into()), copy: true });
        assert_eq!(
            restore(&template(), &[known("settings"), known("flags")], found),
            (template(), Restoration::default())
        );
        // Also when an earlier undo had made it name the copy.
        let (copied, _) = restore(&template(), &[known("settings")], |_| Some(Found { now: None, copy: true }));
        assert_eq!(restore(&copied, &[known("settings")], found), (template(), Restoration::default()));
    }

    #[test]
    fn what_has_changed_comes_from_its_copy_or_is_told() {
        let found = |name: &str| match name {
            "settings" => Some(Found { now: Some("other".into()), copy: true }),
            "flags" => Some(Found { now: Some("other".into()), copy: false }),
            _ => None,
        };
        let (restored, told) = restore(&template(), &[known("settings"), known("flags"), known("key")], found);
        assert_eq!(config_maps(&restored), ["flags", "key", "settings-snapback-0123456789"]);
        assert_eq!(told, Restoration { restored: vec!["settings".into()], drifted: vec!["flags".into()] });
    }
}
