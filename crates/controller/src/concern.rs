//! Which objects a change of another one concerns.

use k8s_openapi::api::apps::v1::Deployment;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::reflector::{self, ObjectRef};
use kube::{Resource, ResourceExt};
use snapback_api::convert;
use snapback_api::v1alpha1::{POLICY_LABEL, Rollback, RollbackPolicy};

use crate::rollback;

/// The policies that may be concerned by a change of a Deployment: those that name it, and all selectors of its
/// namespace, since a label that was removed matched before.
pub(crate) fn policies_of(
    store: &reflector::Store<DeserializeGuard<RollbackPolicy>>,
    deployment: &PartialObjectMeta<Deployment>,
) -> Vec<ObjectRef<DeserializeGuard<RollbackPolicy>>> {
    let namespace = deployment.namespace();
    let name = deployment.name_any();
    let concerned = store.state_filter(|policy| {
        policy.meta().namespace == namespace
            && policy.0.as_ref().is_ok_and(|policy| match &policy.spec.target_ref {
                Some(target) => target.name == name,
                None => convert::policy(&policy.spec).is_ok(),
            })
    });
    concerned.iter().map(|policy| ObjectRef::from_obj(policy.as_ref())).collect()
}

/// The policy that a record came from.
pub(crate) fn policy_of(rollback: &DeserializeGuard<Rollback>) -> Option<ObjectRef<DeserializeGuard<RollbackPolicy>>> {
    let policy = rollback.meta().labels.as_ref()?.get(POLICY_LABEL)?;
    Some(ObjectRef::new(policy).within(rollback.meta().namespace.as_deref()?))
}

/// The records under way that act on a Deployment.
pub(crate) fn rollbacks_of(
    store: &reflector::Store<DeserializeGuard<Rollback>>,
    deployment: &PartialObjectMeta<Deployment>,
) -> Vec<ObjectRef<DeserializeGuard<Rollback>>> {
    let uid = deployment.uid().unwrap_or_default();
    let acting = store.state_filter(|rollback| {
        rollback.0.as_ref().is_ok_and(|rollback| {
            let ended = rollback.status.as_ref().and_then(|status| status.phase).map(rollback::phase);
            rollback.spec.target.uid == uid && !ended.is_some_and(snapback_core::rollback::Phase::is_terminal)
        })
    });
    acting.iter().map(|rollback| ObjectRef::from_obj(rollback.as_ref())).collect()
}
