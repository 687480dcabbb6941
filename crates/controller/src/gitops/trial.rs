//! The labels of holds on a workload, and the trials in which a tool is let at it.

use json_patch::{
    AddOperation, Patch as Operations, PatchOperation, RemoveOperation, TestOperation, jsonptr::PointerBuf,
};
use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use snapback_core::gitops::{DISABLED, Hold, HoldAct, TRIAL, Trial};
use snapback_core::workload::Kind;

use crate::FIELD_MANAGER;
use crate::error::Error;
use crate::workload::Live;

const PAUSED: [&str; 2] = ["spec", "paused"];

/// What puts the label of a hold on, as a part of the undo's own patch: nobody ever sees the one without the other.
pub fn labels(hold: Option<&Hold>) -> Vec<PatchOperation> {
    let label = hold.filter(|hold| hold.is_open()).and_then(Hold::label);
    label.map(|label| add(&["metadata", "labels", label], json!(DISABLED))).into_iter().collect()
}

/// Carries out an act on the workload in one patch, provided that it is what `live` read. `good` is the template that a bad
/// revision is replaced with.
///
/// # Errors
/// [`Error::Conflict`] when it is not what was read any more; and the API server's.
pub async fn change(
    client: &Client,
    namespace: &str,
    live: &Live,
    hold: &Hold,
    act: HoldAct,
    good: Option<Value>,
) -> Result<(), Error> {
    let operations = operations(live, hold, act, good);
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let workloads = crate::workload::raw_api(client, namespace, live.workload.kind);
    let patch = Patch::Json::<()>(Operations(operations));
    let sent = crate::timed("the hold of the workload", workloads.patch(&live.workload.name, &params, &patch)).await;
    match sent {
        Err(Error::Write { source, .. }) if is_outdated(&source) => Err(Error::Conflict("the workload")),
        other => other.map(drop),
    }
}

fn operations(live: &Live, hold: &Hold, act: HoldAct, good: Option<Value>) -> Vec<PatchOperation> {
    let workload = &live.workload;
    let label = hold.label().unwrap_or_default();
    let label = ["metadata", "labels", label];
    let trial = ["metadata", "labels", TRIAL];
    let mut operations = vec![
        test(&["metadata", "uid"], json!(workload.uid.as_str())),
        test(&["metadata", "generation"], json!(workload.generation)),
        test(&["spec", "template"], live.template.clone()),
    ];
    match act {
        HoldAct::Nothing | HoldAct::Heal => {}
        HoldAct::Unlabel => operations.extend([test(&label, json!(DISABLED)), remove(&label)]),
        HoldAct::Try => {
            // Only a Deployment can be paused, and a pause that is there is somebody else's.
            let guarded = workload.kind == Kind::Deployment && !workload.paused;
            let kind = if guarded { Trial::Paused } else { Trial::Open };
            operations.extend([test(&label, json!(DISABLED)), remove(&label), add(&trial, json!(kind.as_str()))]);
            if guarded {
                operations.push(add(&PAUSED, json!(true)));
            }
        }
        HoldAct::Let | HoldAct::Relabel | HoldAct::UndoAgain => {
            operations.push(remove(&trial));
            if workload.delivery.trial == Some(Trial::Paused) && workload.paused {
                operations.push(remove(&PAUSED));
            }
            if act != HoldAct::Let {
                operations.push(add(&label, json!(DISABLED)));
            }
            if let Some(good) = good.filter(|_| act == HoldAct::UndoAgain) {
                operations.push(add(&["spec", "template"], good));
            }
        }
    }
    operations
}

/// A failed `test` is a 422 without causes.
fn is_outdated(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    status.code == 404 || status.code == 422 && status.message.contains("rejected our request")
}

fn at(path: &[&str]) -> PointerBuf {
    PointerBuf::from_tokens(path.iter().copied())
}

fn test(path: &[&str], value: Value) -> PatchOperation {
    PatchOperation::Test(TestOperation { path: at(path), value })
}

/// Of what is there already, `add` makes what is given.
fn add(path: &[&str], value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation { path: at(path), value })
}

fn remove(path: &[&str]) -> PatchOperation {
    PatchOperation::Remove(RemoveOperation { path: at(path) })
}
