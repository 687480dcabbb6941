//! One control plane for all tests, with the operator in this process under the rights that its chart gives it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DynamicObject, ListParams, ObjectMeta, PostParams};
use kube::{Api, Client};
use snapback_api::v1alpha1::{Rollback, RollbackPhase, RollbackPolicy};
use snapback_tests::cluster::{Cluster, Nodes, client_as};
use snapback_tests::sample::Tools;
use snapback_tests::{releases, run_dir, suite, tools};

use crate::in_process::{OPERATOR, Operator};
use crate::numbers::Numbers;

/// A source that nobody serves, since most tests are not about numbers, and one that is. Many targets are bad here, each
/// on purpose.
const CONFIG: &str = "apiVersion: config.snapback.dev/v1alpha1
kind: OperatorConfig
defaultSource: main
sources: [{name: main, url: \"http://127.0.0.1:9\", timeout: 1s}, {name: numbers, url: \"NUMBERS\"}]
limits: {perCluster: 1000, fleetBrake: {targets: 1000}}
features: {secretsInConfigRestore: true}
";

pub(crate) struct Bed {
    running: Mutex<Option<Running>>,
    pub(crate) client: Client,
    pub(crate) tools: Tools,
    pub(crate) numbers: Numbers,
    panics: Arc<Mutex<Vec<String>>>,
    runtime: tokio::runtime::Handle,
}

/// In the order in which it is stopped.
struct Running {
    operator: Operator,
    cluster: Cluster,
}

impl Bed {
    pub(crate) async fn start() -> Result<Self> {
        let cluster = Cluster::start(Nodes::Simulated).await?;
        let tools = Tools::new(&cluster.kubeconfig);
        let install = tools.clone();
        tokio::task::spawn_blocking(move || {
            // Where the rights for holds are; the documentation names it.
            install.kubectl(&["create", "namespace", "argocd"])?;
            let chart = tools::repository().join("charts/snapback");
            install.helm(&[
                "install",
                "snapback",
                &chart.to_string_lossy(),
                "--namespace=snapback-system",
                "--create-namespace",
                "--set=restore.configMaps=true",
                "--set=restore.secrets=true",
                "--set=jobs.enabled=true",
            ])?;
            // The pod would be simulated, and the operator runs here.
            install.kubectl(&["-n", "snapback-system", "scale", "deploy/snapback", "--replicas=0"])
        })
        .await??;
        let (numbers, url) = Numbers::start().await?;
        let config = CONFIG.replace("NUMBERS", &url);
        let operator = Operator::start(client_as(&cluster.kubeconfig, OPERATOR).await?, &config)?;
        Ok(Self {
            client: cluster.client.clone(),
            tools,
            numbers,
            panics: listen_for_panics(),
            runtime: tokio::runtime::Handle::current(),
            running: Mutex::new(Some(Running { operator, cluster })),
        })
    }

    /// A client with the rights of this user.
    pub(crate) fn client_as(&self, user: &str) -> Result<Client> {
        let kubeconfig = self.running().as_ref().map(|running| running.cluster.kubeconfig.clone());
        self.wait(client_as(&kubeconfig.context("the bed is taken down")?, user))
    }

    /// The administrator's.
    pub(crate) fn kubeconfig(&self) -> Option<PathBuf> {
        self.running().as_ref().map(|running| running.cluster.kubeconfig.clone())
    }

    /// Who called what.
    pub(crate) fn audit_log(&self) -> Option<PathBuf> {
        self.running().as_ref().map(|running| running.cluster.audit_log.clone())
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// What panicked in this process, the operator among it.
    pub(crate) fn panics(&self) -> Vec<String> {
        self.panics.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the operator runs.
    pub(crate) fn operator_lives(&self) -> bool {
        self.running().as_ref().is_some_and(|running| !running.operator.is_finished())
    }

    /// Stops the operator. Told apart from the runtime: this may be called from one of its own threads.
    pub(crate) fn stop_operator(&self) {
        while self.running().as_mut().is_some_and(|running| !running.operator.stop()) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A namespace of a test's own.
    pub(crate) fn namespace(&self, name: &str) -> Result<String> {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        self.wait(Api::all(self.client.clone()).create(&PostParams::default(), &namespace))?;
        Ok(name.to_owned())
    }

    /// Workloads of a kind: for what is read often, as starting kubectl costs more than what it asks.
    pub(crate) fn workloads(&self, namespace: &str, kind: &str) -> Api<DynamicObject> {
        releases::workloads(&self.client, namespace, kind)
    }

    /// Applies a policy named `checkout` with this spec, in flow or block style.
    pub(crate) fn policy(&self, namespace: &str, name: &str, spec: &str) -> Result<String> {
        self.tools.apply(&policy(namespace, name, spec))
    }

    /// Waits until a workload (`KIND/NAME`) is rolled out, and is older than what is made next: a policy of the same
    /// second would judge it instead of adopting it.
    pub(crate) fn rolled_out(&self, namespace: &str, workload: &str) -> Result<()> {
        self.tools.kubectl(&["-n", namespace, "rollout", "status", workload, "--timeout=60s"])?;
        let made = "jsonpath={.metadata.creationTimestamp}";
        let made: Timestamp = self.tools.kubectl(&["-n", namespace, "get", workload, "-o", made])?.trim().parse()?;
        while Timestamp::now().as_second() <= made.as_second() {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// What runs is known good, under a policy of the workload's name that looks at crashes. `more` is more of its spec.
    pub(crate) fn adopted(&self, namespace: &str, kind: &str, name: &str, more: &str) -> Result<()> {
        let spec = format!(
            "targetRef: {{kind: {kind}, name: {name}}}\nsoak: {{duration: 10s, interval: 1s}}\n\
             checks: [{{name: crashes, crashRate: {{max: \"50%\"}}}}]\n{more}"
        );
        self.policy(namespace, name, &spec)?;
        self.until(namespace, name, "adopted", |policy| {
            let mut targets = policy.status.iter().flat_map(|status| &status.targets);
            targets.any(|target| target.known_good.as_ref().is_some_and(|good| !good.snapshot.is_empty()))
        })
        .map(drop)
    }

    /// Waits until a policy's one target was undone and is at rest. Gives the one `Rollback`, which succeeded.
    pub(crate) fn undone(&self, namespace: &str, name: &str) -> Result<Rollback> {
        self.until(namespace, name, "undone", |policy| {
            let target = policy.status.as_ref().and_then(|status| status.targets.first());
            target.is_some_and(|target| target.quarantined.len() == 1 && target.rollback.is_none())
        })?;
        let rollbacks: Api<Rollback> = Api::namespaced(self.client.clone(), namespace);
        let mut found = self.wait(rollbacks.list(&ListParams::default()))?.items;
        let (Some(rollback), 0) = (found.pop(), found.len()) else { bail!("there is not one Rollback") };
        let status = rollback.status.clone().unwrap_or_default();
        ensure!(status.phase == Some(RollbackPhase::Succeeded), "{:?}: {}", status.phase, status.message);
        Ok(rollback)
    }

    /// What the API server says to a manifest that it must refuse.
    pub(crate) fn refusal(&self, manifest: &str) -> Result<String> {
        match self.tools.kubectl_with(&["create", "--dry-run=server", "-f", "-"], manifest) {
            Ok(_) => bail!("it was accepted:\n{manifest}"),
            Err(refusal) => Ok(format!("{refusal:#}")),
        }
    }

    /// Waits until a policy's status is so.
    pub(crate) fn until(
        &self,
        namespace: &str,
        name: &str,
        what: &str,
        is_so: impl Fn(&RollbackPolicy) -> bool,
    ) -> Result<RollbackPolicy> {
        let policies: Api<RollbackPolicy> = Api::namespaced(self.client.clone(), namespace);
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let policy = self.wait(policies.get(name))?;
            let conditions = policy.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
            let wrong = snapback_api::conditions::violations(&conditions);
            ensure!(wrong.is_empty(), "the status breaks its contract: {wrong:?}");
            if is_so(&policy) {
                return Ok(policy);
            }
            if Instant::now() > deadline {
                bail!("waited 30 s for {what:?}, but the status is {:#?}", policy.status);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl suite::Bed for Bed {
    fn tear_down(&self) -> Vec<String> {
        self.stop_operator();
        let Some(running) = self.running().take() else { return Vec::new() };
        let folder = running.cluster.run_dir().path().to_path_buf();
        let made = run_dir::processes(&folder);
        assert!(!made.is_empty(), "the record of what runs is empty");
        drop(running.cluster);
        suite::left_behind(&folder, made)
    }
}

/// From now on, what panics in this process is kept as well as printed.
fn listen_for_panics() -> Arc<Mutex<Vec<String>>> {
    let (kept, before) = (Arc::new(Mutex::new(Vec::new())), std::panic::take_hook());
    let panics = Arc::clone(&kept);
    std::panic::set_hook(Box::new(move |panic| {
        panics.lock().unwrap_or_else(PoisonError::into_inner).push(panic.to_string());
        before(panic);
    }));
    kept
}

pub(crate) fn policy(namespace: &str, name: &str, spec: &str) -> String {
    let spec = spec.trim().replace('\n', "\n  ");
    format!(
        "apiVersion: snapback.dev/v1alpha1\nkind: RollbackPolicy\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  {spec}\n"
    )
}

/// Status, reason and message of a condition, if it speaks of the newest spec.
pub(crate) fn condition(policy: &RollbackPolicy, type_: &str) -> Option<(String, String, String)> {
    let found =
        policy.status.as_ref()?.conditions.iter().find(|condition| {
            condition.type_ == type_ && condition.observed_generation == policy.metadata.generation
        })?;
    Some((found.status.clone(), found.reason.clone(), found.message.clone()))
}
