//! Addresses, paths and names that want the operator to ask somebody else, in every place that a user can write.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use snapback_api::v1alpha1::Rollback;

use crate::bed::{Bed, condition};
use crate::jobs::until;
use crate::operator::{TARGET, deployment};

/// What the status of a pod is made to say, in rounds of ten whose first one the API server takes. The metadata of clouds, this machine, and everybody.
const FORGED: [[&str; 10]; 4] = [
    [
        "127.0.0.1",
        "127.1.2.3",
        "127.255.255.254",
        "169.254.169.254",
        "169.254.170.2",
        "0.0.0.0",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "224.0.0.1",
    ],
    [
        "::1",
        "0:0:0:0:0:0:0:1",
        "::",
        "fe80::1",
        "fe80::a9fe:a9fe",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fd00:c1::a9fe:a9fe",
        "ff02::1",
        "fec0::1",
    ],
    [
        "2002:7f00:1::",
        "::ffff:7f00:1",
        "::ffff:a9fe:a9fe",
        "::127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "::ffff:127.0.0.1",
        "2002:a9fe:a9fe::1",
        "2001:0:7f00:1::",
        "2001:db8::5efe:7f00:1",
    ],
    [
        "2130706433",
        "0177.0.0.1",
        "0x7f000001",
        "127.1",
        "localhost",
        "169.254.169.254:80",
        "[::1]",
        "10.0.0.7@127.0.0.1",
        "127.0.0.1\r\nHost: x",
        "fe80::1%lo",
    ],
];

/// Counts who comes.
async fn listen(address: &str) -> Result<(Arc<AtomicUsize>, u16)> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    let (count, port) = (Arc::new(AtomicUsize::new(0)), listener.local_addr()?.port());
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    Ok((count, port))
}

/// Somebody who may write the status of pods sends the probes of an undo elsewhere.
pub(crate) fn forged_pods(bed: &Bed) -> Result<()> {
    let (here, port) = bed.wait(listen("0.0.0.0:0"))?;
    let six = bed.wait(listen(&format!("[::1]:{port}"))).ok();
    let namespace = bed.namespace("hostile-pods")?;
    let many = deployment(&namespace).replace("spec:\n  selector", "spec:\n  replicas: 10\n  selector");
    for version in ["v1", "v2"] {
        bed.tools.apply(&many.replace("checkout:v1", &format!("checkout:{version}")))?;
        bed.tools.kubectl(&["-n", &namespace, "rollout", "status", "deploy/checkout", "--timeout=60s"])?;
    }
    let probes = format!(
        "[{{path: /, port: {port}}}, {{path: \"//127.0.0.1:{port}/\", port: {port}}}, \
         {{path: \"/@127.0.0.1:{port}/\", port: {port}}}, {{path: /, port: {port}, scheme: HTTPS}}]"
    );
    bed.tools.apply(&format!(
        "apiVersion: snapback.dev/v1alpha1
kind: Rollback
metadata: {{name: by-hand, namespace: {namespace}}}
spec:
  target: {{kind: Deployment, name: checkout}}
  trigger: {{type: Manual}}
  verify: {{duration: 10m, interval: 1s, minimumRequests: 1, http: {probes}}}
"
    ))?;
    let says = |rollback: &Rollback, words: &str| {
        rollback.status.as_ref().is_some_and(|status| status.message.contains(words))
    };
    until(bed, &namespace, "asking", |rollback| says(rollback, "it has no address of its own yet"))?;
    bed.tools.kubectl(&["-n", &namespace, "rollout", "status", "deploy/checkout", "--timeout=60s"])?;
    let pods: Api<Pod> = Api::namespaced(bed.client.clone(), &namespace);
    let list = bed.wait(pods.list(&ListParams::default()))?;
    let mut names: Vec<String> =
        list.items.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).map(ResourceExt::name_any).collect();
    names.sort();
    ensure!(names.len() == 10, "{names:?}");
    let (mut taken, mut refused) = (BTreeSet::new(), 0);
    for round in FORGED {
        // The sentence is about the first pod by name: when that speaks of its address, all were asked at theirs.
        for (name, forged) in names.iter().zip(round).rev() {
            let status = json!({"status": {"podIP": forged, "podIPs": [{"ip": forged}]}});
            match bed.wait(pods.patch_status(name, &PatchParams::default(), &Patch::Merge(&status))) {
                Ok(_) => _ = taken.insert(forged),
                Err(kube::Error::Api(status)) if (400..500).contains(&status.code) => refused += 1,
                Err(error) => bail!("{forged:?}: {error}"),
            }
        }
        let Ok(first) = round[0].parse::<IpAddr>() else { continue };
        let words = format!("was not sent: its status says {first}, which is no address of a pod");
        until(bed, &namespace, &words, |rollback| says(rollback, &words))?;
    }
    println!("forged addresses of pods: {} taken by the API server, {refused} refused", taken.len());
    ensure!(taken.len() >= 20, "the API server took only {taken:?}");
    let came = here.load(Ordering::SeqCst) + six.map_or(0, |(six, _)| six.load(Ordering::SeqCst));
    ensure!(came == 0, "{came} connections to this machine");
    Ok(())
}

