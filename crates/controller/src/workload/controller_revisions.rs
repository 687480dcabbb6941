//! StatefulSets and DaemonSets: their revisions are ControllerRevisions, and which one a pod runs is told by its label.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{DynamicObject, ListParams};
use kube::core::Selector;
use kube::{Api, Client, ResourceExt};
use serde_json::Value;
use snapback_core::fingerprint::Fingerprint;
use snapback_core::ids::{ReplicaSetUid, WorkloadUid};
use snapback_core::workload::{DEFAULT_HISTORY, Kind, PodFacts, Replacing, Revision, Workload, called};

use super::observe::{Live, ObserveError, Observed, created, delivery, helm_release, owners, said, shape, timed};
use super::pods;

/// On a pod the name of its ControllerRevision, or the hash in it; on a DaemonSet's ControllerRevision the hash.
const HASH: &str = "controller-revision-hash";

/// Goes on from the raw StatefulSet or DaemonSet.
pub(super) async fn observe(
    client: &Client,
    namespace: &str,
    kind: Kind,
    object: DynamicObject,
) -> Result<Observed, ObserveError> {
    let annotations = object.annotations().clone();
    let delivery = delivery(kind, &object);
    let (name, uid, made) = (object.name_any(), object.uid().unwrap_or_default(), created(&object));
    let raw = serde_json::to_value(object).map_err(|error| shape("the workload", &error))?;
    let selector = serde_json::from_value::<LabelSelector>(raw["spec"]["selector"].clone())
        .map_err(|error| shape("the workload", &error))?;
    let selector: Selector = selector.try_into().map_err(|_| shape("the workload", &"its selector cannot be read"))?;
    let template = raw["spec"]["template"].clone();
    let live = Fingerprint::of_template(&template);

    let params = ListParams::default().labels_from(&selector);
    let history: Api<ControllerRevision> = Api::namespaced(client.clone(), namespace);
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let (history, pods) = futures::try_join!(
        timed("its ControllerRevisions", history.list(&params)),
        timed("its pods", pods.list(&params))
    )?;
    let mut history = history.items;
    // Our own copies have no controller.
    history.retain(|one| one.owner_references().iter().any(|owner| owner.controller == Some(true) && owner.uid == uid));
    let pods: Vec<PodFacts> = pods.items.iter().filter_map(|pod| facts(pod, &uid, &history)).collect();

    let replicas = wanted(kind, &raw);
    let templates: Vec<(ReplicaSetUid, Value)> = history.iter().map(|one| (uid_of(one), template_of(one))).collect();
    let runs = to_run(kind, &raw, &history, &templates, &live);
    let revisions = history.iter().zip(&templates).map(|(one, (uid, template))| {
        let is_to_run = runs.as_ref() == Some(uid);
        let mine = || pods.iter().filter(|pod| pod.owner == *uid && !pod.leaving);
        Revision {
            fingerprint: Fingerprint::of_template(template),
            name: one.name_any(),
            uid: uid.clone(),
            images: images(template),
            called: called(template),
            number: one.revision,
            created: created(one),
            desired: if is_to_run { replicas } else { 0 },
            replicas: count(mine().count()),
            available: count(mine().filter(|pod| pod.ready).count()),
            observed: is_to_run,
        }
    });
    let revisions = revisions.collect();
    let status = |of_stateful_set: &str, of_daemon_set: &str| match kind {
        Kind::DaemonSet => number(&raw["status"][of_daemon_set]),
        _ => number(&raw["status"][of_stateful_set]),
    };
    let workload = Workload {
        kind,
        name,
        uid: WorkloadUid::new(uid),
        created: made,
        generation: raw["metadata"]["generation"].as_i64().unwrap_or_default(),
        observed_generation: raw["status"]["observedGeneration"].as_i64().unwrap_or_default(),
        live,
        images: images(&template),
        called: called(&template),
        replicas,
        paused: false,
        pause_is_applied: false,
        frozen: None,
        updated: status("updatedReplicas", "updatedNumberScheduled"),
        available: status("availableReplicas", "numberAvailable"),
        total: status("replicas", "currentNumberScheduled"),
        revision_history_limit: or(&raw["spec"]["revisionHistoryLimit"], DEFAULT_HISTORY),
        progress_deadline_exceeded: None,
        revisions,
        pods,
        owners: owners(&raw),
        helm_release: helm_release(&annotations),
        delivery,
        rolling: None,
        replacing: replacing(kind, &raw["spec"]),
        said: said(&annotations, &template),
    };
    Ok(Observed::Live(Box::new(Live { workload, template, templates, selector, disowned: None })))
}

