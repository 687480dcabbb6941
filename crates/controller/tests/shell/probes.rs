//! What the pods answer after an undo decides how it ends. In real time: held time would jump over real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use serde_json::{Value, json};
use snapback_api::v1alpha1::{Rollback, RollbackPhase};

use crate::world::World;

/// A bad v2 is undone while the pods (all have the address of this machine) answer with this code on a port. Gives the
/// world, the record when it has ended, what the policy said, and how often the pods were asked.
async fn undone_while_pods_answer(code: StatusCode) -> (World, Rollback, Value, usize) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let app = Router::new().fallback(move || {
        count.fetch_add(1, Ordering::Relaxed);
        async move { code }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = json!([{"path": "/healthz", "port": listener.local_addr().unwrap().port()}]);
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });

    let world = World::adopted().await;
    world.policy(&json!({"rollback": {"deadline": "2m", "verify": {"duration": "1s", "http": http}}}));
    let is_known = |world: &World| {
        let policy = world.policy_now().unwrap();
        policy.status.unwrap().observed_generation == policy.metadata.generation
    };
    world.until("the probes known", is_known).await;
    // Once before: would it work?
    assert!(asked.swap(0, Ordering::Relaxed) > 0);
    world.deploy("v2", false);
    let ended = world.until("the end", |world| {
        let status = world.rollbacks().into_iter().next().and_then(|rollback| rollback.status);
        status.is_some_and(|status| status.timeline.ended_at.is_some())
    });
    tokio::time::timeout(Duration::from_mins(1), ended).await.unwrap();
    let rollback = world.rollbacks().remove(0);
    let times = asked.load(Ordering::Relaxed);
    (world, rollback, http, times)
}

#[tokio::test]
async fn an_undo_whose_pods_answer_well_is_verified_by_what_its_record_says() {
    let (world, rollback, http, times) = undone_while_pods_answer(StatusCode::NO_CONTENT).await;
    assert_eq!(serde_json::to_value(&rollback.verify().http).unwrap(), http);
    assert!(times >= 3 && times.is_multiple_of(3), "each of three pods at each look, but {times}");
    let status = rollback.status.unwrap();
    assert_eq!((status.phase, status.reason.as_str()), (Some(RollbackPhase::Succeeded), "Verified"));
    assert!(status.message.ends_with("and its pods answer their probes"), "{}", status.message);
    world.at_rest("the rollback").await;
    world.was_undone_once("with probes");
}

#[tokio::test]
async fn an_undo_whose_pods_answer_badly_calls_a_person_and_names_the_first_pod() {
    let (world, rollback, http, _) = undone_while_pods_answer(StatusCode::SERVICE_UNAVAILABLE).await;
    let status = rollback.status.unwrap();
    assert_eq!((status.phase, status.reason.as_str()), (Some(RollbackPhase::Escalated), "NotCured"));
    let mut pods: Vec<String> = world.api.objects("pods", crate::world::NAMESPACE).iter().map(name).collect();
    pods.sort();
    let words = format!("GET :{}/healthz of pod {} answered 503", http[0]["port"], pods[0]);
    assert!(status.message.contains(&words), "{} does not contain {words}", status.message);
    assert_eq!(world.image(), "shop/checkout:v1", "and nothing is undone a second time");
}

fn name(pod: &Value) -> String {
    pod["metadata"]["name"].as_str().unwrap().to_owned()
}
