//! A cluster, a clock and an operator.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use serde_json::{Value, json};
use snapback_api::v1alpha1::{Rollback, RollbackPhase, RollbackPolicy, TargetStatus};
use snapback_controller::config::{ArgoConfig, FeaturesConfig, FluxConfig, GitOpsConfig, OperatorConfig};
use snapback_controller::context::Clock;
use snapback_controller::run::{Options, run};
use snapback_fake_api::{Call, FakeApi};
use snapback_invariants::{Fact, violations};
use snapback_prometheus::SourceConfig;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::facts::Facts;

pub(crate) const NAMESPACE: &str = "shop";
const POLICIES: &str = "snapback.dev/v1alpha1";

/// Longest virtual time that a story may take.
const PATIENCE: Duration = Duration::from_mins(30);

pub(crate) struct World {
    pub(crate) api: FakeApi,
    clock: Clock,
    /// Seconds that the clock is ahead of the time that has passed.
    ahead: Arc<AtomicI64>,
    operators: Vec<JoinHandle<()>>,
    /// Who applies the Deployment.
    applier: &'static str,
    /// The ConfigMap that all versions read.
    reads: Option<&'static str>,
    /// Whether v1 may come back with what is in that now.
    stays: bool,
    /// The revision that bad versions are undone to: its number.
    good: u32,
    /// Annotations of templates that are not well.
    said: Value,
    /// Whether the administrator allows Secrets in `rollback.config`.
    secrets: bool,
    /// Whether the administrator allows GitOps tools to be held.
    gitops: bool,
    /// The metrics source, and what stops the time from running ahead of its sockets while that lives.
    source: Option<(SourceConfig, std::sync::mpsc::Sender<()>)>,
    /// What happened, up to a version.
    facts: RefCell<(Facts, u64)>,
}

impl Drop for World {
    fn drop(&mut self) {
        for operator in &self.operators {
            operator.abort();
        }
    }
}

impl World {
    /// A Deployment `checkout` at v1, its policy, and an operator that has adopted v1 as known good.
    pub(crate) async fn adopted() -> Self {
        Self::adopted_with(&Value::Null).await
    }

    /// The same, with these volumes in v1 and their ConfigMaps.
    pub(crate) async fn adopted_with(volumes: &Value) -> Self {
        let mut world = Self::without_operator();
        if let Some(volumes) = volumes.as_array() {
            for volume in volumes {
                world.config_map(volume["configMap"]["name"].as_str().unwrap());
            }
            let mut v1 = deployment("v1", true);
            v1["spec"]["template"]["spec"]["volumes"] = json!(volumes);
            world.api.apply("apps/v1", "deployments", &v1);
        }
        world.start();
        world.until("v1 known good", |world| world.target().is_some_and(|target| target.known_good.is_some())).await;
        world
    }

    pub(crate) fn without_operator() -> Self {
        let began = Instant::now();
        let epoch: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let ahead = Arc::new(AtomicI64::new(0));
        let clock: Clock = {
            let ahead = Arc::clone(&ahead);
            Arc::new(move || {
                let ahead = SignedDuration::from_secs(ahead.load(Ordering::Relaxed));
                epoch + ahead + SignedDuration::try_from(began.elapsed()).unwrap()
            })
        };
        let api = FakeApi::new(Arc::clone(&clock));
        let world = Self {
            api,
            clock,
            ahead,
            operators: Vec::new(),
            applier: "user",
            reads: None,
            stays: false,
            good: 1,
            said: Value::Null,
            secrets: false,
            gitops: false,
            source: None,
            facts: RefCell::default(),
        };
        world.deploy("v1", true);
        // v1 was there before its policy.
        world.ahead.store(1, Ordering::Relaxed);
        world.policy(&json!({}));
        world
    }

    /// v1 is applied by Helm 3 and reads a ConfigMap, and so does what comes; the policy asks for all that goes with an
    /// undo: `Fast`, the configuration of then, Helm's Job, and the verification.
    pub(crate) async fn adopted_with_everything() -> Self {
        let mut world = Self::without_operator();
        (world.applier, world.reads, world.good) = ("helm", Some("settings"), 2);
        world.settings("one");
        world.deploy("v1", true);
        world.cron_job("helm", None);
        world.policy(&json!({"rollback": {
            "deadline": "10m", "speed": "Fast", "config": "Restore", "helm": {"job": "helm"}, "verify": {"duration": "3s"}
        }}));
        world.start();
        world
            .until("v1 known good with its configuration", |world| {
                let good = world.target().and_then(|target| target.known_good);
                good.is_some_and(|good| good.config.is_some_and(|config| !config[0].copy.is_empty()))
            })
            .await;
        world
    }

