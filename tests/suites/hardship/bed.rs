//! One control plane; each test has a namespace, in which the operator's account holds what the test gives it.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use serde_json::json;
use snapback_tests::cluster::{ApiServer, Cluster, Nodes};
use snapback_tests::sample::Tools;
use snapback_tests::tools;
use tokio::task::JoinHandle;

pub(crate) const OPERATOR: &str = "system:serviceaccount:snapback-system:snapback";

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Bed {
    cluster: Mutex<Option<Cluster>>,
    pub(crate) client: Client,
    pub(crate) tools: Tools,
    kubeconfig: PathBuf,
    /// All that the chart gives.
    pub(crate) rules: Vec<PolicyRule>,
    runtime: tokio::runtime::Handle,
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
                "--set=preflight.secrets=true",
                "--set=restore.configMaps=true",
                "--set=restore.secrets=true",
                "--set=jobs.enabled=true",
                "--set=replicas=0",
            ])?;
            // Each namespace gives its own.
            install.kubectl(&["delete", "clusterrolebinding", "snapback"])?;
            // An older schema let in what cannot be read.
            let loose = r#"[{"op":"remove","path":"/spec/versions/0/selectableFields"},{"op":"replace","path":"/spec/versions/0/schema/openAPIV3Schema","value":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}]"#;
            install.kubectl(&["patch", "crd", "rollbackpolicies.snapback.dev", "--type=json", "-p", loose])
        })
        .await??;
        let roles: Api<ClusterRole> = Api::all(cluster.client.clone());
        let mut rules = roles.get("snapback").await?.rules.context("the role is empty")?;
        // Of the Lease's own Role.
        for (verbs, names) in [(&["create"][..], None), (&["get", "update"], Some(vec!["snapback".to_owned()]))] {
            rules.push(PolicyRule {
                api_groups: Some(vec!["coordination.k8s.io".to_owned()]),
                resources: Some(vec!["leases".to_owned()]),
                resource_names: names,
                verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
                ..PolicyRule::default()
            });
        }
        Ok(Self {
            client: cluster.client.clone(),
            tools,
            kubeconfig: cluster.kubeconfig.clone(),
            rules,
            runtime: tokio::runtime::Handle::current(),
            cluster: Mutex::new(Some(cluster)),
        })
    }

    pub(crate) fn tear_down(&self) {
        self.cluster().take();
    }

    fn cluster(&self) -> MutexGuard<'_, Option<Cluster>> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(crate) fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.runtime.spawn(work)
    }

    /// The address of etcd, as HTTP.
    pub(crate) fn etcd(&self) -> Result<String> {
        Ok(self.cluster().as_ref().context("the bed is taken down")?.etcd().to_owned())
    }

    /// Another API server over what is taken for etcd there.
    pub(crate) fn another_api_server(&self, name: &str, etcd: &str) -> Result<ApiServer> {
        let cluster = self.cluster();
        let cluster = cluster.as_ref().context("the bed is taken down")?;
        self.runtime.block_on(cluster.another_api_server(name, etcd))
    }

    /// A client with the operator's rights, at this API server.
    pub(crate) fn as_operator_at(&self, kubeconfig: &Path) -> Result<Client> {
        let mut read = Kubeconfig::read_from(kubeconfig)?;
        for known in read.auth_infos.iter_mut().filter_map(|known| known.auth_info.as_mut()) {
            known.impersonate = Some(OPERATOR.to_owned());
        }
        let config = self.wait(kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()))?;
        Ok(self.wait(async { Client::try_from(config) })?)
    }

    pub(crate) fn as_operator(&self) -> Result<Client> {
        self.as_operator_at(&self.kubeconfig)
    }

    /// A namespace in which the operator's account holds these rights, and the API server knows it.
    pub(crate) fn namespace(&self, name: &str, rules: &[PolicyRule]) -> Result<()> {
        let manifest = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
            {
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
                "metadata": {"name": "operator", "namespace": name}, "rules": rules
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": {"name": "operator", "namespace": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "operator"},
                "subjects": [{"kind": "ServiceAccount", "name": "snapback", "namespace": "snapback-system"}]
            }
        ]});
        self.tools.apply(&manifest.to_string())?;
        // No test takes this one away and needs it at once: Events are the last thing.
        let probe = ["-n", name, "--as", OPERATOR, "auth", "can-i"];
        let some = rules.first().context("no rules")?;
        let (Some(resources), Some(groups)) = (&some.resources, &some.api_groups) else { bail!("an odd rule") };
        let (Some(verb), Some(resource), Some(group)) = (some.verbs.first(), resources.first(), groups.first()) else {
            bail!("an empty rule")
        };
        let what = format!("{resource}.{group}");
        eventually("the rights in force", || {
            Ok(self.tools.kubectl(&[&probe[..], &[verb, &what]].concat()).is_ok_and(|said| said.trim() == "yes"))
        })
    }
}

/// Waits until it is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so()? {
        if Instant::now() > deadline {
            bail!("waited {PATIENCE:?} for {what}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
