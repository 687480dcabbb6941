//! Single requests fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use snapback_api::v1alpha1::RollbackPhase;
use snapback_fake_api::{Call, Fault, Verb};
use tokio::time::Instant;

use crate::blind::{self, FAILURES};
use crate::chance::sample;
use crate::matrix::{RELEASE, kinds};
use crate::world::World;

/// Requests at which each run tries each kind of fault; `make faults` tries all.
const TRIES: usize = 3;

fn is_undo(call: &Call) -> bool {
    call.verb == Verb::Patch && call.resource == "deployments" && !call.dry_run
}

const KINDS: [Fault; 6] =
    [Fault::Status(409), Fault::Status(429), Fault::Status(500), Fault::Status(504), Fault::Lost, Fault::AnswerLost];

#[tokio::test(start_paused = true)]
async fn the_outcome_is_the_same_whichever_request_fails() {
    fail_everywhere(World::adopted).await;
}

/// Each request on a bad v2 fails in each way, in a world that is made anew for each.
pub(crate) async fn fail_everywhere(make: impl AsyncFn() -> World) {
    let world = make().await;
    let before = world.api.calls().len();
    world.deploy("v2", false);
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    world.at_rest("the rollback").await;
    let calls: Vec<String> = world.api.calls().iter().skip(before).map(Call::title).collect();
    for (index, title) in calls.iter().enumerate() {
        for fault in KINDS {
            // A refused creation is no conflict of versions: 409 says that the record exists.
            let what = format!("{fault:?} at request {index}, {title}");
            let mut world = make().await;
            let count = Arc::new(AtomicUsize::new(0));
            let is_real = move |call: &Call| {
                let conflicts = fault == Fault::Status(409);
                (!conflicts || matches!(call.verb, Verb::Update)) && count.fetch_add(1, Ordering::Relaxed) == index
            };
            world.api.fault(is_real, fault);
            world.deploy("v2", false);
            world.until(&what, |world| !world.rollbacks().is_empty()).await;
            world.at_rest(&what).await;
            world.was_undone_once(&what);
            world.kill().await;
        }
    }
}

/// Every so many-th kind, at a sample of the requests.
async fn happens_anywhere(share: usize, shares: usize) {
    let requests = RELEASE.requests().await;
    for kind in kinds().into_iter().skip(share).step_by(shares) {
        let count = kind.count(&requests);
        assert!(count > 0, "{}: no request", kind.name);
        for index in sample(kind.name, count, TRIES) {
            kind.happens(index, &requests).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_release_is_undone_once_whatever_goes_wrong_first_part() {
    happens_anywhere(0, 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_bad_release_is_undone_once_whatever_goes_wrong_second_part() {
    happens_anywhere(1, 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_bad_release_is_undone_once_whatever_goes_wrong_third_part() {
    happens_anywhere(2, 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_bad_release_is_undone_once_however_its_metrics_source_fails_for_a_while() {
    let requests = blind::requests(true).await;
    for (name, failure) in FAILURES {
        for index in sample(name, requests, 1) {
            blind::bad_release(name, failure, index).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_good_release_is_never_undone_however_its_metrics_source_fails() {
    let requests = blind::requests(false).await;
    for (name, failure) in FAILURES {
        for index in sample(name, requests, 1) {
            blind::good_release(name, failure, index).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_nobody_answers_holds_nothing_up() {
    let world = World::adopted().await;
    for _ in 0..100 {
        world.api.fault(|call| call.resource == "events", Fault::NoAnswer(Duration::ZERO));
    }
    world.deploy("v2", false);
    let came = Instant::now();
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    world.at_rest("the rollback").await;
    world.was_undone_once("without an answer to any Event");
    assert!(came.elapsed() < Duration::from_mins(3), "{:?}", came.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_first_list_that_nobody_answers_is_asked_for_again() {
    for resource in ["rollbackpolicies", "rollbacks", "deployments", "statefulsets", "pods"] {
        let mut world = World::adopted().await;
        world.kill().await;
        let is_it = move |call: &Call| call.verb == Verb::List && call.resource == resource;
        world.api.fault(is_it, Fault::NoAnswer(Duration::ZERO));
        world.start();
        world.deploy("v2", false);
        let came = Instant::now();
        world.until(resource, |world| world.image() == "shop/checkout:v1").await;
        assert!(came.elapsed() < Duration::from_mins(2), "{resource}: {:?}", came.elapsed());
        world.at_rest(resource).await;
        world.was_undone_once(resource);
    }
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_is_refused_for_a_while_is_done_when_it_is_let_in() {
    let world = World::adopted().await;
    for _ in 0..3 {
        world.api.fault(is_undo, Fault::Status(403));
    }
    world.deploy("v2", false);
    world
        .until("the refusal", |world| {
            let rollbacks = world.rollbacks();
            let status = rollbacks.first().and_then(|rollback| rollback.status.as_ref());
            status.is_some_and(|status| status.reason == "UndoRefused" && status.message.contains("an injected fault"))
        })
        .await;
    world.at_rest("the rollback").await;
    world.was_undone_once("refused three times");
    // The record tells it once, not once for each try.
    let actions: Vec<String> =
        world.rollbacks()[0].status.clone().unwrap().actions.iter().map(|one| one.action.clone()).collect();
    assert_eq!(actions.iter().filter(|action| *action == "UndoRefused").count(), 1, "{actions:?}");
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_is_refused_until_the_deadline_fails_with_the_reason() {
    let world = World::adopted().await;
    for _ in 0..1000 {
        world.api.fault(is_undo, Fault::Status(403));
    }
    world.deploy("v2", false);
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    world.at_rest("the deadline").await;
    assert_eq!(world.image(), "shop/checkout:v2");
    let rollbacks = world.rollbacks();
    let status = rollbacks[0].status.clone().unwrap();
    assert_eq!((status.phase, status.reason.as_str()), (Some(RollbackPhase::Failed), "UndoRefused"));
    assert!(status.message.contains("deadline") && status.message.contains("an injected fault"), "{}", status.message);
}
