//! An operator in this process, for one namespace.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result};
use kube::Client;
use serde_json::json;
use snapback_controller::config::OperatorConfig;
use snapback_controller::lease::{LeaseOptions, Terms};
use snapback_controller::run::{Options, RunError, run};
use snapback_core::rollback::no_address_of_a_pod;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::bed::{Bed, eventually};

pub(crate) struct Operator<'a> {
    bed: &'a Bed,
    url: String,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), RunError>>,
}

impl Drop for Operator<'_> {
    fn drop(&mut self) {
        _ = self.stop.take().map(|stop| stop.send(()));
        self.task.abort();
    }
}

impl<'a> Operator<'a> {
    /// Starts one that watches this namespace; it may have to agree with others by a Lease there.
    pub(crate) fn start(bed: &'a Bed, client: Client, namespace: &str, shares: bool) -> Result<Self> {
        let config = json!({
            "apiVersion": "config.snapback.dev/v1alpha1", "kind": "OperatorConfig", "watchNamespaces": [namespace],
            "limits": {"perCluster": 1000, "fleetBrake": {"targets": 1000}}, "features": {"secretsInConfigRestore": true}
        });
        // Free a moment ago: `run` says nowhere which one it took.
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let lease = LeaseOptions {
            namespace: namespace.to_owned(),
            name: "snapback".to_owned(),
            identity: "one".to_owned(),
            terms: Terms::default(),
        };
        let options = Options {
            config: OperatorConfig::parse(&config.to_string()).map_err(anyhow::Error::msg)?,
            listen: ([127, 0, 0, 1], port).into(),
            instance: None,
            clock: Arc::new(jiff::Timestamp::now),
            lease: Some(lease).filter(|_| shares),
            refuses: no_address_of_a_pod,
        };
        let (stop, stopped) = oneshot::channel();
        let task = bed.spawn(async move { run(client, options, async move { _ = stopped.await }).await });
        let operator = Self { bed, url: format!("http://127.0.0.1:{port}"), stop: Some(stop), task };
        eventually("the operator's port", || Ok(operator.get("healthz").is_ok()))?;
        Ok(operator)
    }

    fn get(&self, path: &str) -> Result<(u16, String)> {
        self.bed.wait(async {
            let answer = reqwest::get(format!("{}/{path}", self.url)).await?;
            Ok((answer.status().as_u16(), answer.text().await?))
        })
    }

    /// Whether it is ready, and what it says of it.
    pub(crate) fn ready(&self) -> Result<(bool, String)> {
        let (code, text) = self.get("readyz")?;
        Ok((code == 200, text))
    }

    /// The rights that it was refused, by its metrics: `list pods`.
    pub(crate) fn refused(&self) -> Result<BTreeSet<String>> {
        let (_, text) = self.get("metrics")?;
        let lines = text.lines().filter_map(|line| line.strip_prefix("snapback_rights_refused_total{"));
        let right = |line: &str| {
            let label = |key: &str| {
                let (_, after) = line.split_once(&format!("{key}=\""))?;
                after.split_once('"').map(|(value, _)| value.to_owned())
            };
            Some(format!("{} {}", label("verb")?, label("resource")?))
        };
        lines.map(|line| right(line).with_context(|| format!("odd: {line}"))).collect()
    }

    /// How many targets are in this phase, by its metrics.
    pub(crate) fn targets(&self, phase: &str) -> Result<Option<u32>> {
        let (_, text) = self.get("metrics")?;
        let series = format!("snapback_targets{{phase=\"{phase}\"}} ");
        let count = text.lines().find_map(|line| line.strip_prefix(&series));
        count.map(|count| count.parse().with_context(|| format!("odd: {count}"))).transpose()
    }

    /// Ends it in order.
    pub(crate) fn stop(mut self) -> Result<()> {
        _ = self.stop.take().map(|stop| stop.send(()));
        eventually("the operator's end", || Ok(self.task.is_finished()))
    }
}
