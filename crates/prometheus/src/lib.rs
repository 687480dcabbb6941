//! Asks Prometheus, and turns every answer into a typed outcome.
//!
//! A [`Source`] is one configured server. It answers with raw [`Series`], or with a
//! [`snapback_core::sample::Missing`] that says why there are none: no failure here is an error that could abort the
//! caller's work, and none can be mistaken for a reading.
//!
//! What to ask comes from two places. [`requests_query`] and [`latency_query`] build queries from [`MetricNames`], and
//! [`requests`] and [`latencies`] read their answers. A user's own query goes through [`validate`] when it is written,
//! through [`render`] when it is asked, and through [`to_points`] when it is answered. [`lint`] says what is suspicious in
//! it.

mod ask;
mod batch;
mod config;
mod confined;
mod counters;
mod credentials;
mod envelope;
mod front;
pub mod lint;
mod names;
mod native;
mod own_query;
mod query;
mod saturation;
mod secret;
mod source;
mod syntax;
mod transport;

pub use ask::Instants;
pub use batch::{Counter, Pods, Shared};
pub use config::{AuthConfig, BasicConfig, HeaderValueConfig, SourceConfig, TlsConfig};
pub use confined::{ConfinementError, confine};
pub use counters::{latencies, requests, scraped};
pub use credentials::CredentialsError;
pub use envelope::{Series, read_reply};
pub use front::Front;
pub use names::{CompiledNames, MetricNames, NamesError, Preset};
pub use native::{Bucket, NativeHistogram};
pub use own_query::{
    PLACEHOLDERS, QueryTextError, Values, Windowed, in_window, render, to_points, validate, validate_in_window,
};
pub use query::{
    deployment_pattern, latency_query, names_pattern, native_latency_query, native_requests_query, ordinals_pattern,
    owner_of_pod, pods_pattern, requests_query, scraped_query,
};
pub use saturation::{PodGroup, saturated_query};
pub use secret::SecretError;
pub use source::{Source, SourceError};
pub use transport::{TransportError, outage};