/// Names that are more than a name, as parts of a request's path.
const NAMES: [&str; 14] = [
    "../secrets/token",
    "../../../kube-system/secrets/token",
    "..",
    ".",
    "a/b",
    "a/status",
    "settings?watch=true",
    "settings#x",
    "settings%2f..%2fother",
    "a b",
    "ä",
    "settings\r\nx: y",
    "//127.0.0.1/",
    "http://169.254.169.254/latest",
];

/// Wherever a user names an object, what is no name is asked of nobody, and the author is told.
pub(crate) fn names(bed: &Bed) -> Result<()> {
    let namespace = bed.namespace("hostile-names")?;
    // In our own kinds the schema says it.
    for name in NAMES {
        for (kind, spec) in [
            ("Rollback", json!({"target": {"kind": "Deployment", "name": name}, "trigger": {"type": "Manual"}})),
            ("RollbackPolicy", json!({"targetRef": {"kind": "Deployment", "name": name}})),
            (
                "RollbackPolicy",
                json!({"targetRef": {"kind": "Deployment", "name": "a"}, "rollback": {"helm": {"job": name}}}),
            ),
        ] {
            let manifest = json!({
                "apiVersion": "snapback.dev/v1alpha1", "kind": kind,
                "metadata": {"name": "hostile", "namespace": namespace}, "spec": spec
            });
            let said = bed.refusal(&manifest.to_string())?;
            ensure!(said.contains("should match") || said.contains("must be"), "{name:?}: {said}");
        }
    }
    // In a template anybody may write nearly anything.
    let volumes: Vec<Value> = NAMES
        .iter()
        .enumerate()
        .map(|(at, name)| json!({"name": format!("v{at}"), "configMap": {"name": name}}))
        .collect();
    let mut object: Value = serde_yaml_ng::from_str(&deployment(&namespace))?;
    object["spec"]["template"]["metadata"]["annotations"] = json!({
        "snapback.dev/migration": "Reversible", "snapback.dev/migration-job": "../../jobs/other"
    });
    object["spec"]["template"]["spec"]["volumes"] = json!(volumes);
    bed.tools.kubectl_with(&["create", "-f", "-"], &object.to_string())?;
    bed.rolled_out(&namespace, "deploy/checkout")?;
    bed.policy(&namespace, "checkout", &format!("{TARGET}\nrollback: {{config: Restore}}"))?;
    let policy = bed.until(&namespace, "checkout", "looked at", |policy| {
        condition(policy, "RollbackReady").is_some_and(|(_, why, _)| why == "ReferenceMissing")
    })?;
    let (_, _, message) = condition(&policy, "RollbackReady").context("just seen")?;
    ensure!(message.contains("ConfigMap"), "{message}");
    Ok(())
}
