//! What the operator's ServiceAccount may change, whatever rights it has: admission refuses everything else.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::access::{OPERATOR, bind, eventually, refused};
use crate::bed::Bed;
use crate::operator::deployment;

/// As the operator, with a patch of a workload; nothing is changed.
fn patch(bed: &Bed, namespace: &str, workload: &str, patch: &Value) -> Result<String> {
    let patch = patch.to_string();
    let arguments = ["patch", workload, "--dry-run=server", "--type=merge", "-p", &patch];
    bed.tools.kubectl(&[&["-n", namespace, "--as", OPERATOR], &arguments[..]].concat())
}

fn stateful(namespace: &str, kind: &str) -> String {
    let more = if kind == "StatefulSet" { "\n  replicas: 1\n  serviceName: store" } else { "" };
    format!(
        "apiVersion: apps/v1
kind: {kind}
metadata: {{name: store, namespace: {namespace}, labels: {{app: store}}, annotations: {{team: shop}}}}
spec:
  selector: {{matchLabels: {{app: store}}}}{more}
  template:
    metadata: {{labels: {{app: store}}}}
    spec: {{containers: [{{name: app, image: \"shop/store:v1\"}}]}}
"
    )
}

/// With the rights of a namespace's admin, which hold every right on workloads: what remains is admission's.
fn armed(bed: &Bed, name: &str) -> Result<String> {
    let namespace = bed.namespace(name)?;
    bed.tools.apply(
        &deployment(&namespace)
            .replace("labels: {app: checkout}}\nspec", "labels: {app: checkout}, annotations: {team: shop}}\nspec"),
    )?;
    for kind in ["StatefulSet", "DaemonSet"] {
        bed.tools.apply(&stateful(&namespace, kind))?;
    }
    bed.rolled_out(&namespace, "deploy/checkout")?;
    bind(bed, &namespace, "admin", OPERATOR)?;
    // In force once a right is there and its use is refused.
    eventually("the confinement", || {
        let label = json!({"metadata": {"labels": {"app": "other"}}});
        refused(patch(bed, &namespace, "deploy/checkout", &label), "may not change labels")
    })?;
    Ok(namespace)
}

pub(crate) fn workloads(bed: &Bed) -> Result<()> {
    let namespace = armed(bed, "confined-workloads")?;
    let template = json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "shop/other:v0"}]}}}});
    let mark = json!({"metadata": {"annotations": {
        "snapback.dev/frozen": "yes", "kubectl.kubernetes.io/last-applied-configuration": "{}"
    }}});
    for workload in ["deploy/checkout", "sts/store", "ds/store"] {
        for change in [&template, &mark] {
            patch(bed, &namespace, workload, change).with_context(|| format!("{workload}: {change}"))?;
        }
    }
    for change in
        [json!({"spec": {"paused": true}}), json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": "100%"}}}})]
    {
        patch(bed, &namespace, "deploy/checkout", &change).with_context(|| change.to_string())?;
    }
    let no_labels = "may not change labels, finalizers and owners";
    let no_annotation = "may change no annotation but its own";
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x"}]);
    let everywhere = [
        (json!({"metadata": {"labels": {"app": null}}}), no_labels),
        (json!({"metadata": {"labels": {"new": "yes"}}}), no_labels),
        (json!({"metadata": {"finalizers": ["example.com/stay"]}}), no_labels),
        (json!({"metadata": {"ownerReferences": owner}}), no_labels),
        (json!({"metadata": {"annotations": {"team": "other"}}}), no_annotation),
        (json!({"metadata": {"annotations": {"team": null}}}), no_annotation),
        (json!({"metadata": {"annotations": {"meta.helm.sh/release-name": "other"}}}), no_annotation),
        (json!({"spec": {"minReadySeconds": 60}}), "may not change spec.minReadySeconds"),
        (json!({"spec": {"revisionHistoryLimit": 0}}), "may not change spec.revisionHistoryLimit"),
    ];
    for workload in ["deploy/checkout", "sts/store", "ds/store"] {
        for (change, words) in &everywhere {
            let said = patch(bed, &namespace, workload, change);
            refused(said, words).with_context(|| format!("{workload}: {change}"))?;
        }
    }
    let partition = json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 1}}}});
    for (workload, change, words) in [
        ("deploy/checkout", json!({"spec": {"replicas": 0}}), "may not change spec.replicas"),
        ("sts/store", json!({"spec": {"replicas": 0}}), "may not change spec.replicas"),
        (
            "deploy/checkout",
            json!({"spec": {"progressDeadlineSeconds": 9}}),
            "may not change spec.progressDeadlineSeconds",
        ),
        (
            "deploy/checkout",
            json!({"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": "100%"}}}}),
            "may not change spec.strategy.rollingUpdate.maxUnavailable",
        ),
        (
            "deploy/checkout",
            json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}}),
            "may not change spec.strategy.type",
        ),
        ("sts/store", partition, "may not change spec.updateStrategy"),
        (
            "ds/store",
            json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}}),
            "may not change spec.updateStrategy",
        ),
    ] {
        refused(patch(bed, &namespace, workload, &change), words).with_context(|| format!("{workload}: {change}"))?;
    }
    let as_operator = |arguments: &[&str]| {
        bed.tools.kubectl(&[&["-n", &namespace, "--as", OPERATOR, "--dry-run=server"], arguments].concat())
    };
    let neither = "may neither create nor delete workloads, nor touch their subresources";
    refused(as_operator(&["delete", "deploy/checkout"]), neither)?;
    refused(as_operator(&["delete", "sts/store"]), neither)?;
    refused(as_operator(&["scale", "deploy/checkout", "--replicas=0"]), neither)?;
    refused(as_operator(&["create", "deployment", "other", "--image=shop/other:v1"]), neither)?;
    // Nobody else is confined.
    let person = ["-n", &namespace, "scale", "deploy/checkout", "--replicas=2", "--dry-run=server"];
    bed.tools.kubectl(&person).map(drop)
}

