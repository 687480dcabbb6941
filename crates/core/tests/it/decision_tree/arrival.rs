//! What is new and what was there before us.

use super::*;
use crate::support::*;
use jiff::SignedDuration;
use snapback_core::ids::ReplicaSetUid;
use snapback_core::notice::Reason;
use snapback_core::watch::{Arrival, Phase, RevisionRef, Rollout, Standing, Target, observe};
use snapback_core::workload::Workload;

#[test]
fn a_target_that_is_complete_at_first_sight_is_adopted() {
    let (target, notices) = observe(None, &complete_v1(), &Arrival::Before, at(0));
    assert_eq!((target.phase, target.known_good.map(|good| good.fingerprint)), (Phase::Idle, Some(version("v1"))));
    assert_eq!(notices[0].reason, Reason::RevisionAdopted);
}

#[test]
fn a_first_rollout_that_was_faster_than_our_first_look_is_judged_all_the_same() {
    let (target, notices) = observe(None, &complete_v1(), &Arrival::After, at(0));
    assert_eq!((target.phase, target.known_good), (Phase::Soaking, None));
    assert_eq!(target.rollout.unwrap().completed, Some(at(0)));
    assert_eq!(
        notices.iter().map(|one| one.reason).collect::<Vec<_>>(),
        [Reason::RolloutDetected, Reason::SoakStarted]
    );
}

#[test]
fn what_ran_before_the_policy_or_for_a_whole_soak_is_no_newcomer() {
    let (soak, now) = (policy().soak, at(100));
    let made = |created, ran_since| {
        let mut workload = Workload { created: at(created), ..complete_v1() };
        workload.revisions[0].created = at(ran_since);
        workload
    };
    let arrival = |workload: &Workload, since| Arrival::of(workload, at(since), &soak, None, now);
    assert_eq!(arrival(&made(89, 89), 90), Arrival::Before);
    assert_eq!(arrival(&made(90, 90), 90), Arrival::After, "of the same second");
    // Labelled for the policy only now: it has run for longer than any soak would take.
    assert_eq!(arrival(&made(30, 39), 20), Arrival::Before);
    assert_eq!(arrival(&made(30, 40), 20), Arrival::After);
}

#[test]
fn a_rollout_under_way_at_first_sight_is_watched_with_the_serving_revision_as_known_good() {
    let (target, _) = observe(None, &rolling_v2(), &Arrival::Before, at(0));
    assert_eq!(
        (target.phase, target.known_good.map(|good| good.fingerprint)),
        (Phase::Progressing, Some(version("v1")))
    );
}

#[test]
fn the_first_rollout_ever_has_nothing_to_go_back_to() {
    let (target, _) = observe(None, &workload("v1", vec![revision("v1", 1, 3, 0)]), &Arrival::Before, at(0));
    assert_eq!((target.phase, target.known_good), (Phase::Progressing, None));
}

#[test]
fn a_newer_template_supersedes_and_known_good_stays() {
    let newer = workload("v3", vec![revision("v1", 1, 0, 0), revision("v2", 2, 3, 3), revision("v3", 3, 1, 0)]);
    let (target, notices) = observe(Some(&soaking()), &newer, &Arrival::Before, at(30));
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
        &Arrival::Before,
        at(30),
    );
    assert_eq!((target.phase, target.rollout), (Phase::Idle, None));
}

#[test]
fn a_workload_that_was_made_anew_is_another_target() {
    let anew = Workload { uid: snapback_core::ids::WorkloadUid::new("other"), ..complete_v2() };
    let (target, _) = observe(Some(&soaking()), &anew, &Arrival::Before, at(30));
    assert_eq!(target.known_good.map(|good| good.fingerprint), Some(version("v2")), "its past is not its own");
}

#[test]
fn what_is_scaled_to_zero_is_neither_complete_nor_known_good() {
    let off = Workload { replicas: 0, ..workload("v2", vec![revision("v1", 1, 0, 0), revision("v2", 2, 0, 0)]) };
    let (rolling, _) = observe(Some(&rolling()), &off, &Arrival::Before, at(30));
    assert_eq!(rolling.rollout.map(|rollout| rollout.completed), Some(None));
    let (first, _) = observe(None, &off, &Arrival::Before, at(0));
    assert_eq!(first.known_good, None, "none of them serves either");
}

#[test]
fn a_soak_that_waited_for_data_is_told_so_when_it_is_replaced() {
    let waiting = Target { standing: Standing::new("WaitingForData", "told"), ..soaking() };
    let v3 = workload("v3", vec![revision("v1", 1, 0, 0), revision("v2", 2, 3, 3), revision("v3", 3, 0, 0)]);
    let (_, notices) = observe(Some(&waiting), &v3, &Arrival::Before, at(40));
    assert_eq!(notices[0].message, "web:v2 (v2) was replaced while its soak waited for data");
}

#[test]
fn the_copy_of_a_revision_stays_known_when_its_object_is_another() {
    let mut known = rolling();
    let kept = RevisionRef { snapshot: "copy".into(), replica_set_uid: ReplicaSetUid::new("gone"), ..reference("v1") };
    known.known_good = Some(kept);
    let (seen, _) = observe(Some(&known), &rolling_v2(), &Arrival::Before, at(30));
    let good = seen.known_good.unwrap();
    assert_eq!((good.snapshot.as_str(), good.replica_set_uid.as_str()), ("copy", "uid-v1"));
}

#[test]
fn a_revision_is_called_by_its_images_and_what_tells_it_apart() {
    let named = |image: &str, set: &str| {
        let one = RevisionRef { images: vec![image.into()], replica_set: set.into(), ..reference("v1") };
        RevisionRef { fingerprint: version("12345678901234567890"), ..one }.name()
    };
    assert_eq!(named("registry.example/shop/web:v1@sha256:aa", "web-7d9f"), "shop/web:v1 (7d9f)");
    assert_eq!(named("localhost/web:v1", ""), "web:v1 (12345678)");
    assert_eq!(named("registry:5000/web:v1", "web-"), "web:v1 (12345678)");
    assert_eq!(named("shop/web:v1", "web-7d9f"), "shop/web:v1 (7d9f)", "that is no registry");
}
