//! Which revision a person means who goes back by hand.
#![allow(clippy::unwrap_used, reason = "tests")]

use crate::support::*;
use snapback_core::configuration::{ConfigKind, Configured};
use snapback_core::rollback::{Choice, Remembered, choose};
use snapback_core::watch::{Quarantined, RevisionRef};
use snapback_core::workload::{Migration, Said, Workload};

/// `v3` runs; the two before it are kept.
fn third() -> Workload {
    workload("v3", vec![revision("v1", 1, 0, 0), revision("v2", 2, 0, 0), revision("v3", 3, 3, 3)])
}

fn good(name: &str) -> Remembered {
    Remembered { known_good: Some(reference(name)), ..Remembered::default() }
}

fn undone(names: &[&str]) -> Vec<Quarantined> {
    let record = |name: &&str| Quarantined {
        fingerprint: version(name),
        rollback: format!("web-{name}"),
        called: Vec::new(),
        at: at(0),
    };
    names.iter().map(record).collect()
}

/// The version that is chosen, and why.
fn chosen(workload: &Workload, number: Option<i64>, remembered: &Remembered) -> (String, &'static str) {
    let Choice { from, to, why } = choose(workload, number, remembered).unwrap();
    assert_eq!(from.fingerprint, workload.live);
    (to.fingerprint.as_str().to_owned(), why)
}

fn refused(workload: &Workload, number: Option<i64>, remembered: &Remembered) -> (&'static str, String) {
    let refusal = choose(workload, number, remembered).unwrap_err();
    (refusal.reason, refusal.message)
}

#[test]
fn what_a_policy_knows_as_good_comes_first() {
    assert_eq!(chosen(&third(), None, &good("v1")), ("v1".to_owned(), "it is known good"));
}

#[test]
fn the_copies_of_the_known_good_revision_are_used_whatever_way_it_was_named() {
    let config = Some(vec![Configured {
        kind: ConfigKind::ConfigMap,
        name: "settings".into(),
        digest: "d".into(),
        copy: "c".into(),
        lost: false,
    }]);
    let kept = RevisionRef { snapshot: "copy".into(), config, ..reference("v1") };
    let remembered = Remembered { known_good: Some(kept.clone()), ..Remembered::default() };
    for number in [None, Some(1)] {
        assert_eq!(choose(&third(), number, &remembered).unwrap().to, kept);
    }
    assert_eq!(choose(&third(), Some(2), &remembered).unwrap().to, reference("v2"));
    let pruned = workload("v3", vec![revision("v3", 3, 3, 3)]);
    assert_eq!(choose(&pruned, None, &remembered).unwrap().to, kept, "from the copy alone");
}

#[test]
fn without_a_policy_it_is_the_one_before_as_kubectl_rollout_undo_would() {
    assert_eq!(chosen(&third(), None, &Remembered::default()), ("v2".to_owned(), "it is the one before"));
}

#[test]
fn who_leaves_the_known_good_revision_goes_to_the_one_before() {
    assert_eq!(chosen(&third(), None, &good("v3")), ("v2".to_owned(), "it is the one before"));
}

#[test]
fn a_known_good_revision_that_is_lost_is_passed_over() {
    assert_eq!(chosen(&third(), None, &good("v0")).0, "v2");
}

#[test]
fn in_mid_rollout_it_is_the_one_that_serves_not_another_that_failed() {
    let two_failed = workload("v3", vec![revision("v1", 1, 3, 3), revision("v2", 2, 1, 0), revision("v3", 3, 1, 0)]);
    assert_eq!(chosen(&two_failed, None, &Remembered::default()), ("v1".to_owned(), "it still serves"));
}

#[test]
fn what_was_undone_before_is_never_chosen_and_named_only_after_its_release() {
    let remembered = Remembered { namespace: "shop".into(), known_good: None, quarantined: undone(&["v2"]) };
    assert_eq!(chosen(&third(), None, &remembered).0, "v1");
    let (reason, message) = refused(&third(), Some(2), &remembered);
    assert_eq!(reason, "Quarantined");
    assert!(message.contains("kubectl patch -n shop rollback web-v2 "), "{message}");
    let none_left = Remembered { quarantined: undone(&["v1", "v2"]), ..good("v1") };
    assert_eq!(refused(&third(), None, &none_left).0, "NothingToGoBackTo");
}

#[test]
fn a_number_is_the_revision_that_has_it() {
    assert_eq!(chosen(&third(), Some(1), &good("v2")), ("v1".to_owned(), "as asked"));
}

#[test]
fn a_number_that_nobody_has_is_told_with_those_that_there_are() {
    let (reason, message) = refused(&third(), Some(7), &Remembered::default());
    assert_eq!(reason, "NoSuchRevision");
    assert_eq!(message, "there is no revision 7: there are 1, 2, 3 (live)");
}

#[test]
fn what_is_live_is_not_gone_back_to_even_under_the_number_of_a_restart() {
    assert_eq!(refused(&third(), Some(3), &Remembered::default()).0, "AlreadyLive");
    let mut restarted = third();
    restarted.revisions[1].fingerprint = version("v3");
    assert_eq!(refused(&restarted, Some(2), &Remembered::default()).0, "AlreadyLive");
    assert_eq!(chosen(&restarted, None, &Remembered::default()).0, "v1");
}

#[test]
fn a_first_revision_has_nothing_before_it() {
    assert_eq!(refused(&complete_v1(), None, &Remembered::default()).0, "NothingToGoBackTo");
    assert_eq!(refused(&complete_v1(), None, &good("v1")).0, "NothingToGoBackTo");
}

#[test]
fn a_replica_set_without_a_number_is_none_of_the_deployments() {
    let unnumbered = workload("v2", vec![revision("v1", 0, 0, 0), revision("v2", 1, 3, 3)]);
    let (reason, message) = refused(&unnumbered, None, &Remembered::default());
    assert_eq!(reason, "NothingToGoBackTo");
    assert!(message.ends_with("there are 1 (live)"), "{message}");
}

#[test]
fn a_frozen_rollout_is_not_asked_to_be_resumed() {
    let mut frozen = Workload { paused: true, ..third() };
    frozen.said = Said::read(None, Some("Irreversible"));
    assert_eq!(refused(&frozen, None, &good("v1")).0, "ForwardFixOnly");
}

#[test]
fn a_paused_deployment_is_left_alone() {
    let paused = Workload { paused: true, ..third() };
    assert_eq!(refused(&paused, Some(1), &good("v1")).0, "Paused");
}

#[test]
fn data_that_cannot_go_back_keeps_a_person_too() {
    let mut changed = third();
    changed.said.migration = Some(Ok(Migration::Irreversible));
    assert_eq!(refused(&changed, None, &good("v1")).0, "ForwardFixOnly");
    changed.said.migration = Some(Ok(Migration::Reversible));
    assert_eq!(chosen(&changed, None, &good("v1")).0, "v1", "who asks has taken the change back");
}