pub(crate) fn own(bed: &Bed) -> Result<()> {
    let namespace = armed(bed, "confined-own")?;
    let as_operator = |arguments: &[&str], input: &str| {
        let who = ["-n", &namespace, "--as", OPERATOR, "--dry-run=server"];
        bed.tools.kubectl_with(&[&who[..], arguments].concat(), input)
    };
    let map = |labels: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: copy, namespace: {namespace}, labels: {{{labels}}}}}\n"
        )
    };
    let unlabelled = "may create and delete only what carries its label";
    as_operator(&["create", "-f", "-"], &map("snapback.dev/target: checkout"))?;
    refused(as_operator(&["create", "-f", "-"], &map("app: checkout")), unlabelled)?;
    let secret = map("").replace("ConfigMap", "Secret");
    refused(as_operator(&["create", "-f", "-"], &secret), unlabelled)?;
    bed.tools.apply(&map("app: checkout"))?;
    refused(as_operator(&["delete", "configmap", "copy"], ""), unlabelled)?;
    refused(
        as_operator(&["label", "configmap", "copy", "snapback.dev/target=checkout"], ""),
        "may change nothing that it made",
    )?;
    let pod = |owner: &str| -> Result<String> {
        let pods: Value = serde_json::from_str(&bed.tools.kubectl(&["-n", &namespace, "get", "pods", "-o", "json"])?)?;
        let mut pods = pods["items"].as_array().cloned().unwrap_or_default().into_iter();
        let found = pods.find(|pod| pod["metadata"]["ownerReferences"][0]["kind"] == owner);
        found.and_then(|pod| Some(pod["metadata"]["name"].as_str()?.to_owned())).context("no pod")
    };
    let stateful = eventually("a pod of the StatefulSet", || pod("StatefulSet"))?;
    as_operator(&["delete", "pod", &stateful], "")?;
    let others = "may delete no pods but those of StatefulSets and DaemonSets";
    refused(as_operator(&["delete", "pod", &pod("ReplicaSet")?], ""), others)?;
    let job = format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: any, namespace: {namespace}}}\nspec: {{template: {{spec: {{restartPolicy: Never, containers: [{{name: a, image: a}}]}}}}}}\n"
    );
    refused(as_operator(&["create", "-f", "-"], &job), unlabelled)
}

/// With one watched namespace, the operator may change nothing in another, even if it had the right to.
pub(crate) fn elsewhere(bed: &Bed) -> Result<()> {
    let namespace = bed.namespace("confined-elsewhere")?;
    bed.tools.apply(&deployment(&namespace))?;
    let user = "system:serviceaccount:other-system:other-snapback";
    let chart = snapback_tests::tools::repository().join("charts/snapback").to_string_lossy().into_owned();
    let render = ["template", "other", &chart, "--namespace=other-system", "--show-only=templates/confinement.yaml"];
    let policy = bed.tools.helm(&[&render[..], &["--set=config.watchNamespaces={shop}"]].concat())?;
    bed.tools.apply(&policy)?;
    bind(bed, &namespace, "admin", user)?;
    let freeze = json!({"spec": {"paused": true}}).to_string();
    let outcome = eventually("the other confinement", || {
        let said = bed.tools.kubectl(&[
            "-n",
            &namespace,
            "--as",
            user,
            "patch",
            "deploy/checkout",
            "--dry-run=server",
            "--type=merge",
            "-p",
            &freeze,
        ]);
        refused(said, "may change nothing outside the namespace that it watches")
    });
    bed.tools.kubectl_with(&["delete", "-f", "-"], &policy)?;
    outcome
}
