//! What a pod template needs to exist: without it the pods of a revision that ran yesterday do not start today.

use std::collections::BTreeSet;

use serde_json::Value;

/// The kind of a referenced object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReferenceKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
    /// A ServiceAccount.
    ServiceAccount,
    /// A PersistentVolumeClaim.
    PersistentVolumeClaim,
}

impl ReferenceKind {
    /// Kubernetes' word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::ServiceAccount => "ServiceAccount",
            Self::PersistentVolumeClaim => "PersistentVolumeClaim",
        }
    }
}

/// An object that a template's pods cannot start without.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Its kind.
    pub kind: ReferenceKind,
    /// Its name.
    pub name: String,
}

/// The objects that a raw pod template refers to, sorted; those marked `optional` are left out, and so are image pull
/// secrets (a pod starts without them if the image is there) and the ServiceAccount `default`.
pub fn references(template: &Value) -> BTreeSet<Reference> {
    let mut found = BTreeSet::new();
    let spec = &template["spec"];
    let mut add = |kind, source: &Value, key: &str| {
        if source["optional"] != true
            && let Some(name) = source[key].as_str().filter(|name| !name.is_empty())
        {
            found.insert(Reference { kind, name: name.to_owned() });
        }
    };
    for volume in items(&spec["volumes"]) {
        add(ReferenceKind::ConfigMap, &volume["configMap"], "name");
        add(ReferenceKind::Secret, &volume["secret"], "secretName");
        add(ReferenceKind::PersistentVolumeClaim, &volume["persistentVolumeClaim"], "claimName");
        for source in items(&volume["projected"]["sources"]) {
            add(ReferenceKind::ConfigMap, &source["configMap"], "name");
            add(ReferenceKind::Secret, &source["secret"], "name");
        }
    }
    for container in items(&spec["containers"]).chain(items(&spec["initContainers"])) {
        for source in items(&container["envFrom"]) {
            add(ReferenceKind::ConfigMap, &source["configMapRef"], "name");
            add(ReferenceKind::Secret, &source["secretRef"], "name");
        }
        for variable in items(&container["env"]) {
            add(ReferenceKind::ConfigMap, &variable["valueFrom"]["configMapKeyRef"], "name");
            add(ReferenceKind::Secret, &variable["valueFrom"]["secretKeyRef"], "name");
        }
    }
    if spec["serviceAccountName"] != "default" {
        add(ReferenceKind::ServiceAccount, spec, "serviceAccountName");
    }
    found
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_place_that_names_an_object_is_found() {
        let template = json!({"spec": {
            "serviceAccountName": "robot",
            "volumes": [
                {"configMap": {"name": "volume"}},
                {"secret": {"secretName": "volume"}},
                {"persistentVolumeClaim": {"claimName": "data"}},
                {"projected": {"sources": [{"configMap": {"name": "projected"}}, {"secret": {"name": "projected"}}]}},
                {"configMap": {"name": "maybe", "optional": true}}
            ],
            "initContainers": [{"envFrom": [{"configMapRef": {"name": "init"}}]}],
            "containers": [{
                "env": [
                    {"valueFrom": {"configMapKeyRef": {"name": "key", "key": "a"}}},
                    {"valueFrom": {"secretKeyRef": {"name": "key", "key": "a"}}},
                    {"valueFrom": {"secretKeyRef": {"name": "maybe", "key": "a", "optional": true}}}
                ],
                "envFrom": [{"secretRef": {"name": "all"}}]
            }]
        }});
        let found: Vec<String> =
            references(&template).iter().map(|one| format!("{}/{}", one.kind.as_str(), one.name)).collect();
        assert_eq!(
            found,
            [
                "ConfigMap/init",
                "ConfigMap/key",
                "ConfigMap/projected",
                "ConfigMap/volume",
                "Secret/all",
                "Secret/key",
                "Secret/projected",
                "Secret/volume",
                "ServiceAccount/robot",
                "PersistentVolumeClaim/data"
            ]
        );
    }

    #[test]
    fn the_default_service_account_is_always_there() {
        assert!(references(&json!({"spec": {"serviceAccountName": "default"}})).is_empty());
    }
}
