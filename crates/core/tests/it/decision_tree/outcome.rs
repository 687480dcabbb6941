//! What becomes of a target while its rollback acts, and after.

use super::*;
use crate::support::*;
use snapback_core::configuration::{ConfigKind, Configured};
use snapback_core::ids::ReplicaSetUid;
use snapback_core::policy::Policy;
use snapback_core::rollback::{Acting, Phase as Act};
use snapback_core::watch::{Arrival, Phase, Quarantined, Target, decide, observe};
use snapback_core::workload::Revision;
use snapback_core::workload::Workload;

#[test]
fn a_target_mirrors_its_rollback_and_takes_the_outcome_over() {
    let acting = |phase| Acting { phase, message: "told".into(), bad: version("v2"), contended: false };
    let state = || Target { rollback: Some("r".into()), ..soaking() };
    for (phase, expected) in [
        (Act::AwaitingApproval, Phase::AwaitingApproval),
        (Act::Running, Phase::RollingBack),
        (Act::Verifying, Phase::Verifying),
        (Act::Succeeded, Phase::Idle),
        (Act::Escalated, Phase::Escalated),
        (Act::Failed, Phase::Escalated),
        (Act::Rejected, Phase::Held),
    ] {
        let decision = decide(&policy(), state(), &complete_v1(), &[breached()], Some(&acting(phase)), at(50));
        assert_eq!(decision.state.phase, expected);
        assert!(decision.order.is_none(), "no order while a Rollback acts");
        assert_eq!(decision.state.rollback.is_none(), phase.is_terminal());
        let quarantined = matches!(phase, Act::Succeeded | Act::Failed | Act::Escalated);
        assert_eq!(decision.state.quarantined.len(), usize::from(quarantined), "{phase:?}");
    }
}

#[test]
fn suspension_does_not_stop_a_rollback_that_has_begun() {
    let acting = Acting { phase: Act::Succeeded, message: "told".into(), bad: version("v2"), contended: false };
    let state = Target { rollback: Some("r".into()), ..soaking() };
    let policy = Policy { suspend: true, ..policy() };
    assert_eq!(decide(&policy, state, &complete_v1(), &[], Some(&acting), at(50)).state.phase, Phase::Idle);
}

#[test]
fn what_is_in_quarantine_is_back_though_a_newer_template_ended_its_rollback() {
    let acting = Acting { phase: Act::Superseded, message: "told".into(), bad: version("v2"), contended: false };
    let bad = Quarantined { fingerprint: version("v2"), rollback: "first".into(), called: Vec::new(), at: at(5) };
    let state = Target { rollback: Some("second".into()), quarantined: vec![bad], ..soaking() };
    let back = decide(&policy(), state, &complete_v2(), &[], Some(&acting), at(50)).state;
    assert_eq!(back.rollout.unwrap().returned.as_deref(), Some("first"), "it was found bad before");
    assert_eq!((back.standing.reason.as_str(), back.rollback), ("Quarantined", None));
}

#[test]
fn a_target_that_needs_a_person_does_until_something_else_is_applied() {
    for (phase, live) in [(Act::Escalated, complete_v1()), (Act::Failed, complete_v2())] {
        let acting = Acting { phase, message: "told".into(), bad: version("v2"), contended: false };
        let state = Target { rollback: Some("r".into()), ..soaking() };
        let ended = decide(&policy(), state, &live, &[], Some(&acting), at(50)).state;
        assert_eq!(ended.phase, Phase::Escalated, "{phase:?}");
        // Somebody scales it: the template is the same.
        let scaled = Workload { replicas: 5, generation: 9, observed_generation: 9, ..live };
        let (seen, _) = observe(Some(&ended), &scaled, &Arrival::Before, at(60));
        assert_eq!((seen.phase, &seen.standing), (Phase::Escalated, &ended.standing), "{phase:?}");
        let v3 = workload("v3", vec![revision("v3", 3, 3, 0), revision("v1", 1, 3, 3)]);
        assert_eq!(observe(Some(&ended), &v3, &Arrival::Before, at(70)).0.phase, Phase::Progressing, "{phase:?}");
    }
}

/// Contended, and the bad one is gone again: whoever put the good one back, it is back.
#[test]
fn a_rollback_that_was_contended_is_over_when_the_good_revision_lives() {
    let acting = Acting { phase: Act::Failed, message: "told".into(), bad: version("v2"), contended: true };
    let state = Target { rollback: Some("r".into()), ..soaking() };
    let decision = decide(&policy(), state, &complete_v1(), &[], Some(&acting), at(50));
    assert_eq!((decision.state.phase, decision.state.rollout), (Phase::Idle, None));
    assert_eq!(decision.state.current.fingerprint, version("v1"));
    assert_eq!(decision.state.quarantined.len(), 1);
}

