//! A policy goes, and another one has its targets: what the first had learned is not lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use snapback_api::v1alpha1::{PhaseName, TargetStatus};

use crate::world::{NAMESPACE, World};

const API: &str = "snapback.dev/v1alpha1";

/// A metric of the service's own that is bad from some second on: the world tells which.
async fn measured() -> (World, Arc<AtomicI64>) {
    let mut world = World::without_operator();
    let bad = Arc::new(AtomicI64::new(i64::MAX));
    let since = Arc::clone(&bad);
    let answer = move |_: &str, at: jiff::Timestamp| {
        Some(if at.as_second() > since.load(Ordering::Relaxed) { 2.0 } else { 0.0 })
    };
    world.ask_at(Arc::new(answer)).await;
    world.policy(&rules());
    world.start();
    world.until("v1 known good", |world| world.target().is_some_and(|target| target.known_good.is_some())).await;
    (world, bad)
}

fn rules() -> Value {
    json!({
        "soak": {"duration": "5m", "interval": "10s"},
        "checks": [{"name": "own", "query": {"promql": "sum(orders_failed{namespace=\"{{ namespace }}\"})", "max": "1"}}]
    })
}

fn forget(world: &World) {
    world.api.delete(API, "rollbackpolicies", NAMESPACE, "checkout");
}

/// The first target of the policy of this name.
fn of(world: &World, policy: &str) -> Option<TargetStatus> {
    let object = world.api.object("rollbackpolicies", NAMESPACE, policy)?;
    serde_json::from_value(object["status"]["targets"][0].clone()).ok()
}

fn stands(target: &TargetStatus) -> (PhaseName, Option<&str>) {
    (target.phase, target.known_good.as_ref().map(|good| good.images[0].as_str()))
}

#[tokio::test(start_paused = true)]
async fn a_release_in_its_soak_is_judged_on_by_the_policy_that_is_next() {
    let (world, bad) = measured().await;
    let mut next = world.api.object("rollbackpolicies", NAMESPACE, "checkout").unwrap();
    next["metadata"] = json!({"name": "next", "namespace": NAMESPACE});
    next.as_object_mut().unwrap().remove("status");
    world.api.apply(API, "rollbackpolicies", &next);
    world.deploy("v2", true);
    world
        .until("the soak", |world| of(world, "checkout").is_some_and(|target| target.phase == PhaseName::Soaking))
        .await;
    forget(&world);
    world.until("the next policy", |world| of(world, "next").is_some()).await;
    assert_eq!(stands(&of(&world, "next").unwrap()), (PhaseName::Soaking, Some("shop/checkout:v1")));
    bad.store(world.now().as_second(), Ordering::Relaxed);
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    world.until("v1", |world| world.image() == "shop/checkout:v1").await;
    assert_eq!(world.rollbacks().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_undo_under_way_is_followed_by_the_policy_that_is_made_anew() {
    let world = World::adopted().await;
    world.deploy("v2", false);
    world.until("an undo", |world| world.image() == "shop/checkout:v1" && !world.rollbacks().is_empty()).await;
    forget(&world);
    world.policy(&json!({}));
    world.until("known", |world| world.target().is_some()).await;
    assert_eq!(stands(&world.target().unwrap()).1, Some("shop/checkout:v1"));
    world.at_rest("the rollback").await;
    world.was_undone_once("with a policy that was made anew meanwhile");
}

/// Nobody judged what was released in between, so nobody knows that it was good; but people run it.
#[tokio::test(start_paused = true)]
async fn what_was_released_without_a_policy_and_has_run_is_adopted() {
    let world = World::adopted().await;
    forget(&world);
    world.deploy("v2", true);
    // The longest soak is four times the soak of ten seconds.
    world.pass(Duration::from_mins(1)).await;
    world.policy(&json!({}));
    world.until("known", |world| world.target().is_some()).await;
    assert_eq!(stands(&world.target().unwrap()), (PhaseName::Idle, Some("shop/checkout:v2")));
}

#[tokio::test(start_paused = true)]
async fn what_a_person_let_stay_is_not_judged_again() {
    let (world, bad) = measured().await;
    let mut asking = rules();
    asking["mode"] = json!("Approve");
    world.policy(&asking);
    world.deploy("v2", true);
    world
        .until("the soak", |world| of(world, "checkout").is_some_and(|target| target.phase == PhaseName::Soaking))
        .await;
    bad.store(world.now().as_second(), Ordering::Relaxed);
    world.until("a question", |world| !world.rollbacks().is_empty()).await;
    let mut answer = serde_json::to_value(&world.rollbacks()[0]).unwrap();
    answer["spec"]["approval"] = json!({"decision": "Rejected", "by": "me"});
    answer["metadata"] = json!({"name": answer["metadata"]["name"], "namespace": NAMESPACE});
    answer.as_object_mut().unwrap().remove("status");
    world.api.apply(API, "rollbacks", &answer);
    world.until("held", |world| of(world, "checkout").is_some_and(|target| target.phase == PhaseName::Held)).await;
    forget(&world);
    world.policy(&rules());
    world.until("known", |world| world.target().is_some()).await;
    assert_eq!(stands(&world.target().unwrap()), (PhaseName::Idle, Some("shop/checkout:v2")));
}

/// What the ConfigMaps hold while another revision is live is that one's.
#[tokio::test(start_paused = true)]
async fn the_configuration_of_the_day_is_not_taken_for_that_of_a_revision_which_is_not_live() {
    let world = World::adopted_with(&json!([{"name": "settings", "configMap": {"name": "settings"}}])).await;
    let config = |world: &World| world.target().and_then(|target| target.known_good?.config);
    world.until("what v1 reads", |world| config(world).is_some_and(|config| config.len() == 1)).await;
    world.deploy("v2", true);
    world.until("the soak", |world| world.target().is_some_and(|target| target.phase == PhaseName::Soaking)).await;
    forget(&world);
    world.policy(&json!({}));
    world.until("known", |world| world.target().is_some()).await;
    assert_eq!(stands(&world.target().unwrap()).1, Some("shop/checkout:v1"));
    assert!(config(&world).is_none(), "{:?}", config(&world));
}
