//! A model of the whole protocol of an undo: people and tools that apply revisions, a controller that rolls them out,
//! a source of metrics, an API server with lagging caches, and one or two processes of the operator that crash, lose
//! answers and send patches that arrive late. [stateright](https://www.stateright.rs) goes through all that can happen,
//! in every order.
//!
//! The judgement is the product's own: [`bridge`] asks `snapback_core` at every step. What the model has of its own is the
//! shell, request by request, as `crates/controller` does it: which versions are read, which writes have which
//! preconditions. [`Mutant`]s take single guards out of it; each has to break the invariant that the guard is for.
//!
//! Live reads are linearizable, as those of a real API server are (without a `resourceVersion` they are quorum reads): only
//! watches and their caches lag.

mod acting;
pub mod bridge;
mod judging;
mod model;
mod mutant;
mod rest;
mod run;
mod scenario;
pub mod world;

pub use model::{Action, Bounds, SITUATIONS, Seen, Situation, Undoing};
pub use mutant::Mutant;
pub use run::{Outcome, explore, hunt};
pub use scenario::{Scenario, full, hunted, quick};
pub use world::{Budget, World};
