//! Five fuzz targets. Each takes bytes that come from outside, and holds what the program makes of them to what it
//! promises: it does not only have to survive.
//!
//! `make fuzz` lets libFuzzer look for bytes that break a promise, by the code that they reach. `cargo test -p snapback-fuzz`
//! replays the kept inputs (`corpus/`) and a fixed number of changed ones, from a seed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a broken promise is told by a panic")]

mod corpus;
pub mod mutate;
mod schema;
mod targets;

pub use corpus::{Entry, dictionary, entries};

/// One target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its folder in `corpus/` and its file in `dictionary/`.
    pub name: &'static str,
    /// Panics where a promise is broken.
    pub run: fn(&[u8]),
    /// How many changed inputs the short run tries: what takes a debug build a few seconds.
    pub runs: u64,
}

/// All targets.
pub const TARGETS: [Target; 5] = [
    Target { name: "reply", run: targets::reply, runs: 5000 },
    Target { name: "spec", run: targets::spec, runs: 1500 },
    Target { name: "text", run: targets::text, runs: 1000 },
    Target { name: "status", run: targets::status, runs: 2500 },
    Target { name: "config", run: targets::config, runs: 6000 },
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
