//! ConfigMaps and Secrets, raw, so that nothing is lost or added.
//!
//! What is in a Secret must not get into a log or an error. So answers are parsed here: kube logs what it cannot parse. And
//! of a failed request about a Secret only HTTP's code is kept: the API server's words may be an admission webhook's.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{DeleteParams, GetParams, ListParams, PostParams};
use kube::core::Request;
use kube::{Client, Resource};
use serde_json::{Value, json};
use snapback_core::configuration::{ConfigKind, digest, original, secret_version};
use snapback_core::jobs::is_name;

use crate::error::Error;

/// The annotation that Kubernetes requires of tokens of ServiceAccounts: they are issued, not configured.
const TOKEN_OF: &str = "kubernetes.io/service-account.name";

/// The ConfigMaps and Secrets of a namespace.
pub(super) struct Objects<'a> {
    pub(super) client: &'a Client,
    pub(super) namespace: &'a str,
}

/// What was read. It cannot be printed: it may be a Secret.
pub(super) struct Held {
    /// What tells its content from another one.
    pub(super) version: String,
    raw: Value,
}

impl Held {
    /// Whether it is a copy that we made of this object for this workload. A copy cannot be changed.
    pub(super) fn is_copy_of(&self, name: &str, workload_uid: &str) -> bool {
        let metadata = &self.raw["metadata"];
        let copy = metadata["name"].as_str().unwrap_or_default();
        let mut owners = metadata["ownerReferences"].as_array().into_iter().flatten();
        original(copy) == name
            && copy != name
            && self.raw["immutable"] == true
            && owners.any(|owner| owner["uid"] == workload_uid)
    }

    /// Whether the content of both is the same.
    pub(super) fn holds_the_same(&self, other: &Self) -> bool {
        // Absent and empty are the same.
        let part =
            |held: &Self, key: &str| Some(held.raw[key].clone()).filter(|part| *part != json!({}) && !part.is_null());
        ["data", "binaryData", "type"].iter().all(|key| part(self, key) == part(other, key))
    }

    /// An immutable object that holds the same.
    pub(super) fn copied(&self, kind: ConfigKind, metadata: &Value) -> Value {
        let mut copy = json!({"apiVersion": "v1", "kind": kind.as_str(), "metadata": metadata, "immutable": true});
        for key in ["data", "binaryData", "type"] {
            if !self.raw[key].is_null() {
                copy[key] = self.raw[key].clone();
            }
        }
        copy
    }
}

impl Objects<'_> {
    /// What tells the present content from another one; `None` if there is no such object, or it is a token of a
    /// ServiceAccount. Of a Secret only metadata is asked for.
    ///
    /// # Errors
    /// The API server's, such as the lack of a right.
    pub(super) async fn version(&self, kind: ConfigKind, name: &str) -> Result<Option<String>, Error> {
        if !is_name(name) {
            return Ok(None);
        }
        if kind == ConfigKind::ConfigMap {
            return Ok(self.read(kind, name).await?.map(|held| held.version));
        }
        let request = self.requests(kind).get_metadata(name, &GetParams::default());
        let request = request.map_err(kube::Error::BuildRequest);
        let metadata = self.answer(kind, a(kind), async { self.client.request_text(request?).await }).await?;
        Ok(metadata.filter(|object| !is_token(object)).map(|object| version(kind, &object)))
    }

    /// An object with what is in it; `None` as for [`Self::version`].
    ///
    /// # Errors
    /// The API server's, such as the lack of a right.
    pub(super) async fn read(&self, kind: ConfigKind, name: &str) -> Result<Option<Held>, Error> {
        if !is_name(name) {
            return Ok(None);
        }
        let request = self.requests(kind).get(name, &GetParams::default()).map_err(kube::Error::BuildRequest);
        let raw = self.answer(kind, a(kind), async { self.client.request_text(request?).await }).await?;
        Ok(raw.filter(|object| !is_token(object)).map(|raw| Held { version: version(kind, &raw), raw }))
    }

    /// Creates an object.
    ///
    /// # Errors
    /// [`Error::Conflict`] if there is one of that name, or the API server's.
    pub(super) async fn create(&self, kind: ConfigKind, object: &Value) -> Result<(), Error> {
        let request = self.requests(kind).create(&PostParams::default(), object.to_string().into_bytes());
        let request = request.map_err(kube::Error::BuildRequest);
        self.answer(kind, the_copy(kind), async { self.client.request_text(request?).await }).await?;
        Ok(())
    }

    /// Names of the objects with a label that the workload owns.
    ///
    /// # Errors
    /// The API server's, such as the lack of a right.
    pub(super) async fn owned(&self, kind: ConfigKind, label: &str, workload_uid: &str) -> Result<Vec<String>, Error> {
        let request = self.requests(kind).list_metadata(&ListParams::default().labels(label));
        let request = request.map_err(kube::Error::BuildRequest);
        let list = self.answer(kind, the_copies(kind), async { self.client.request_text(request?).await }).await?;
        let list = list.unwrap_or_default();
        let owns = |object: &&Value| {
            let mut owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
            owners.any(|owner| owner["uid"] == workload_uid)
        };
        let items = list["items"].as_array().into_iter().flatten();
        Ok(items.filter(owns).filter_map(|object| object["metadata"]["name"].as_str().map(str::to_owned)).collect())
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// The API server's, such as the lack of a right.
    pub(super) async fn delete(&self, kind: ConfigKind, name: &str) -> Result<(), Error> {
        let request = self.requests(kind).delete(name, &DeleteParams::default()).map_err(kube::Error::BuildRequest);
        self.answer(kind, the_copy(kind), async { self.client.request_text(request?).await }).await?;
        Ok(())
    }

    fn requests(&self, kind: ConfigKind) -> Request {
        Request::new(match kind {
            ConfigKind::ConfigMap => ConfigMap::url_path(&(), Some(self.namespace)),
            ConfigKind::Secret => Secret::url_path(&(), Some(self.namespace)),
        })
    }

    /// The parsed answer; `None` if there is no such object.
    async fn answer(
        &self,
        kind: ConfigKind,
        what: &'static str,
        request: impl Future<Output = Result<String, kube::Error>>,
    ) -> Result<Option<Value>, Error> {
        let parsed = async {
            match request.await {
                Ok(text) => serde_json::from_str(&text).map(Some).map_err(kube::Error::SerdeError),
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
                Err(error) => Err(error),
            }
        };
        let answer = crate::timed(what, parsed).await;
        answer.map_err(|error| if kind == ConfigKind::Secret { error.unquoted() } else { error })
    }
}

fn version(kind: ConfigKind, object: &Value) -> String {
    let part = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
    match kind {
        ConfigKind::ConfigMap => digest(object),
        ConfigKind::Secret => secret_version(part("uid"), part("resourceVersion")),
    }
}

fn is_token(object: &Value) -> bool {
    object["metadata"]["annotations"][TOKEN_OF].is_string()
}

fn a(kind: ConfigKind) -> &'static str {
    match kind {
        ConfigKind::ConfigMap => "a ConfigMap",
        ConfigKind::Secret => "a Secret",
    }
}

fn the_copy(kind: ConfigKind) -> &'static str {
    match kind {
        ConfigKind::ConfigMap => "the copy of a ConfigMap",
        ConfigKind::Secret => "the copy of a Secret",
    }
}

fn the_copies(kind: ConfigKind) -> &'static str {
    match kind {
        ConfigKind::ConfigMap => "the copies of ConfigMaps",
        ConfigKind::Secret => "the copies of Secrets",
    }
}
