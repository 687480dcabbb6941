//! What is told of a rollback before anybody needs one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use serde_json::{Value, json};
use snapback_api::v1alpha1::{PhaseName, ReadinessStatus};
use snapback_fake_api::{Call, Fault, Verb};

use crate::world::{NAMESPACE, World, deployment};

/// What is told, and what the condition of the policy says of it.
fn told(world: &World) -> Option<ReadinessStatus> {
    let readiness = world.target()?.readiness?;
    let conditions = world.policy_now()?.status?.conditions;
    let condition = conditions.iter().find(|one| one.type_ == "RollbackReady")?;
    assert_eq!((condition.status == "True", condition.reason.as_str()), (readiness.ready, readiness.reason.as_str()));
    Some(readiness)
}

async fn until_told(world: &World, reason: &str) -> String {
    world.until(reason, |world| told(world).is_some_and(|readiness| readiness.reason == reason)).await;
    let readiness = told(world).unwrap();
    assert_eq!(readiness.ready, reason == "KnownGood");
    readiness.message
}

fn is_dry_run(call: &Call) -> bool {
    call.dry_run && call.verb == Verb::Patch
}

/// Two of the three pods of v1 come to crash-loop, or to be well again.
fn old_pods(world: &World, well: bool) {
    let pods = world.api.objects("pods", NAMESPACE);
    let old = pods.into_iter().filter(|pod| pod["spec"]["containers"][0]["image"] == "shop/checkout:v1");
    for mut pod in old.take(2) {
        let state = if well { json!({"running": {}}) } else { json!({"waiting": {"reason": "CrashLoopBackOff"}}) };
        pod["status"]["containerStatuses"][0]["state"] = state;
        pod["status"]["containerStatuses"][0]["restartCount"] = json!(if well { 0 } else { 4 });
        world.api.report("v1", "pods", &pod);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_undone_into_a_known_good_revision_that_fails_too() {
    let world = World::adopted().await;
    world.deploy("v2", false);
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    world.at_rest("the rollback").await;
    old_pods(&world, false);
    // It would be undone without waiting for metrics.
    world.deploy("v2", false);
    let message = until_told(&world, "KnownGoodFails").await;
    assert!(message.contains("2 of its 3 pods") && message.contains("(CrashLoop)"), "{message}");
    let target = world.target().unwrap();
    assert_eq!((target.phase, target.reason.as_str()), (PhaseName::Held, "KnownGoodFails"));
    world.settle().await;
    assert_eq!(world.rollbacks().len(), 1, "it was undone into an outage");
    old_pods(&world, true);
    world.until("the second rollback", |world| world.rollbacks().len() == 2).await;
    world.at_rest("the second rollback").await;
    world.was_undone(2, "once the old pods were well");
    until_told(&world, "KnownGood").await;
}

/// v1 known good with this `revisionHistoryLimit`, while so many copies of it cannot be made.
fn without_a_copy(limit: i64, failures: usize) -> World {
    let mut world = World::without_operator();
    set_history(&world, limit);
    for _ in 0..failures {
        let copies = |call: &Call| call.verb == Verb::Create && call.resource == "controllerrevisions";
        world.api.fault(copies, Fault::Status(403));
    }
    world.start();
    world
}

fn set_history(world: &World, limit: i64) {
    let mut v1 = deployment("v1", true);
    v1["spec"]["revisionHistoryLimit"] = json!(limit);
    world.api.apply("apps/v1", "deployments", &v1);
}

#[tokio::test(start_paused = true)]
async fn a_template_that_kubernetes_is_about_to_delete_is_told_before_it_does() {
    let world = without_a_copy(0, 1000);
    let message = until_told(&world, "HistoryTooShort").await;
    for part in ["revisionHistoryLimit to at least 1", "create ControllerRevisions", "an injected fault"] {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    set_history(&world, 1);
    until_told(&world, "KnownGood").await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_can_be_made_later_ends_it_at_rest() {
    let world = without_a_copy(0, 3);
    until_told(&world, "HistoryTooShort").await;
    until_told(&world, "KnownGood").await;
    assert!(!world.target().unwrap().known_good.unwrap().snapshot.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_at_rest_is_looked_for_until_it_is_there_and_then_nothing_is_asked_any_more() {
    let mut world = World::without_operator();
    let mut v1 = deployment("v1", true);
    v1["spec"]["template"]["spec"]["volumes"] = json!([{"name": "settings", "configMap": {"name": "settings-v1"}}]);
    world.api.apply("apps/v1", "deployments", &v1);
    world.start();
    let message = until_told(&world, "ReferenceMissing").await;
    assert!(message.contains("ConfigMap settings-v1"), "{message}");
    world.config_map("settings-v1");
    until_told(&world, "KnownGood").await;
    world.settle().await;
    let before = world.api.calls().len();
    for _ in 0..15 {
        world.settle().await;
    }
    let calls = world.api.calls();
    let asked: Vec<String> =
        calls.iter().skip(before).filter(|call| call.verb != Verb::Watch).map(Call::title).collect();
    assert!(asked.is_empty(), "an idle target costs no request: {asked:?}");
}

fn by_helm(job: &str) -> Value {
    json!({"rollback": {"deadline": "2m", "verify": {"duration": "3s"}, "helm": {"job": job}}})
}

#[tokio::test(start_paused = true)]
async fn a_helm_job_that_cannot_be_made_is_told_where_helm_3_is_there() {
    let world = World::adopted().await.by_helm();
    world.policy(&by_helm("helm"));
    // By its next release the template is Helm's.
    world.deploy("v2", true);
    let message = until_told(&world, "HelmJobNotReady").await;
    assert!(message.contains("an undo would work") && message.contains("no CronJob or Job helm"), "{message}");
    world.cron_job("helm", None);
    until_told(&world, "KnownGood").await;
    assert!(world.jobs().is_empty(), "a Job was made to try it");
    // Another name is tried anew.
    world.policy(&by_helm("other"));
    until_told(&world, "HelmJobNotReady").await;

    let world = World::adopted().await;
    world.policy(&by_helm("helm"));
    let is_known = |world: &World| {
        let policy = world.policy_now().unwrap();
        policy.status.unwrap().observed_generation == policy.metadata.generation
    };
    world.until("the policy", is_known).await;
    world.settle().await;
    assert!(told(&world).unwrap().ready, "it never runs for what Helm did not apply");
}

/// With a check that no source can answer.
fn blind(on_no_data: &str) -> Value {
    let crashes = json!({"name": "crashes", "crashRate": {"max": "50%"}});
    json!({"onNoData": on_no_data, "checks": [crashes, {"name": "errors", "errorRate": {"max": "5%"}}]})
}

#[tokio::test(start_paused = true)]
async fn checks_without_data_are_told_stop_no_rollback_and_cost_no_requests() {
    let world = World::adopted().await;
    world.policy(&blind("Hold"));
    world.deploy("v2", true);
    let message = until_told(&world, "ChecksHaveNoData").await;
    assert!(message.contains("errors: ") && message.contains("(UnknownSource)"), "{message}");
    assert!(!message.contains("crashes"), "{message}");
    world.until("waiting", |world| world.target().is_some_and(|target| target.reason == "WaitingForData")).await;
    let before = world.api.calls().len();
    world.settle().await;
    let looks: Vec<Call> = world.api.calls().split_off(before);
    let count = |is: fn(&Call) -> bool| looks.iter().filter(|call| is(call)).count();
    assert!(count(|call| call.resource == "deployments" && call.verb == Verb::Get) > 10, "it is judged on");
    assert_eq!(count(is_dry_run), 0, "what was found to work is not tried again and again");

    world.deploy("v3", false);
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    world.at_rest("the rollback").await;
    assert_eq!(world.image(), "shop/checkout:v1");
    world.settle().await;
    assert_eq!(told(&world).unwrap().reason, "ChecksHaveNoData", "the next bad release might not be noticed either");
    // Another spec, another chance.
    world.policy(&json!({}));
    until_told(&world, "KnownGood").await;
}

#[tokio::test(start_paused = true)]
async fn checks_without_data_are_told_before_the_first_release() {
    let mut world = World::without_operator();
    world.policy(&blind("Hold"));
    world.start();
    let message = until_told(&world, "ChecksHaveNoData").await;
    assert!(message.contains("errors: ") && message.contains("(UnknownSource)"), "{message}");
    let target = world.target().unwrap();
    assert_eq!((target.reason.as_str(), target.rollout), ("Adopted", None));
    world.policy(&json!({}));
    until_told(&world, "KnownGood").await;
    world.policy(&blind("Hold"));
    until_told(&world, "ChecksHaveNoData").await;
    world.policy(&blind("Pass"));
    until_told(&world, "KnownGood").await;
}

#[tokio::test(start_paused = true)]
async fn a_metric_that_is_there_at_last_is_found_at_rest() {
    let is_there = Arc::new(AtomicUsize::new(0));
    let (seen, asked) = (Arc::clone(&is_there), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    let mut world = World::without_operator();
    let answer = move |query: &str, _| {
        count.fetch_add(usize::from(query.contains("orders_total")), Ordering::Relaxed);
        (seen.load(Ordering::Relaxed) > 0).then_some(0.5)
    };
    world.ask_at(Arc::new(answer)).await;
    let query = json!({"promql": "sum(orders_total{namespace=\"{{ namespace }}\"})", "max": "1"});
    world.policy(&json!({"checks": [{"name": "own", "query": query}]}));
    world.start();
    let message = until_told(&world, "ChecksHaveNoData").await;
    assert!(message.contains("own: ") && message.contains("(NoSeries)"), "{message}");
    is_there.store(1, Ordering::Relaxed);
    until_told(&world, "KnownGood").await;
    let before = asked.load(Ordering::Relaxed);
    assert!(before > 0);
    world.settle().await;
    assert_eq!(asked.load(Ordering::Relaxed), before, "what has data is not asked about at rest");
}

#[tokio::test(start_paused = true)]
async fn an_author_who_accepts_missing_data_is_not_told_of_it() {
    let world = World::adopted().await;
    world.policy(&blind("Pass"));
    world.deploy("v2", true);
    let is_v2 = |world: &World| {
        world.target().and_then(|target| target.known_good).is_some_and(|good| good.images == ["shop/checkout:v2"])
    };
    world.until("v2 known good", is_v2).await;
    until_told(&world, "KnownGood").await;
    let checks = world.target().unwrap().checks;
    assert!(checks.iter().any(|check| check.reason == "UnknownSource"), "{checks:#?}");
}

/// In real time: held time would jump over real sockets.
#[tokio::test]
async fn a_probe_that_fails_is_told_when_the_revision_becomes_known_good_and_asked_once() {
    let (code, asked) = (Arc::new(AtomicU16::new(503)), Arc::new(AtomicUsize::new(0)));
    let (answer, count) = (Arc::clone(&code), Arc::clone(&asked));
    let app = Router::new().fallback(move || {
        count.fetch_add(1, Ordering::Relaxed);
        let code = answer.load(Ordering::Relaxed);
        async move { StatusCode::from_u16(code).unwrap() }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = json!([{"path": "/healthz", "port": listener.local_addr().unwrap().port()}]);
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let rules = |deadline: &str| {
        json!({
            "soak": {"duration": "1s", "interval": "1s"},
            "rollback": {"deadline": deadline, "verify": {"duration": "1s", "http": http}}
        })
    };

    let story = async {
        let mut world = World::without_operator();
        world.policy(&rules("2m"));
        world.start();
        let message = until_told(&world, "ProbeFails").await;
        assert!(message.contains("/healthz of pod checkout-") && message.contains("answered 503"), "{message}");
        code.store(204, Ordering::Relaxed);
        world.policy(&rules("3m"));
        until_told(&world, "KnownGood").await;
        let before = asked.load(Ordering::Relaxed);
        world.deploy("v2", true);
        let is_v2 = |world: &World| {
            world.target().and_then(|target| target.known_good).is_some_and(|good| good.images == ["shop/checkout:v2"])
        };
        world.until("v2 known good", is_v2).await;
        let times = asked.load(Ordering::Relaxed) - before;
        assert_eq!(times, 1, "one pod, one probe, one try when the soak is over");
    };
    tokio::time::timeout(Duration::from_mins(1), story).await.unwrap();
}
