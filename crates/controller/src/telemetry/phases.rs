//! How many targets stand where, as their policies say: counted when somebody asks, so that nothing has to be kept up.

use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use snapback_api::v1alpha1::{PhaseName, RollbackPolicy, TargetStatus};

/// All phases, by how near they are to a person.
pub(super) const PHASES: [PhaseName; 8] = [
    PhaseName::Idle,
    PhaseName::Progressing,
    PhaseName::Soaking,
    PhaseName::RollingBack,
    PhaseName::Verifying,
    PhaseName::AwaitingApproval,
    PhaseName::Held,
    PhaseName::Escalated,
];

/// A phase as the status writes it.
pub(super) fn word(phase: PhaseName) -> &'static str {
    match phase {
        PhaseName::Idle => "Idle",
        PhaseName::Progressing => "Progressing",
        PhaseName::Soaking => "Soaking",
        PhaseName::AwaitingApproval => "AwaitingApproval",
        PhaseName::RollingBack => "RollingBack",
        PhaseName::Verifying => "Verifying",
        PhaseName::Held => "Held",
        PhaseName::Escalated => "Escalated",
    }
}

/// The phases of all targets that these policies speak of.
pub(super) fn all(policies: &Store<DeserializeGuard<RollbackPolicy>>) -> Vec<PhaseName> {
    let policies = policies.state();
    let readable = policies.iter().filter_map(|policy| policy.0.as_ref().ok());
    readable.flat_map(targets).map(|target| target.phase).collect()
}

/// The targets that a policy speaks of now. Of one that judges nothing (suspended, invalid) the status tells of the past, but
/// for what a `Rollback` goes on with.
fn targets(policy: &RollbackPolicy) -> impl Iterator<Item = &TargetStatus> {
    let status = policy.status.as_ref();
    let summary = status.and_then(|status| status.summary.as_ref());
    let judges = policy.spec.suspend != Some(true) && summary.is_none_or(|summary| summary.phase != "Invalid");
    let known = status.into_iter().flat_map(|status| &status.targets);
    known.filter(move |target| judges || target.rollback.is_some())
}

#[cfg(test)]
mod tests {
    use kube::runtime::{reflector, watcher};
    use serde_json::{Value, json};

    use super::*;

    fn policy(name: &str, suspend: bool, summary: &str, targets: &[(&str, Option<&str>)]) -> Value {
        let target = |(at, (phase, rollback)): (usize, &(&str, Option<&str>))| {
            json!({"kind": "Deployment", "name": format!("target-{at}"), "uid": "u", "phase": phase, "reason": "R", "message": "",
                   "current": {"fingerprint": "f", "images": []}, "rollback": rollback})
        };
        let targets: Vec<Value> = targets.iter().enumerate().map(target).collect();
        json!({"apiVersion": "snapback.dev/v1alpha1", "kind": "RollbackPolicy",
               "metadata": {"name": name, "namespace": "shop"},
               "spec": {"targetRef": {"kind": "Deployment", "name": name}, "suspend": suspend},
               "status": {"targets": targets, "summary":
                   {"target": name, "phase": summary, "why": "", "knownGood": "", "message": ""}}})
    }

    fn told(policies: &[Value]) -> Vec<&'static str> {
        let (store, mut writer) = reflector::store();
        for policy in policies {
            let policy: DeserializeGuard<RollbackPolicy> = serde_json::from_value(policy.clone()).unwrap();
            writer.apply_watcher_event(&watcher::Event::Apply(policy));
        }
        let mut told: Vec<_> = all(&store).into_iter().map(word).collect();
        told.sort_unstable();
        told
    }

    #[test]
    fn every_phase_is_there_in_the_words_of_the_status() {
        for phase in PHASES {
            assert_eq!(serde_json::to_value(phase).unwrap(), word(phase));
        }
        let mut words = PHASES.map(word).to_vec();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), PHASES.len());
    }

    #[test]
    fn the_targets_of_all_policies_are_counted() {
        let policies = [
            policy("a", false, "Held", &[("Held", None), ("Idle", None)]),
            policy("b", false, "AwaitingApproval", &[("AwaitingApproval", Some("b-1"))]),
            policy("c", false, "Escalated", &[("Escalated", None)]),
        ];
        assert_eq!(told(&policies), ["AwaitingApproval", "Escalated", "Held", "Idle"]);
        assert_eq!(told(&[]), [""; 0]);
    }

    #[test]
    fn of_a_policy_that_judges_nothing_only_what_a_rollback_goes_on_with_is_counted() {
        for (suspend, summary) in [(true, "Suspended"), (false, "Invalid")] {
            let policy = policy("a", suspend, summary, &[("Held", None), ("AwaitingApproval", Some("a-1"))]);
            assert_eq!(told(&[policy]), ["AwaitingApproval"], "{summary}");
        }
    }

    #[test]
    fn a_policy_that_cannot_be_read_does_not_hide_the_others() {
        let mut odd = policy("odd", false, "Held", &[("Held", None)]);
        odd["spec"]["mode"] = json!(7);
        assert_eq!(told(&[odd, policy("a", false, "Held", &[("Held", None)])]), ["Held"]);
    }
}
