//! The real Argo CD against the bed's API server: Redis, the repo server, the application controller, and, for those who
//! ask for it, the ApplicationSet controller.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::{Value, json};
use snapback_tests::process::Process;
use snapback_tests::releases::manifest;
use snapback_tests::{argocd, tools};

use crate::bed::{Bed, until};
use crate::git::{APP, Repository};

/// Where it and its Applications are.
const NAMESPACE: &str = "argocd";

/// Seconds between two looks at an Application, and for how long a branch's newest commit is remembered.
const RESYNC: u32 = 2;

/// Its program is one for all parts; this variable says which.
const PART: &str = "ARGOCD_BINARY_NAME";

/// A running Argo CD.
pub(crate) struct Argocd {
    // In the order in which they are stopped.
    sets: Mutex<Option<Process>>,
    _controller: Process,
    _repositories: Process,
    _redis: Process,
    repositories: String,
}

impl Argocd {
    pub(crate) fn start(bed: &Bed) -> Result<Self> {
        let kinds = tools::source("argocd", "github.com/argoproj/argo-cd/v3")?.join("manifests/crds");
        bed.kinds(&["application", "appproject", "applicationset"].map(|kind| kinds.join(format!("{kind}-crd.yaml"))))?;
        bed.tools.apply(SETTINGS)?;
        // As docs/argocd.md has it.
        let ours = argocd::config_map_file();
        let patch = ["patch", "configmap", "argocd-cm", "--type=merge", "--patch-file", &ours.to_string_lossy()];
        bed.tools.kubectl(&[&["-n", NAMESPACE][..], &patch].concat())?;
        let folder = bed.folder.join(NAMESPACE);
        std::fs::create_dir_all(&folder)?;
        let [redis_port, port, metrics, controller_metrics] = free_ports()?;
        let at = |port: u16| format!("127.0.0.1:{port}");
        let redis = bed.process(
            "redis",
            Command::new(tools::redis().context("there is no Redis")?)
                .arg0("redis-server")
                .args(["--bind", "127.0.0.1", "--port", &redis_port.to_string()])
                .args(["--save", "", "--appendonly", "no", "--dir", &folder.to_string_lossy()]),
        )?;
        let repositories = bed.process(
            "argocd-repo-server",
            part("argocd-repo-server", bed)?
                .args(["--disable-tls", "--address=127.0.0.1", "--metrics-address=127.0.0.1", "--loglevel=info"])
                .args([format!("--port={port}"), format!("--metrics-port={metrics}")])
                .arg(format!("--redis={}", at(redis_port)))
                .arg(format!("--revision-cache-expiration={}s", RESYNC / 2))
                .env("ARGOCD_GPG_ENABLED", "false")
                .env("ARGOCD_ASK_PASS_SOCK", folder.join("ask-pass.sock")),
        )?;
        until("the repo server to listen", || Ok(std::net::TcpStream::connect(at(port)).is_ok()))?;
        let controller = bed.process(
            "argocd-application-controller",
            // Its metrics are the one thing that listens on all addresses: it cannot be told otherwise.
            part("argocd-application-controller", bed)?
                .args([format!("--namespace={NAMESPACE}"), format!("--metrics-port={controller_metrics}")])
                .args([format!("--repo-server={}", at(port)), format!("--redis={}", at(redis_port))])
                .args(["--repo-server-plaintext", "--app-resync-jitter=0", "--loglevel=info"])
                .arg(format!("--app-resync={RESYNC}"))
                // The default of the program: what it takes for its own cluster is the one of the kubeconfig.
                .env("ARGOCD_FAKE_IN_CLUSTER", "true"),
        )?;
        Ok(Self {
            sets: Mutex::default(),
            _controller: controller,
            _repositories: repositories,
            _redis: redis,
            repositories: at(port),
        })
    }

    /// Makes sure that ApplicationSets are looked after, too.
    pub(crate) fn with_sets(&self, bed: &Bed) -> Result<()> {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        if sets.is_none() {
            let mut command = part("argocd-applicationset-controller", bed)?;
            command
                .args([format!("--namespace={NAMESPACE}"), format!("--argocd-repo-server={}", self.repositories)])
                .args(["--repo-server-plaintext", "--metrics-addr=0", "--probe-addr=0", "--webhook-addr=127.0.0.1:0"])
                .env("ARGOCD_FAKE_IN_CLUSTER", "true");
            *sets = Some(bed.process("argocd-applicationset-controller", &mut command)?);
        }
        Ok(())
    }
}

