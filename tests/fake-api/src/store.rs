//! Objects, their versions, and what happened to them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::route::Call;

/// Why a request is refused: code, reason, message.
pub(crate) type Refusal = (u16, &'static str, String);

/// An object's place: resource, namespace, name.
pub(crate) type Key = (String, String, String);

/// What happened to an object.
#[derive(Debug, Clone)]
pub struct Change {
    pub(crate) version: u64,
    /// When it was accepted.
    pub at: Instant,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub kind: &'static str,
    /// The plural of its kind.
    pub resource: String,
    /// As it was after that, or last.
    pub object: Value,
    /// The field manager of the request; empty for what the cluster's own controllers did.
    pub manager: String,
}

#[derive(Default)]
pub(crate) struct Store {
    pub(crate) objects: BTreeMap<Key, Value>,
    pub(crate) log: Vec<Change>,
    version: u64,
    uids: u64,
}

impl Store {
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&(resource.to_owned(), namespace.to_owned(), name.to_owned()))
    }

    /// A copy to try a request on: what happened before is not asked for there.
    pub(crate) fn trial(&self) -> Self {
        Self { objects: self.objects.clone(), log: Vec::new(), version: self.version, uids: self.uids }
    }

    /// What happened after a version.
    pub(crate) fn after(&self, version: u64) -> impl Iterator<Item = &Change> {
        let start = self.log.partition_point(|change| change.version <= version);
        self.log.iter().skip(start)
    }

    /// The newest version of a moment.
    pub(crate) fn version_at(&self, moment: Instant) -> u64 {
        let end = self.log.partition_point(|change| change.at <= moment);
        end.checked_sub(1).and_then(|last| self.log.get(last)).map_or(0, |change| change.version)
    }

    /// Objects of a kind; in all namespaces if `namespace` is empty.
    pub(crate) fn list(&self, resource: &str, namespace: &str, selector: &str) -> Vec<Value> {
        let chosen = self.objects.iter().filter(|((kind, place, _), object)| {
            kind == resource && (namespace.is_empty() || place == namespace) && selects(selector, object)
        });
        chosen.map(|(_, object)| object.clone()).collect()
    }

    /// The same as it was at a version.
    pub(crate) fn list_of(&self, version: u64, resource: &str, namespace: &str, selector: &str) -> Vec<Value> {
        let mut then = Self::default();
        for change in self.log.iter().take_while(|change| change.version <= version) {
            let of = |field: &str| change.object["metadata"][field].as_str().unwrap_or_default().to_owned();
            let key = (change.resource.clone(), of("namespace"), of("name"));
            if change.resource != resource || change.kind == "DELETED" {
                then.objects.remove(&key);
            } else {
                then.objects.insert(key, change.object.clone());
            }
        }
        then.list(resource, namespace, selector)
    }

    pub(crate) fn create(&mut self, call: &Call, mut object: Value, now: &str) -> Result<Value, Refusal> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let key = (call.resource.clone(), call.namespace.clone(), name.clone());
        if self.objects.contains_key(&key) {
            return Err((409, "AlreadyExists", format!("{} {name:?} already exists", call.resource)));
        }
        self.uids += 1;
        let metadata = &mut object["metadata"];
        metadata["namespace"] = json!(call.namespace);
        metadata["uid"] = json!(format!("uid{:04}", self.uids));
        metadata["creationTimestamp"] = json!(now);
        metadata["generation"] = json!(1);
        if is_custom(call)
            && let Some(object) = object.as_object_mut()
        {
            // The default of both schemas.
            object.insert("status".to_owned(), json!({"observedGeneration": -1}));
        }
        Ok(self.put_by(&call.manager, key, object, "ADDED"))
    }

    /// Replaces an object or its status. With a `resourceVersion`, only that version is replaced.
    pub(crate) fn update(&mut self, call: &Call, mut object: Value) -> Result<Value, Refusal> {
        let key = (call.resource.clone(), call.namespace.clone(), call.name.clone());
        let known = self.objects.get(&key).cloned().ok_or_else(|| not_found(call))?;
        let wanted = object["metadata"]["resourceVersion"].clone();
        if wanted.is_string() && wanted != known["metadata"]["resourceVersion"] {
            return Err((
                409,
                "Conflict",
                "the object has been modified; please apply your changes to the latest version".to_owned(),
            ));
        }
        if object["metadata"]["uid"].is_string() && object["metadata"]["uid"] != known["metadata"]["uid"] {
            return Err((409, "Conflict", "the UID in the precondition is another".to_owned()));
        }
        let mut next = known.clone();
        if call.subresource == "status" {
            next["status"] = object["status"].take();
        } else {
            let status = known["status"].clone();
            next = object;
            for fixed in ["uid", "creationTimestamp", "generation", "namespace"] {
                next["metadata"][fixed] = known["metadata"][fixed].clone();
            }
            if !status.is_null() {
                next["status"] = status;
            }
            // As the real one does: `false` is not stored.
            if call.resource == "deployments"
                && next["spec"]["paused"] != true
                && let Some(spec) = next["spec"].as_object_mut()
            {
                spec.remove("paused");
            }
            if next["spec"] != known["spec"] {
                next["metadata"]["generation"] =
                    json!(known["metadata"]["generation"].as_i64().unwrap_or_default() + 1);
            }
        }
        own_template(&known, &mut next, &call.manager);
        own_pause(&known, &mut next, &call.manager);
        if next == known {
            return Ok(known);
        }
        // What waited for its finalizers goes with the last one.
        if !next["metadata"]["deletionTimestamp"].is_null() && !has_finalizers(&next) {
            return Ok(self.remove(call, &key));
        }
        Ok(self.put_by(&call.manager, key, next, "MODIFIED"))
    }

    pub(crate) fn patch(&mut self, call: &Call, content_type: &str, patch: &[u8]) -> Result<Value, Refusal> {
        let mut object =
            self.get(&call.resource, &call.namespace, &call.name).cloned().ok_or_else(|| not_found(call))?;
        let invalid = |error: &dyn std::fmt::Display| (400, "BadRequest", error.to_string());
        match content_type {
            "application/json-patch+json" => {
                let patch: json_patch::Patch = serde_json::from_slice(patch).map_err(|error| invalid(&error))?;
                json_patch::patch(&mut object, &patch).map_err(|_| {
                    (422, "Invalid", "the server rejected our request due to an error in our request".to_owned())
                })?;
            }
            "application/merge-patch+json" => {
                let patch: Value = serde_json::from_slice(patch).map_err(|error| invalid(&error))?;
                json_patch::merge(&mut object, &patch);
            }
            other => return Err((415, "UnsupportedMediaType", other.to_owned())),
        }
        self.update(call, object)
    }

    /// Deletes an object, if it is the one that the preconditions mean.
    pub(crate) fn delete(&mut self, call: &Call, options: &Value) -> Result<Value, Refusal> {
        let key = (call.resource.clone(), call.namespace.clone(), call.name.clone());
        let known = self.objects.get(&key).ok_or_else(|| not_found(call))?;
        for field in ["uid", "resourceVersion"] {
            let wanted = &options["preconditions"][field];
            if wanted.is_string() && *wanted != known["metadata"][field] {
                return Err((409, "Conflict", format!("the {field} in the precondition is another")));
            }
        }
        if has_finalizers(known) {
            let mut waits = known.clone();
            waits["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:04:05Z");
            return Ok(self.put_by(&call.manager, key, waits, "MODIFIED"));
        }
        Ok(self.remove(call, &key))
    }

    fn remove(&mut self, call: &Call, key: &Key) -> Value {
        let mut object = self.objects.remove(key).unwrap_or_default();
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.record(&call.manager, "DELETED", &key.0, object.clone());
        object
    }

    /// Stores an object as it is, under a new version.
    pub(crate) fn put(&mut self, key: Key, object: Value, kind: &'static str) -> Value {
        self.put_by("", key, object, kind)
    }

    fn put_by(&mut self, manager: &str, key: Key, mut object: Value, kind: &'static str) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let resource = key.0.clone();
        self.objects.insert(key, object.clone());
        self.record(manager, kind, &resource, object.clone());
        object
    }

    fn record(&mut self, manager: &str, kind: &'static str, resource: &str, object: Value) {
        let (at, resource, manager) = (Instant::now(), resource.to_owned(), manager.to_owned());
        self.log.push(Change { version: self.version, at, kind, resource, object, manager });
    }
}

