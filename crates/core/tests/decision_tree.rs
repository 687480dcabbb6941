//! Every leaf of the decision tree, by name.

mod support;

use jiff::SignedDuration;
use snapback_core::checks::{CheckResult, Verdict, Why};
use snapback_core::notice::Reason;
use snapback_core::permission::Permission;
use snapback_core::policy::{Mode, OnInconclusive, OnNoData, Policy, Severity};
use snapback_core::readiness::Readiness;
use snapback_core::rollback::{Acting, Phase as Act};
use snapback_core::sample::Missing;
use snapback_core::watch::{
    Arrival, Decision, FreezeAct, FreezeState, Phase, Quarantined, Rollout, Standing, Target, blocked, decide,
    not_frozen, observe, permitted, release,
};
use snapback_core::workload::{Kind, Said, Workload};
use support::*;

/// `v1` is known good, `v2` is rolled out since second 10 and complete since second 20.
fn soaking() -> Target {
    let (v1, _) = observe(None, &complete_v1(), Arrival::Before, at(0));
    let (rolling, _) = observe(Some(&v1), &rolling_v2(), Arrival::Before, at(10));
    observe(Some(&rolling), &complete_v2(), Arrival::Before, at(20)).0
}

fn decided(policy: &Policy, workload: &Workload, checks: &[CheckResult], second: i64) -> Decision {
    decide(policy, soaking(), workload, checks, None, at(second))
}

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
    let (v1, _) = observe(None, &complete_v1(), Arrival::Before, at(0));
    let (rolling, _) = observe(Some(&v1), &rolling_v2(), Arrival::Before, at(10));
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
    let bad = Quarantined { fingerprint: version("v2"), rollback: "first".into(), at: at(5) };
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
        let (seen, _) = observe(Some(&ended), &scaled, Arrival::Before, at(60));
        assert_eq!((seen.phase, &seen.standing), (Phase::Escalated, &ended.standing), "{phase:?}");
        let v3 = workload("v3", vec![revision("v3", 3, 3, 0), revision("v1", 1, 3, 3)]);
        assert_eq!(observe(Some(&ended), &v3, Arrival::Before, at(70)).0.phase, Phase::Progressing, "{phase:?}");
    }
}

#[test]
fn a_target_that_is_complete_at_first_sight_is_adopted() {
    let (target, notices) = observe(None, &complete_v1(), Arrival::Before, at(0));
    assert_eq!((target.phase, target.known_good.map(|good| good.fingerprint)), (Phase::Idle, Some(version("v1"))));
    assert_eq!(notices[0].reason, Reason::RevisionAdopted);
}

#[test]
fn a_first_rollout_that_was_faster_than_our_first_look_is_judged_all_the_same() {
    let (target, notices) = observe(None, &complete_v1(), Arrival::After, at(0));
    assert_eq!((target.phase, target.known_good), (Phase::Soaking, None));
    assert_eq!(target.rollout.unwrap().completed, Some(at(0)));
    assert_eq!(
        notices.iter().map(|one| one.reason).collect::<Vec<_>>(),
        [Reason::RolloutDetected, Reason::SoakStarted]
    );
}

#[test]
fn what_ran_before_the_policy_or_for_a_whole_soak_is_no_newcomer() {
    let (soak, now) = (SignedDuration::from_secs(60), at(100));
    let made = |created, ran_since| {
        let mut workload = Workload { created: at(created), ..complete_v1() };
        workload.revisions[0].created = at(ran_since);
        workload
    };
    let arrival = |workload: &Workload, since| Arrival::of(workload, at(since), soak, now);
    assert_eq!(arrival(&made(89, 89), 90), Arrival::Before);
    assert_eq!(arrival(&made(90, 90), 90), Arrival::After, "of the same second");
    // Labelled for the policy only now: it has run for longer than any soak would take.
    assert_eq!(arrival(&made(30, 39), 20), Arrival::Before);
    assert_eq!(arrival(&made(30, 40), 20), Arrival::After);
}

