//! Rendered objects, to be compared.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::Deserialize as _;
use serde_json::Value;

/// Objects by `kind namespace/name`.
pub type Objects = BTreeMap<String, Value>;

/// Reads a stream of YAML documents. Two of one name are refused: the second would win.
pub fn parse(text: &str) -> Result<Objects> {
    let mut objects = Objects::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let object = Value::deserialize(document)?;
        if object.is_null() {
            continue;
        }
        let name = name(&object).with_context(|| object.to_string())?;
        ensure!(objects.insert(name.clone(), object).is_none(), "{name} is there twice");
    }
    Ok(objects)
}

/// Takes away what only Helm has use for.
pub fn without_helm(mut objects: Objects) -> Objects {
    for object in objects.values_mut() {
        plain(&mut object["metadata"]);
        if let Some(template) = object.pointer_mut("/spec/template/metadata") {
            plain(template);
        }
    }
    objects
}

fn plain(metadata: &mut Value) {
    if let Some(labels) = metadata["labels"].as_object_mut() {
        labels.remove("helm.sh/chart");
        labels.remove("app.kubernetes.io/managed-by");
    }
}

fn name(object: &Value) -> Option<String> {
    let metadata = &object["metadata"];
    let namespace = metadata["namespace"].as_str().map(|namespace| format!("{namespace}/")).unwrap_or_default();
    Some(format!("{} {namespace}{}", object["kind"].as_str()?, metadata["name"].as_str()?))
}
