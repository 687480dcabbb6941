//! `examples/gitops` as it stands: the API server takes it with the tools' own kinds, the values and patches in it are a
//! configuration that the operator takes; and what Argo CD says of a policy.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use snapback_controller::config::OperatorConfig;
use snapback_tests::releases::V1;
use snapback_tests::{chart, tools};

use crate::argocd::{Application, Applies};
use crate::bed::Bed;

/// The objects of an example, after the API server took all of them.
fn taken(bed: &Bed, name: &str) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(tools::repository().join("examples/gitops").join(name))?;
    let objects: Vec<Value> =
        serde_yaml_ng::Deserializer::from_str(&text).map(Value::deserialize).collect::<Result<_, _>>()?;
    for namespace in objects.iter().filter_map(|object| object["metadata"]["namespace"].as_str()) {
        bed.tools.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n"))?;
    }
    bed.tools.kubectl_with(&["apply", "--dry-run=server", "--validate=strict", "-f", "-"], &text)?;
    Ok(objects)
}

/// The object of this kind and name.
fn one<'a>(objects: &'a [Value], kind: &str, name: &str) -> Result<&'a Value> {
    let is_it = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
    objects.iter().find(is_it).with_context(|| format!("no {kind} {name}"))
}

/// The operator takes what the chart makes of these values.
fn values_work(bed: &Bed, values: &Value) -> Result<OperatorConfig> {
    let file = bed.folder.join("values-of-an-example.yaml");
    std::fs::write(&file, serde_yaml_ng::to_string(values)?)?;
    let rendered = chart::render(&bed.tools, &[&format!("--values={}", file.display())])?;
    ensure!(!rendered.contains("ghcr.io/snapback-dev"), "the image was not replaced");
    configured(&rendered)
}

/// The operator's configuration among objects.
fn configured(objects: &str) -> Result<OperatorConfig> {
    for document in serde_yaml_ng::Deserializer::from_str(objects) {
        if let Some(config) = Value::deserialize(document)?["data"]["config.yaml"].as_str() {
            return OperatorConfig::parse(config).map_err(anyhow::Error::msg);
        }
    }
    Err(anyhow::anyhow!("there is no configuration among the objects"))
}

pub(crate) fn argocd(bed: &Bed) -> Result<()> {
    _ = bed.argocd()?;
    let objects = taken(bed, "argocd-application.yaml")?;
    let values = &one(&objects, "Application", "snapback")?["spec"]["source"]["helm"]["valuesObject"];
    ensure!(values_work(bed, values)?.gitops.argocd.enabled, "{values}");
    Ok(())
}

pub(crate) fn flux(bed: &Bed) -> Result<()> {
    _ = bed.flux()?;
    let kinds = tools::source("flux-releases", "github.com/fluxcd/helm-controller")?.join("config/crd/bases");
    bed.kinds(&[kinds.join("helm.toolkit.fluxcd.io_helmreleases.yaml")])?;
    let objects = taken(bed, "flux-helmrelease.yaml")?;
    let values = &one(&objects, "HelmRelease", "snapback")?["spec"]["values"];
    ensure!(values_work(bed, values)?.gitops.flux.enabled, "{values}");

    let objects = taken(bed, "flux-kustomization.yaml")?;
    let spec = &one(&objects, "Kustomization", "snapback")?["spec"];
    // As Flux builds it: the patches and images of the spec, added to what is in the path.
    let root = bed.folder.join("flux-example");
    for folder in ["crds", "deploy/base", "deploy/overlays/flux"] {
        std::fs::create_dir_all(root.join(folder))?;
        for entry in std::fs::read_dir(tools::repository().join(folder))? {
            let entry = entry?;
            std::fs::copy(entry.path(), root.join(folder).join(entry.file_name()))?;
        }
    }
    let path = root.join(spec["path"].as_str().context("no path")?).join("kustomization.yaml");
    let mut built: Value = serde_yaml_ng::from_str(&std::fs::read_to_string(&path)?)?;
    built["images"] = spec["images"].clone();
    let (own, added) = (built["patches"].as_array_mut(), spec["patches"].as_array());
    own.context("no patches")?.extend(added.context("no patches in the spec")?.clone());
    std::fs::write(&path, serde_yaml_ng::to_string(&built)?)?;
    let folder = path.parent().context("a file is in a folder")?;
    let built = bed.tools.kubectl(&["kustomize", &folder.to_string_lossy()])?;
    ensure!(!built.contains("ghcr.io/snapback-dev"), "the image was not replaced");
    let config = configured(&built)?;
    ensure!(!config.sources.is_empty() && config.gitops.flux.enabled, "the source or the hold is not there");
    ensure!(built.contains("name: snapback-flux"), "the rights for a hold are not there");
    Ok(())
}

/// Argo CD tells the health of a policy, and with it that of its Application, as docs/argocd.md has it.
pub(crate) fn argocd_health(bed: &Bed) -> Result<()> {
    const POLICY: &str = "app/policy.yaml";
    bed.operator()?;
    let namespace = "argo-health";
    let argocd = Application::new(bed, namespace, Applies::ServerSide, V1)?;
    let policy = |soak: &str| {
        format!(
            "apiVersion: snapback.dev/v1alpha1
kind: RollbackPolicy
metadata: {{name: checkout, namespace: {namespace}}}
spec:
  targetRef: {{kind: Deployment, name: checkout}}
  soak: {{duration: {soak}, interval: 1s}}
  checks: [{{name: crashes, crashRate: {{max: \"50%\"}}}}]
"
        )
    };
    let is = |health: &'static str| {
        move |status: &Value| status["sync"]["status"] == "Synced" && status["health"]["status"] == health
    };
    for (soak, health) in [("2s", "Healthy"), ("25h", "Degraded"), ("3s", "Healthy")] {
        let revision = argocd.repository.commit(POLICY, &policy(soak))?;
        argocd.refresh()?;
        argocd.synced(&revision)?;
        argocd.until(health, is(health))?;
    }
    // Not by its Deployment alone.
    let suspended = policy("3s") + "  suspend: true\n";
    argocd.repository.commit(POLICY, &suspended)?;
    argocd.refresh()?;
    argocd.until("Suspended", is("Suspended")).map(drop)
}
