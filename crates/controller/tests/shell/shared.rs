//! Two policies that choose the same Deployment: what each says of being accepted and in force, in GEP-713's words.

use serde_json::{Value, json};

use crate::world::{NAMESPACE, World, deployment};

const KIND: &str = "snapback.dev/v1alpha1";

/// `Type=Status/Reason` of the two conditions, and what the last one says.
fn said(world: &World, name: &str) -> (String, String) {
    let policy = world.api.object("rollbackpolicies", NAMESPACE, name).unwrap();
    let all = policy["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let of = |type_: &str| all.iter().find(|one| one["type"] == type_).cloned();
    let text = |one: &Value, field: &str| one[field].as_str().unwrap_or_default().to_owned();
    let both: Vec<Value> = ["Accepted", "Enforced"].into_iter().filter_map(of).collect();
    let short = |one: &Value| format!("{}={}/{}", text(one, "type"), text(one, "status"), text(one, "reason"));
    let short: Vec<String> = both.iter().map(short).collect();
    (short.join(" "), both.last().map(|one| text(one, "message")).unwrap_or_default())
}

async fn until(world: &World, name: &str, short: &str) -> String {
    world.until(&format!("{name}: {short}"), |world| said(world, name).0 == short).await;
    said(world, name).1
}

fn cart() -> Value {
    let mut cart = deployment("v1", true);
    cart["metadata"]["name"] = json!("cart");
    cart
}

/// A younger policy for all Deployments with the label.
async fn younger(world: &World) {
    world.pass(std::time::Duration::from_secs(1)).await;
    let mut younger = world.api.object("rollbackpolicies", NAMESPACE, "checkout").unwrap();
    younger["metadata"] = json!({"name": "younger", "namespace": NAMESPACE});
    let spec = younger["spec"].as_object_mut().unwrap();
    spec.remove("targetRef");
    spec.insert("selector".to_owned(), json!({"matchLabels": {"app": "checkout"}}));
    world.api.apply(KIND, "rollbackpolicies", &younger);
}

#[tokio::test(start_paused = true)]
async fn a_selector_says_which_of_its_targets_others_watch() {
    let world = World::adopted().await;
    world.api.apply("apps/v1", "deployments", &cart());
    younger(&world).await;
    let message = until(&world, "younger", "Accepted=True/Accepted Enforced=True/PartiallyEnforced").await;
    assert_eq!(message, "1 of 2 targets are watched; older policies watch checkout (policy checkout)");

    world.api.delete("apps/v1", "deployments", NAMESPACE, "cart");
    let message = until(&world, "younger", "Accepted=True/Accepted Enforced=False/Overridden").await;
    assert_eq!(message, "older policies watch checkout (policy checkout); delete those, or this one");

    world.api.delete(KIND, "rollbackpolicies", NAMESPACE, "checkout");
    until(&world, "younger", "Accepted=True/Accepted Enforced=True/Enforced").await;
    world.api.delete("apps/v1", "deployments", NAMESPACE, "checkout");
    until(&world, "younger", "Accepted=True/Accepted Enforced=False/NoTargets").await;
}

#[tokio::test(start_paused = true)]
async fn a_partly_overridden_policy_takes_over_when_the_older_one_goes() {
    let world = World::adopted().await;
    world.api.apply("apps/v1", "deployments", &cart());
    younger(&world).await;
    until(&world, "younger", "Accepted=True/Accepted Enforced=True/PartiallyEnforced").await;
    world.api.delete(KIND, "rollbackpolicies", NAMESPACE, "checkout");
    until(&world, "younger", "Accepted=True/Accepted Enforced=True/Enforced").await;
}

#[tokio::test(start_paused = true)]
async fn by_name_two_policies_are_in_conflict_until_one_goes() {
    let world = World::adopted().await;
    world.pass(std::time::Duration::from_secs(1)).await;
    let mut second = world.api.object("rollbackpolicies", NAMESPACE, "checkout").unwrap();
    second["metadata"] = json!({"name": "second", "namespace": NAMESPACE});
    world.api.apply(KIND, "rollbackpolicies", &second);
    let message = until(&world, "second", "Accepted=False/Conflicted").await;
    assert_eq!(message, "policy checkout is older and already watches checkout; delete one of the two");
    let told = |world: &World, reason: &str| {
        let is_it = |event: &&Value| event["regarding"]["name"] == "second" && event["reason"] == reason;
        world.api.objects("events", NAMESPACE).iter().filter(is_it).count()
    };
    world.until("the Event", |world| told(world, "Overridden") == 1).await;
    world.settle().await;
    assert_eq!((told(&world, "Overridden"), told(&world, "TargetNotFound")), (1, 0));
    world.api.delete(KIND, "rollbackpolicies", NAMESPACE, "checkout");
    until(&world, "second", "Accepted=True/Accepted Enforced=True/Enforced").await;
    world.api.delete("apps/v1", "deployments", NAMESPACE, "checkout");
    let message = until(&world, "second", "Accepted=False/TargetNotFound").await;
    world.until("the Event", |world| told(world, "TargetNotFound") == 1).await;
    assert!(message.contains("spec.targetRef.name"), "{message}");
}
