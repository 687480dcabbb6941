//! Which spaces are gone through: each gives the environment more of some things, and less of others.

use crate::model::Bounds;
use crate::mutant::Mutant;
use crate::world::Budget;

/// A space, with its name.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What is in it.
    pub name: &'static str,
    /// How much of everything.
    pub bounds: Bounds,
}

const NOTHING: Budget = Budget { applies: 0, scales: 0, crashes: 0, outages: 0, policies: 0 };

const QUIET: Bounds = Bounds { processes: 1, lag: 0, ticks: 4, deadline: 60, revisions: &[2, 3], budget: NOTHING };

fn scenario(name: &'static str, bounds: Bounds) -> Scenario {
    Scenario { name, bounds }
}

/// Those that take seconds, for every run of the tests.
pub fn quick() -> Vec<Scenario> {
    let budget = |applies, crashes| Budget { applies, crashes, ..NOTHING };
    vec![
        scenario("it is put back", Bounds { revisions: &[2], budget: budget(2, 0), ..QUIET }),
        scenario("it is put back twice", Bounds { ticks: 2, revisions: &[2], budget: budget(3, 0), ..QUIET }),
        scenario("a newer one", Bounds { ticks: 3, budget: budget(2, 0), ..QUIET }),
        scenario("two crashes", Bounds { budget: budget(1, 2), ..QUIET }),
        scenario("a late cache", Bounds { lag: 1, revisions: &[2], budget: budget(1, 1), ..QUIET }),
        scenario("two leaders", Bounds { processes: 2, ticks: 2, revisions: &[2], budget: budget(1, 0), ..QUIET }),
        scenario(
            "outages and policies",
            Bounds { revisions: &[2], budget: Budget { outages: 1, policies: 1, ..budget(1, 0) }, ..QUIET },
        ),
        scenario("a short deadline", Bounds { deadline: 1, revisions: &[2], budget: budget(1, 1), ..QUIET }),
    ]
}

/// The one of these in which a seeded bug shows.
pub fn hunted(mutant: Mutant) -> Option<Scenario> {
    let name = match mutant {
        Mutant::NoTest | Mutant::UndoesAnything | Mutant::JudgesAnother => "a newer one",
        Mutant::NoDataIsBad | Mutant::IgnoresSuspend | Mutant::NoLastLook => "outages and policies",
        Mutant::RandomName | Mutant::DropsRecords | Mutant::NoLookBeforeAgain => "two crashes",
        Mutant::NoStatusTest | Mutant::StaleLook => "a late cache",
        _ => "it is put back",
    };
    quick().into_iter().find(|scenario| scenario.name == name)
}

/// All of them.
pub fn full() -> Vec<Scenario> {
    let budget = |applies, crashes| Budget { applies, crashes, ..NOTHING };
    vec![
        scenario("three releases", Bounds { ticks: 3, budget: budget(3, 0), ..QUIET }),
        scenario("two releases, a crash", Bounds { budget: budget(2, 1), ..QUIET }),
        scenario(
            "two crashes, an outage, scaled",
            Bounds { revisions: &[2], budget: Budget { outages: 1, scales: 1, ..budget(1, 2) }, ..QUIET },
        ),
        scenario(
            "caches two versions late, suspended",
            Bounds { lag: 2, revisions: &[2], budget: Budget { policies: 1, ..budget(1, 0) }, ..QUIET },
        ),
        scenario("two leaders", Bounds { processes: 2, ticks: 3, revisions: &[2], budget: budget(1, 0), ..QUIET }),
        scenario("a short deadline", Bounds { deadline: 1, revisions: &[2], budget: budget(2, 1), ..QUIET }),
    ]
}
