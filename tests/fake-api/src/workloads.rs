//! A Deployment controller, a ReplicaSet controller and a kubelet in one function, and at once.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::store::Store;

/// The label that says how the pods of a template fare: `crash-loop`, `last-waits`, or absent for well.
const SIMULATED: &str = "simulated";

/// A Job controller and a node, at once: a Job that is not suspended succeeds, unless the label `simulated` of its pods
/// says that it `fails` or `hangs`.
pub(crate) fn run_job(store: &mut Store, namespace: &str, name: &str) {
    let Some(mut job) = store.get("jobs", namespace, name).cloned() else { return };
    let ended = match job["spec"]["template"]["metadata"]["labels"][SIMULATED].as_str() {
        _ if job["spec"]["suspend"] == true => return,
        Some("hangs") => return,
        Some(_) => {
            json!({"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "the pods failed"})
        }
        None => json!({"type": "Complete", "status": "True"}),
    };
    job["status"] = json!({"conditions": [ended]});
    store.put(("jobs".to_owned(), namespace.to_owned(), name.to_owned()), job, "MODIFIED");
}

/// Brings ReplicaSets, pods and status to what the Deployment asks for.
pub(crate) fn roll_out(store: &mut Store, namespace: &str, name: &str, now: &str) {
    let Some(mut deployment) = store.get("deployments", namespace, name).cloned() else {
        return remove_all(store, namespace, name);
    };
    let template = deployment["spec"]["template"].clone();
    let uid = deployment["metadata"]["uid"].clone();
    let replicas = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
    let sets = owned(store, namespace, &uid);
    let same = sets.iter().find(|set| without_hash(&set["spec"]["template"]) == template);
    let same = same.and_then(|set| set["metadata"]["name"].as_str()).map(str::to_owned);
    let wanted = same.unwrap_or_else(|| format!("{name}-{}", hash(&template)));
    let highest = sets.iter().map(number).max().unwrap_or_default();
    let healthy = template["metadata"]["labels"][SIMULATED].is_null();
    let last_waits = last_waits(&template);
    if deployment["spec"]["paused"] == true {
        // Nothing is made and nothing is scaled.
        deployment["status"]["observedGeneration"] = deployment["metadata"]["generation"].clone();
        if Some(&deployment) != store.get("deployments", namespace, name) {
            store.put(("deployments".to_owned(), namespace.to_owned(), name.to_owned()), deployment, "MODIFIED");
        }
        return;
    }

    if store.get("replicasets", namespace, &wanted).is_none() {
        let mut labelled = template.clone();
        labelled["metadata"]["labels"]["pod-template-hash"] = json!(hash(&template));
        let set = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": wanted, "namespace": namespace, "uid": format!("set-{wanted}"), "creationTimestamp": now,
                "labels": labelled["metadata"]["labels"],
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": uid, "controller": true}]
            },
            "spec": {"replicas": 0, "selector": deployment["spec"]["selector"], "template": labelled}
        });
        store.put(("replicasets".to_owned(), namespace.to_owned(), wanted.clone()), set, "ADDED");
    }
    for mut set in owned(store, namespace, &uid) {
        let set_name = set["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let is_new = set_name == wanted;
        let known = set.clone();
        if is_new && (number(&set) < highest || number(&set) == 0) {
            set["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = json!((highest + 1).to_string());
        }
        // A new revision that fails keeps the old one running, as maxUnavailable 0 would.
        let count = match (is_new, healthy) {
            (true, _) if healthy || last_waits => replicas,
            (true, _) => replicas.min(1),
            (false, true) => 0,
            (false, false) if last_waits => replicas.min(1),
            (false, false) => known["spec"]["replicas"].as_i64().unwrap_or_default(),
        };
        let ready = match is_new {
            true if last_waits => count - 1,
            true if !healthy => 0,
            _ => count,
        };
        set["spec"]["replicas"] = json!(count);
        set["status"] =
            json!({"replicas": count, "readyReplicas": ready, "availableReplicas": ready, "observedGeneration": 1});
        set["metadata"]["generation"] = json!(1);
        if set != known {
            store.put(("replicasets".to_owned(), namespace.to_owned(), set_name.clone()), set.clone(), "MODIFIED");
        }
        pods(store, namespace, &set, count, now);
    }
    let sets = owned(store, namespace, &uid);
    let sum = |field: &str| sets.iter().filter_map(|set| set["status"][field].as_i64()).sum::<i64>();
    let new = sets.iter().find(|set| set["metadata"]["name"] == wanted.as_str());
    let before = deployment.clone();
    deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] =
        json!(new.map(number).unwrap_or_default().to_string());
    // Conditions are what a test reported; nothing of here takes time.
    let conditions = deployment["status"]["conditions"].take();
    deployment["status"] = json!({
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": sum("replicas"), "availableReplicas": sum("availableReplicas"), "readyReplicas": sum("readyReplicas"),
        "updatedReplicas": new.and_then(|set| set["status"]["replicas"].as_i64())
    });
    if !conditions.is_null() {
        deployment["status"]["conditions"] = conditions;
    }
    if deployment != before {
        store.put(("deployments".to_owned(), namespace.to_owned(), name.to_owned()), deployment, "MODIFIED");
    }
}

