//! Ending all holds before the operator is uninstalled: whoever runs meanwhile, and wherever it dies.

use std::time::Duration;

use serde_json::json;
use snapback_api::v1alpha1::RollbackPhase;
use snapback_controller::ending::{EndError, Ending, end_holds};
use snapback_controller::lease::LeaseOptions;
use snapback_controller::run::RunError;
use tokio::time::Instant;

use crate::holds::{ARGO, FLUX, RECONCILE, Tool, dies_at, has_ended, held_by, hold, is_clean};
use crate::leaders::{Replica, holder, lease};
use crate::pairs::{SIDES, is_write};
use crate::world::{NAMESPACE, World};

/// What ends the holds of this world.
fn ending(world: &World, lease: Option<LeaseOptions>) -> Ending {
    let options = world.options();
    Ending {
        config: options.config,
        lease,
        instance: None,
        clock: options.clock,
        within: Duration::from_mins(1),
        refuses: options.refuses,
    }
}

/// All holds have ended, and why is told.
fn are_over(world: &World, tool: &Tool, kind: (&str, &str), what: &str) {
    assert!(has_ended(world) && is_clean(world), "{what}");
    let because = hold(world).unwrap().because.unwrap_or_default();
    assert_eq!(because, "Snapback is being uninstalled", "{what}");
    assert!(kind == FLUX || tool.heals(world), "{what}: it does not heal as before");
}

async fn end_everywhere(kind: (&'static str, &'static str)) {
    let (mut world, tool) = held_by(kind).await;
    world.kill().await;
    let before = world.api.calls().len();
    let ended = end_holds(world.api.client(), ending(&world, None)).await.unwrap();
    assert_eq!(ended.len(), 1, "{ended:?}");
    are_over(&world, &tool, kind, "without any fault");
    let writes = world.api.calls().split_off(before).iter().filter(|call| is_write(call)).count();
    assert!(writes >= 3, "{writes}");
    let none: Vec<String> = Vec::new();
    assert_eq!(end_holds(world.api.client(), ending(&world, None)).await.unwrap(), none, "a second time");
    for index in 0..writes {
        for side in SIDES {
            let what = format!("{}: {side:?} write {index}", kind.1);
            let (mut world, tool) = held_by(kind).await;
            world.kill().await;
            dies_at(&world, (index, side));
            let first = tokio::spawn(end_holds(world.api.client(), ending(&world, None)));
            world.until(&what, |world| world.api.faults_left() == 0).await;
            first.abort();
            end_holds(world.api.client(), ending(&world, None)).await.unwrap();
            are_over(&world, &tool, kind, &what);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_hold_of_a_kustomization_ends_wherever_the_process_dies() {
    end_everywhere(FLUX).await;
}

#[tokio::test(start_paused = true)]
async fn the_hold_of_an_application_ends_wherever_the_process_dies() {
    end_everywhere(ARGO).await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_leads_stands_by_first_and_nobody_leads_for_a_minute_after() {
    let (mut world, tool) = held_by(FLUX).await;
    world.kill().await;
    let leader = Replica::start(&world, "a");
    world.until("a leader", |world| holder(world).as_deref() == Some("a")).await;
    end_holds(world.api.client(), ending(&world, Some(lease("uninstall")))).await.unwrap();
    let over = Instant::now();
    are_over(&world, &tool, FLUX, "under an operator");
    let late = leader.writes();
    assert!(matches!(leader.ended().await, Err(RunError::Lost(_))), "it leads on");
    assert!(late.iter().all(|write| over.duration_since(*write) > Duration::from_secs(1)), "both wrote");

    let next = Replica::start(&world, "b");
    world.until("another leader", |world| holder(world).as_deref() == Some("b")).await;
    let stood_by = over.elapsed();
    assert!(stood_by > Duration::from_secs(55) && stood_by < Duration::from_secs(90), "{stood_by:?}");
    drop(next);
}

#[tokio::test(start_paused = true)]
async fn who_takes_the_lease_waits_although_another_one_took_it_before_and_died() {
    let (mut world, _tool) = held_by(FLUX).await;
    world.kill().await;
    let leader = Replica::start(&world, "a");
    world.until("a leader", |world| holder(world).as_deref() == Some("a")).await;
    let first = tokio::spawn(end_holds(world.api.client(), ending(&world, Some(lease("uninstall")))));
    world.until("the Lease", |world| holder(world).as_deref() == Some("uninstall")).await;
    first.abort();
    let begun = Instant::now();
    end_holds(world.api.client(), ending(&world, Some(lease("uninstall")))).await.unwrap();
    assert!(begun.elapsed() > Duration::from_secs(12), "{:?}", begun.elapsed());
    drop(leader);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_ended_is_told_with_what_to_do_and_the_operator_goes_on() {
    let (mut world, _tool) = held_by(ARGO).await;
    world.kill().await;
    let mut without = ending(&world, Some(lease("uninstall")));
    without.config.gitops.argocd.enabled = false;
    let error = end_holds(world.api.client(), without).await.unwrap_err();
    assert!(matches!(&error, EndError::Left(left) if left.len() == 1), "{error}");
    let said = error.to_string();
    for words in [
        "shop/checkout-",
        "kubectl -n shop patch rollback",
        "finalizers",
        "patch applications.argoproj.io apps",
        "selfHeal",
    ] {
        assert!(said.contains(words), "{words} is not in: {said}");
    }
    assert_eq!(holder(&world), None, "the operator may go on");
    end_holds(world.api.client(), ending(&world, None)).await.unwrap();
    assert!(has_ended(&world));
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_is_under_way_ends_too() {
    let (mut world, tool) = held_by(FLUX).await;
    let label = |world: &World, key: &str| {
        world.api.object("deployments", NAMESPACE, "checkout").unwrap()["metadata"]["labels"][key].clone()
    };
    tool.commits("c2b", "v2", false);
    world.until("a trial", |world| !label(world, "snapback.dev/trial").is_null()).await;
    world.kill().await;
    end_holds(world.api.client(), ending(&world, None)).await.unwrap();
    assert!(has_ended(&world) && is_clean(&world));
    assert_eq!(label(&world, RECONCILE), json!(null));
}

#[tokio::test(start_paused = true)]
async fn an_undo_under_way_keeps_its_place_for_the_next_operator() {
    let (mut world, tool) = held_by(FLUX).await;
    // Another bad one, whose undo is accepted and not over.
    tool.commits("c3", "v3", false);
    world
        .until("an undo under way", |world| {
            world.rollbacks().iter().any(|one| {
                one.status.as_ref().is_some_and(|status| {
                    status.phase == Some(RollbackPhase::Running) && status.timeline.undo_accepted_at.is_some()
                })
            })
        })
        .await;
    world.kill().await;
    end_holds(world.api.client(), ending(&world, None)).await.unwrap();
    assert!(world.rollbacks().iter().all(|one| one.metadata.finalizers.as_ref().is_none_or(Vec::is_empty)));
    assert!(is_clean(&world));
    world.start();
    tool.commits("c4", "v4", true);
    world.until("v4", |world| world.image() == "shop/checkout:v4" && world.is_at_rest()).await;
}
