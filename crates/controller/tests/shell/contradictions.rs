//! The search for statuses that contradict themselves finds them.

use serde_json::{Value, json};

use crate::world::{NAMESPACE, World};

#[tokio::test(start_paused = true)]
async fn a_status_that_contradicts_itself_is_found_and_so_is_one_that_cannot_be_read() {
    let told = |conditions: Value| {
        let world = World::without_operator();
        let policy = json!({
            "metadata": {"name": "seeded", "namespace": NAMESPACE}, "spec": {}, "status": {"conditions": conditions}
        });
        world.api.apply("snapback.dev/v1alpha1", "rollbackpolicies", &policy);
        world.api.report("snapback.dev/v1alpha1", "rollbackpolicies", &policy);
        world.broken(None, true)
    };
    let condition = |type_: &str| {
        json!({
            "type": type_, "status": "True", "reason": "Seeded", "message": "", "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z"
        })
    };
    assert_eq!(told(json!([condition("Ready")])), [""; 0]);
    let both = told(json!([condition("Ready"), condition("Stalled")]));
    assert!(both.iter().any(|told| told.contains("Ready and Stalled are both True")), "{both:#?}");
    let unread = told(json!([{"type": "Ready"}]));
    assert!(unread.iter().any(|told| told.contains("cannot be read")), "{unread:#?}");
}
