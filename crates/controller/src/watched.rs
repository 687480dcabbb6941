//! What the metadata watches show: names, labels, UIDs and generations of all workloads.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use kube::Resource;
use kube::api::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::Store;
use snapback_core::workload::Kind;

/// One store a kind.
pub struct Watched {
    pub(crate) deployments: Store<PartialObjectMeta<Deployment>>,
    pub(crate) stateful_sets: Store<PartialObjectMeta<StatefulSet>>,
    pub(crate) daemon_sets: Store<PartialObjectMeta<DaemonSet>>,
}

impl Watched {
    /// The workloads of a kind in a namespace.
    pub(crate) fn of(&self, kind: Kind, namespace: Option<&str>) -> Vec<ObjectMeta> {
        match kind {
            Kind::Deployment => within(&self.deployments, namespace),
            Kind::StatefulSet => within(&self.stateful_sets, namespace),
            Kind::DaemonSet => within(&self.daemon_sets, namespace),
        }
    }
}

fn within<K>(store: &Store<PartialObjectMeta<K>>, namespace: Option<&str>) -> Vec<ObjectMeta>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let found = store.state_filter(|object| object.metadata.namespace.as_deref() == namespace);
    found.into_iter().map(|object| object.metadata.clone()).collect()
}
