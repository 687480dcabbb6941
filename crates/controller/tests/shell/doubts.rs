//! A check that probably does not say what is meant: told, and judged as it is written.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::json;

use crate::world::World;

fn doubts(world: &World) -> Option<Condition> {
    world.policy_now()?.status?.conditions.into_iter().find(|one| one.type_ == "ChecksDoubtful")
}

#[tokio::test(start_paused = true)]
async fn a_doubtful_check_is_told_with_the_fix_until_it_is_mended_and_stops_nothing() {
    let world = World::adopted().await;
    assert!(doubts(&world).is_none(), "nothing is wrong with it");
    let own = |promql: &str| {
        let own = json!({"name": "own", "severity": "Warning", "query": {"promql": promql, "max": "1"}});
        json!({"checks": [{"name": "crashes", "crashRate": {"max": "50%"}}, own]})
    };
    world.policy(&own("sum(orders_total)"));
    world.until("the doubt", |world| doubts(world).is_some()).await;
    let told = doubts(&world).unwrap();
    assert_eq!((told.status.as_str(), told.reason.as_str()), ("True", "NamespaceIgnored"));
    for part in ["spec.checks[1].query.promql: ", r#"add namespace="{{ namespace }}""#, "(CounterAsGauge)"] {
        assert!(told.message.contains(part), "{part:?} is not in {:?}", told.message);
    }

    world.deploy("v2", false);
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    world.at_rest("the rollback").await;
    world.was_undone_once("with a doubtful check");

    world.policy(&own(r#"sum(rate(orders_total{namespace="{{ namespace }}"}[1m]))"#));
    world.until("no doubt", |world| doubts(world).is_none()).await;
}
