//! A person creates a `Rollback`, and says little.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use snapback_api::v1alpha1::{PhaseName, Rollback, RollbackPhase, RollbackStatus};
use snapback_core::fingerprint::Fingerprint;
use snapback_fake_api::{Call, Fault};

use crate::pairs::is_write;
use crate::world::{NAMESPACE, World, deployment};

const KIND: &str = "snapback.dev/v1alpha1";

/// A person asks; `more` is further spec.
fn ask(world: &World, name: &str, more: &Value) {
    let mut spec = json!({"target": {"kind": "Deployment", "name": "checkout"}, "trigger": {"type": "Manual"}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let rollback = json!({
        "apiVersion": KIND, "kind": "Rollback", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec
    });
    world.api.apply(KIND, "rollbacks", &rollback);
}

fn status_of(world: &World, name: &str) -> Option<RollbackStatus> {
    let object = world.api.object("rollbacks", NAMESPACE, name)?;
    serde_json::from_value::<Rollback>(object).unwrap().status
}

async fn ended(world: &World, name: &str) -> RollbackStatus {
    let end = |world: &World| status_of(world, name).filter(|status| status.timeline.ended_at.is_some());
    world.until(name, |world| end(world).is_some()).await;
    let status = end(world).unwrap();
    assert_eq!(snapback_api::conditions::violations(&status.conditions), Vec::<String>::new());
    status
}

/// v1 is known good, and v2 well and in a soak that lasts.
async fn soaking() -> World {
    let world = World::adopted().await;
    world.policy(&json!({"soak": {"duration": "1h", "interval": "1s"}}));
    world.deploy("v2", true);
    world.until("v2 soaks", |world| world.target().is_some_and(|target| target.phase == PhaseName::Soaking)).await;
    world
}

/// No policy; v1, v2 and v3 were applied one after the other.
fn third() -> World {
    let mut world = World::without_operator();
    world.api.delete(KIND, "rollbackpolicies", NAMESPACE, "checkout");
    world.deploy("v2", true);
    world.deploy("v3", true);
    world.start();
    world
}

#[tokio::test(start_paused = true)]
async fn it_goes_back_to_the_known_good_revision_and_quarantines_the_other() {
    let world = soaking().await;
    ask(&world, "by-hand", &json!({}));
    let status = ended(&world, "by-hand").await;
    world.at_rest("the rollback").await;
    world.was_undone_once("by hand");
    assert!(status.actions[0].message.ends_with("it is known good"), "{:?}", status.actions);
    assert!(status.from.starts_with("shop/checkout:v2 (") && status.to.starts_with("shop/checkout:v1 ("), "{status:?}");
    let target = world.target().unwrap();
    assert_eq!((target.phase, target.reason.as_str()), (PhaseName::Idle, "RolledBack"));
    assert_eq!(target.quarantined[0].rollback, "by-hand");
    // It comes back, and is undone like any other.
    world.deploy("v2", true);
    world.until("undone again", |world| world.rollbacks().len() == 2).await;
    world.at_rest("the second rollback").await;
    world.was_undone(2, "back again");
}

#[tokio::test(start_paused = true)]
async fn the_outcome_is_the_same_wherever_the_process_dies() {
    let quickly = json!({"verify": {"duration": "15s", "interval": "1s", "minimumRequests": 1}});
    let world = soaking().await;
    let before = world.api.calls().len();
    ask(&world, "by-hand", &quickly);
    ended(&world, "by-hand").await;
    world.at_rest("the rollback").await;
    let writes: Vec<String> =
        world.api.calls().iter().skip(before).filter(|call| is_write(call)).map(Call::title).collect();
    assert_eq!(writes[0], "Update rollbacks/status", "what is meant was not written first");
    assert!(writes.len() >= 6, "{writes:?}");
    for (index, title) in writes.iter().enumerate() {
        for fault in [Fault::DiesBefore, Fault::DiesAfter] {
            let what = format!("{fault:?} write {index}, {title}");
            let mut world = soaking().await;
            let count = Arc::new(AtomicUsize::new(0));
            world.api.fault(move |call| is_write(call) && count.fetch_add(1, Ordering::Relaxed) == index, fault);
            ask(&world, "by-hand", &quickly);
            world.until(&what, |world| world.api.faults_left() == 0).await;
            world.kill().await;
            world.start();
            ended(&world, "by-hand").await;
            world.at_rest(&what).await;
            world.was_undone_once(&what);
            world.kill().await;
        }
    }
}

/// At 3 a.m. two do the same: what is being undone is no place to go.
#[tokio::test(start_paused = true)]
async fn what_is_being_undone_is_not_gone_back_to() {
    let world = World::adopted().await;
    world.policy(&json!({"rollback": {"verify": {"duration": "10m"}}}));
    world.deploy("v2", false);
    world
        .until("the verification", |world| {
            world
                .rollbacks()
                .iter()
                .any(|one| one.status.as_ref().and_then(|status| status.phase) == Some(RollbackPhase::Verifying))
        })
        .await;
    for (name, more) in [("any", json!({})), ("the-bad-one", json!({"to": {"revision": 2}}))] {
        ask(&world, name, &more);
        let status = ended(&world, name).await;
        assert_eq!(status.phase, Some(RollbackPhase::Failed), "{name}: {status:?}");
        assert!(status.message.contains("undone before"), "{name}: {}", status.message);
    }
    world.at_rest("the rollback").await;
    assert_eq!(world.image(), "shop/checkout:v1");
    world.keeps_the_invariants("nobody brought it back");
}

#[tokio::test(start_paused = true)]
async fn two_operators_mean_the_same() {
    let mut world = soaking().await;
    world.start();
    ask(&world, "by-hand", &json!({}));
    ended(&world, "by-hand").await;
    world.at_rest("the rollback").await;
    world.was_undone_once("two operators");
}

#[tokio::test(start_paused = true)]
async fn what_was_meant_stays_what_it_means() {
    let world = third();
    ask(&world, "by-hand", &json!({"requireApproval": true}));
    let phase = |world: &World| status_of(world, "by-hand").and_then(|status| status.phase);
    world.until("the question", |world| phase(world) == Some(RollbackPhase::AwaitingApproval)).await;
    assert!(status_of(&world, "by-hand").unwrap().to.starts_with("shop/checkout:v2"));
    // It was v3 that was to go: what is applied now is nobody's mistake yet.
    world.deploy("v4", true);
    assert_eq!(ended(&world, "by-hand").await.phase, Some(RollbackPhase::Superseded));
    assert_eq!(world.image(), "shop/checkout:v4");
}

#[tokio::test(start_paused = true)]
async fn without_a_policy_it_goes_to_the_one_before_or_to_the_number_that_is_asked_for() {
    let world = third();
    ask(&world, "first", &json!({"to": {"revision": 1}}));
    let status = ended(&world, "first").await;
    assert_eq!((status.phase, status.reason.as_str()), (Some(RollbackPhase::Succeeded), "Verified"));
    assert_eq!(world.image(), "shop/checkout:v1");
    assert!(status.timeline.decided_at.is_some());
    // v1 is revision 4 now, and v3 the one before.
    ask(&world, "second", &json!({"verify": {"duration": "3s", "interval": "1s", "minimumRequests": 1}}));
    assert_eq!(ended(&world, "second").await.phase, Some(RollbackPhase::Succeeded));
    assert_eq!((world.image().as_str(), world.revision().as_str()), ("shop/checkout:v3", "5"));
}

#[tokio::test(start_paused = true)]
async fn another_revision_than_the_known_good_one_is_judged_like_a_release() {
    let world = soaking().await;
    world.deploy("v3", true);
    world.until("v3 soaks", |world| world.image().ends_with("v3") && world.target().is_some()).await;
    ask(&world, "by-hand", &json!({"to": {"revision": 2}}));
    assert_eq!(ended(&world, "by-hand").await.phase, Some(RollbackPhase::Succeeded));
    let target = world.target().unwrap();
    assert_eq!((target.phase, target.current.images), (PhaseName::Soaking, vec!["shop/checkout:v2".to_owned()]));
    assert_eq!(target.known_good.unwrap().images, ["shop/checkout:v1"]);
    assert!(target.quarantined.is_empty() && world.rollbacks().len() == 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_meant_ends_at_once_and_says_why() {
    let world = soaking().await;
    let cases = [
        ("elsewhere", json!({"target": {"kind": "Deployment", "name": "chekcout"}}), "TargetNotFound", "\"chekcout\""),
        ("unknown", json!({"to": {"revision": 9}}), "NoSuchRevision", "there are 1, 2 (live)"),
        ("live", json!({"to": {"revision": 2}}), "AlreadyLive", "revision 2"),
    ];
    for (name, more, reason, words) in cases {
        ask(&world, name, &more);
        let status = ended(&world, name).await;
        assert_eq!((status.phase, status.reason.as_str()), (Some(RollbackPhase::Failed), reason));
        assert!(status.message.contains(words) && status.resolved.is_none(), "{}", status.message);
        assert!(status.conditions.iter().any(|one| one.type_ == "Stalled" && one.status == "True"), "{status:?}");
    }
    let mut paused = deployment("v2", true);
    paused["spec"]["paused"] = json!(true);
    world.api.apply("apps/v1", "deployments", &paused);
    ask(&world, "paused", &json!({}));
    assert_eq!(ended(&world, "paused").await.reason, "Paused");
    assert_eq!((world.image().as_str(), world.revision().as_str()), ("shop/checkout:v2", "2"));
    let told = world.api.objects("events", NAMESPACE);
    assert!(told.iter().any(|event| event["reason"] == "RollbackFailed"), "no Event");
}

#[tokio::test(start_paused = true)]
async fn a_record_under_a_policys_name_neither_stops_the_policy_nor_is_taken_for_its_own() {
    let world = World::adopted().await;
    let uid = world.target().unwrap().uid;
    let bad = Fingerprint::of_template(&deployment("v2", false)["spec"]["template"]);
    let name = Rollback::name_for("checkout", &uid, bad.as_str(), 0);
    ask(&world, &name, &json!({}));
    assert_eq!(ended(&world, &name).await.reason, "NothingToGoBackTo");
    // Another one waits for a person for ever.
    let waits = Rollback::name_for("checkout", &uid, bad.as_str(), 1);
    let full = json!({
        "target": {"kind": "Deployment", "name": "checkout", "uid": uid},
        "from": {"fingerprint": bad.as_str()}, "to": {"fingerprint": "another"}, "requireApproval": true
    });
    world.deploy("v2", false);
    ask(&world, &waits, &full);
    let placed = Rollback::name_for("checkout", &uid, bad.as_str(), 2);
    world.until("the policy's own", |world| status_of(world, &placed).is_some()).await;
    assert_eq!(ended(&world, &placed).await.phase, Some(RollbackPhase::Succeeded));
    world.at_rest("the rollback").await;
    assert_eq!(world.image(), "shop/checkout:v1");
    assert_eq!(world.target().unwrap().quarantined[0].rollback, placed);
}

#[tokio::test(start_paused = true)]
async fn what_people_undo_counts_for_no_limit_and_no_brake() {
    let world = World::adopted().await;
    let uid = world.target().unwrap().uid;
    let full = |uid: &str| {
        json!({
            "target": {"kind": "Deployment", "name": "checkout", "uid": uid},
            "from": {"fingerprint": "b"}, "to": {"fingerprint": "a"}, "decidedAt": "2026-01-02T03:04:05Z"
        })
    };
    for index in 0..12 {
        ask(&world, &format!("same-{index}"), &full(&uid));
        ask(&world, &format!("other-{index}"), &full(&format!("other-{index}")));
    }
    world.deploy("v2", false);
    world.until("a Rollback of the policy", |world| world.rollbacks().len() == 25).await;
    world.at_rest("the rollback").await;
    let decided = world.rollbacks().into_iter().find(|rollback| !rollback.is_by_hand()).unwrap();
    assert_eq!(decided.spec.require_approval, None, "{:?}", decided.spec.approval_reason);
    assert_eq!(world.image(), "shop/checkout:v1");
}

#[tokio::test(start_paused = true)]
async fn the_job_that_the_release_names_runs_before_the_undo_unless_the_person_did_its_work() {
    for (more, ran) in [(json!({}), true), (json!({"jobs": {}}), false)] {
        let world = World::adopted().await.saying(&json!({
            "snapback.dev/migration": "Reversible", "snapback.dev/migration-job": "down"
        }));
        world.cron_job("down", None);
        world.policy(&json!({"mode": "Observe"}));
        world.deploy("v2", false);
        world.until("v2 is bad", |world| world.target().is_some_and(|target| target.phase == PhaseName::Held)).await;
        ask(&world, "by-hand", &more);
        let status = ended(&world, "by-hand").await;
        assert_eq!(status.phase, Some(RollbackPhase::Succeeded), "{}", status.message);
        let job = status.migration.map(|job| job.ended_at.unwrap().0 <= status.timeline.undo_requested_at.unwrap().0);
        assert_eq!((job, world.image().as_str()), (ran.then_some(true), "shop/checkout:v1"), "{more}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_work_is_told_at_once_and_changes_nothing() {
    let volumes = json!([{"name": "settings", "configMap": {"name": "settings-v1"}}]);
    let world = World::adopted_with(&volumes).await.saying(&json!({
        "snapback.dev/migration": "Reversible", "snapback.dev/migration-job": "down"
    }));
    world.cron_job("down", None);
    world.policy(&json!({"mode": "Observe"}));
    world.deploy("v2", false);
    world.until("v2 is bad", |world| world.target().is_some_and(|target| target.phase == PhaseName::Held)).await;
    let revision = world.revision();
    let refuse = |reason: &'static str, words: &'static str| {
        let world = &world;
        async move {
            let name = reason.to_lowercase();
            let before = world.api.calls().len();
            ask(world, &name, &json!({}));
            let status = ended(world, &name).await;
            assert_eq!((status.phase, status.reason.as_str()), (Some(RollbackPhase::Failed), reason));
            for part in [words, "nothing was changed", "create a new Rollback"] {
                assert!(status.message.contains(part), "{part:?} is not in {:?}", status.message);
            }
            assert!(status.timeline.undo_requested_at.is_none() && status.migration.is_none(), "{status:?}");
            assert!(status.conditions.iter().any(|one| one.type_ == "Stalled" && one.status == "True"), "{status:?}");
            let calls = world.api.calls().split_off(before);
            let changes = |call: &&Call| is_write(call) && ["deployments", "jobs"].contains(&call.resource.as_str());
            assert_eq!(calls.iter().filter(changes).filter(|call| !call.dry_run).count(), 0, "{reason}");
        }
    };
    world.api.delete("v1", "configmaps", NAMESPACE, "settings-v1");
    refuse("ReferenceMissing", "ConfigMap settings-v1").await;
    world.config_map("settings-v1");
    let dry_run = |call: &Call| call.dry_run && call.resource == "deployments";
    world.api.fault(dry_run, Fault::Status(403));
    refuse("UndoWouldBeRefused", "an injected fault").await;
    world.api.delete("batch/v1", "cronjobs", NAMESPACE, "down");
    refuse("MigrationJobNotReady", "no CronJob or Job down").await;
    let told = world.api.objects("events", NAMESPACE);
    assert!(told.iter().any(|event| event["reason"] == "RollbackFailed"), "no Event");
    assert_eq!((world.image().as_str(), world.revision()), ("shop/checkout:v2", revision));
    world.cron_job("down", None);
    ask(&world, "again", &json!({}));
    assert_eq!(ended(&world, "again").await.phase, Some(RollbackPhase::Succeeded));
    assert_eq!(world.image(), "shop/checkout:v1");
}

#[tokio::test(start_paused = true)]
async fn what_was_possible_when_it_was_asked_is_looked_at_again_when_it_is_approved() {
    let world = World::adopted_with(&json!([{"name": "settings", "configMap": {"name": "settings-v1"}}])).await;
    world.policy(&json!({"mode": "Observe"}));
    world.deploy("v2", false);
    world.until("v2 is bad", |world| world.target().is_some_and(|target| target.phase == PhaseName::Held)).await;
    ask(&world, "by-hand", &json!({"requireApproval": true}));
    let phase = |world: &World| status_of(world, "by-hand").and_then(|status| status.phase);
    world.until("the question", |world| phase(world) == Some(RollbackPhase::AwaitingApproval)).await;
    world.api.delete("v1", "configmaps", NAMESPACE, "settings-v1");
    ask(&world, "by-hand", &json!({"requireApproval": true, "approval": {"decision": "Approved", "by": "eve"}}));
    let status = ended(&world, "by-hand").await;
    assert_eq!((status.phase, status.reason.as_str()), (Some(RollbackPhase::Failed), "ReferenceMissing"));
    assert!(status.timeline.approved_at.is_some() && status.timeline.undo_requested_at.is_none(), "{status:?}");
    assert_eq!(world.image(), "shop/checkout:v2");
}

#[tokio::test(start_paused = true)]
async fn records_that_found_no_workload_are_not_kept_for_ever_either() {
    let mut world = World::without_operator();
    world.start();
    ask(&world, "real", &json!({"target": {"kind": "Deployment", "name": "gone"}}));
    ended(&world, "real").await;
    let mut record = world.api.object("rollbacks", NAMESPACE, "real").unwrap();
    world.kill().await;
    for day in 1..=23 {
        record["metadata"] = json!({"name": format!("december-{day:02}"), "namespace": NAMESPACE});
        record["status"]["timeline"]["endedAt"] = json!(format!("2025-12-{day:02}T00:00:00Z"));
        world.api.apply(KIND, "rollbacks", &record);
        world.api.report(KIND, "rollbacks", &record);
    }
    world.start();
    world.until("pruned", |world| world.rollbacks().len() <= 20).await;
    world.settle().await;
    let first = world.rollbacks().into_iter().filter_map(|record| record.metadata.name).min();
    assert_eq!((world.rollbacks().len(), first.as_deref()), (20, Some("december-05")));
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_puts_back_what_another_one_undid_is_named_there() {
    let world = World::adopted().await;
    world.policy(&json!({"rollback": {"verify": {"duration": "5m"}}}));
    world.deploy("v2", false);
    let first = |world: &World| world.rollbacks().into_iter().find(|one| !one.is_by_hand());
    let is_verifying = |world: &World| {
        first(world).and_then(|one| one.status).is_some_and(|status| status.phase == Some(RollbackPhase::Verifying))
    };
    world.until("verifying", is_verifying).await;
    let name = first(&world).unwrap().metadata.name.unwrap();
    let mut record = world.api.object("rollbacks", NAMESPACE, &name).unwrap();
    record["spec"]["released"] = json!({"by": "ada", "reason": "the database was at fault"});
    world.api.apply(KIND, "rollbacks", &record);
    let is_released = |world: &World| first(world).is_some_and(|one| one.spec.released.is_some());
    world.until("released", is_released).await;
    world.pass(std::time::Duration::from_secs(2)).await;
    ask(&world, "by-hand", &json!({"to": {"revision": 2}}));
    let status = ended(&world, &name).await;
    assert_eq!(
        (status.phase, status.reason.as_str()),
        (Some(RollbackPhase::Failed), "Contended"),
        "{}",
        status.message
    );
    assert!(status.message.ends_with(" was put back by Rollback by-hand after the undo"), "{}", status.message);
}
