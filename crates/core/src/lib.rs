//! Snapback's judgement: pure, total functions. No clock, no network, no Kubernetes, no logging; `now` is an argument,
//! and when to look again is a result.
//!
//! ```text
//! workload + counters ──▶ sample ──▶ checks ──▶ analysis: a verdict for each check
//!                                                   │
//! workload + state ──▶ watch::observe ──▶ watch::decide ──▶ next state, an order, notices
//!                                                                      │
//!                            rollback::step ◀── the order, once it is a record
//! ```

pub mod analysis;
pub mod checks;
pub mod configuration;
pub mod duration;
pub mod fingerprint;
pub mod gate;
pub mod gitops;
pub mod history;
pub mod ids;
pub mod jobs;
pub mod notice;
pub mod number;
pub mod ownership;
pub mod permission;
pub mod policy;
pub mod readiness;
pub mod rollback;
pub mod sample;
pub mod watch;
pub mod workload;
