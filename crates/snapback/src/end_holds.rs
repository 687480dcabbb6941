//! `snapback end-holds`.
#![allow(clippy::print_stdout, reason = "the command's purpose")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use snapback_controller::config::OperatorConfig;
use snapback_controller::ending::{Ending, end_holds};
use snapback_core::rollback::no_address_of_a_pod;
use tracing_subscriber::EnvFilter;

use crate::run::{client, lease, lease_options};

#[derive(Args)]
pub(crate) struct EndHolds {
    /// The operator's configuration file: what it may hold, and in which namespace.
    #[arg(long, env = "SNAPBACK_CONFIG")]
    config: Option<PathBuf>,
    /// The operator's Lease, as NAMESPACE/NAME. It is taken, so that no operator places a hold meanwhile. Without one no
    /// operator must run.
    #[arg(long, env = "SNAPBACK_LEASE", value_parser = lease)]
    lease: Option<(String, String)>,
    /// Longest time that it may take, in seconds. Up to 12 of them are for an operator that runs to stand by.
    #[arg(long, default_value_t = 90)]
    within: u64,
    /// What is logged, as in RUST_LOG.
    #[arg(long, env = "SNAPBACK_LOG", default_value = "info,kube_client=warn,kube_runtime=warn")]
    log: String,
}

pub(crate) fn end(arguments: &EndHolds) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_env_filter(EnvFilter::try_new(&arguments.log).context("--log")?)
        .init();
    let config = match &arguments.config {
        Some(path) => OperatorConfig::load(path)?,
        None => OperatorConfig::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let instance = std::env::var("POD_NAME").ok().or_else(|| std::env::var("HOSTNAME").ok());
        let identity = instance.clone().unwrap_or_else(|| "snapback-end-holds".to_owned());
        let ending = Ending {
            config,
            lease: arguments.lease.clone().map(|place| lease_options(place, identity)),
            instance,
            clock: Arc::new(jiff::Timestamp::now),
            within: Duration::from_secs(arguments.within),
            refuses: no_address_of_a_pod,
        };
        let ended = end_holds(client().await?, ending).await?;
        for record in ended {
            println!("{record}: its hold has ended");
        }
        println!("no hold is left");
        Ok(())
    })
}
