//! Snapback: `snapback run` is the operator; the rest of the command line is for people and pipelines.

mod backtest;
mod crd;
mod end_holds;
mod lint;
mod run;
mod verify_record;
mod wait;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "snapback", version, about = "Rolls bad Kubernetes releases back by itself")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the operator.
    Run(run::Run),
    /// End every hold of a GitOps tool, before the operator is uninstalled.
    EndHolds(end_holds::EndHolds),
    /// Print the CustomResourceDefinitions as YAML.
    Crd,
    /// Say what is wrong with policies, before a release depends on them.
    Lint(lint::Lint),
    /// Recompute the verdicts of a Rollback's record from the counts that it holds.
    VerifyRecord(verify_record::VerifyRecord),
    /// Replay a policy over past rollouts: when it would have rolled back, and how often wrongly.
    Backtest(backtest::Backtest),
    /// Wait for the verdict on a release; the exit code says which.
    Wait(wait::Wait),
}

fn main() -> anyhow::Result<ExitCode> {
    // The first statement: without a provider, the first TLS client would panic.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("a TLS provider was installed before ours");
    }
    match Arguments::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::EndHolds(arguments) => end_holds::end(&arguments),
        Command::Crd => crd::print(),
        Command::Lint(arguments) => return Ok(lint::lint(&arguments)),
        Command::Wait(arguments) => return Ok(wait::wait(&arguments)),
        Command::VerifyRecord(arguments) => verify_record::verify(&arguments),
        Command::Backtest(arguments) => {
            backtest::backtest(&arguments);
            Ok(())
        }
    }
    .map(|()| ExitCode::SUCCESS)
}
