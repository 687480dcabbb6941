//! A window of measurements is counted once, however often it is looked at, and by whom.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use crate::world::{NAMESPACE, World};

/// What is judged for each window of ten seconds is bad five times in a row before it is a breach.
async fn released() -> World {
    let mut world = World::without_operator();
    let released = Arc::new(AtomicI64::new(i64::MAX));
    let told = Arc::clone(&released);
    let answer =
        move |_: &str, at: Timestamp| Some(if at.as_second() > told.load(Ordering::Relaxed) { 2.0 } else { 0.0 });
    world.ask_at(Arc::new(answer)).await;
    world.policy(&json!({
        "soak": {"duration": "5m", "interval": "10s"},
        "analysis": {"method": "Consecutive", "failures": 5},
        "checks": [{"name": "own", "query": {"promql": "sum(orders_failed{namespace=\"{{ namespace }}\"})", "max": "1"}}]
    }));
    world.start();
    world.until("v1 known good", |world| world.target().is_some_and(|target| target.known_good.is_some())).await;
    released.store(world.now().as_second(), Ordering::Relaxed);
    world.deploy("v2", true);
    world
}

fn has_counted(world: &World) -> bool {
    world
        .target()
        .is_some_and(|target| target.checks.iter().any(|check| check.message.ends_with("of 5 windows in a row")))
}

#[tokio::test(start_paused = true)]
async fn a_bad_window_is_counted_once_by_each_process() {
    let mut world = released().await;
    world.until("a bad window", has_counted).await;
    // The next process looks at the same windows once more.
    world.kill().await;
    world.start();
    world.until("the decision", |world| !world.rollbacks().is_empty()).await;
    let record = world.rollbacks().remove(0);
    let told = &record.spec.evidence[0].message;
    assert!(told.ends_with(" windows in a row"), "{told}");
    world.at_rest("the rollback").await;
    world.keeps_the_invariants("over two lives");

    // Who counts looks instead has more of them than there were windows.
    let again = World::without_operator();
    again.deploy("v2", true);
    tokio::time::advance(Duration::from_secs(25)).await;
    let mut counted = serde_json::to_value(&record).unwrap();
    counted["metadata"] = json!({"name": "counted", "namespace": NAMESPACE});
    counted["spec"]["evidence"][0]["message"] = json!("2 against a limit of 1, 4 windows in a row");
    again.api.apply("snapback.dev/v1alpha1", "rollbacks", &counted);
    let broken = again.broken(None, false);
    assert!(broken.iter().any(|told| told.contains("4 bad windows, but there were 3")), "{broken:#?}");
}
