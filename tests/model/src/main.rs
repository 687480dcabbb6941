//! `make model`: goes through all spaces, hunts all seeded bugs, and prints what came of it.
#![allow(clippy::print_stdout, reason = "it reports to its user")]

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Instant;

use snapback_model::{Mutant, SITUATIONS, explore, full, hunt, hunted};

fn main() -> ExitCode {
    let threads = available_parallelism().map_or(2, std::num::NonZero::get);
    let (are_caught, is_well) = (mutants(threads), spaces(threads));
    if are_caught && is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Hunts each seeded bug through the small spaces. Whether all were caught.
fn mutants(threads: usize) -> bool {
    println!("{:<20} {:<6} {:>6} {:>10} {:>8}", "seeded bug", "breaks", "steps", "states", "seconds");
    let mut caught = 0;
    for mutant in Mutant::ALL {
        let began = Instant::now();
        let Some(scenario) = hunted(mutant) else { continue };
        let outcome = hunt(scenario.bounds, mutant, threads);
        let (mut broken, states) = (outcome.broken.into_iter(), outcome.states);
        let steps = broken.find(|(invariant, _)| *invariant == mutant.breaks()).map(|(_, path)| path.len());
        caught += usize::from(steps.is_some());
        let (name, breaks, seconds) = (format!("{mutant:?}"), mutant.breaks(), began.elapsed().as_secs_f64());
        let steps = steps.map_or_else(|| "NEVER".to_owned(), |steps| steps.to_string());
        println!("{name:<20} {breaks:<6?} {steps:>6} {states:>10} {seconds:>8.1}");
    }
    println!("{caught} of {} seeded bugs caught\n", Mutant::ALL.len());
    caught == Mutant::ALL.len()
}

/// Goes through the large spaces. Whether all nine hold in all of them, and they are not empty of what matters.
fn spaces(threads: usize) -> bool {
    let (mut is_well, mut states, began) = (true, 0, Instant::now());
    let mut met = BTreeSet::new();
    println!("{:<44} {:>10} {:>6} {:>8}  invariants", "space", "states", "depth", "seconds");
    for scenario in full() {
        let outcome = explore(scenario.bounds, threads);
        states += outcome.states;
        met.extend(outcome.situations);
        let seconds = outcome.took.as_secs_f64();
        let held = if outcome.broken.is_empty() { "all 9 hold" } else { "BROKEN" };
        println!("{:<44} {:>10} {:>6} {seconds:>8.1}  {held}", scenario.name, outcome.states, outcome.depth);
        for (invariant, path) in outcome.broken {
            is_well = false;
            println!("  {invariant} ({}): {path:?}", invariant.title());
        }
    }
    println!("{:<44} {states:>10} {:>6} {:>8.1}", "in all", "", began.elapsed().as_secs_f64());
    for (situation, _) in SITUATIONS.iter().filter(|(name, _)| !met.contains(name)) {
        is_well = false;
        println!("never met: {situation}");
    }
    is_well
}
