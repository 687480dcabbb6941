//! Which objects a change of another one concerns.

use kube::Resource;
use kube::api::ObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{self, ObjectRef};
use snapback_api::convert;
use snapback_api::v1alpha1::{POLICY_LABEL, Rollback, RollbackPhase, RollbackPolicy};
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

/// The policies that a record concerns: the one that it came from, or those that may watch what a person puts back.
pub(crate) fn policies_of_record(
    store: &reflector::Store<DeserializeGuard<RollbackPolicy>>,
    rollback: &DeserializeGuard<Rollback>,
) -> Vec<ObjectRef<DeserializeGuard<RollbackPolicy>>> {
    let Some(by_hand) = rollback.0.as_ref().ok().filter(|record| record.is_by_hand()) else {
        return policy_of(rollback).into_iter().collect();
    };
    let name = &by_hand.spec.target.name;
    let watching = store.state_filter(|policy| {
        let status = policy.0.as_ref().ok().and_then(|policy| policy.status.as_ref());
        policy.meta().namespace == by_hand.metadata.namespace
            && status.is_some_and(|status| status.targets.iter().any(|target| target.name == *name))
    });
    watching.iter().map(|policy| ObjectRef::from_obj(policy.as_ref())).collect()
}

/// The policy that a record came from: by its name, since a label holds only the beginning of a long one.
fn policy_of(rollback: &DeserializeGuard<Rollback>) -> Option<ObjectRef<DeserializeGuard<RollbackPolicy>>> {
    let named = rollback.0.as_ref().ok().and_then(|record| record.spec.trigger.policy.as_ref());
    let policy = named.or_else(|| rollback.meta().labels.as_ref()?.get(POLICY_LABEL))?;
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
            rollback.ordered().is_some_and(|ordered| ordered.uid == uid)
                && !ended.is_some_and(snapback_core::rollback::Phase::is_terminal)
        })
    });
    acting.iter().map(|rollback| ObjectRef::from_obj(rollback.as_ref())).collect()
}

/// The records that wait for a person since this policy decided them.
pub(crate) fn questions_of(
    store: &reflector::Store<DeserializeGuard<Rollback>>,
    policy: &ObjectRef<DeserializeGuard<RollbackPolicy>>,
) -> Vec<ObjectRef<DeserializeGuard<Rollback>>> {
    let asking = store.state_filter(|rollback| {
        let phase = rollback.0.as_ref().ok().map(|rollback| rollback.status.as_ref().and_then(|status| status.phase));
        matches!(phase, Some(None | Some(RollbackPhase::AwaitingApproval)))
            && policy_of(rollback).is_some_and(|named| named.name == policy.name && named.namespace == policy.namespace)
    });
    asking.iter().map(|rollback| ObjectRef::from_obj(rollback.as_ref())).collect()
}
