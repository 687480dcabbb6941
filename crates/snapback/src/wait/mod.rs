//! `snapback wait`: blocks until the verdict on a release, for pipelines.
//!
//! ```text
//! named    the workload, in any of kubectl's spellings             pure
//! release  which release is live, and what it is called            I/O
//! verdict  what the policies' status says of that release          pure
//! follow   a watch on the policies until there is a verdict        I/O
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command of the command line")]

mod follow;
mod named;
mod release;
mod verdict;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use jiff::SignedDuration;
use snapback_core::duration;

use crate::backtest::connect;
use follow::{Ended, follow};
use named::Named;

/// Wait until a release has passed its soak, or is found bad. Needs the rights to read the workload, and to list and watch
/// RollbackPolicies.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes:
  0  the release is good: it has passed its soak
  1  it is bad: rolled back, or found bad and kept (the last line says which)
  2  wrong usage, or the cluster cannot be asked
  3  no verdict within --timeout
  4  nobody judges it: no policy covers the workload, or the policy is suspended or invalid
  5  another release took its place before there was a verdict")]
pub(crate) struct Wait {
    /// The workload: deploy/checkout, sts/orders, ds/agent, or any longer spelling of kubectl's.
    #[arg(value_name = "TYPE/NAME", value_parser = named::parse)]
    workload: Named,
    /// What the release is called: a tag or digest of an image, or the pod template's label app.kubernetes.io/version or
    /// annotation snapback.dev/revision. It is waited for, if it is not there yet. Default: whatever is live now.
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    revision: Option<String>,
    /// How long to wait for the verdict, such as 30m. Take more than the policy's soak.maxDuration.
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = duration::parse)]
    timeout: SignedDuration,
    /// The namespace of the workload. Default: that of the context.
    #[arg(short, long)]
    namespace: Option<String>,
    /// The context of the kubeconfig. Default: the current one.
    #[arg(long)]
    context: Option<String>,
}

/// Waits, tells, and gives the exit code.
pub(crate) fn wait(arguments: &Wait) -> ExitCode {
    match try_wait(arguments) {
        Ok((ended, message)) => {
            println!("{}: {message}", arguments.workload);
            ExitCode::from(ended.code())
        }
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn try_wait(arguments: &Wait) -> anyhow::Result<(Ended, String)> {
    let timeout = Duration::try_from(arguments.timeout).context("--timeout")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (client, default) = connect(arguments.context.as_deref()).await?;
        let namespace = arguments.namespace.clone().unwrap_or(default);
        let revision = arguments.revision.as_deref();
        follow(&client, &namespace, &arguments.workload, revision, timeout, |line| eprintln!("{line}")).await
    })
}
