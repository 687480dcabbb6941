//! Which objects a change of another one concerns.

use kube::Resource;
use kube::api::ObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{self, ObjectRef};
use snapback_api::convert;
use snapback_api::v1alpha1::{POLICY_LABEL, Rollback, RollbackPolicy};
use snapback_core::workload::Kind;

use crate::rollback;

/// The policies that may be concerned by a change of a workload: those that name it, and for a Deployment all selectors
/// of its namespace, since a label that was removed matched before.
pub(crate) fn policies_of(
    store: &reflector::Store<DeserializeGuard<RollbackPolicy>>,
    kind: Kind,
    workload: &ObjectMeta,
) -> Vec<ObjectRef<DeserializeGuard<RollbackPolicy>>> {
    let concerned = store.state_filter(|policy| {
        policy.meta().namespace == workload.namespace
            && policy.0.as_ref().is_ok_and(|policy| match &policy.spec.target_ref {
                Some(target) => Kind::from(target.kind) == kind && workload.name.as_ref() == Some(&target.name),
                None => kind == Kind::Deployment && convert::policy(&policy.spec).is_ok(),
            })
    });
    concerned.iter().map(|policy| ObjectRef::from_obj(policy.as_ref())).collect()
}

/// The policy that a record came from.
pub(crate) fn policy_of(rollback: &DeserializeGuard<Rollback>) -> Option<ObjectRef<DeserializeGuard<RollbackPolicy>>> {
    let policy = rollback.meta().labels.as_ref()?.get(POLICY_LABEL)?;
    Some(ObjectRef::new(policy).within(rollback.meta().namespace.as_deref()?))
}

/// The records under way that act on the workload with this UID.
pub(crate) fn rollbacks_of(
    store: &reflector::Store<DeserializeGuard<Rollback>>,
    uid: &str,
) -> Vec<ObjectRef<DeserializeGuard<Rollback>>> {
    let acting = store.state_filter(|rollback| {
        rollback.0.as_ref().is_ok_and(|rollback| {
            let ended = rollback.status.as_ref().and_then(|status| status.phase).map(rollback::phase);
            rollback.spec.target.uid == uid && !ended.is_some_and(snapback_core::rollback::Phase::is_terminal)
        })
    });
    acting.iter().map(|rollback| ObjectRef::from_obj(rollback.as_ref())).collect()
}
