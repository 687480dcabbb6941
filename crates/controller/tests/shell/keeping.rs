//! What is owed to the known good revision's configuration, what is lost of it, and what changes while it runs.

use std::time::Duration;

use serde_json::{Value, json};
use snapback_core::configuration::{copy_name, digest};
use snapback_fake_api::{Call, Fault, Verb};
use tokio::time::{Instant, sleep};

use crate::configuration::{adopted, apply, condition, named, set, undone};
use crate::world::{NAMESPACE, World, deployment};

/// At the first look, and at the one that follows what that wrote.
const REFUSED: usize = 2;

const HOUR: Duration = Duration::from_hours(1);

/// A policy that wants it restored, on v1 with a ConfigMap that holds "one"; the first copies are refused.
fn wanting(refused: usize) -> World {
    let world = World::without_operator();
    set(&world, "one");
    apply(&world, "v1", true);
    world.policy(&json!({"rollback": {"config": "Restore", "verify": {"duration": "3s"}}}));
    for _ in 0..refused {
        world.api.fault(|call| call.verb == Verb::Create && call.resource == "configmaps", Fault::Status(403));
    }
    world
}

/// Status, reason and message of a condition of the policy.
fn told(world: &World, type_: &str) -> Option<(String, String, String)> {
    let conditions = world.policy_now()?.status?.conditions;
    let found = conditions.into_iter().find(|one| one.type_ == type_)?;
    Some((found.status, found.reason, found.message))
}

fn is_ready(world: &World) -> bool {
    told(world, "RollbackReady").is_some_and(|(status, ..)| status == "True")
}

async fn not_ready(world: &World, why: &str, words: &str) {
    let is_so = |world: &World| {
        told(world, "RollbackReady").is_some_and(|(status, reason, message)| {
            (status.as_str(), reason.as_str()) == ("False", why) && message.contains(words)
        })
    };
    world.until(words, is_so).await;
}

async fn not_kept(world: &World, words: &str) {
    not_ready(world, "ConfigNotKept", words).await;
}

/// What the copies hold.
fn copies(world: &World) -> Vec<Value> {
    let all = world.api.objects("configmaps", NAMESPACE);
    all.iter().filter(|one| one["immutable"] == true).map(|one| one["data"]["mode"].clone()).collect()
}

/// Requests about ConfigMaps, but not whether they exist.
fn reads(world: &World) -> usize {
    world.api.calls().iter().filter(|call| call.resource == "configmaps" && !call.metadata_only).count()
}

/// Requests but watches.
fn asked_since(world: &World, before: usize) -> Vec<String> {
    world.api.calls().iter().skip(before).filter(|call| call.verb != Verb::Watch).map(Call::title).collect()
}

