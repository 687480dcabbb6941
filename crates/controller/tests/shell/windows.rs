//! Whether we may act alone depends on the time.

use std::time::Duration;

use serde_json::{Value, json};
use snapback_api::v1alpha1::{Rollback, RollbackPhase};

use crate::world::World;

/// The stories begin at 03:04 on 2 January 2026.
fn nights(kind: &str) -> Value {
    json!({"windows": [{"name": "nights", "kind": kind, "schedule": "0 22 * * *", "duration": "8h", "timeZone": "Europe/Berlin"}]})
}

fn phase(rollback: &Rollback) -> Option<RollbackPhase> {
    rollback.status.as_ref().and_then(|status| status.phase)
}

#[tokio::test(start_paused = true)]
async fn within_a_window_that_denies_a_bad_release_waits_for_a_person() {
    let world = World::adopted().await;
    world.policy(&nights("Deny"));
    world.deploy("v2", false);
    let asks = |world: &World| world.rollbacks().first().and_then(phase) == Some(RollbackPhase::AwaitingApproval);
    world.until("the question", asks).await;
    let mirrored = |world: &World| world.target().is_some_and(|target| target.reason == "AwaitingApproval");
    world.until("the question in the policy", mirrored).await;

    let asked = world.rollbacks().remove(0);
    let why = "the window \"nights\" denies automatic rollbacks until 2026-01-02 06:00 Europe/Berlin";
    assert_eq!((asked.spec.require_approval, asked.spec.approval_reason.as_deref()), (Some(true), Some(why)));
    let message = world.target().unwrap().message;
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(world.image(), "shop/checkout:v2", "it was undone before the yes");
    assert_eq!(world.target().unwrap().message, message, "the message changes while nothing does");

    world.approve(&asked);
    world.at_rest("the rollback").await;
    world.was_undone_once("after the yes");
}

#[tokio::test(start_paused = true)]
async fn within_a_window_that_allows_a_bad_release_is_undone_alone() {
    let world = World::adopted().await;
    world.policy(&nights("Allow"));
    world.deploy("v2", false);
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    world.at_rest("the rollback").await;
    world.was_undone_once("within the window");
    assert_eq!(world.rollbacks()[0].spec.require_approval, None);
}
