//! What is told before a rollback is needed, where a real API server and real controllers decide whether it is true.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use snapback_api::v1alpha1::{RollbackPhase, RollbackPolicy};

use crate::bed::{Bed, condition};
use crate::jobs::until;
use crate::operator::{TARGET, deployment};

const RULES: &str = "soak: {duration: 5m, interval: 1s}\nchecks: [{name: crashes, crashRate: {max: \"50%\"}}]";

fn apply(bed: &Bed, namespace: &str, version: &str, history: i32) -> Result<()> {
    let manifest = deployment(namespace)
        .replace("spec:\n  selector", &format!("spec:\n  revisionHistoryLimit: {history}\n  selector"))
        .replace("checkout:v1", &format!("checkout:{version}"));
    ensure!(manifest.contains("revisionHistoryLimit"), "{manifest}");
    bed.tools.apply(&manifest)?;
    bed.rolled_out(namespace, "deploy/checkout")
}

fn is(policy: &RollbackPolicy, reason: &str, words: &str) -> bool {
    condition(policy, "RollbackReady").is_some_and(|(_, why, message)| why == reason && message.contains(words))
}

fn sets(bed: &Bed, namespace: &str) -> Result<String> {
    let image = "jsonpath={.items[*].spec.template.spec.containers[0].image}";
    bed.tools.kubectl(&["-n", namespace, "get", "replicasets", "-o", image])
}

fn eventually(what: &str, is_so: impl Fn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so()? {
        if Instant::now() > deadline {
            bail!("waited 30 s for {what}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// v1 is known good, and a quota allows no copy of it.
fn without_copies(bed: &Bed, name: &str, history: i32) -> Result<String> {
    let namespace = bed.namespace(name)?;
    let quota = format!(
        "apiVersion: v1\nkind: ResourceQuota\nmetadata: {{name: none, namespace: {namespace}}}\n\
         spec: {{hard: {{count/controllerrevisions.apps: \"0\"}}}}\n"
    );
    bed.tools.apply(&quota)?;
    bed.tools.kubectl(&["-n", &namespace, "wait", "--for=jsonpath={.status.hard}", "quota/none", "--timeout=30s"])?;
    apply(bed, &namespace, "v1", history)?;
    bed.policy(&namespace, "checkout", &format!("{TARGET}\n{RULES}"))?;
    Ok(namespace)
}

/// What is told comes true with the next release.
pub(crate) fn history(bed: &Bed) -> Result<()> {
    let namespace = without_copies(bed, "short-history", 0)?;
    let told = |reason: &'static str, words: &'static str| {
        bed.until(&namespace, "checkout", reason, |policy| is(policy, reason, words))
    };
    told("HistoryTooShort", "raise revisionHistoryLimit to at least 1")?;
    told("HistoryTooShort", "no copy of it could be kept (the copy of the template: controllerrevisions.apps")?;
    told("HistoryTooShort", "exceeded quota")?;
    apply(bed, &namespace, "v2", 0)?;
    told("KnownGoodIsGone", "no ReplicaSet and no copy")?;
    ensure!(sets(bed, &namespace)? == "shop/checkout:v2", "{}", sets(bed, &namespace)?);

    // One is enough for the next release, and not for the one after it.
    let namespace = without_copies(bed, "longer-history", 1)?;
    let told = |reason: &'static str, words: &'static str| {
        bed.until(&namespace, "checkout", reason, |policy| is(policy, reason, words))
    };
    told("KnownGood", "")?;
    apply(bed, &namespace, "v2", 1)?;
    told("HistoryTooShort", "at least 2")?;
    apply(bed, &namespace, "v2", 2)?;
    told("KnownGood", "")?;
    apply(bed, &namespace, "v3", 2)?;
    told("HistoryTooShort", "at least 3")?;
    apply(bed, &namespace, "v3", 1)?;
    told("KnownGoodIsGone", "")?;
    eventually("v1 pruned", || Ok(!sets(bed, &namespace)?.contains("v1")))
}

/// Admission would not let v1 back in: who asks for it is told at once, and nothing was changed.
pub(crate) fn by_hand(bed: &Bed) -> Result<()> {
    let namespace = bed.namespace("refused-by-hand")?;
    for version in ["v1", "v2"] {
        apply(bed, &namespace, version, 10)?;
    }
    let rule = format!(
        "apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: {namespace}}}
spec:
  matchConstraints:
    namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}
    resourceRules: [{{apiGroups: [apps], apiVersions: [v1], operations: [UPDATE], resources: [deployments]}}]
  validations:
  - expression: \"object.spec.template.spec.containers.all(c, !c.image.endsWith(':v1'))\"
    message: v1 has a hole
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: {namespace}}}
spec: {{policyName: {namespace}, validationActions: [Deny]}}
"
    );
    bed.tools.apply(&rule)?;
    let undo = ["-n", &namespace, "set", "image", "deploy/checkout", "app=shop/checkout:v1", "--dry-run=server"];
    eventually("admission in force", || Ok(bed.tools.kubectl(&undo).is_err()))?;
    let order = format!(
        "apiVersion: snapback.dev/v1alpha1\nkind: Rollback\nmetadata: {{name: by-hand, namespace: {namespace}}}\n\
         spec: {{target: {{kind: Deployment, name: checkout}}, trigger: {{type: Manual}}}}\n"
    );
    let generation = ["-n", &namespace, "get", "deploy", "checkout", "-o", "jsonpath={.metadata.generation}"];
    let before = bed.tools.kubectl(&generation)?;
    bed.tools.kubectl_with(&["create", "-f", "-"], &order)?;
    let ended = until(bed, &namespace, "refused", |rollback| {
        rollback.status.as_ref().is_some_and(|status| status.phase == Some(RollbackPhase::Failed))
    })?;
    let status = ended.status.unwrap_or_default();
    ensure!(status.reason == "UndoWouldBeRefused", "{}: {}", status.reason, status.message);
    ensure!(status.message.contains("v1 has a hole") && status.message.contains("nothing was changed"), "{status:?}");
    ensure!(status.timeline.undo_requested_at.is_none(), "{status:?}");
    ensure!(bed.tools.kubectl(&generation)? == before, "something was changed");
    bed.tools.kubectl(&["delete", "validatingadmissionpolicy,validatingadmissionpolicybinding", &namespace]).map(drop)
}

/// What the known good template refers to is looked for, each by its own right.
pub(crate) fn references(bed: &Bed) -> Result<()> {
    let namespace = bed.namespace("references")?;
    let objects = format!(
        "apiVersion: v1
kind: ServiceAccount
metadata: {{name: runner, namespace: {namespace}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: disk, namespace: {namespace}}}
spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}, storageClassName: none, volumeName: none}}
---
"
    );
    let spec = "spec: {serviceAccountName: runner, volumes: [{name: disk, persistentVolumeClaim: {claimName: disk}}], \
                nodeName: simulated, containers:";
    let manifest = deployment(&namespace).replace("spec: {containers:", spec);
    ensure!(manifest.contains("serviceAccountName"), "{manifest}");
    bed.tools.apply(&format!("{objects}{manifest}"))?;
    bed.rolled_out(&namespace, "deploy/checkout")?;
    bed.policy(&namespace, "checkout", &format!("{TARGET}\n{RULES}"))?;
    bed.until(&namespace, "checkout", "all is there", |policy| is(policy, "KnownGood", ""))?;
    bed.tools.kubectl(&["-n", &namespace, "delete", "serviceaccount", "runner"])?;
    // The next release does not need it; the way back does.
    bed.tools.apply(&deployment(&namespace).replace("checkout:v1", "checkout:v2"))?;
    bed.until(&namespace, "checkout", "it is gone", |policy| is(policy, "ReferenceMissing", "ServiceAccount runner"))
        .map(drop)
}

