//! A policy that comes after another one: renamed, made anew, or next in line.

use crate::support::*;
use jiff::SignedDuration;
use snapback_core::fingerprint::Fingerprint;
use snapback_core::notice::Reason;
use snapback_core::watch::{Arrival, Kept, Phase, RevisionRef, Target, Undone, former, observe};
use snapback_core::workload::{Revision, Workload};

/// v1 is known good since second 100.
fn copy(of: &str, made: i64) -> Kept {
    Kept { fingerprint: version(of), name: format!("copy-of-{of}"), made: at(made) }
}

fn made(name: &str, number: i64, created: i64) -> Revision {
    Revision { created: at(created), ..revision(name, number, 0, 0) }
}

/// v2 replaced v1 in second 200.
fn v2() -> Workload {
    let mut v2 = complete_v2();
    v2.revisions = vec![made("v1", 1, 50), Revision { created: at(200), ..revision("v2", 2, 3, 3) }];
    v2
}

fn undone(name: &str, second: i64) -> Undone {
    Undone { fingerprint: version(name), at: at(second) }
}

fn name(revision: Option<RevisionRef>) -> Option<(Fingerprint, String)> {
    revision.map(|revision| (revision.fingerprint, revision.snapshot))
}

fn v1() -> Option<(Fingerprint, String)> {
    Some((version("v1"), "copy-of-v1".to_owned()))
}

/// What a policy makes of it that was made in second 210, where it looks at it for the first time.
fn first_look(workload: &Workload, copies: &[Kept], second: i64) -> (Target, Vec<Reason>) {
    after(&[], workload, copies, second)
}

/// The same, after undos of some revisions.
fn after(undone: &[Undone], workload: &Workload, copies: &[Kept], second: i64) -> (Target, Vec<Reason>) {
    let arrival = Arrival::of(workload, at(210), &policy().soak, former(copies, workload, undone), at(second));
    let (target, notices) = observe(None, workload, &arrival, at(second));
    (target, notices.iter().map(|notice| notice.reason).collect())
}

#[test]
fn a_release_that_another_policy_judged_is_judged_on_with_that_ones_known_good_revision() {
    let (target, told) = first_look(&v2(), &[copy("v1", 100)], 220);
    assert_eq!((target.phase, name(target.known_good)), (Phase::Soaking, v1()));
    assert_eq!(told, [Reason::RolloutDetected, Reason::SoakStarted]);
    let (adopted, told) = first_look(&v2(), &[], 220);
    assert_eq!((adopted.phase, told), (Phase::Idle, vec![Reason::RevisionAdopted]), "nobody judged it");
}

#[test]
fn what_was_known_good_stays_so_even_while_an_undo_still_brings_it_back() {
    let back = Workload { live: version("v1"), ..v2() };
    assert!(snapback_core::workload::rolled_out(&back, &back.live).is_err());
    let (target, told) = after(&[undone("v2", 215)], &back, &[copy("v1", 100)], 220);
    assert_eq!((target.phase, name(target.known_good), target.rollout), (Phase::Idle, v1(), None));
    assert_eq!(told, [Reason::RevisionAdopted]);
    // Without the copy the bad one, which still serves, would be the one to go back to.
    let (blind, _) = first_look(&back, &[], 220);
    assert_eq!(blind.known_good.map(|good| good.fingerprint), Some(version("v2")));
}

#[test]
fn what_has_run_for_longer_than_any_soak_is_what_people_run() {
    let longest = policy().soak.longest;
    let second = |more: i64| 200 + (longest + SignedDuration::from_secs(more)).as_secs();
    let phase = |second| first_look(&v2(), &[copy("v1", 100)], second).0.phase;
    assert_eq!(phase(second(0)), Phase::Soaking);
    assert_eq!(phase(second(1)), Phase::Idle);
    // What is live and was known good is so, however long it runs.
    let at_rest =
        Workload { revisions: vec![Revision { created: at(50), ..revision("v1", 1, 3, 3) }], ..complete_v1() };
    assert_eq!(name(first_look(&at_rest, &[copy("v1", 100)], second(900)).0.known_good), v1());
}

#[test]
fn a_restart_makes_nothing_younger() {
    let longest = policy().soak.longest.as_secs();
    let mut restarted = v2();
    restarted.revisions.push(Revision {
        name: "web-again".into(),
        created: at(200 + longest),
        ..revision("v2", 3, 3, 3)
    });
    assert_eq!(first_look(&restarted, &[copy("v1", 100)], 201 + longest).0.phase, Phase::Idle);
}

#[test]
fn a_copy_says_nothing_once_something_else_was_live() {
    let with = |more: &[Revision]| {
        let mut workload = v2();
        workload.revisions.extend_from_slice(more);
        workload
    };
    let old = [copy("v1", 100)];
    assert_eq!(name(former(&old, &with(&[]), &[])), v1());
    assert_eq!(name(former(&old, &with(&[made("v0", 0, 10)]), &[])), v1(), "it came before");
    // One that came back has a newer number, however old its ReplicaSet is. So has what came since.
    let back = Workload { live: version("v3"), ..with(&[made("v0", 3, 10), made("v3", 4, 200)]) };
    assert_eq!(name(former(&old, &back, &[])), None, "people went away from it");
    assert_eq!(name(former(&old, &back, &[undone("v0", 5)])), None, "undone long ago, and let through since");
    // An undo brought it back.
    let mut undo = v2();
    undo.live = version("v3");
    undo.revisions = vec![made("v2", 2, 120), made("v1", 3, 50), made("v3", 4, 200)];
    assert_eq!(name(former(&old, &undo, &[])), v1());
    // Started anew: another ReplicaSet, the same revision.
    assert_eq!(name(former(&old, &with(&[made("v1", 3, 150)]), &[])), v1());
    let only_live = Workload { revisions: vec![revision("v2", 2, 3, 3)], ..v2() };
    assert_eq!(name(former(&old, &only_live, &[])), None, "without a history nothing shows that nothing came between");
}

#[test]
fn what_was_undone_since_is_not_known_good_any_more() {
    let old = [copy("v1", 100)];
    assert_eq!(name(former(&old, &v2(), &[undone("v1", 100)])), None, "a person went away from it");
    assert_eq!(name(former(&old, &v2(), &[undone("v1", 99)])), v1(), "it was found good afterwards");
}

#[test]
fn an_old_template_that_is_released_again_is_a_release() {
    let again = Workload { live: version("v1"), ..v2() };
    let old = [copy("v1", 100)];
    assert_eq!(name(former(&old, &again, &[])), None, "nobody knows what became of v2");
    assert_eq!(name(former(&old, &again, &[undone("v2", 300)])), v1(), "its undo brought it back");
}

#[test]
fn of_several_copies_the_newest_counts() {
    let mut workload = v2();
    workload.revisions.push(made("v0", 0, 10));
    let copies = [copy("v0", 60), copy("v1", 100)];
    assert_eq!(name(former(&copies, &workload, &[])), v1());
    assert_eq!(name(former(&[], &workload, &[])), None);
}