fn part(name: &str, bed: &Bed) -> Result<Command> {
    let folder = bed.folder.join(NAMESPACE);
    let mut command = Command::new(tools::path("argocd")?);
    command
        .env(PART, name)
        .env("KUBECONFIG", &bed.kubeconfig)
        .envs([("HOME", &folder), ("TMPDIR", &folder)])
        .env("ARGOCD_TLS_DATA_PATH", folder.join("tls"))
        .env("ARGOCD_SSH_DATA_PATH", folder.join("ssh"))
        .env("GIT_CONFIG_SYSTEM", "/dev/null");
    Ok(command)
}

fn free_ports() -> Result<[u16; 4]> {
    let held: Vec<TcpListener> =
        (0..4).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect::<std::io::Result<Vec<_>>>()?;
    let mut ports = [0; 4];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

/// What an installation has beside its programs, with everything at its default.
const SETTINGS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: argocd}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: argocd-cm, namespace: argocd, labels: {app.kubernetes.io/part-of: argocd}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: argocd-rbac-cm, namespace: argocd, labels: {app.kubernetes.io/part-of: argocd}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: argocd-ssh-known-hosts-cm, namespace: argocd, labels: {app.kubernetes.io/part-of: argocd}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: argocd-tls-certs-cm, namespace: argocd, labels: {app.kubernetes.io/part-of: argocd}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: argocd-gpg-keys-cm, namespace: argocd, labels: {app.kubernetes.io/part-of: argocd}}
---
apiVersion: v1
kind: Secret
metadata: {name: argocd-secret, namespace: argocd, labels: {app.kubernetes.io/part-of: argocd}}
stringData: {server.secretkey: a-test-bed-has-no-secrets}
---
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: default, namespace: argocd}
spec:
  sourceRepos: ["*"]
  destinations: [{server: "*", namespace: "*"}]
  clusterResourceWhitelist: [{group: "*", kind: "*"}]
"#;

/// How Argo CD applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applies {
    /// As `kubectl apply` does, its default.
    ClientSide,
    /// With the sync option `ServerSideApply=true`.
    ServerSide,
}

/// A namespace that an Application of the same name keeps as it is in a Git repository of its own: automated, with prune
/// and selfHeal.
pub(crate) struct Application<'a> {
    bed: &'a Bed,
    _argocd: Arc<Argocd>,
    pub(crate) namespace: String,
    pub(crate) repository: Repository,
}

impl<'a> Application<'a> {
    /// With this release in Git, synced and live exactly.
    pub(crate) fn new(bed: &'a Bed, namespace: &str, applies: Applies, template: &str) -> Result<Self> {
        let application = Self::unmade(bed, namespace)?;
        application.commit(template)?;
        application.create(applies)?;
        application.synced(&application.repository.head()?)?;
        bed.until_live(namespace, template)?;
        Ok(application)
    }

    /// The repository and the namespace, with nothing in them.
    pub(crate) fn unmade(bed: &'a Bed, namespace: &str) -> Result<Self> {
        let argocd = bed.argocd()?;
        let repository = Repository::create(bed.folder.join(format!("git-{namespace}")))?;
        bed.tools.kubectl(&["create", "namespace", namespace])?;
        Ok(Self { bed, _argocd: argocd, namespace: namespace.to_owned(), repository })
    }

    /// Makes its Application.
    pub(crate) fn create(&self, applies: Applies) -> Result<()> {
        self.create_with(&self.spec(applies))
    }

    /// Makes its Application with this spec.
    pub(crate) fn create_with(&self, spec: &Value) -> Result<()> {
        let made = self.bed.tools.apply(&format!(
            "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {{name: {}, namespace: {NAMESPACE}}}\nspec: {spec}\n",
            self.namespace,
        ));
        made.map(drop)
    }

