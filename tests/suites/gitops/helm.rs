//! A HelmRelease of Flux, with the real Helm.
//!
//! helm-controller itself is no module that could be built here. What stands in for it does what it does as far as a hold
//! relies on it, in the same order: install or upgrade by Helm when the chart has changed, never minding any label; otherwise,
//! with `driftDetection.mode: enabled`, leave alone what the live object's label or annotation excludes, compare all else with
//! a forced server-side dry run, and patch what differs (`internal/action/diff.go` and `ssa/jsondiff/unstructured.go`).

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use snapback_tests::releases::{V1, V2, V3, manifest, workloads};
use snapback_tests::sample::Tools;
use snapback_tests::{say, tools};

use crate::bed::{Bed, until};
use crate::undone::{adopted, held, let_go, rollbacks};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(2);
/// Its name as a writer of fields.
const MANAGER: &str = "helm-controller";
const EXCLUDED: &str = "helm.toolkit.fluxcd.io/driftDetection";

/// Which Helm is its engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Helm {
    Three,
    Four,
}

impl Helm {
    fn run(self, tools: &Tools, arguments: &[&str]) -> Result<String> {
        match self {
            Self::Three => tools.helm3(arguments),
            Self::Four => tools.helm(arguments),
        }
    }
}

/// The stand-in, for one HelmRelease `checkout`.
struct Controller<'a> {
    bed: &'a Bed,
    helm: Helm,
    /// Whether a release is one only once its pods are ready.
    waits: bool,
    namespace: String,
    chart: PathBuf,
    /// The chart's version and the template in it.
    source: Mutex<(u32, String)>,
    /// The version that was released last.
    released: AtomicU64,
    /// How many releases became such when something else was live already.
    outrun: AtomicU64,
    /// How often it has looked for drift, how often it was told not to, and how often it corrected some.
    looks: AtomicU64,
    left_alone: AtomicU64,
    corrections: AtomicU64,
    stopped: AtomicBool,
}

impl<'a> Controller<'a> {
    fn new(bed: &'a Bed, namespace: &str, helm: Helm, waits: bool) -> Result<Self> {
        bed.kinds(&[tools::repository().join("tests/testbed/helmrelease.yaml")])?;
        bed.tools.apply(&format!(
            "apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {{name: checkout, namespace: {namespace}}}
spec:
  interval: 2s
  chartRef: {{kind: OCIRepository, name: checkout}}
  driftDetection: {{mode: enabled}}
"
        ))?;
        let chart = bed.folder.join(format!("chart-{namespace}"));
        std::fs::create_dir_all(chart.join("templates"))?;
        Ok(Self {
            bed,
            helm,
            waits,
            namespace: namespace.to_owned(),
            chart,
            source: Mutex::new((1, V1.to_owned())),
            released: AtomicU64::new(0),
            outrun: AtomicU64::new(0),
            looks: AtomicU64::new(0),
            left_alone: AtomicU64::new(0),
            corrections: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        })
    }

    /// Runs it beside this.
    fn beside<T>(&self, told: impl FnOnce() -> Result<T>) -> Result<T> {
        std::thread::scope(|scope| {
            let running = scope.spawn(|| self.run());
            let told = told();
            self.stopped.store(true, Ordering::Relaxed);
            running.join().map_err(|_| anyhow::anyhow!("the stand-in panicked"))??;
            told
        })
    }

    fn run(&self) -> Result<()> {
        while !self.stopped.load(Ordering::Relaxed) {
            let (version, template) = self.source.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if self.released.load(Ordering::Relaxed) == u64::from(version) {
                self.correct(&template)?;
                self.looks.fetch_add(1, Ordering::Relaxed);
            } else {
                self.upgrade(version, &template)?;
                self.released.store(u64::from(version), Ordering::Relaxed);
            }
            std::thread::sleep(INTERVAL);
        }
        Ok(())
    }

    /// The manifest, with the labels by which an object says whose it is.
    fn manifest(&self, template: &str) -> String {
        let labels = format!(
            "labels: {{helm.toolkit.fluxcd.io/name: checkout, helm.toolkit.fluxcd.io/namespace: {}}}",
            self.namespace
        );
        let plain = manifest("Deployment", &self.namespace, template);
        plain.replacen("metadata: {name: checkout,", &format!("metadata: {{{labels}, name: checkout,"), 1)
    }

