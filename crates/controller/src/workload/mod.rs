//! Reading and changing the workloads themselves.

pub mod configuration;
mod controller_revisions;
mod freeze;
mod hand_back;
mod jobs;
mod limits;
mod observe;
mod pods;
mod preflight;
pub mod snapshot;
mod surge;
mod undo;
mod unwedge;

pub use configuration::{ConfigRules, PutBack};
pub use freeze::{disown, freeze, refusal};
pub use hand_back::{HandedBack, hand_back};
pub use jobs::{Started, look_at_job, start};
pub(crate) use limits::limits_of_template;
pub use observe::{Live, ObserveError, Observed, observe};
pub(crate) use observe::{REQUEST_TIMEOUT, created};
pub use preflight::{cannot_run, preflight};
pub use surge::restore_surge;
pub use undo::{Along, Undone, put_back, template_of, undo};
pub use unwedge::delete_pod;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use kube::api::{ApiResource, DynamicObject};
use kube::{Api, Client};
use snapback_core::workload::Kind;

/// The workloads of a kind, raw: typed objects would drop fields that are newer than this program.
pub(crate) fn raw_api(client: &Client, namespace: &str, kind: Kind) -> Api<DynamicObject> {
    let resource = match kind {
        Kind::Deployment => ApiResource::erase::<Deployment>(&()),
        Kind::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
        Kind::DaemonSet => ApiResource::erase::<DaemonSet>(&()),
    };
    Api::namespaced_with(client.clone(), namespace, &resource)
}
