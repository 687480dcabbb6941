//! Names of ConfigMaps and Secrets in pod templates, and the names of their copies.

use serde_json::Value;

use super::{ConfigKind, Configured, hex};

/// What stands between the name of an object and the digits of its copy.
const INFIX: &str = "-snapback-";

/// Digits in the name of a copy.
const DIGITS: usize = 10;

/// Longest name of an object.
const LONGEST_NAME: usize = 253;

/// The name of the copy of a content that a workload's revision ran with: the same for everybody who keeps it. Each workload
/// has a copy of its own, so that it can be deleted with it.
///
/// `None` where it would be too long: of a shortened one nobody could tell what it is a copy of, and a template that names it
/// would be another revision.
pub fn copy_name(name: &str, workload_uid: &str, digest: &str) -> Option<String> {
    let digits = hex(&format!("{workload_uid}\n{digest}"), DIGITS / 2);
    Some(format!("{name}{INFIX}{digits}")).filter(|copy| copy.len() <= LONGEST_NAME)
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

/// The ConfigMaps and Secrets that a template names, as they are named in it, each once, sorted. Secrets for pulling images
/// are not among them: no container reads those.
pub fn named(template: &Value) -> Vec<(ConfigKind, String)> {
    let mut found: Vec<(ConfigKind, String)> = Vec::new();
    let mut template = template.clone();
    each_name(&mut template, &mut |kind, name| found.push((kind, name.clone())));
    found.sort();
    found.dedup();
    found
}

/// Those that a template names as their authors do, not by a copy: what is in them can change under its pods.
pub fn read_by_name<'a>(template: &Value, configured: &'a [Configured]) -> Vec<&'a Configured> {
    let named = named(template);
    let is_named = |one: &&Configured| named.iter().any(|(kind, name)| *kind == one.kind && *name == one.name);
    configured.iter().filter(is_named).collect()
}

/// A template in which ConfigMaps and Secrets have other names.
pub fn renamed(template: &Value, rename: impl Fn(ConfigKind, &str) -> Option<String>) -> Value {
    let mut template = template.clone();
    each_name(&mut template, &mut |kind, name| {
        if let Some(other) = rename(kind, name) {
            *name = other;
        }
    });
    template
}

/// Visits each place of a pod template that names a ConfigMap or a Secret whose content containers read.
fn each_name(template: &mut Value, visit: &mut dyn FnMut(ConfigKind, &mut String)) {
    use ConfigKind::{ConfigMap, Secret};
    let Some(spec) = template.get_mut("spec") else { return };
    for volume in items(spec, "volumes") {
        name_in(ConfigMap, volume.get_mut("configMap"), "name", visit);
        name_in(Secret, volume.get_mut("secret"), "secretName", visit);
        if let Some(projected) = volume.get_mut("projected") {
            for source in items(projected, "sources") {
                name_in(ConfigMap, source.get_mut("configMap"), "name", visit);
                name_in(Secret, source.get_mut("secret"), "name", visit);
            }
        }
    }
    for list in ["containers", "initContainers"] {
        for container in items(spec, list) {
            for source in items(container, "envFrom") {
                name_in(ConfigMap, source.get_mut("configMapRef"), "name", visit);
                name_in(Secret, source.get_mut("secretRef"), "name", visit);
            }
            for variable in items(container, "env") {
                let Some(from) = variable.get_mut("valueFrom") else { continue };
                name_in(ConfigMap, from.get_mut("configMapKeyRef"), "name", visit);
                name_in(Secret, from.get_mut("secretKeyRef"), "name", visit);
            }
        }
    }
}

fn items<'a>(of: &'a mut Value, list: &str) -> impl Iterator<Item = &'a mut Value> + use<'a> {
    of.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten()
}

fn name_in(kind: ConfigKind, source: Option<&mut Value>, key: &str, visit: &mut dyn FnMut(ConfigKind, &mut String)) {
    if let Some(Value::String(name)) = source.and_then(|source| source.get_mut(key)) {
        visit(kind, name);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fingerprint::Fingerprint;

    #[test]
    fn every_place_that_names_an_object_is_found_and_what_pulls_images_is_not() {
        let template = json!({"spec": {
            "imagePullSecrets": [{"name": "registry"}],
            "volumes": [
                {"name": "a", "configMap": {"name": "settings"}},
                {"name": "b", "projected": {"sources": [{"configMap": {"name": "flags"}}, {"secret": {"name": "keys"}}]}},
                {"name": "c", "secret": {"secretName": "certificate"}},
                {"name": "d", "csi": {"driver": "x", "nodePublishSecretRef": {"name": "driver"}}}
            ],
            "initContainers": [{"envFrom": [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "all"}}]}],
            "containers": [{"env": [
                {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "key", "key": "a"}}},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "key", "key": "a"}}},
                {"name": "C", "value": "plain"}
            ]}]
        }});
        let found: Vec<String> = named(&template).iter().map(|(kind, name)| format!("{kind:?}/{name}")).collect();
        let config_maps = ["ConfigMap/flags", "ConfigMap/key", "ConfigMap/settings"];
        let secrets = ["Secret/all", "Secret/certificate", "Secret/key", "Secret/keys"];
        assert_eq!(found, [&config_maps[..], &secrets[..]].concat());
        let other = renamed(&template, |kind, name| Some(format!("{kind:?}-{name}")));
        let found: Vec<String> = named(&other).into_iter().map(|(_, name)| name).collect();
        assert_eq!(
            found,
            [&config_maps[..], &secrets[..]].concat().iter().map(|one| one.replace('/', "-")).collect::<Vec<_>>()
        );
        assert_eq!(other["spec"]["imagePullSecrets"], template["spec"]["imagePullSecrets"]);
    }

    #[test]
    fn a_copy_knows_what_it_is_a_copy_of_and_its_name_fits() {
        let copy = copy_name("settings", "uid", "0123456789abcdef0123").unwrap();
        assert_eq!(original(&copy), "settings", "{copy}");
        for name in ["settings", "a-snapback-b", "a-snapback-012345678z", "-snapback-0123456789"] {
            assert_eq!(original(name), name);
        }
        assert_eq!(copy_name(&"x".repeat(233), "uid", "d").unwrap().len(), 253);
        assert_eq!(copy_name(&"x".repeat(234), "uid", "d"), None);
    }

    #[test]
    fn a_copy_is_of_one_content_and_one_workload() {
        let copy = copy_name("settings", "uid", "d");
        assert_eq!(copy, copy_name("settings", "uid", "d"));
        assert_ne!(copy, copy_name("settings", "uid", "e"));
        assert_ne!(copy, copy_name("settings", "other", "d"), "who is deleted first would take it from the other");
    }

    proptest::proptest! {
        #[test]
        fn whatever_has_a_copy_is_known_by_it(name in "[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", content in "[0-9a-f]{20}") {
            let template = json!({"spec": {"volumes": [{"name": "a", "configMap": {"name": name}}]}});
            if let Some(copy) = copy_name(&name, "uid", &content) {
                proptest::prop_assert!(crate::jobs::is_name(&copy), "{copy:?}");
                proptest::prop_assert_eq!(original(&copy), original(&name));
                let copied = renamed(&template, |_, _| Some(copy.clone()));
                proptest::prop_assert_eq!(Fingerprint::of_template(&copied), Fingerprint::of_template(&template));
            }
        }
    }
}
