//! Two policies for one target: the older one judges, and the other takes over when that ends.

use std::collections::{HashMap, HashSet};

use kube::core::DeserializeGuard;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use snapback_api::v1alpha1::RollbackPolicy;

type Guarded = DeserializeGuard<RollbackPolicy>;

/// Which policy of a name it is, and which spec of it.
type Version = (Option<String>, Option<i64>);

/// Notices which policies came, went, or changed their spec. Our own status writes are none of these.
#[derive(Debug, Default)]
pub(crate) struct SpecChanges {
    known: HashMap<ObjectRef<Guarded>, Version>,
    /// What a list has shown so far: what it does not show was deleted while nobody watched.
    listed: HashSet<ObjectRef<Guarded>>,
}

impl SpecChanges {
    /// The policies whose change this event tells of.
    pub(crate) fn of(&mut self, event: &Event<Guarded>) -> Vec<ObjectRef<Guarded>> {
        match event {
            Event::Init => {
                self.listed.clear();
                Vec::new()
            }
            Event::InitApply(policy) => {
                self.listed.insert(ObjectRef::from_obj(policy));
                self.applied(policy)
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                let gone: Vec<_> = self.known.keys().filter(|known| !listed.contains(*known)).cloned().collect();
                self.known.retain(|known, _| listed.contains(known));
                gone
            }
            Event::Apply(policy) => self.applied(policy),
            Event::Delete(policy) => {
                let gone = ObjectRef::from_obj(policy);
                self.known.remove(&gone);
                vec![gone]
            }
        }
    }

    fn applied(&mut self, policy: &Guarded) -> Vec<ObjectRef<Guarded>> {
        let reference = ObjectRef::from_obj(policy);
        let version = (policy.uid(), policy.meta().generation);
        // Removed first: the reference that is kept tells which policy of that name it is.
        let before = self.known.remove(&reference);
        self.known.insert(reference.clone(), version.clone());
        if before == Some(version) { Vec::new() } else { vec![reference] }
    }
}

/// The other policies that a change of one may concern: those that were overridden, and those that may share a target
/// with it now.
pub(crate) fn concerned(store: &Store<Guarded>, changed: &ObjectRef<Guarded>) -> Vec<ObjectRef<Guarded>> {
    let now = store.get(changed);
    let now = now.as_ref().and_then(|policy| policy.0.as_ref().ok());
    let others = store.state_filter(|other| {
        other.meta().namespace == changed.namespace
            && other.name_any() != changed.name
            && other.0.as_ref().is_ok_and(|other| is_overridden(other) || now.is_some_and(|now| may_share(now, other)))
    });
    others.iter().map(|other| ObjectRef::from_obj(other.as_ref())).collect()
}

fn is_overridden(policy: &RollbackPolicy) -> bool {
    let conditions = policy.status.iter().flat_map(|status| &status.conditions);
    let mut said = conditions.map(|condition| (condition.type_.as_str(), condition.reason.as_str()));
    said.any(|said| matches!(said, ("Accepted", "Conflicted") | ("Enforced", "Overridden" | "PartiallyEnforced")))
}

/// Whether two specs may choose the same workload; labels may change at any time.
fn may_share(one: &RollbackPolicy, other: &RollbackPolicy) -> bool {
    match (&one.spec.target_ref, &other.spec.target_ref) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(name: &str, generation: i64) -> Guarded {
        let value = json!({
            "apiVersion": "snapback.dev/v1alpha1", "kind": "RollbackPolicy",
            "metadata": {"name": name, "namespace": "shop", "generation": generation},
            "spec": {"targetRef": {"kind": "Deployment", "name": "checkout"}}
        });
        serde_json::from_value(value).unwrap()
    }

    fn names(changed: &[ObjectRef<Guarded>]) -> Vec<&str> {
        changed.iter().map(|changed| changed.name.as_str()).collect()
    }

    #[test]
    fn a_new_spec_is_a_change_and_a_new_status_is_none() {
        let mut changes = SpecChanges::default();
        assert_eq!(names(&changes.of(&Event::Apply(policy("a", 1)))), ["a"]);
        assert!(changes.of(&Event::Apply(policy("a", 1))).is_empty());
        assert_eq!(names(&changes.of(&Event::Apply(policy("a", 2)))), ["a"]);
        assert_eq!(names(&changes.of(&Event::Delete(policy("a", 2)))), ["a"]);
    }

    #[test]
    fn what_was_deleted_while_nobody_watched_is_noticed_by_the_next_list() {
        let mut changes = SpecChanges::default();
        for event in [Event::Init, Event::InitApply(policy("a", 1)), Event::InitApply(policy("b", 1)), Event::InitDone]
        {
            changes.of(&event);
        }
        changes.of(&Event::Init);
        assert!(changes.of(&Event::InitApply(policy("b", 1))).is_empty());
        assert_eq!(names(&changes.of(&Event::InitDone)), ["a"]);
        // And only once.
        changes.of(&Event::Init);
        changes.of(&Event::InitApply(policy("b", 1)));
        assert!(changes.of(&Event::InitDone).is_empty());
    }

    #[test]
    fn one_that_was_made_anew_while_nobody_watched_is_another_one() {
        let made = |uid: &str| {
            let mut policy = policy("a", 1);
            policy.meta_mut().uid = Some(uid.to_owned());
            policy
        };
        let mut changes = SpecChanges::default();
        changes.of(&Event::Apply(made("first")));
        changes.of(&Event::Init);
        assert_eq!(names(&changes.of(&Event::InitApply(made("second")))), ["a"]);
        assert!(changes.of(&Event::InitDone).is_empty());
        changes.of(&Event::Init);
        let gone = changes.of(&Event::InitDone);
        assert_eq!(gone[0].extra.uid.as_deref(), Some("second"));
    }

    #[test]
    fn of_policies_that_are_gone_nothing_is_kept() {
        let mut changes = SpecChanges::default();
        changes.of(&Event::Init);
        for number in 0..100 {
            changes.of(&Event::InitApply(policy(&format!("p{number}"), 1)));
        }
        changes.of(&Event::InitDone);
        for number in 0..100 {
            changes.of(&Event::Delete(policy(&format!("p{number}"), 1)));
        }
        assert!(changes.known.is_empty() && changes.listed.is_empty(), "{changes:?}");
    }

    #[test]
    fn policies_of_different_deployments_do_not_share() {
        let (one, mut other) = (policy("a", 1).0.unwrap(), policy("b", 1).0.unwrap());
        assert!(may_share(&one, &other));
        other.spec.target_ref.as_mut().unwrap().name = "cart".to_owned();
        assert!(!may_share(&one, &other));
        other.spec.target_ref.as_mut().unwrap().name = "checkout".to_owned();
        other.spec.target_ref.as_mut().unwrap().kind = snapback_api::v1alpha1::TargetKind::StatefulSet;
        assert!(!may_share(&one, &other), "one name of two kinds is two workloads");
        other.spec.target_ref = None;
        assert!(may_share(&one, &other));
    }
}
