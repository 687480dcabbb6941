//! More targets than are looked at at the same time: nobody waits longer than the others.

use std::time::Duration;

use serde_json::json;
use snapback_fake_api::{Call, Fault, Verb};
use tokio::time::sleep;

use crate::world::{NAMESPACE, World, deployment};

/// Targets besides the world's own: three times as many as are looked at at the same time.
const TARGETS: usize = 24;

fn is_look(call: &Call) -> bool {
    call.verb == Verb::Get && call.resource == "deployments"
}

fn apply(world: &World, name: &str, version: &str) {
    let mut object = deployment(version, true);
    object["metadata"]["name"] = json!(name);
    object["spec"]["selector"]["matchLabels"]["app"] = json!(name);
    object["spec"]["template"]["metadata"]["labels"]["app"] = json!(name);
    world.api.apply("apps/v1", "deployments", &object);
}

/// Targets with a rollout each, that is looked at each second for an hour.
async fn busy(world: &World) -> Vec<String> {
    let names: Vec<String> = (0..TARGETS).map(|index| format!("busy-{index}")).collect();
    let version = "snapback.dev/v1alpha1";
    for name in &names {
        apply(world, name, "v1");
        let spec = json!({
            "targetRef": {"kind": "Deployment", "name": name}, "soak": {"duration": "1h", "interval": "1s"},
            "checks": [{"name": "crashes", "crashRate": {"max": "50%"}}]
        });
        let metadata = json!({"name": name, "namespace": NAMESPACE});
        let policy = json!({"apiVersion": version, "kind": "RollbackPolicy", "metadata": metadata, "spec": spec});
        world.api.apply(version, "rollbackpolicies", &policy);
    }
    let are_in = |phase: &'static str| {
        move |world: &World| {
            let policies = world.api.objects("rollbackpolicies", NAMESPACE);
            policies.iter().filter(|policy| policy["status"]["targets"][0]["phase"] == phase).count() >= TARGETS
        }
    };
    world.until("all known", are_in("Idle")).await;
    for name in &names {
        apply(world, name, "v2");
    }
    world.until("all judged", are_in("Soaking")).await;
    names
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_while_others_are_looked_at_again() {
    let world = World::adopted().await;
    let names = busy(&world).await;
    // An API server that is slow: eight looks take a second together, and all of them three.
    for _ in 0..3000 {
        world.api.fault(is_look, Fault::Slow(Duration::from_secs(1)));
    }
    sleep(Duration::from_secs(30)).await;
    let before = world.api.calls().len();
    sleep(Duration::from_mins(2)).await;
    let calls = world.api.calls().split_off(before);
    let looks: Vec<usize> =
        names.iter().map(|name| calls.iter().filter(|call| is_look(call) && call.name == *name).count()).collect();
    assert!(world.api.faults_left() > 0, "the server was not slow all the time");
    let (least, most) = (looks.iter().min().unwrap(), looks.iter().max().unwrap());
    assert!(*least >= 20 && most - least <= 2, "looks in two minutes: {looks:?}");
}

#[tokio::test(start_paused = true)]
async fn those_that_are_deleted_while_they_wait_keep_nobody_waiting() {
    let world = World::adopted().await;
    let names = busy(&world).await;
    for _ in 0..100 {
        world.api.fault(is_look, Fault::Slow(Duration::from_secs(1)));
    }
    // Eight are looked at, and the others wait.
    sleep(Duration::from_millis(3500)).await;
    for name in &names {
        world.api.delete("snapback.dev/v1alpha1", "rollbackpolicies", NAMESPACE, name);
    }
    world.deploy("v2", false);
    world.until("the undo", |world| world.image() == "shop/checkout:v1").await;
}
