//! What the operator says of itself: metrics and health.

mod http;
mod metrics;

pub use http::{Health, serve};
pub use metrics::Metrics;