#[test]
fn a_rollout_under_way_at_first_sight_is_watched_with_the_serving_revision_as_known_good() {
    let (target, _) = observe(None, &rolling_v2(), Arrival::Before, at(0));
    assert_eq!(
        (target.phase, target.known_good.map(|good| good.fingerprint)),
        (Phase::Progressing, Some(version("v1")))
    );
}

#[test]
fn the_first_rollout_ever_has_nothing_to_go_back_to() {
    let (target, _) = observe(None, &workload("v1", vec![revision("v1", 1, 3, 0)]), Arrival::Before, at(0));
    assert_eq!((target.phase, target.known_good), (Phase::Progressing, None));
}

#[test]
fn a_newer_template_supersedes_and_known_good_stays() {
    let newer = workload("v3", vec![revision("v1", 1, 0, 0), revision("v2", 2, 3, 3), revision("v3", 3, 1, 0)]);
    let (target, notices) = observe(Some(&soaking()), &newer, Arrival::Before, at(30));
    assert_eq!(target.known_good.map(|good| good.fingerprint), Some(version("v1")));
    assert_eq!(target.rollout, Some(Rollout { started: at(30), completed: None, returned: None, freeze: None }));
    let told: Vec<Reason> = notices.iter().map(|notice| notice.reason).collect();
    assert_eq!(told, [Reason::RolloutSuperseded, Reason::RolloutDetected]);
}

#[test]
fn going_back_by_hand_ends_the_watch() {
    let (target, _) = observe(
        Some(&soaking()),
        &workload("v1", vec![revision("v1", 3, 3, 3), revision("v2", 2, 0, 0)]),
        Arrival::Before,
        at(30),
    );
    assert_eq!((target.phase, target.rollout), (Phase::Idle, None));
}

#[test]
fn a_quarantined_revision_that_comes_back_is_undone_again_without_metrics() {
    let bad = Quarantined { fingerprint: version("v2"), rollback: "r".into(), at: at(5) };
    let (v1, _) = observe(None, &complete_v1(), Arrival::Before, at(0));
    let (target, notices) =
        observe(Some(&Target { quarantined: vec![bad], ..v1 }), &rolling_v2(), Arrival::Before, at(30));
    assert_eq!((target.phase, target.standing.reason.as_str()), (Phase::Progressing, "Quarantined"));
    assert_eq!(notices.iter().map(|notice| notice.reason).collect::<Vec<_>>(), [Reason::RevisionReturned]);
    // The same look again tells nothing new, and its pods do not start a soak.
    let (again, told) = observe(Some(&target), &complete_v2(), Arrival::Before, at(31));
    assert_eq!((again.rollout.clone(), told), (target.rollout, vec![]));

    let decision = decide(&policy(), again, &complete_v2(), &[], None, at(31));
    let order = decision.order.unwrap();
    assert_eq!((order.to.fingerprint, order.returned.as_deref(), order.ask), (version("v1"), Some("r"), None));
    assert_eq!(order.breached, ["quarantine"]);
    assert!(decision.state.standing.message.contains("Rollback r undid it"), "{:?}", decision.state.standing);
}

fn returned() -> Target {
    let bad = Quarantined { fingerprint: version("v2"), rollback: "r".into(), at: at(5) };
    let (v1, _) = observe(None, &complete_v1(), Arrival::Before, at(0));
    observe(Some(&Target { quarantined: vec![bad], ..v1 }), &rolling_v2(), Arrival::Before, at(30)).0
}

#[test]
fn whoever_has_to_be_asked_is_asked_about_a_returned_revision_too() {
    let approve = Policy { mode: Mode::Approve, ..policy() };
    let decision = decide(&approve, returned(), &rolling_v2(), &[], None, at(31));
    assert_eq!(decision.state.phase, Phase::AwaitingApproval);
    let observe_only = Policy { mode: Mode::Observe, ..policy() };
    let decision = decide(&observe_only, returned(), &rolling_v2(), &[], None, at(31));
    assert_eq!((decision.order, decision.state.standing.reason.as_str()), (None, "ObservedOnly"));
    let suspended = Policy { suspend: true, ..policy() };
    assert_eq!(decide(&suspended, returned(), &rolling_v2(), &[], None, at(31)).order, None);
}

