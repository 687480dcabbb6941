//! `make record-rollouts`: plays the rollouts of a plan on real pods and a real Prometheus, and writes down what the
//! operator would have seen of each. No operator acts.
//!
//! ```text
//! plan       bench/detect/rollouts/plan.yaml     written before
//! manifests  the objects of a rollout
//! lane       one rollout from its namespace to its file
//! source     what the operator would have asked
//! sound      whether what was played is what was planned
//! lag        the same with a running operator: how long it takes to decide
//! ```
#![allow(clippy::print_stderr, reason = "a command-line tool")]

mod lag;
mod lane;
mod manifests;
mod sound;
mod source;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};
use futures::future::join_all;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{Api, DeleteParams, PostParams};
use lag::Operator;
use snapback_prometheus::{CompiledNames, Preset, Source};
use snapback_recorded::{Plan, Planned, Rollout};
use snapback_tests::cluster::Cluster;
use snapback_tests::sample::Tools;
use snapback_tests::say;

/// Most rollouts at the same time: the node has room for 200 pods, and one of them for up to twenty.
const MOST_LANES: usize = 10;

/// Records rollouts.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Rollouts that are under way at the same time.
    #[arg(long, default_value_t = 8, global = true)]
    lanes: usize,
    /// Only these, by id.
    #[arg(long, value_delimiter = ',', global = true)]
    only: Vec<String>,
    /// Only those that there is no recording of as they are planned now: goes on where a run ended.
    #[arg(long, global = true)]
    missing: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Record the rollouts of `DIR/plan.yaml` into DIR.
    Rollouts {
        /// Where the plan is, and the recordings go.
        folder: PathBuf,
    },
    /// Record rollouts with errors under a running operator, which decides and does not act.
    Lag {
        /// Where the recordings go.
        folder: PathBuf,
        /// Seconds between two looks, and between two scrapes.
        #[arg(long, default_value_t = 1)]
        interval: i64,
        /// How many.
        #[arg(long, default_value_t = 20)]
        count: u64,
    },
}

/// What every lane works with.
pub(crate) struct Site {
    pub(crate) client: Client,
    pub(crate) tools: Tools,
    pub(crate) source: Source,
    pub(crate) names: CompiledNames,
    pub(crate) http: reqwest::Client,
}

impl Site {
    fn namespaces(&self) -> Api<Namespace> {
        Api::all(self.client.clone())
    }

    fn new(cluster: &Cluster) -> Result<Self> {
        let prometheus = cluster.prometheus.as_ref().context("no Prometheus")?;
        Ok(Self {
            client: cluster.client.clone(),
            tools: Tools::new(&cluster.kubeconfig),
            source: source::source(&prometheus.url)?,
            names: Preset::HttpServer.names().compile()?,
            http: reqwest::Client::builder().no_proxy().timeout(Duration::from_millis(500)).build()?,
        })
    }
}

fn main() -> Result<()> {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        bail!("a TLS provider was installed before ours");
    }
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            done = run(&arguments) => done,
            () = snapback_tests::stopped() => bail!("stopped; everything was removed"),
        }
    })
}