pub(crate) fn not_found(call: &Call) -> Refusal {
    (404, "NotFound", format!("{} {:?} not found", call.resource, call.name))
}

/// Field ownership, as coarse as it can be: who changes the template owns it, and nobody else does. `user` applies, all
/// others update.
fn own_template(before: &Value, object: &mut Value, manager: &str) {
    if object["spec"]["template"].is_null() || object["spec"]["template"] == before["spec"]["template"] {
        return;
    }
    let operation = if manager == "user" { "Apply" } else { "Update" };
    object["metadata"]["managedFields"] = json!([{
        "manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:template": {"f:spec": {}}}}
    }]);
}

/// The same of a pause: who sets it owns it, and when it is removed nobody does.
fn own_pause(before: &Value, object: &mut Value, manager: &str) {
    if object["spec"]["paused"] == before["spec"]["paused"] {
        return;
    }
    let is_removed = object["spec"].get("paused").is_none();
    let Some(entries) = object["metadata"]["managedFields"].as_array_mut() else { return };
    entries.retain(|entry| entry["fieldsV1"]["f:spec"]["f:paused"].is_null());
    if !is_removed {
        entries.push(json!({
            "manager": manager, "operation": if manager == "user" { "Apply" } else { "Update" },
            "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:paused": {}}}
        }));
    }
}

fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty())
}

fn is_custom(call: &Call) -> bool {
    call.api_version.starts_with("snapback.dev/")
}

/// Equality selectors only; that is all that these tests ask with.
pub(crate) fn selects(selector: &str, object: &Value) -> bool {
    selector.split(',').filter(|part| !part.is_empty()).all(|part| {
        let (key, value) = part.split_once('=').expect("only equality selectors are understood");
        object["metadata"]["labels"][key.trim()] == value.trim_start_matches('=').trim()
    })
}
