//! The test bed on the command line.
#![allow(clippy::print_stdout, reason = "a command-line tool")]

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use snapback_tests::cluster::{Cluster, Nodes, is_root};
use snapback_tests::{images, manifests, reference, run_dir, say, tools};

#[derive(Parser)]
#[command(about = "A real Kubernetes on one machine, for demos and tests")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find or build every program.
    Tools,
    /// Keep a cluster running until Ctrl-C.
    Cluster {
        /// With a simulated node (KWOK) instead of a real one: needs no root, and nothing runs in the pods.
        #[arg(long)]
        simulated: bool,
    },
    /// Show a bad release being undone.
    Demo,
    /// Write what is generated from the chart: `deploy/`, its README, what its tests expect.
    Manifests,
    /// Build the operator's image as a file, and say its digests.
    Image {
        /// Its name.
        #[arg(long, default_value = concat!("ghcr.io/snapback-dev/snapback:", env!("CARGO_PKG_VERSION")))]
        name: String,
    },
    /// Write what is in the image, as CycloneDX.
    Sbom,
    /// Build the image twice, in two places, and compare.
    Reproducible,
    /// Write `docs/api.md` from the types.
    Reference,
    /// Measure how long an undo takes.
    BenchUndo,
    /// Remove what killed runs left behind.
    Gc,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("a TLS provider was installed before ours");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match Arguments::parse().command {
        Command::Tools => {
            tools::ensure(&tools::NODE_TOOLS)?;
            tools::ensure(&tools::SIMULATED_TOOLS)?;
            tools::ensure(&tools::GITOPS_TOOLS)?;
            tools::ensure(&tools::CONVENTION_TOOLS)?;
            say("every program is there");
            Ok(ExitCode::SUCCESS)
        }
        Command::Cluster { simulated } => {
            runtime.block_on(cluster(simulated || !is_root())).map(|()| ExitCode::SUCCESS)
        }
        Command::Demo => runtime.block_on(async {
            // The demo's own last line says why it failed.
            tokio::select! {
                passed = snapback_tests::demo::run() => Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
                () = snapback_tests::stopped() => anyhow::bail!("stopped; everything was removed"),
            }
        }),
        Command::Manifests => {
            tools::ensure(&["helm"])?;
            for path in manifests::write()? {
                say(&format!("wrote {}", path.display()));
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Image { name } => image(&name).map(|()| ExitCode::SUCCESS),
        Command::Sbom => {
            say(&format!("wrote {}", images::sbom::write()?.display()));
            Ok(ExitCode::SUCCESS)
        }
        Command::Reproducible => images::reproducible::run().map(|()| ExitCode::SUCCESS),
        Command::Reference => {
            say(&format!("wrote {}", reference::write()?.display()));
            Ok(ExitCode::SUCCESS)
        }
        Command::BenchUndo => runtime.block_on(async {
            tokio::select! {
                reached = snapback_tests::bench_undo::run() => Ok(if reached? { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
                () = snapback_tests::stopped() => anyhow::bail!("stopped; everything was removed"),
            }
        }),
        Command::Gc => {
            say(&format!("{} leftovers removed", run_dir::collect_garbage()));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn image(name: &str) -> Result<()> {
    let place = images::Place::here()?;
    let folder = place.images()?;
    let packed = images::operator(&images::compile(&place, &folder)?, &[name], &folder)?;
    say(&format!("wrote {} ({name})", packed.path.display()));
    println!("image ID {}\nfile     {}", packed.id, packed.file);
    Ok(())
}

async fn cluster(simulated: bool) -> Result<()> {
    let stop = snapback_tests::stopped();
    let start = async {
        let cluster = if simulated { Cluster::start(Nodes::Simulated).await? } else { Cluster::with_images().await? };
        println!("export KUBECONFIG={}", cluster.kubeconfig.display());
        println!("export PATH={}:$PATH", tools::link(&cluster.run_dir().path().join("bin"))?.display());
        if let Some(prometheus) = &cluster.prometheus {
            println!(
                "helm install snapback charts/snapback --namespace snapback-system --create-namespace \\\n  \
                 --set image.repository={},image.tag={} \\\n  \
                 --set-json 'config.sources=[{{\"name\":\"main\",\"url\":\"{}\"}}]'",
                images::OPERATOR,
                images::TAG,
                prometheus.url
            );
        }
        say("running; Ctrl-C removes everything");
        std::future::pending::<()>().await;
        drop(cluster);
        Ok(())
    };
    tokio::select! {
        result = start => result,
        () = stop => Ok(()),
    }
}
