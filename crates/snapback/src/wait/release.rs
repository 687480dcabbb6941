//! The release that is waited for: what is live when the wait begins.

use std::collections::BTreeMap;

use anyhow::Context as _;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use kube::api::{ApiResource, DynamicObject};
use kube::{Api, Client, ResourceExt};
use snapback_core::fingerprint::Fingerprint;
use snapback_core::workload::{Kind, called};

use super::named::Named;

/// One look at a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Release {
    /// The workload.
    pub(crate) uid: String,
    /// Its labels: by these a policy may choose it.
    pub(crate) labels: BTreeMap<String, String>,
    /// What a status must speak of to speak of this release.
    pub(crate) generation: i64,
    /// What its template says.
    pub(crate) fingerprint: Fingerprint,
    /// What it is called.
    pub(crate) called: Vec<String>,
}

/// Reads what is live.
pub(crate) async fn look(client: &Client, namespace: &str, named: &Named) -> anyhow::Result<Release> {
    let resource = match named.kind {
        Kind::Deployment => ApiResource::erase::<Deployment>(&()),
        Kind::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
        Kind::DaemonSet => ApiResource::erase::<DaemonSet>(&()),
    };
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let reading = || format!("reading {named} in the namespace {namespace}");
    let found = api.get_opt(&named.name).await.with_context(reading)?;
    let object = found.with_context(|| format!("there is no {named} in the namespace {namespace}"))?;
    let template = &object.data["spec"]["template"];
    Ok(Release {
        uid: object.uid().unwrap_or_default(),
        labels: object.labels().clone(),
        generation: object.metadata.generation.unwrap_or_default(),
        fingerprint: Fingerprint::of_template(template),
        called: called(template),
    })
}
