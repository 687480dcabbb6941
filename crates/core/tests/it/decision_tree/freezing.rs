//! Releases that changed data irreversibly: never undone, frozen where that helps.

use super::*;
use crate::support::*;
use snapback_core::checks::CheckResult;
use snapback_core::notice::Reason;
use snapback_core::policy::{Mode, Policy, Severity};
use snapback_core::watch::{Arrival, FreezeAct, FreezeState, Phase, Target, decide, not_frozen, observe};
use snapback_core::workload::{Kind, Said, Workload};

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
    let (seen, noticed) = observe(Some(&frozen.state), &frozen_v2(), &Arrival::Before, at(40));
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
    let (anew, _) = observe(None, &frozen_v2(), &Arrival::Before, at(50));
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
        let (seen, _) = observe(Some(&remembered()), &newer, &Arrival::Before, at(40));
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
    let (seen, _) = observe(Some(&remembered()), &newer, &Arrival::Before, at(40));
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
    let (seen, _) = observe(Some(&second.state), &irreversible(), &Arrival::Before, at(50));
    let after = decide(&policy(), seen, &irreversible(), &[breached()], None, at(50));
    assert_eq!((after.freeze, told(&after)), (None, vec![]));
    assert_eq!((after.state.phase, after.state.standing.reason.as_str()), (Phase::Held, "ForwardFixOnly"));
    // Its pods become available: it soaks, and is still bad.
    let complete = Workload { said: Said::read(None, Some("Irreversible")), ..complete_v2() };
    let (seen, _) = observe(Some(&after.state), &complete, &Arrival::Before, at(60));
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
fn why_a_freeze_ends_is_told() {
    let why = |policy: &Policy, state: Target, workload: &Workload| {
        let decision = decide(policy, state, workload, &[], None, at(40));
        assert_eq!(decision.freeze, Some(FreezeAct::End));
        decision.notices.last().unwrap().message.rsplit(": ").next().unwrap().to_owned()
    };
    let suspended = Policy { suspend: true, ..policy() };
    assert_eq!(why(&suspended, remembered(), &frozen_v2()), "the policy is suspended");
    let observing = Policy { mode: Mode::Observe, ..policy() };
    assert_eq!(why(&observing, remembered(), &frozen_v2()), "nothing but observing is asked for");
    let unjudged = Target { rollout: None, phase: Phase::Idle, ..remembered() };
    assert_eq!(why(&policy(), unjudged, &frozen_v2()), "nobody judges it any more");
    let newer = workload("v3", vec![revision("v1", 1, 3, 3), revision("v2", 2, 1, 0)]);
    let newer = Workload { paused: true, frozen: Some(version("v2")), ..newer };
    let (seen, _) = observe(Some(&remembered()), &newer, &Arrival::Before, at(40));
    assert_eq!(why(&policy(), seen, &newer), "it is another revision than the frozen one");
}

#[test]
fn a_mark_that_outlived_its_pause_goes_without_a_word() {
    let suspended = Policy { suspend: true, ..policy() };
    let resumed = Workload { paused: false, ..frozen_v2() };
    let decision = decide(&suspended, remembered(), &resumed, &[], None, at(40));
    assert_eq!((decision.freeze, told(&decision)), (Some(FreezeAct::Unmark), vec![]));
}

#[test]
fn a_person_resumes_with_the_mark_or_without_it() {
    let state = |decision: snapback_core::watch::Decision| decision.state.rollout.and_then(|rollout| rollout.freeze);
    // Nobody had seen the freeze, and the mark is still there.
    let marked = Workload { paused: false, ..frozen_v2() };
    let unseen = decide(&policy(), rolling(), &marked, &[breached()], None, at(40));
    assert_eq!(told(&unseen), [Reason::RolloutResumed]);
    assert_eq!(state(unseen), Some(FreezeState::Resumed));
    // The mark was taken off with the pause.
    let unmarked = Workload { frozen: None, ..marked };
    let seen = decide(&policy(), remembered(), &unmarked, &[breached()], None, at(40));
    assert_eq!((seen.freeze, state(seen)), (None, Some(FreezeState::Resumed)));
    // Or the mark only: the pause is a person's now.
    let taken_over = Workload { paused: true, ..unmarked };
    let kept = decide(&policy(), remembered(), &taken_over, &[], None, at(40));
    assert_eq!(state(kept), Some(FreezeState::Resumed));
}

#[test]
fn a_freeze_lasts_until_somebody_ends_it() {
    let mut state = remembered();
    for second in [40, 50, 60] {
        let (seen, _) = observe(Some(&state), &frozen_v2(), &Arrival::Before, at(second));
        let decision = decide(&policy(), seen, &frozen_v2(), &[breached()], None, at(second));
        assert_eq!((decision.freeze, told(&decision)), (None, vec![]));
        state = decision.state;
        assert_eq!(state.rollout.as_ref().and_then(|rollout| rollout.freeze), Some(FreezeState::Frozen));
    }
}
