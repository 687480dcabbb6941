//! When a soak passes, and what keeps it open.

use super::*;
use crate::support::*;
use jiff::SignedDuration;
use snapback_core::checks::{CheckResult, Odds, Verdict, Why};
use snapback_core::notice::Reason;
use snapback_core::policy::{Analysis, OnInconclusive, OnNoData, Policy};
use snapback_core::sample::Missing;
use snapback_core::watch::{Arrival, Phase, Rollout, Target, decide, observe};
use snapback_core::workload::Workload;

#[test]
fn the_soak_passes_when_its_time_is_over_and_the_checks_are_inside_their_limits() {
    assert_eq!(decided(&policy(), &complete_v2(), &[passing()], 79).state.phase, Phase::Soaking);
    let passed = decided(&policy(), &complete_v2(), &[passing()], 80);
    assert_eq!(passed.state.phase, Phase::Idle);
    assert_eq!(passed.state.known_good.map(|good| good.fingerprint), Some(version("v2")));
    assert!(passed.state.rollout.is_none(), "after the soak the automatic rollback is off");
    let late = decide(
        &policy(),
        Target { known_good: Some(reference("v2")), ..soaking_passed() },
        &complete_v2(),
        &[breached()],
        None,
        at(90),
    );
    assert!(late.order.is_none());
}

fn soaking_passed() -> Target {
    decided(&policy(), &complete_v2(), &[passing()], 80).state
}

#[test]
fn without_data_the_soak_waits_or_passes_as_the_policy_says_and_never_breaches() {
    let missing = errors(Verdict::NoData, Why::Missing(Missing::Unavailable("down".into())));
    let held = decided(&policy(), &complete_v2(), std::slice::from_ref(&missing), 200);
    assert_eq!(held.state.standing.reason, "WaitingForData");
    assert!(held.order.is_none() && held.next_look.is_some());
    let pass = Policy { on_no_data: OnNoData::Pass, ..policy() };
    assert_eq!(decided(&pass, &complete_v2(), &[missing], 200).state.phase, Phase::Idle);
}

#[test]
fn one_good_minute_after_an_hour_without_data_is_not_enough() {
    let check = CheckResult { covered: SignedDuration::from_secs(29), ..passing() };
    assert_eq!(decided(&policy(), &complete_v2(), &[check], 200).state.standing.reason, "WaitingForData");
    let check = CheckResult { covered: SignedDuration::from_secs(30), ..passing() };
    assert_eq!(decided(&policy(), &complete_v2(), &[check], 200).state.phase, Phase::Idle);
}

#[test]
fn a_run_of_bad_windows_at_the_end_of_the_soak_is_waited_out() {
    let counting = errors(Verdict::Inconclusive, Why::CountingUp);
    assert_eq!(decided(&policy(), &complete_v2(), &[counting], 200).state.standing.reason, "Undecided");
}

#[test]
fn too_little_that_cannot_be_judged_yet_is_waited_out_even_where_no_data_passes() {
    let little = errors(Verdict::Inconclusive, Why::RollingOut);
    let policy = Policy { on_no_data: OnNoData::Pass, ..policy() };
    assert_eq!(decided(&policy, &complete_v2(), &[little], 200).state.standing.reason, "Undecided");
}

#[test]
fn a_check_without_anything_to_compare_with_does_not_hold_a_release_for_ever() {
    let unclear = errors(Verdict::Inconclusive, Why::NoBaseline);
    assert_eq!(decided(&policy(), &complete_v2(), &[unclear], 80).state.phase, Phase::Idle);
}

#[test]
fn what_cannot_be_told_to_the_end_of_the_longest_soak_is_accepted_and_called_unproven() {
    let close = || errors(Verdict::Inconclusive, Why::TooCloseToSay);
    assert_eq!(decided(&policy(), &complete_v2(), &[close()], 259).state.standing.reason, "Undecided");
    let decision = decided(&policy(), &complete_v2(), &[close()], 260);
    assert_eq!((decision.state.phase, decision.state.standing.reason.as_str()), (Phase::Idle, "Unproven"));
    assert_eq!(decision.state.known_good.expect("it").fingerprint, version("v2"));
    assert!(decision.notices.iter().any(|notice| notice.reason == Reason::Inconclusive));
    let hold = Policy { on_inconclusive: OnInconclusive::Hold, ..policy() };
    assert_eq!(decided(&hold, &complete_v2(), &[close()], 9000).state.standing.reason, "Undecided");
}

#[test]
fn kubernetes_own_deadline_is_a_breach_of_this_rollout_only() {
    let (v1, _) = observe(None, &complete_v1(), &Arrival::Before, at(0));
    let (rolling, _) = observe(Some(&v1), &rolling_v2(), &Arrival::Before, at(10));
    let exceeded = |second| Workload { progress_deadline_exceeded: Some(at(second)), ..rolling_v2() };
    let stale = decide(&policy(), rolling.clone(), &exceeded(5), &[passing()], None, at(700));
    assert!(stale.order.is_none(), "the condition survives an undo; it speaks of an earlier rollout");
    let fresh = decide(&policy(), rolling.clone(), &exceeded(610), &[passing()], None, at(700));
    assert_eq!(fresh.order.expect("an order").breached, ["progress"]);
    let mut crowded = exceeded(610);
    crowded.pods.iter_mut().for_each(|pod| pod.unschedulable = true);
    let no_room = decide(&policy(), rolling, &crowded, &[passing()], None, at(700));
    assert!(no_room.order.is_none(), "a lack of capacity is not the release's fault");
}

#[test]
fn scaling_in_the_soak_does_not_start_it_anew() {
    let mut scaled = complete_v2();
    scaled.replicas = 5;
    let (target, notices) = observe(Some(&soaking()), &scaled, &Arrival::Before, at(30));
    assert_eq!(
        target.rollout,
        Some(Rollout { started: at(10), completed: Some(at(20)), returned: None, freeze: None })
    );
    assert!(notices.is_empty());
}

#[test]
fn the_same_look_twice_changes_nothing_and_tells_nothing() {
    for workload in [complete_v1(), rolling_v2(), complete_v2()] {
        let (first, _) = observe(None, &workload, &Arrival::Before, at(0));
        let (second, notices) = observe(Some(&first), &workload, &Arrival::Before, at(5));
        assert_eq!(first, second);
        assert!(notices.is_empty(), "{notices:?}");
    }
}

#[test]
fn the_end_of_the_soak_is_looked_at_when_it_comes() {
    let next = |second| decided(&policy(), &complete_v2(), &[passing()], second).next_look;
    assert_eq!(next(50), Some(SignedDuration::from_secs(10)));
    assert_eq!(next(75), Some(SignedDuration::from_secs(5)), "it ends at second 80");
}

#[test]
fn an_external_cause_is_a_finding_when_it_was_counted_or_lasts() {
    let proof = Policy { analysis: Analysis::Sequential { false_alarms: 0.001 }, ..policy() };
    let common = CheckResult { in_a_row: 2, ..errors(Verdict::Inconclusive, Why::ExternalCause) };
    let phase = |check: CheckResult| decided(&proof, &complete_v2(), &[check], 50).state.phase;
    assert_eq!(phase(common.clone()), Phase::Soaking, "twice is not lasting");
    assert_eq!(phase(CheckResult { in_a_row: 3, ..common.clone() }), Phase::Held);
    assert_eq!(phase(CheckResult { odds: Some(Odds { found: 9.0, needed: 7.0 }), ..common.clone() }), Phase::Held);
    assert_eq!(phase(CheckResult { window: None, ..common }), Phase::Held, "pods are counted now, not over time");
}
