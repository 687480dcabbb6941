//! What both kinds say of themselves at each point of their lives, as files: the `testdata` of the customizations for Argo CD,
//! which the suite `conventions` shows to kstatus as well. After a wanted change,
//! `INSTA_UPDATE=always cargo test -p snapback-controller --test shell told` writes them anew: read the difference.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use snapback_api::v1alpha1::{PhaseName, Rollback, RollbackPhase};
use snapback_fake_api::Fault;
use snapback_prometheus::SourceConfig;

use crate::world::{NAMESPACE, World};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/argocd/resource_customizations/snapback.dev");
const HEADER: &str = "# Written by the operator, kept by crates/controller/tests/shell/told.rs.\n";
const KIND: &str = "snapback.dev/v1alpha1";

/// At this point of a story, an object is what its file says: but for its times, which a busy machine may shift.
fn kept(kind: &str, story: &str, mut object: Value) {
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.retain(|key, _| key != "managedFields" && key != "resourceVersion");
    let path = Path::new(FOLDER).join(kind).join(format!("testdata/{story}.yaml"));
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("{HEADER}{}", serde_yaml_ng::to_string(&object).unwrap())).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut kept: Value = serde_yaml_ng::from_str(&text).unwrap();
    timeless(&mut kept);
    timeless(&mut object);
    assert_eq!(object, kept, "{kind} {story} is not what its file says");
}

fn timeless(value: &mut Value) {
    match value {
        Value::String(text) if text.parse::<Timestamp>().is_ok() => "a time".clone_into(text),
        Value::Array(items) => items.iter_mut().for_each(timeless),
        Value::Object(fields) => fields.values_mut().for_each(timeless),
        _ => {}
    }
}

/// The policy says this now.
fn policy(world: &World, story: &str) {
    kept("RollbackPolicy", story, world.api.object("rollbackpolicies", NAMESPACE, "checkout").unwrap());
}

/// The newest `Rollback` says this now.
fn rollback(world: &World, story: &str) {
    let mut all = world.api.objects("rollbacks", NAMESPACE);
    all.sort_by_key(|one| one["metadata"]["creationTimestamp"].to_string());
    kept("Rollback", story, all.pop().unwrap());
}

async fn until(world: &World, phase: PhaseName, reason: &str) {
    let is_so = |world: &World| {
        let is_new = world.policy_now().is_some_and(|policy| {
            policy.status.is_some_and(|status| status.observed_generation == policy.metadata.generation)
        });
        is_new && world.target().is_some_and(|target| target.phase == phase && target.reason == reason)
    };
    world.until(reason, is_so).await;
}

async fn until_rollback(world: &World, phase: RollbackPhase, reason: &str) {
    let is_so = |rollback: &Rollback| {
        rollback.status.as_ref().is_some_and(|status| status.phase == Some(phase) && status.reason == reason)
    };
    world.until(reason, |world| world.rollbacks().iter().any(is_so)).await;
}

/// A person orders a rollback.
fn order(world: &World, target: &str) {
    let spec = json!({"target": {"kind": "Deployment", "name": target}, "trigger": {"type": "Manual"}});
    let metadata = json!({"name": "by-hand", "namespace": NAMESPACE});
    let order = json!({"apiVersion": KIND, "kind": "Rollback", "metadata": metadata, "spec": spec});
    world.api.apply(KIND, "rollbacks", &order);
}

/// v2 is bad, and a person is asked.
async fn asked() -> World {
    let world = World::adopted().await;
    world.policy(&json!({"mode": "Approve", "rollback": {"verify": {"duration": "1m"}}}));
    world.deploy("v2", false);
    until(&world, PhaseName::AwaitingApproval, "AwaitingApproval").await;
    world
}

#[tokio::test(start_paused = true)]
async fn of_a_good_release() {
    let mut world = World::without_operator();
    policy(&world, "created");
    world.start();
    until(&world, PhaseName::Idle, "Adopted").await;
    policy(&world, "at-rest");
    world.deploy("v2", true);
    until(&world, PhaseName::Soaking, "WithinLimits").await;
    policy(&world, "soaking");
    until(&world, PhaseName::Idle, "KnownGood").await;
    policy(&world, "known-good");
    world.policy(&json!({"suspend": true}));
    let is_suspended = |world: &World| {
        world.policy_now().unwrap().status.is_some_and(|status| status.summary.unwrap().phase == "Suspended")
    };
    world.until("suspended", is_suspended).await;
    policy(&world, "suspended");
}

#[tokio::test(start_paused = true)]
async fn of_a_policy_that_watches_nothing() {
    let world = World::adopted().await;
    let phase = |world: &World, name: &str| {
        let policy = world.api.object("rollbackpolicies", NAMESPACE, name);
        policy.and_then(|policy| policy["status"]["summary"]["phase"].as_str().map(str::to_owned))
    };
    world.policy(&json!({"soak": {"duration": "25h"}}));
    world.until("invalid", |world| phase(world, "checkout").as_deref() == Some("Invalid")).await;
    policy(&world, "invalid");
    world.policy(&json!({}));
    until(&world, PhaseName::Idle, "Adopted").await;

    let mut newer = world.api.object("rollbackpolicies", NAMESPACE, "checkout").unwrap();
    newer["metadata"] = json!({"name": "newer", "namespace": NAMESPACE});
    world.pass(Duration::from_secs(1)).await;
    world.api.apply(KIND, "rollbackpolicies", &newer);
    world.until("overridden", |world| phase(world, "newer").as_deref() == Some("Overridden")).await;
    kept("RollbackPolicy", "overridden", world.api.object("rollbackpolicies", NAMESPACE, "newer").unwrap());

    world.api.delete("apps/v1", "deployments", NAMESPACE, "checkout");
    world.until("the target missed", |world| phase(world, "checkout").as_deref() == Some("Waiting")).await;
    policy(&world, "target-missing");
}