    /// The spec of its Application, as JSON.
    pub(crate) fn spec(&self, applies: Applies) -> Value {
        let options = (applies == Applies::ServerSide).then_some("ServerSideApply=true");
        json!({
            "project": "default",
            "source": {"repoURL": self.repository.url(), "path": "app", "targetRevision": "main"},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": self.namespace},
            "syncPolicy": {
                "automated": {"prune": true, "selfHeal": true},
                "syncOptions": options.into_iter().collect::<Vec<_>>()
            }
        })
    }

    /// Commits a release of `checkout`; gives the revision.
    pub(crate) fn commit(&self, template: &str) -> Result<String> {
        self.repository.commit(APP, &manifest("Deployment", &self.namespace, template))
    }

    /// A release that is synced, and live exactly.
    pub(crate) fn released(&self, template: &str) -> Result<String> {
        let revision = self.commit(template)?;
        self.refresh()?;
        self.synced(&revision)?;
        self.bed.until_live(&self.namespace, template)?;
        Ok(revision)
    }

    /// Lets the controller look at the newest commit now, and waits until it has.
    pub(crate) fn refresh(&self) -> Result<()> {
        self.refresh_with(json!({}))
    }

    /// Switches selfHeal off, and waits until the controller knows. It goes by a copy of the Application that may be
    /// behind: an undo right after the switch was reverted on a busy machine. The request for a refresh, in the same patch,
    /// is gone when it has worked with a copy that has the switch as well.
    pub(crate) fn hold(&self) -> Result<()> {
        self.refresh_with(json!({"spec": {"syncPolicy": {"automated": {"selfHeal": false}}}}))?;
        let is_free = |application: &Value| application["operation"].is_null() && !is_busy(&application["status"]);
        until("no sync to be under way", || Ok(is_free(&self.get()?))).map(drop)
    }

    /// Switches selfHeal on.
    pub(crate) fn let_go(&self) -> Result<()> {
        self.patch(&json!({"spec": {"syncPolicy": {"automated": {"selfHeal": true}}}}))
    }

    fn refresh_with(&self, mut patch: Value) -> Result<()> {
        const REFRESH: &str = "argocd.argoproj.io/refresh";
        patch["metadata"] = json!({"annotations": {REFRESH: "normal"}});
        self.patch(&patch)?;
        until("the refresh", || Ok(self.get()?["metadata"]["annotations"][REFRESH].is_null())).map(drop)
    }

    /// Merges this into the Application, as Snapback.
    pub(crate) fn patch(&self, patch: &Value) -> Result<()> {
        let params = PatchParams {
            field_manager: Some(snapback_controller::FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        self.bed.wait(self.applications().patch(&self.namespace, &params, &Patch::Merge(patch)))?;
        Ok(())
    }

    /// Waits until the live objects are those of a revision, as far as the controller says; gives the status.
    pub(crate) fn synced(&self, revision: &str) -> Result<Value> {
        self.until(&format!("synced to {revision}"), |status| {
            let sync = &status["sync"];
            sync["status"] == "Synced" && sync["revision"] == revision && !is_busy(status)
        })
    }

    /// Waits until the status is so; gives it.
    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut status = Value::Null;
        let waited = until(what, || {
            status = self.status()?;
            Ok(is_so(&status))
        });
        waited.with_context(|| format!("{status:#}"))?;
        Ok(status)
    }

    /// Waits until the controller has compared Git with what is live this often, from beginning to end, by itself.
    pub(crate) fn reconciled(&self, times: usize) -> Result<()> {
        let mut last = self.status()?["reconciledAt"].clone();
        let mut seen = 0;
        // The first one may have begun before we asked.
        let waited = until("the controller to look again", || {
            let now = self.status()?["reconciledAt"].clone();
            seen += usize::from(now != last);
            last = now;
            Ok(seen > times)
        });
        waited.map(drop)
    }

    /// The Application.
    pub(crate) fn get(&self) -> Result<Value> {
        Ok(serde_json::to_value(self.bed.wait(self.applications().get(&self.namespace))?)?)
    }

    /// Its status.
    pub(crate) fn status(&self) -> Result<Value> {
        Ok(self.get()?["status"].take())
    }

    fn applications(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Application");
        let kind = ApiResource::from_gvk_with_plural(&kind, "applications");
        Api::namespaced_with(self.bed.client.clone(), NAMESPACE, &kind)
    }
}

fn is_busy(status: &Value) -> bool {
    status["operationState"]["phase"] == "Running"
}
