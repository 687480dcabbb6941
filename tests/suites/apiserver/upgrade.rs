//! From a chart that has its kinds in `crds/`, where Helm never upgrades them, to one that has them among its templates; and
//! what stays when the release goes. On a cluster of its own, since there is one set of kinds in a cluster.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use snapback_tests::cluster::{Cluster, Nodes};
use snapback_tests::sample::Tools;
use snapback_tests::tools;

use crate::bed::Bed;
use crate::chart::Copy;

const KINDS: [&str; 2] = ["rollbackpolicies.snapback.dev", "rollbacks.snapback.dev"];
const POLICY: &str = "apiVersion: snapback.dev/v1alpha1
kind: RollbackPolicy
metadata: {name: checkout, namespace: default}
spec: {targetRef: {kind: Deployment, name: checkout}}
";

type Helm = fn(&Tools, &[&str]) -> Result<String>;

/// How the kinds come into the release.
#[derive(Debug, Clone, Copy)]
enum Way {
    TakeOwnership,
    ByHand,
}

pub(crate) fn from_crds(bed: &Bed) -> Result<()> {
    let cluster = bed.wait(Cluster::start(Nodes::Simulated))?;
    let tools = Tools::new(&cluster.kubeconfig);
    tools.kubectl(&["create", "clusterrolebinding", "ada", "--clusterrole=cluster-admin", "--user=ada"])?;
    let (chart, previous) = (Copy::new("now")?, Copy::new("previous")?);
    as_before(&previous.0)?;
    let helms: [(&str, Helm); 2] = [("Helm 3", Tools::helm3), ("Helm 4", Tools::helm)];
    for (name, helm) in helms {
        for way in [Way::TakeOwnership, Way::ByHand] {
            upgraded(&tools, helm, &previous.0, &chart.0, way).with_context(|| format!("{name}, {way:?}"))?;
        }
        uninstalled(&tools, helm, &chart.0).with_context(|| name.to_owned())?;
    }
    Ok(())
}

/// The chart's shape before.
fn as_before(chart: &Path) -> Result<()> {
    std::fs::remove_file(chart.join("templates/crds.yaml"))?;
    std::fs::rename(chart.join("files/crds"), chart.join("crds"))?;
    Ok(())
}

fn run(tools: &Tools, helm: Helm, verb: &str, chart: &Path, more: &[&str]) -> Result<String> {
    let chart = chart.to_string_lossy().into_owned();
    let start = [verb, "snapback", &chart, "--namespace=snapback-system", "--set=replicas=0"];
    helm(tools, &[&start[..], more].concat())
}

fn upgraded(tools: &Tools, helm: Helm, previous: &Path, chart: &Path, way: Way) -> Result<()> {
    run(tools, helm, "install", previous, &["--create-namespace"])?;
    for kind in KINDS {
        tools.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "crd", kind])?;
    }
    records(tools)?;
    let before = kept(tools)?;
    let refusal = run(tools, helm, "upgrade", chart, &[]).err().context("Helm took kinds that are not its own")?;
    let refusal = format!("{refusal:#}");
    ensure!(refusal.contains("invalid ownership metadata"), "docs/install.md quotes other words: {refusal}");
    match way {
        Way::TakeOwnership => run(tools, helm, "upgrade", chart, &["--take-ownership"])?,
        Way::ByHand => {
            tools.paste(&by_hand()?, "ada")?;
            run(tools, helm, "upgrade", chart, &[])?
        }
    };
    ensure!(kept(tools)? == before, "policies and records are not what they were: {:#}", kept(tools)?);
    for kind in KINDS {
        let kind: Value = serde_json::from_str(&tools.kubectl(&["get", "crd", kind, "-o", "json"])?)?;
        ensure!(kind["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep", "{}", kind["metadata"]);
        ensure!(kind["metadata"]["annotations"]["meta.helm.sh/release-name"] == "snapback", "{}", kind["metadata"]);
    }
    // From now on an upgrade upgrades the kinds.
    let newer = Copy::new("newer")?;
    let file = newer.0.join("files/crds/snapback.dev_rollbackpolicies.yaml");
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(&file, text.replace("    shortNames:\n", "    shortNames:\n    - newer\n"))?;
    run(tools, helm, "upgrade", &newer.0, &[])?;
    let names = tools.kubectl(&["get", "crd", KINDS[0], "-o", "jsonpath={.spec.names.shortNames}"])?;
    ensure!(names.contains("newer"), "the kinds were not upgraded: {names}");
    ensure!(kept(tools)? == before, "policies and records did not survive: {:#}", kept(tools)?);
    helm(tools, &["uninstall", "snapback", "--namespace=snapback-system", "--wait"])?;
    ensure!(kept(tools)? == before, "policies and records went with the release: {:#}", kept(tools)?);
    tools.kubectl(&["delete", "crd", KINDS[0], KINDS[1]]).map(drop)
}

