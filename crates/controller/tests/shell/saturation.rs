//! New pods that fill up while the old ones beside them, or before them, did not.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use snapback_api::v1alpha1::{PhaseName, Rollback, RollbackPhase, VerdictName};

use crate::world::{World, deployment};

const CHECKS: &str = "saturation";

/// A version whose container may use 512Mi.
fn limited(version: &str) -> Value {
    let mut object = deployment(version, true);
    object["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"limits": {"memory": "512Mi"}});
    object
}

/// v1 known good and v2 rolled out, judged by their memory; this is the share of full pods, of the given ReplicaSet or of
/// others, at a time.
async fn released(full: impl Fn(bool, Timestamp) -> f64 + Send + Sync + 'static) -> World {
    let memory = "container_memory_working_set_bytes{namespace=\"shop\",";
    let mut world = World::without_operator();
    world.api.apply("apps/v1", "deployments", &limited("v1"));
    let first = world.sets().remove(0);
    world
        .ask_at(Arc::new(move |query: &str, at| {
            assert!(query.contains(memory) && query.contains("container=\"app\"} / 536870912) > bool 0.9"), "{query}");
            Some(full(!query.contains(&first), at))
        }))
        .await;
    world.policy(&json!({
        "soak": {"duration": "5m", "interval": "30s"},
        "checks": [{"name": CHECKS, "saturation": {"memory": {"max": "90%"}}}]
    }));
    world.start();
    world.until("v1 known good", |world| world.target().is_some_and(|target| target.known_good.is_some())).await;
    world.api.apply("apps/v1", "deployments", &limited("v2"));
    world
}

fn record(world: &World) -> Option<Rollback> {
    world.rollbacks().into_iter().next()
}

#[tokio::test(start_paused = true)]
async fn a_release_whose_pods_fill_up_asks_a_person_and_is_undone_when_one_agrees() {
    let world = released(|is_new, _| if is_new { 1.0 } else { 0.0 }).await;
    world.until("a question", |world| record(world).is_some()).await;
    let rollback = record(&world).unwrap();
    assert_eq!(rollback.spec.approval_reason.as_deref(), Some("only checks of severity Warning are breached"));
    let evidence = &rollback.spec.evidence[0];
    assert_eq!((evidence.name.as_str(), evidence.verdict), (CHECKS, VerdictName::Breached));
    let words = "100% of the new pods use over 90% of their memory limit, and 0% of the old ones, 3 looks in a row";
    assert_eq!(evidence.message, words);
    let query = evidence.query.clone().unwrap();
    assert!(query.starts_with("memory/new: avg(") && query.contains("\nmemory/old: avg("), "{query}");
    assert_eq!(world.image(), "shop/checkout:v2", "nobody agreed yet");

    world.approve(&rollback);
    world.at_rest("the undo").await;
    assert_eq!(world.image(), "shop/checkout:v1");
    assert_eq!(record(&world).unwrap().status.unwrap().phase, Some(RollbackPhase::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn a_release_whose_pods_are_as_full_as_those_before_it_becomes_known_good() {
    let world = released(|_, _| 1.0).await;
    let is_v2 = |world: &World| {
        world.target().is_some_and(|target| {
            target.phase == PhaseName::Idle && target.known_good.is_some_and(|good| good.images == ["shop/checkout:v2"])
        })
    };
    world.until("v2 known good", is_v2).await;
    assert!(record(&world).is_none());
    let check = world.target().unwrap().checks.remove(0);
    assert_eq!((check.verdict, check.reason.as_str()), (VerdictName::Inconclusive, "ExternalCause"));
    assert!(check.message.contains("and 100% of the old ones"), "{}", check.message);
}
