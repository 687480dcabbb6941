//! etcd, kube-apiserver and kube-controller-manager.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{client, until};
use crate::process::Process;
use crate::run_dir::RunDir;
use crate::tools;

pub(super) struct ControlPlane {
    // In the order in which they are stopped.
    _manager: Process,
    _apiserver: Process,
    _etcd: Process,
    pub(super) kubeconfig: PathBuf,
    pub(super) audit_log: PathBuf,
    pub(super) server: String,
    pub(super) token: String,
}

impl ControlPlane {
    pub(super) async fn start(run: &RunDir, address: &str, services: &str) -> Result<Self> {
        let folder = run.path();
        let ports = free_ports(address)?;
        let etcd_url = format!("http://127.0.0.1:{}", ports[0]);
        let peers = format!("http://127.0.0.1:{}", ports[1]);
        let mut etcd = Process::start(
            run,
            "etcd",
            Command::new(tools::path("etcd")?)
                .args(["--unsafe-no-fsync", "--log-level=warn", "--name=bed"])
                .arg(format!("--data-dir={}", folder.join("etcd").display()))
                .args([format!("--listen-client-urls={etcd_url}"), format!("--advertise-client-urls={etcd_url}")])
                .args([format!("--listen-peer-urls={peers}"), format!("--initial-advertise-peer-urls={peers}")])
                .arg(format!("--initial-cluster=bed={peers}")),
        )?;
        let key = folder.join("service-accounts.key");
        make_key(&key)?;
        let token = token()?;
        let tokens = folder.join("tokens.csv");
        std::fs::write(&tokens, format!("{token},admin,admin,system:masters\n"))?;
        let policy = folder.join("audit-policy.yaml");
        std::fs::write(&policy, AUDIT_POLICY)?;
        let audit_log = folder.join("audit.log");
        let mut apiserver = Process::start(
            run,
            "kube-apiserver",
            Command::new(tools::path("kube-apiserver")?)
                .arg(format!("--etcd-servers={etcd_url}"))
                .args([format!("--bind-address={address}"), format!("--secure-port={}", ports[2])])
                .arg(format!("--cert-dir={}", folder.join("certificates").display()))
                .arg(format!("--service-account-key-file={}", key.display()))
                .arg(format!("--service-account-signing-key-file={}", key.display()))
                .arg("--service-account-issuer=https://kubernetes.default.svc")
                .arg(format!("--token-auth-file={}", tokens.display()))
                .arg(format!("--service-cluster-ip-range={services}"))
                .arg(format!("--audit-policy-file={}", policy.display()))
                .arg(format!("--audit-log-path={}", audit_log.display()))
                .args(["--authorization-mode=Node,RBAC", "--allow-privileged=true", "--profiling=false"])
                .arg("--kubelet-preferred-address-types=InternalIP")
                .args((address == "127.0.0.1").then_some("--endpoint-reconciler-type=none")),
        )?;
        let server = format!("https://{address}:{}", ports[2]);
        let kubeconfig = folder.join("kubeconfig");
        std::fs::write(&kubeconfig, kubeconfig_text(&server, &token))?;
        let admin = client(&kubeconfig).await?;
        until("kube-apiserver ready", Duration::from_mins(2), || {
            let ended = apiserver.check().and_then(|()| etcd.check());
            let admin = admin.clone();
            async move {
                ended?;
                let request = http::Request::get("/readyz").body(Vec::new())?;
                Ok(admin.request_text(request).await.is_ok().then_some(()))
            }
        })
        .await?;
        let manager = Process::start(
            run,
            "kube-controller-manager",
            Command::new(tools::path("kube-controller-manager")?)
                .arg(format!("--kubeconfig={}", kubeconfig.display()))
                .arg("--controllers=*,-nodeipam,-cloud-node-lifecycle,-service-lb-controller")
                .args(["--use-service-account-credentials=true", "--leader-elect=false", "--profiling=false"])
                .arg(format!("--service-account-private-key-file={}", key.display()))
                .arg(format!("--root-ca-file={}", folder.join("certificates/apiserver.crt").display()))
                .args(["--secure-port=0", "--concurrent-deployment-syncs=10"]),
        )?;
        Ok(Self { _manager: manager, _apiserver: apiserver, _etcd: etcd, kubeconfig, audit_log, server, token })
    }
}

/// Who called what, without bodies: suites assert on it.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: None
  userGroups: [system:nodes]
- level: Metadata
";

pub(super) fn kubeconfig_text(server: &str, token: &str) -> String {
    format!(
        "apiVersion: v1
kind: Config
clusters: [{{name: bed, cluster: {{server: \"{server}\", insecure-skip-tls-verify: true}}}}]
users: [{{name: admin, user: {{token: \"{token}\"}}}}]
contexts: [{{name: snapback-testbed, context: {{cluster: bed, user: admin}}}}]
current-context: snapback-testbed
"
    )
}

fn free_ports(address: &str) -> Result<[u16; 3]> {
    let listen = |address: &str| TcpListener::bind((address, 0)).with_context(|| format!("listening on {address}"));
    let held = [listen("127.0.0.1")?, listen("127.0.0.1")?, listen(address)?];
    let port = |listener: &TcpListener| Ok::<u16, anyhow::Error>(listener.local_addr()?.port());
    Ok([port(&held[0])?, port(&held[1])?, port(&held[2])?])
}

fn token() -> Result<String> {
    use std::io::Read;
    let mut bytes = [0u8; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn make_key(path: &Path) -> Result<()> {
    let output =
        Command::new("openssl").args(["genrsa", "-out"]).arg(path).arg("2048").output().context("running openssl")?;
    if output.status.success() { Ok(()) } else { bail!("openssl: {}", String::from_utf8_lossy(&output.stderr)) }
}