    fn upgrade(&self, version: u32, template: &str) -> Result<()> {
        let chart = format!("apiVersion: v2\nname: checkout\nversion: {version}.0.0\n");
        std::fs::write(self.chart.join("Chart.yaml"), chart)?;
        std::fs::write(self.chart.join("templates/checkout.yaml"), self.manifest(template))?;
        let (chart, namespace) = (self.chart.to_string_lossy(), format!("--namespace={}", self.namespace));
        let upgrade = ["upgrade", "--install", "checkout", &chart, &namespace];
        let waits: &[&str] = if self.waits { &["--wait", "--timeout=2m"] } else { &[] };
        // Its engine forces conflicts, where it applies on the server.
        let forced = (self.helm == Helm::Four).then_some("--force-conflicts");
        self.helm.run(&self.bed.tools, &[&upgrade[..], forced.as_slice(), waits].concat())?;
        let live = image(self.bed, &self.namespace)?;
        self.outrun.fetch_add(u64::from(live.as_str().is_some_and(|live| !template.contains(live))), Ordering::Relaxed);
        let history = self.helm.run(&self.bed.tools, &["history", "checkout", &namespace, "--output=json"])?;
        let history: Value = serde_json::from_str(&history)?;
        let released = history.as_array().and_then(|all| all.last()).context("no release")?;
        let manifest = self.helm.run(&self.bed.tools, &["get", "manifest", "checkout", &namespace])?;
        let digest: String = Sha256::digest(&manifest).iter().map(|byte| format!("{byte:02x}")).collect();
        let said = |type_: &str, reason: &str| {
            json!({
                "type": type_, "status": "True", "reason": reason, "message": "Helm upgrade succeeded",
                "lastTransitionTime": Timestamp::now().to_string()
            })
        };
        let status = json!({"status": {
            "observedGeneration": 1, "lastAttemptedGeneration": 1,
            "lastAttemptedRevision": format!("{version}.0.0"), "storageNamespace": self.namespace,
            "lastAttemptedReleaseAction": if version == 1 { "install" } else { "upgrade" },
            "conditions": [said("Ready", "UpgradeSucceeded"), said("Released", "UpgradeSucceeded")],
            "history": [{
                "digest": format!("sha256:{digest}"), "name": "checkout", "namespace": self.namespace,
                "version": released["revision"], "status": released["status"],
                "lastDeployed": in_seconds(&released["updated"])?,
                "chartName": "checkout", "chartVersion": format!("{version}.0.0")
            }]
        }});
        let kind = GroupVersionKind::gvk("helm.toolkit.fluxcd.io", "v2", "HelmRelease");
        let kind = ApiResource::from_gvk_with_plural(&kind, "helmreleases");
        let releases: Api<DynamicObject> = Api::namespaced_with(self.bed.client.clone(), &self.namespace, &kind);
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        self.bed.wait(releases.patch_status("checkout", &params, &Patch::Merge(status)))?;
        Ok(())
    }

