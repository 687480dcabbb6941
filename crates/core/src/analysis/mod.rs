//! How single readings become a verdict.
//!
//! One module per method: `sequential` tests exact counts, `consecutive` is the rule that users know.

pub mod consecutive;
pub mod sequential;

use jiff::Timestamp;

/// One judged window of one check.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Start of the window.
    pub from: Timestamp,
    /// End of the window.
    pub to: Timestamp,
    /// What was measured in the new pods.
    pub value: f64,
    /// What it was compared with.
    pub limit: f64,
    /// The same measure in the baseline, where there is one.
    pub baseline: Option<f64>,
    /// Requests in the window, for checks that count them.
    pub requests: Option<u64>,
    /// Bad ones among them.
    pub bad: Option<u64>,
    /// What the comparison says.
    pub quality: Quality,
}

/// What one reading says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    /// Inside the limit.
    Fine,
    /// Outside the limit.
    Bad,
    /// Outside the limit, and the baseline just as much: not caused by this release.
    Common,
    /// Cannot be told: relative to a baseline that is not there.
    NoBaseline,
    /// Cannot be told: the histogram has no bound high enough.
    NoBucketAbove,
    /// Cannot be told: the new pods do not have all of the traffic yet.
    RollingOut,
}
