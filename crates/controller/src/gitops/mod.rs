//! GitOps tools: looking at what delivers a workload, and holding it. What is to be held and until when, `snapback-core`
//! decides.

mod application;
mod look;
mod trial;

pub use application::{Placed, heal, hold};
pub use look::{look, request};
pub use trial::{change, labels};