    /// What is in the ConfigMap that all versions read.
    pub(crate) fn settings(&self, mode: &str) {
        self.api.apply(
            "v1",
            "configmaps",
            &json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": NAMESPACE},
                "data": {"mode": mode}
            }),
        );
    }

    /// It is right, too, if v1 comes back with the ConfigMap that is there.
    pub(crate) fn settings_may_stay(&mut self) {
        self.stays = true;
    }

    /// The hand of the clock, in seconds: who moves it makes the clock jump.
    pub(crate) fn hand(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.ahead)
    }

    /// The user applies a version of the Deployment; one that is not well crash-loops.
    pub(crate) fn deploy(&self, version: &str, well: bool) {
        let mut object = deployment(version, well);
        if let Some(name) = self.reads {
            object["spec"]["template"]["spec"]["volumes"] = json!([{"name": name, "configMap": {"name": name}}]);
        }
        if !well && !self.said.is_null() {
            object["spec"]["template"]["metadata"]["annotations"] = self.said.clone();
        }
        if self.applier == "helm" {
            object["metadata"]["annotations"] =
                json!({"meta.helm.sh/release-name": "shop", "meta.helm.sh/release-namespace": NAMESPACE});
        }
        self.api.apply_as(self.applier, "apps/v1", "deployments", &object);
    }

    /// What the templates of bad versions say of themselves.
    pub(crate) fn saying(mut self, annotations: &Value) -> Self {
        self.said = annotations.clone();
        self
    }

    /// The administrator allows Secrets in `rollback.config`.
    pub(crate) fn with_secrets(mut self) -> Self {
        self.secrets = true;
        self
    }

    /// Operators that start from now on have a metrics source that answers so.
    ///
    /// Virtual time goes on by itself only while no thread of the runtime's is busy: one is from now on, and [`Self::pass`]
    /// moves the clock.
    pub(crate) async fn ask_at(&mut self, answer: crate::source::Answer) {
        self.count_at(crate::source::alone(answer)).await;
    }

    /// The same with several series.
    pub(crate) async fn count_at(&mut self, answer: crate::source::Series) {
        let url = crate::source::serve(answer).await;
        self.ask_source(SourceConfig::new("main", url));
    }

    /// The same of one that was made elsewhere.
    pub(crate) fn ask_source(&mut self, source: SourceConfig) {
        let (busy, until) = std::sync::mpsc::channel();
        tokio::task::spawn_blocking(move || until.recv());
        self.source = Some((source, busy));
    }

    /// The time that it is.
    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// A little time passes.
    pub(crate) async fn pass(&self, step: Duration) {
        if self.source.is_none() {
            return sleep(step).await;
        }
        // Slowly enough for a request over a socket to end long before its timeout.
        tokio::time::advance(Duration::from_millis(500)).await;
        tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(1))).await.unwrap();
    }

    /// From the next start on, the administrator allows GitOps tools to be held.
    pub(crate) fn holds_tools(&mut self) {
        self.gitops = true;
    }

    /// From the next start on, the administrator does not.
    pub(crate) fn forbid_secrets(&mut self) {
        self.secrets = false;
    }

    /// Helm 3 applied v1 and applies what comes.
    pub(crate) fn by_helm(mut self) -> Self {
        self.applier = "helm";
        self.deploy("v1", true);
        self
    }

    /// The user makes a suspended CronJob that allows Jobs to be made of it; its pods fare like this.
    pub(crate) fn cron_job(&self, name: &str, fares: Option<&str>) {
        let labels = fares.map_or(json!({}), |fares| json!({"simulated": fares}));
        let object = json!({
            "apiVersion": "batch/v1", "kind": "CronJob",
            "metadata": {
                "name": name, "namespace": NAMESPACE, "annotations": {"snapback.dev/allow-rollback-jobs": "true"}
            },
            "spec": {"suspend": true, "schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": {
                "metadata": {"labels": labels}, "spec": {"containers": [{"name": "app"}], "restartPolicy": "Never"}
            }}}}
        });
        self.api.apply("batch/v1", "cronjobs", &object);
    }

    pub(crate) fn jobs(&self) -> Vec<Value> {
        self.api.objects("jobs", NAMESPACE)
    }

    /// The user makes a ConfigMap.
    pub(crate) fn config_map(&self, name: &str) {
        let object =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NAMESPACE}});
        self.api.apply("v1", "configmaps", &object);
    }

    /// The user applies the policy, with more in its spec.
    pub(crate) fn policy(&self, more: &Value) {
        let mut spec = json!({
            "targetRef": {"kind": "Deployment", "name": "checkout"},
            "soak": {"duration": "10s", "interval": "1s"},
            "checks": [{"name": "crashes", "crashRate": {"max": "50%"}}],
            "rollback": {"deadline": "2m", "verify": {"duration": "3s"}}
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.api.apply(POLICIES, "rollbackpolicies", &json!({
            "apiVersion": POLICIES, "kind": "RollbackPolicy", "metadata": {"name": "checkout", "namespace": NAMESPACE}, "spec": spec
        }));
    }

    /// Starts an operator with empty caches; another one may run.
    pub(crate) fn start(&mut self) {
        self.start_over(self.api.client());
    }

    /// The same, of one whose caches are always so far behind.
    pub(crate) fn start_behind(&mut self, behind: Duration) {
        self.start_over(self.api.client_behind(behind));
    }

    fn start_over(&mut self, client: Client) {
        let options = self.options();
        self.operators.push(tokio::spawn(async move { run(client, options, std::future::pending()).await.unwrap() }));
    }

    /// What an operator of this world starts with.
    pub(crate) fn options(&self) -> Options {
        // As the binary does; another world may have been faster.
        _ = rustls::crypto::ring::default_provider().install_default();
        Options {
            config: OperatorConfig {
                sources: self.source.iter().map(|(source, _)| source.clone()).collect(),
                gitops: GitOpsConfig {
                    argocd: ArgoConfig { enabled: self.gitops, ..ArgoConfig::default() },
                    flux: FluxConfig { enabled: self.gitops },
                },
                features: FeaturesConfig { secrets_in_config_restore: self.secrets },
                ..OperatorConfig::default()
            },
            listen: ([127, 0, 0, 1], 0).into(),
            instance: None,
            clock: Arc::clone(&self.clock),
            lease: None,
            // Its pods have this machine's address.
            refuses: |_| None,
        }
    }

    /// Ends every operator where it stands.
    pub(crate) async fn kill(&mut self) {
        for operator in self.operators.drain(..) {
            operator.abort();
            _ = operator.await;
        }
    }

    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        self.until_by(Duration::from_millis(50), what, is_so).await;
    }

    /// Looks every `step`, when anything has changed: what lasts need not be looked for often. What is not of the objects is
    /// looked for each second.
    async fn until_by(&self, step: Duration, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let (mut seen, mut looked) = (None, Instant::now());
        loop {
            let version = Some(self.api.version());
            if version != seen || looked.elapsed() >= Duration::from_secs(1) {
                if is_so(self) {
                    return;
                }
                (seen, looked) = (version, Instant::now());
            }
            assert!(
                Instant::now() < deadline,
                "not in {PATIENCE:?}: {what}\ntarget: {:#?}\nrollbacks: {:#?}\nlast requests: {:#?}",
                self.target(),
                self.rollbacks(),
                self.api.calls().iter().rev().take(12).map(Call::title).collect::<Vec<_>>()
            );
            self.pass(step).await;
        }
    }

    /// Lets a while pass in which nothing is expected.
    pub(crate) async fn settle(&self) {
        let end = Instant::now() + Duration::from_mins(1);
        while Instant::now() < end {
            self.pass(end - Instant::now()).await;
        }
    }

    /// Nothing is under way, and what is the policies' to follow is followed: looks keep a pace of a second.
    pub(crate) async fn at_rest(&self, what: &str) {
        let step = Duration::from_millis(500);
        self.until_by(step, what, Self::is_at_rest).await;
        for _ in 0..4 {
            self.pass(step).await;
        }
        self.until_by(step, what, Self::is_at_rest).await;
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        let ended = self.rollbacks().iter().all(|rollback| {
            rollback.status.as_ref().is_some_and(|status| {
                is_over(status.phase) && status.helm.as_ref().is_none_or(|helm| helm.ended_at.is_some())
            })
        });
        ended && self.target().is_some_and(|target| target.rollback.is_none() && target.rollout.is_none())
    }

    /// Every fault was met, or there was nothing more to do for a while. Whether it was the former.
    pub(crate) async fn met_or_at_rest(&self, what: &str) -> bool {
        let since = std::cell::Cell::new(None);
        let is_idle = |world: &Self| {
            let is_idle = !world.rollbacks().is_empty() && world.is_at_rest();
            since.set(since.get().filter(|_| is_idle).or(is_idle.then(Instant::now)));
            since.get().is_some_and(|since: Instant| since.elapsed() > Duration::from_secs(20))
        };
        self.until(what, |world| world.api.faults_left() == 0 || is_idle(world)).await;
        self.api.faults_left() == 0
    }

    pub(crate) fn policy_now(&self) -> Option<RollbackPolicy> {
        let object = self.api.object("rollbackpolicies", NAMESPACE, "checkout")?;
        Some(serde_json::from_value(object).unwrap())
    }

    pub(crate) fn target(&self) -> Option<TargetStatus> {
        self.policy_now()?.status?.targets.into_iter().next()
    }

    pub(crate) fn rollbacks(&self) -> Vec<Rollback> {
        let objects = self.api.objects("rollbacks", NAMESPACE);
        objects.into_iter().map(|object| serde_json::from_value(object).unwrap()).collect()
    }

    /// The names of the ReplicaSets that have pods.
    pub(crate) fn sets(&self) -> Vec<String> {
        let mut sets = self.api.objects("replicasets", NAMESPACE);
        sets.retain(|set| set["spec"]["replicas"] != 0);
        sets.iter().map(|set| set["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    /// A person approves a rollback.
    pub(crate) fn approve(&self, rollback: &Rollback) {
        let mut approved = serde_json::to_value(rollback).unwrap();
        approved["spec"]["approval"] = json!({"decision": "Approved", "by": "me"});
        approved["metadata"] = json!({"name": approved["metadata"]["name"], "namespace": NAMESPACE});
        approved.as_object_mut().unwrap().remove("status");
        self.api.apply("snapback.dev/v1alpha1", "rollbacks", &approved);
    }

    /// The image of the live template.
    pub(crate) fn image(&self) -> String {
        let object = self.api.object("deployments", NAMESPACE, "checkout").unwrap();
        object["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
    }

    /// The Deployment's revision number: it rises with every change of the template.
    pub(crate) fn revision(&self) -> String {
        let object = self.api.object("deployments", NAMESPACE, "checkout").unwrap();
        object["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str().unwrap().to_owned()
    }

    /// The one outcome of a bad v2, whatever happened on the way: v1 is back, by one undo, recorded once, and nothing of
    /// ours is left on the workload.
    pub(crate) fn was_undone_once(&self, what: &str) {
        self.was_undone(1, what);
    }

    /// People were told how each undo ended, whoever died in between.
    pub(crate) fn was_told(&self, what: &str) {
        let events = self.api.objects("events", NAMESPACE);
        for rollback in self.rollbacks() {
            let name = rollback.metadata.name.unwrap();
            let is_told =
                |event: &&Value| event["regarding"]["name"] == *name && event["reason"] == "RollbackSucceeded";
            assert!(events.iter().any(|event| is_told(&event)), "{what}: nobody was told of the end of {name}");
        }
    }

    /// The same for a v2 that came back: as many undos, as many records.
    pub(crate) fn was_undone(&self, times: usize, what: &str) {
        assert_eq!(self.image(), "shop/checkout:v1", "{what}");
        assert_eq!(self.revision(), (self.good as usize + 2 * times).to_string(), "{what}: not {times} undo");
        let rollbacks = self.rollbacks();
        assert_eq!(rollbacks.len(), times, "{what}: {rollbacks:#?}");
        let newest = rollbacks.iter().max_by_key(|rollback| &rollback.spec.decided_at).unwrap();
        let status = newest.status.clone().unwrap();
        assert_eq!(status.phase, Some(RollbackPhase::Succeeded), "{what}: {}", status.message);
        assert!(
            status.timeline.undo_accepted_at.is_some() && status.timeline.ended_at.is_some(),
            "{what}: {:?}",
            status.timeline
        );
        let planned: Vec<_> = status.migration.iter().chain(&status.helm).collect();
        let name = rollbacks.iter().max_by_key(|rollback| &rollback.spec.decided_at).unwrap().metadata.name.clone();
        let jobs = self.jobs();
        let ours =
            jobs.iter().filter(|job| job["metadata"]["labels"]["snapback.dev/rollback"].as_str() == name.as_deref());
        assert_eq!(ours.count(), planned.len(), "{what}: {jobs:#?}");
        for job in planned {
            assert!(job.created_at.is_some() && job.ended_at.is_some() && job.failure.is_none(), "{what}: {job:?}");
        }
        let target = self.target().unwrap();
        assert_eq!(target.quarantined.len(), 1, "{what}: {target:#?}");
        assert_eq!(target.known_good.unwrap().fingerprint, target.current.fingerprint, "{what}");
        for conditions in [status.conditions, self.policy_now().unwrap().status.unwrap().conditions] {
            assert_eq!(snapback_api::conditions::violations(&conditions), Vec::<String>::new(), "{what}");
        }
        let deployment = self.api.object("deployments", NAMESPACE, "checkout").unwrap();
        let owners: Vec<&Value> =
            deployment["metadata"]["managedFields"].as_array().unwrap().iter().map(|entry| &entry["manager"]).collect();
        assert_eq!(owners, [&json!(self.applier)], "{what}: the fields were not handed back");
        assert!(status.timeline.handed_back_at.is_some(), "{what}: {:?}", status.timeline);
        assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"], 1, "{what}: maxSurge was not put back");
        let mut template = deployment["spec"]["template"].clone();
        if let (Some(name), Some(spec)) = (self.reads, template["spec"].as_object_mut()) {
            let read = spec.remove("volumes").unwrap_or_default()[0]["configMap"]["name"].clone();
            let content =
                self.api.object("configmaps", NAMESPACE, read.as_str().unwrap()).unwrap()["data"]["mode"].clone();
            let config = status.config.unwrap_or_default();
            let is_back = content == "one" && config.drifted.is_empty() && config.unread.is_empty();
            // It could not be read, or its copy could not.
            let is_told = !config.unread.is_empty() || !config.drifted.is_empty();
            assert!(
                is_back || self.stays && is_told && read == name,
                "{what}: {read} is not what v1 ran with: {config:#?}"
            );
        }
        let expected = deployment_template("v1", true);
        assert_eq!(template, expected, "{what}: the template is not what the user applied");
        self.keeps_the_invariants(what);
    }

    /// Whatever the API server accepted so far, none of the nine invariants was broken by it, and the known good revision
    /// lives.
    pub(crate) fn keeps_the_invariants(&self, what: &str) {
        let good = self.target().and_then(|target| target.known_good).map(|good| good.fingerprint);
        self.keeps_them(what, good, self.is_at_rest());
    }

    /// The same, where this revision should live; any, if a person has to see to it. `terminal`: whether every status is as
    /// final as it can be.
    pub(crate) fn keeps_them(&self, what: &str, expected: Option<String>, terminal: bool) {
        let broken = self.broken(expected, terminal);
        assert!(broken.is_empty(), "{what}: {broken:#?}");
    }

    /// What was broken so far.
    pub(crate) fn broken(&self, expected: Option<String>, terminal: bool) -> Vec<String> {
        let (facts, seen) = &mut *self.facts.borrow_mut();
        self.api.history(*seen).iter().for_each(|change| facts.see(change));
        *seen = self.api.version();
        facts.all.push(Fact::Rest { target: "checkout".to_owned(), expected, terminal });
        let broken = violations(&facts.all).into_iter().map(|broken| broken.to_string());
        broken.chain(facts.contradictions.iter().cloned()).collect()
    }
}

/// The user applies a version.
pub(crate) fn deploy(api: &FakeApi, version: &str, well: bool) {
    api.apply("apps/v1", "deployments", &deployment(version, well));
}

pub(crate) fn is_over(phase: Option<RollbackPhase>) -> bool {
    !matches!(phase, None | Some(RollbackPhase::AwaitingApproval | RollbackPhase::Running | RollbackPhase::Verifying))
}

fn deployment_template(version: &str, well: bool) -> Value {
    let mut labels = json!({"app": "checkout"});
    if !well {
        labels["simulated"] = json!("crash-loop");
    }
    // A field that this program's types do not know: it must survive the undo.
    json!({
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "app", "image": format!("shop/checkout:{version}"), "newerThanWe": {"kept": true}}]}
    })
}

pub(crate) fn deployment(version: &str, well: bool) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "checkout", "namespace": NAMESPACE, "labels": {"app": "checkout"}},
        "spec": {"replicas": 3, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}, "selector": {"matchLabels": {"app": "checkout"}}, "template": deployment_template(version, well)}
    })
}
