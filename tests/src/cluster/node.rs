//! One node with real pods: containerd, kubelet, kube-proxy, and the scheduler that fills it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::{Api, Client};

use super::control_plane::ControlPlane;
use super::network::Network;
use super::until;
use crate::images;
use crate::process::Process;
use crate::run_dir::RunDir;
use crate::tools::{self, CNI_PLUGINS};

const NAME: &str = "bed";
const PAUSE: &str = "snapback.dev/pause:1";

pub(super) struct Node {
    // In the order in which they are stopped.
    _proxy: Process,
    _kubelet: Process,
    _scheduler: Process,
    _containerd: Process,
    socket: PathBuf,
}

impl Node {
    pub(super) async fn start(run: &RunDir, network: &Network, plane: &ControlPlane, client: &Client) -> Result<Self> {
        let folder = run.path();
        let kubeconfig = format!("--kubeconfig={}", plane.kubeconfig.display());
        let scheduler = super::scheduler(run, plane)?;
        let socket = folder.join("c.sock");
        std::fs::create_dir_all(folder.join("cni"))?;
        std::fs::write(folder.join("cni/10-bed.conflist"), cni(network, &folder.join("cni-state")))?;
        std::fs::write(folder.join("containerd.toml"), containerd(folder, &socket))?;
        let containerd = Process::start(
            run,
            "containerd",
            Command::new(tools::on_path("containerd").context("containerd is missing")?)
                .arg("--config")
                .arg(folder.join("containerd.toml")),
        )?;
        until("containerd ready", Duration::from_secs(30), || {
            let ready = ctr(&socket, &["version"]).is_ok();
            async move { Ok(ready.then_some(())) }
        })
        .await
        .with_context(|| tools::tail(containerd.log(), 10))?;
        let pause = images::pause(folder)?;
        import(&socket, &pause)?;

        std::fs::write(folder.join("kubelet.yaml"), kubelet(folder, network))?;
        let mut kubelet = Process::start(
            run,
            "kubelet",
            Command::new(tools::path("kubelet")?)
                .arg(&kubeconfig)
                .arg(format!("--config={}", folder.join("kubelet.yaml").display()))
                .arg(format!("--root-dir={}", folder.join("kubelet").display()))
                .arg(format!("--cert-dir={}", folder.join("kubelet-pki").display()))
                .args([format!("--node-ip={}", network.node), format!("--hostname-override={NAME}")]),
        )?;
        std::fs::write(folder.join("kube-proxy.yaml"), kube_proxy(plane, network))?;
        let mut proxy = Process::start(
            run,
            "kube-proxy",
            Command::new(tools::path("kube-proxy")?)
                .arg(format!("--config={}", folder.join("kube-proxy.yaml").display()))
                .arg(format!("--hostname-override={NAME}")),
        )?;
        let nodes: Api<NodeObject> = Api::all(client.clone());
        until("the node ready", Duration::from_secs(90), || {
            let ended = kubelet.check().and_then(|()| proxy.check());
            let nodes = nodes.clone();
            async move {
                ended?;
                Ok(super::is_ready(nodes.get_opt(NAME).await?).then_some(()))
            }
        })
        .await
        .with_context(|| format!("the end of kubelet's log:\n{}", tools::tail(kubelet.log(), 15)))?;
        Ok(Self { _proxy: proxy, _kubelet: kubelet, _scheduler: scheduler, _containerd: containerd, socket })
    }

    pub(super) fn import(&self, tar: &Path) -> Result<()> {
        import(&self.socket, tar)
    }
}

fn import(socket: &Path, tar: &Path) -> Result<()> {
    ctr(socket, &["-n", "k8s.io", "images", "import", &tar.to_string_lossy()])
}

fn ctr(socket: &Path, arguments: &[&str]) -> Result<()> {
    let output = Command::new("ctr").arg("-a").arg(socket).args(arguments).output().context("running ctr")?;
    if output.status.success() {
        return Ok(());
    }
    bail!("ctr {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim())
}

/// `restrict_oom_score_adj`: where the machine may not lower oom_score_adj, every sandbox would fail without it.
fn containerd(folder: &Path, socket: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"version = 2
root = "{folder}/containerd"
state = "{folder}/containerd-state"
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "{folder}/cni"
"#,
        socket = socket.display()
    )
}

fn cni(network: &Network, state: &Path) -> String {
    serde_json::json!({
        "cniVersion": "0.4.0",
        "name": crate::run_dir::POD_NETWORK,
        "plugins": [
            {
                "type": "bridge",
                "bridge": network.bridge,
                "isGateway": true,
                "ipMasq": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": state,
                    "ranges": [[{"subnet": network.pods}]],
                    "routes": [{"dst": "0.0.0.0/0"}]
                }
            },
            {"type": "portmap", "capabilities": {"portMappings": true}}
        ]
    })
    .to_string()
}

fn kubelet(folder: &Path, network: &Network) -> String {
    let folder = folder.display();
    let address = &network.node;
    format!(
        r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {address}
healthzPort: 0
readOnlyPort: 0
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}
authorization: {{mode: AlwaysAllow}}
containerRuntimeEndpoint: unix://{folder}/c.sock
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
evictionHard: {{memory.available: "0%", nodefs.available: "0%", imagefs.available: "0%"}}
imageGCHighThresholdPercent: 100
resolvConf: ""
maxPods: 200
registryPullQPS: 0
podLogsDir: {folder}/pod-logs
"#
    )
}

fn kube_proxy(plane: &ControlPlane, network: &Network) -> String {
    format!(
        r#"apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clientConnection: {{kubeconfig: "{kubeconfig}"}}
clusterCIDR: {pods}
healthzBindAddress: "{node}:10256"
metricsBindAddress: "{node}:10249"
conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
"#,
        kubeconfig = plane.kubeconfig.display(),
        pods = network.pods,
        node = network.node
    )
}
