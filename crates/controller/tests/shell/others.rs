//! Somebody else acts at the same time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use snapback_api::v1alpha1::{PhaseName, RollbackPhase};
use snapback_fake_api::{Call, FakeApi, Fault, Verb};
use tokio::time::Instant;

use crate::world::{NAMESPACE, World};

fn is_undo(call: &Call) -> bool {
    call.verb == Verb::Patch && call.resource == "deployments" && !call.dry_run
}

#[tokio::test(start_paused = true)]
async fn two_operators_undo_once() {
    let mut world = World::adopted().await;
    world.start();
    world.deploy("v2", false);
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    world.at_rest("the rollback").await;
    world.was_undone_once("two operators");
}

#[tokio::test(start_paused = true)]
async fn a_template_that_is_applied_just_before_the_undo_wins() {
    let world = World::adopted().await;
    let (api, done) = (world.api.clone(), AtomicBool::new(false));
    let v3 = json!({
        "metadata": {"name": "checkout", "namespace": NAMESPACE},
        "spec": {
            "replicas": 3, "selector": {"matchLabels": {"app": "checkout"}},
            "template": {
                "metadata": {"labels": {"app": "checkout"}},
                "spec": {"containers": [{"name": "app", "image": "shop/checkout:v3"}]}
            }
        }
    });
    // The user is faster by one request.
    let race = move |call: &Call| {
        if is_undo(call) && !done.swap(true, Ordering::Relaxed) {
            api.apply("apps/v1", "deployments", &v3);
        }
        false
    };
    world.api.fault(race, Fault::Lost);
    world.deploy("v2", false);
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    world.at_rest("v3 judged").await;
    assert_eq!(world.image(), "shop/checkout:v3");
    let rollbacks = world.rollbacks();
    assert_eq!(rollbacks[0].status.clone().unwrap().phase, Some(RollbackPhase::Superseded));
    let target = world.target().unwrap();
    assert_eq!(target.known_good.unwrap().images, ["shop/checkout:v3"], "v3 was not judged");
}

/// An earlier decision on the same revision led to nothing: the next one is as little about what is not live any more.
#[tokio::test(start_paused = true)]
async fn a_revision_that_is_replaced_while_it_is_decided_on_again_gets_no_second_record() {
    let world = World::adopted().await;
    world.api.fault(applies(world.api.clone(), "v3", is_undo), Fault::Lost);
    world.deploy("v2", false);
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    world.at_rest("v3 judged").await;
    let first = world.rollbacks()[0].clone();
    assert_eq!(first.status.unwrap().phase, Some(RollbackPhase::Superseded));
    let name = first.metadata.name.unwrap();

    let is_asked = move |call: &Call| call.verb == Verb::Get && call.resource == "rollbacks" && call.name == name;
    world.api.fault(applies(world.api.clone(), "v4", is_asked), Fault::Lost);
    world.deploy("v2", false);
    world.until("v4", |world| world.image() == "shop/checkout:v4").await;
    world.at_rest("v4 judged").await;
    assert_eq!(world.rollbacks().len(), 1, "decided on what was not live");
}

