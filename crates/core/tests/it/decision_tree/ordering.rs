//! What is ordered when a check is breached, and what only a person may order.

use super::*;
use crate::support::*;
use snapback_core::checks::{CheckResult, Verdict, Why};
use snapback_core::notice::Reason;
use snapback_core::permission::Permission;
use snapback_core::policy::{Mode, Policy, Severity};
use snapback_core::readiness::Readiness;
use snapback_core::watch::{Phase, Rollout, Standing, Target, blocked, decide, permitted};
use snapback_core::workload::Workload;

#[test]
fn a_breached_critical_check_orders_a_rollback_to_known_good() {
    let decision = decided(&policy(), &complete_v2(), &[breached()], 30);
    let order = decision.order.expect("an order");
    assert_eq!((order.from.fingerprint, order.to.fingerprint), (version("v2"), version("v1")));
    assert_eq!(order.ask, None);
    assert_eq!(order.breached, ["errors"]);
    assert_eq!(decision.state.phase, Phase::RollingBack);
    let told: Vec<Reason> = decision.notices.iter().map(|notice| notice.reason).collect();
    assert_eq!(told, [Reason::CheckBreached, Reason::RollbackDecided]);
}

#[test]
fn a_breached_warning_asks_a_person() {
    let check = CheckResult { severity: Severity::Warning, ..breached() };
    let decision = decided(&policy(), &complete_v2(), &[check], 30);
    assert!(decision.order.expect("an order").ask.is_some());
    assert_eq!(decision.state.phase, Phase::AwaitingApproval);
}

#[test]
fn what_is_counted_in_front_of_all_pods_asks_a_person_unless_something_else_is_breached_too() {
    let front = Policy { in_front: true, ..policy() };
    let order = decided(&front, &complete_v2(), &[breached()], 30).order.expect("an order");
    assert!(order.ask.expect("asked").contains("in front of old and new pods alike"));
    let crashes = CheckResult { name: "crashes".into(), ..breached() };
    let order = decided(&front, &complete_v2(), &[breached(), crashes], 30).order.expect("an order");
    assert_eq!(order.ask, None);
}

#[test]
fn mode_approve_asks_a_person() {
    let policy = Policy { mode: Mode::Approve, ..policy() };
    assert!(decided(&policy, &complete_v2(), &[breached()], 30).order.expect("an order").ask.is_some());
}

#[test]
fn mode_observe_orders_nothing_and_says_so() {
    let policy = Policy { mode: Mode::Observe, ..policy() };
    let decision = decided(&policy, &complete_v2(), &[breached()], 30);
    assert!(decision.order.is_none());
    assert_eq!(decision.state.standing.reason, "ObservedOnly");
    let again = decide(&policy, decision.state, &complete_v2(), &[breached()], None, at(40));
    assert!(again.notices.is_empty() && again.order.is_none(), "it is told once");
}

#[test]
fn without_a_known_good_revision_nothing_is_ordered() {
    let state = Target { known_good: None, ..soaking() };
    let decision = decide(&policy(), state, &complete_v2(), &[breached()], None, at(30));
    assert!(decision.order.is_none());
    assert_eq!(decision.state.standing.reason, "NothingToGoBackTo");
    assert_eq!(decision.state.phase, Phase::Held);
}

#[test]
fn a_known_good_revision_without_its_replica_set_is_no_target() {
    let workload = workload("v2", vec![revision("v2", 2, 3, 3)]);
    let decision = decided(&policy(), &workload, &[breached()], 30);
    assert!(decision.order.is_none());
    assert_eq!(decision.state.standing.reason, "KnownGoodIsGone");
}

/// One new pod beside the old ones, of which so many crash.
fn rolling_with_failing_old_pods(failing: i32) -> Workload {
    let mut workload = rolling_v2();
    for index in 0..failing {
        let fails = crashing("v1", index);
        let name = fails.name.clone();
        workload.pods.retain(|pod| pod.name != name);
        workload.pods.push(fails);
    }
    workload
}

