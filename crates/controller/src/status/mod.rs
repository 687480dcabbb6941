//! Between the core's types and what is stored in status.

mod check;
mod restoration;
mod revision;
mod target;

pub(crate) use check::{check_status, evidence};
pub(crate) use restoration::{restoration, restoration_status};
pub(crate) use revision::{revision_ref, revision_status};
pub use target::{target_from_status, target_status};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// A stored time: whole seconds, as the API server keeps it, so that what is read back equals what was written.
pub(crate) fn stored(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}
