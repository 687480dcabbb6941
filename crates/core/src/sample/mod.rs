//! From raw counters to windows that can be judged.

mod histogram;
mod series;
mod windows;

pub use histogram::{Histogram, Quantiled};
pub(crate) use series::is_proxy;
pub use series::{Answer, Counts, Missing, PodSeries, Point};
pub use windows::{Increase, Side, Window, windows};