/// Somebody applies a good version right before the first request of that kind; the request goes on unharmed.
fn applies<F>(api: FakeApi, version: &'static str, before: F) -> impl Fn(&Call) -> bool + Send + 'static
where
    F: Fn(&Call) -> bool + Send + 'static,
{
    let done = AtomicBool::new(false);
    move |call: &Call| {
        if before(call) && !done.swap(true, Ordering::Relaxed) {
            crate::world::deploy(&api, version, true);
        }
        false
    }
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_arrives_after_somebody_put_the_revision_back_does_nothing() {
    let world = World::adopted().await;
    // The first try is held up on the way; the second one is carried out.
    world.api.fault(is_undo, Fault::NoAnswer(Duration::from_mins(1)));
    world.deploy("v2", false);
    let came = Instant::now();
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    world.at_rest("the rollback").await;
    world.was_undone_once("by the second try");
    assert!(came.elapsed() < Duration::from_mins(1), "the first try has come");
    // Somebody wants it all the same, and without being judged.
    world.policy(&json!({"suspend": true}));
    world.deploy("v2", false);
    world.settle().await;
    assert_eq!(world.image(), "shop/checkout:v2", "nobody decided on it");
}

#[tokio::test(start_paused = true)]
async fn while_a_rollback_acts_the_policy_looks_at_nothing() {
    let world = World::adopted().await;
    world.policy(&json!({"rollback": {"deadline": "2m", "verify": {"duration": "1m"}}}));
    world.deploy("v2", false);
    let verifies = |world: &World| world.target().is_some_and(|target| target.phase == PhaseName::Verifying);
    world.until("verifying", verifies).await;
    world.pass(Duration::from_secs(3)).await;
    let looks =
        || world.api.calls().iter().filter(|call| call.verb == Verb::Get && call.resource == "deployments").count();
    let before = looks();
    // Its pods come and go: each change of the workload wakes whoever follows it.
    for index in 0..20 {
        let mut live = world.api.object("deployments", NAMESPACE, "checkout").unwrap();
        live["metadata"]["annotations"]["seen"] = json!(index.to_string());
        world.api.apply("apps/v1", "deployments", &live);
        world.pass(Duration::from_millis(1500)).await;
    }
    assert!(verifies(&world), "it is over already");
    // One look a change, and one each five seconds, are the other controller's.
    assert!(looks() - before <= 28, "{} looks at twenty changes", looks() - before);
    world.at_rest("the rollback").await;
    world.was_undone_once("verified for a minute");
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_is_deleted_in_mid_rollback_ends_it() {
    let world = World::adopted().await;
    let (api, done) = (world.api.clone(), AtomicBool::new(false));
    let race = move |call: &Call| {
        if is_undo(call) && !done.swap(true, Ordering::Relaxed) {
            api.delete("apps/v1", "deployments", NAMESPACE, "checkout");
        }
        false
    };
    world.api.fault(race, Fault::Lost);
    world.deploy("v2", false);
    world
        .until("the end", |world| {
            let rollbacks = world.rollbacks();
            let phase = rollbacks.first().and_then(|rollback| rollback.status.as_ref()?.phase);
            phase == Some(RollbackPhase::Failed)
        })
        .await;
    assert_eq!(world.rollbacks()[0].status.clone().unwrap().reason, "TargetGone");
    assert!(world.api.object("deployments", NAMESPACE, "checkout").is_none(), "it was brought back");
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_changes_while_it_decides_decides_anew() {
    let world = World::adopted().await;
    let done = AtomicBool::new(false);
    let api = world.api.clone();
    // Between the look and the order the user asks for nothing but observation.
    let race = move |call: &Call| {
        if call.verb == Verb::Get && call.resource == "rollbackpolicies" && !done.swap(true, Ordering::Relaxed) {
            let mut policy = api.object("rollbackpolicies", NAMESPACE, "checkout").unwrap();
            policy["spec"]["mode"] = json!("Observe");
            api.apply("snapback.dev/v1alpha1", "rollbackpolicies", &policy);
        }
        false
    };
    world.api.fault(race, Fault::Lost);
    world.deploy("v2", false);
    world.until("the observation", |world| world.target().is_some_and(|target| target.phase == PhaseName::Held)).await;
    assert!(world.rollbacks().is_empty(), "the old spec decided");
    assert_eq!(world.image(), "shop/checkout:v2");
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_comes_after_its_policy_is_judged_though_it_is_complete_when_first_seen() {
    let mut world = World::without_operator();
    world.api.delete("apps/v1", "deployments", NAMESPACE, "checkout");
    world.deploy("v1", true);
    world.start();
    let is = |phase| move |world: &World| world.target().is_some_and(|target| target.phase == phase);
    world.until("a soak", is(PhaseName::Soaking)).await;
    assert_eq!(world.target().unwrap().known_good, None);
    world.until("the end of the soak", is(PhaseName::Idle)).await;
    let target = world.target().unwrap();
    assert_eq!((target.reason.as_str(), target.known_good.is_some()), ("KnownGood", true));
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_cannot_be_read_is_said_so_and_stops_no_other() {
    let world = World::without_operator();
    let broken = json!({
        "apiVersion": "snapback.dev/v1alpha1", "kind": "RollbackPolicy", "metadata": {"name": "broken", "namespace": NAMESPACE},
        "spec": {"targetRef": {"kind": "Deployment", "name": "checkout"}, "mode": "Sometimes"}
    });
    world.api.apply("snapback.dev/v1alpha1", "rollbackpolicies", &broken);
    let mut world = world;
    world.start();
    world
        .until("both seen", |world| {
            let broken = world.api.object("rollbackpolicies", NAMESPACE, "broken").unwrap();
            broken["status"]["conditions"].is_array()
                && world.target().is_some_and(|target| target.known_good.is_some())
        })
        .await;
    let broken = world.api.object("rollbackpolicies", NAMESPACE, "broken").unwrap();
    let conditions = broken["status"]["conditions"].as_array().unwrap();
    let accepted = conditions.iter().find(|condition| condition["type"] == "Accepted").unwrap();
    assert_eq!((&accepted["status"], &accepted["reason"]), (&json!("False"), &json!("Invalid")));
    assert!(accepted["message"].as_str().unwrap().contains("Sometimes"), "{accepted}");
}

#[tokio::test(start_paused = true)]
async fn a_good_release_is_left_as_the_user_applied_it() {
    let world = World::adopted().await;
    let before = world.api.calls().len();
    world.deploy("v2", true);
    world
        .until("v2 known good", |world| {
            world.target().and_then(|target| target.known_good).is_some_and(|good| good.images == ["shop/checkout:v2"])
        })
        .await;
    let calls = world.api.calls();
    let writes = calls.iter().skip(before).filter(|call| call.verb.is_write() && !call.dry_run);
    let touched: Vec<String> = writes.map(Call::title).filter(|write| write.ends_with(" deployments")).collect();
    assert!(touched.is_empty(), "{touched:?}");
    let copies = world.api.objects("controllerrevisions", NAMESPACE);
    assert_eq!(copies.len(), 1, "one copy of the known good template is kept, and no more");
    assert_eq!(copies[0]["data"]["spec"]["template"]["spec"]["containers"][0]["image"], "shop/checkout:v2");
}

#[tokio::test(start_paused = true)]
async fn a_known_good_revision_without_its_replica_set_is_put_back_from_the_copy() {
    let world = World::adopted().await;
    let (api, done) = (world.api.clone(), AtomicBool::new(false));
    // As `revisionHistoryLimit: 0` would: v1's ReplicaSet goes as soon as v2 is applied.
    let prune = move |call: &Call| {
        if call.resource == "replicasets" && call.verb == Verb::List && !done.swap(true, Ordering::Relaxed) {
            let sets = api.objects("replicasets", NAMESPACE);
            let old =
                sets.iter().find(|set| set["spec"]["template"]["metadata"]["labels"]["simulated"].is_null()).unwrap();
            api.delete("apps/v1", "replicasets", NAMESPACE, old["metadata"]["name"].as_str().unwrap());
        }
        false
    };
    world.api.fault(prune, Fault::Lost);
    world.deploy("v2", false);
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    world.at_rest("the rollback").await;
    world.was_undone_once("from the copy");
}

#[tokio::test(start_paused = true)]
async fn a_known_good_revision_whose_config_map_is_gone_is_not_put_back_until_it_is_there_again() {
    let world = World::adopted_with(&json!([{"name": "settings", "configMap": {"name": "settings-v1"}}])).await;
    world.api.delete("v1", "configmaps", NAMESPACE, "settings-v1");
    world.deploy("v2", false);
    world
        .until("held", |world| {
            world.target().is_some_and(|target| target.phase == PhaseName::Held && target.reason == "ReferenceMissing")
        })
        .await;
    let target = world.target().unwrap();
    assert!(target.message.contains("ConfigMap settings-v1"), "{}", target.message);
    assert!(!target.readiness.unwrap().ready);
    assert!(world.rollbacks().is_empty(), "an outage would have been made");
    world.config_map("settings-v1");
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    world.at_rest("the rollback").await;
    assert_eq!(world.image(), "shop/checkout:v1");
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_admission_would_refuse_is_told_before_it_is_tried() {
    let world = World::adopted().await;
    for _ in 0..1000 {
        world.api.fault(
            |call| call.verb == Verb::Patch && call.resource == "deployments" && call.dry_run,
            Fault::Status(403),
        );
    }
    world.deploy("v2", false);
    world.until("held", |world| world.target().is_some_and(|target| target.phase == PhaseName::Held)).await;
    let target = world.target().unwrap();
    assert_eq!(target.reason, "UndoWouldBeRefused");
    assert!(target.message.contains("an injected fault"), "{}", target.message);
    assert!(world.rollbacks().is_empty());
}

#[tokio::test(start_paused = true)]
async fn within_the_cooldown_the_next_rollback_is_a_persons() {
    let world = World::adopted().await;
    let rules = json!({"rollback": {"cooldown": "30m", "approvalTimeout": "5m", "verify": {"duration": "3s"}}});
    world.policy(&rules);
    world.deploy("v2", false);
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    world.at_rest("the first rollback").await;
    world.was_undone_once("the first rollback");
    world.deploy("v3", false);
    world
        .until("the question", |world| {
            world.rollbacks().iter().any(|rollback| {
                rollback.status.as_ref().and_then(|status| status.phase) == Some(RollbackPhase::AwaitingApproval)
            })
        })
        .await;
    let asked = world.rollbacks().into_iter().find(|rollback| rollback.spec.require_approval == Some(true)).unwrap();
    assert!(asked.spec.approval_reason.unwrap().contains("cooldown"), "no reason is given");
    // Nobody answers.
    world.at_rest("the end of the patience").await;
    assert_eq!(world.image(), "shop/checkout:v3");
    let phase = world.target().unwrap();
    assert_eq!((phase.phase, phase.reason.as_str()), (PhaseName::Held, "RollbackRejected"));
}

#[tokio::test(start_paused = true)]
async fn when_many_targets_are_bad_at_once_nothing_is_undone_until_it_is_over() {
    let world = World::adopted().await;
    for index in 0..6 {
        let record = json!({
            "apiVersion": "snapback.dev/v1alpha1", "kind": "Rollback",
            "metadata": {"name": format!("other-{index}"), "namespace": "elsewhere"},
            "spec": {
                "target": {"kind": "Deployment", "name": "other", "uid": format!("other-{index}")},
                "from": {"fingerprint": "b"}, "to": {"fingerprint": "a"}, "trigger": {"type": "Policy"},
                "decidedAt": "2026-01-02T03:04:05Z", "deadline": "10m",
                "verify": {"duration": "2m", "interval": "30s", "minimumRequests": 50}
            }
        });
        world.api.apply("snapback.dev/v1alpha1", "rollbacks", &record);
    }
    world.deploy("v2", false);
    world.until("held", |world| world.target().is_some_and(|target| target.reason == "FleetBrake")).await;
    assert!(world.rollbacks().is_empty());
    assert_eq!(world.image(), "shop/checkout:v2");
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    world.at_rest("the rollback").await;
    world.was_undone_once("after the brake");
}
