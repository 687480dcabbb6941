//! What those who wait for a release are told.

use snapback_core::gate::{Answer, Gate};
use snapback_core::watch::{Phase, Quarantined, Rollout, Standing, Target};

use crate::support::{at, complete_v1, reference, version};

/// `current` is live, `good` is known good.
fn target(phase: Phase, reason: &str, current: &str, good: Option<&str>) -> Target {
    let judged = matches!(phase, Phase::Progressing | Phase::Soaking);
    Target {
        uid: complete_v1().uid,
        phase,
        standing: Standing::new(reason, "told"),
        current: reference(current),
        known_good: good.map(reference),
        rollout: judged.then(|| Rollout { started: at(0), completed: None, returned: None, freeze: None }),
        rollback: None,
        quarantined: Vec::new(),
    }
}

/// v2 was undone, v1 is back.
fn undone() -> Target {
    let bad =
        Quarantined { fingerprint: version("v2"), rollback: "web-1".into(), called: vec!["v2".into()], at: at(9) };
    Target { quarantined: vec![bad], ..target(Phase::Idle, "RolledBack", "v1", Some("v1")) }
}

fn expecting(revision: &str) -> Gate {
    Gate { expected: Some(revision.to_owned()) }
}

/// `Passed`, or the kind of the answer and its reason.
fn told(gate: &Gate, target: &Target) -> String {
    match gate.answer(target, None) {
        Answer::Passed => "Passed".to_owned(),
        Answer::Waiting(word) => format!("Waiting {}", word.reason),
        Answer::Failed(word) => format!("Failed {}", word.reason),
    }
}

fn message(answer: Answer) -> String {
    match answer {
        Answer::Passed => String::new(),
        Answer::Waiting(word) | Answer::Failed(word) => word.message,
    }
}

#[test]
fn a_release_is_waited_for_until_its_soak_has_passed() {
    let any = Gate::default();
    for (phase, reason) in [
        (Phase::Progressing, "RollingOut"),
        (Phase::Soaking, "WithinLimits"),
        (Phase::Soaking, "WaitingForData"),
        (Phase::Progressing, "Paused"),
        (Phase::Progressing, "ScaledToZero"),
    ] {
        assert_eq!(told(&any, &target(phase, reason, "v2", Some("v1"))), format!("Waiting {reason}"));
    }
    for reason in ["KnownGood", "Adopted", "Unproven"] {
        assert_eq!(told(&any, &target(Phase::Idle, reason, "v2", Some("v2"))), "Passed");
    }
}

#[test]
fn what_nobody_found_good_has_not_passed() {
    assert_eq!(told(&Gate::default(), &target(Phase::Idle, "Idle", "v2", None)), "Waiting Idle");
    assert_eq!(
        told(&Gate::default(), &target(Phase::Idle, "RollbackSuperseded", "v3", Some("v1"))),
        "Waiting RollbackSuperseded"
    );
    // A look that could not be ended.
    assert_eq!(told(&Gate::default(), &target(Phase::Progressing, "", "v2", Some("v1"))), "Waiting Progressing");
}

#[test]
fn a_release_that_is_found_bad_has_failed_whatever_is_done_about_it() {
    for (phase, reason) in [
        (Phase::RollingBack, "RollbackDecided"),
        (Phase::RollingBack, "RollingBack"),
        (Phase::Verifying, "Verifying"),
        (Phase::AwaitingApproval, "AwaitingApproval"),
        (Phase::Held, "NothingToGoBackTo"),
        (Phase::Held, "ObservedOnly"),
        (Phase::Held, "ForwardFixOnly"),
        (Phase::Held, "RollbackRejected"),
        (Phase::Escalated, "RollbackEscalated"),
        (Phase::Escalated, "Contended"),
    ] {
        assert_eq!(told(&Gate::default(), &target(phase, reason, "v2", Some("v1"))), format!("Failed {reason}"));
        assert_eq!(told(&expecting("v2"), &target(phase, reason, "v2", Some("v1"))), format!("Failed {reason}"));
    }
}

#[test]
fn what_the_release_is_not_to_blame_for_is_no_verdict_on_it() {
    let held = target(Phase::Held, "NotCausedByRelease", "v2", Some("v1"));
    assert_eq!(told(&Gate::default(), &held), "Waiting NotCausedByRelease");
}

#[test]
fn an_undone_release_stays_failed_until_a_newer_one_comes() {
    assert_eq!(told(&Gate::default(), &undone()), "Failed RolledBack");
    let next =
        Target { quarantined: undone().quarantined, ..target(Phase::Progressing, "RollingOut", "v3", Some("v1")) };
    assert_eq!(told(&Gate::default(), &next), "Waiting RollingOut");
    let passed = Target { quarantined: undone().quarantined, ..target(Phase::Idle, "KnownGood", "v3", Some("v3")) };
    assert_eq!(told(&Gate::default(), &passed), "Passed");
}

#[test]
fn an_undone_release_that_a_person_let_go_has_not_failed() {
    assert_eq!(told(&Gate::default(), &Target { quarantined: Vec::new(), ..undone() }), "Passed");
}