/// An undo that names copies makes a second ReplicaSet of the same revision, as a restart does.
#[test]
fn what_the_known_good_revision_ran_with_stays_known_when_none_of_it_runs_any_more() {
    let config = vec![Configured {
        kind: ConfigKind::ConfigMap,
        name: "settings".into(),
        digest: "then".into(),
        copy: "settings-snapback-0123456789".into(),
        lost: false,
    }];
    let again = |desired: i32| Revision {
        name: "web-v1-again".into(),
        uid: ReplicaSetUid::new("uid-v1-again"),
        ..revision("v1", 3, desired, desired)
    };
    let (mut known, _) =
        observe(None, &workload("v1", vec![revision("v1", 1, 0, 0), again(3)]), &Arrival::Before, at(0));
    known.known_good.as_mut().unwrap().config = Some(config.clone());
    let sets = |desired: i32| vec![revision("v1", 1, 0, 0), again(desired), revision("v2", 4, 3, 3)];
    for desired in [2, 0] {
        known = observe(Some(&known), &workload("v2", sets(desired)), &Arrival::Before, at(10)).0;
        let good = known.known_good.as_ref().unwrap();
        assert_eq!((good.config.as_ref(), good.replica_set.as_str()), (Some(&config), "web-v1-again"), "{desired}");
    }
    // Pruned: the other one has the same template, and nothing was started since.
    let pruned = workload("v2", vec![revision("v1", 1, 0, 0), revision("v2", 4, 3, 3)]);
    let good = observe(Some(&known), &pruned, &Arrival::Before, at(20)).0.known_good.unwrap();
    assert_eq!((good.config.as_ref(), good.replica_set.as_str()), (Some(&config), "web-v1"));
    // A restart did start pods, with what is there now.
    let restarted = workload("v1", vec![revision("v1", 1, 0, 0), again(3)]);
    let (first, _) = observe(None, &workload("v1", vec![revision("v1", 1, 3, 3)]), &Arrival::Before, at(0));
    let mut first = first;
    first.known_good.as_mut().unwrap().config = Some(config);
    assert_eq!(observe(Some(&first), &restarted, &Arrival::Before, at(5)).0.known_good.unwrap().config, None);
}

#[test]
fn a_rollback_that_gave_way_to_something_newer_leaves_it_alone() {
    let acting = Acting { phase: Act::Superseded, message: "told".into(), bad: version("v2"), contended: false };
    let state = Target { rollback: Some("r".into()), ..soaking() };
    let v3 = workload("v3", vec![revision("v3", 3, 3, 3), revision("v1", 1, 0, 0)]);
    let ended = decide(&policy(), state, &v3, &[], Some(&acting), at(50)).state;
    assert_eq!((ended.phase, ended.standing.reason.as_str()), (Phase::Idle, "RollbackSuperseded"));
    assert_eq!((ended.current.fingerprint, ended.quarantined.len()), (version("v3"), 0));
}

#[test]
fn what_is_undone_twice_is_in_quarantine_once_under_the_name_that_is_known() {
    let acting = Acting { phase: Act::Succeeded, message: "told".into(), bad: version("v2"), contended: false };
    let bad = |name: &str| Quarantined {
        fingerprint: version(name),
        rollback: "first".into(),
        called: vec![format!("release {name}")],
        at: at(5),
    };
    let ended = |state: Target, live: &Workload| {
        let state = Target { rollback: Some("second".into()), quarantined: vec![bad("v2"), bad("v9")], ..state };
        decide(&policy(), state, live, &[], Some(&acting), at(50)).state.quarantined
    };
    let all = ended(soaking(), &complete_v1());
    let names: Vec<_> = all.iter().map(|bad| (bad.fingerprint.as_str(), bad.rollback.as_str())).collect();
    assert_eq!(names, [("v9", "first"), ("v2", "second")]);
    assert_eq!(all[1].called, ["v2"], "it was the current one");
    let moved_on = || Target { current: reference("v1"), ..soaking() };
    let kept = workload("v1", vec![revision("v1", 3, 3, 3), revision("v2", 2, 0, 0)]);
    assert_eq!(ended(moved_on(), &kept)[1].called, ["v2"], "its object says it");
    assert_eq!(ended(moved_on(), &complete_v1())[1].called, ["release v2"], "what was known before");
}
