//! The process dies before or after any of its writes, and starts again with empty caches.

use snapback_fake_api::{Call, Fault};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::chance::sample;
use crate::pairs::{Release, SIDES, dies_once, dies_twice, is_write};
use crate::world::World;

/// Pairs that each run tries, of each release; `make faults` tries all.
const PAIRS: usize = 16;

#[tokio::test(start_paused = true)]
async fn a_bad_release_is_undone_once_and_verified() {
    let world = World::adopted().await;
    world.deploy("v2", false);
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    world.at_rest("the rollback").await;
    world.was_undone_once("without any fault");
}

#[tokio::test(start_paused = true)]
async fn the_outcome_is_the_same_wherever_the_process_dies() {
    die_everywhere(&json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn a_fast_undo_puts_the_surge_back_wherever_the_process_dies() {
    let fast = json!({"rollback": {"speed": "Fast", "verify": {"duration": "3s"}}});
    let world = World::adopted().await;
    world.policy(&fast);
    world.deploy("v2", false);
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    world.at_rest("the rollback").await;
    world.was_undone_once("fast");
    let status = world.rollbacks()[0].status.clone().unwrap();
    assert_eq!(status.original_max_surge.as_deref(), Some("1"), "it was not raised");
    assert!(status.timeline.surge_restored_at.is_some());
    die_everywhere(&fast).await;
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_is_undone_again_wherever_the_process_dies() {
    let release = async || {
        let world = World::adopted().await;
        world.deploy("v2", false);
        world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
        world.at_rest("the first rollback").await;
        world
    };
    die_everywhere_after(release, 2).await;
}

#[tokio::test(start_paused = true)]
async fn with_all_that_goes_with_an_undo_the_outcome_is_the_same_wherever_the_process_dies() {
    for index in 0..writes(Release::Everything).await {
        for side in SIDES {
            dies_once(Release::Everything, (index, side)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_dies_again_after_its_start_undoes_once() {
    die_twice(Release::Plain).await;
}

#[tokio::test(start_paused = true)]
async fn with_all_that_goes_with_an_undo_a_process_that_dies_again_does_each_of_it_once() {
    die_twice(Release::Everything).await;
}

/// A sample of all the pairs.
async fn die_twice(release: Release) {
    let writes = writes(release).await;
    let mut met = 0;
    for one in sample(&format!("{release:?}"), 4 * writes * writes, PAIRS) {
        let (sides, index) = (one % 4, one / 4);
        let first = (index % writes, SIDES[sides % 2]);
        let second = (index / writes, SIDES[sides / 2]);
        met += usize::from(dies_twice(release, first, second).await);
    }
    assert!(met >= PAIRS / 3, "only {met} of {PAIRS} processes died again");
}

/// How many writes a rollback takes.
async fn writes(release: Release) -> usize {
    release.requests().await.iter().filter(|call| is_write(call)).count()
}

/// The process dies before and after each of its writes, under this policy.
async fn die_everywhere(policy: &Value) {
    let adopt = async || {
        let world = World::adopted().await;
        world.policy(policy);
        world
    };
    die_everywhere_after(adopt, 1).await;
}

/// The process dies before and after each of its writes on a bad v2, in a world that is made anew for each; v2 is then
/// undone for the `times`-th time.
pub(crate) async fn die_everywhere_after(make: impl AsyncFn() -> World, times: usize) {
    let world = make().await;
    let before = world.api.calls().len();
    world.deploy("v2", false);
    world.until("a Rollback", |world| world.rollbacks().len() == times).await;
    world.at_rest("the rollback").await;
    let writes: Vec<String> =
        world.api.calls().iter().skip(before).filter(|call| is_write(call)).map(Call::title).collect();
    assert!(writes.len() >= 6, "{writes:?}");
    for kind in ["Create rollbacks", "Patch deployments", "Update rollbacks/status", "Update rollbackpolicies/status"] {
        assert!(writes.iter().any(|write| write == kind), "no {kind} in {writes:?}");
    }
    for (index, title) in writes.iter().enumerate() {
        for fault in [Fault::DiesBefore, Fault::DiesAfter] {
            let what = format!("{fault:?} write {index}, {title}");
            let mut world = make().await;
            let count = Arc::new(AtomicUsize::new(0));
            world.api.fault(move |call| is_write(call) && count.fetch_add(1, Ordering::Relaxed) == index, fault);
            world.deploy("v2", false);
            world.until(&what, |world| world.api.faults_left() == 0).await;
            world.kill().await;
            world.start();
            world.until(&what, |world| world.rollbacks().len() == times).await;
            world.at_rest(&what).await;
            world.was_undone(times, &what);
            world.settle().await;
            world.was_told(&what);
            world.kill().await;
        }
    }
}
