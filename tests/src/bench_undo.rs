//! `make bench-undo`: how long an undo takes, on real pods, against `kubectl rollout undo` in the same run.
//!
//! Measured from the moment the API server shows the good template (polled every 25 ms) to the moment a watch shows all
//! good pods ready, by the count of their ReplicaSet: to follow each of forty pods would take from the two cores what is
//! measured. Medians. The floor is one container's start with its readiness: one replica, scaled from 0 to 1.
#![allow(clippy::print_stdout, reason = "the benchmark is its output")]

use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use snapback_api::v1alpha1::{PhaseName, RollbackPolicy};

use crate::cluster::Cluster;
use crate::sample::{Service, Tools, is_of, runs};
use crate::say;

const NAMESPACE: &str = "bench";
const NAME: &str = "checkout";

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_mins(5);

/// Readiness of the sample service.
const START: &str = "5s";

/// Who undoes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Kubectl,
    Normal,
    Fast,
}

struct Bench {
    client: Client,
    tools: Tools,
    _cluster: Cluster,
}

/// Runs it; prints the table, and gives whether the goals were reached.
pub async fn run() -> Result<bool> {
    let mut cluster = Cluster::with_images().await?;
    // None of the checks reads what the pods count, and nobody scrapes forty pods of a node each second.
    cluster.scrape_every("15s").await?;
    let tools = Tools::new(&cluster.kubeconfig);
    let prometheus = cluster.prometheus.as_ref().context("no Prometheus")?.url.clone();
    let install = tools.clone();
    tokio::task::spawn_blocking(move || install.install_operator(&[("default", prometheus)])).await??;
    tools.kubectl(&["create", "namespace", NAMESPACE])?;
    let bench = Bench { client: cluster.client.clone(), tools, _cluster: cluster };
    println!(
        "| replicas | maxSurge / maxUnavailable | kubectl | Normal | ratio | Fast | ratio | floor | Fast / floor |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut reached = true;
    for (replicas, surge, unavailable, times, normal_goal, fast_goal) in [
        (1, "25%", "25%", 1, None, None),
        (5, "25%", "25%", 1, None, None),
        (20, "25%", "25%", 3, Some(1.05), Some(0.7)),
        (20, "1", "0", 1, Some(1.05), Some(0.15)),
    ] {
        // One after the other in turns: what slows the machine for a while slows all four.
        let (mut kubectl, mut normal, mut fast, mut floor) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for time in 1..=times {
            say(&format!("{replicas} replicas, {surge} / {unavailable}, {time} of {times}"));
            kubectl.push(bench.undo(By::Kubectl, replicas, surge, unavailable).await?);
            normal.push(bench.undo(By::Normal, replicas, surge, unavailable).await?);
            fast.push(bench.undo(By::Fast, replicas, surge, unavailable).await?);
            floor.push(bench.floor().await?);
        }
        let [kubectl, normal, fast, floor] = [kubectl, normal, fast, floor].map(|taken| median(taken).as_secs_f64());
        let (normal_ratio, fast_ratio, of_floor) = (normal / kubectl, fast / kubectl, fast / floor);
        println!(
            "| {replicas} | {surge} / {unavailable} | {kubectl:.1} s | {normal:.1} s | {normal_ratio:.2} | {fast:.1} s | \
             {fast_ratio:.2} | {floor:.1} s | {of_floor:.2} |"
        );
        let within = |ratio: f64, goal: Option<f64>| goal.is_none_or(|goal| ratio <= goal);
        reached &= within(normal_ratio, normal_goal) && within(fast_ratio, fast_goal);
        reached &= fast_goal.is_none() || of_floor <= 1.6;
    }
    println!();
    println!("floor: one container start with its readiness ({START}), by kubectl scale");
    println!("goals at 20 replicas: Normal <= 1.05; Fast <= 0.7 (25 % / 25 %), <= 0.15 (1 / 0), <= 1.6 of the floor");
    println!("bench-undo: {}", if reached { "every goal is reached" } else { "a goal is missed" });
    Ok(reached)
}

impl Bench {
    async fn floor(&self) -> Result<Duration> {
        let service = Service::new(NAMESPACE, NAME).with(&[("VERSION", "v1"), ("START_DELAY", START)]).replicas(1);
        self.tools.apply(&service.manifest())?;
        self.ready("v1", 1).await?;
        self.tools.kubectl(&["-n", NAMESPACE, "scale", "deploy", NAME, "--replicas=0"])?;
        self.gone().await?;
        let started = Instant::now();
        self.tools.kubectl(&["-n", NAMESPACE, "scale", "deploy", NAME, "--replicas=1"])?;
        self.ready("v1", 1).await?;
        let floor = started.elapsed();
        self.remove().await?;
        Ok(floor)
    }

    /// v1 known good, v2 rolled out, and then the way back, timed.
    async fn undo(&self, by: By, replicas: u32, surge: &str, unavailable: &str) -> Result<Duration> {
        let v1 = Service::new(NAMESPACE, NAME).with(&[("VERSION", "v1")]).replicas(replicas);
        let v2 = v1.with(&[("VERSION", "v2")]);
        let never = Timestamp::now() + Duration::from_hours(1);
        // The good pods are slow to start; the bad ones are not, which spares time before the measurement.
        let slow = v1.with(&[("START_DELAY", START)]);
        self.tools.apply(&slow.manifest())?;
        self.strategy("100%", "0").await?;
        self.ready("v1", replicas).await?;
        if by != By::Kubectl {
            self.policy(by, false, never)?;
            self.policy_is(|policy| {
                let targets = policy.status.iter().flat_map(|status| &status.targets);
                targets.into_iter().any(|target| target.phase == PhaseName::Idle && target.known_good.is_some())
            })
            .await?;
            self.policy(by, true, never)?;
            self.policy_is(|policy| {
                policy.status.as_ref().and_then(|status| status.observed_generation) == policy.metadata.generation
            })
            .await?;
        }
        self.tools.apply(&v2.manifest())?;
        self.ready("v2", replicas).await?;
        self.only("v2", replicas).await?;
        self.strategy(surge, unavailable).await?;
        self.settled().await?;
        match by {
            By::Kubectl => _ = self.tools.kubectl(&["-n", NAMESPACE, "rollout", "undo", "deploy", NAME])?,
            // The time before the rollout is the baseline, and must be good.
            By::Normal | By::Fast => self.policy(by, false, Timestamp::now() + Duration::from_secs(4))?,
        }
        self.version_is("v1").await?;
        let started = Instant::now();
        self.ready("v1", replicas).await?;
        let taken = started.elapsed();
        if by == By::Fast {
            let surge_back: Value = if surge.ends_with('%') { json!(surge) } else { json!(surge.parse::<i64>()?) };
            let deadline = Instant::now() + Duration::from_mins(1);
            while serde_json::to_value(self.deployment().await?)?.pointer("/spec/strategy/rollingUpdate/maxSurge")
                != Some(&surge_back)
            {
                ensure!(Instant::now() < deadline, "maxSurge was not put back");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        self.remove().await?;
        Ok(taken)
    }

    /// Its one check is inside its limit until `bad_from`, and outside from then on: the first look decides.
    fn policy(&self, by: By, suspend: bool, bad_from: Timestamp) -> Result<()> {
        let bad_from = bad_from.as_second();
        self.tools
            .apply(&format!(
                "apiVersion: snapback.dev/v1alpha1
kind: RollbackPolicy
metadata: {{name: {NAME}, namespace: {NAMESPACE}}}
spec:
  targetRef: {{kind: Deployment, name: {NAME}}}
  suspend: {suspend}
  soak: {{duration: 10m, interval: 1s}}
  analysis: {{method: Consecutive, failures: 1}}
  checks: [{{name: bad, query: {{promql: \"vector(time() >= bool {bad_from})\", max: \"0\"}}}}]
  rollback: {{speed: {by:?}, verify: {{duration: 1s}}}}
"
            ))
            .map(drop)
    }

    async fn policy_is(&self, is_so: impl Fn(&RollbackPolicy) -> bool) -> Result<()> {
        let policies: Api<RollbackPolicy> = Api::namespaced(self.client.clone(), NAMESPACE);
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let policy = policies.get(NAME).await?;
            if is_so(&policy) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the policy's status is {:#?}", policy.status);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn strategy(&self, surge: &str, unavailable: &str) -> Result<()> {
        let amount = |text: &str| text.parse::<i64>().map_or_else(|_| json!(text), Value::from);
        let patch = json!({"spec": {"strategy": {
            "type": "RollingUpdate", "rollingUpdate": {"maxSurge": amount(surge), "maxUnavailable": amount(unavailable)}
        }}});
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), NAMESPACE);
        deployments.patch(NAME, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    async fn deployment(&self) -> Result<Deployment> {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), NAMESPACE);
        Ok(deployments.get(NAME).await?)
    }

    /// Follows the pods or ReplicaSets until it is so.
    async fn follow<K>(&self, what: &str, is_so: impl Fn(&[Arc<K>]) -> bool) -> Result<()>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + Debug
            + Send
            + Sync
            + 'static,
    {
        let (store, writer) = reflector::store();
        let config = watcher::Config::default().labels(&format!("app={NAME}"));
        let objects: Api<K> = Api::namespaced(self.client.clone(), NAMESPACE);
        let mut events = pin!(watcher(objects, config).reflect(writer));
        let follow = async {
            while let Some(event) = events.next().await {
                let listed = !matches!(event?, watcher::Event::Init | watcher::Event::InitApply(_));
                if listed && is_so(&store.state()) {
                    return Ok(());
                }
            }
            anyhow::bail!("the watch ended")
        };
        tokio::time::timeout(PATIENCE, follow).await.with_context(|| format!("waited {PATIENCE:?} for {what}"))?
    }

    async fn ready(&self, version: &str, replicas: u32) -> Result<()> {
        self.follow(&format!("{replicas} ready pods of {version}"), |sets: &[Arc<ReplicaSet>]| {
            sets.iter().any(|set| {
                let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref()?.spec.as_ref());
                let ready = set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default();
                template.is_some_and(|spec| runs(spec, version)) && ready.unsigned_abs() >= replicas
            })
        })
        .await
    }

    async fn only(&self, version: &str, replicas: u32) -> Result<()> {
        self.follow(&format!("no pods but those of {version}"), |pods: &[Arc<Pod>]| {
            pods.len() == replicas as usize && pods.iter().all(|pod| is_of(pod, version))
        })
        .await
    }

    async fn gone(&self) -> Result<()> {
        self.follow("no pods", <[Arc<Pod>]>::is_empty).await
    }

    async fn settled(&self) -> Result<()> {
        self.until("the Deployment controller has seen it all", async |bench| {
            let deployment = bench.deployment().await?;
            Ok(deployment.status.as_ref().and_then(|status| status.observed_generation)
                == deployment.metadata.generation)
        })
        .await
    }

    async fn version_is(&self, version: &str) -> Result<()> {
        self.until(&format!("the template of {version}"), async |bench| {
            let spec = bench.deployment().await?.spec.context("no spec")?.template.spec.context("no pods")?;
            let env = spec.containers.first().and_then(|one| one.env.clone()).unwrap_or_default();
            Ok(env.iter().any(|env| env.name == "VERSION" && env.value.as_deref() == Some(version)))
        })
        .await
    }

    async fn remove(&self) -> Result<()> {
        for kind in ["rollbackpolicies", "rollbacks", "deployments"] {
            self.tools.kubectl(&["-n", NAMESPACE, "delete", kind, "--all", "--wait=true"])?;
        }
        self.gone().await
    }

    async fn until(&self, what: &str, is_so: impl AsyncFn(&Self) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self).await? {
            ensure!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Ok(())
    }
}

fn median(mut of: Vec<Duration>) -> Duration {
    of.sort_unstable();
    of.get(of.len() / 2).copied().unwrap_or_default()
}
