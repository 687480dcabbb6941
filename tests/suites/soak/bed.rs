//! A real control plane with simulated pods, a real Prometheus, and the operator as a process of its own, which reaches both
//! over gates.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;
use snapback_tests::cluster::{Cluster, Nodes, until};
use snapback_tests::process::Process;
use snapback_tests::sample::Tools;
use snapback_tests::{images, tools};

use crate::gate::Gate;
use crate::numbers;
use crate::proxy::Proxy;
use crate::seen::Seen;

const OPERATOR: &str = "system:serviceaccount:snapback-system:snapback";

/// Records of one target that are kept, by number; and any, by age.
pub(crate) const RECORDS: usize = 5;
pub(crate) const OLDEST: Duration = Duration::from_secs(90);
/// Younger ones stay in any case.
pub(crate) const YOUNGEST: Duration = Duration::from_secs(30);

/// What is dropped first stands first.
pub(crate) struct Bed {
    pub(crate) operator: Process,
    _prometheus: Process,
    _cluster: Cluster,
    pub(crate) client: Client,
    pub(crate) seen: Seen,
    pub(crate) proxy: Proxy,
    /// The ways to the API server and to the source.
    pub(crate) api: Gate,
    pub(crate) source: Gate,
    /// Where the operator's own metrics are.
    pub(crate) metrics: SocketAddr,
}

/// The one that is named (`PROGRAM`); else as it is shipped (`make soak`), or built quickly.
pub(crate) async fn program() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("PROGRAM").filter(|named| !named.is_empty()) {
        return Ok(named.into());
    }
    let is_shipped = std::env::var_os("SHIPPED").is_some();
    let build = if is_shipped { images::program } else { snapback_tests::command_line::snapback };
    tokio::task::spawn_blocking(build).await?
}

impl Bed {
    pub(crate) async fn start(program: PathBuf) -> Result<Self> {
        tokio::task::spawn_blocking(|| tools::ensure(&["prometheus"])).await??;
        let cluster = Cluster::start(Nodes::Simulated).await?;
        let install = Tools::new(&cluster.kubeconfig);
        tokio::task::spawn_blocking(move || {
            let chart = tools::repository().join("charts/snapback");
            let chart = chart.to_string_lossy().into_owned();
            let namespace = ["--namespace=snapback-system", "--create-namespace"];
            let rights = ["--set=restore.configMaps=true", "--set=replicas=0"];
            install.helm(&[&["install", "snapback", &chart][..], &namespace, &rights].concat())
        })
        .await??;
        let client = cluster.client.clone();
        let seen = Seen::start(&client);

        let exposed = numbers::expose(seen.clone()).await?;
        let (folder, run) = (cluster.run_dir().path().to_path_buf(), cluster.run_dir());
        std::fs::write(folder.join("prometheus.yaml"), numbers::scrapes(exposed))?;
        let listen = free_port()?;
        let prometheus = Process::start(
            run,
            "prometheus",
            Command::new(tools::path("prometheus")?)
                .arg(format!("--config.file={}", folder.join("prometheus.yaml").display()))
                .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
                .arg(format!("--web.listen-address={listen}"))
                .args(["--log.level=warn"]),
        )?;
        until("Prometheus ready", Duration::from_mins(1), || async move {
            let answer = reqwest::get(format!("http://{listen}/-/ready")).await;
            Ok(answer.is_ok_and(|answer| answer.status().is_success()).then_some(()))
        })
        .await?;

        let (proxy, at) = Proxy::start(as_operator(&cluster.kubeconfig).await?).await?;
        let (api, source) = (Gate::start(at).await?, Gate::start(listen).await?);
        let metrics = free_port()?;
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": api.url}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
            "users": [{"name": "proxy", "user": {}}]
        });
        std::fs::write(folder.join("operator.kubeconfig"), kubeconfig.to_string())?;
        let config = json!({
            "apiVersion": "config.snapback.dev/v1alpha1", "kind": "OperatorConfig",
            "sources": [{"name": "main", "url": source.url, "timeout": "3s"}],
            // A month of them in minutes: the limits are those of a month.
            "limits": {
                "perTarget": 1000, "perNamespace": 100_000, "perCluster": 100_000, "fleetBrake": {"targets": 1000},
                "window": format!("{}s", YOUNGEST.as_secs())
            },
            "history": {"perTarget": RECORDS, "maxAge": format!("{}s", OLDEST.as_secs())}
        });
        std::fs::write(folder.join("operator.yaml"), config.to_string())?;
        let mut command = Command::new(program);
        command.arg("run").arg(format!("--listen={metrics}")).arg("--config").arg(folder.join("operator.yaml"));
        command.env("KUBECONFIG", folder.join("operator.kubeconfig")).env("POD_NAME", "operator");
        let operator = Process::start(run, "operator", &mut command)?;
        Ok(Self { operator, _prometheus: prometheus, client, seen, proxy, api, source, metrics, _cluster: cluster })
    }
}

/// A client with the operator's rights.
async fn as_operator(kubeconfig: &std::path::Path) -> Result<Client> {
    let mut read = Kubeconfig::read_from(kubeconfig).context("reading the kubeconfig")?;
    for known in read.auth_infos.iter_mut().filter_map(|known| known.auth_info.as_mut()) {
        known.impersonate = Some(OPERATOR.to_owned());
    }
    Ok(Client::try_from(kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?)?)
}

/// Free until it is taken, unless somebody else is quicker.
fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
