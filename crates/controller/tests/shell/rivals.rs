//! Bugs that others had in the field, told as stories of ours: the number is that of the project in the name.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use snapback_api::v1alpha1::{PhaseName, RollbackPhase};
use snapback_fake_api::{Call, Fault, Trouble, Verb};
use tokio::time::sleep;

use crate::pairs::undone_once;
use crate::world::{NAMESPACE, World, deployment};

fn is_undo(call: &Call) -> bool {
    call.verb == Verb::Patch && call.resource == "deployments" && !call.dry_run
}

fn is_known_good(version: &'static str) -> impl Fn(&World) -> bool {
    move |world| {
        let good = world.target().and_then(|target| target.known_good);
        good.is_some_and(|good| good.images == [format!("shop/checkout:{version}")])
    }
}

/// A write-back of what was stale left the cache wrong for good, and the rollout stuck.
#[tokio::test(start_paused = true)]
async fn argo_rollouts_4073_a_status_that_is_out_of_date_is_computed_anew() {
    let world = World::adopted().await;
    let (api, times) = (world.api.clone(), AtomicUsize::new(0));
    // Somebody else writes into the policy right before each of our writes, five times.
    let races = move |call: &Call| {
        let is_status = call.resource == "rollbackpolicies" && call.subresource == "status";
        if is_status && times.fetch_add(1, Ordering::Relaxed) < 5 {
            let mut policy = api.object("rollbackpolicies", NAMESPACE, "checkout").unwrap();
            policy["metadata"]["annotations"]["seen"] = json!(times.load(Ordering::Relaxed).to_string());
            api.apply("snapback.dev/v1alpha1", "rollbackpolicies", &policy);
        }
        false
    };
    world.api.fault(races, Fault::Lost);
    world.deploy("v2", false);
    undone_once(&world, "with five races").await;
    let policy = world.api.object("rollbackpolicies", NAMESPACE, "checkout").unwrap();
    assert_eq!(policy["metadata"]["annotations"]["seen"], "5", "the other's word was overwritten");
}

/// An event that was lost left a rollout stuck until somebody touched it.
#[tokio::test(start_paused = true)]
async fn argo_rollouts_3316_lost_events_leave_nothing_stuck() {
    let world = World::adopted().await;
    world.api.fault(|call| call.verb == Verb::Get, Fault::Watches(Trouble::Silent));
    world.deploy("v2", false);
    undone_once(&world, "without events").await;
    world.deploy("v3", true);
    world.until("v3 known good", is_known_good("v3")).await;
}

/// An aborted release was tried again by itself; or the next one was ignored.
#[tokio::test(start_paused = true)]
async fn argo_rollouts_2929_what_was_undone_is_not_tried_again_and_the_next_release_is_welcome() {
    let world = World::adopted().await;
    world.deploy("v2", false);
    undone_once(&world, "the bad one").await;
    let writes = |world: &World| world.api.calls().iter().filter(|call| is_undo(call)).count();
    let before = writes(&world);
    sleep(Duration::from_hours(3)).await;
    assert_eq!((world.image().as_str(), writes(&world)), ("shop/checkout:v1", before));
    world.deploy("v3", true);
    world.until("v3 known good", is_known_good("v3")).await;
    assert_eq!(world.rollbacks().len(), 1);
}

/// A rollout that superseded one under way got stuck.
#[tokio::test(start_paused = true)]
async fn argo_rollouts_3331_a_release_over_one_under_way_is_judged() {
    let world = World::adopted().await;
    for (version, well) in [("v2", true), ("v3", false), ("v4", true)] {
        world.deploy(version, well);
        sleep(Duration::from_millis(700)).await;
    }
    world.until("v4 known good", is_known_good("v4")).await;
    world.deploy("v5", false);
    world.until("v5 undone", |world| world.image() == "shop/checkout:v4").await;
}

