//! The chart, the kustomize base and the published kinds.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use snapback_controller::config::OperatorConfig;
use snapback_tests::chart::cases;
use snapback_tests::chart::objects::{self, Objects};
use snapback_tests::{chart, manifests, reference, tools};

use crate::bed::Bed;

pub(crate) fn chart_objects(bed: &Bed, more: &[&str]) -> Result<String> {
    chart::render(&bed.tools, &[&["--set=crds.install=false"], more].concat())
}

pub(crate) fn chart(bed: &Bed) -> Result<()> {
    bed.tools.helm(&["lint", "--strict", &chart::folder().to_string_lossy()])?;
    let text = chart_objects(bed, &[])?;
    ensure!(!text.contains("- apiGroups: [batch]\n"), "the operator may create Jobs though nobody enabled it");
    let objects = objects::parse(&text)?;
    let operator = objects.get("Deployment snapback-system/snapback").context("no operator")?;
    let pod = &operator["spec"]["template"]["spec"];
    let safe = |of: &Value, key: &str, value: Value| {
        ensure!(of["securityContext"][key] == value, "the chart lacks {key}: {value}");
        Ok(())
    };
    safe(pod, "runAsNonRoot", true.into())?;
    safe(pod, "seccompProfile", json!({"type": "RuntimeDefault"}))?;
    safe(&pod["containers"][0], "readOnlyRootFilesystem", true.into())?;
    safe(&pod["containers"][0], "allowPrivilegeEscalation", false.into())?;
    safe(&pod["containers"][0], "capabilities", json!({"drop": ["ALL"]}))?;
    ensure!(text.contains("kind: ValidatingAdmissionPolicyBinding"), "nothing binds the admission policy");
    let without = chart_objects(bed, &["--set=admission.enabled=false"])?;
    ensure!(!without.contains("ValidatingAdmissionPolicy"), "admission.enabled does not switch it");
    ensure!(!text.contains("\"*\"") && !text.contains("secrets]"), "the chart gives rights too wide");
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

/// What is generated for kustomize is what the chart renders, and `kubectl apply -k` takes it.
pub(crate) fn base(bed: &Bed) -> Result<()> {
    for (name, more) in manifests::FILES {
        let published = std::fs::read_to_string(tools::repository().join(name)).unwrap_or_default();
        ensure!(
            published == manifests::plain(&bed.tools, more)?,
            "{name} is not what the chart renders: run `make manifests`"
        );
    }
    for folder in ["deploy/base", "deploy/end-holds"] {
        let folder = tools::repository().join(folder).to_string_lossy().into_owned();
        bed.tools.kubectl(&["apply", "--dry-run=server", "--server-side", "--force-conflicts", "-k", &folder])?;
    }
    Ok(())
}

/// Each overlay makes of the base what the chart makes of the values of the same name.
pub(crate) fn overlays(bed: &Bed) -> Result<()> {
    let folder = tools::repository().join("deploy/overlays");
    let cases = cases::all()?;
    let mut compared = 0;
    for entry in std::fs::read_dir(folder)? {
        let overlay = entry?.path();
        let name = overlay.file_name().and_then(|name| name.to_str()).context("a folder has a name")?;
        let case = cases.iter().find(|case| case.name == name).with_context(|| format!("no values for {name}"))?;
        let built = comparable(&bed.tools.kubectl(&["kustomize", &overlay.to_string_lossy()])?)?;
        let rendered = comparable(&chart_objects(bed, &[&case.values()])?)?;
        let names = |objects: &Objects| objects.keys().cloned().collect::<Vec<_>>();
        ensure!(names(&built) == names(&rendered), "{name}: {:#?} instead of {:#?}", names(&built), names(&rendered));
        for (object, built) in &built {
            let rendered = rendered.get(object).context("just compared")?;
            ensure!(built == rendered, "{name}: {object} is\n{built:#}\ninstead of\n{rendered:#}");
        }
        compared += 1;
    }
    ensure!(compared >= 6, "only {compared} overlays were found");
    Ok(())
}

/// Without what must be different: Helm's labels and its hooks, the namespace and the kinds, which a release does not hold, how the
/// configuration is written, and in which order rights are given.
fn comparable(text: &str) -> Result<Objects> {
    let mut objects = objects::without_helm(objects::parse(text)?);
    objects.retain(|_, object| object["kind"] != "Namespace" && object["kind"] != "CustomResourceDefinition");
    // deploy/end-holds has it.
    objects.retain(|_, object| object["metadata"]["annotations"].get("helm.sh/hook").is_none());
    for rules in objects.values_mut().filter_map(|object| object["rules"].as_array_mut()) {
        rules.sort_by_key(Value::to_string);
    }
    if let Some(operator) = objects.get_mut("Deployment snapback-system/snapback") {
        let annotations = operator.pointer_mut("/spec/template/metadata/annotations").and_then(Value::as_object_mut);
        // A patched ConfigMap has no new checksum: docs/configuration.md says to restart the operator.
        annotations.context("no annotations")?.remove("checksum/config");
    }
    let config = objects.get_mut("ConfigMap snapback-system/snapback").context("no configuration")?;
    let read = OperatorConfig::parse(config["data"]["config.yaml"].as_str().context("no file")?)
        .map_err(anyhow::Error::msg)?;
    let limits = read.limits.limits().map_err(anyhow::Error::msg)?;
    let history = read.history().map_err(anyhow::Error::msg)?;
    let rest = (&read.sources, &read.default_source, &read.watch_namespaces, &read.features, &read.gitops);
    config["data"]["config.yaml"] = Value::from(format!("{limits:?} {history:?} {rest:?}"));
    Ok(objects)
}

pub(crate) fn published(_: &Bed) -> Result<()> {
    for (name, crd) in snapback_api::crd::all() {
        for folder in ["crds", "charts/snapback/files/crds"] {
            let text = std::fs::read_to_string(tools::repository().join(folder).join(name))?;
            let written: serde_json::Value = serde_yaml_ng::from_str(&text)?;
            ensure!(written == crd, "{folder}/{name} is not what the types say: run `make crds`");
        }
    }
    let reference = std::fs::read_to_string(tools::repository().join("docs/api.md"))?;
    ensure!(reference == reference::text(), "docs/api.md is not what the types say: run `make crds`");
    Ok(())
}
