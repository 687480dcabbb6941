//! kstatus: what `flux ... wait`, `helm install --wait` and `kustomize-controller` wait for.

use serde_json::Value;

use crate::{KINDS, ask, stories};

/// What each story comes to. A new one needs a line here.
const KSTATUS: [(&str, &str, &str); 26] = [
    ("Rollback", "awaiting-approval", "InProgress"),
    ("Rollback", "created", "InProgress"),
    ("Rollback", "escalated", "Failed"),
    ("Rollback", "failed", "Failed"),
    ("Rollback", "not-found", "Failed"),
    ("Rollback", "rejected", "Failed"),
    ("Rollback", "released", "Current"),
    ("Rollback", "running", "InProgress"),
    ("Rollback", "succeeded", "Current"),
    ("Rollback", "superseded", "Failed"),
    ("Rollback", "verifying", "InProgress"),
    ("RollbackPolicy", "at-rest", "Current"),
    ("RollbackPolicy", "awaiting-approval", "Current"),
    ("RollbackPolicy", "contended", "Failed"),
    ("RollbackPolicy", "created", "InProgress"),
    ("RollbackPolicy", "escalated", "Failed"),
    ("RollbackPolicy", "held", "Failed"),
    ("RollbackPolicy", "invalid", "Failed"),
    ("RollbackPolicy", "known-good", "Current"),
    ("RollbackPolicy", "overridden", "Failed"),
    ("RollbackPolicy", "rolled-back", "Current"),
    ("RollbackPolicy", "rolling-back", "Current"),
    ("RollbackPolicy", "soaking", "Current"),
    ("RollbackPolicy", "source-down", "Current"),
    ("RollbackPolicy", "suspended", "Current"),
    ("RollbackPolicy", "target-missing", "InProgress"),
];

#[test]
fn kstatus_reads_each_story_as_it_is_meant() {
    let mut computed = Vec::new();
    for kind in KINDS {
        let (names, objects): (Vec<String>, Vec<Value>) = stories(kind).into_iter().unzip();
        for ((name, object), result) in names.iter().zip(&objects).zip(ask("kstatus", &objects)) {
            let status = result["status"].as_str().unwrap().to_owned();
            // What a tool shows to those who wait is what we say.
            let said = ["Stalled", "Reconciling"].map(|type_| condition(object, type_));
            if let Some(said) = said.into_iter().flatten().next() {
                assert_eq!(result["message"], said["message"], "{kind} {name}");
            }
            computed.push((kind, name.clone(), status));
        }
    }
    let computed: Vec<(&str, &str, &str)> =
        computed.iter().map(|(kind, name, status)| (*kind, name.as_str(), status.as_str())).collect();
    assert_eq!(computed, KSTATUS);
}

/// A condition that is True.
fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|one| one["type"] == type_ && one["status"] == "True")
}