    /// Puts back what differs from the release, unless the live object says not to.
    fn correct(&self, template: &str) -> Result<()> {
        let workloads = workloads(&self.bed.client, &self.namespace, "Deployment");
        let live = serde_json::to_value(self.bed.wait(workloads.get("checkout"))?)?;
        let metadata = &live["metadata"];
        if [&metadata["labels"], &metadata["annotations"]].into_iter().any(|one| one[EXCLUDED] == "disabled") {
            self.left_alone.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let mut desired: Value = serde_yaml_ng::from_str(&self.manifest(template))?;
        desired["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("Helm");
        desired["metadata"]["annotations"] =
            json!({"meta.helm.sh/release-name": "checkout", "meta.helm.sh/release-namespace": self.namespace});
        let tried = PatchParams { dry_run: true, ..PatchParams::apply(MANAGER).force() };
        let wanted = self.bed.wait(workloads.patch("checkout", &tried, &Patch::Apply(&desired)))?;
        let wanted = serde_json::to_value(wanted)?;
        if wanted["spec"] == live["spec"] {
            return Ok(());
        }
        let patch: Patch<DynamicObject> = Patch::Json(serde_json::from_value(json!([
            {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
            {"op": "replace", "path": "/spec", "value": wanted["spec"]}
        ]))?);
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        // Who lost the race looks again.
        if self.bed.wait(workloads.patch("checkout", &params, &patch)).is_ok() {
            self.corrections.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Another version of the chart.
    fn publish(&self, template: &str) {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        *source = (source.0 + 1, template.to_owned());
    }

    /// Waits until it has looked for drift this often, from beginning to end.
    fn looked(&self, times: u64) -> Result<()> {
        let before = self.looks.load(Ordering::Relaxed);
        until("the stand-in to look", || Ok(self.looks.load(Ordering::Relaxed) > before + times)).map(drop)
    }
}

/// Drift is corrected within an interval, unless the label says not to. It is what a hold relies on.
pub(crate) fn corrects_drift(bed: &Bed) -> Result<()> {
    let namespace = "flux-helm-drift";
    let flux = Controller::new(bed, namespace, Helm::Four, false)?;
    flux.beside(|| {
        until("the first release", || Ok(bed.is_live(namespace, V1).is_ok()))?;
        flux.publish(V2);
        bed.until_live(namespace, V2)?;
        let undone = bed.undo(namespace, V1, &Value::Null)?;
        until("v2 to be back", || Ok(image(bed, namespace)? == "shop/checkout:v2"))?;
        say(&format!("Flux HelmRelease: v2 was back {:.1} s after an undo", undone.at.elapsed().as_secs_f64()));
        let undone = bed.undo(namespace, V1, &json!({"labels": {EXCLUDED: "disabled"}}))?;
        bed.hand_back(namespace, &undone)?;
        flux.looked(3)?;
        bed.is_live(namespace, V1)?;
        // An upgrade heeds no label.
        flux.publish(V3);
        until("v3", || Ok(image(bed, namespace)? == "shop/checkout:v3")).map(drop)
    })
}

/// v1, bad v2, the undo sticks for three looks, v3 rolls out untouched, the hold is gone.
pub(crate) fn from_release_to_release(bed: &Bed, helm: Helm) -> Result<()> {
    let namespace = format!("undone-helm-{helm:?}").to_lowercase();
    let flux = Controller::new(bed, &namespace, helm, false)?;
    flux.beside(|| story(bed, &namespace, &flux))
}

/// The same of one that waits for its pods, as helm-controller does unless told otherwise: what is undone becomes its newest
/// release because it was undone, and is no reason to end the hold.
pub(crate) fn while_the_upgrade_waits(bed: &Bed) -> Result<()> {
    let namespace = "undone-helm-waits";
    let flux = Controller::new(bed, namespace, Helm::Four, true)?;
    flux.beside(|| story(bed, namespace, &flux))
}

/// Without a policy nobody keeps drift detection from the workload any more, and it does as it would without us.
pub(crate) fn a_deleted_policy(bed: &Bed) -> Result<()> {
    let namespace = "undone-helm-deleted";
    let flux = Controller::new(bed, namespace, Helm::Four, false)?;
    flux.beside(|| {
        until("the first release", || Ok(bed.is_live(namespace, V1).is_ok()))?;
        adopted(bed, namespace)?;
        flux.publish(V2);
        held(bed, namespace)?;
        bed.tools.kubectl(&["-n", namespace, "delete", "rollbackpolicy", "checkout"])?;
        until("v2 to be back", || Ok(image(bed, namespace)? == "shop/checkout:v2"))?;
        bed.tools.kubectl(&["-n", namespace, "delete", "rollbacks", "--all", "--timeout=30s"])?;
        let live = bed.live(namespace)?;
        ensure!(live["metadata"]["labels"][EXCLUDED].is_null(), "{:#}", live["metadata"]);
        Ok(())
    })
}

/// A time as Kubernetes writes it.
fn in_seconds(time: &Value) -> Result<String> {
    let read: Timestamp = time.as_str().context("no time")?.parse()?;
    Ok(Timestamp::from_second(read.as_second())?.to_string())
}

fn story(bed: &Bed, namespace: &str, flux: &Controller) -> Result<()> {
    until("the first release", || Ok(bed.is_live(namespace, V1).is_ok()))?;
    let managers = bed.managers(namespace)?;
    adopted(bed, namespace)?;
    flux.publish(V2);
    let record = held(bed, namespace)?;
    let hold = serde_json::to_value(record.status.and_then(|status| status.hold))?;
    ensure!(hold["kind"] == "HelmRelease" && hold["name"] == "checkout", "{hold:#}");
    until("v2 as its newest release, and as what the hold keeps away", || {
        let told = rollbacks(bed, namespace)?.pop().and_then(|record| record.status).and_then(|status| status.hold);
        Ok(flux.released.load(Ordering::Relaxed) == 2 && is_told(&serde_json::to_value(told)?, "v2"))
    })?;
    ensure!(!flux.waits || flux.outrun.load(Ordering::Relaxed) == 1, "it was a release before it was undone");
    let (before, corrected) = (flux.left_alone.load(Ordering::Relaxed), flux.corrections.load(Ordering::Relaxed));
    flux.looked(3)?;
    bed.is_live(namespace, V1)?;
    ensure!(flux.left_alone.load(Ordering::Relaxed) >= before + 3, "it was not the label that kept it");
    flux.publish(V3);
    until("v3", || Ok(image(bed, namespace)? == "shop/checkout:v3"))?;
    let over = let_go(bed, namespace, &managers)?;
    let because = serde_json::to_value(over.status.and_then(|status| status.hold))?["because"].clone();
    ensure!(because.as_str().is_some_and(|because| because.contains("v3 sha256:")), "{because}");
    let live = bed.live(namespace)?;
    ensure!(live["metadata"]["labels"][EXCLUDED].is_null(), "{:#}", live["metadata"]);
    flux.looked(3)?;
    match flux.helm {
        Helm::Four => bed.is_live(namespace, V3)?,
        // It removes what its newest manifest had, which is the bad one: docs/handing-back.md has the one command that helps.
        Helm::Three => ensure!(bed.live(namespace)?.to_string().contains("sidecar"), "no residue of v1 any more"),
    }
    ensure!(flux.corrections.load(Ordering::Relaxed) == corrected, "it corrected what was undone, or v3");
    ensure!(rollbacks(bed, namespace)?.len() == 1, "a loop");
    Ok(())
}

/// Whether the hold says that this release is kept away.
fn is_told(hold: &Value, release: &str) -> bool {
    hold["revision"].as_str().is_some_and(|told| told.starts_with(&format!("{release} sha256:")))
}

fn image(bed: &Bed, namespace: &str) -> Result<Value> {
    Ok(bed.live(namespace)?["spec"]["template"]["spec"]["containers"][0]["image"].clone())
}
