//! Records that nobody asks about any more.

use serde_json::{Value, json};

use crate::world::{NAMESPACE, World};

/// A record of another time, cut from one that is real.
fn old(world: &World, real: &Value, name: &str, ended: &str) {
    let mut record = real.clone();
    record["metadata"] = json!({"name": name, "namespace": NAMESPACE, "labels": real["metadata"]["labels"]});
    record["status"]["timeline"]["endedAt"] = json!(ended);
    world.api.apply("snapback.dev/v1alpha1", "rollbacks", &record);
    world.api.report("snapback.dev/v1alpha1", "rollbacks", &record);
}

#[tokio::test(start_paused = true)]
async fn records_go_by_number_and_age_and_the_others_stay() {
    let mut world = World::adopted().await;
    world.deploy("v2", false);
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    world.at_rest("the rollback").await;
    let real = world.api.objects("rollbacks", NAMESPACE).remove(0);
    world.kill().await;
    for day in 1..=22 {
        old(&world, &real, &format!("december-{day:02}"), &format!("2025-12-{day:02}T00:00:00Z"));
    }
    old(&world, &real, "ancient", "2025-07-01T00:00:00Z");

    world.start();
    world.until("pruned", |world| world.rollbacks().len() <= 21).await;
    world.settle().await;
    let mut names: Vec<String> = world.rollbacks().into_iter().filter_map(|record| record.metadata.name).collect();
    names.sort();
    let kept = (4..=22).map(|day| format!("december-{day:02}"));
    let mut expected: Vec<String> = kept.chain([real["metadata"]["name"].as_str().unwrap().to_owned()]).collect();
    expected.sort();
    assert_eq!(names, expected);
}
