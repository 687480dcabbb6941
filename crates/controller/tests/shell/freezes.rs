//! An irreversible release that is bad is frozen: by one patch, wherever the process dies, until somebody acts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use snapback_api::v1alpha1::{FreezeName, PhaseName};
use snapback_fake_api::{Call, FakeApi, Fault, Verb};

use crate::pairs::is_write;
use crate::world::{NAMESPACE, World, deployment};

const FROZEN: &str = "snapback.dev/frozen";

/// The user applies a version that changes data irreversibly.
fn deploy(api: &FakeApi, version: &str, well: bool) {
    let mut object = deployment(version, well);
    object["spec"]["template"]["metadata"]["annotations"] = json!({"snapback.dev/migration": "Irreversible"});
    api.apply("apps/v1", "deployments", &object);
}

fn live(world: &World) -> Value {
    world.api.object("deployments", NAMESPACE, "checkout").unwrap()
}

fn is_marked(world: &World) -> bool {
    live(world)["metadata"]["annotations"][FROZEN].is_string()
}

fn is_paused(world: &World) -> bool {
    live(world)["spec"]["paused"] == true
}

/// The patches that changed the Deployment.
fn patches(world: &World, since: usize) -> usize {
    let calls = world.api.calls();
    let is_patch = |call: &&Call| call.verb == Verb::Patch && call.resource == "deployments" && !call.dry_run;
    calls.iter().skip(since).filter(is_patch).count()
}

fn told(world: &World, reason: &str) -> usize {
    let events = world.api.objects("events", NAMESPACE);
    let of_policy = |event: &&Value| event["reason"] == reason && event["regarding"]["kind"] == "RollbackPolicy";
    events.iter().filter(of_policy).count()
}

/// Available pods of v1.
fn old_pods(world: &World) -> i64 {
    let sets = world.api.objects("replicasets", NAMESPACE);
    let is_v1 = |set: &&Value| set["spec"]["template"]["spec"]["containers"][0]["image"] == "shop/checkout:v1";
    sets.iter().filter(is_v1).filter_map(|set| set["status"]["availableReplicas"].as_i64()).sum()
}

async fn frozen(world: &World, what: &str) {
    world
        .until(what, |world| {
            let target = world.target();
            let freeze = target.and_then(|target| target.rollout?.freeze);
            freeze == Some(FreezeName::Frozen) && is_paused(world)
        })
        .await;
    let target = world.target().unwrap();
    assert_eq!((target.phase, target.reason.as_str()), (PhaseName::Held, "ForwardFixOnly"), "{what}");
    assert!(target.message.contains("3 pods of other revisions still serve"), "{what}: {}", target.message);
    assert_eq!(live(world)["metadata"]["annotations"][FROZEN], json!(target.current.fingerprint), "{what}");
    assert_eq!(old_pods(world), 3, "{what}");
    assert!(world.rollbacks().is_empty(), "{what}");
    world.until("the fields are nobody's", is_users).await;
}

fn is_users(world: &World) -> bool {
    let object = live(world);
    let entries = object["metadata"]["managedFields"].as_array().unwrap().clone();
    entries.iter().all(|entry| entry["manager"] == "user")
}

/// Nothing of ours is left, and it is not paused.
fn is_free(world: &World) -> bool {
    !is_paused(world) && !is_marked(world) && is_users(world)
}

async fn with_frozen_v2() -> World {
    let world = World::adopted().await;
    deploy(&world.api, "v2", false);
    frozen(&world, "v2 frozen").await;
    world
}

fn user_resumes(api: &FakeApi) {
    let mut object = api.object("deployments", NAMESPACE, "checkout").unwrap();
    object["spec"]["paused"] = json!(false);
    api.apply("apps/v1", "deployments", &object);
}

#[tokio::test(start_paused = true)]
async fn an_irreversible_release_that_is_bad_is_frozen_once_and_its_fix_rolls_out() {
    let world = World::adopted().await;
    let before = world.api.calls().len();
    deploy(&world.api, "v2", false);
    frozen(&world, "v2 frozen").await;
    world.settle().await;
    assert_eq!(patches(&world, before), 2, "one to freeze it, one to own nothing");
    assert_eq!((told(&world, "RolloutFrozen"), told(&world, "Held"), told(&world, "CheckBreached")), (1, 0, 1));
    let frozen = world.target().unwrap();
    assert!(frozen.message.contains("kubectl rollout resume deploy/checkout"), "{}", frozen.message);

    deploy(&world.api, "v3", true);
    world.at_rest("v3 judged").await;
    assert!(is_free(&world), "{:#}", live(&world));
    let good = world.target().unwrap().known_good.unwrap();
    assert_eq!((good.images, old_pods(&world)), (vec!["shop/checkout:v3".to_owned()], 0));
    assert_eq!(told(&world, "RolloutResumed"), 1);
}

