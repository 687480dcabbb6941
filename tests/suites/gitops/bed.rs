//! One control plane with a simulated node for all tests. The GitOps tools beside it are started by the first test that
//! needs them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kube::Client;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use snapback_controller::FIELD_MANAGER;
use snapback_controller::workload::{HandedBack, hand_back};
use snapback_core::fingerprint::Fingerprint;
use snapback_core::ownership::{Owner, owners};
use snapback_core::workload::Kind;
use snapback_tests::cluster::{Cluster, Nodes, client_as};
use snapback_tests::process::Process;
use snapback_tests::releases::{self, manifest};
use snapback_tests::sample::Tools;
use snapback_tests::{run_dir, suite, tools};

use crate::argocd::Argocd;
use crate::flux::Flux;
use crate::in_process::{OPERATOR, Operator};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_mins(2);

/// Many targets are bad here, each on purpose.
const CONFIG: &str = "apiVersion: config.snapback.dev/v1alpha1
kind: OperatorConfig
limits: {perCluster: 1000, fleetBrake: {targets: 1000}}
gitops: {argocd: {enabled: true}, flux: {enabled: true}}
";

pub(crate) struct Bed {
    // In the order in which they are stopped.
    operator: Mutex<Option<Operator>>,
    /// The operator as a program of its own, where a test runs one.
    pub(crate) program: Mutex<Option<Process>>,
    argocd: Mutex<Option<Arc<Argocd>>>,
    flux: Mutex<Option<Arc<Flux>>>,
    cluster: Mutex<Option<Cluster>>,
    pub(crate) client: Client,
    pub(crate) tools: Tools,
    pub(crate) kubeconfig: PathBuf,
    /// For files that live as long as the bed.
    pub(crate) folder: PathBuf,
    runtime: tokio::runtime::Handle,
}

/// Tries again every 100 ms until it is so; gives how long that took.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<Duration> {
    let began = Instant::now();
    while !is_so()? {
        ensure!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(began.elapsed())
}

