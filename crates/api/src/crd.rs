//! The CustomResourceDefinitions, from the Rust types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

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
    unseen(&mut value);
    value
}

/// What an object says before our first look at it: that nobody has seen its generation. kstatus takes one that says nothing
/// for one that is ready, and Flux and Helm would not wait for it.
fn unseen(crd: &mut Value) {
    for version in crd["spec"]["versions"].as_array_mut().into_iter().flatten() {
        if let Some(status) = version.pointer_mut("/schema/openAPIV3Schema/properties/status") {
            status["default"] = json!({"observedGeneration": -1});
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_the_first_look_no_generation_was_seen_and_the_default_can_be_read() {
        for (name, crd) in all() {
            let unseen = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/status/default").cloned();
            let unseen = unseen.unwrap_or_else(|| panic!("{name} has none"));
            let status: crate::v1alpha1::RollbackStatus = serde_json::from_value(unseen.clone()).unwrap();
            assert_eq!(status.observed_generation, Some(-1), "{name}");
            let status: crate::v1alpha1::RollbackPolicyStatus = serde_json::from_value(unseen).unwrap();
            assert_eq!(status.observed_generation, Some(-1), "{name}");
        }
    }
}
