//! etcd, kube-apiserver and kube-controller-manager.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use kube::Client;

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
    /// Where etcd is, as HTTP.
    pub(super) etcd: String,
    services: String,
}

/// A further API server. Dropping it stops it.
pub struct ApiServer {
    _process: Process,
    /// Connects as administrator.
    pub client: Client,
    /// The kubeconfig of the administrator.
    pub kubeconfig: PathBuf,
    /// What it was asked: requests as they come, and their answers.
    pub audit_log: PathBuf,
}

/// How one is started.
struct ApiServerFiles<'a> {
    folder: &'a Path,
    name: &'a str,
    etcd: &'a str,
    address: &'a str,
    port: u16,
    services: &'a str,
    audit_policy: &'a str,
}

impl ApiServerFiles<'_> {
    fn audit_log(&self) -> PathBuf {
        self.folder.join(if self.name == FIRST { "audit.log".to_owned() } else { format!("{}-audit.log", self.name) })
    }

    /// The key and the tokens are shared by all of a run.
    fn start(&self, run: &RunDir) -> Result<Process> {
        let policy = self.folder.join(format!("{}-audit-policy.yaml", self.name));
        std::fs::write(&policy, self.audit_policy)?;
        let key = self.folder.join("service-accounts.key");
        // The first one's certificate is what the controllers tell pods to trust.
        let certificates = if self.name == FIRST { "certificates" } else { self.name };
        Process::start(
            run,
            self.name,
            Command::new(tools::path("kube-apiserver")?)
                .arg(format!("--etcd-servers={}", self.etcd))
                .args([format!("--bind-address={}", self.address), format!("--secure-port={}", self.port)])
                .arg(format!("--cert-dir={}", self.folder.join(certificates).display()))
                .arg(format!("--service-account-key-file={}", key.display()))
                .arg(format!("--service-account-signing-key-file={}", key.display()))
                .arg("--service-account-issuer=https://kubernetes.default.svc")
                .arg(format!("--token-auth-file={}", self.folder.join("tokens.csv").display()))
                .arg(format!("--service-cluster-ip-range={}", self.services))
                .arg(format!("--audit-policy-file={}", policy.display()))
                .arg(format!("--audit-log-path={}", self.audit_log().display()))
                .args(["--authorization-mode=Node,RBAC", "--allow-privileged=true", "--profiling=false"])
                .arg("--kubelet-preferred-address-types=InternalIP")
                .args((self.address == "127.0.0.1").then_some("--endpoint-reconciler-type=none")),
        )
    }
}

const FIRST: &str = "kube-apiserver";

impl ControlPlane {
    pub(super) async fn start(run: &RunDir, address: &str, services: &str) -> Result<Self> {
        let folder = run.path();
        let is_simulated = address == "127.0.0.1";
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
        let files = ApiServerFiles {
            folder,
            name: FIRST,
            etcd: &etcd_url,
            address,
            port: ports[2],
            services,
            audit_policy: AUDIT_POLICY,
        };
        let (audit_log, mut apiserver) = (files.audit_log(), files.start(run)?);
        let server = format!("https://{address}:{}", ports[2]);
        let kubeconfig = folder.join("kubeconfig");
        std::fs::write(&kubeconfig, kubeconfig_text(&server, &token))?;
        etcd.check()?;
        ready(&kubeconfig, &mut apiserver).await?;
        let manager = Process::start(
            run,
            "kube-controller-manager",
            Command::new(tools::path("kube-controller-manager")?)
                .arg(format!("--kubeconfig={}", kubeconfig.display()))
                .arg("--controllers=*,-nodeipam,-cloud-node-lifecycle,-service-lb-controller")
                .args(["--use-service-account-credentials=true", "--leader-elect=false", "--profiling=false"])
                .arg(format!("--service-account-private-key-file={}", key.display()))
                .arg(format!("--root-ca-file={}", folder.join("certificates/apiserver.crt").display()))
                .args(["--secure-port=0", "--concurrent-deployment-syncs=10"])
                // Simulated pods come and go by the hundred; the default is for clusters with other users.
                .args(is_simulated.then_some(["--kube-api-qps=200", "--kube-api-burst=400"]).into_iter().flatten()),
        )?;
        Ok(Self {
            _manager: manager,
            _apiserver: apiserver,
            _etcd: etcd,
            kubeconfig,
            audit_log,
            server,
            token,
            etcd: etcd_url,
            services: services.to_owned(),
        })
    }

    /// A further API server on loopback, over what it is told is etcd. Its audit log has requests as they come, too: those
    /// that are never answered.
    pub(super) async fn another(&self, run: &RunDir, name: &str, etcd: &str) -> Result<ApiServer> {
        let folder = run.path();
        let audit_policy = AUDIT_POLICY.replace("[RequestReceived, ResponseStarted]", "[ResponseStarted]");
        let files = ApiServerFiles {
            folder,
            name,
            etcd,
            address: "127.0.0.1",
            port: free_ports("127.0.0.1")?[0],
            services: &self.services,
            audit_policy: &audit_policy,
        };
        let mut process = files.start(run)?;
        let kubeconfig = folder.join(format!("{name}-kubeconfig"));
        std::fs::write(&kubeconfig, kubeconfig_text(&format!("https://127.0.0.1:{}", files.port), &self.token))?;
        let client = ready(&kubeconfig, &mut process).await?;
        Ok(ApiServer { audit_log: files.audit_log(), _process: process, client, kubeconfig })
    }
}

/// Waits until an API server is ready.
async fn ready(kubeconfig: &Path, apiserver: &mut Process) -> Result<Client> {
    let admin = client(kubeconfig).await?;
    until("kube-apiserver ready", Duration::from_mins(2), || {
        let (ended, admin) = (apiserver.check(), admin.clone());
        async move {
            ended?;
            let request = http::Request::get("/readyz").body(Vec::new())?;
            Ok(admin.request_text(request).await.is_ok().then_some(()))
        }
    })
    .await?;
    Ok(admin)
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
