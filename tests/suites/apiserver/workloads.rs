//! StatefulSets and DaemonSets, under their real controllers: judged, undone, un-wedged and handed back like Deployments.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use snapback_api::v1alpha1::RollbackStatus;

use crate::bed::{Bed, condition};

/// A workload `store` with three replicas where it has replicas, and what its spec has besides.
struct Store<'a> {
    bed: &'a Bed,
    kind: &'a str,
    namespace: String,
    spec: &'a str,
}

/// What only v1 has must go with v3.
const V1: &str = "{metadata: {labels: {app: store}}, spec: {containers: [{name: app, image: \"shop/store:v1\", env: [{name: ONLY_V1, value: \"1\"}]}]}}";
/// Its pods crash, by their label.
const V2: &str = "{metadata: {labels: {app: store, simulated: crash-loop}}, spec: {containers: [{name: app, image: \"shop/store:v2\"}]}}";
const V3: &str = "{metadata: {labels: {app: store}}, spec: {containers: [{name: app, image: \"shop/store:v3\"}]}}";

impl<'a> Store<'a> {
    /// v1 is there and known good.
    fn adopted(bed: &'a Bed, namespace: &str, kind: &'a str, spec: &'a str) -> Result<Self> {
        let store = Self { bed, kind, namespace: bed.namespace(namespace)?, spec };
        store.apply(V1)?;
        store.rolled_out()?;
        bed.adopted(&store.namespace, kind, "store", "rollback: {verify: {duration: 1s}, speed: Fast}")?;
        Ok(store)
    }

    fn apply(&self, template: &str) -> Result<()> {
        let Self { kind, namespace, spec, .. } = self;
        let manifest = format!(
            "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: store, namespace: {namespace}}}\nspec: \
             {{selector: {{matchLabels: {{app: store}}}}, {spec}, template: {template}}}\n"
        );
        self.bed.tools.apply(&manifest).map(drop)
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.bed.tools.kubectl(&[&["-n", &self.namespace], arguments].concat())
    }

