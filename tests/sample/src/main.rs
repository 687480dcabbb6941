//! A small HTTP service whose errors, latency and crashes come from its environment, and a bounded load generator.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

mod behaviour;
mod load;
mod metrics;
mod serve;
mod tls;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve requests.
    Serve(serve::Serve),
    /// Send requests, bounded in count, time and parallelism.
    Load(load::Load),
}

fn main() -> anyhow::Result<()> {
    // One thread: many of these share a small machine.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match Arguments::parse().command {
        Command::Serve(arguments) => runtime.block_on(serve::serve(arguments)),
        Command::Load(arguments) => runtime.block_on(load::load(arguments)),
    }
}

/// Reads `500ms`, `2s` or `5m`.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || format!("must be a duration such as 500ms, 2s or 5m, but is {text:?}");
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match unit {
        "ms" => Ok(std::time::Duration::from_millis(number)),
        "s" => Ok(std::time::Duration::from_secs(number)),
        "m" => Ok(std::time::Duration::from_secs(number.saturating_mul(60))),
        _ => Err(wrong()),
    }
}
