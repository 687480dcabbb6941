//! The pages `docs/with-*.md`, played from the good revision to the end of the hold.

use anyhow::{Result, ensure};
use serde_json::Value;
use snapback_api::v1alpha1::{Rollback, RollbackPhase};
use snapback_tests::releases::{V1, V2, V3, manifest};

use crate::argocd::{Application, Applies};
use crate::bed::{Bed, until};
use crate::flux::Kustomization;
use crate::transcript::Page;
use crate::undone::{adopted, argo_alone, held, let_go, one_record, policy, rollbacks};

/// A Kustomization: the bad commit, the hold, and the fix.
pub(crate) fn with_flux(bed: &Bed) -> Result<()> {
    let namespace = "flux-docs";
    let flux = Kustomization::new(bed, namespace)?;
    flux.released(V1)?;
    adopted(bed, namespace)?;
    let mut page = Page::open(bed, "with-flux.md", namespace)?;
    page.plays("deliveredBy")?;
    flux.release(V2)?;
    held(bed, namespace)?;
    page.plays("get rollbacks")?;
    page.plays("--show-labels")?;
    flux.release(V3)?;
    let_go(bed, namespace, &["kustomize-controller Apply".to_owned()])?;
    page.plays("get rbp")?;
    bed.is_live(namespace, V3)?;
    one_record(bed, namespace)?;
    page.ends()
}

/// An Application: the bad commit, the hold, and the fix.
pub(crate) fn with_argocd(bed: &Bed) -> Result<()> {
    let namespace = "argocd-docs";
    let argocd = Application::new(bed, namespace, Applies::ServerSide, V1)?;
    adopted(bed, namespace)?;
    let mut page = Page::open(bed, "with-argocd.md", namespace)?;
    page.plays("deliveredBy")?;
    argocd.commit(V2)?;
    argocd.refresh()?;
    held(bed, namespace)?;
    page.plays("get rollbacks")?;
    page.plays("held-by")?;
    argocd.commit(V3)?;
    argocd.refresh()?;
    let_go(bed, namespace, &[argo_alone(Applies::ServerSide)])?;
    page.plays("get rbp")?;
    bed.is_live(namespace, V3)?;
    one_record(bed, namespace)?;
    page.ends()
}

/// A release of Helm 4, an upgrade of it that waits for the verdict, and a release of Helm 3.
pub(crate) fn with_helm(bed: &Bed) -> Result<()> {
    let mut page = Page::open(bed, "with-helm.md", "helm-docs-4")?;
    upgrades(bed, &mut page, ("helm-docs-4", "helm"), &["get rollbacks", "helm history", "image.tag=v3"])?;
    waits(bed, &mut page)?;
    upgrades(bed, &mut page, ("helm-docs-3", "helm3"), &["image.tag=v3"])?;
    page.ends()
}

fn upgrades(bed: &Bed, page: &mut Page, (namespace, helm): (&str, &'static str), then: &[&str]) -> Result<()> {
    bed.tools.kubectl(&["create", "namespace", namespace])?;
    page.goes_on(namespace, helm);
    chart(page, "")?;
    page.plays("image.tag=v1")?;
    adopted(bed, namespace)?;
    page.plays("image.tag=v2")?;
    succeeded(bed, namespace)?;
    then.iter().try_for_each(|known| page.plays(known))?;
    bed.until_live(namespace, V3)?;
    one_record(bed, namespace)?;
    let managers = bed.managers(namespace)?;
    ensure!(managers.iter().all(|manager| !manager.starts_with("snapback")), "left: {managers:?}");
    Ok(())
}

/// The policy is in the chart, with a gate.
fn waits(bed: &Bed, page: &mut Page) -> Result<()> {
    let namespace = "helm-docs-wait";
    bed.operator()?;
    bed.tools.kubectl(&["create", "namespace", namespace])?;
    page.goes_on(namespace, "helm");
    chart(
        page,
        "apiVersion: snapback.dev/v1alpha1
kind: RollbackPolicy
metadata: {name: checkout}
spec:
  targetRef: {kind: Deployment, name: checkout}
  soak: {duration: 3s, interval: 1s}
  checks: [{name: crashes, crashRate: {max: \"50%\"}}]
  rollback: {verify: {duration: 1s}}
  gate: Soak
  expectedRevision: {{ .Values.image.tag }}
",
    )?;
    page.plays("--wait")
}

/// A chart with each release by its tag, and more objects.
fn chart(page: &Page, more: &str) -> Result<()> {
    let templates = page.folder.join("chart/templates");
    std::fs::create_dir_all(&templates)?;
    std::fs::write(page.folder.join("chart/Chart.yaml"), "apiVersion: v2\nname: checkout\nversion: 1.0.0\n")?;
    std::fs::write(page.folder.join("chart/values.yaml"), "image: {tag: none}\n")?;
    let of =
        |tag: &str, template: &str| format!("{{{{- if eq .Values.image.tag {tag:?} }}}}{template}\n{{{{- end }}}}");
    let releases = [("v1", V1), ("v2", V2), ("v3", V3)].map(|(tag, template)| of(tag, template)).concat();
    let workload =
        manifest("Deployment", "shop", &releases).replace("namespace: shop", "namespace: \"{{ .Release.Namespace }}\"");
    std::fs::write(templates.join("checkout.yaml"), format!("{workload}---\n{more}"))?;
    Ok(())
}

/// The one record succeeded, all is given back, and nothing was held.
fn succeeded(bed: &Bed, namespace: &str) -> Result<()> {
    until("the undo", || {
        let all = rollbacks(bed, namespace)?;
        let is_over = |one: &Rollback| {
            one.status.as_ref().is_some_and(|status| {
                status.phase == Some(RollbackPhase::Succeeded)
                    && status.hold.is_none()
                    && status.conditions.iter().any(|one| one.type_ == "HandedBack" && one.status == "True")
            })
        };
        Ok(all.len() == 1 && all.iter().all(is_over))
    })?;
    policy(bed, namespace, "the policy to have seen it", |policy| {
        let mut targets = policy.status.iter().flat_map(|status| &status.targets);
        targets.any(|target| target.reason == "RolledBack")
    })?;
    let live: Value = bed.live(namespace)?;
    ensure!(live["metadata"]["labels"]["helm.toolkit.fluxcd.io/driftDetection"].is_null(), "{:#}", live["metadata"]);
    bed.is_live(namespace, V1)
}
