//! Freezing a rollout, and letting it go on: the one other change that we make to a workload.

use json_patch::{
    AddOperation, Patch as Operations, PatchOperation, RemoveOperation, ReplaceOperation, TestOperation,
    jsonptr::PointerBuf,
};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use snapback_core::fingerprint::Fingerprint;
use snapback_core::watch::FreezeAct;
use snapback_core::workload::FROZEN;

use super::observe::Live;
use crate::FIELD_MANAGER;
use crate::error::Error;

const PAUSED: [&str; 2] = ["spec", "paused"];
const MARK: [&str; 3] = ["metadata", "annotations", FROZEN];

/// Carries the act out in one patch, provided that the Deployment is the very one that `live` read: pause and mark come
/// and go together.
///
/// A pause begins only at the generation that was judged: neither the template nor anybody's pause has changed since.
/// (A `test` for a field that is absent would fail.) It ends by removing the field, which then belongs to nobody.
///
/// # Errors
/// [`Error::Conflict`] when it is not what was judged any more; and the API server's.
pub async fn freeze(client: &Client, namespace: &str, name: &str, live: &Live, act: FreezeAct) -> Result<(), Error> {
    let workload = &live.workload;
    let mut operations = vec![test(&["metadata", "uid"], json!(workload.uid.as_str()))];
    if act != FreezeAct::Unmark {
        operations.push(test(&["spec", "template"], live.template.clone()));
    }
    match act {
        FreezeAct::Begin => {
            operations.push(test(&["metadata", "generation"], json!(workload.generation)));
            // The Deployment controller has written annotations before there are old pods.
            operations.push(add(&MARK, json!(workload.live.as_str())));
            operations.push(add(&PAUSED, json!(true)));
        }
        FreezeAct::End | FreezeAct::Unmark => {
            let marked = workload.frozen.as_ref().map(Fingerprint::as_str);
            operations.push(test(&MARK, json!(marked)));
            operations.push(remove(&MARK));
            if act == FreezeAct::End {
                operations.push(test(&PAUSED, json!(true)));
                operations.push(remove(&PAUSED));
            }
        }
    }
    match send(client, namespace, name, operations).await {
        Err(Error::Write { source, .. }) if is_outdated(&source) => Err(Error::Conflict("the workload")),
        other => other,
    }
}

/// Gives up the fields that a freeze made ours, while it lasts: a server-side apply that says `paused: false` shall not
/// conflict with us. Nothing to do is a success; so is a lost race, for the next look tries again.
///
/// # Errors
/// The API server's.
pub async fn disown(client: &Client, namespace: &str, name: &str, live: &Live) -> Result<(), Error> {
    let Some((version, fields)) = &live.disowned else { return Ok(()) };
    let replace = |path: &[&str], value: Value| PatchOperation::Replace(ReplaceOperation { path: at(path), value });
    let operations = vec![
        test(&["metadata", "uid"], json!(live.workload.uid.as_str())),
        replace(&["metadata", "resourceVersion"], json!(version)),
        replace(&["metadata", "managedFields"], Value::Array(fields.clone())),
    ];
    match send(client, namespace, name, operations).await {
        Err(Error::Conflict(_)) => Ok(()),
        other => other,
    }
}

/// The API server's words when it does not let a patch in (admission, quota, rights).
pub fn refusal(error: &Error) -> Option<String> {
    match error {
        Error::Write { source, .. } => match &**source {
            kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422) => {
                Some(snapback_api::conditions::cut(&status.message, 512))
            }
            _ => None,
        },
        _ => None,
    }
}

/// A failed `test` is a 422 without causes; admission refuses with a message of its own.
fn is_outdated(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => {
            status.code == 404 || status.code == 422 && status.message.contains("rejected our request")
        }
        _ => false,
    }
}

async fn send(client: &Client, namespace: &str, name: &str, operations: Vec<PatchOperation>) -> Result<(), Error> {
    let deployments: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<Deployment>(&()));
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Json::<()>(Operations(operations));
    crate::timed("the freeze of the Deployment", deployments.patch(name, &params, &patch)).await.map(drop)
}

fn at(path: &[&str]) -> PointerBuf {
    PointerBuf::from_tokens(path.iter().copied())
}

fn test(path: &[&str], value: Value) -> PatchOperation {
    PatchOperation::Test(TestOperation { path: at(path), value })
}

fn add(path: &[&str], value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation { path: at(path), value })
}

fn remove(path: &[&str]) -> PatchOperation {
    PatchOperation::Remove(RemoveOperation { path: at(path) })
}