#[tokio::test(start_paused = true)]
async fn of_a_metrics_source_that_is_down() {
    let mut world = World::without_operator();
    world.ask_source(SourceConfig::new("main", "http://127.0.0.1:9".to_owned()));
    world.policy(&json!({"checks": [{"name": "errors", "errorRate": {"max": "5%"}}]}));
    world.start();
    until(&world, PhaseName::Idle, "Adopted").await;
    world.deploy("v2", true);
    until(&world, PhaseName::Soaking, "WaitingForData").await;
    policy(&world, "source-down");
}

#[tokio::test(start_paused = true)]
async fn of_a_bad_release_that_is_undone() {
    let world = asked().await;
    policy(&world, "awaiting-approval");
    rollback(&world, "awaiting-approval");
    let record = world.rollbacks().remove(0);
    world.approve(&record);
    until_rollback(&world, RollbackPhase::Running, "RollingOut").await;
    rollback(&world, "running");
    until(&world, PhaseName::RollingBack, "RollingBack").await;
    policy(&world, "rolling-back");
    until_rollback(&world, RollbackPhase::Verifying, "Verifying").await;
    rollback(&world, "verifying");
    until_rollback(&world, RollbackPhase::Succeeded, "Verified").await;
    rollback(&world, "succeeded");
    world.at_rest("the rollback").await;
    policy(&world, "rolled-back");

    let mut record = world.api.objects("rollbacks", NAMESPACE).remove(0);
    record["spec"]["released"] = json!({"by": "ada", "reason": "the database was at fault"});
    world.api.apply(KIND, "rollbacks", &record);
    let is_seen = |world: &World| {
        let record = world.rollbacks().remove(0);
        record.status.unwrap().observed_generation == record.metadata.generation
    };
    world.until("the release seen", is_seen).await;
    rollback(&world, "released");
}

#[tokio::test(start_paused = true)]
async fn of_a_bad_release_that_a_person_keeps() {
    let world = asked().await;
    let mut record = world.api.objects("rollbacks", NAMESPACE).remove(0);
    record["spec"]["approval"] = json!({"decision": "Rejected", "by": "ada", "reason": "the database is at fault"});
    world.api.apply(KIND, "rollbacks", &record);
    until(&world, PhaseName::Held, "RollbackRejected").await;
    rollback(&world, "rejected");
    policy(&world, "held");
}

#[tokio::test(start_paused = true)]
async fn of_a_bad_release_that_is_replaced_in_time() {
    let world = asked().await;
    world.deploy("v3", true);
    world.until("over", |world| world.rollbacks()[0].status.as_ref().unwrap().timeline.ended_at.is_some()).await;
    rollback(&world, "superseded");
}

#[tokio::test(start_paused = true)]
async fn of_a_bad_release_that_comes_back_again_and_again() {
    let world = World::adopted().await;
    for time in 1..=3 {
        world.deploy("v2", false);
        world.until("a Rollback", |world| world.rollbacks().len() == time).await;
        world.at_rest("the rollback").await;
    }
    world.deploy("v2", false);
    until(&world, PhaseName::Escalated, "Contended").await;
    policy(&world, "contended");
}

#[tokio::test(start_paused = true)]
async fn of_an_undo_that_does_not_help() {
    let world = World::adopted().await;
    world.policy(&json!({"rollback": {"verify": {"duration": "1m"}}}));
    world.deploy("v2", false);
    until_rollback(&world, RollbackPhase::Verifying, "Verifying").await;
    for mut pod in world.api.objects("pods", NAMESPACE) {
        pod["status"]["containerStatuses"][0]["state"] = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        pod["status"]["containerStatuses"][0]["restartCount"] = json!(4);
        world.api.report("v1", "pods", &pod);
    }
    until(&world, PhaseName::Escalated, "RollbackEscalated").await;
    rollback(&world, "escalated");
    policy(&world, "escalated");
}

#[tokio::test(start_paused = true)]
async fn of_an_undo_that_is_refused() {
    let world = World::adopted().await;
    for _ in 0..1000 {
        let is_undo = |call: &snapback_fake_api::Call| {
            call.verb == snapback_fake_api::Verb::Patch && call.resource == "deployments" && !call.dry_run
        };
        world.api.fault(is_undo, Fault::Status(403));
    }
    world.deploy("v2", false);
    until_rollback(&world, RollbackPhase::Failed, "UndoRefused").await;
    rollback(&world, "failed");
}

#[tokio::test(start_paused = true)]
async fn of_an_order_by_hand() {
    let mut world = World::without_operator();
    order(&world, "chekcout");
    rollback(&world, "created");
    world.start();
    until_rollback(&world, RollbackPhase::Failed, "TargetNotFound").await;
    rollback(&world, "not-found");
}
