//! A stateful fake API server, in this process, for fault shapes that a real one cannot make on demand.
//!
//! It has the semantics that safety rests on: resource versions, 409 on a stale write, 422 on a failed `test` of a JSON
//! patch, status as a subresource, generations, label selectors, preconditions of a deletion, watches that replay what was
//! missed, bookmarks, and a Deployment controller that acts within the request that changed a Deployment, so that runs are
//! deterministic under paused time.
//!
//! And it has the faults that a distributed system has: requests that are refused, lost, late or carried out unheard, watches
//! that end, repeat, reorder or forget, servers that are behind, and clients that die.
#![allow(clippy::expect_used, clippy::panic, reason = "a test double: broken tests must stop loudly")]

mod client;
mod fault;
mod route;
mod server;
mod store;
mod watch;
mod workloads;

pub use fault::{Fault, Trouble};
pub use route::{Call, Verb};
pub use server::FakeApi;
pub use store::Change;