/// The process dies before and after each of its writes, from an adopted v1 until v3 is known good.
#[tokio::test(start_paused = true)]
async fn a_freeze_begins_and_ends_wherever_the_process_dies() {
    let story = async |world: &mut World, dies: Option<(usize, Fault)>, what: &str| {
        if let Some((index, fault)) = dies {
            let count = AtomicUsize::new(0);
            world.api.fault(move |call| is_write(call) && count.fetch_add(1, Ordering::Relaxed) == index, fault);
        }
        let mut lives = dies.is_none();
        for version in ["v2", "v3"] {
            deploy(&world.api, version, version == "v3");
            let is_so = |world: &World| match version {
                "v2" => world.target().and_then(|target| target.rollout?.freeze) == Some(FreezeName::Frozen),
                _ => world.target().is_some_and(|target| target.rollout.is_none()) && is_free(world),
            };
            world.until(what, |world| is_so(world) || !lives && world.api.faults_left() == 0).await;
            if !lives && world.api.faults_left() == 0 {
                world.kill().await;
                world.start();
                lives = true;
                world.until(what, is_so).await;
            }
            if version == "v2" {
                frozen(world, what).await;
            }
        }
    };
    let mut world = World::adopted().await;
    let before = world.api.calls().len();
    story(&mut world, None, "without any fault").await;
    let writes: Vec<String> =
        world.api.calls().iter().skip(before).filter(|call| is_write(call)).map(Call::title).collect();
    assert_eq!(writes.iter().filter(|write| *write == "Patch deployments").count(), 3, "{writes:?}");
    for (index, title) in writes.iter().enumerate() {
        for fault in [Fault::DiesBefore, Fault::DiesAfter] {
            let what = format!("{fault:?} write {index}, {title}");
            let mut world = World::adopted().await;
            story(&mut world, Some((index, fault)), &what).await;
            assert_eq!(world.image(), "shop/checkout:v3", "{what}");
            assert!(world.rollbacks().is_empty(), "{what}");
            assert!(told(&world, "RolloutFrozen") <= 1 && told(&world, "RolloutResumed") <= 1, "{what}: told twice");
            world.kill().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_person_resumes_is_not_frozen_again_wherever_the_process_dies() {
    let resumed = |world: &World| {
        world.target().and_then(|target| target.rollout?.freeze) == Some(FreezeName::Resumed) && is_free(world)
    };
    let world = with_frozen_v2().await;
    let before = world.api.calls().len();
    user_resumes(&world.api);
    world.until("resumed", resumed).await;
    world.settle().await;
    assert!(is_free(&world), "frozen again");
    assert_eq!(patches(&world, before), 1, "the mark is taken off");
    let target = world.target().unwrap();
    assert_eq!((target.phase, target.reason.as_str()), (PhaseName::Held, "ForwardFixOnly"));
    assert_eq!((told(&world, "RolloutResumed"), told(&world, "Held")), (1, 0));
    let writes: Vec<Call> = world.api.calls().into_iter().skip(before).filter(is_write).collect();
    for (index, write) in writes.iter().enumerate() {
        for fault in [Fault::DiesBefore, Fault::DiesAfter] {
            let what = format!("{fault:?} write {index}, {}", write.title());
            let mut world = with_frozen_v2().await;
            let count = AtomicUsize::new(0);
            world.api.fault(move |call| is_write(call) && count.fetch_add(1, Ordering::Relaxed) == index, fault);
            user_resumes(&world.api);
            world.until(&what, |world| world.api.faults_left() == 0).await;
            world.kill().await;
            world.start();
            world.until(&what, resumed).await;
            world.settle().await;
            assert!(is_free(&world), "{what}: frozen again");
            assert!(told(&world, "RolloutResumed") <= 1, "{what}: told twice");
            world.kill().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_template_that_is_applied_just_before_the_freeze_is_not_frozen() {
    let world = World::adopted().await;
    let (api, done) = (world.api.clone(), AtomicBool::new(false));
    // The user is faster by one request.
    let race = move |call: &Call| {
        let is_freeze = call.verb == Verb::Patch && call.resource == "deployments" && !call.dry_run;
        if is_freeze && !done.swap(true, Ordering::Relaxed) {
            deploy(&api, "v3", true);
        }
        false
    };
    world.api.fault(race, Fault::Lost);
    deploy(&world.api, "v2", false);
    world
        .until("v3 known good", |world| {
            let good = world.target().and_then(|target| target.known_good);
            good.is_some_and(|good| good.images == ["shop/checkout:v3"])
        })
        .await;
    assert!(is_free(&world), "{:#}", live(&world));
    assert_eq!(told(&world, "RolloutFrozen"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_suspended_policy_and_one_that_only_observes_let_the_rollout_go_on() {
    for (more, reason) in [(json!({"suspend": true}), "Suspended"), (json!({"mode": "Observe"}), "ObservedOnly")] {
        let world = with_frozen_v2().await;
        world.policy(&more);
        world.until(reason, is_free).await;
        world.settle().await;
        assert!(is_free(&world), "{reason}: frozen again");
        assert_eq!(world.target().unwrap().reason, reason);
        assert_eq!(told(&world, "RolloutResumed"), 1, "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_comes_later_ends_a_stale_freeze() {
    let world = with_frozen_v2().await;
    world.api.delete("snapback.dev/v1alpha1", "rollbackpolicies", NAMESPACE, "checkout");
    world.settle().await;
    deploy(&world.api, "v3", true);
    world.settle().await;
    assert!(is_paused(&world) && is_marked(&world), "nobody is there to end it");
    world.policy(&json!({}));
    world.until("v3 rolls out", |world| is_free(world) && old_pods(world) == 0).await;
    world.at_rest("v3 judged").await;
    assert_eq!(world.target().unwrap().known_good.unwrap().images, ["shop/checkout:v3"]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_the_newer_manifest_asks_for_stays() {
    let world = with_frozen_v2().await;
    let mut v3 = deployment("v3", true);
    v3["spec"]["paused"] = json!(true);
    // As client-side apply does: it sends no pause, for there is one, and writes down that it asks for it.
    v3["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/last-applied-configuration": r#"{"spec":{"paused":true}}"#});
    world.api.apply("apps/v1", "deployments", &v3);
    world.until("the mark is off", |world| !is_marked(world)).await;
    world.settle().await;
    assert!(is_paused(&world), "the user's pause was ended");
    assert_eq!((world.target().unwrap().reason.as_str(), told(&world, "RolloutResumed")), ("Paused", 0));
}

#[tokio::test(start_paused = true)]
async fn a_freeze_that_admission_refuses_is_held_and_tried_again() {
    let world = World::adopted().await;
    let is_shut = Arc::new(AtomicBool::new(true));
    for _ in 0..1000 {
        let is_shut = Arc::clone(&is_shut);
        let is_freeze = move |call: &Call| {
            let is_patch = call.verb == Verb::Patch && call.resource == "deployments" && !call.dry_run;
            is_patch && is_shut.load(Ordering::Relaxed)
        };
        world.api.fault(is_freeze, Fault::Status(403));
    }
    deploy(&world.api, "v2", false);
    world.until("held", |world| told(world, "Held") == 1).await;
    let target = world.target().unwrap();
    assert_eq!((target.phase, target.reason.as_str()), (PhaseName::Held, "ForwardFixOnly"));
    assert!(target.message.contains("an injected fault"), "{}", target.message);
    world.settle().await;
    assert_eq!(told(&world, "Held"), 1, "it is told once");
    is_shut.store(false, Ordering::Relaxed);
    frozen(&world, "the next try").await;
    assert_eq!(told(&world, "RolloutFrozen"), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_approves_decides_on_a_pause_himself() {
    let world = World::adopted().await;
    world.policy(&json!({"mode": "Approve"}));
    deploy(&world.api, "v2", false);
    world.until("held", |world| world.target().is_some_and(|target| target.phase == PhaseName::Held)).await;
    world.settle().await;
    let target = world.target().unwrap();
    assert_eq!(target.reason, "ForwardFixOnly");
    assert!(target.message.contains("kubectl rollout pause deploy/checkout"), "{}", target.message);
    assert!(is_free(&world) && world.rollbacks().is_empty());
}
