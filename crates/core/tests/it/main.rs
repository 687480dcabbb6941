//! The core's rules, told as stories. They are one program: each program more is one more to link, for every change.

mod burn_rate;
mod by_hand;
mod controls;
mod crash_counts;
mod crash_rate;
mod decision_tree;
mod gate;
mod holds;
mod kinds;
mod properties;
mod purity;
mod readiness;
mod rollback_steps;
mod saturation;
mod sequential;
#[path = "../support/mod.rs"]
mod support;
mod timelines;
mod windows;