fn pods(store: &mut Store, namespace: &str, set: &Value, count: i64, now: &str) {
    let set_name = set["metadata"]["name"].as_str().unwrap_or_default();
    let template = &set["spec"]["template"];
    let healthy = template["metadata"]["labels"][SIMULATED].is_null();
    for index in 0..16 {
        let name = format!("{set_name}-aaaa{}", char::from(b'a' + index));
        let key = ("pods".to_owned(), namespace.to_owned(), name.clone());
        let exists = store.objects.contains_key(&key);
        if i64::from(index) >= count {
            if exists {
                let gone = store.objects.remove(&key).unwrap_or_default();
                store.put(key.clone(), gone, "DELETED");
                store.objects.remove(&key);
            }
            continue;
        }
        if exists {
            continue;
        }
        let is_last = i64::from(index) + 1 == count;
        let ready = healthy || last_waits(template) && !is_last;
        let state = if healthy || last_waits(template) {
            json!({"name": "app", "ready": ready, "restartCount": 0, "image": "i", "imageID": "i", "state": {"running": {"startedAt": now}}})
        } else {
            json!({
                "name": "app", "ready": false, "restartCount": 4, "image": "i", "imageID": "i",
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}
            })
        };
        let ready = if ready { "True" } else { "False" };
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "namespace": namespace, "uid": format!("pod-{name}"), "creationTimestamp": now,
                "labels": set["spec"]["template"]["metadata"]["labels"],
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set_name, "uid": set["metadata"]["uid"], "controller": true
                }]
            },
            "spec": set["spec"]["template"]["spec"],
            "status": {
                "phase": "Running", "podIP": "127.0.0.1", "containerStatuses": [state],
                "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": now}]
            }
        });
        store.put(key, pod, "ADDED");
    }
}

/// All pods but the last become ready; that one runs, and never does.
fn last_waits(template: &Value) -> bool {
    template["metadata"]["labels"][SIMULATED] == "last-waits"
}

fn owned(store: &Store, namespace: &str, uid: &Value) -> Vec<Value> {
    let mut sets = store.list("replicasets", namespace, "");
    sets.retain(|set| set["metadata"]["ownerReferences"][0]["uid"] == *uid);
    sets
}

fn number(set: &Value) -> i64 {
    let text = set["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str();
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn remove_all(store: &mut Store, namespace: &str, name: &str) {
    let prefix = format!("{name}-");
    let gone = store.objects.keys().filter(|(resource, place, object)| {
        place == namespace && object.starts_with(&prefix) && (resource == "replicasets" || resource == "pods")
    });
    let gone: Vec<_> = gone.cloned().collect();
    for key in gone {
        let object = store.objects.get(&key).cloned().unwrap_or_default();
        store.put(key.clone(), object, "DELETED");
        store.objects.remove(&key);
    }
}

fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.remove("pod-template-hash");
    }
    template
}

fn hash(template: &Value) -> String {
    let digest = Sha256::digest(template.to_string().as_bytes());
    digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect()
}
