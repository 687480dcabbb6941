//! `snapback run`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use snapback_controller::config::OperatorConfig;
use snapback_controller::lease::{LeaseOptions, Terms};
use snapback_controller::run::{Options, run as operate};
use snapback_core::rollback::no_address_of_a_pod;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[derive(Args)]
pub(crate) struct Run {
    /// The operator's configuration file. Without one there is no metrics source: only the pods are judged.
    #[arg(long, env = "SNAPBACK_CONFIG")]
    config: Option<PathBuf>,
    /// Where /metrics, /healthz and /readyz are served.
    #[arg(long, env = "SNAPBACK_LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// The Lease by which several replicas agree on who does the work, as NAMESPACE/NAME. Without one there must be only this
    /// replica.
    #[arg(long, env = "SNAPBACK_LEASE", value_parser = lease)]
    lease: Option<(String, String)>,
    /// What is logged, as in RUST_LOG.
    #[arg(long, env = "SNAPBACK_LOG", default_value = "info,kube_client=warn,kube_runtime=warn")]
    log: String,
}

pub(crate) fn run(arguments: &Run) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(EnvFilter::try_new(&arguments.log).context("--log")?)
        .init();
    let config = match &arguments.config {
        Some(path) => OperatorConfig::load(path)?,
        None => OperatorConfig::default(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let client = client().await?;
        let instance = std::env::var("POD_NAME").ok().or_else(|| std::env::var("HOSTNAME").ok());
        let lease = arguments.lease.clone().map(|place| {
            let identity = instance.clone().context("--lease needs this replica's name: set POD_NAME")?;
            anyhow::Ok(lease_options(place, identity))
        });
        let options = Options {
            config,
            listen: arguments.listen,
            instance,
            clock: Arc::new(jiff::Timestamp::now),
            lease: lease.transpose()?,
            refuses: no_address_of_a_pod,
        };
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        tracing::info!(version = env!("CARGO_PKG_VERSION"), sources = options.config.sources.len(), "starting");
        operate(client, options, stop).await?;
        Ok(())
    })
}

/// A client of the cluster that we are in, or that the kubeconfig names.
pub(crate) async fn client() -> anyhow::Result<kube::Client> {
    let mut kubernetes =
        kube::Config::infer().await.context("cannot find a cluster: neither a kubeconfig nor a service account")?;
    // Every request has a bound of its own; replays behind our back would outlast it.
    kubernetes.default_retry = false;
    Ok(kube::Client::try_from(kubernetes)?)
}

pub(crate) fn lease_options((namespace, name): (String, String), identity: String) -> LeaseOptions {
    LeaseOptions { namespace, name, identity, terms: Terms::default() }
}

pub(crate) fn lease(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err("must be NAMESPACE/NAME, such as snapback-system/snapback".to_owned()),
    }
}
