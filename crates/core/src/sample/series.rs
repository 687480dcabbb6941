//! What a metrics source answers: cumulative counters by pod, at given instants.

use jiff::Timestamp;

/// One cumulative counter of one pod, as the source returned it.
///
/// Counters are raw: differences, resets, births and deaths are worked out in [`super::windows`], so that a window is
/// counted once however often the operator restarts.
#[derive(Debug, Clone, PartialEq)]
pub struct PodSeries {
    /// The pod's name, or [`PodSeries::of_proxy`].
    pub pod: String,
    /// What the counter counts.
    pub counts: Counts,
    /// Distinguishes several series of the same pod and meaning (the status code, say), so that each is differenced
    /// alone.
    pub key: String,
    /// The samples, oldest first. Values are finite and not negative.
    pub points: Vec<(Timestamp, f64)>,
}

impl PodSeries {
    /// In place of a pod's name: a replica of a proxy in front of all pods, which cannot tell one from another. No pod's
    /// name has an `@`.
    pub fn of_proxy(replica: &str) -> String {
        format!("@{replica}")
    }

    /// Whether it counts in front of all pods.
    pub fn is_of_proxy(&self) -> bool {
        is_proxy(&self.pod)
    }
}

/// Whether a name is that of a proxy's replica.
pub(crate) fn is_proxy(pod: &str) -> bool {
    pod.starts_with('@')
}

/// The meaning of a counter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Counts {
    /// Requests answered well.
    Good,
    /// Requests that failed by the policy's own idea of an error.
    Bad,
    /// Requests at or under this many seconds (a classic histogram bucket; `f64::INFINITY` is the total).
    AtMostSeconds(f64),
    /// Nothing: when the source last reached the pod, in seconds since the epoch; 0 while it does not.
    Scraped,
}

/// One instant of a user's own query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// When the query was evaluated.
    pub at: Timestamp,
    /// Its value; finite.
    pub value: f64,
}

/// Why a source gave no usable answer. Never a breach: a verdict of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, thiserror::Error)]
#[serde(tag = "kind", content = "detail")]
pub enum Missing {
    /// The source could not be reached, timed out, or answered with a failure of its own. The text holds no URL.
    #[error("the metrics source is unavailable: {0}")]
    Unavailable(String),
    /// The reply would have been larger than this many bytes, the most that is read.
    #[error("the reply is larger than {0} bytes")]
    TooLarge(usize),
    /// The query succeeded and returned no series.
    #[error("the query returned no data")]
    Empty,
    /// Every value was NaN or infinite.
    #[error("the query returned no number (NaN or Inf)")]
    NotANumber,
    /// A query that must give one series gave several.
    #[error("the query returned {0} series; aggregate it to one, for example with sum(...)")]
    ManySeries(usize),
    /// The source said that its answer was incomplete.
    #[error("the source returned a partial result: {0}")]
    Partial(String),
    /// The source refused the query as wrong.
    #[error("the source refused the query: {0}")]
    BadQuery(String),
    /// The policy names a source that the operator's configuration does not have.
    #[error("{0}")]
    UnknownSource(String),
}

/// An answer, or why there is none.
pub type Answer<T> = Result<T, Missing>;
