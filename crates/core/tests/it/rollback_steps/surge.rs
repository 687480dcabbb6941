//! `speed: Fast`: the surge is raised with the undo, and put back.

use super::*;
use crate::support::*;
use snapback_core::rollback::{
    Act, Order, Phase, Progress, RollingUpdate, Step, Verification, step, surge_restored, undo_accepted,
};
use snapback_core::workload::Workload;

fn fast() -> Order {
    Order { fast: true, ..order() }
}

fn one_by_one(workload: Workload) -> Workload {
    let rolling = RollingUpdate { max_surge: 1.into(), max_unavailable: 0.into() };
    Workload { rolling: Some(rolling), ..workload }
}

fn look_fast(progress: &Progress, workload: &Workload, second: i64) -> Step {
    step(&fast(), progress, Some(workload), None, at(second))
}

#[test]
fn a_fast_undo_notes_the_original_surge_with_the_request_where_it_saves_rounds() {
    let asked = look_fast(&Progress::default(), &one_by_one(complete_v2()), 1);
    assert_eq!((asked.act, asked.progress.surge), (Act::Undo, Some(1.into())));
    let normal = look(&Progress::default(), &one_by_one(complete_v2()), 1);
    assert_eq!(normal.progress.surge, None);
    let rolling = RollingUpdate { max_surge: "100%".into(), max_unavailable: 0.into() };
    let quick = Workload { rolling: Some(rolling), ..complete_v2() };
    assert_eq!(look_fast(&Progress::default(), &quick, 1).progress.surge, None, "there is nothing to save");
}

#[test]
fn the_surge_is_lowered_when_the_pods_are_back_and_before_anything_else_goes_on() {
    let asked = look_fast(&Progress::default(), &one_by_one(complete_v2()), 1);
    let accepted = undo_accepted(asked, &fast(), at(2)).progress;
    let back = one_by_one(back());
    let lower = look_fast(&accepted, &back, 5);
    assert_eq!((lower.act, lower.progress.rolled_out), (Act::RestoreSurge, Some(at(5))));
    // Died before it was done: it is done by the next look. Done: it goes on.
    assert_eq!(look_fast(&lower.progress, &back, 9).act, Act::RestoreSurge);
    let done = surge_restored(lower, at(6));
    assert_eq!(done.progress.surge_restored, Some(at(6)));
    let on = look_fast(&done.progress, &back, 9);
    assert_eq!((on.act, on.progress.phase), (Act::Nothing, Some(Phase::Verifying)));
}

#[test]
fn the_surge_is_lowered_however_it_ends_but_not_tried_for_ever() {
    let asked = look_fast(&Progress::default(), &one_by_one(complete_v2()), 1);
    let accepted = undo_accepted(asked, &fast(), at(2)).progress;
    let newer = one_by_one(workload("v3", vec![revision("v2", 2, 0, 0), revision("v3", 4, 3, 3)]));
    let lower = look_fast(&accepted, &newer, 9);
    assert_eq!((lower.act, lower.progress.phase), (Act::RestoreSurge, Some(Phase::Running)));
    let ended = look_fast(&surge_restored(lower, at(10)).progress, &newer, 11);
    assert_eq!(ended.progress.phase, Some(Phase::Superseded));
    let late = look_fast(&accepted, &newer, 2 + 1200);
    assert_eq!(late.progress.phase, Some(Phase::Superseded));
}

#[test]
fn nothing_is_told_and_nothing_judged_before_the_surge_is_lowered() {
    let asked = look_fast(&Progress::default(), &one_by_one(complete_v2()), 1);
    let accepted = undo_accepted(asked, &fast(), at(2)).progress;
    let newer = one_by_one(workload("v3", vec![revision("v2", 2, 0, 0), revision("v3", 4, 3, 3)]));
    let lower = look_fast(&accepted, &newer, 9);
    assert_eq!((lower.reason, lower.notices), ("RestoringStrategy", Vec::new()));
    assert_eq!(lower.message, "web:v1 (v1) is rolled out; maxSurge is being put back to what it was");
    assert_eq!(lower.next_look, Some(jiff::SignedDuration::from_secs(1)));
    assert_eq!(look_fast(&accepted, &newer, 2 + 1199).act, Act::RestoreSurge, "twice the deadline is not over");
    let cured = Progress { rolled_out: Some(at(5)), recovered: Some(at(5)), ..accepted };
    let look = step(&fast(), &cured, Some(&one_by_one(back())), Some(&Verification::Within), at(100));
    assert_eq!((look.act, look.verified, look.progress.ended), (Act::RestoreSurge, None, None));
}