pub(crate) fn lock<T>(one: &Mutex<T>) -> MutexGuard<'_, T> {
    one.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bed {
    pub(crate) async fn start() -> Result<Self> {
        tokio::task::spawn_blocking(tools::ensure_gitops_packages).await??;
        let cluster = Cluster::start(Nodes::Simulated).await?;
        Ok(Self {
            operator: Mutex::default(),
            program: Mutex::default(),
            argocd: Mutex::default(),
            flux: Mutex::default(),
            client: cluster.client.clone(),
            tools: Tools::new(&cluster.kubeconfig),
            kubeconfig: cluster.kubeconfig.clone(),
            folder: cluster.run_dir().path().to_path_buf(),
            cluster: Mutex::new(Some(cluster)),
            runtime: tokio::runtime::Handle::current(),
        })
    }

    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// The one kustomize-controller.
    pub(crate) fn flux(&self) -> Result<Arc<Flux>> {
        started(&self.flux, || Flux::start(self))
    }

    /// The one Argo CD.
    pub(crate) fn argocd(&self) -> Result<Arc<Argocd>> {
        started(&self.argocd, || Argocd::start(self))
    }

    /// Makes sure that the operator runs, in this process, with the rights that its chart gives it.
    pub(crate) fn operator(&self) -> Result<()> {
        let mut operator = lock(&self.operator);
        if operator.is_none() && lock(&self.program).is_none() {
            self.install()?;
            let client = self.wait(client_as(&self.kubeconfig, OPERATOR))?;
            let _runtime = self.runtime.enter();
            *operator = Some(Operator::start(client, CONFIG)?);
        }
        Ok(())
    }

    /// Installs the chart, with the rights to hold and without a pod of the operator's.
    pub(crate) fn install(&self) -> Result<()> {
        // Its rights are in Argo CD's namespace.
        self.tools.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: argocd}\n")?;
        let chart = tools::repository().join("charts/snapback");
        let namespace = ["--namespace=snapback-system", "--create-namespace", "--set=replicas=0"];
        let held = ["--set=config.gitops.argocd.enabled=true", "--set=config.gitops.flux.enabled=true"];
        let install = ["install", "snapback", &chart.to_string_lossy()];
        self.tools.helm(&[&install[..], &namespace, &held].concat())?;
        // A machine with much to do serves a kind later than it has been created.
        let kinds = ["crd/rollbackpolicies.snapback.dev", "crd/rollbacks.snapback.dev"];
        let wait = ["wait", "--for=condition=Established", "--timeout=30s"];
        self.tools.kubectl(&[&wait[..], &kinds].concat()).map(drop)
    }

    /// Waits until `checkout` is older than what is made next: a policy of the same second would judge it.
    pub(crate) fn older_than_now(&self, namespace: &str) -> Result<()> {
        let made: jiff::Timestamp =
            self.live(namespace)?["metadata"]["creationTimestamp"].as_str().unwrap_or_default().parse()?;
        until("the next second", || Ok(jiff::Timestamp::now().as_second() > made.as_second())).map(drop)
    }

    /// Starts a program that ends with the bed, at the latest.
    pub(crate) fn process(&self, name: &str, command: &mut Command) -> Result<Process> {
        let cluster = lock(&self.cluster);
        Process::start(cluster.as_ref().context("the bed is taken down")?.run_dir(), name, command)
    }

    /// Keeps what the programs said.
    pub(crate) fn keep_logs(&self) -> Result<()> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("gitops-logs-{}", std::process::id()));
        suite::keep_logs(&self.folder, &folder).map(drop)
    }

    /// Creates kinds from files of a tool's own source, and waits until they are served.
    pub(crate) fn kinds(&self, files: &[PathBuf]) -> Result<()> {
        for file in files {
            let file = file.to_string_lossy();
            // Server-side: one of them is too long for the annotation of a client-side apply.
            self.tools.kubectl(&["apply", "--server-side", "-f", &file])?;
            // Which fails while there are no conditions at all.
            let wait = ["wait", "--for=condition=Established", "--timeout=30s", "-f", &file];
            until("a kind to be served", || Ok(self.tools.kubectl(&wait).is_ok()))?;
        }
        Ok(())
    }

    /// Waits until the live template of `checkout` is exactly that of this release; gives how long that took.
    pub(crate) fn until_live(&self, namespace: &str, template: &str) -> Result<Duration> {
        let mut last = None;
        let waited = until("this template to be live", || {
            last = self.is_live(namespace, template).err();
            Ok(last.is_none())
        });
        match last {
            Some(difference) => waited.context(format!("{difference:#}")),
            None => waited,
        }
    }

    /// Whether the live template of `checkout` is exactly that of this release.
    pub(crate) fn is_live(&self, namespace: &str, template: &str) -> Result<()> {
        let manifest = manifest("Deployment", namespace, template);
        self.wait(releases::exactly(&self.client, namespace, "Deployment", &manifest))
    }

    /// The live `checkout`.
    pub(crate) fn live(&self, namespace: &str) -> Result<Value> {
        let workloads = releases::workloads(&self.client, namespace, "Deployment");
        Ok(serde_json::to_value(self.wait(workloads.get("checkout"))?)?)
    }

    /// Who is recorded as the owner of fields of `checkout`, beside what its controller says in its status.
    pub(crate) fn managers(&self, namespace: &str) -> Result<Vec<String>> {
        let live = self.live(namespace)?;
        let entries = live["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        let of_spec = entries.iter().filter(|entry| entry["subresource"].is_null() && !is_of_the_controller(entry));
        let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let mut managers: Vec<String> =
            of_spec.map(|entry| format!("{} {}", text(entry, "manager"), text(entry, "operation"))).collect();
        managers.sort();
        Ok(managers)
    }

    /// Puts a template back as Snapback does, with this metadata beside it, and leaves the fields Snapback's.
    pub(crate) fn undo(&self, namespace: &str, template: &str, metadata: &Value) -> Result<Undone> {
        self.undo_as(namespace, template, metadata, FIELD_MANAGER)
    }

    /// The same under another field manager.
    pub(crate) fn undo_as(&self, namespace: &str, template: &str, metadata: &Value, manager: &str) -> Result<Undone> {
        let live = self.live(namespace)?;
        let managed = live["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        let good: Value = serde_yaml_ng::from_str(&manifest("Deployment", namespace, template))?;
        let mut operations = vec![
            json!({"op": "test", "path": "/spec/template", "value": live["spec"]["template"]}),
            json!({"op": "replace", "path": "/spec/template", "value": good["spec"]["template"]}),
        ];
        for (section, entries) in metadata.as_object().into_iter().flatten() {
            if live["metadata"][section].is_null() {
                operations.push(json!({"op": "add", "path": format!("/metadata/{section}"), "value": {}}));
            }
            for (key, value) in entries.as_object().into_iter().flatten() {
                let path = format!("/metadata/{section}/{}", key.replace('/', "~1"));
                operations.push(json!({"op": "add", "path": path, "value": value}));
            }
        }
        let patch: Patch<DynamicObject> = Patch::Json(serde_json::from_value(Value::Array(operations))?);
        let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
        let workloads = releases::workloads(&self.client, namespace, "Deployment");
        self.wait(workloads.patch("checkout", &params, &patch))?;
        Ok(Undone { former: owners(&managed, FIELD_MANAGER), at: Instant::now() })
    }

    /// Gives the fields of an undo back, as Snapback does.
    pub(crate) fn hand_back(&self, namespace: &str, undone: &Undone) -> Result<()> {
        let live = self.live(namespace)?;
        let uid = live["metadata"]["uid"].as_str().unwrap_or_default();
        let good = Fingerprint::of_template(&live["spec"]["template"]);
        let target = (Kind::Deployment, "checkout");
        match self.wait(hand_back(&self.client, namespace, target, uid, &good, &undone.former)) {
            HandedBack::Done => Ok(()),
            HandedBack::NotYet(why) => bail!("not handed back: {why}"),
        }
    }
}

/// An undo that was made.
pub(crate) struct Undone {
    former: Vec<Owner>,
    pub(crate) at: Instant,
}

/// The Deployment controller writes its revision into the annotations, with the status.
fn is_of_the_controller(entry: &Value) -> bool {
    entry["manager"] == "kube-controller-manager"
}

fn started<T>(one: &Mutex<Option<Arc<T>>>, start: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
    let mut one = lock(one);
    if let Some(running) = one.as_ref() {
        return Ok(Arc::clone(running));
    }
    let running = Arc::new(start()?);
    *one = Some(Arc::clone(&running));
    Ok(running)
}

impl suite::Bed for Bed {
    fn tear_down(&self) -> Vec<String> {
        while lock(&self.operator).as_mut().is_some_and(|operator| !operator.stop()) {
            std::thread::sleep(Duration::from_millis(20));
        }
        lock(&self.program).take();
        // The record of the run stops what a test that still runs holds on to.
        lock(&self.argocd).take();
        lock(&self.flux).take();
        let Some(cluster) = lock(&self.cluster).take() else { return Vec::new() };
        let made = run_dir::processes(&self.folder);
        drop(cluster);
        suite::left_behind(&self.folder, made)
    }
}
