//! One control plane for all tests, with the operator in this process under the rights that its chart gives it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use snapback_api::v1alpha1::{Rollback, RollbackPhase, RollbackPolicy};
use snapback_controller::config::OperatorConfig;
use snapback_controller::run::{Options, run};
use snapback_tests::cluster::{Cluster, Nodes};
use snapback_tests::sample::Tools;
use snapback_tests::{run_dir, tools};
use tokio::sync::oneshot;

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

async fn client_as(kubeconfig: &Path, user: &str) -> Result<Client> {
    let mut read = Kubeconfig::read_from(kubeconfig)?;
    for known in &mut read.auth_infos {
        if let Some(known) = &mut known.auth_info {
            known.impersonate = Some(user.to_owned());
        }
    }
    Ok(Client::try_from(kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?)?)
}

pub(crate) struct Bed {
    running: Mutex<Option<Running>>,
    pub(crate) client: Client,
    pub(crate) tools: Tools,
    pub(crate) numbers: Numbers,
    runtime: tokio::runtime::Handle,
}

/// In the order in which it is stopped.
struct Running {
    stop: Option<oneshot::Sender<()>>,
    operator: tokio::task::JoinHandle<()>,
    cluster: Cluster,
}

impl Bed {
    pub(crate) async fn start() -> Result<Self> {
        let cluster = Cluster::start(Nodes::Simulated).await?;
        let tools = Tools::new(&cluster.kubeconfig);
        let install = tools.clone();
        tokio::task::spawn_blocking(move || {
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
        let operator = client_as(&cluster.kubeconfig, "system:serviceaccount:snapback-system:snapback").await?;
        let (numbers, url) = Numbers::start().await?;
        let options = Options {
            config: OperatorConfig::parse(&CONFIG.replace("NUMBERS", &url)).map_err(anyhow::Error::msg)?,
            listen: ([127, 0, 0, 1], 0).into(),
            instance: None,
            clock: Arc::new(jiff::Timestamp::now),
            lease: None,
        };
        let (stop, stopped) = oneshot::channel();
        let operator = tokio::spawn(async move {
            let stopped = async move { _ = stopped.await };
            run(operator, options, stopped).await.expect("the operator runs");
        });
        Ok(Self {
            client: cluster.client.clone(),
            tools,
            numbers,
            runtime: tokio::runtime::Handle::current(),
            running: Mutex::new(Some(Running { stop: Some(stop), operator, cluster })),
        })
    }

    /// A client with the rights of this user.
    pub(crate) fn client_as(&self, user: &str) -> Result<Client> {
        let kubeconfig = self.running().as_ref().map(|running| running.cluster.kubeconfig.clone());
        self.wait(client_as(&kubeconfig.context("the bed is taken down")?, user))
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

    /// Stops the operator. Told apart from the runtime: this may be called from one of its own threads.
    pub(crate) fn stop_operator(&self) {
        let is_running = |running: &mut Running| {
            _ = running.stop.take().map(|stop| stop.send(()));
            !running.operator.is_finished()
        };
        while self.running().as_mut().is_some_and(is_running) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Takes everything down; gives what is still there.
    pub(crate) fn tear_down(&self) -> Vec<String> {
        self.stop_operator();
        let Some(running) = self.running().take() else { return Vec::new() };
        let folder = running.cluster.run_dir().path().to_path_buf();
        let made = run_dir::processes(&folder);
        assert!(!made.is_empty(), "the record of what runs is empty");
        drop(running.cluster);
        let mut left = made.into_iter().filter(|record| run_dir::is_alive(record)).collect::<Vec<_>>();
        left.extend(folder.exists().then(|| folder.display().to_string()));
        left
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
        let kind = GroupVersionKind::gvk("apps", "v1", kind);
        let plural = format!("{}s", kind.kind.to_lowercase());
        Api::namespaced_with(self.client.clone(), namespace, &ApiResource::from_gvk_with_plural(&kind, &plural))
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
