//! Lowering `maxSurge` again after a fast undo.

use json_patch::{Patch as Operations, PatchOperation, ReplaceOperation, TestOperation, jsonptr::PointerBuf};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use snapback_core::rollback::RAISED;

use super::observe::REQUEST_TIMEOUT;
use crate::FIELD_MANAGER;

/// Where it stands.
pub(super) const MAX_SURGE: [&str; 4] = ["spec", "strategy", "rollingUpdate", "maxSurge"];

/// Puts the original back, provided that what is there is ours. Gives why it could not be told whether it worked.
pub async fn restore_surge(
    client: &Client,
    namespace: &str,
    name: &str,
    uid: &str,
    original: &Value,
) -> Result<(), String> {
    let at = |tokens: &[&str]| PointerBuf::from_tokens(tokens.iter().copied());
    let operations = Operations(vec![
        PatchOperation::Test(TestOperation { path: at(&["metadata", "uid"]), value: json!(uid) }),
        PatchOperation::Test(TestOperation { path: at(&MAX_SURGE), value: json!(RAISED) }),
        PatchOperation::Replace(ReplaceOperation { path: at(&MAX_SURGE), value: original.clone() }),
    ]);
    let deployments: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<Deployment>(&()));
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Json::<()>(operations);
    match tokio::time::timeout(REQUEST_TIMEOUT, deployments.patch(name, &params, &patch)).await {
        Ok(Ok(_)) => Ok(()),
        // A failed test: somebody else has set it meanwhile, or it was lowered before we died. Theirs stays.
        Ok(Err(kube::Error::Api(status))) if status.code == 422 && status.message.contains("rejected our request") => {
            Ok(())
        }
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(()),
        Ok(Err(error)) => Err(crate::error::report(&error)),
        Err(_) => Err(format!("no answer within {REQUEST_TIMEOUT:?}")),
    }
}