/// An analysis of which every measurement had failed was successful.
#[tokio::test(start_paused = true)]
async fn argo_rollouts_4479_a_check_without_a_single_sample_passes_nothing() {
    let world = World::adopted().await;
    let own = json!({"name": "own", "query": {"promql": "sum(orders_total)", "max": "1"}});
    world.policy(&json!({"checks": [own]}));
    world.deploy("v2", true);
    // Longer than the longest soak.
    sleep(Duration::from_mins(10)).await;
    let target = world.target().unwrap();
    assert_eq!(target.reason, "WaitingForData", "{}", target.message);
    assert_eq!(target.known_good.unwrap().images, ["shop/checkout:v1"]);
    assert_eq!(world.rollbacks().len(), 0, "nor is it undone");
}

/// An error of acting returned before the checks that should have stopped the release.
#[tokio::test(start_paused = true)]
async fn argo_rollouts_4626_an_error_of_acting_stops_no_judging() {
    let world = World::adopted().await;
    for _ in 0..5 {
        world.api.fault(is_undo, Fault::Status(500));
    }
    world.deploy("v2", false);
    world.until("the undo refused", |world| world.api.faults_left() < 4).await;
    world.deploy("v3", false);
    world.until("both records", |world| world.rollbacks().len() == 2).await;
    world.at_rest("both").await;
    let mut phases: Vec<_> = world.rollbacks().into_iter().filter_map(|one| one.status?.phase).collect();
    phases.sort_by_key(|phase| format!("{phase:?}"));
    assert_eq!(phases, [RollbackPhase::Succeeded, RollbackPhase::Superseded]);
    assert_eq!(world.image(), "shop/checkout:v1");
}

/// Eighteen failed checks of five, and no action: the phase was none of those that were thought of.
#[tokio::test(start_paused = true)]
async fn flagger_1801_a_breach_is_acted_on_in_whatever_phase_it_comes() {
    for mode in ["Automatic", "Approve"] {
        let world = World::adopted().await;
        world.policy(&json!({"mode": mode}));
        world.deploy("v2", false);
        world.until(mode, |world| !world.rollbacks().is_empty()).await;
        if mode == "Approve" {
            let waits = |world: &World| world.target().is_some_and(|one| one.phase == PhaseName::AwaitingApproval);
            world.until("waiting", waits).await;
            world.approve(&world.rollbacks()[0]);
        }
        undone_once(&world, mode).await;
    }
}

/// The checks had passed, one of the last pods never became ready, and nobody acted on the progress deadline any more.
#[tokio::test(start_paused = true)]
async fn flagger_1591_a_rollout_that_kubernetes_gives_up_at_its_last_pod_is_undone() {
    let world = World::adopted().await;
    let mut v2 = deployment("v2", false);
    v2["spec"]["template"]["metadata"]["labels"]["simulated"] = json!("last-waits");
    world.api.apply("apps/v1", "deployments", &v2);
    // Much longer than the soak; every check is inside its limit.
    sleep(Duration::from_mins(5)).await;
    let target = world.target().unwrap();
    assert_eq!((target.phase, target.reason.as_str()), (PhaseName::Progressing, "RollingOut"), "{}", target.message);
    assert!(is_known_good("v1")(&world) && world.rollbacks().is_empty(), "{target:#?}");
    let mut given_up = world.api.object("deployments", NAMESPACE, "checkout").unwrap();
    given_up["status"]["conditions"] = json!([{
        "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "lastUpdateTime": world.now()
    }]);
    world.api.report("apps/v1", "deployments", &given_up);
    undone_once(&world, "past its progress deadline").await;
    assert_eq!(world.rollbacks()[0].spec.trigger.checks, ["progress"]);
}

/// A rollback that nobody was told of.
#[tokio::test(start_paused = true)]
async fn flagger_1816_no_rollback_is_silent() {
    let world = World::adopted().await;
    world.deploy("v2", false);
    undone_once(&world, "the bad one").await;
    world.was_told("the end");
    let events = world.api.objects("events", NAMESPACE);
    for (kind, reason) in [
        ("RollbackPolicy", "CheckBreached"),
        ("RollbackPolicy", "RollbackDecided"),
        ("Deployment", "RollbackDecided"),
        ("Deployment", "RollbackStarted"),
        ("Deployment", "RollbackSucceeded"),
    ] {
        let is_it = |event: &&serde_json::Value| event["regarding"]["kind"] == kind && event["reason"] == reason;
        assert!(events.iter().any(|event| is_it(&event)), "no {reason} on the {kind}");
    }
}
