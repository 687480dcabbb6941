//! Objects that the API server let in and that cannot be read: an older schema did, or a time is one that nobody can mean.
//! Nothing can be done with them but say so, in their own status.

use kube::api::{ApiResource, DynamicObject, ObjectMeta, PostParams};
use kube::{Api, Resource};
use serde_json::{Value, json};
use snapback_api::conditions::{Said, clear, cut, set};

use crate::context::Context;
use crate::error::Error;

/// Says it in these conditions, each with its status and reason, unless it is said already: a status that is written anew each time
/// would wake us each time.
pub(crate) async fn say<K: Resource<DynamicType = ()>>(
    shared: &Context,
    meta: &ObjectMeta,
    problem: &str,
    conditions: &[(&'static str, bool, &'static str)],
) -> Result<(), Error> {
    let (Some(namespace), Some(name)) = (&meta.namespace, &meta.name) else { return Ok(()) };
    let objects: Api<DynamicObject> =
        Api::namespaced_with(shared.client.clone(), namespace, &ApiResource::erase::<K>(&()));
    let Some(mut object) = crate::timed("an object that cannot be read", objects.get_opt(name)).await? else {
        return Ok(());
    };
    let message = cut(&format!("the object cannot be read: {problem}"), 1024);
    let before = object.data["status"].clone();
    // What others wrote there may be as unreadable.
    let mut said = serde_json::from_value(before["conditions"].clone()).unwrap_or_default();
    // Whatever was under way or in force, nothing is any more.
    clear(&mut said, "Reconciling");
    clear(&mut said, "Enforced");
    for (type_, status, reason) in conditions {
        let one = Said { type_, status: Some(*status), reason, message: &message };
        set(&mut said, &one, object.metadata.generation, shared.now());
    }
    let mut status = if before.is_object() { before.clone() } else { json!({}) };
    (status["conditions"], status["observedGeneration"]) = (json!(said), json!(object.metadata.generation));
    if status == before {
        return Ok(());
    }
    tracing::warn!(namespace, name, kind = %K::kind(&()), "{message}");
    if let Value::Object(data) = &mut object.data {
        data.insert("status".to_owned(), status);
    }
    let params = PostParams { field_manager: Some(crate::FIELD_MANAGER.to_owned()), ..PostParams::default() };
    crate::timed("the status of an object that cannot be read", objects.replace_status(name, &params, &object)).await?;
    Ok(())
}