    fn rolled_out(&self) -> Result<()> {
        if self.spec.contains("OnDelete") {
            // kubectl knows no rollout then.
            let available = match self.kind {
                "DaemonSet" => "--for=jsonpath={.status.numberAvailable}=1",
                _ => "--for=jsonpath={.status.availableReplicas}=3",
            };
            return self.kubectl(&["wait", available, self.kind, "store", "--timeout=60s"]).map(drop);
        }
        self.bed.rolled_out(&self.namespace, &format!("{}/store", self.kind))
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.kubectl(&[arguments, &["-o", "json", "--show-managed-fields"]].concat())?)?)
    }

    /// The image of each pod by name, and its UID.
    fn pods(&self) -> Result<Vec<(String, String, String)>> {
        let pods = self.json(&["get", "pods"])?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pod = |pod: &Value| {
            (
                text(&pod["metadata"]["name"]),
                text(&pod["spec"]["containers"][0]["image"]),
                text(&pod["metadata"]["uid"]),
            )
        };
        let mut pods: Vec<_> = pods["items"].as_array().context("no list")?.iter().map(pod).collect();
        pods.sort();
        Ok(pods)
    }

    fn images(&self) -> Result<Vec<String>> {
        Ok(self.pods()?.into_iter().map(|(_, image, _)| image).collect())
    }

    /// Waits for the one `Rollback` to end.
    fn undone(&self) -> Result<RollbackStatus> {
        let status = self.bed.undone(&self.namespace, "store")?.status.unwrap_or_default();
        ensure!(status.original_max_surge.is_none(), "there is nothing to make faster");
        Ok(status)
    }

    /// The next apply neither conflicts nor leaves residue, and nothing of ours is on the workload.
    fn is_handed_back(&self, status: &RollbackStatus) -> Result<()> {
        ensure!(status.timeline.handed_back_at.is_some(), "not handed back: {:?}", status.conditions);
        self.apply(V3)?;
        let live = self.json(&["get", self.kind, "store"])?;
        ensure!(live["spec"]["template"]["spec"]["containers"][0]["env"].is_null(), "residue: {live:#}");
        let managers = live["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        ensure!(managers.iter().all(|entry| entry["manager"] != "snapback"), "fields of ours are left: {managers:#?}");
        self.rolled_out()
    }

    fn history(&self) -> Result<Vec<Value>> {
        Ok(self.json(&["get", "controllerrevisions"])?["items"].as_array().cloned().unwrap_or_default())
    }

    /// UIDs of the controller's own revisions.
    fn own_history(&self) -> Result<Vec<Value>> {
        let history = self.history()?.into_iter();
        let own = history.filter(|one| one["metadata"]["ownerReferences"][0]["controller"] == true);
        Ok(own.map(|one| one["metadata"]["uid"].clone()).collect())
    }

    /// The copy of v1, which is neither adopted nor changed by the controller whose kind it is of.
    fn copy(&self) -> Result<Value> {
        let mut copies = self.history()?;
        copies.retain(|one| !one["metadata"]["labels"]["snapback.dev/target"].is_null());
        let (Some(copy), 0) = (copies.pop(), copies.len()) else { bail!("not one copy") };
        let owners = &copy["metadata"]["ownerReferences"];
        ensure!(owners[1].is_null() && owners[0]["controller"].is_null(), "it was adopted: {owners}");
        ensure!(copy["metadata"]["labels"]["app"].is_null() && copy["revision"] == 1, "it was changed: {copy:#}");
        ensure!(copy["data"]["spec"]["template"]["spec"]["containers"][0]["image"] == "shop/store:v1", "{copy:#}");
        Ok(copy)
    }
}

pub(crate) fn stateful_set(bed: &Bed) -> Result<()> {
    let store = Store::adopted(bed, "stateful-set", "StatefulSet", "replicas: 3, serviceName: store")?;
    let before = store.pods()?;
    store.apply(V2)?;
    let status = store.undone()?;
    // The controller alone would have left the crashing pod there for ever.
    let deleted: Vec<&str> = status.deleted_pods.iter().map(|pod| pod.name.as_str()).collect();
    ensure!(deleted == ["store-2"], "{deleted:?}");
    let after = store.pods()?;
    ensure!(after.iter().all(|(_, image, _)| image == "shop/store:v1"), "{after:?}");
    ensure!(before[..2] == after[..2] && before[2] != after[2], "pods of v1 were replaced: {before:?}, {after:?}");
    let events = store.kubectl(&["get", "events", "--field-selector=involvedObject.kind=StatefulSet"])?;
    ensure!(events.contains("StuckPodDeleted"), "{events}");
    store.is_handed_back(&status)
}

/// Pods that came up and fail later: the stuck ones are deleted in the order in which the controller waits for them, and
/// the ready one is the controller's to replace.
pub(crate) fn many_stuck(bed: &Bed) -> Result<()> {
    let store = Store::adopted(bed, "many-stuck", "StatefulSet", "replicas: 3, serviceName: store")?;
    store.apply(&V3.replace("v3", "v2"))?;
    store.rolled_out()?;
    let failed = r#"{"status":{"conditions":[{"type":"Ready","status":"False"}],"containerStatuses":[{"name":"app",
        "image":"shop/store:v2","imageID":"","ready":false,"restartCount":4,"lastState":{"terminated":{"exitCode":1}},
        "state":{"waiting":{"reason":"CrashLoopBackOff"}}}]}}"#;
    for pod in ["store-1", "store-0"] {
        store.kubectl(&["patch", "pod", pod, "--subresource=status", "--type=merge", "-p", failed])?;
    }
    let status = store.undone()?;
    let deleted: Vec<&str> = status.deleted_pods.iter().map(|pod| pod.name.as_str()).collect();
    ensure!(deleted == ["store-0", "store-1"], "{deleted:?}");
    ensure!(store.images()?.iter().all(|image| image == "shop/store:v1"), "{:?}", store.images()?);
    Ok(())
}

/// The pods of v1 and v2 have the same names, and so the same counters.
pub(crate) fn numbers(bed: &Bed) -> Result<()> {
    let store = Store::adopted(bed, "numbers", "StatefulSet", "replicas: 3, serviceName: store")?;
    let spec = "targetRef: {kind: StatefulSet, name: store}\nmetrics: {source: numbers}\n\
                soak: {duration: 60s, interval: 1s}\nanalysis: {method: Consecutive, failures: 2}\nrollback: {verify: {duration: 10s}}\n\
                checks: [{name: errors, errorRate: {max: \"5%\"}}, \
                {name: own, severity: Warning, query: {promql: 'sum(up{pod=~\"{{ pods }}\"})', max: \"1\"}}]";
    bed.policy(&store.namespace, "store", spec)?;
    store.apply(&V3.replace("v3", "v2"))?;
    bed.until(&store.namespace, "store", "judged by numbers", |policy| {
        let target = policy.status.as_ref().and_then(|status| status.targets.first());
        let is_new = |images: &[String]| images.iter().any(|image| image.ends_with("v2"));
        target.is_some_and(|target| {
            let mut checks = target.checks.iter();
            is_new(&target.current.images)
                && checks.any(|check| check.name == "errors" && check.reason == "WithinLimit")
        })
    })?;
    bed.numbers.fail();
    let status = store.undone()?;
    ensure!(status.reason == "Verified", "{}: {}", status.reason, status.message);
    ensure!(status.deleted_pods.is_empty(), "ready pods were deleted: {:?}", status.deleted_pods);
    for pods in ["(store)-[0-9]+", "(store-0|store-1|store-2)"] {
        ensure!(bed.numbers.asked().iter().any(|query| query.contains(pods)), "{pods}: {:?}", bed.numbers.asked());
    }
    Ok(())
}

