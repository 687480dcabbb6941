//! Addresses of our own, for a node with real pods.
//!
//! 198.18.0.0/15 is set aside for tests between hosts (RFC 2544); we take parts of it that no route of this machine
//! covers. The node's address is on a bridge of its own without ports (some kernels have no dummy interfaces): an address on `lo` could be one that the machine itself uses.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run_dir::RunDir;

pub(super) struct Network {
    /// The node's address.
    pub(super) node: String,
    /// The pods' range.
    pub(super) pods: String,
    /// The services' range.
    pub(super) services: String,
    /// The bridge of the pods.
    pub(super) bridge: &'static str,
}

const LINK: &str = "sbk-node";
const BRIDGE: &str = "sbk-pods";

impl Network {
    pub(super) fn make(run: &RunDir) -> Result<Self> {
        let chains = Command::new("iptables-save").output().map(|output| output.stdout).unwrap_or_default();
        if String::from_utf8_lossy(&chains).contains("KUBE-") {
            bail!(
                "this machine has kube-proxy's iptables rules already: it seems to be a Kubernetes node. \
                 Use that cluster instead: KUBECONFIG=... make demo"
            );
        }
        let routes = Command::new("ip").args(["route"]).output().context("running ip")?.stdout;
        let routes = String::from_utf8_lossy(&routes).into_owned();
        if routes.contains("198.18.") || routes.contains("198.19.") {
            bail!("a route of this machine covers 198.18.0.0/15 (see `ip route`); the test bed needs that range");
        }
        run.record("iptables")?;
        let forward = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap_or_default();
        run.record(&format!("forward {}", forward.trim()))?;
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("switching IP forwarding on")?;
        if crate::run_dir::pod_cgroups().is_empty() {
            run.record("cgroups")?;
        }
        let network = Self {
            node: "198.18.0.10".to_owned(),
            pods: "198.18.1.0/24".to_owned(),
            services: "198.18.2.0/24".to_owned(),
            bridge: BRIDGE,
        };
        run.record(&format!("link {BRIDGE}"))?;
        run.record(&format!("link {LINK}"))?;
        ip(&["link", "add", LINK, "type", "bridge"])?;
        ip(&["address", "add", &format!("{}/32", network.node), "dev", LINK])?;
        ip(&["link", "set", LINK, "up"])?;
        Ok(network)
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).output().context("running ip")?;
    if output.status.success() {
        return Ok(());
    }
    bail!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim())
}
