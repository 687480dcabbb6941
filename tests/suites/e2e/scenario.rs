//! What every scenario uses: the bed, a namespace, and waiting by facts.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use snapback_api::v1alpha1::{PhaseName, Rollback, RollbackPhase, RollbackPolicy, TargetStatus};
use snapback_core::analysis::sequential::Recorded;
use snapback_tests::cluster::Cluster;
use snapback_tests::sample::{Service, Tools, is_of, is_ready};

use crate::source_stub::SourceStub;

/// The cluster, and what runs in it for all scenarios.
pub(crate) struct Bed {
    cluster: Mutex<Option<Cluster>>,
    pub(crate) client: Client,
    pub(crate) tools: Tools,
    pub(crate) stub: SourceStub,
    /// The URL of the real Prometheus.
    prometheus: String,
    runtime: tokio::runtime::Handle,
}

impl Bed {
    pub(crate) async fn start() -> Result<Self> {
        let cluster = Cluster::with_images().await?;
        let tools = Tools::new(&cluster.kubeconfig);
        let prometheus = cluster.prometheus.as_ref().context("no Prometheus")?.url.clone();
        let stub = SourceStub::start(&prometheus).await?;
        let mut sources = vec![("default", prometheus.clone())];
        sources.extend(stub.sources());
        let install = tools.clone();
        tokio::task::spawn_blocking(move || install.install_operator(&sources)).await??;
        Ok(Self {
            client: cluster.client.clone(),
            tools,
            stub,
            prometheus,
            runtime: tokio::runtime::Handle::current(),
            cluster: Mutex::new(Some(cluster)),
        })
    }

    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(crate) fn cluster(&self) -> MutexGuard<'_, Option<Cluster>> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tear_down(&self) {
        self.cluster().take();
    }

    /// The pods that do not run just now, and why: often what a failed scenario waited for.
    pub(crate) fn not_running(&self) -> String {
        let all = self.tools.kubectl(&["get", "pods", "--all-namespaces", "--no-headers"]).unwrap_or_default();
        let pods: Vec<&str> = all.lines().filter(|line| !line.contains(" Running ")).collect();
        format!("pods that do not run: {pods:#?}")
    }

    /// The operator's log, for a failed run.
    pub(crate) fn tell_logs(&self) {
        let all =
            ["-n", "snapback-system", "logs", "--selector=app.kubernetes.io/name=snapback", "--prefix", "--tail=60"];
        let log = self.tools.kubectl(&all);
        eprintln!("the end of the operator's log:\n{}", log.unwrap_or_else(|error| error.to_string()));
    }
}

/// Every verdict of a record is what its counts give, bit for bit.
fn recomputes(rollback: &Rollback) -> Result<()> {
    for check in &rollback.spec.evidence {
        let Some(counts) = &check.counts else { continue };
        let recorded: Recorded = counts.parse().with_context(|| format!("the counts of {}: {counts}", check.name))?;
        let found = recorded.recomputed();
        anyhow::ensure!(found.to_bits() == recorded.found.to_bits(), "{}: {found} of {counts}", check.name);
    }
    Ok(())
}

/// One scenario: a namespace, a target named `checkout`, a policy of the same name.
pub(crate) struct Scenario<'a> {
    pub(crate) bed: &'a Bed,
    pub(crate) namespace: String,
    pub(crate) v1: Service,
}

pub(crate) const TARGET: &str = "checkout";

impl<'a> Scenario<'a> {
    pub(crate) fn new(bed: &'a Bed, namespace: &str) -> Result<Self> {
        bed.tools.kubectl(&["create", "namespace", namespace])?;
        let v1 = Service::new(namespace, TARGET).with(&[("VERSION", "v1")]);
        Ok(Self { bed, namespace: namespace.to_owned(), v1 })
    }

    /// The same with another v1.
    pub(crate) fn like(self, change: impl FnOnce(&Service) -> Service) -> Self {
        Self { v1: change(&self.v1), ..self }
    }

    /// A healthy v1 under load, complete before the policy comes: it is adopted as known good.
    pub(crate) fn adopted(bed: &'a Bed, namespace: &str, rps: u32, policy: &str) -> Result<Self> {
        let scenario = Self::new(bed, namespace)?;
        scenario.adopt(rps, policy)?;
        Ok(scenario)
    }

    pub(crate) fn adopt(&self, rps: u32, policy: &str) -> Result<()> {
        self.apply(&self.v1)?;
        if rps > 0 {
            self.bed.tools.apply(&self.v1.service_and_load(rps))?;
        }
        self.rolled_out()?;
        if rps > 0 {
            self.bed.tools.kubectl(&[
                "-n",
                &self.namespace,
                "rollout",
                "status",
                "deploy/checkout-load",
                "--timeout=60s",
            ])?;
        }
        self.policy(policy)?;
        self.target("adopted as known good", 30, |target| {
            target.phase == PhaseName::Idle && target.known_good.is_some()
        })?;
        // The window before the rollout is the baseline: let there be one.
        if rps > 0 { self.traffic(rps) } else { Ok(()) }
    }

