//! `make bench-detect`: the table of what is caught, what is rolled back wrongly, and how soon.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the table is what it is for")]

mod controls;
mod goals;
mod grid;
mod lag;
mod product;
mod recorded;
mod replay;
mod rivals;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use serde::Serialize;

use grid::{Acted, Cell};
use rivals::{Argo, Flagger, Kayenta, Rule};
use table::Outcome;

/// Where the recorded rollouts are.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/rollouts");

/// Measures detection rules on labelled rollouts and on simulated ones.
#[derive(Debug, Parser)]
struct Arguments {
    /// A folder with rollouts.csv and series.csv to replay; may be given several times.
    #[arg(long)]
    rollouts: Vec<PathBuf>,
    /// The folder of the project's own recorded rollouts.
    #[arg(long, default_value = FOLDER)]
    recorded: PathBuf,
    /// Simulated rollouts per cell without a fault.
    #[arg(long, default_value_t = 10_000)]
    runs: usize,
    /// Simulated rollouts per cell with a fault.
    #[arg(long, default_value_t = 1_000)]
    fault_runs: usize,
    /// Simulated rollouts per cell without old pods.
    #[arg(long, default_value_t = 1_000)]
    control_runs: usize,
    /// Seed of the simulation.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the results go.
    #[arg(long, default_value = "target/bench-detect.json")]
    json: PathBuf,
}

/// Everything that is measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Results {
    seed: u64,
    replays: Vec<Replay>,
    recorded: Own,
    lags: Vec<lag::Lag>,
    without_fault: Vec<Measured>,
    with_fault: Vec<Measured>,
    without_old_pods: Vec<controls::Found>,
    goals: Vec<goals::Goal>,
}

/// One replayed folder.
#[derive(Debug, Serialize)]
struct Replay {
    rollouts: usize,
    outcomes: Vec<Outcome>,
}

/// The project's own rollouts.
#[derive(Debug, Serialize)]
struct Own {
    outcomes: Vec<Outcome>,
    scenarios: Vec<recorded::Scenario>,
    rollouts: Vec<recorded::Told>,
}

/// One cell of the grid.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) cell: Cell,
    pub(crate) acted: Vec<Acted>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut replays = Vec::new();
    if arguments.rollouts.is_empty() {
        println!("replay: left out (give --rollouts DIR, a folder with rollouts.csv and series.csv)");
    }
    for folder in &arguments.rollouts {
        let rollouts = replay::read(folder)?;
        let outcomes = replay::run(&rollouts, &replay_rivals());
        println!("replay: {} rollouts, delays in minutes", rollouts.len());
        table::print(&outcomes);
        replays.push(Replay { rollouts: rollouts.len(), outcomes });
    }
    let recorded = own(&arguments.recorded)?;
    let lags = lag::read(&arguments.recorded.join("lag"))?;
    println!("\nlag of a running operator: {}", if lags.is_empty() { "not recorded" } else { "medians, 95 %" });
    table::print_lags(&lags);
    let without_fault = simulate("without a fault", &grid::null(), arguments.runs, arguments.seed);
    let with_fault = simulate("with a fault", &grid::faults(), arguments.fault_runs, arguments.seed + 1);
    println!("\nsimulated rollouts: acted on (median and nine tenths of the delay, in polls after the fault)");
    table::print_cells(&without_fault, &with_fault);
    let cells = (0u64..).zip(controls::cells());
    let without_old_pods: Vec<controls::Found> =
        cells.map(|(index, cell)| cell.run(index, arguments.control_runs, arguments.seed + 2)).collect();
    println!("\nsimulated rollouts without old pods: rolled back, with and without a control");
    table::print_controls(&without_old_pods);
    let outcomes: Vec<&[Outcome]> = replays.iter().map(|replay| replay.outcomes.as_slice()).collect();
    let goals = goals::check(&outcomes, &recorded.outcomes, &lags, &without_fault, &with_fault, &without_old_pods);
    println!("\ngoals");
    for goal in &goals {
        println!("  {} {}: {}", if goal.reached { "reached" } else { "MISSED " }, goal.goal, goal.found);
    }
    let results =
        Results { seed: arguments.seed, replays, recorded, lags, without_fault, with_fault, without_old_pods, goals };
    if let Some(folder) = arguments.json.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    std::fs::write(&arguments.json, serde_json::to_vec_pretty(&results)?)
        .with_context(|| format!("{} cannot be written", arguments.json.display()))?;
    println!("\nwrote {}", arguments.json.display());
    ensure!(results.goals.iter().all(|goal| goal.reached), "a goal is missed");
    Ok(())
}

/// Delays are in looks: half a minute each in the rollout that is meant.
fn own(folder: &Path) -> Result<Own> {
    let cases = recorded::read(folder)?;
    let (outcomes, scenarios, rollouts) = recorded::run(&cases, &replay_rivals());
    println!("\nown recorded rollouts: {}, delays in looks", cases.len());
    table::print(&outcomes);
    table::print_scenarios(&outcomes, &scenarios);
    Ok(Own { outcomes, scenarios, rollouts })
}

fn simulate(what: &str, cells: &[Cell], runs: usize, seed: u64) -> Vec<Measured> {
    let rivals: [Box<dyn Rule>; 3] = [
        Box::new(Flagger { threshold: 5, least_success: 0.99 }),
        Box::new(Argo { limit: 3, least_success: 0.99, empty_is_error: false }),
        Box::new(Kayenta { every: 10 }),
    ];
    let mut measured = Vec::new();
    for (index, cell) in (0u64..).zip(cells) {
        if index % 20 == 0 {
            eprintln!("simulating {what}: {index} of {} cells", cells.len());
        }
        measured.push(Measured { cell: *cell, acted: cell.run(index, runs, seed, &rivals) });
    }
    measured
}

/// The settings of the published comparison: a success rate of 99 % (Flagger) and 95 % (Argo Rollouts), a poll a minute.
fn replay_rivals() -> Vec<Box<dyn Rule>> {
    vec![
        Box::new(Flagger { threshold: 5, least_success: 0.99 }),
        Box::new(Flagger { threshold: 3, least_success: 0.99 }),
        Box::new(Flagger { threshold: 1, least_success: 0.99 }),
        Box::new(Argo { limit: 3, least_success: 0.95, empty_is_error: true }),
        Box::new(Kayenta { every: 1 }),
    ]
}
