//! The nine invariants of an undo, as one check over a history of facts.
//!
//! Every tier of tests observes the API server in its own way: a model, a fake server with faults, a real one. What they
//! saw they tell as [`Fact`]s, in the order in which the API server accepted them, and ask the same question:
//! [`violations`]. `docs/invariants.md` has the nine in plain words.
//!
//! ```
//! use snapback_invariants::{Fact, Invariant, Writer, violations};
//!
//! let (target, revision) = ("shop/checkout".to_owned(), "v1".to_owned());
//! let history: Vec<Fact> = vec![
//!     Fact::Template { target: target.clone(), revision: revision.clone(), by: Writer::Person },
//!     // Nobody decided anything.
//!     Fact::Template { target, revision, by: Writer::Operator { record: None } },
//! ];
//! assert_eq!(violations(&history)[0].invariant, Invariant::I3);
//! ```

mod check;
mod fact;
mod invariant;

pub use check::Check;
pub use fact::{Cause, Fact, Id, Writer};
pub use invariant::{Invariant, Violation};

/// What a history breaks; empty when all nine hold.
///
/// I4 and I6 speak of what comes in the end: they are asked for at each [`Fact::Rest`].
pub fn violations<I: Id>(history: &[Fact<I>]) -> Vec<Violation> {
    let mut check = Check::default();
    let found = history.iter().enumerate().flat_map(|(at, fact)| {
        let broken = check.see(fact);
        broken.into_iter().map(move |(invariant, why)| Violation { invariant, at, why })
    });
    found.collect()
}
