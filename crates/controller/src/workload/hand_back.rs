//! Giving the fields of an undone template back to those who applied them.

use json_patch::{Patch as Operations, PatchOperation, ReplaceOperation, TestOperation, jsonptr::PointerBuf};
use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::Value;
use snapback_core::fingerprint::Fingerprint;
use snapback_core::ownership::{LAST_APPLIED, Owner, handed_back, last_applied};
use snapback_core::workload::Kind;

use super::observe::REQUEST_TIMEOUT;
use crate::FIELD_MANAGER;

/// How often a lost race is run again at once: the status of a workload changes often while it rolls out.
const TRIES: usize = 8;

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandedBack {
    /// Nothing of ours is left on the template.
    Done,
    /// Not now; the next look tries again.
    NotYet(String),
}

/// Gives the fields back, provided that the live template is still the one that we put there.
///
/// The precondition is the resource version, by a `replace` of it: a race is a 409, and is run again on a fresh read.
pub async fn hand_back(
    client: &Client,
    namespace: &str,
    (kind, name): (Kind, &str),
    uid: &str,
    good: &Fingerprint,
    former: &[Owner],
) -> HandedBack {
    let workloads = super::raw_api(client, namespace, kind);
    let mut lost = String::new();
    for _ in 0..TRIES {
        let live = match tokio::time::timeout(REQUEST_TIMEOUT, workloads.get(name)).await {
            Ok(Ok(live)) => serde_json::to_value(live).unwrap_or_default(),
            Ok(Err(error)) => return HandedBack::NotYet(crate::error::report(&error)),
            Err(_) => return HandedBack::NotYet(format!("no answer within {REQUEST_TIMEOUT:?}")),
        };
        let template = &live["spec"]["template"];
        if live["metadata"]["uid"] != uid || Fingerprint::of_template(template) != *good {
            return HandedBack::NotYet("the template is not the one that was put back".to_owned());
        }
        let Some((manager, operations)) = operations(&live, former) else { return HandedBack::Done };
        let params = PatchParams { field_manager: Some(manager), ..PatchParams::default() };
        let patch = Patch::Json::<()>(Operations(operations));
        match tokio::time::timeout(REQUEST_TIMEOUT, workloads.patch(name, &params, &patch)).await {
            Ok(Ok(_)) => return HandedBack::Done,
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => lost.clone_from(&status.message),
            Ok(Err(error)) => return HandedBack::NotYet(crate::error::report(&error)),
            Err(_) => return HandedBack::NotYet(format!("no answer within {REQUEST_TIMEOUT:?}")),
        }
    }
    HandedBack::NotYet(format!("{TRIES} tries lost a race: {lost}"))
}

/// The patch, and the name under which it is sent; `None` when nothing of ours is left.
fn operations(live: &Value, former: &[Owner]) -> Option<(String, Vec<PatchOperation>)> {
    let managed = live.pointer("/metadata/managedFields").and_then(Value::as_array)?;
    let next = handed_back(managed, FIELD_MANAGER, former)?;
    let at = |tokens: &[&str]| PointerBuf::from_tokens(tokens.iter().copied());
    let replace = |path: &[&str], value: Value| PatchOperation::Replace(ReplaceOperation { path: at(path), value });
    let version = live["metadata"]["resourceVersion"].clone();
    let mut operations = vec![
        PatchOperation::Test(TestOperation { path: at(&["metadata", "uid"]), value: live["metadata"]["uid"].clone() }),
        replace(&["metadata", "resourceVersion"], version),
        replace(&["metadata", "managedFields"], Value::Array(next)),
    ];
    // The annotation is changed in the name of its owner, or it would become ours. One that is applied server-side is
    // nobody's record of anything.
    let owner = annotation_owner(managed);
    let annotation = live["metadata"]["annotations"][LAST_APPLIED].as_str();
    let truth = annotation.and_then(|annotation| last_applied(annotation, &live["spec"]["template"]));
    let mut manager = FIELD_MANAGER.to_owned();
    if let (Some(owner), Some(truth)) = (owner, truth) {
        operations.push(replace(&["metadata", "annotations", LAST_APPLIED], Value::String(truth)));
        manager = owner;
    }
    Some((manager, operations))
}

fn annotation_owner(managed: &[Value]) -> Option<String> {
    let key = format!("f:{LAST_APPLIED}");
    let owns = |entry: &&Value| {
        entry["operation"] == "Update" && !entry["fieldsV1"]["f:metadata"]["f:annotations"][&key].is_null()
    };
    managed.iter().find(owns)?["manager"].as_str().map(str::to_owned)
}
