//! The questions of the built-in checks, asked and read.

use jiff::{SignedDuration, Timestamp};
use snapback_core::sample::{Answer, Missing, PodSeries};

use crate::counters::{latencies, requests};
use crate::names::CompiledNames;
use crate::query::{latency_query, native_latency_query, native_requests_query, requests_query};
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
    /// Counters of requests. `whose` is what [`CompiledNames::whose`] says.
    ///
    /// A histogram's count is asked for as that of a native one where there is no classic one.
    ///
    /// # Errors
    /// See [`Source::range`] and [`requests`].
    pub async fn requests(
        &self,
        names: &CompiledNames,
        namespace: &str,
        whose: &str,
        instants: Instants,
    ) -> Answer<Vec<PodSeries>> {
        let classic = requests_query(names.names(), namespace, whose);
        let native = native_requests_query(names.names(), namespace, whose);
        self.either(&classic, native, instants, |series| requests(series, names)).await
    }

    /// Durations of requests, of a classic histogram, or of a native one where there is none. As [`Source::requests`].
    ///
    /// # Errors
    /// See [`Source::range`] and [`latencies`].
    pub async fn latencies(
        &self,
        names: &CompiledNames,
        namespace: &str,
        whose: &str,
        instants: Instants,
    ) -> Answer<Vec<PodSeries>> {
        let classic = latency_query(names.names(), namespace, whose);
        let native = native_latency_query(names.names(), namespace, whose);
        self.either(&classic, native, instants, |series| latencies(series, names)).await
    }

    /// The classic form, or the native one where that has no series. A back end that does not know native histograms may
    /// refuse that: then there simply is no data.
    async fn either(
        &self,
        classic: &str,
        native: Option<String>,
        Instants { start, end, step }: Instants,
        read: impl Fn(Vec<crate::Series>) -> Answer<Vec<PodSeries>>,
    ) -> Answer<Vec<PodSeries>> {
        let found = self.range(classic, start, end, step).await.and_then(&read);
        let (Err(Missing::Empty), Some(native)) = (&found, native) else { return found };
        match self.range(&native, start, end, step).await.and_then(&read) {
            Err(Missing::BadQuery(_)) => found,
            answer => answer,
        }
    }
}
