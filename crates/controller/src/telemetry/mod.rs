//! What the operator says of itself: metrics and health.

mod http;
mod metrics;
mod phases;

pub use http::{Health, serve};
pub use metrics::Metrics;