#[test]
fn a_released_revision_is_judged_like_a_new_one() {
    let mut live = returned();
    let notices = release(&mut live, &["r".to_owned()], at(40));
    assert_eq!(notices.iter().map(|notice| notice.reason).collect::<Vec<_>>(), [Reason::RolloutDetected]);
    assert_eq!((live.quarantined.len(), live.rollout.clone().unwrap().returned), (0, None));
    assert_eq!(decide(&policy(), live, &rolling_v2(), &[], None, at(41)).order, None);

    let mut absent =
        Target { quarantined: returned().quarantined, ..observe(None, &complete_v1(), Arrival::Before, at(0)).0 };
    assert_eq!(release(&mut absent, &["other".to_owned()], at(40)), vec![]);
    assert_eq!(absent.quarantined.len(), 1);
    assert_eq!(release(&mut absent, &["r".to_owned()], at(40)), vec![]);
    assert_eq!((absent.quarantined.len(), absent.phase), (0, Phase::Idle));
}

#[test]
fn a_revision_that_is_put_back_while_a_rollback_acts_has_come_back() {
    let acting = Acting { phase: Act::Failed, message: "told".into(), bad: version("v2"), contended: true };
    let state = Target { rollback: Some("r".into()), ..soaking() };
    let decision = decide(&policy(), state, &complete_v2(), &[], Some(&acting), at(50));
    assert_eq!(decision.state.rollout.as_ref().and_then(|rollout| rollout.returned.as_deref()), Some("r"));
    assert_eq!(decision.state.rollback, None);
    let order = decide(&policy(), decision.state, &complete_v2(), &[], None, at(51)).order;
    assert_eq!(order.map(|order| order.from.fingerprint), Some(version("v2")));
}

/// While the undo was at work, the policy had no reason to note the good revision as the live one.
#[test]
fn a_revision_that_comes_back_before_its_rollback_is_seen_to_have_succeeded_has_come_back() {
    let acting = Acting { phase: Act::Succeeded, message: "told".into(), bad: version("v2"), contended: false };
    let state = Target { rollback: Some("r".into()), phase: Phase::Verifying, ..soaking() };
    let decision = decide(&policy(), state, &complete_v2(), &[], Some(&acting), at(50));
    assert_eq!(decision.state.rollout.as_ref().and_then(|rollout| rollout.returned.as_deref()), Some("r"));
    assert_eq!(decision.notices[0].reason, Reason::RevisionReturned);
    let order = decide(&policy(), decision.state, &complete_v2(), &[], None, at(51)).order;
    assert_eq!(order.map(|order| order.from.fingerprint), Some(version("v2")));
}