async fn run(arguments: &Arguments) -> Result<()> {
    let (folder, mut plan, operator) = match &arguments.command {
        Command::Rollouts { folder } => (folder, Plan::read(&folder.join("plan.yaml"))?, None),
        Command::Lag { folder, interval, count } => (folder, lag::plan(*interval, *count), Some(*interval)),
    };
    if let Some(unknown) = arguments.only.iter().find(|id| plan.rollouts.iter().all(|one| one.id != **id)) {
        bail!("no rollout {unknown:?} is planned");
    }
    ensure!((1..=MOST_LANES).contains(&arguments.lanes), "--lanes must be between 1 and {MOST_LANES}");
    plan.rollouts.retain(|one| arguments.only.is_empty() || arguments.only.contains(&one.id));
    let interval = plan.interval;
    plan.rollouts.retain(|one| !arguments.missing || !Rollout::is_in(folder, one, interval));
    if plan.rollouts.is_empty() {
        say("all is recorded");
        return Ok(());
    }
    std::fs::create_dir_all(folder)?;
    let mut cluster = Cluster::with_images().await?;
    let operator = match operator {
        None => None,
        Some(interval) => {
            if interval > 1 {
                cluster.scrape_every(&format!("{interval}s")).await?;
            }
            Some(Operator::install(&cluster, interval).await?)
        }
    };
    let site = Site::new(&cluster)?;
    // All at once: a namespace takes its time until it has a ServiceAccount, without which there are no pods.
    for one in &plan.rollouts {
        let namespace = ObjectMeta { name: Some(one.id.clone()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata: namespace, ..Namespace::default() };
        site.namespaces().create(&PostParams::default(), &namespace).await?;
    }
    let queue = Mutex::new(mixed(&plan.rollouts));
    let stagger = Duration::from_secs(u64::try_from(plan.before + plan.after)?) / u32::try_from(arguments.lanes)?;
    let lanes = (0u32..).take(arguments.lanes).map(|lane| {
        let (site, queue, plan, operator) = (&site, &queue, &plan, operator.as_ref());
        async move {
            tokio::time::sleep(stagger * lane).await;
            let mut failed = Vec::new();
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some(planned) = next else { return failed };
                if let Err(error) = one(site, plan, &planned, operator, folder).await {
                    say(&format!("{}: {error:#}", planned.id));
                    failed.push(planned.id);
                }
            }
        }
    });
    let failed: Vec<String> = join_all(lanes).await.into_iter().flatten().collect();
    ensure!(failed.is_empty(), "not recorded: {} ({}); again with --missing", failed.len(), failed.join(","));
    say(&format!("{} rollouts are recorded in {}", plan.rollouts.len(), folder.display()));
    Ok(())
}

async fn one(
    site: &Site,
    plan: &Plan,
    planned: &Planned,
    operator: Option<&Operator>,
    folder: &std::path::Path,
) -> Result<()> {
    let recorded = lane::record(site, plan, planned, operator).await;
    // It makes room for the next; nobody waits for it.
    _ = site.namespaces().delete(&planned.id, &DeleteParams::background()).await;
    let recorded: Rollout = recorded?;
    recorded.write(folder)?;
    say(&format!("{}: recorded", planned.id));
    Ok(())
}

/// Good and bad ones side by side, so that each has all kinds of neighbours.
fn mixed(rollouts: &[Planned]) -> VecDeque<Planned> {
    let step = rollouts.len().isqrt().max(1);
    (0..step).flat_map(|first| rollouts.iter().skip(first).step_by(step).cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_lost_by_mixing() {
        for count in [1, 2, 7, 72] {
            let all = lag::plan(1, count).rollouts;
            let mut mixed: Vec<String> = mixed(&all).into_iter().map(|one| one.id).collect();
            mixed.sort();
            assert_eq!(mixed, all.into_iter().map(|one| one.id).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_run_goes_on_with_what_is_not_recorded_as_planned() {
        let folder = std::env::temp_dir().join(format!("snapback-record-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let planned = lag::plan(15, 1).rollouts.remove(0);
        let rollout = Rollout {
            plan: planned.clone(),
            interval: 15,
            scale: 1,
            first: 0,
            last: 0,
            operator: None,
            facts: snapback_recorded::Facts::default(),
            pods: Vec::new(),
        };
        assert!(!Rollout::is_in(&folder, &planned, 15));
        rollout.write(&folder).unwrap();
        assert!(Rollout::is_in(&folder, &planned, 15));
        assert!(!Rollout::is_in(&folder, &Planned { seed: 99, ..planned.clone() }, 15), "the plan has changed since");
        assert!(!Rollout::is_in(&folder, &planned, 1));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
