//! One live look at a workload and what it owns. Never from a cache: what is undone must be what was judged.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::Selector;
use kube::{Api, Client, ResourceExt};
use serde_json::Value;
use snapback_core::fingerprint::Fingerprint;
use snapback_core::gitops::{Delivery, Marks};
use snapback_core::ids::{ReplicaSetUid, WorkloadUid};
use snapback_core::jobs::is_name;
use snapback_core::ownership::{self, Owner};
use snapback_core::rollback::RollingUpdate;
use snapback_core::workload::{
    DEFAULT_HISTORY, FROZEN, HelmRelease, Kind, MIGRATION, MIGRATION_JOB, MODE, Replacing, Revision, Said, Workload,
    called,
};
use thiserror::Error;

use super::{controller_revisions, pods};

/// Longest wait for one request to the API server.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

const REVISION: &str = "deployment.kubernetes.io/revision";

/// Why a look failed.
#[derive(Debug, Error)]
pub enum ObserveError {
    /// The API server did not answer, or refused.
    #[error("reading {what}")]
    Api {
        /// What was read.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: Box<kube::Error>,
    },
    /// No answer in time.
    #[error("reading {0}: no answer within {REQUEST_TIMEOUT:?}")]
    Timeout(&'static str),
    /// The object is not what its kind says.
    #[error("reading {what}: {problem}")]
    Shape {
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// A live workload: the facts for judging, and the raw JSON for acting.
#[derive(Debug, Clone)]
pub struct Live {
    /// The facts.
    pub workload: Workload,
    /// Raw `spec.template`, exactly as read.
    pub template: Value,
    /// Raw templates of its revisions, by the UID of their object.
    pub templates: Vec<(ReplicaSetUid, Value)>,
    /// Its pods.
    pub selector: Selector,
    /// The version that was read, and its managed fields without what a freeze made ours; `None` if nothing is ours.
    pub disowned: Option<(String, Vec<Value>)>,
}

/// What was found.
#[derive(Debug, Clone)]
pub enum Observed {
    /// The workload lives.
    Live(Box<Live>),
    /// There is none of that name.
    Absent,
}

/// Reads a workload, its revisions and their pods.
pub async fn observe(client: &Client, namespace: &str, kind: Kind, name: &str) -> Result<Observed, ObserveError> {
    if !is_name(name) {
        return Ok(Observed::Absent);
    }
    let workloads = super::raw_api(client, namespace, kind);
    let Some(raw) = timed("the workload", workloads.get_opt(name)).await? else {
        return Ok(Observed::Absent);
    };
    if kind != Kind::Deployment {
        return controller_revisions::observe(client, namespace, kind, raw).await;
    }
    let raw = serde_json::to_value(raw).map_err(|error| shape("the Deployment", &error))?;
    let typed: Deployment = serde_json::from_value(raw.clone()).map_err(|error| shape("the Deployment", &error))?;
    let template = raw.pointer("/spec/template").cloned().unwrap_or_default();
    let uid = typed.uid().unwrap_or_default();
    let spec = typed.spec.as_ref().ok_or_else(|| shape("the Deployment", &"it has no spec"))?;
    let selector: Selector =
        spec.selector.clone().try_into().map_err(|_| shape("the Deployment", &"its selector cannot be read"))?;

    let params = ListParams::default().labels_from(&selector);
    let sets: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<ReplicaSet>(&()));
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let (sets, pods) =
        futures::try_join!(timed("its ReplicaSets", sets.list(&params)), timed("its pods", pods.list(&params)))?;

    let mut revisions = Vec::new();
    let mut templates = Vec::new();
    for set in sets {
        let raw = serde_json::to_value(set).map_err(|error| shape("a ReplicaSet", &error))?;
        let typed: ReplicaSet = serde_json::from_value(raw.clone()).map_err(|error| shape("a ReplicaSet", &error))?;
        if !typed.owner_references().iter().any(|owner| owner.controller == Some(true) && owner.uid == uid) {
            continue;
        }
        let template = raw.pointer("/spec/template").cloned().unwrap_or_default();
        let revision = revision(&typed, &template);
        templates.push((revision.uid.clone(), template));
        revisions.push(revision);
    }
    let pods = pods.items.iter().filter_map(pods::facts).collect();
    let managed_fields = raw.pointer("/metadata/managedFields").and_then(Value::as_array).cloned().unwrap_or_default();
    let workload = workload(&typed, &template, &managed_fields, uid, revisions, pods);
    let disowned = ownership::disowned(&managed_fields, crate::FIELD_MANAGER)
        .map(|fields| (typed.resource_version().unwrap_or_default(), fields));
    Ok(Observed::Live(Box::new(Live { workload, template, templates, selector, disowned })))
}

fn workload(
    typed: &Deployment,
    template: &Value,
    managed_fields: &[Value],
    uid: String,
    revisions: Vec<Revision>,
    pods: Vec<snapback_core::workload::PodFacts>,
) -> Workload {
    let spec = typed.spec.as_ref();
    let status = typed.status.clone().unwrap_or_default();
    let exceeded = status.conditions.unwrap_or_default().into_iter().find(|condition| {
        condition.type_ == "Progressing" && condition.reason.as_deref() == Some("ProgressDeadlineExceeded")
    });
    Workload {
        kind: Kind::Deployment,
        name: typed.name_any(),
        uid: WorkloadUid::new(uid),
        created: created(typed),
        generation: typed.metadata.generation.unwrap_or_default(),
        observed_generation: status.observed_generation.unwrap_or_default(),
        live: Fingerprint::of_template(template),
        images: spec.map(|spec| images(&spec.template)).unwrap_or_default(),
        called: called(template),
        replicas: spec.and_then(|spec| spec.replicas).unwrap_or(1),
        paused: spec.and_then(|spec| spec.paused).unwrap_or(false),
        pause_is_applied: ownership::pause_is_applied(
            managed_fields,
            crate::FIELD_MANAGER,
            typed.annotations().get(ownership::LAST_APPLIED).map(String::as_str),
        ),
        frozen: typed.annotations().get(FROZEN).cloned().map(Fingerprint::recorded),
        updated: status.updated_replicas.unwrap_or_default(),
        available: status.available_replicas.unwrap_or_default(),
        total: status.replicas.unwrap_or_default(),
        revision_history_limit: spec.and_then(|spec| spec.revision_history_limit).unwrap_or(DEFAULT_HISTORY),
        progress_deadline_exceeded: exceeded.and_then(|condition| condition.last_update_time).map(|time| time.0),
        revisions,
        pods,
        owners: ownership::owners(managed_fields, crate::FIELD_MANAGER),
        helm_release: helm_release(typed.annotations()),
        delivery: delivery(Kind::Deployment, typed),
        rolling: rolling(typed),
        replacing: Replacing::default(),
        said: said(typed.annotations(), template),
    }
}

/// When an object was made.
pub(crate) fn created(object: &impl ResourceExt) -> Timestamp {
    object.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}

/// Who applied the live template.
pub(super) fn owners(raw: &Value) -> Vec<Owner> {
    let managed_fields = raw.pointer("/metadata/managedFields").and_then(Value::as_array);
    ownership::owners(managed_fields.map(Vec::as_slice).unwrap_or_default(), crate::FIELD_MANAGER)
}

fn rolling(typed: &Deployment) -> Option<RollingUpdate> {
    let strategy = serde_json::to_value(typed.spec.as_ref()?.strategy.as_ref()?).ok()?;
    let amount = |key: &str| Some(strategy["rollingUpdate"][key].clone()).filter(|amount| !amount.is_null());
    Some(RollingUpdate { max_surge: amount("maxSurge")?, max_unavailable: amount("maxUnavailable")? })
}

pub(super) fn said(annotations: &BTreeMap<String, String>, template: &Value) -> Said {
    let annotation = |key: &str| template["metadata"]["annotations"][key].as_str();
    Said::read(annotations.get(MODE).map(String::as_str), annotation(MIGRATION))
        .with_migration_job(annotation(MIGRATION_JOB))
}

pub(super) fn helm_release(annotations: &BTreeMap<String, String>) -> Option<HelmRelease> {
    let annotation = |key: &str| annotations.get(key);
    HelmRelease::read(annotation("meta.helm.sh/release-name")?, annotation("meta.helm.sh/release-namespace")?)
}

/// Who delivers a workload, and what holds that.
pub(super) fn delivery(kind: Kind, object: &impl ResourceExt) -> Delivery {
    let owners = object.owner_references();
    let controller = owners.iter().find(|owner| owner.controller == Some(true));
    let helm = helm_release(object.annotations());
    Delivery::read(&Marks {
        kind,
        namespace: &object.namespace().unwrap_or_default(),
        name: &object.name_any(),
        labels: object.labels(),
        annotations: object.annotations(),
        helm: helm.as_ref(),
        controller: controller.map(|owner| (owner.kind.as_str(), owner.name.as_str())),
    })
}

fn revision(set: &ReplicaSet, template: &Value) -> Revision {
    let spec = set.spec.as_ref();
    let status = set.status.clone().unwrap_or_default();
    let number = set.annotations().get(REVISION).and_then(|number| number.parse().ok()).unwrap_or_default();
    Revision {
        fingerprint: Fingerprint::of_template(template),
        name: set.name_any(),
        uid: ReplicaSetUid::new(set.uid().unwrap_or_default()),
        images: spec.and_then(|spec| spec.template.as_ref()).map(images).unwrap_or_default(),
        called: called(template),
        number,
        created: created(set),
        desired: spec.and_then(|spec| spec.replicas).unwrap_or(1),
        replicas: status.replicas,
        available: status.available_replicas.unwrap_or_default(),
        observed: status.observed_generation >= set.metadata.generation,
    }
}

fn images(template: &PodTemplateSpec) -> Vec<String> {
    let containers = template.spec.iter().flat_map(|spec| &spec.containers);
    containers.filter_map(|container| container.image.clone()).take(16).collect()
}

pub(super) fn shape(what: &'static str, problem: &dyn std::fmt::Display) -> ObserveError {
    ObserveError::Shape { what, problem: problem.to_string() }
}

pub(super) async fn timed<T>(
    what: &'static str,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ObserveError> {
    match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        Ok(answer) => answer.map_err(|source| ObserveError::Api { what, source: Box::new(source) }),
        Err(_) => Err(ObserveError::Timeout(what)),
    }
}
