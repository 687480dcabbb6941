//! The chart, the kustomize base and the published kinds.

use anyhow::{Context, Result, ensure};
use snapback_tests::{manifests, reference, tools};

use crate::bed::Bed;

fn folder() -> String {
    tools::repository().join("charts/snapback").to_string_lossy().into_owned()
}

pub(crate) fn chart_objects(bed: &Bed, more: &[&str]) -> Result<String> {
    let chart = folder();
    bed.tools.helm(&[&["template", "snapback", &chart, "--namespace=snapback-system"], more].concat())
}

const SOURCES: &str = r#"--set-json=config.sources=[{"name":"main","url":"http://prometheus.monitoring:9090"}]"#;

pub(crate) fn chart(bed: &Bed) -> Result<()> {
    bed.tools.helm(&["lint", "--strict", &folder()])?;
    for more in [
        &[][..],
        &[SOURCES],
        &["--set=jobs.enabled=true"],
        &["--set=restore.secrets=true"],
        &[SOURCES, "--set=secretMounts={prometheus}", "--set=priorityClassName=system-cluster-critical"],
    ] {
        let objects = chart_objects(bed, more)?;
        bed.tools
            .kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &objects)
            .with_context(|| format!("{more:?}"))?;
    }
    let objects = chart_objects(bed, &[SOURCES])?;
    ensure!(!objects.contains("- apiGroups: [batch]\n"), "the operator may create Jobs though nobody enabled it");
    for safeguard in
        ["runAsNonRoot: true", "readOnlyRootFilesystem: true", "seccompProfile: {type: RuntimeDefault}", "drop: [ALL]"]
    {
        ensure!(objects.contains(safeguard), "the chart lacks {safeguard}");
    }
    ensure!(objects.contains("kind: ValidatingAdmissionPolicyBinding"), "nothing binds the admission policy");
    let without = chart_objects(bed, &["--set=admission.enabled=false"])?;
    ensure!(!without.contains("ValidatingAdmissionPolicy"), "admission.enabled does not switch it");
    ensure!(!objects.contains("\"*\"") && !objects.contains("secrets]"), "the chart gives rights too wide");
    Ok(())
}

pub(crate) fn confined(bed: &Bed) -> Result<()> {
    let objects = chart_objects(bed, &["--set=config.watchNamespaces={shop}"])?;
    let mut rights = objects.split("\n---\n").filter(|object| object.contains("kind: ClusterRoleBinding"));
    ensure!(rights.next().is_none(), "a confined operator has rights in all namespaces");
    ensure!(objects.contains("kind: RoleBinding") && objects.contains("namespace: shop"), "{objects}");
    let mut bindings =
        objects.split("\n---\n").filter(|object| object.contains("kind: ValidatingAdmissionPolicyBinding"));
    let binding = bindings.next().context("nothing binds the admission policy")?;
    ensure!(binding.contains("matchLabels: {kubernetes.io/metadata.name: shop}"), "{binding}");
    Ok(())
}

/// `deploy/base` is what the chart renders, and `kubectl apply -k` takes it.
pub(crate) fn base(bed: &Bed) -> Result<()> {
    let path = tools::repository().join("deploy/base/snapback.yaml");
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    ensure!(
        published == manifests::base(&bed.tools)?,
        "deploy/base is not what the chart renders: run `make manifests`"
    );
    let overlay = tools::repository().join("deploy/base");
    bed.tools
        .kubectl(&["apply", "--dry-run=server", "--server-side", "--force-conflicts", "-k", &overlay.to_string_lossy()])
        .map(drop)
}

pub(crate) fn published(_: &Bed) -> Result<()> {
    for (name, crd) in snapback_api::crd::all() {
        for folder in ["crds", "charts/snapback/crds"] {
            let text = std::fs::read_to_string(tools::repository().join(folder).join(name))?;
            let written: serde_json::Value = serde_yaml_ng::from_str(&text)?;
            ensure!(written == crd, "{folder}/{name} is not what the types say: run `make crds`");
        }
    }
    let reference = std::fs::read_to_string(tools::repository().join("docs/api.md"))?;
    ensure!(reference == reference::text(), "docs/api.md is not what the types say: run `make crds`");
    Ok(())
}
