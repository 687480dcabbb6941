//! One bad release on a real control plane, and what must have become of it.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use snapback_api::v1alpha1::{Rollback, RollbackPhase, RollbackPolicy, TargetStatus};
use snapback_tests::cluster::{Cluster, Nodes, client_as};
use snapback_tests::process::Process;
use snapback_tests::sample::Tools;
use snapback_tests::{command_line, suite, tools};

use crate::proxy::{Point, Proxy};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_mins(2);

const OPERATOR: &str = "system:serviceaccount:snapback-system:snapback";

/// The control plane, and the program.
pub(crate) struct Bed {
    cluster: Mutex<Option<Cluster>>,
    client: Client,
    tools: Tools,
    program: PathBuf,
    folder: PathBuf,
    runtime: tokio::runtime::Handle,
}

impl Bed {
    pub(crate) async fn start() -> Result<Self> {
        let program = tokio::task::spawn_blocking(command_line::snapback).await??;
        let cluster = Cluster::start(Nodes::Simulated).await?;
        let tools = Tools::new(&cluster.kubeconfig);
        let install = tools.clone();
        tokio::task::spawn_blocking(move || {
            let chart = tools::repository().join("charts/snapback");
            let chart = chart.to_string_lossy().into_owned();
            let namespace = ["--namespace=snapback-system", "--create-namespace"];
            let rights = ["--set=restore.configMaps=true", "--set=replicas=0"];
            install.helm(&[&["install", "snapback", &chart][..], &namespace, &rights].concat())
        })
        .await??;
        Ok(Self {
            client: cluster.client.clone(),
            tools,
            program,
            folder: cluster.run_dir().path().to_path_buf(),
            runtime: tokio::runtime::Handle::current(),
            cluster: Mutex::new(Some(cluster)),
        })
    }

    fn cluster(&self) -> MutexGuard<'_, Option<Cluster>> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client with the operator's rights.
    async fn as_operator(&self) -> Result<Client> {
        let kubeconfig = self.cluster().as_ref().context("the bed is taken down")?.kubeconfig.clone();
        client_as(&kubeconfig, OPERATOR).await
    }
}

impl suite::Bed for Bed {
    fn tear_down(&self) -> Vec<String> {
        self.cluster().take();
        Vec::new()
    }
}

/// What a story has to tell.
pub(crate) struct Told {
    /// The operator's writes from the bad release to the end.
    pub(crate) writes: Vec<String>,
    /// Whether it was killed: a run in which two looks became one has fewer writes than the first one.
    pub(crate) is_killed: bool,
    /// From the restart to the first look at the target, if there was one.
    pub(crate) back_at_work: Option<Duration>,
}

/// One namespace with its own operator.
pub(crate) struct Story<'a> {
    bed: &'a Bed,
    namespace: String,
    proxy: Proxy,
    server: tokio::task::JoinHandle<()>,
    starts: u32,
}

impl Drop for Story<'_> {
    fn drop(&mut self) {
        if let Some(operator) = self.proxy.seen().operator.take() {
            operator.kill();
        }
        self.server.abort();
    }
}

