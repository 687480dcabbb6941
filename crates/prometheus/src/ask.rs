//! The questions of the built-in checks, asked and read.

use jiff::{SignedDuration, Timestamp};
use snapback_core::sample::{Answer, Missing, PodSeries};

use crate::batch::Counter;
use crate::names::CompiledNames;
use crate::query::{latency_query, native_latency_query, native_requests_query, requests_query, scraped_query};
use crate::source::Source;

/// The instants that are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Instants {
    /// The first.
    pub start: Timestamp,
    /// The last.
    pub end: Timestamp,
    /// The time between two.
    pub step: SignedDuration,
}

impl Source {
    /// What is counted of one target. `whose` is what [`CompiledNames::whose`] says.
    ///
    /// A histogram is asked for as a native one where there is no classic one. A back end that does not know native
    /// histograms may refuse that: then there simply is no data.
    ///
    /// # Errors
    /// See [`Source::range`] and [`Counter::read`].
    pub async fn count(
        &self,
        counter: Counter,
        names: &CompiledNames,
        namespace: &str,
        whose: &str,
        Instants { start, end, step }: Instants,
    ) -> Answer<Vec<PodSeries>> {
        let of = names.names();
        let (classic, native) = match counter {
            Counter::Requests => (requests_query(of, namespace, whose), native_requests_query(of, namespace, whose)),
            Counter::Latencies => (latency_query(of, namespace, whose), native_latency_query(of, namespace, whose)),
            Counter::Scraped => (scraped_query(of, namespace, whose), None),
        };
        let read = |series| counter.read(series, names);
        let found = self.range(&classic, start, end, step).await.and_then(read);
        let (Err(Missing::Empty), Some(native)) = (&found, native) else { return found };
        match self.range(&native, start, end, step).await.and_then(read) {
            Err(Missing::BadQuery(_)) => found,
            answer => answer,
        }
    }
}
