//! Going through a model.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use snapback_invariants::Invariant;
use stateright::{Checker, HasDiscoveries, Model};

use crate::model::{Action, Bounds, SITUATIONS, Seen, Undoing};
use crate::mutant::Mutant;

/// What came of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Different states.
    pub states: usize,
    /// The longest way to one.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// What is broken, and the way there.
    pub broken: Vec<(Invariant, Vec<Action>)>,
    /// The situations that are among the states.
    pub situations: BTreeSet<&'static str>,
}

/// Goes through all states.
pub fn explore(bounds: Bounds, threads: usize) -> Outcome {
    run(bounds, None, threads, HasDiscoveries::AnyFailures)
}

/// Goes through the states with a seeded bug, until the invariant that has to break does.
pub fn hunt(bounds: Bounds, mutant: Mutant, threads: usize) -> Outcome {
    let wanted = Invariant::ALL.iter().zip(NAMES).find(|(invariant, _)| **invariant == mutant.breaks());
    let wanted = wanted.map(|(_, name)| name).into_iter().collect();
    run(bounds, Some(mutant), threads, HasDiscoveries::AnyOf(wanted))
}

const NAMES: [&str; 9] = ["I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9"];

fn run(bounds: Bounds, mutant: Option<Mutant>, threads: usize, until: HasDiscoveries) -> Outcome {
    let began = Instant::now();
    let seen = Seen::default();
    let model = Undoing { bounds, mutant, seen: Arc::clone(&seen) };
    let checker = model.checker().threads(threads).finish_when(until).spawn_bfs().join();
    let discoveries = checker.discoveries();
    let found = Invariant::ALL.iter().zip(NAMES).filter_map(|(invariant, name)| {
        let path = discoveries.get(name)?;
        Some((*invariant, path.clone().into_actions()))
    });
    let situations = SITUATIONS.iter().zip(seen.iter()).filter(|(_, seen)| seen.load(Ordering::Relaxed));
    Outcome {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        took: began.elapsed(),
        broken: found.collect(),
        situations: situations.map(|((name, _), _)| *name).collect(),
    }
}
