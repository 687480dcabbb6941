//! A whole cluster, from one call.

mod control_plane;
mod network;
mod node;
mod prometheus;
mod simulated;

pub use control_plane::ApiServer;
pub use prometheus::Prometheus;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::process::Process;
use crate::run_dir::RunDir;
use crate::{images, say, tools};

/// What runs the pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nodes {
    /// KWOK: pods come up by themselves and nothing runs in them. Needs no root.
    Simulated,
    /// A real kubelet and containerd on this machine. Needs root.
    Real,
}

/// A running cluster. Dropping it removes everything that it made.
pub struct Cluster {
    /// Connects as administrator.
    pub client: Client,
    /// The kubeconfig of the administrator.
    pub kubeconfig: PathBuf,
    /// The Prometheus that scrapes the pods; only with real nodes.
    pub prometheus: Option<Prometheus>,
    /// The API server's audit log: one JSON object a line.
    pub audit_log: PathBuf,
    node: Option<node::Node>,
    _simulated: Option<simulated::Simulated>,
    // Dropped last to first above this line matters: pods before the control plane, the record at the very end.
    control_plane: control_plane::ControlPlane,
    run: RunDir,
    _lock: Option<tools::Lock>,
}

impl Cluster {
    /// Starts a cluster, finding or building its programs first.
    pub async fn start(nodes: Nodes) -> Result<Self> {
        let started = Instant::now();
        let real = nodes == Nodes::Real;
        if real && !is_root() {
            bail!("real pods need root (containerd, cgroups, network); run this as root");
        }
        tokio::task::spawn_blocking(move || {
            tools::ensure(if real { &tools::NODE_TOOLS } else { &tools::SIMULATED_TOOLS })?;
            if real { tools::ensure_node_packages() } else { Ok(()) }
        })
        .await??;
        let lock = if real { Some(tools::Lock::take(&tools::cache()?.join("node.lock"))?) } else { None };
        let run = RunDir::create()?;
        say(if real { "starting a control plane and a node" } else { "starting a control plane and a simulated node" });
        let network = if real { Some(network::Network::make(&run)?) } else { None };
        let address = network.as_ref().map_or_else(|| "127.0.0.1".to_owned(), |network| network.node.clone());
        let services = network.as_ref().map_or("198.19.255.0/24", |network| network.services.as_str());
        let control_plane = control_plane::ControlPlane::start(&run, &address, services).await?;
        let client = client(&control_plane.kubeconfig).await?;
        let (node, simulated, prometheus) = match &network {
            Some(network) => {
                let node = node::Node::start(&run, network, &control_plane, &client).await?;
                let prometheus = Prometheus::start(&run, network, &control_plane).await?;
                (Some(node), None, Some(prometheus))
            }
            None => (None, Some(simulated::Simulated::start(&run, &control_plane, &client).await?), None),
        };
        say(&format!("the cluster is ready after {} s", started.elapsed().as_secs()));
        Ok(Self {
            client,
            kubeconfig: control_plane.kubeconfig.clone(),
            prometheus,
            audit_log: control_plane.audit_log.clone(),
            node,
            _simulated: simulated,
            control_plane,
            run,
            _lock: lock,
        })
    }

    /// Starts a cluster with real pods that has the images of the operator and the sample service.
    pub async fn with_images() -> Result<Self> {
        let cluster = Self::start(Nodes::Real).await?;
        let folder = cluster.run.path().to_path_buf();
        for image in tokio::task::spawn_blocking(move || images::build(&folder)).await?? {
            cluster.import_image(&image)?;
        }
        Ok(cluster)
    }

    /// Puts an image into the node.
    fn import_image(&self, tar: &std::path::Path) -> Result<()> {
        self.node.as_ref().context("there is no node")?.import(tar)
    }

    /// Starts Prometheus again after it was stopped.
    pub async fn start_prometheus(&mut self) -> Result<()> {
        match self.prometheus.as_mut() {
            Some(prometheus) => prometheus.resume(&self.run).await,
            None => bail!("there is no Prometheus"),
        }
    }

    /// Lets Prometheus scrape at another interval, such as `15s`.
    pub async fn scrape_every(&mut self, interval: &str) -> Result<()> {
        match self.prometheus.as_mut() {
            Some(prometheus) => prometheus.scrape_every(&self.run, interval).await,
            None => bail!("there is no Prometheus"),
        }
    }

    /// Where etcd is, as HTTP.
    pub fn etcd(&self) -> &str {
        &self.control_plane.etcd
    }

    /// A further API server on loopback, over what it is told is etcd: the real one, or something in between.
    pub async fn another_api_server(&self, name: &str, etcd: &str) -> Result<ApiServer> {
        self.control_plane.another(&self.run, name, etcd).await
    }

    /// The run directory.
    pub fn run_dir(&self) -> &RunDir {
        &self.run
    }
}

fn scheduler(run: &RunDir, plane: &control_plane::ControlPlane) -> Result<Process> {
    let kubeconfig = format!("--kubeconfig={}", plane.kubeconfig.display());
    let mut command = Command::new(tools::path("kube-scheduler")?);
    Process::start(run, "kube-scheduler", command.arg(&kubeconfig).args(["--leader-elect=false", "--secure-port=0"]))
}

fn is_ready(node: Option<Node>) -> bool {
    let conditions = node.and_then(|node| node.status).and_then(|status| status.conditions);
    conditions.iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True")
}

/// Whether we are root.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}

/// A client from a kubeconfig file.
pub async fn client(kubeconfig: &std::path::Path) -> Result<Client> {
    let read = Kubeconfig::read_from(kubeconfig)?;
    let config = kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// A client from the administrator's kubeconfig file, with the rights of this user.
pub async fn client_as(kubeconfig: &std::path::Path, user: &str) -> Result<Client> {
    let mut read = Kubeconfig::read_from(kubeconfig)?;
    for known in read.auth_infos.iter_mut().filter_map(|known| known.auth_info.as_mut()) {
        known.impersonate = Some(user.to_owned());
    }
    Ok(Client::try_from(kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?)?)
}

/// Tries again every 100 ms until it is done, or until `limit` is over. `what` is told on failure.
pub async fn until<T, F: Future<Output = Result<Option<T>>>>(
    what: &str,
    limit: Duration,
    mut attempt: impl FnMut() -> F,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(done) = attempt().await? {
            return Ok(done);
        }
        if Instant::now() > deadline {
            bail!("{what}: not within {limit:?}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
