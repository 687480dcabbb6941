//! Objects that the API server let in and that cannot be read.

use std::time::Duration;

use serde_json::{Value, json};
use snapback_fake_api::Call;

use crate::world::{NAMESPACE, World};

const KIND: &str = "snapback.dev/v1alpha1";

/// What such an object says of itself, and how often its status was written within a minute after that.
async fn said(resource: &'static str, object: &Value) -> (Value, usize) {
    let world = World::adopted().await;
    world.api.apply(KIND, resource, object);
    let status = |world: &World| world.api.object(resource, NAMESPACE, "odd").map(|object| object["status"].clone());
    let is_said = |world: &World| status(world).is_some_and(|status| status["conditions"].is_array());
    world.until("it is said", is_said).await;
    let is_write = |call: &&Call| call.verb.is_write() && call.resource == resource && call.name == "odd";
    let before = world.api.calls().iter().filter(is_write).count();
    tokio::time::sleep(Duration::from_mins(1)).await;
    let writes = world.api.calls().iter().filter(is_write).count() - before;
    (status(&world).unwrap(), writes)
}

fn is_said(status: &Value, words: &str) {
    let condition = |type_: &str| {
        let conditions = status["conditions"].as_array().unwrap();
        conditions.iter().find(|one| one["type"] == type_).cloned().unwrap_or_default()
    };
    let ready = condition("Ready");
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("InvalidSpec")));
    let message = ready["message"].as_str().unwrap();
    assert!(message.starts_with("the object cannot be read: ") && message.contains(words), "{message}");
    assert_eq!(condition("Stalled")["status"], "True");
}

#[tokio::test(start_paused = true)]
async fn a_policy_says_it_once() {
    let metadata = json!({"name": "odd", "namespace": NAMESPACE});
    let policy = json!({"apiVersion": KIND, "kind": "RollbackPolicy", "metadata": metadata, "spec": {"mode": 7}});
    let (status, writes) = said("rollbackpolicies", &policy).await;
    is_said(&status, "Expected string");
    assert_eq!(writes, 0, "a status that says it already is written again");
}

/// A time that a schema takes and that nobody can mean.
#[tokio::test(start_paused = true)]
async fn a_record_says_it_once() {
    let record = json!({
        "apiVersion": KIND, "kind": "Rollback", "metadata": {"name": "odd", "namespace": NAMESPACE},
        "spec": {
            "target": {"kind": "Deployment", "name": "checkout"}, "trigger": {"type": "Manual"},
            "startedAt": "9999-12-31T23:59:59Z"
        }
    });
    let (status, writes) = said("rollbacks", &record).await;
    is_said(&status, "timestamp");
    assert_eq!(writes, 0, "a status that says it already is written again");
}
