//! The CustomResourceDefinitions, from the Rust types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use crate::v1alpha1::{Rollback, RollbackPolicy};

/// File name and object of every kind.
pub fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("snapback.dev_rollbackpolicies.yaml", tidy(&RollbackPolicy::crd())),
        ("snapback.dev_rollbacks.yaml", tidy(&Rollback::crd())),
    ]
}

/// The definition as it is published. An optional field is one that may be absent, not one that may be null.
fn tidy(crd: &CustomResourceDefinition) -> Value {
    let mut value = serde_json::to_value(crd).unwrap_or_default();
    strip_null(&mut value);
    value
}

fn strip_null(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("nullable");
            if let Some(Value::Array(variants)) = map.get_mut("enum") {
                variants.retain(|variant| !variant.is_null());
            }
            map.values_mut().for_each(strip_null);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_null),
        _ => {}
    }
}