/// A newer template ended the rollback, and was gone before the policy looked.
#[test]
fn a_bad_revision_that_outlived_the_newer_one_is_judged_anew() {
    let acting = Acting { phase: Act::Superseded, message: "told".into(), bad: version("v2"), contended: false };
    let state = Target { rollback: Some("r".into()), phase: Phase::RollingBack, ..soaking() };
    let decision = decide(&policy(), state, &complete_v2(), &[], Some(&acting), at(50));
    assert_eq!((decision.state.phase, decision.state.rollback.as_ref()), (Phase::Progressing, None));
    assert_eq!(decision.state.rollout.as_ref().map(|rollout| rollout.started), Some(at(50)));
    let (seen, _) = observe(Some(&decision.state), &complete_v2(), Arrival::Before, at(51));
    let order = decide(&policy(), seen, &complete_v2(), &[breached()], None, at(51)).order;
    assert_eq!(order.map(|order| order.from.fingerprint), Some(version("v2")));
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

#[test]
fn a_workload_that_was_made_anew_is_another_target() {
    let anew = Workload { uid: snapback_core::ids::WorkloadUid::new("other"), ..complete_v2() };
    let (target, _) = observe(Some(&soaking()), &anew, Arrival::Before, at(30));
    assert_eq!(target.known_good.map(|good| good.fingerprint), Some(version("v2")), "its past is not its own");
}

#[test]
fn scaling_in_the_soak_does_not_start_it_anew() {
    let mut scaled = complete_v2();
    scaled.replicas = 5;
    let (target, notices) = observe(Some(&soaking()), &scaled, Arrival::Before, at(30));
    assert_eq!(
        target.rollout,
        Some(Rollout { started: at(10), completed: Some(at(20)), returned: None, freeze: None })
    );
    assert!(notices.is_empty());
}

#[test]
fn the_same_look_twice_changes_nothing_and_tells_nothing() {
    for workload in [complete_v1(), rolling_v2(), complete_v2()] {
        let (first, _) = observe(None, &workload, Arrival::Before, at(0));
        let (second, notices) = observe(Some(&first), &workload, Arrival::Before, at(5));
        assert_eq!(first, second);
        assert!(notices.is_empty(), "{notices:?}");
    }
}

fn said(mode: Option<&str>, migration: Option<&str>) -> Workload {
    Workload { said: Said::read(mode, migration), ..complete_v2() }
}

#[test]
fn a_release_that_changed_data_irreversibly_is_never_undone() {
    let decision = decided(&policy(), &said(None, Some("Irreversible")), &[breached()], 30);
    assert!(decision.order.is_none());
    assert_eq!((decision.state.phase, decision.state.standing.reason.as_str()), (Phase::Held, "ForwardFixOnly"));
    assert!(decision.notices.iter().any(|notice| notice.reason == Reason::Held), "a person is called");
    let again = decide(&policy(), decision.state, &said(None, Some("Irreversible")), &[breached()], None, at(40));
    assert!(again.order.is_none() && again.notices.is_empty(), "it is told once");
}

/// `v2` is rolling out, three old pods serve; it changed data irreversibly.
fn irreversible() -> Workload {
    Workload { said: Said::read(None, Some("Irreversible")), ..rolling_v2() }
}

/// The same, frozen by us.
fn frozen_v2() -> Workload {
    Workload { paused: true, frozen: Some(version("v2")), ..irreversible() }
}

fn rolling() -> Target {
    let (v1, _) = observe(None, &complete_v1(), Arrival::Before, at(0));
    observe(Some(&v1), &rolling_v2(), Arrival::Before, at(10)).0
}

fn told(decision: &Decision) -> Vec<Reason> {
    decision.notices.iter().map(|notice| notice.reason).collect()
}

/// `v2` was found bad and is frozen, and people know.
fn remembered() -> Target {
    let began = decide(&policy(), rolling(), &irreversible(), &[breached()], None, at(30));
    decide(&policy(), began.state, &frozen_v2(), &[breached()], None, at(31)).state
}

#[test]
fn an_irreversible_release_that_is_bad_is_frozen_while_old_pods_serve() {
    let began = decide(&policy(), rolling(), &irreversible(), &[breached()], None, at(30));
    assert_eq!((began.order.clone(), began.freeze), (None, Some(FreezeAct::Begin)));
    assert_eq!((began.state.phase, began.state.standing.reason.as_str()), (Phase::Held, "ForwardFixOnly"));
    assert_eq!(told(&began), [Reason::CheckBreached], "the page follows once it is frozen");
    let retried = decide(&policy(), began.state.clone(), &irreversible(), &[breached()], None, at(30));
    assert_eq!((retried.freeze, told(&retried)), (Some(FreezeAct::Begin), vec![]), "the patch did not arrive");

    let frozen = decide(&policy(), began.state, &frozen_v2(), &[breached()], None, at(31));
    assert_eq!((frozen.order.clone(), frozen.freeze), (None, None));
    assert_eq!((frozen.state.phase, frozen.state.standing.reason.as_str()), (Phase::Held, "ForwardFixOnly"));
    assert_eq!(told(&frozen), [Reason::RolloutFrozen]);
    let message = &frozen.state.standing.message;
    assert!(message.contains("frozen") && message.contains("3 pods of other revisions"), "{message}");
    assert!(message.contains("kubectl rollout resume deploy/web"), "{message}");
    let (seen, noticed) = observe(Some(&frozen.state), &frozen_v2(), Arrival::Before, at(40));
    assert_eq!(noticed, []);
    let again = decide(&policy(), seen, &frozen_v2(), &[passing()], None, at(40));
    assert_eq!((again.state.standing, again.freeze, again.notices), (frozen.state.standing, None, vec![]));
}

#[test]
fn only_a_deployment_can_be_frozen() {
    let workload = Workload { kind: Kind::StatefulSet, ..irreversible() };
    let held = decide(&policy(), rolling(), &workload, &[breached()], None, at(30));
    assert_eq!((held.freeze, held.state.standing.reason.as_str()), (None, "ForwardFixOnly"));
}

#[test]
fn a_freeze_that_nobody_remembers_is_read_from_the_mark() {
    let found = decide(&policy(), rolling(), &frozen_v2(), &[], None, at(31));
    assert_eq!(found.state.standing.reason, "ForwardFixOnly");
    assert_eq!((told(&found), found.freeze), (vec![Reason::RolloutFrozen], None));
    // By a policy that never saw it begin, too.
    let (anew, _) = observe(None, &frozen_v2(), Arrival::Before, at(50));
    let found = decide(&policy(), anew, &frozen_v2(), &[], None, at(50));
    assert_eq!((found.state.standing.reason.as_str(), found.freeze), ("ForwardFixOnly", None));
}

#[test]
fn without_old_pods_there_is_nothing_to_freeze() {
    let gone = workload("v2", vec![revision("v1", 1, 3, 0), revision("v2", 2, 1, 0)]);
    let leaving = workload("v2", vec![revision("v1", 1, 0, 3), revision("v2", 2, 3, 1)]);
    for workload in [complete_v2(), gone, leaving] {
        let workload = Workload { said: Said::read(None, Some("Irreversible")), ..workload };
        let decision = decide(&policy(), rolling(), &workload, &[breached()], None, at(30));
        assert_eq!((decision.freeze, decision.state.standing.reason.as_str()), (None, "ForwardFixOnly"));
        assert_eq!(told(&decision), [Reason::Held]);
    }
}

#[test]
fn an_irreversible_release_is_frozen_without_a_known_good_revision_too() {
    let state = Target { known_good: None, ..rolling() };
    let decision = decide(&policy(), state, &irreversible(), &[breached()], None, at(30));
    assert_eq!((decision.freeze, decision.state.standing.reason.as_str()), (Some(FreezeAct::Begin), "ForwardFixOnly"));
}

#[test]
fn whom_we_would_have_to_ask_is_told_how_to_pause() {
    let approve = Policy { mode: Mode::Approve, ..policy() };
    let with_mode = |mode| Workload { said: Said::read(Some(mode), Some("Irreversible")), ..rolling_v2() };
    let warning = CheckResult { severity: Severity::Warning, ..breached() };
    for (policy, workload, check) in [
        (approve.clone(), irreversible(), breached()),
        (policy(), with_mode("Approve"), breached()),
        (policy(), with_mode("Auto"), breached()),
        (frozen(), irreversible(), breached()),
        (policy(), irreversible(), warning),
    ] {
        let decision = decide(&policy, rolling(), &workload, &[check], None, at(30));
        assert_eq!((decision.freeze, decision.state.standing.reason.as_str()), (None, "ForwardFixOnly"));
        let message = &decision.state.standing.message;
        assert!(message.contains("kubectl rollout pause deploy/web"), "{message}");
        assert_eq!(told(&decision), [Reason::Held]);
    }
    let emergency = decide(&approve, rolling(), &with_mode("Automatic"), &[breached()], None, at(30));
    assert_eq!(emergency.freeze, Some(FreezeAct::Begin));
    let observed = decide(&policy(), rolling(), &with_mode("Observe"), &[breached()], None, at(30));
    assert_eq!((observed.freeze, observed.state.standing.reason.as_str()), (None, "ObservedOnly"));
}

#[test]
fn a_freeze_that_is_refused_is_held_and_told_once() {
    let began = decide(&policy(), rolling(), &irreversible(), &[breached()], None, at(30));
    let held = not_frozen(began.clone(), Phase::Progressing, "no");
    assert_eq!((held.freeze, held.state.phase), (None, Phase::Held));
    assert_eq!(told(&held), [Reason::CheckBreached, Reason::Held]);
    assert!(held.state.standing.message.contains("could not be frozen: no"), "{:?}", held.state.standing);
    let again = decide(&policy(), held.state, &irreversible(), &[breached()], None, at(40));
    assert_eq!(told(&not_frozen(again, Phase::Held, "no")), []);
}

#[test]
fn a_newer_revision_ends_the_freeze_and_is_judged() {
    for live in ["v3", "v1"] {
        let mut sets = vec![revision("v1", 1, 3, 3), revision("v2", 2, 1, 0)];
        sets.extend((live == "v3").then(|| revision("v3", 3, 0, 0)));
        let newer = Workload { paused: true, frozen: Some(version("v2")), ..workload(live, sets) };
        let (seen, _) = observe(Some(&remembered()), &newer, Arrival::Before, at(40));
        let decision = decide(&policy(), seen.clone(), &newer, &[], None, at(40));
        assert_eq!((decision.freeze, told(&decision)), (Some(FreezeAct::End), vec![Reason::RolloutResumed]), "{live}");
        assert_ne!(decision.state.standing.reason, "Paused", "{live}");
        let over = Workload { paused: false, frozen: None, ..newer };
        let next = decide(&policy(), decision.state, &over, &[], None, at(41));
        assert_eq!((next.freeze, next.notices), (None, vec![]), "{live}");
        // A manifest that says `paused: false` itself.
        let itself = Workload { frozen: Some(version("v2")), ..over };
        assert_eq!(decide(&policy(), seen, &itself, &[], None, at(40)).freeze, Some(FreezeAct::Unmark), "{live}");
    }
}

#[test]
fn a_newer_manifest_that_asks_for_a_pause_keeps_it() {
    let newer = workload("v3", vec![revision("v1", 1, 3, 3), revision("v2", 2, 1, 0)]);
    let newer = Workload { paused: true, pause_is_applied: true, frozen: Some(version("v2")), ..newer };
    let (seen, _) = observe(Some(&remembered()), &newer, Arrival::Before, at(40));
    let decision = decide(&policy(), seen, &newer, &[], None, at(40));
    assert_eq!((decision.freeze, decision.state.standing.reason.as_str()), (Some(FreezeAct::Unmark), "Paused"));
    assert_eq!(told(&decision), []);
}

#[test]
fn what_a_person_resumes_is_not_frozen_again() {
    let resumed = Workload { paused: false, ..frozen_v2() };
    let first = decide(&policy(), remembered(), &resumed, &[breached()], None, at(40));
    assert_eq!((first.freeze, told(&first)), (None, vec![Reason::RolloutResumed]), "it is remembered first");
    assert_eq!(first.state.rollout.as_ref().and_then(|rollout| rollout.freeze), Some(FreezeState::Resumed));
    let second = decide(&policy(), first.state, &resumed, &[breached()], None, at(41));
    assert_eq!((second.freeze, told(&second)), (Some(FreezeAct::Unmark), vec![]));
    let (seen, _) = observe(Some(&second.state), &irreversible(), Arrival::Before, at(50));
    let after = decide(&policy(), seen, &irreversible(), &[breached()], None, at(50));
    assert_eq!((after.freeze, told(&after)), (None, vec![]));
    assert_eq!((after.state.phase, after.state.standing.reason.as_str()), (Phase::Held, "ForwardFixOnly"));
    // Its pods become available: it soaks, and is still bad.
    let complete = Workload { said: Said::read(None, Some("Irreversible")), ..complete_v2() };
    let (seen, _) = observe(Some(&after.state), &complete, Arrival::Before, at(60));
    let after = decide(&policy(), seen, &complete, &[breached()], None, at(60));
    assert_eq!((after.state.phase, told(&after)), (Phase::Held, vec![]), "a person knows");
}

#[test]
fn a_persons_own_pause_is_never_ended() {
    let resumed = Workload { paused: false, ..frozen_v2() };
    let first = decide(&policy(), remembered(), &resumed, &[breached()], None, at(40)).state;
    // Paused again before the mark was off: that one is a person's.
    let decision = decide(&policy(), first, &frozen_v2(), &[breached()], None, at(41));
    assert_eq!((decision.freeze, decision.state.standing.reason.as_str()), (Some(FreezeAct::Unmark), "Paused"));
    let unmarked = Workload { frozen: None, ..frozen_v2() };
    for state in [rolling(), remembered(), decision.state] {
        let decision = decide(&policy(), state, &unmarked, &[breached()], None, at(42));
        assert_eq!((decision.freeze, decision.state.standing.reason.as_str()), (None, "Paused"));
        assert_eq!(told(&decision), []);
    }
}

#[test]
fn a_suspended_policy_and_one_that_only_observes_end_a_freeze() {
    let suspended = Policy { suspend: true, ..policy() };
    let observing = Policy { mode: Mode::Observe, ..policy() };
    for (other, reason) in [(suspended, "Suspended"), (observing, "ObservedOnly")] {
        let ended = decide(&other, remembered(), &frozen_v2(), &[breached()], None, at(40));
        assert_eq!((ended.freeze, ended.state.standing.reason.as_str()), (Some(FreezeAct::End), reason));
        assert!(told(&ended).contains(&Reason::RolloutResumed));
        let over = decide(&other, ended.state, &irreversible(), &[], None, at(41));
        assert_eq!((over.freeze, told(&over)), (None, vec![]));
        if reason == "Suspended" {
            let back = decide(&policy(), over.state, &irreversible(), &[breached()], None, at(50));
            assert_eq!(back.freeze, Some(FreezeAct::Begin), "nobody resumed it");
        }
    }
}

#[test]
fn a_release_that_changed_data_reversibly_asks_a_person() {
    let decision = decided(&policy(), &said(None, Some("Reversible")), &[breached()], 30);
    assert!(decision.order.expect("an order").ask.expect("a reason").contains("take the change of data back"));
    let nothing = decided(&policy(), &said(None, Some("None")), &[breached()], 30);
    assert_eq!(nothing.order.expect("an order").ask, None);
}

fn with_job(migration: Option<&str>, job: &str) -> Workload {
    Workload { said: Said::read(None, migration).with_migration_job(Some(job)), ..complete_v2() }
}

#[test]
fn a_reversible_change_of_data_with_a_job_asks_nobody_and_orders_the_job() {
    let order = decided(&policy(), &with_job(Some("Reversible"), "down"), &[breached()], 30).order.expect("an order");
    assert_eq!((order.ask, order.migration_job.as_deref()), (None, Some("down")));
    let careful = Policy { mode: Mode::Approve, ..policy() };
    let order = decided(&careful, &with_job(Some("Reversible"), "down"), &[breached()], 30).order.expect("an order");
    assert_eq!((order.ask.is_some(), order.migration_job.as_deref()), (true, Some("down")));
    let never = decided(&policy(), &with_job(Some("Irreversible"), "down"), &[breached()], 30);
    assert_eq!(never.state.standing.reason, "ForwardFixOnly");
    let nothing = decided(&policy(), &with_job(Some("None"), "down"), &[breached()], 30).order.expect("an order");
    assert_eq!((nothing.ask, nothing.migration_job), (None, None));
}

#[test]
fn a_job_that_cannot_be_meant_asks_a_person_and_is_not_run() {
    for (workload, wanted) in [
        (with_job(Some("Reversible"), "../secrets"), "cannot be the name"),
        (with_job(None, "down"), "no snapback.dev/migration"),
    ] {
        let order = decided(&policy(), &workload, &[breached()], 30).order.expect("an order");
        assert_eq!(order.migration_job, None);
        assert!(order.ask.as_deref().is_some_and(|ask| ask.contains(wanted)), "{:?}", order.ask);
    }
}

#[test]
fn a_word_about_data_or_mode_that_nobody_knows_asks_a_person() {
    for workload in [said(None, Some("irreversible")), said(Some("Auto"), None)] {
        let ask = decided(&policy(), &workload, &[breached()], 30).order.expect("an order").ask.expect("a reason");
        assert!(ask.contains("which is none of"), "{ask}");
    }
}

#[test]
fn the_mode_on_the_workload_goes_over_the_policys() {
    let observed = decided(&policy(), &said(Some("Observe"), None), &[breached()], 30);
    assert_eq!((observed.order, observed.state.standing.reason.as_str()), (None, "ObservedOnly"));
    let asked = decided(&policy(), &said(Some("Approve"), None), &[breached()], 30);
    assert_eq!(asked.order.expect("an order").ask.as_deref(), Some("snapback.dev/mode is Approve"));
    let careful = Policy { mode: Mode::Approve, ..policy() };
    let emergency = decided(&careful, &said(Some("Automatic"), None), &[breached()], 30);
    assert_eq!(emergency.order.expect("an order").ask, None);
}

#[test]
fn a_window_that_denies_asks_a_person() {
    let decision = decided(&frozen(), &complete_v2(), &[breached()], 30);
    let why = "the window \"freeze\" denies automatic rollbacks until 1970-01-13 00:00 Etc/UTC";
    assert_eq!(decision.order.expect("an order").ask.as_deref(), Some(why));
    assert_eq!(decision.state.phase, Phase::AwaitingApproval);
    let after_it = decide(&frozen(), soaking(), &complete_v2(), &[breached()], None, at(86_400));
    assert_eq!(after_it.order.expect("an order").ask, None);
}

#[test]
fn observe_and_approve_are_themselves_in_any_window() {
    let observed = decided(&Policy { mode: Mode::Observe, ..frozen() }, &complete_v2(), &[breached()], 30);
    assert_eq!((observed.order, observed.state.standing.reason.as_str()), (None, "ObservedOnly"));
    assert!(!observed.state.standing.message.contains("freeze"), "{}", observed.state.standing.message);
    let asked = decided(&Policy { mode: Mode::Approve, ..frozen() }, &complete_v2(), &[breached()], 30);
    assert_eq!(asked.order.expect("an order").ask.as_deref(), Some("the policy's mode is Approve"));
}

#[test]
fn the_word_automatic_on_the_workload_goes_over_the_windows() {
    let emergency = decided(&frozen(), &said(Some("Automatic"), None), &[breached()], 30);
    assert_eq!(emergency.order.expect("an order").ask, None);
    let careful = decided(&frozen(), &said(Some("Automatic"), Some("Reversible")), &[breached()], 30);
    assert!(careful.order.expect("an order").ask.is_some(), "it goes over the windows only");
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
    assert_eq!(asked.order.expect("an order").ask.as_deref(), Some("its last one was just now"));
    let held = permitted(decision.clone(), Phase::Soaking, Permission::Hold(Standing::new("FleetBrake", "many")));
    assert_eq!((held.order, held.state.standing.reason.as_str()), (None, "FleetBrake"));
    assert_eq!(permitted(decision.clone(), Phase::Soaking, Permission::Act), decision);
}