/// A pod that the workload controls, with its ControllerRevision as its owner; with none when that is gone.
fn facts(pod: &Pod, workload: &str, history: &[ControllerRevision]) -> Option<PodFacts> {
    let facts = pods::facts(pod).filter(|facts| facts.owner.as_str() == workload)?;
    let hash = pod.labels().get(HASH);
    let owner = history.iter().find(|one| {
        hash.is_some_and(|hash| one.metadata.name.as_ref() == Some(hash) || one.labels().get(HASH) == Some(hash))
    });
    Some(PodFacts { owner: owner.map_or_else(|| ReplicaSetUid::new(""), uid_of), ..facts })
}

/// How many pods there are to be.
fn wanted(kind: Kind, raw: &Value) -> i32 {
    match kind {
        Kind::DaemonSet => number(&raw["status"]["desiredNumberScheduled"]),
        _ => or(&raw["spec"]["replicas"], 1),
    }
}

/// The revision that the controller makes pods of: a StatefulSet's status names it; a DaemonSet's is the newest of the
/// live template.
fn to_run(
    kind: Kind,
    raw: &Value,
    history: &[ControllerRevision],
    templates: &[(ReplicaSetUid, Value)],
    live: &Fingerprint,
) -> Option<ReplicaSetUid> {
    let update = raw["status"]["updateRevision"].as_str();
    let of_live = |template: &Value| Fingerprint::of_template(template) == *live;
    let candidates = history.iter().zip(templates).filter(|(one, (_, template))| match kind {
        Kind::DaemonSet => of_live(template),
        _ => one.metadata.name.as_deref() == update,
    });
    candidates.max_by_key(|(one, _)| one.revision).map(|(_, (uid, _))| uid.clone())
}

fn replacing(kind: Kind, spec: &Value) -> Replacing {
    let strategy = &spec["updateStrategy"];
    let on_delete = strategy["type"] == "OnDelete";
    match kind {
        Kind::StatefulSet => Replacing {
            on_delete,
            in_order: spec["podManagementPolicy"] != "Parallel",
            first: number(&spec["ordinals"]["start"]),
            partition: if on_delete { 0 } else { number(&strategy["rollingUpdate"]["partition"]) },
        },
        _ => Replacing { on_delete, ..Replacing::default() },
    }
}

fn uid_of(one: &ControllerRevision) -> ReplicaSetUid {
    ReplicaSetUid::new(one.uid().unwrap_or_default())
}

/// The template of a revision as the workload would hold it: its data is a patch that replaces the template whole.
fn template_of(one: &ControllerRevision) -> Value {
    let data = one.data.as_ref().map(|data| &data.0);
    let mut template = data.and_then(|data| data.pointer("/spec/template")).cloned().unwrap_or_default();
    if let Some(template) = template.as_object_mut() {
        template.remove("$patch");
    }
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|_, value| !value.is_null());
    }
    template
}

fn images(template: &Value) -> Vec<String> {
    let containers = template["spec"]["containers"].as_array().into_iter().flatten();
    containers.filter_map(|container| container["image"].as_str().map(str::to_owned)).take(16).collect()
}

fn number(value: &Value) -> i32 {
    or(value, 0)
}

/// The number, or what it means that there is none.
fn or(value: &Value, absent: i32) -> i32 {
    value.as_i64().map_or(absent, |number| i32::try_from(number).unwrap_or(i32::MAX))
}

fn count(pods: usize) -> i32 {
    i32::try_from(pods).unwrap_or(i32::MAX)
}
