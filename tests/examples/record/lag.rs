//! How long a running operator takes to decide, once the evidence is there.
//!
//! The operator judges under a policy in mode Approve: it decides and orders, and changes nothing.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use jiff::Timestamp;
use kube::api::{Api, ListParams};
use kube::runtime::{WatchStreamExt, watcher};
use snapback_api::v1alpha1::{PhaseName, Rollback, RollbackPolicy};
use snapback_core::workload::Workload;
use snapback_recorded::{Decided, Fault, Label, Load, Normal, Plan, Planned};
use snapback_tests::cluster::{Cluster, until};
use snapback_tests::sample::Tools;
use tokio::task::JoinHandle;

use crate::Site;
use crate::lane::look;
use crate::manifests::TARGET;

/// Half of all requests fail from the first one on, and none before: the first failed one is the first bad one.
pub(crate) fn plan(interval: i64, count: u64) -> Plan {
    let one = |number: u64| Planned {
        id: format!("lag-{interval}s-{number:02}"),
        scenario: "lag".to_owned(),
        label: Label::Bad,
        seed: number,
        replicas: 2,
        min_ready: 0,
        load: Load { rps: 20, swing: 0.0, period: 60 },
        normal: Normal { errors: 0.0, latency: 5, burst: None },
        dependency: None,
        scaling: None,
        fault: Some(Fault { errors: Some(0.5), ..Fault::default() }),
    };
    Plan {
        interval,
        scale: 1,
        before: interval * 4 + 10,
        after: interval * 8 + 15,
        rollouts: (1..=count).map(one).collect(),
    }
}

/// The operator.
pub(crate) struct Operator {
    interval: i64,
}

/// A watch for the order of a namespace's one `Rollback`: when it was seen.
pub(crate) type Watched = JoinHandle<Result<Timestamp>>;

impl Operator {
    /// Installs it from its chart.
    pub(crate) async fn install(cluster: &Cluster, interval: i64) -> Result<Self> {
        let url = cluster.prometheus.as_ref().context("no Prometheus")?.url.clone();
        let tools = Tools::new(&cluster.kubeconfig);
        tokio::task::spawn_blocking(move || tools.install_operator(&[("default", url)])).await??;
        Ok(Self { interval })
    }

    /// Gives the namespace its policy, waits until the old revision is known good, and watches for the decision.
    pub(crate) async fn watch(&self, site: &Site, namespace: &str) -> Result<Watched> {
        site.tools.apply(&format!(
            "apiVersion: snapback.dev/v1alpha1
kind: RollbackPolicy
metadata: {{name: {TARGET}, namespace: {namespace}}}
spec:
  targetRef: {{kind: Deployment, name: {TARGET}}}
  mode: Approve
  soak: {{duration: 15m, interval: {}s}}
",
            self.interval
        ))?;
        let policies: Api<RollbackPolicy> = Api::namespaced(site.client.clone(), namespace);
        until("the old revision known good", Duration::from_mins(1), || async {
            let status = policies.get(TARGET).await?.status.unwrap_or_default();
            let known = |target: &snapback_api::v1alpha1::TargetStatus| {
                target.phase == PhaseName::Idle && target.known_good.is_some()
            };
            Ok(status.targets.iter().any(known).then_some(()))
        })
        .await?;
        let rollbacks: Api<Rollback> = Api::namespaced(site.client.clone(), namespace);
        Ok(tokio::spawn(async move {
            let mut events = std::pin::pin!(watcher(rollbacks, watcher::Config::default()).applied_objects());
            events.next().await.context("the watch ended")??;
            Ok(Timestamp::now())
        }))
    }

    /// The second since 1970 in which the rollout began for the operator, and what it decided, counted from there.
    pub(crate) async fn decided(&self, site: &Site, namespace: &str, watched: Watched) -> Result<(i64, Decided)> {
        let seen = tokio::time::timeout(Duration::from_secs(5), watched).await.context("nothing was decided")???;
        let rollbacks: Api<Rollback> = Api::namespaced(site.client.clone(), namespace);
        let rollback = rollbacks.list(&ListParams::default()).await?.items.pop().context("there is no Rollback")?;
        let started = rollback.spec.started_at.context("the Rollback does not say when the rollout started")?.0;
        let workload = look(&site.client, namespace).await?;
        let first_bad = first_failure(site, &workload).await?;
        let origin = started.as_second();
        let since = |at: f64| at - seconds(Timestamp::from_second(origin).unwrap_or(started));
        let counts = rollback.spec.evidence.iter();
        Ok((
            origin,
            Decided {
                first_bad: since(first_bad),
                decided: since(seconds(seen)),
                counts: counts.filter_map(|check| Some((check.name.clone(), check.counts.clone()?))).collect(),
            },
        ))
    }
}

#[allow(clippy::cast_precision_loss, reason = "seconds since 1970, to the microsecond")]
fn seconds(at: Timestamp) -> f64 {
    at.as_microsecond() as f64 / 1e6
}

/// When the first request failed, by the pods themselves.
async fn first_failure(site: &Site, workload: &Workload) -> Result<f64> {
    let mut first = f64::INFINITY;
    for ip in workload.pods.iter().filter_map(|pod| pod.ip) {
        let text = site.http.get(format!("http://{ip}:8080/metrics")).send().await?.text().await?;
        let found = text.lines().find_map(|line| line.strip_prefix("sample_first_failure_seconds "));
        if let Some(at) = found.and_then(|at| at.parse().ok()) {
            first = first.min(at);
        }
    }
    anyhow::ensure!(first.is_finite(), "no pod tells of a failed request");
    Ok(first)
}