impl<'a> Story<'a> {
    pub(crate) fn new(bed: &'a Bed, namespace: &str) -> Result<Self> {
        bed.tools.kubectl(&["create", "namespace", namespace])?;
        let (proxy, url, server) = bed.runtime.block_on(async { Proxy::start(bed.as_operator().await?).await })?;
        let story = Self { bed, namespace: namespace.to_owned(), proxy, server, starts: 0 };
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": url}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
            "users": [{"name": "proxy", "user": {}}]
        });
        std::fs::write(story.file("kubeconfig"), kubeconfig.to_string())?;
        let config = json!({
            "apiVersion": "config.snapback.dev/v1alpha1", "kind": "OperatorConfig", "watchNamespaces": [namespace],
            "limits": {"perCluster": 1000, "fleetBrake": {"targets": 1000}}
        });
        std::fs::write(story.file("config.yaml"), config.to_string())?;
        Ok(story)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.bed.folder.join(format!("{}-{name}", self.namespace))
    }

    fn start_operator(&mut self) -> Result<()> {
        self.starts += 1;
        let cluster = self.bed.cluster();
        let run = cluster.as_ref().context("the bed is taken down")?.run_dir();
        let mut command = Command::new(&self.bed.program);
        command.args(["run", "--listen=127.0.0.1:0"]).arg("--config").arg(self.file("config.yaml"));
        command.env("KUBECONFIG", self.file("kubeconfig")).env("POD_NAME", "operator");
        let operator = Process::start(run, &format!("{}-operator-{}", self.namespace, self.starts), &mut command)?;
        let mut seen = self.proxy.seen();
        (seen.operator, seen.started, seen.asked) = (Some(operator), Some(Instant::now()), None);
        Ok(())
    }

    /// v1 is adopted, v2 crashes, and v1 comes back; the operator is killed at `point`, and started again.
    pub(crate) fn run(mut self, point: Option<Point>) -> Result<Told> {
        self.bed.tools.apply(&self.release("v1", false))?;
        self.bed.tools.kubectl(&["-n", &self.namespace, "rollout", "status", "deploy/checkout", "--timeout=60s"])?;
        // A policy of the same second would judge v1, not adopt it.
        std::thread::sleep(Duration::from_secs(1));
        self.bed.tools.apply(&self.policy())?;
        self.start_operator()?;
        self.until("v1 known good and its copies kept", |story| {
            Ok(story.target()?.is_some_and(|target| {
                target.known_good.as_ref().is_some_and(|good| !good.snapshot.is_empty())
                    && target.readiness.as_ref().is_some_and(|readiness| readiness.ready)
            }))
        })?;
        {
            let mut seen = self.proxy.seen();
            (seen.point, seen.counts) = (point, true);
        }
        self.bed.tools.apply(&self.release("v2", true))?;
        let (mut is_killed, mut back_at_work) = (false, None);
        if point.is_some() {
            self.until("the operator killed", |story| Ok(story.is_killed() || story.is_over()?))?;
            is_killed = self.is_killed();
        }
        if is_killed {
            self.start_operator()?;
            self.until("back at work", |story| Ok(story.proxy.seen().asked.is_some() || story.is_over()?))?;
            let seen = self.proxy.seen();
            back_at_work = seen.started.zip(seen.asked).map(|(started, asked)| asked - started);
        }
        self.until("the end", Self::is_over)?;
        self.is_right()?;
        let writes = self.proxy.seen().writes.clone();
        Ok(Told { writes, is_killed, back_at_work })
    }

    fn is_killed(&self) -> bool {
        self.proxy.seen().operator.is_none()
    }

    fn release(&self, version: &str, crashes: bool) -> String {
        let simulated = if crashes { ", simulated: crash-loop" } else { "" };
        format!(
            "apiVersion: v1
kind: ConfigMap
metadata: {{name: settings, namespace: {namespace}}}
data: {{version: {version}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: checkout, namespace: {namespace}, labels: {{app: checkout}}}}
spec:
  replicas: 4
  selector: {{matchLabels: {{app: checkout}}}}
  template:
    metadata: {{labels: {{app: checkout{simulated}}}}}
    spec:
      containers: [{{name: app, image: \"shop/checkout:{version}\"}}]
      volumes: [{{name: settings, configMap: {{name: settings}}}}]
",
            namespace = self.namespace
        )
    }

    /// All that an undo can have to do without Jobs: a raised surge, configuration that goes back, a hand-back.
    fn policy(&self) -> String {
        format!(
            "apiVersion: snapback.dev/v1alpha1
kind: RollbackPolicy
metadata: {{name: checkout, namespace: {}}}
spec:
  targetRef: {{kind: Deployment, name: checkout}}
  soak: {{duration: 10s, interval: 1s}}
  checks: [{{name: crashes, crashRate: {{max: \"50%\"}}}}]
  rollback: {{speed: Fast, config: Restore, verify: {{duration: 1s}}}}
",
            self.namespace
        )
    }

    fn target(&self) -> Result<Option<TargetStatus>> {
        let policies: Api<RollbackPolicy> = Api::namespaced(self.bed.client.clone(), &self.namespace);
        let policy = self.bed.runtime.block_on(policies.get("checkout"))?;
        Ok(policy.status.and_then(|status| status.targets.into_iter().next()))
    }

    fn rollbacks(&self) -> Result<Vec<Rollback>> {
        let rollbacks: Api<Rollback> = Api::namespaced(self.bed.client.clone(), &self.namespace);
        Ok(self.bed.runtime.block_on(rollbacks.list(&ListParams::default()))?.items)
    }

    fn deployment(&self) -> Result<Deployment> {
        let deployments: Api<Deployment> = Api::namespaced(self.bed.client.clone(), &self.namespace);
        Ok(self.bed.runtime.block_on(deployments.get("checkout"))?)
    }

    fn is_over(&self) -> Result<bool> {
        let is_quarantined = self.target()?.is_some_and(|target| {
            target.quarantined.len() == 1 && target.rollback.is_none() && target.rollout.is_none()
        });
        Ok(is_quarantined
            && self
                .rollbacks()?
                .iter()
                .all(|rollback| rollback.status.as_ref().is_some_and(|status| status.timeline.ended_at.is_some())))
    }

    fn until(&self, what: &str, is_so: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self)? {
            if Instant::now() > deadline {
                bail!(
                    "waited {PATIENCE:?} for {what}; the target is {:#?}; the records are {:#?}; writes: {:#?}",
                    self.target()?,
                    self.rollbacks()?.into_iter().map(|rollback| rollback.status).collect::<Vec<_>>(),
                    self.proxy.seen().writes
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// v1 is back by one undo, recorded once and told, and nothing of ours is left on the workload.
    fn is_right(&self) -> Result<()> {
        let rollbacks = self.rollbacks()?;
        let [rollback] = rollbacks.as_slice() else { bail!("there are {} records", rollbacks.len()) };
        let status = rollback.status.clone().unwrap_or_default();
        ensure!(status.phase == Some(RollbackPhase::Succeeded), "{:?}: {}", status.phase, status.message);
        ensure!(status.timeline.handed_back_at.is_some(), "not handed back: {:?}", status.timeline);
        ensure!(status.timeline.surge_restored_at.is_some(), "maxSurge is not restored: {:?}", status.timeline);
        let deployment = self.deployment()?;
        let revision = deployment.annotations().get("deployment.kubernetes.io/revision");
        ensure!(revision.is_some_and(|number| number == "3"), "not one undo: revision {revision:?}");
        let managers: Vec<_> = deployment.managed_fields().iter().filter_map(|entry| entry.manager.clone()).collect();
        ensure!(managers.iter().all(|manager| manager != "snapback"), "fields are ours: {managers:?}");
        let live = serde_json::to_value(&deployment)?;
        let image = &live["spec"]["template"]["spec"]["containers"][0]["image"];
        ensure!(image == "shop/checkout:v1", "the image is {image}");
        let surge = &live["spec"]["strategy"]["rollingUpdate"]["maxSurge"];
        ensure!(surge == "25%", "maxSurge is {surge}");
        // The ConfigMap was changed with the release: what v1 ran with is back.
        let volume = live["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"].as_str().unwrap_or_default();
        let data = ["-n", &self.namespace, "get", "configmap", volume, "-o", "jsonpath={.data.version}"];
        let data = self.bed.tools.kubectl(&data)?;
        ensure!(data == "v1", "{volume} holds {data}");
        let events = ["-n", &self.namespace, "get", "events.events.k8s.io", "-o", "json"];
        let events: Value = serde_json::from_str(&self.bed.tools.kubectl(&events)?)?;
        let ours = events["items"].as_array().into_iter().flatten().filter(|event| {
            event["reportingController"] == "snapback.dev/operator" && event["regarding"]["name"] == rollback.name_any()
        });
        ensure!(ours.count() > 0, "no Event tells of it");
        Ok(())
    }
}
