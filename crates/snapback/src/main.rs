//! Snapback: `snapback run` is the operator; the rest of the command line is for people and pipelines.

mod crd;
mod run;
mod verify_record;

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
    /// Print the CustomResourceDefinitions as YAML.
    Crd,
    /// Recompute the verdicts of a Rollback's record from the counts that it holds.
    VerifyRecord(verify_record::VerifyRecord),
}

fn main() -> anyhow::Result<()> {
    // The first statement: without a provider, the first TLS client would panic.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("a TLS provider was installed before ours");
    }
    match Arguments::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Crd => crd::print(),
        Command::VerifyRecord(arguments) => verify_record::verify(&arguments),
    }
}
