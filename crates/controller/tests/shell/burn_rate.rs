//! An error budget that burns: from the rollout on, or since before it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use snapback_api::v1alpha1::{PhaseName, VerdictName};

use crate::world::World;

/// Half of the requests fail from then on: the share of errors over a window, as PromQL would have it.
fn share(query: &str, broken: Option<Timestamp>, at: Timestamp) -> f64 {
    let hours = if query.contains("[1h]") { SignedDuration::from_hours(1) } else { SignedDuration::from_mins(5) };
    assert!(query.contains("[1h]") || query.contains("[5m]"), "{query}");
    assert!(query.contains(r#"http_requests_total{namespace="shop",code=~"5.."}"#), "{query}");
    let failing = broken.map_or(0.0, |broken| at.duration_since(broken).as_secs_f64().max(0.0));
    0.5 * (failing / hours.as_secs_f64()).min(1.0)
}

/// v2 is rolled out over a known good v1; the faults begin so long after that.
async fn released(faults_after: SignedDuration) -> World {
    let mut world = World::without_operator();
    let first = world.sets().remove(0);
    let api = world.api.clone();
    let is_v2 = move || {
        api.objects("replicasets", crate::world::NAMESPACE)
            .into_iter()
            .find(|set| set["metadata"]["name"] != first.as_str())
    };
    world
        .ask_at(Arc::new(move |query: &str, at| {
            let released =
                is_v2().map(|set| set["metadata"]["creationTimestamp"].as_str().unwrap().parse::<Timestamp>().unwrap());
            Some(share(query, released.map(|released| released + faults_after), at))
        }))
        .await;
    let requests = |more: &str| {
        format!("sum(rate(http_requests_total{{namespace=\"{{{{ namespace }}}}\"{more}}}[{{{{ window }}}}]))")
    };
    world.policy(&json!({
        "soak": {"duration": "10m", "interval": "30s"},
        "checks": [{"name": "slo", "severity": "Critical", "burnRate": {
            "objective": "99.9%", "errors": requests(",code=~\"5..\""), "total": requests("")
        }}]
    }));
    world.start();
    world.until("v1 known good", |world| world.target().is_some_and(|target| target.known_good.is_some())).await;
    world.deploy("v2", true);
    world
}

#[tokio::test(start_paused = true)]
async fn a_release_that_burns_the_budget_is_undone() {
    let world = released(SignedDuration::from_secs(10)).await;
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    let rollback = world.rollbacks().remove(0);
    let evidence = &rollback.spec.evidence[0];
    assert_eq!((evidence.verdict, evidence.limit.as_deref()), (VerdictName::Breached, Some("14.4")));
    assert!(evidence.message.contains("over 5m and 1h"), "{}", evidence.message);
    assert!(evidence.message.ends_with("; before the rollout at most 0"), "{}", evidence.message);
    let query = evidence.query.clone().unwrap();
    assert!(query.starts_with("1h: (sum(") && query.contains("\n5m: (sum("), "{query}");
    world.at_rest("the undo").await;
    world.was_undone_once("a burning budget");
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_burned_before_the_rollout_is_not_the_releases() {
    let world = released(SignedDuration::from_mins(-9)).await;
    let is_held = |world: &World| {
        world.target().is_some_and(|target| target.phase == PhaseName::Held && target.reason == "NotCausedByRelease")
    };
    world.until("held", is_held).await;
    assert!(world.target().unwrap().message.contains("not caused by this release"), "{:?}", world.target());
    assert!(world.rollbacks().is_empty());
}
