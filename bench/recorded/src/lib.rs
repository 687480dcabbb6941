//! Recorded rollouts: everything that the operator would have seen of them, as text, to be judged again.
//!
//! ```text
//! plan      what is to be recorded, with its label: written before the recording
//! behaviour how each pod behaves at each second of it
//! rollout   one recorded rollout, a JSON file
//! facts     its workload and pods over time: what changed, and when
//! counters  its series, as the metrics source answered
//! steps     numbers over time as short text
//! ```
//! The recorder is `tests/examples/record`, the reader is `bench/detect`.

mod behaviour;
mod counters;
mod facts;
mod plan;
mod rollout;
mod steps;

pub use behaviour::Behaviour;
pub use counters::PodCounters;
pub use facts::{Changes, Clock, Facts};
pub use plan::{Broken, Burst, Dependency, Fault, Label, Load, Normal, Plan, Planned, Scale};
pub use rollout::{Decided, Rollout};

use thiserror::Error;

/// Why something cannot be recorded, or a recording cannot be read.
#[derive(Debug, Error)]
pub enum RecordedError {
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which one.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {problem}")]
    Shape {
        /// Which one.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A value that counters do not have: not a whole number, or not on the grid.
    #[error("pod {pod}: {problem}")]
    Counter {
        /// Whose.
        pod: String,
        /// What is wrong.
        problem: String,
    },
    /// A text that is no row of numbers.
    #[error("{0:?} is neither a number nor -, nor one of them with its times, such as 3x20")]
    Step(String),
}
