//! The real kustomize-controller of Flux against the bed's API server.
//!
//! Its sources need no source-controller: a `GitRepository` whose status names an archive on a web server of this process
//! is all that it looks at.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use jiff::Timestamp;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use snapback_tests::process::Process;
use snapback_tests::releases::manifest;
use snapback_tests::tools;

use crate::bed::{Bed, until};
use crate::git::{APP, Repository};

/// Between two looks of the controller at what it applied.
pub(crate) const INTERVAL: &str = "2s";

type Archives = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A running kustomize-controller.
pub(crate) struct Flux {
    _controller: Process,
    archives: Archives,
    url: String,
}

impl Flux {
    pub(crate) fn start(bed: &Bed) -> Result<Self> {
        let kinds = |module: &str, path: &str, names: &[&str]| -> Result<Vec<PathBuf>> {
            let folder = tools::source(module, path)?.join("config/crd/bases");
            Ok(names.iter().map(|name| folder.join(format!("{name}.yaml"))).collect())
        };
        let sources =
            ["gitrepositories", "ocirepositories", "buckets"].map(|kind| format!("source.toolkit.fluxcd.io_{kind}"));
        let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
        bed.kinds(&kinds("flux-sources", "github.com/fluxcd/source-controller", &sources)?)?;
        let own = ["kustomize.toolkit.fluxcd.io_kustomizations"];
        bed.kinds(&kinds("flux", "github.com/fluxcd/kustomize-controller", &own)?)?;
        let archives = Archives::default();
        let url = bed.wait(serve(Arc::clone(&archives)))?;
        let folder = bed.folder.join("flux");
        std::fs::create_dir_all(&folder)?;
        let controller = bed.process(
            "kustomize-controller",
            Command::new(tools::path("kustomize-controller")?)
                .args(["--metrics-addr=0", "--health-addr=0", "--interval-jitter-percentage=0"])
                .args(["--log-level=info", "--http-retry=1", "--concurrent=8"])
                .env("KUBECONFIG", &bed.kubeconfig)
                .env("RUNTIME_NAMESPACE", "default")
                .env("TMPDIR", &folder)
                .env("HOME", &folder),
        )?;
        Ok(Self { _controller: controller, archives, url })
    }
}

async fn serve(archives: Archives) -> Result<String> {
    async fn archive(State(archives): State<Archives>, Path(name): Path<String>) -> Result<Vec<u8>, StatusCode> {
        let archives = archives.lock().unwrap_or_else(PoisonError::into_inner);
        archives.get(&name).cloned().ok_or(StatusCode::NOT_FOUND)
    }
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let router = axum::Router::new().route("/{name}", get(archive)).with_state(archives);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

/// A namespace that a Kustomization of the same name keeps as it is in a Git repository of its own.
pub(crate) struct Kustomization<'a> {
    bed: &'a Bed,
    flux: Arc<Flux>,
    pub(crate) namespace: String,
    pub(crate) repository: Repository,
}

impl<'a> Kustomization<'a> {
    /// With nothing in Git yet.
    pub(crate) fn new(bed: &'a Bed, namespace: &str) -> Result<Self> {
        let flux = bed.flux()?;
        let repository = Repository::create(bed.folder.join(format!("git-{namespace}")))?;
        bed.tools.apply(&format!(
            "apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}}}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: {namespace}, namespace: {namespace}}}
spec: {{interval: 1h, url: \"https://git.example.com/{namespace}.git\", ref: {{branch: main}}}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: {namespace}, namespace: {namespace}}}
spec:
  interval: {INTERVAL}
  retryInterval: {INTERVAL}
  path: ./app
  prune: true
  sourceRef: {{kind: GitRepository, name: {namespace}}}
"
        ))?;
        Ok(Self { bed, flux, namespace: namespace.to_owned(), repository })
    }

    /// Commits a release of `checkout` and lets the controller know; gives its revision.
    pub(crate) fn release(&self, template: &str) -> Result<String> {
        self.repository.commit(APP, &manifest("Deployment", &self.namespace, template))?;
        self.publish()
    }

    /// A release that is applied, and live exactly.
    pub(crate) fn released(&self, template: &str) -> Result<String> {
        let revision = self.release(template)?;
        self.applied(&revision)?;
        self.bed.until_live(&self.namespace, template)?;
        Ok(revision)
    }

    /// Lets the controller know of the newest commit, as the source-controller does; gives its revision.
    pub(crate) fn publish(&self) -> Result<String> {
        let (commit, archive) = (self.repository.head()?, self.repository.archive()?);
        let hash: String = Sha256::digest(&archive).iter().map(|byte| format!("{byte:02x}")).collect();
        let (revision, name) = (format!("main@sha1:{commit}"), format!("{commit}.tar.gz"));
        let artifact = json!({
            "url": format!("{}/{name}", self.flux.url), "path": name, "revision": revision,
            "digest": format!("sha256:{hash}"), "size": archive.len(), "lastUpdateTime": Timestamp::now().to_string()
        });
        self.flux.archives.lock().unwrap_or_else(PoisonError::into_inner).insert(name, archive);
        let ready = json!({
            "type": "Ready", "status": "True", "reason": "Succeeded", "message": "stored artifact",
            "lastTransitionTime": Timestamp::now().to_string()
        });
        let status = json!({"status": {"observedGeneration": 1, "artifact": artifact, "conditions": [ready]}});
        let sources = self.objects("source.toolkit.fluxcd.io", "GitRepository", "gitrepositories");
        let params = PatchParams { field_manager: Some("source-controller".to_owned()), ..PatchParams::default() };
        let patch = Patch::<Value>::Merge(status);
        self.bed.wait(sources.patch_status(&self.namespace, &params, &patch))?;
        Ok(revision)
    }

    /// Waits until a revision is applied, as far as the controller says; gives the status.
    pub(crate) fn applied(&self, revision: &str) -> Result<Value> {
        let mut status = Value::Null;
        let waited = until("the revision to be applied", || {
            status = self.status()?;
            Ok(status["lastAppliedRevision"] == revision)
        });
        waited.with_context(|| format!("{status:#}"))?;
        Ok(status)
    }

    /// The status of the Kustomization.
    pub(crate) fn status(&self) -> Result<Value> {
        let own = self.objects("kustomize.toolkit.fluxcd.io", "Kustomization", "kustomizations");
        let object = self.bed.wait(own.get(&self.namespace))?;
        Ok(object.data["status"].clone())
    }

    /// What was built last, and how often it was applied since, in the controller's own count.
    fn count(&self) -> Result<(String, u64)> {
        let status = self.status()?;
        let newest = &status["history"][0];
        match (newest["digest"].as_str(), newest["totalReconciliations"].as_u64()) {
            (Some(digest), Some(count)) => Ok((digest.to_owned(), count)),
            _ => bail!("no history in {status:#}"),
        }
    }

    /// Waits until the controller has applied what it applied last this often again, from beginning to end.
    pub(crate) fn reconciled(&self, times: u64) -> Result<()> {
        let (digest, before) = self.count()?;
        // The first one may have begun before we asked.
        let waited = until("the controller to look again", || {
            let (newest, count) = self.count()?;
            Ok(newest == digest && count > before + times)
        });
        waited.map(drop)
    }

    fn objects(&self, group: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
        let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural);
        Api::namespaced_with(self.bed.client.clone(), &self.namespace, &kind)
    }
}