/// A record of long ago goes once it has ended.
pub(crate) fn old_record(bed: &Bed) -> Result<()> {
    let namespace = bed.namespace("old-record")?;
    bed.tools.apply(&crate::access::asking(&namespace, "Manual", ""))?;
    let ended = ["-n", &namespace, "get", "rollback", "asking", "-o", "jsonpath={.status.timeline.endedAt}"];
    eventually("its end", || Ok(!bed.tools.kubectl(&ended)?.is_empty()))?;
    let long_ago = r#"{"status":{"timeline":{"endedAt":"2020-01-02T03:04:05Z"}}}"#;
    let patch = ["patch", "rollback", "asking", "--subresource=status", "--type=merge", "-p", long_ago];
    bed.tools.kubectl(&[&["-n", &namespace][..], &patch].concat())?;
    let get = ["-n", &namespace, "get", "rollback", "asking", "--ignore-not-found", "-o", "name"];
    eventually("the record deleted", || Ok(bed.tools.kubectl(&get)?.is_empty()))
}

/// An older schema let it in: it cannot be read, and says so. No other test runs meanwhile.
pub(crate) fn undecodable(bed: &Bed) -> Result<()> {
    let crd = "rollbackpolicies.snapback.dev";
    let loose = r#"[{"op":"remove","path":"/spec/versions/0/selectableFields"},{"op":"replace","path":"/spec/versions/0/schema/openAPIV3Schema","value":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}]"#;
    bed.tools.kubectl(&["patch", "crd", crd, "--type=json", "-p", loose])?;
    let namespace = bed.namespace("undecodable")?;
    eventually("the loose schema", || Ok(bed.policy(&namespace, "checkout", "mode: 7").is_ok()))?;
    let said = "jsonpath={.status.conditions[?(@.type==\"Ready\")].message}";
    let get = ["-n", &namespace, "get", "rollbackpolicies", "checkout", "-o", said];
    eventually("the object said to be unreadable", || {
        Ok(bed.tools.kubectl(&get)?.contains("the object cannot be read"))
    })
}
