//! A revision that was undone comes back.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use snapback_api::v1alpha1::{PhaseName, TriggerType};
use snapback_fake_api::{Call, Fault, Verb};

use crate::world::{NAMESPACE, World, deployment};

/// A world in which v2 was undone so many times, each time at the first look at it.
async fn undone(times: usize) -> World {
    let world = World::adopted().await;
    for time in 1..=times {
        world.deploy("v2", false);
        world.until("a Rollback", |world| world.rollbacks().len() == time).await;
        world.at_rest("the rollback").await;
        world.was_undone(time, "each time");
    }
    world
}

fn release(world: &World, rollback: &str) {
    let mut record = world.api.object("rollbacks", NAMESPACE, rollback).unwrap();
    record["spec"]["released"] = json!({"by": "ada", "reason": "the database was at fault"});
    world.api.apply("snapback.dev/v1alpha1", "rollbacks", &record);
}

#[tokio::test(start_paused = true)]
async fn it_is_undone_again_at_once_with_the_evidence_of_before() {
    let world = undone(2).await;
    let mut rollbacks = world.rollbacks();
    rollbacks.sort_by_key(|rollback| rollback.spec.decided_at.clone());
    let (first, second) = (&rollbacks[0], &rollbacks[1]);
    assert_eq!((first.spec.trigger.type_, second.spec.trigger.type_), (TriggerType::Policy, TriggerType::Quarantine));
    assert_eq!(second.spec.trigger.previous, first.metadata.name);
    assert_eq!(second.spec.evidence, first.spec.evidence);
    let (started, decided) = (second.spec.started_at.as_ref().unwrap(), second.decided_at());
    assert!(decided.0.duration_since(started.0).as_secs() <= 2, "it was waited for");
}

#[tokio::test(start_paused = true)]
async fn who_puts_it_back_again_and_again_is_not_fought() {
    let world = undone(3).await;
    let mut delivered = deployment("v2", false);
    delivered["metadata"]["annotations"] =
        json!({"argocd.argoproj.io/tracking-id": "apps:apps/Deployment:shop/checkout"});
    world.api.apply("apps/v1", "deployments", &delivered);
    world.until("a person is called", |world| world.target().is_some_and(|target| target.reason == "Contended")).await;
    world.at_rest("the end").await;
    let target = world.target().unwrap();
    assert_eq!((target.phase, world.image().as_str()), (PhaseName::Escalated, "shop/checkout:v2"));
    assert_eq!(world.rollbacks().len(), 3);
    assert!(world.api.objects("events", NAMESPACE).iter().any(|event| event["reason"] == "Contended"), "no Event");

    assert!(target.message.contains("where Argo CD Application apps has it from"), "{}", target.message);

    // What the message says lets it run: it is judged anew, by what it does now.
    let named = target.message.split("rollback ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    release(&world, &named);
    world.until("judged anew", |world| world.rollbacks().len() == 4).await;
    let newest = world.rollbacks().into_iter().max_by_key(|rollback| rollback.spec.decided_at.clone()).unwrap();
    assert_eq!(newest.spec.trigger.type_, TriggerType::Policy, "it was condemned without a look");
    // The fourth within the hour is beyond the target's limit.
    assert_eq!(newest.spec.require_approval, Some(true));
}

#[tokio::test(start_paused = true)]
async fn a_release_before_it_comes_back_lets_it_be_judged() {
    let world = undone(1).await;
    let first = world.rollbacks()[0].metadata.name.clone().unwrap();
    release(&world, &first);
    world.until("released", |world| world.target().is_some_and(|target| target.quarantined.is_empty())).await;
    world.deploy("v2", false);
    world.until("judged", |world| world.rollbacks().len() == 2).await;
    assert!(world.rollbacks().iter().all(|rollback| rollback.spec.trigger.type_ == TriggerType::Policy));
}

#[tokio::test(start_paused = true)]
async fn a_release_by_an_older_record_says_that_a_newer_one_holds_the_revision() {
    let world = undone(2).await;
    let mut records = world.rollbacks();
    records.sort_by_key(|rollback| rollback.spec.decided_at.clone());
    let mut names = records.into_iter().filter_map(|record| record.metadata.name);
    let (older, newer) = (names.next().unwrap(), names.next().unwrap());
    let told = |world: &World, name: &str| {
        let record = world.rollbacks().into_iter().find(|one| one.metadata.name.as_deref() == Some(name)).unwrap();
        let mut actions = record.status.unwrap().actions.into_iter();
        actions.find(|action| action.action == "ReleaseWithoutEffect").map(|action| action.message)
    };
    release(&world, &older);
    world.until("the older one's word", |world| told(world, &older).is_some()).await;
    let message = told(&world, &older).unwrap();
    assert!(message.contains(&format!("Rollback {newer} undid it again")), "{message}");
    assert!(message.contains(&format!("rollback {newer} --type=merge")), "{message}");
    let is_event = |event: &serde_json::Value| event["reason"] == "ReleaseWithoutEffect";
    world.until("the Event", |world| world.api.objects("events", NAMESPACE).iter().any(is_event)).await;
    assert_eq!(world.target().unwrap().quarantined.len(), 1, "it was released");

    release(&world, &newer);
    world.until("released", |world| world.target().is_some_and(|target| target.quarantined.is_empty())).await;
    assert_eq!(told(&world, &newer), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_put_back_while_the_undo_is_under_way_is_undone_again() {
    let world = World::adopted().await;
    let (api, done) = (world.api.clone(), AtomicBool::new(false));
    // A GitOps tool heals as soon as the undo is recorded as accepted.
    let heal = move |call: &Call| {
        if call.verb == Verb::List && call.resource == "pods" && !done.load(Ordering::Relaxed) {
            let deployment = api.object("deployments", NAMESPACE, "checkout").unwrap();
            let rollback = api.objects("rollbacks", NAMESPACE).into_iter().next();
            if rollback.is_some_and(|rollback| rollback["status"]["timeline"]["undoAcceptedAt"].is_string()) {
                assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0]["image"], "shop/checkout:v1");
                crate::world::deploy(&api, "v2", false);
                done.store(true, Ordering::Relaxed);
            }
        }
        false
    };
    world.api.fault(heal, Fault::Lost);
    world.deploy("v2", false);
    world.until("the second undo", |world| world.rollbacks().len() == 2).await;
    world.at_rest("the rollback").await;
    world.was_undone(2, "healed once");
}
