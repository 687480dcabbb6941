//! The operator's shell: watches, reads, writes and announces. What is decided, `snapback-core` decides.
//!
//! Two controllers that share no code path: [`policy`] judges and creates `Rollback`s, [`rollback`] acts on them.

pub mod announce;
mod backoff;
mod bounded;
mod caught;
mod concern;
pub mod config;
pub mod context;
pub mod ending;
pub mod error;
pub mod gitops;
pub mod lease;
mod lists;
mod pace;
pub mod pod_watch;
pub mod policy;
pub mod rights;
pub mod rollback;
pub mod run;
pub mod sampler;
pub mod status;
pub mod telemetry;
mod turns;
mod unreadable;
pub mod watched;
pub mod workload;

/// Our name as a writer of fields. It must never start with `kubectl`: Flux absorbs such managers' fields.
pub const FIELD_MANAGER: &str = "snapback";

use k8s_openapi::api::core::v1::ObjectReference;
use snapback_core::workload::Kind;

/// One request, bounded in time, its failure classified.
pub(crate) async fn timed<T>(
    what: &'static str,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, error::Error> {
    match tokio::time::timeout(workload::REQUEST_TIMEOUT, request).await {
        Ok(answer) => answer.map_err(|source| error::Error::write(what, source)),
        Err(_) => Err(error::Error::Timeout(what)),
    }
}

/// A workload, as Events name it.
pub(crate) fn workload_reference(namespace: Option<String>, kind: Kind, name: &str, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("apps/v1".to_owned()),
        kind: Some(kind.as_str().to_owned()),
        namespace,
        name: Some(name.to_owned()),
        uid: Some(uid.to_owned()).filter(|uid| !uid.is_empty()),
        ..ObjectReference::default()
    }
}
