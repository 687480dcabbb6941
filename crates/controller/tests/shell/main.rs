//! The shell against a stateful fake API server, under virtual time: what happens when a request fails, when the
//! process dies, when somebody else is faster.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod announcing;
mod blind;
mod burn_rate;
mod by_hand;
mod chance;
mod configuration;
mod contradictions;
mod controls;
mod counting;
mod crashes;
mod doubts;
mod ending;
mod facts;
mod faults;
mod freezes;
mod gate;
mod gone;
mod history;
mod holds;
mod jobs;
mod keeping;
mod leaders;
mod matrix;
mod others;
mod outages;
mod pairs;
mod panics;
mod probes;
mod readiness;
mod returns;
mod rivals;
mod saturation;
mod secrets;
mod shared;
mod source;
mod takeovers;
mod told;
mod turns;
mod unreadable;
mod windows;
mod world;