#[test]
fn a_known_good_revision_that_fails_too_is_no_place_to_go() {
    let state = Target { known_good: Some(reference("v1")), ..soaking() };
    let workload = rolling_with_failing_old_pods(2);
    let decision = decide(&policy(), state.clone(), &workload, &[breached()], None, at(30));
    assert!(decision.order.is_none(), "one outage would be put in place of another");
    assert_eq!((decision.state.phase, decision.state.standing.reason.as_str()), (Phase::Held, "KnownGoodFails"));
    let message = &decision.state.standing.message;
    for part in
        ["web:v2 (v2) is bad (errors: told), and", "2 of its 3 pods", "web-v1-abcd0 (CrashLoop)", "web-v1-abcd1"]
    {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    let told: Vec<Reason> = decision.notices.iter().map(|notice| notice.reason).collect();
    assert_eq!(told, [Reason::Held]);
    let again = decide(&policy(), decision.state, &workload, &[breached()], None, at(40));
    assert!(again.notices.is_empty() && again.next_look.is_some(), "it is told once, and looked at again");
    // They are back.
    let over = decide(&policy(), again.state, &rolling_v2(), &[breached()], None, at(50));
    assert!(over.order.is_some());
    // What was undone before is not undone into an outage either.
    let back = Rollout { started: at(10), completed: None, returned: Some("web-roll".into()), freeze: None };
    let returned = Target { rollout: Some(back), ..state };
    assert_eq!(decide(&policy(), returned, &workload, &[], None, at(30)).state.standing.reason, "KnownGoodFails");
}

#[test]
fn one_old_pods_bad_luck_stops_no_rollback() {
    let state = || Target { known_good: Some(reference("v1")), ..soaking() };
    let one = decide(&policy(), state(), &rolling_with_failing_old_pods(1), &[breached()], None, at(30));
    assert!(one.order.is_some(), "one of three");
    // Half of many is not most of them.
    let many = |failing: usize| {
        let mut workload = workload("v2", vec![revision("v1", 1, 10, 10), revision("v2", 2, 1, 1)]);
        workload.replicas = 10;
        for pod in workload.pods.iter_mut().filter(|pod| pod.owner.as_str() == "uid-v1").take(failing) {
            pod.failure = crashing("v1", 0).failure;
        }
        workload
    };
    assert!(decide(&policy(), state(), &many(5), &[breached()], None, at(30)).order.is_some(), "five of ten");
    assert!(decide(&policy(), state(), &many(6), &[breached()], None, at(30)).order.is_none(), "six of ten");
    // The last one of three that is left says nothing of the other two.
    let mut last = workload("v2", vec![revision("v1", 1, 1, 0), revision("v2", 2, 3, 3)]);
    last.pods[0] = crashing("v1", 0);
    assert!(decide(&policy(), state(), &last, &[breached()], None, at(30)).order.is_some(), "the last one");
    // The only one there should be is all of them.
    let only = Workload { replicas: 1, ..last };
    assert_eq!(decide(&policy(), state(), &only, &[breached()], None, at(30)).state.standing.reason, "KnownGoodFails");
    // What is being deleted is no evidence.
    let mut leaving = rolling_with_failing_old_pods(3);
    leaving.pods.iter_mut().for_each(|pod| pod.leaving = true);
    assert!(decide(&policy(), state(), &leaving, &[breached()], None, at(30)).order.is_some(), "leaving");
}

#[test]
fn suspended_paused_and_scaled_to_zero_are_not_judged() {
    let suspended = Policy { suspend: true, ..policy() };
    let paused = Workload { paused: true, ..complete_v2() };
    let zero = Workload { replicas: 0, ..complete_v2() };
    for (policy, workload, reason) in
        [(suspended, complete_v2(), "Suspended"), (policy(), paused, "Paused"), (policy(), zero, "ScaledToZero")]
    {
        let decision = decided(&policy, &workload, &[breached()], 30);
        assert!(decision.order.is_none(), "{reason}");
        assert_eq!(decision.state.standing.reason, reason);
    }
}

#[test]
fn what_is_as_bad_in_the_old_pods_is_held_as_not_caused_by_the_release() {
    let decision = decided(&policy(), &complete_v2(), &[errors(Verdict::Inconclusive, Why::ExternalCause)], 30);
    assert!(decision.order.is_none());
    assert_eq!((decision.state.phase, decision.state.standing.reason.as_str()), (Phase::Held, "NotCausedByRelease"));
    let over = decide(&policy(), decision.state, &complete_v2(), &[passing()], None, at(40));
    assert_eq!(over.state.phase, Phase::Soaking, "the hold ends with its cause");
}

#[test]
fn a_warning_that_is_as_bad_in_the_old_pods_holds_nothing_up() {
    let surge = CheckResult { severity: Severity::Warning, ..errors(Verdict::Inconclusive, Why::ExternalCause) };
    let decision = decided(&policy(), &complete_v2(), &[surge.clone(), passing()], 30);
    assert_eq!(decision.state.phase, Phase::Soaking);
    let passed = decided(&policy(), &complete_v2(), &[surge, passing()], 80);
    assert_eq!(passed.state.known_good.map(|good| good.fingerprint), Some(version("v2")));
}

#[test]
fn an_order_whose_way_is_not_open_is_held_and_told_once() {
    let closed = Readiness::refused(&reference("v1"), "quota exceeded");
    let decision = decided(&policy(), &complete_v2(), &[breached()], 30);
    let held = blocked(decision.clone(), Phase::Soaking, &closed);
    assert_eq!((held.order, held.state.phase), (None, Phase::Held));
    assert!(held.state.standing.message.contains("quota exceeded"), "{}", held.state.standing.message);
    assert!(held.notices.iter().any(|notice| notice.reason == Reason::Held));
    assert!(held.notices.iter().all(|notice| notice.reason != Reason::RollbackDecided));
    assert!(held.next_look.is_some(), "it is decided anew");
    assert!(blocked(decision, Phase::Held, &closed).notices.is_empty());
}

#[test]
fn a_limit_asks_and_the_fleet_brake_holds() {
    let decision = decided(&policy(), &complete_v2(), &[breached()], 30);
    let why = Standing::new("Cooldown", "its last one was just now");
    let asked = permitted(decision.clone(), Phase::Soaking, Permission::Ask(why.clone()));
    assert_eq!(asked.state.phase, Phase::AwaitingApproval);
    for (before, after) in decision.notices.iter().zip(&asked.notices) {
        let is_changed = before.message != after.message;
        assert_eq!(
            is_changed,
            before.reason == Reason::RollbackDecided,
            "what is decided needs a person now: {after:?}"
        );
    }
    assert_eq!(asked.order.expect("an order").ask.as_deref(), Some("its last one was just now"));
    let held = permitted(decision.clone(), Phase::Soaking, Permission::Hold(Standing::new("FleetBrake", "many")));
    assert_eq!((held.order, held.state.standing.reason.as_str()), (None, "FleetBrake"));
    assert_eq!(permitted(decision.clone(), Phase::Soaking, Permission::Act), decision);
}
