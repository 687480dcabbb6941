//! Reading and changing the workloads themselves.

pub mod configuration;
mod hand_back;
mod jobs;
mod observe;
mod pods;
mod preflight;
pub mod snapshot;
mod surge;
mod undo;

pub use hand_back::{HandedBack, hand_back};
pub use jobs::{Started, look_at_job, start};
pub(crate) use observe::REQUEST_TIMEOUT;
pub use observe::{Live, ObserveError, Observed, observe};
pub use preflight::preflight;
pub use surge::restore_surge;
pub use undo::{Undone, put_back, template_of, undo};