#[test]
fn what_was_undone_before_has_failed_as_soon_as_it_is_back() {
    let mut back =
        Target { quarantined: undone().quarantined, ..target(Phase::Progressing, "Quarantined", "v2", Some("v1")) };
    back.rollout.as_mut().unwrap().returned = Some("web-1".into());
    assert_eq!(told(&Gate::default(), &back), "Failed Quarantined");
    assert_eq!(told(&expecting("v2"), &back), "Failed Quarantined");
}

#[test]
fn the_expected_revision_is_waited_for_until_it_is_there() {
    let before = target(Phase::Idle, "KnownGood", "v1", Some("v1"));
    assert_eq!(told(&expecting("v2"), &before), "Waiting AwaitingRevision");
    let message = message(expecting("v2").answer(&before, None));
    assert_eq!(message, "v2 is expected, and web:v1 (v1) is there, which is called v1");
    assert_eq!(told(&expecting("v2"), &target(Phase::Soaking, "Judging", "v2", Some("v1"))), "Waiting Judging");
    assert_eq!(told(&expecting("v2"), &target(Phase::Idle, "KnownGood", "v2", Some("v2"))), "Passed");
}

#[test]
fn the_verdict_on_another_revision_is_none_on_the_expected_one() {
    // v2 is being undone; v3 is said to come.
    let acting = target(Phase::RollingBack, "RollingBack", "v2", Some("v1"));
    assert_eq!(told(&expecting("v3"), &acting), "Waiting AwaitingRevision");
    assert_eq!(told(&expecting("v3"), &undone()), "Waiting AwaitingRevision");
    assert_eq!(
        told(&expecting("v3"), &target(Phase::Held, "ObservedOnly", "v2", Some("v1"))),
        "Waiting AwaitingRevision"
    );
}

#[test]
fn the_expected_revision_that_was_undone_has_failed_for_good() {
    assert_eq!(told(&expecting("v2"), &undone()), "Failed RolledBack");
    let message = message(expecting("v2").answer(&undone(), None));
    assert_eq!(message, "v2 is expected, and was rolled back (Rollback web-1)");
    // However its undo went.
    let escalated =
        Target { quarantined: undone().quarantined, ..target(Phase::Escalated, "RollbackEscalated", "v1", Some("v1")) };
    assert_eq!(told(&expecting("v2"), &escalated), "Failed RolledBack");
}

#[test]
fn an_undo_that_brought_back_what_is_expected_has_passed() {
    // The revert in Git says v1 again.
    assert_eq!(told(&expecting("v1"), &undone()), "Passed");
    let acting = Target { known_good: Some(reference("v1")), ..target(Phase::RollingBack, "RollingBack", "v2", None) };
    assert_eq!(told(&expecting("v1"), &acting), "Waiting AwaitingRevision");
}

#[test]
fn a_name_that_good_and_bad_share_does_not_open_the_gate() {
    let mut shared = undone();
    shared.current.called.push("1.4.0".into());
    shared.quarantined[0].called.push("1.4.0".into());
    assert_eq!(told(&expecting("1.4.0"), &shared), "Failed RolledBack");
    // A fix under the same tag is another revision, and judged by itself.
    let mut fixed = target(Phase::Soaking, "Judging", "v2", Some("v1"));
    fixed.quarantined = undone().quarantined;
    assert_eq!(told(&expecting("v2"), &fixed), "Waiting Judging");
    fixed = Target { quarantined: fixed.quarantined, ..target(Phase::Idle, "KnownGood", "v2", Some("v2")) };
    assert_eq!(told(&expecting("v2"), &fixed), "Passed");
}

#[test]
fn who_is_kept_away_and_waits_is_told_to_end() {
    let tool = Some("Flux Kustomization flux/apps");
    let Answer::Failed(word) = expecting("v3").answer(&undone(), tool) else { panic!("it waits for itself") };
    assert_eq!(word.reason, "KeptAway");
    assert!(word.message.contains("Flux Kustomization flux/apps is held"), "{}", word.message);
    // What is there is there, whoever is held.
    assert_eq!(expecting("v1").answer(&undone(), tool), Answer::Passed);
}

#[test]
fn of_many_targets_the_worst_is_told() {
    let good = target(Phase::Idle, "KnownGood", "v2", Some("v2"));
    let soaking = target(Phase::Soaking, "Judging", "v2", Some("v1"));
    let bad = target(Phase::Held, "ObservedOnly", "v2", Some("v1"));
    let all = |targets: &[(&'static str, &Target)]| {
        Gate::default().answer_all(targets.iter().map(|(name, target)| (*name, *target, None)))
    };
    assert_eq!(all(&[("a", &good), ("b", &good)]), Answer::Passed);
    assert_eq!(message(all(&[("a", &good), ("b", &soaking), ("c", &soaking)])), "b: told");
    assert!(
        matches!(all(&[("a", &soaking), ("b", &bad), ("c", &good)]), Answer::Failed(word) if word.message == "b: told")
    );
    // The caller says so when there is none.
    assert_eq!(all(&[]), Answer::Passed);
}