pub(crate) fn daemon_set(bed: &Bed) -> Result<()> {
    // Without a history the controller prunes v1's revision as soon as v2 runs: v1 comes back from the copy.
    let store = Store::adopted(bed, "daemon-set", "DaemonSet", "revisionHistoryLimit: 0")?;
    store.copy()?;
    let before = store.own_history()?;
    store.apply(V2)?;
    let status = store.undone()?;
    let after = store.own_history()?;
    ensure!(before.iter().all(|one| !after.contains(one)), "v1's revision was not pruned: {before:?}, {after:?}");
    ensure!(status.deleted_pods.is_empty(), "it un-wedges itself: {:?}", status.deleted_pods);
    ensure!(store.images()? == ["shop/store:v1"], "{:?}", store.images()?);
    store.is_handed_back(&status)
}

pub(crate) fn partition(bed: &Bed) -> Result<()> {
    let spec = "replicas: 3, serviceName: store, updateStrategy: {rollingUpdate: {partition: 2}}";
    let store = Store::adopted(bed, "partition", "StatefulSet", spec)?;
    let before = store.pods()?;
    store.apply(V2)?;
    let status = store.undone()?;
    ensure!(status.deleted_pods.len() == 1, "{:?}", status.deleted_pods);
    let after = store.pods()?;
    ensure!(after[2].1 == "shop/store:v1" && before[..2] == after[..2], "{before:?}, {after:?}");
    // v3 is rolled out, though two pods stay at v1.
    store.apply(V3)?;
    bed.until(&store.namespace, "store", "v3 known good", |policy| {
        let target = policy.status.as_ref().and_then(|status| status.targets.first());
        target.and_then(|target| target.known_good.as_ref()).is_some_and(|good| good.images == ["shop/store:v3"])
    })?;
    ensure!(store.images()? == ["shop/store:v1", "shop/store:v1", "shop/store:v3"], "{:?}", store.images()?);
    Ok(())
}

pub(crate) fn on_delete(bed: &Bed) -> Result<()> {
    let kinds = [
        ("StatefulSet", "replicas: 3, serviceName: store, updateStrategy: {type: OnDelete}"),
        ("DaemonSet", "updateStrategy: {type: OnDelete}"),
    ];
    for (kind, spec) in kinds {
        let store = Store::adopted(bed, &format!("on-delete-{}", kind.to_lowercase()), kind, spec)?;
        let before = store.pods()?;
        store.apply(V2)?;
        // A person tries it on the first pod.
        store.kubectl(&["delete", "pod", &before[0].0])?;
        let status = store.undone()?;
        ensure!(status.deleted_pods.len() == 1, "{kind}: {:?}", status.deleted_pods);
        let after = store.pods()?;
        ensure!(after.iter().all(|(_, image, _)| image == "shop/store:v1"), "{kind}: {after:?}");
        ensure!(before[1..] == after[1..], "{kind}: {before:?}, {after:?}");
    }
    Ok(())
}

/// Their own kind of object, in their own namespace, owned by their own workload: and yet not theirs.
pub(crate) fn copies(bed: &Bed) -> Result<()> {
    let limits = [
        ("StatefulSet", "replicas: 2, serviceName: store, podManagementPolicy: Parallel, revisionHistoryLimit: 0"),
        ("DaemonSet", "revisionHistoryLimit: 0"),
    ];
    for (kind, spec) in limits {
        let store = Store::adopted(bed, &format!("copies-{}", kind.to_lowercase()), kind, spec)?;
        let suspend = r#"{"spec":{"suspend":true}}"#;
        store.kubectl(&["patch", "rbp", "store", "--type=merge", "-p", suspend])?;
        let kept = store.copy()?;
        for release in 2..5 {
            store.apply(&V3.replace("v3", &format!("v{release}")))?;
            store.rolled_out()?;
        }
        // The controller prunes its own history, and it alone.
        let own = store.own_history()?.len();
        ensure!(own <= 2, "{kind}: {own} revisions, so nothing was pruned and nothing is shown");
        ensure!(store.copy()?["metadata"]["uid"] == kept["metadata"]["uid"], "{kind}: another copy");
        // It goes with the workload.
        let name = format!("controllerrevision/{}", kept["metadata"]["name"].as_str().context("no name")?);
        store.kubectl(&["delete", kind, "store"])?;
        store.kubectl(&["wait", "--for=delete", &name, "--timeout=30s"])?;
    }
    Ok(())
}

/// The same name, another kind: another target.
pub(crate) fn kinds_apart(bed: &Bed) -> Result<()> {
    let store = Store::adopted(bed, "kinds-apart", "StatefulSet", "replicas: 1, serviceName: store")?;
    bed.policy(&store.namespace, "deployment", "targetRef: {kind: Deployment, name: store}")?;
    let is_absent = |policy: &snapback_api::v1alpha1::RollbackPolicy| {
        let ready = condition(policy, "Ready");
        ready.is_some_and(|(_, reason, message)| {
            reason == "TargetNotFound" && message.contains("no Deployment \"store\"")
        })
    };
    bed.until(&store.namespace, "deployment", "no such Deployment", is_absent).map(drop)
}
