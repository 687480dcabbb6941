//! A real Prometheus that scrapes the pods, once a second unless told otherwise.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::control_plane::ControlPlane;
use super::network::Network;
use super::until;
use crate::process::Process;
use crate::run_dir::RunDir;
use crate::tools;

/// A running Prometheus, which can be stopped, started and stalled.
pub struct Prometheus {
    /// Its base URL, for pods and for the host.
    pub url: String,
    address: String,
    folder: PathBuf,
    process: Option<Process>,
}

impl Prometheus {
    pub(super) async fn start(run: &RunDir, network: &Network, plane: &ControlPlane) -> Result<Self> {
        let folder = run.path().to_path_buf();
        let address = format!("{}:9090", network.node);
        std::fs::write(folder.join("prometheus.yaml"), config(plane))?;
        let mut prometheus = Self { url: format!("http://{address}"), address, folder, process: None };
        prometheus.resume(run).await?;
        Ok(prometheus)
    }

    /// Starts it again, on the same port and data.
    pub async fn resume(&mut self, run: &RunDir) -> Result<()> {
        self.process = Some(Process::start(
            run,
            "prometheus",
            Command::new(tools::path("prometheus")?)
                .arg(format!("--config.file={}", self.folder.join("prometheus.yaml").display()))
                .arg(format!("--storage.tsdb.path={}", self.folder.join("tsdb").display()))
                .arg(format!("--web.listen-address={}", self.address))
                .args(["--log.level=warn"]),
        )?);
        let address = self.address.clone();
        until("Prometheus ready", Duration::from_mins(1), || {
            let address = address.clone();
            async move { Ok(is_ready(&address).await.then_some(())) }
        })
        .await
    }

    /// Starts it again with another time between two scrapes, such as `15s`.
    pub(super) async fn scrape_every(&mut self, run: &RunDir, interval: &str) -> Result<()> {
        self.stop();
        let path = self.folder.join("prometheus.yaml");
        let config = std::fs::read_to_string(&path)?;
        std::fs::write(&path, config.replacen(EVERY_SECOND, &format!("scrape_interval: {interval}"), 1))?;
        self.resume(run).await
    }

    /// Stops it.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Stalls it: it takes connections and answers nothing.
    pub fn stall(&self) -> Result<()> {
        self.process.as_ref().map_or(Ok(()), |process| process.signal("STOP"))
    }

    /// Lets it go on.
    pub fn go_on(&self) -> Result<()> {
        self.process.as_ref().map_or(Ok(()), |process| process.signal("CONT"))
    }
}

async fn is_ready(address: &str) -> bool {
    let asked = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.write_all(b"GET /-/ready HTTP/1.0\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<bool, std::io::Error>(answer.starts_with("HTTP/1.0 200"))
    };
    asked.await.unwrap_or(false)
}

const EVERY_SECOND: &str = "scrape_interval: 1s";

fn config(plane: &ControlPlane) -> String {
    format!(
        r#"global: {{{EVERY_SECOND}, scrape_timeout: 1s, evaluation_interval: 1m}}
scrape_configs:
- job_name: pods
  kubernetes_sd_configs:
  - role: pod
    api_server: {server}
    authorization: {{credentials: "{token}"}}
    tls_config: {{insecure_skip_verify: true}}
  relabel_configs:
  - {{source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape], regex: "true", action: keep}}
  - {{source_labels: [__meta_kubernetes_pod_phase], regex: Running, action: keep}}
  - source_labels: [__meta_kubernetes_pod_ip, __meta_kubernetes_pod_annotation_prometheus_io_port]
    regex: (.+);(.+)
    replacement: $1:$2
    target_label: __address__
  - {{source_labels: [__meta_kubernetes_namespace], target_label: namespace}}
  - {{source_labels: [__meta_kubernetes_pod_name], target_label: pod}}
"#,
        server = plane.server,
        token = plane.token
    )
}
