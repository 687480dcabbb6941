//! The small spaces, whole, and every seeded bug. `make model` goes through the large ones.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use snapback_invariants::Invariant;
use snapback_model::{Mutant, SITUATIONS, explore, hunt, hunted, quick};

#[test]
fn all_nine_hold_in_every_state_of_the_small_spaces() {
    let mut met = BTreeSet::new();
    for scenario in quick() {
        let outcome = explore(scenario.bounds, 2);
        assert_eq!(outcome.broken, [], "{}", scenario.name);
        met.extend(outcome.situations);
    }
    for (situation, _) in SITUATIONS {
        assert!(met.contains(situation), "never met: {situation}");
    }
}

#[test]
fn every_seeded_bug_breaks_the_invariant_that_its_guard_is_for() {
    for mutant in Mutant::ALL {
        let scenario = hunted(mutant).unwrap();
        let outcome = hunt(scenario.bounds, mutant, 2);
        let broken: Vec<Invariant> = outcome.broken.iter().map(|(invariant, _)| *invariant).collect();
        assert_eq!(broken, [mutant.breaks()], "{mutant:?} in {}", scenario.name);
    }
}

/// An invariant that no bug can break is not looked at.
#[test]
fn every_invariant_has_its_bug() {
    let broken: BTreeSet<Invariant> = Mutant::ALL.iter().map(|mutant| mutant.breaks()).collect();
    assert_eq!(broken, BTreeSet::from(Invariant::ALL));
}
