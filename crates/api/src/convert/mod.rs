//! From what users write to what the judgement may rely on: parse once, name the field that is wrong.

mod burn_rate;
mod check;
mod kind;
mod policy;
mod probe;
mod selector;
mod windows;

pub use burn_rate::{burn_rate_queries, burn_rate_windows};
pub use policy::{DEFAULT_CHECKS, policy};
pub use probe::{probe_specs, probes};
pub use selector::selector;

use std::fmt::Display;

use thiserror::Error;

/// A spec that the schema lets through but that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field} {problem}")]
pub struct InvalidSpec {
    /// Path of the field, such as `spec.checks[1].latency.max`.
    pub field: String,
    /// What to write instead: `must ...`.
    pub problem: String,
}

impl InvalidSpec {
    pub(crate) fn new(field: impl Into<String>, problem: impl Display) -> Self {
        Self { field: field.into(), problem: problem.to_string() }
    }
}

pub(crate) fn duration(field: &str, text: &str) -> Result<jiff::SignedDuration, InvalidSpec> {
    snapback_core::duration::parse(text).map_err(|error| InvalidSpec::new(field, error))
}