/// What is left of a release: the kinds with their objects. Installed again, it takes them up.
fn uninstalled(tools: &Tools, helm: Helm, chart: &Path) -> Result<()> {
    run(tools, helm, "install", chart, &["--create-namespace"])?;
    records(tools)?;
    let before = kept(tools)?;
    helm(tools, &["uninstall", "snapback", "--namespace=snapback-system", "--wait"])?;
    let all = [
        "clusterroles,clusterrolebindings,roles,rolebindings,serviceaccounts,configmaps,services,deployments",
        "poddisruptionbudgets,validatingadmissionpolicies,validatingadmissionpolicybindings,customresourcedefinitions",
    ];
    let left =
        tools.kubectl(&["get", &all.join(","), "-A", "-l", "app.kubernetes.io/instance=snapback", "-o", "name"])?;
    let left: Vec<&str> = left.lines().map(|line| line.rsplit('/').next().unwrap_or(line)).collect();
    ensure!(left == KINDS, "what is left: {left:?}");
    run(tools, helm, "install", chart, &[])?;
    ensure!(kept(tools)? == before, "policies and records are not what they were: {:#}", kept(tools)?);
    helm(tools, &["uninstall", "snapback", "--namespace=snapback-system", "--wait"])?;
    tools.kubectl(&["delete", "crd", KINDS[0], KINDS[1]]).map(drop)
}

/// A policy and a record, each with a status.
fn records(tools: &Tools) -> Result<()> {
    tools.apply(POLICY)?;
    let record = std::fs::read_to_string(tools::repository().join("examples/rollback-by-hand.yaml"))?;
    let record =
        record.replace("namespace: shop", "namespace: default").replace("generateName: checkout-", "name: checkout");
    tools.apply(&record)?;
    let status = json!({"status": {"phase": "Succeeded", "message": "of before"}}).to_string();
    let patch = ["patch", "rollbacks.snapback.dev/checkout", "--subresource=status", "--type=merge", "-p", &status];
    tools.kubectl(&patch).map(drop)
}

/// All policies and records, but for how often they were written.
fn kept(tools: &Tools) -> Result<Value> {
    let read = tools.kubectl(&["get", "rollbackpolicies.snapback.dev,rollbacks.snapback.dev", "-A", "-o", "json"])?;
    let mut read: Value = serde_json::from_str(&read)?;
    let objects = read["items"].as_array_mut().context("no list")?;
    ensure!(objects.len() == 2, "{} objects instead of a policy and a record", objects.len());
    let kept = |object: &mut Value| json!({"kind": object["kind"], "uid": object["metadata"]["uid"], "spec": object["spec"], "status": object["status"]});
    Ok(objects.iter_mut().map(kept).collect())
}

/// The commands of the documentation.
fn by_hand() -> Result<String> {
    let text = std::fs::read_to_string(tools::repository().join("docs/install.md"))?;
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split_once("\n```"));
    let mut found = blocks.map(|(block, _)| block).filter(|block| block.contains("meta.helm.sh/release-name"));
    found.next().map(str::to_owned).context("docs/install.md does not say how to adopt the kinds")
}
