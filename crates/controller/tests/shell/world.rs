//! A cluster, a clock and an operator.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use snapback_api::v1alpha1::{Rollback, RollbackPhase, RollbackPolicy, TargetStatus};
use snapback_controller::config::{FeaturesConfig, OperatorConfig};
use snapback_controller::context::Clock;
use snapback_controller::run::{Options, run};
use snapback_fake_api::{Call, FakeApi};
use snapback_prometheus::SourceConfig;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

pub(crate) const NAMESPACE: &str = "shop";
const POLICIES: &str = "snapback.dev/v1alpha1";

/// Longest virtual time that a story may take.
const PATIENCE: Duration = Duration::from_mins(30);

pub(crate) struct World {
    pub(crate) api: FakeApi,
    clock: Clock,
    operator: Option<JoinHandle<()>>,
    /// Who applies the Deployment.
    applier: &'static str,
    /// Annotations of templates that are not well.
    said: Value,
    /// Whether the administrator allows Secrets in `rollback.config`.
    secrets: bool,
    /// The metrics source, and what stops the time from running ahead of its sockets while that lives.
    source: Option<(String, std::sync::mpsc::Sender<()>)>,
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
        let world =
            Self { api, clock, operator: None, applier: "user", said: Value::Null, secrets: false, source: None };
        world.deploy("v1", true);
        // v1 was there before its policy.
        ahead.store(1, Ordering::Relaxed);
        world.policy(&json!({}));
        world
    }

    /// The user applies a version of the Deployment; one that is not well crash-loops.
    pub(crate) fn deploy(&self, version: &str, well: bool) {
        let mut object = deployment(version, well);
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
        let (busy, until) = std::sync::mpsc::channel();
        tokio::task::spawn_blocking(move || until.recv());
        self.source = Some((crate::source::serve(answer).await, busy));
    }

    /// The time that it is.
    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// A little time passes.
    async fn pass(&self, step: Duration) {
        if self.source.is_none() {
            return sleep(step).await;
        }
        // Slowly enough for a request over a socket to end long before its timeout.
        tokio::time::advance(Duration::from_millis(500)).await;
        tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(1))).await.unwrap();
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
        let options = self.options();
        let client = self.api.client();
        self.operator = Some(tokio::spawn(async move { run(client, options, std::future::pending()).await.unwrap() }));
    }

    /// What an operator of this world starts with.
    pub(crate) fn options(&self) -> Options {
        // As the binary does; another world may have been faster.
        _ = rustls::crypto::ring::default_provider().install_default();
        Options {
            config: OperatorConfig {
                sources: self.source.iter().map(|(url, _)| SourceConfig::new("main", url)).collect(),
                features: FeaturesConfig { secrets_in_config_restore: self.secrets },
                ..OperatorConfig::default()
            },
            listen: ([127, 0, 0, 1], 0).into(),
            instance: None,
            clock: Arc::clone(&self.clock),
            lease: None,
        }
    }

    /// Ends the operator where it stands.
    pub(crate) async fn kill(&mut self) {
        if let Some(operator) = self.operator.take() {
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
        sleep(Duration::from_mins(1)).await;
    }

    /// Nothing is under way, and what is the policies' to follow is followed: looks keep a pace of a second.
    pub(crate) async fn at_rest(&self, what: &str) {
        let is_at_rest = |world: &Self| {
            let ended = world.rollbacks().iter().all(|rollback| {
                rollback.status.as_ref().is_some_and(|status| {
                    is_over(status.phase) && status.helm.as_ref().is_none_or(|helm| helm.ended_at.is_some())
                })
            });
            ended && world.target().is_some_and(|target| target.rollback.is_none() && target.rollout.is_none())
        };
        let step = Duration::from_millis(500);
        self.until_by(step, what, is_at_rest).await;
        for _ in 0..4 {
            self.pass(step).await;
        }
        self.until_by(step, what, is_at_rest).await;
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
        assert_eq!(self.revision(), (1 + 2 * times).to_string(), "{what}: not {times} undo");
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
        let expected = deployment_template("v1", true);
        assert_eq!(deployment["spec"]["template"], expected, "{what}: the template is not what the user applied");
    }
}

/// The user applies a version.
pub(crate) fn deploy(api: &FakeApi, version: &str, well: bool) {
    api.apply("apps/v1", "deployments", &deployment(version, well));
}

fn is_over(phase: Option<RollbackPhase>) -> bool {
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
