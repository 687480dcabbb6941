//! What is new and what was there before us.

use super::*;
use crate::support::*;
use jiff::SignedDuration;
use snapback_core::notice::Reason;
use snapback_core::watch::{Arrival, Phase, Rollout, observe};
use snapback_core::workload::Workload;

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
fn a_workload_that_was_made_anew_is_another_target() {
    let anew = Workload { uid: snapback_core::ids::WorkloadUid::new("other"), ..complete_v2() };
    let (target, _) = observe(Some(&soaking()), &anew, Arrival::Before, at(30));
    assert_eq!(target.known_good.map(|good| good.fingerprint), Some(version("v2")), "its past is not its own");
}