    /// Waits until Prometheus has seen half of this load at least, for ten seconds on end.
    fn traffic(&self, rps: u32) -> Result<()> {
        let names =
            "http_requests_total|http_server_request_duration_seconds_count|istio_requests_total|response_total";
        let series = format!("{{__name__=~\"{names}\",namespace=\"{}\"}}", self.namespace);
        let rates = format!("sum(rate({series}[6s]))[10s:1s]");
        let half = rps / 2;
        let query = format!("count_over_time({rates}) >= 10 and min_over_time({rates}) >= {half}");
        let mut url = reqwest::Url::parse(&self.bed.prometheus)?.join("/api/v1/query")?;
        url.query_pairs_mut().append_pair("query", &query);
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            // It is a text that is looked at, and a result is a sample.
            let answer = self.bed.wait(async { reqwest::get(url.clone()).await?.text().await })?;
            if answer.contains("\"value\"") {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < deadline, "waited 60 s for {half} requests a second: {query}: {answer}");
            std::thread::sleep(Duration::from_millis(250));
        }
    }

    pub(crate) fn apply(&self, service: &Service) -> Result<()> {
        self.bed.tools.apply(&service.manifest()).map(drop)
    }

    /// A policy with short windows; `more` is further YAML of the spec.
    pub(crate) fn policy(&self, more: &str) -> Result<()> {
        let namespace = &self.namespace;
        let soak = if more.contains("soak:") { "" } else { "soak: {duration: 14s, interval: 2s}" };
        let minimum = if more.contains("minimumRequests:") { "" } else { "minimumRequests: 10" };
        let target = format!("targetRef: {{kind: {}, name: checkout}}", self.v1.kind);
        let target = if more.contains("selector:") { "" } else { &target };
        let rollback =
            if more.contains("rollback:") { "" } else { "rollback: {deadline: 60s, verify: {duration: 6s}}" };
        let more = more.replace('\n', "\n  ");
        self.bed
            .tools
            .apply(&format!(
                "apiVersion: snapback.dev/v1alpha1
kind: RollbackPolicy
metadata: {{name: checkout, namespace: {namespace}}}
spec:
  {target}
  {soak}
  {minimum}
  {rollback}
  {more}
"
            ))
            .map(drop)
    }

    pub(crate) fn rolled_out(&self) -> Result<()> {
        let workload = format!("{}/{TARGET}", self.v1.kind);
        let arguments = ["-n", &self.namespace, "rollout", "status", &workload, "--timeout=90s"];
        self.bed.tools.kubectl(&arguments).map(drop)
    }

    /// Waits until the target's status is so.
    pub(crate) fn target(
        &self,
        what: &str,
        seconds: u64,
        is_so: impl Fn(&TargetStatus) -> bool,
    ) -> Result<TargetStatus> {
        self.target_named(TARGET, what, seconds, is_so)
    }

    pub(crate) fn target_named(
        &self,
        name: &str,
        what: &str,
        seconds: u64,
        is_so: impl Fn(&TargetStatus) -> bool,
    ) -> Result<TargetStatus> {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            let target = self.target_now(name)?;
            match target {
                Some(target) if is_so(&target) => return Ok(target),
                other if Instant::now() > deadline => {
                    let shown = other.map(|target| format!("{:?} {} {}", target.phase, target.reason, target.message));
                    bail!("waited {seconds} s for {what:?}, but the target is {shown:?}");
                }
                _ => std::thread::sleep(Duration::from_millis(150)),
            }
        }
    }

    pub(crate) fn target_now(&self, name: &str) -> Result<Option<TargetStatus>> {
        Ok(self.targets_now()?.into_iter().find(|target| target.name == name))
    }

    fn targets_now(&self) -> Result<Vec<TargetStatus>> {
        let policies: Api<RollbackPolicy> = Api::namespaced(self.bed.client.clone(), &self.namespace);
        let policy = self.bed.wait(policies.get(TARGET))?;
        if let Some(status) = &policy.status {
            let wrong = snapback_api::conditions::violations(&status.conditions);
            anyhow::ensure!(wrong.is_empty(), "the status breaks its contract: {wrong:?}");
        }
        Ok(policy.status.map(|status| status.targets).unwrap_or_default())
    }

    /// Checks for this long that nothing is undone: no Rollback exists.
    pub(crate) fn nothing_is_undone(&self, seconds: u64) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < deadline {
            let found = self.rollbacks()?;
            anyhow::ensure!(
                found.is_empty(),
                "a Rollback exists: {:?}",
                found.first().map(|found| &found.spec.evidence)
            );
            std::thread::sleep(Duration::from_millis(300));
        }
        Ok(())
    }

    pub(crate) fn rollbacks(&self) -> Result<Vec<Rollback>> {
        let rollbacks: Api<Rollback> = Api::namespaced(self.bed.client.clone(), &self.namespace);
        Ok(self.bed.wait(rollbacks.list(&ListParams::default()))?.items)
    }

    /// Waits until the one Rollback has ended, and checks that it ended so.
    pub(crate) fn ended(&self, phase: RollbackPhase, seconds: u64) -> Result<Rollback> {
        self.rollback_is(seconds, "ended", |status| {
            status == phase
                || matches!(
                    status,
                    RollbackPhase::Succeeded
                        | RollbackPhase::Failed
                        | RollbackPhase::Escalated
                        | RollbackPhase::Superseded
                )
        })
        .and_then(|rollback| {
            let status = rollback.status.clone().unwrap_or_default();
            let wrong = snapback_api::conditions::violations(&status.conditions);
            anyhow::ensure!(wrong.is_empty(), "the status breaks its contract: {wrong:?}");
            anyhow::ensure!(status.phase == Some(phase), "{:?}: {}", status.phase, status.message);
            recomputes(&rollback)?;
            Ok(rollback)
        })
    }

    pub(crate) fn rollback_is(
        &self,
        seconds: u64,
        what: &str,
        is_so: impl Fn(RollbackPhase) -> bool,
    ) -> Result<Rollback> {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            let found = self.rollbacks()?;
            anyhow::ensure!(found.len() < 2, "there are {} Rollbacks", found.len());
            let phase = found.first().and_then(|rollback| rollback.status.as_ref()?.phase);
            if phase.is_some_and(&is_so) {
                return found.into_iter().next().context("just seen");
            }
            if Instant::now() > deadline {
                let shown = |target: &TargetStatus| {
                    let TargetStatus { name, phase, reason, message, checks, .. } = target;
                    format!("{name} {phase:?} {reason} {message} {checks:#?}")
                };
                let shown: Vec<String> = self.targets_now()?.iter().map(shown).collect();
                bail!("waited {seconds} s for a Rollback that is {what}; it is {phase:?}; {}", shown.join("\n"));
            }
            std::thread::sleep(Duration::from_millis(150));
        }
    }

    pub(crate) fn deployment(&self) -> Result<Deployment> {
        let deployments: Api<Deployment> = Api::namespaced(self.bed.client.clone(), &self.namespace);
        Ok(self.bed.wait(deployments.get(TARGET))?)
    }

    /// The VERSION that the live template says.
    pub(crate) fn version(&self) -> Result<String> {
        let version = "jsonpath={.spec.template.spec.containers[0].env[?(@.name==\"VERSION\")].value}";
        self.bed.tools.kubectl(&["-n", &self.namespace, "get", self.v1.kind, TARGET, "-o", version])
    }

    pub(crate) fn is_version(&self, version: &str) -> Result<()> {
        let live = self.version()?;
        anyhow::ensure!(live == version, "the live template is {live}, not {version}");
        Ok(())
    }

    /// Pods with this label, by name.
    pub(crate) fn pods(&self, label: &str) -> Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.bed.client.clone(), &self.namespace);
        let mut found = self.bed.wait(pods.list(&ListParams::default().labels(label)))?.items;
        found.sort_by_key(ResourceExt::name_any);
        Ok(found)
    }

    /// The target's pods by name, of which each has to be ready and of this version.
    pub(crate) fn pods_of(&self, version: &str) -> Result<Vec<Pod>> {
        let pods = self.pods("app=checkout")?;
        let wrong = pods.iter().find(|pod| !is_ready(pod) || !is_of(pod, version));
        anyhow::ensure!(wrong.is_none(), "a pod is not ready, or not of {version}: {wrong:#?}");
        Ok(pods)
    }

    /// Reasons of the Events on the target.
    pub(crate) fn events(&self) -> Result<Vec<String>> {
        let events: Api<k8s_openapi::api::events::v1::Event> =
            Api::namespaced(self.bed.client.clone(), &self.namespace);
        let found = self.bed.wait(events.list(&ListParams::default()))?;
        let ours = found.items.into_iter().filter(|event| {
            event.reporting_controller.as_deref() == Some("snapback.dev/operator")
                && event.regarding.as_ref().is_some_and(|regarding| regarding.kind.as_deref() == Some(self.v1.kind))
        });
        Ok(ours.filter_map(|event| event.reason).collect())
    }

    /// The name of the operator's pod that leads.
    pub(crate) fn leader(&self) -> Result<String> {
        let leases: Api<Lease> = Api::namespaced(self.bed.client.clone(), "snapback-system");
        let lease = self.bed.wait(leases.get("snapback"))?;
        lease.spec.and_then(|spec| spec.holder_identity).context("nobody leads")
    }
}