/// A change of the workload that is no new revision, so that the target is looked at.
fn scale(world: &World, replicas: usize) {
    let mut object = world.api.object("deployments", NAMESPACE, "checkout").unwrap();
    object["spec"]["replicas"] = json!(replicas);
    world.api.apply("apps/v1", "deployments", &object);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_may_not_be_made_yet_is_made_soon_after_it_may() {
    let mut world = wanting(REFUSED);
    world.start();
    not_kept(&world, "restore.configMaps").await;
    let since = Instant::now();
    world.until("kept and said so", |world| copies(world) == [json!("one")] && is_ready(world)).await;
    assert!(since.elapsed() <= Duration::from_secs(301), "{:?}", since.elapsed());
    // And then nothing is asked any more.
    world.settle().await;
    let before = reads(&world);
    sleep(HOUR).await;
    assert_eq!(reads(&world), before);
}

#[tokio::test(start_paused = true)]
async fn it_is_tried_again_for_as_long_as_it_takes() {
    let mut world = wanting(5);
    world.start();
    world.until("kept and said so", |world| copies(world) == [json!("one")] && is_ready(world)).await;
    assert_eq!(world.api.faults_left(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_and_what_is_copied_are_one_read() {
    let world = adopted("Restore").await;
    let calls = world.api.calls();
    let about = calls.iter().filter(|call| call.resource == "configmaps" && !call.metadata_only);
    let until_copied: Vec<Verb> = about.map(|call| call.verb).take(2).collect();
    assert_eq!(until_copied, [Verb::Get, Verb::Create]);
}

/// The copy was refused, and then there was nothing left to copy.
async fn lost() -> World {
    let mut world = wanting(REFUSED);
    world.start();
    not_kept(&world, "restore.configMaps").await;
    set(&world, "two");
    not_ready(&world, "ConfigLost", "ConfigMap settings changed before a copy of what shop/checkout:v1").await;
    world
}

#[tokio::test(start_paused = true)]
async fn what_changed_before_it_was_copied_is_told_and_not_tried_for_ever() {
    let world = lost().await;
    let (_, _, message) = told(&world, "RollbackReady").unwrap();
    assert!(!message.contains("restore.configMaps"), "it is no lack of rights: {message}");
    world.settle().await;
    let before = world.api.calls().len();
    sleep(HOUR).await;
    assert_eq!(asked_since(&world, before), [""; 0]);
    assert!(copies(&world).is_empty(), "what it did not run with was copied");
    // A rollback is not stopped by it, and says it.
    let status = undone(&world).await;
    assert_eq!(condition(&status), Some(("False".into(), "Drifted".into())));
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_is_kept_when_it_is_put_back() {
    let world = lost().await;
    set(&world, "one");
    // Anything that happens to it is a look.
    let mut touched = world.api.object("deployments", NAMESPACE, "checkout").unwrap();
    touched["metadata"]["labels"]["touched"] = json!("yes");
    world.api.apply("apps/v1", "deployments", &touched);
    world.until("kept and said so", |world| copies(world) == [json!("one")] && is_ready(world)).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_is_nobodys_concern_when_a_newer_revision_is_known_good() {
    let world = lost().await;
    apply(&world, "v3", true);
    world.until("kept and said so", |world| copies(world) == [json!("two")] && is_ready(world)).await;
    assert_eq!(world.target().unwrap().known_good.unwrap().images, ["shop/checkout:v3"]);
}

#[tokio::test(start_paused = true)]
async fn a_config_map_that_is_gone_before_it_was_copied_is_lost() {
    let mut world = wanting(REFUSED);
    world.start();
    not_kept(&world, "restore.configMaps").await;
    world.api.delete("v1", "configmaps", NAMESPACE, "settings");
    let lost = |world: &World| world.target().unwrap().known_good.unwrap().config.unwrap()[0].lost == Some(true);
    world.until("lost", lost).await;
    // That its pods would not start is told first.
    assert_eq!(told(&world, "RollbackReady").unwrap().1, "ReferenceMissing");
}

#[tokio::test(start_paused = true)]
async fn an_object_of_somebody_else_with_the_name_of_a_copy_is_not_taken_for_one() {
    let mut world = wanting(0);
    let uid = world.api.object("deployments", NAMESPACE, "checkout").unwrap()["metadata"]["uid"].clone();
    let digest = digest(&json!({"data": {"mode": "one"}}));
    let name = copy_name("settings", uid.as_str().unwrap(), &digest).unwrap();
    let theirs = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NAMESPACE}, "data": {"mode": "one"}
    });
    world.api.apply("v1", "configmaps", &theirs);
    world.start();
    not_kept(&world, &format!("ConfigMap {name} is there and is no copy of ours; delete it")).await;
    world.api.delete("v1", "configmaps", NAMESPACE, &name);
    world.until("kept and said so", |world| copies(world) == [json!("one")] && is_ready(world)).await;
}

#[tokio::test(start_paused = true)]
async fn what_has_too_long_a_name_for_a_copy_is_told() {
    let mut world = wanting(0);
    let name = "x".repeat(234);
    let mut v1 = deployment("v1", true);
    v1["spec"]["template"]["spec"]["volumes"] = json!([{"name": "settings", "configMap": {"name": name}}]);
    world.config_map(&name);
    world.api.apply("apps/v1", "deployments", &v1);
    world.start();
    not_kept(&world, "is too long for a copy of it").await;
    assert_eq!(copies(&world), Vec::<Value>::new());
}

fn drift_events(world: &World) -> Vec<Value> {
    let events = world.api.objects("events", NAMESPACE);
    let is_ours = |event: &&Value| event["reason"] == "ConfigDrifted" && event["regarding"]["kind"] == "RollbackPolicy";
    events.iter().filter(is_ours).map(|event| event["note"].clone()).collect()
}

fn drifted(world: &World) -> bool {
    told(world, "ConfigDrifted").is_some_and(|(status, reason, message)| {
        (status.as_str(), reason.as_str()) == ("True", "Drifted")
            && message.starts_with("checkout: ConfigMap settings changed since shop/checkout:v1")
    })
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_came_back_to_another_configuration_is_told_until_that_is_settled() {
    let world = adopted("Warn").await;
    set(&world, "two");
    undone(&world).await;
    world.until("told", drifted).await;
    assert_eq!(drift_events(&world).len(), 1, "{:?}", drift_events(&world));
    scale(&world, 4);
    world.settle().await;
    assert!(drifted(&world) && drift_events(&world).len() == 1, "{:?}", drift_events(&world));
    // The content comes back.
    set(&world, "one");
    scale(&world, 3);
    world.until("not told any more", |world| told(world, "ConfigDrifted").is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_while_a_rollback_is_verified_is_told() {
    let world = adopted("Restore").await;
    apply(&world, "v2", false);
    world.until("undone", |world| !world.rollbacks().is_empty() && world.image() == "shop/checkout:v1").await;
    set(&world, "two");
    world.at_rest("the rollback").await;
    assert_eq!(condition(&world.rollbacks()[0].status.clone().unwrap()), None, "it had not changed when it was undone");
    world.until("told", drifted).await;
    // A restart makes it part of what is known good.
    let mut restarted = deployment("v1", true);
    restarted["spec"]["template"]["spec"]["volumes"] = json!([{"name": "settings", "configMap": {"name": "settings"}}]);
    restarted["spec"]["template"]["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/restartedAt": "now"});
    world.api.apply("apps/v1", "deployments", &restarted);
    world.until("not told any more", |world| told(world, "ConfigDrifted").is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn pods_that_read_copies_do_not_drift() {
    let world = adopted("Restore").await;
    set(&world, "two");
    undone(&world).await;
    assert_ne!(named(&world), "settings");
    set(&world, "three");
    scale(&world, 4);
    world.settle().await;
    assert_eq!(told(&world, "ConfigDrifted"), None);
    assert!(is_ready(&world), "{:?}", told(&world, "RollbackReady"));
    assert_eq!(copies(&world), [json!("one")], "a copy of the copy");
}

#[tokio::test(start_paused = true)]
async fn a_target_at_rest_is_not_asked_about_its_configuration() {
    let world = adopted("Warn").await;
    world.settle().await;
    set(&world, "two");
    let before = world.api.calls().len();
    sleep(HOUR).await;
    assert_eq!(asked_since(&world, before), [""; 0]);
    scale(&world, 4);
    world.until("told at the next look", drifted).await;
    world.policy(&json!({"rollback": {"config": "Ignore"}}));
    world.until("who does not want to know is not told", |world| told(world, "ConfigDrifted").is_none()).await;
}
