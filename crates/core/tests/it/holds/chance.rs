//! Whatever comes in whatever order.

use super::{Stage, application, hold, kustomization, planned};
use crate::support::*;
use jiff::SignedDuration;
use proptest::prelude::*;
use snapback_core::gitops::{
    Application, Hold, HoldAct, Kustomization, Look, Plan, Scene, ToolKind, Trial, begin, tend,
};
use snapback_core::rollback::{Act, Progress, step};

fn any_look() -> impl Strategy<Value = Look> {
    let revisions = prop::sample::select(vec!["v1", "v2", "v3"]);
    let kustomizations =
        (revisions.clone(), any::<[bool; 5]>()).prop_map(|(revision, [busy, ready, delivers, remote, same])| {
            let digest = Some("digest of v2".to_owned()).filter(|_| same);
            let one = kustomization(revision);
            Look::Kustomization(Kustomization {
                busy,
                ready,
                delivers,
                remote,
                digest: digest.or(one.digest.clone()),
                ..one
            })
        });
    let applications =
        (revisions, any::<[bool; 5]>()).prop_map(|(revision, [heals, settled, synced, delivers, is_held])| {
            let held_by = is_held.then(|| "shop/one".to_owned()).into_iter().collect();
            Look::Application(Application {
                heals,
                is_off: !heals,
                settled,
                synced,
                delivers,
                held_by,
                ..application(revision)
            })
        });
    prop_oneof![
        4 => kustomizations,
        4 => applications,
        1 => Just(Look::Absent),
        1 => Just(Look::Forbidden("it may not".to_owned())),
        2 => Just(Look::Unknown("no answer".to_owned())),
    ]
}

fn any_kind() -> impl Strategy<Value = ToolKind> {
    prop::sample::select(vec![ToolKind::Kustomization, ToolKind::Application, ToolKind::PossibleApplication])
}

/// What is seen of the workload and its record besides its revision.
type Seen = ([bool; 4], Option<Trial>, bool);

fn any_seen() -> impl Strategy<Value = Seen> {
    let trial = prop::sample::select(vec![None, Some(Trial::Paused), Some(Trial::Open)]);
    (any::<[bool; 4]>(), trial, prop::bool::weighted(0.2))
}

proptest! {
    #![proptest_config(tried(256))]

    #[test]
    fn no_tool_keeps_a_bad_release_for_longer_than_twice_our_patience(
        kind in any_kind(),
        looks in prop::collection::vec((any_look(), 0..4u8), 63),
    ) {
        let (order, mut progress) = (order(), Progress::default());
        for (second, (look, answer)) in (0..).zip(&looks) {
            let now = order.decided + SignedDuration::from_secs(second);
            let plan = if progress.hold.is_some() { Plan::Nothing } else { planned(kind, look) };
            let next = begin(&order, &progress, step(&order, &progress, Some(&complete_v2()), None, now), &plan, now);
            if next.act == Act::Undo {
                return Ok(());
            }
            prop_assert_eq!(next.progress.undo_requested, None);
            progress = next.progress;
            progress.hold = progress.hold.map(|hold| match answer {
                0 => hold.refused("no".to_owned(), now),
                1 => hold.unanswered("no answer".to_owned()),
                _ => hold,
            });
        }
        prop_assert!(false, "still waited for after a minute: {:?}", progress.hold);
    }

    #[test]
    fn a_hold_ends_for_a_reason_and_never_brings_the_bad_revision_back(
        kind in any_kind(),
        look in any_look(),
        live in prop::sample::select(vec!["v1", "v2", "v3"]),
        (is_placed, is_ended, tried) in (any::<bool>(), prop::bool::weighted(0.1), prop::option::of(0..900i64)),
        ([is_there, is_labelled, is_back, is_over], trial, is_unwanted) in any_seen(),
    ) {
        let stage = Stage::live(live);
        let placed = Some(at(2)).filter(|_| is_placed);
        let hold = Hold { placed, ended: Some(at(3)).filter(|_| is_ended), tried: tried.map(at), ..hold(kind) };
        let unwanted = is_unwanted.then(|| "a person released the revision".to_owned());
        let live = is_there.then_some(&stage.live);
        let scene = Scene { live, trial, is_labelled, unwanted, is_back, is_over, ..stage.scene() };
        let tended = tend(&hold, &look, &scene, at(1000));
        let case = format!("{scene:#?} {tended:#?}");
        if !hold.is_open() {
            prop_assert!(tended.act == HoldAct::Nothing && tended.hold == hold && tended.next_look.is_none(), "{case}");
            return Ok(());
        }
        prop_assert_eq!(tended.next_look.is_some(), tended.hold.is_open(), "{}", case);
        let label_is_there = hold.label().is_some() && scene.live.is_some() && (scene.is_labelled || scene.trial.is_some());
        prop_assert!(tended.hold.is_open() || !label_is_there, "it is over, and still there: {case}");
        let is_gone = matches!(&look, Look::Absent) || scene.unwanted.is_some();
        let is_healing = matches!(&look, Look::Application(one) if one.heals);
        let is_bad = scene.live.is_some_and(|live| scene.bad.contains(live));
        match tended.act {
            HoldAct::Unlabel | HoldAct::Heal | HoldAct::Let => prop_assert!(!is_bad || is_gone || is_healing, "{case}"),
            HoldAct::Try => prop_assert!(scene.live == Some(scene.good) && scene.trial.is_none() && scene.is_back, "{case}"),
            HoldAct::UndoAgain => prop_assert!(is_bad && scene.trial.is_some(), "{case}"),
            HoldAct::Relabel => prop_assert!(scene.live == Some(scene.good) && scene.trial.is_some(), "{case}"),
            HoldAct::Nothing => {}
        }
    }
}
