//! Events: what is told again, and how much is remembered for that.

use k8s_openapi::api::core::v1::ObjectReference;
use serde_json::Value;
use snapback_controller::announce::{Announcer, REMEMBERED};
use snapback_core::notice::{Notice, Reason};

use crate::world::{NAMESPACE, World};

fn target(name: &str) -> [ObjectReference; 1] {
    [ObjectReference {
        api_version: Some("apps/v1".to_owned()),
        kind: Some("Deployment".to_owned()),
        namespace: Some(NAMESPACE.to_owned()),
        name: Some(name.to_owned()),
        ..ObjectReference::default()
    }]
}

/// How often each Event about this object was told.
fn told(world: &World, name: &str) -> Vec<i64> {
    let events = world.api.objects("events", NAMESPACE);
    let of_it = events.iter().filter(|event| event["regarding"]["name"] == name);
    of_it.map(|event| event["series"].get("count").and_then(Value::as_i64).unwrap_or(1)).collect()
}

#[tokio::test]
async fn what_is_told_again_is_counted_until_many_others_were_told() {
    let world = World::without_operator();
    let announcer = Announcer::new(world.api.client(), None);
    let notice = [Notice::new(Reason::Held, "it is so")];
    announcer.tell(&notice, &target("checkout")).await;
    announcer.tell(&notice, &target("checkout")).await;
    assert_eq!(told(&world, "checkout"), [2]);
    for index in 2..REMEMBERED {
        announcer.tell(&notice, &target(&format!("other-{index}"))).await;
    }
    announcer.tell(&notice, &target("checkout")).await;
    assert_eq!(told(&world, "checkout"), [2, 1], "it was forgotten meanwhile");
}
