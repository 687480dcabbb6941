//! An irreversible release that is bad is frozen with its old pods left, and whatever is applied next just works: the
//! real Deployment controller, the real kubectl.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use snapback_api::v1alpha1::{FreezeName, PhaseName, RollbackPolicy, TargetStatus};

use crate::bed::Bed;

struct Story<'a> {
    bed: &'a Bed,
    namespace: String,
    server_side: bool,
}

fn target(policy: &RollbackPolicy) -> Option<&TargetStatus> {
    policy.status.as_ref()?.targets.first()
}

fn freeze(policy: &RollbackPolicy) -> Option<FreezeName> {
    target(policy)?.rollout.as_ref()?.freeze
}

impl Story<'_> {
    /// Applies a version; `spec` is a line more of the Deployment's own.
    fn apply(&self, version: &str, is_bad: bool, spec: &str) -> Result<()> {
        let simulated = if is_bad { ", simulated: crash-loop" } else { "" };
        let manifest = format!(
            "apiVersion: apps/v1
kind: Deployment
metadata: {{name: checkout, namespace: {}}}
spec:
  replicas: 3
  {spec}
  selector: {{matchLabels: {{app: checkout}}}}
  template:
    metadata:
      labels: {{app: checkout{simulated}}}
      annotations: {{snapback.dev/migration: Irreversible}}
    spec: {{containers: [{{name: app, image: \"shop/checkout:{version}\"}}]}}
",
            self.namespace
        );
        let way: &[&str] =
            if self.server_side { &["apply", "--server-side", "-f", "-"] } else { &["apply", "-f", "-"] };
        self.bed.tools.kubectl_with(way, &manifest).map(drop)
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.bed.tools.kubectl(&[&["-n", &self.namespace], arguments].concat())
    }

    fn until(&self, what: &str, is_so: impl Fn(&RollbackPolicy) -> bool) -> Result<RollbackPolicy> {
        self.bed.until(&self.namespace, "checkout", what, is_so)
    }

    fn live(&self) -> Result<Value> {
        let workloads = self.bed.workloads(&self.namespace, "Deployment");
        Ok(serde_json::to_value(self.bed.wait(workloads.get("checkout"))?)?)
    }

    /// Managed fields of ours.
    fn ours(&self) -> Option<Value> {
        let live = self.live().ok()?;
        live["metadata"]["managedFields"].as_array()?.iter().find(|entry| entry["manager"] == "snapback").cloned()
    }

    /// A bad version is applied and frozen: the old pods serve, and the fields of the freeze are nobody's.
    fn frozen(&self, version: &str) -> Result<()> {
        self.apply(version, true, "")?;
        self.until(&format!("{version} frozen"), |policy| {
            freeze(policy) == Some(FreezeName::Frozen) && self.ours().is_none()
        })?;
        let live = self.live()?;
        ensure!(live["spec"]["paused"] == true, "{live:#}");
        ensure!(live["metadata"]["annotations"]["snapback.dev/frozen"].is_string(), "{live:#}");
        ensure!(live["status"]["availableReplicas"] == 3, "{version}: old pods are gone: {:#}", live["status"]);
        Ok(())
    }

    /// Nothing of ours is left.
    fn is_free(&self, what: &str) -> Result<()> {
        let live = self.live()?;
        ensure!(live["metadata"]["annotations"]["snapback.dev/frozen"].is_null(), "{what}: {live:#}");
        let ours = self.ours();
        ensure!(ours.is_none(), "{what}: fields of ours are left: {ours:?}");
        Ok(())
    }

    fn rolls_out(&self, version: &str) -> Result<()> {
        self.kubectl(&["rollout", "status", "deploy/checkout", "--timeout=30s"])?;
        let live = self.live()?;
        let image = &live["spec"]["template"]["spec"]["containers"][0]["image"];
        ensure!(image == format!("shop/checkout:{version}").as_str() && live["spec"]["paused"].is_null(), "{live:#}");
        ensure!(live["status"]["updatedReplicas"] == 3, "{:#}", live["status"]);
        self.is_free(version)
    }
}

fn story(bed: &Bed, namespace: &str, server_side: bool) -> Result<()> {
    let story = Story { bed, namespace: bed.namespace(namespace)?, server_side };
    story.apply("v1", false, "")?;
    bed.rolled_out(&story.namespace, "deploy/checkout")?;
    bed.adopted(&story.namespace, "Deployment", "checkout", "")?;

    story.frozen("v2")?;
    story.apply("v3", false, "")?;
    story.until("the freeze is over", |_| story.is_free("v3").is_ok())?;
    story.rolls_out("v3")?;

    // A manifest that says so itself does not conflict.
    story.frozen("v4")?;
    story.apply("v5", false, "paused: false")?;
    story.until("the mark is off", |_| story.is_free("v5").is_ok())?;
    story.rolls_out("v5")?;

    // One that asks for a pause keeps it, and may take it back.
    story.frozen("v6")?;
    story.apply("v7", false, "paused: true")?;
    story.until("the pause is the user's", |policy| {
        story.is_free("v7").is_ok() && target(policy).is_some_and(|target| target.reason == "Paused")
    })?;
    ensure!(story.live()?["spec"]["paused"] == true, "the user's pause was ended");
    story.apply("v7", false, "")?;
    story.rolls_out("v7")?;

    // A person lets a bad one go on.
    story.frozen("v8")?;
    story.kubectl(&["rollout", "resume", "deploy/checkout"])?;
    let policy =
        story.until("resumed", |policy| freeze(policy) == Some(FreezeName::Resumed) && story.is_free("v8").is_ok())?;
    ensure!(story.live()?["spec"]["paused"].is_null(), "frozen again");
    let target = target(&policy).context("just seen")?;
    ensure!(target.phase == PhaseName::Held && target.reason == "ForwardFixOnly", "{target:?}");
    Ok(())
}

pub(crate) fn kubectl_client_side(bed: &Bed) -> Result<()> {
    story(bed, "freeze-client-side", false)
}

pub(crate) fn kubectl_server_side(bed: &Bed) -> Result<()> {
    story(bed, "freeze-server-side", true)
}
