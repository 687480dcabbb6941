//! Letting a tool at a workload that it is kept from, and several holds of one workload.

use super::{Stage, argo, flux, held_application, hold, kustomization, reasons, tended};
use crate::support::*;
use snapback_core::gitops::{
    Claim, HelmReleaseLook, Hold, HoldAct, Kustomization, Look, Mark, Scene, Tended, ToolKind, Trial, leads, tend,
};
use snapback_core::notice::Reason;

#[test]
fn a_kustomization_that_has_moved_on_is_tried() {
    let stage = Stage::live("v1");
    let begun = flux(kustomization("v3"), &stage.scene());
    assert_eq!((begun.act, begun.hold.tried), (HoldAct::Try, Some(at(100))));
    assert_eq!(begun.hold.mark.revision.as_deref(), Some("v2"), "who dies now must try again");
    let early = Scene { is_back: false, is_over: false, ..stage.scene() };
    assert_eq!(flux(kustomization("v3"), &early).act, HoldAct::Nothing, "the good one is not back yet");
    let other = Stage::live("v9");
    assert_eq!(flux(kustomization("v3"), &other.scene()).act, HoldAct::Unlabel, "nothing of ours to put away again");
}

fn on_trial(live: &str, look: Kustomization, second: i64) -> Tended {
    let stage = Stage::live(live);
    let scene = Scene { trial: Some(Trial::Paused), is_labelled: false, ..stage.scene() };
    let tried = Hold { tried: Some(at(100)), ..hold(ToolKind::Kustomization) };
    tend(&tried, &Look::Kustomization(look), &scene, at(second))
}

#[test]
fn a_trial_that_brings_something_new_lets_it_roll_out() {
    let over = on_trial("v3", kustomization("v3"), 101);
    assert_eq!(over.act, HoldAct::Let);
    assert!(over.hold.because.unwrap().contains("v3"));
}

#[test]
fn a_trial_that_brings_the_bad_revision_puts_it_away_again() {
    let over = on_trial("v2", kustomization("v3"), 101);
    assert_eq!((over.act, reasons(&over.notices)), (HoldAct::UndoAgain, vec![Reason::HoldKept]));
    assert!(over.hold.is_open());
    assert_eq!(over.hold.mark.revision.as_deref(), Some("v3"), "the next trial waits for the next commit");
}

#[test]
fn a_trial_waits_until_the_tool_says_what_it_has_brought() {
    // No pod of it starts meanwhile.
    let waiting = Kustomization { busy: true, ..kustomization("v3") };
    assert_eq!(on_trial("v2", waiting.clone(), 101).act, HoldAct::Nothing);
    assert_eq!(on_trial("v2", waiting.clone(), 220).act, HoldAct::Nothing);
    let over = on_trial("v2", waiting, 221);
    assert_eq!(over.act, HoldAct::UndoAgain);
    let mark = Mark { revision: Some("v3".into()), digest: None };
    assert_eq!(over.hold.mark, mark, "what it waits for is not tried again, and a newer commit is");
}

#[test]
fn a_trial_of_what_cannot_be_paused_waits_for_nothing() {
    let stage = Stage::live("v2");
    let scene = Scene { trial: Some(Trial::Open), is_labelled: false, ..stage.scene() };
    let tried = Hold { tried: Some(at(100)), ..hold(ToolKind::Kustomization) };
    let waiting = Kustomization { busy: true, ..kustomization("v3") };
    let over = tend(&tried, &Look::Kustomization(waiting), &scene, at(101));
    assert_eq!((over.act, over.hold.mark), (HoldAct::UndoAgain, Mark::default()));
}

#[test]
fn a_trial_that_brings_nothing_ends_when_the_tool_says_that_it_came() {
    let asked = at(100).to_string();
    let came = Kustomization { handled: Some(asked.clone()), ..kustomization("v3") };
    assert_eq!(on_trial("v1", kustomization("v3"), 101).act, HoldAct::Nothing);
    assert_eq!(on_trial("v1", Kustomization { ready: false, ..came.clone() }, 101).act, HoldAct::Nothing);
    assert_eq!(on_trial("v1", Kustomization { busy: true, ..came.clone() }, 101).act, HoldAct::Nothing);
    assert_eq!(on_trial("v1", came, 101).act, HoldAct::Let);
}

#[test]
fn a_trial_that_nobody_comes_to_ends_as_it_was() {
    assert_eq!(on_trial("v1", kustomization("v3"), 220).act, HoldAct::Nothing);
    let over = on_trial("v1", kustomization("v3"), 221);
    assert_eq!((over.act, over.hold.is_open()), (HoldAct::Relabel, true));
    let stage = Stage::live("v1");
    let again = |second| tend(&over.hold, &Look::Kustomization(kustomization("v3")), &stage.scene(), at(second)).act;
    assert_eq!((again(699), again(700)), (HoldAct::Nothing, HoldAct::Try), "the commit is not lost");
}

#[test]
fn a_trial_lets_no_revision_through_that_another_record_undid() {
    let stage = Stage { bad: vec![version("v2"), version("v9")], ..Stage::live("v9") };
    let scene = Scene { trial: Some(Trial::Paused), is_labelled: false, ..stage.scene() };
    let over = flux(kustomization("v3"), &scene);
    assert_eq!((over.act, reasons(&over.notices)), (HoldAct::UndoAgain, vec![Reason::HoldKept]));
    assert_eq!(flux(kustomization("v3"), &stage.scene()).act, HoldAct::Nothing, "another record's to undo");
    assert_eq!(argo(held_application("v3"), &stage.scene()).act, HoldAct::Nothing, "as that one");
}

#[test]
fn of_two_holds_by_one_label_one_lets_the_tool_at_the_workload() {
    let stage = Stage::live("v1");
    let scene = Scene { leads: false, ..stage.scene() };
    assert_eq!(flux(kustomization("v3"), &scene).act, HoldAct::Nothing);
    let release =
        HelmReleaseLook { corrects: true, release: Some("v3".into()), remote: false, ..HelmReleaseLook::default() };
    assert_eq!(tended(ToolKind::HelmRelease, Look::HelmRelease(release), &scene).act, HoldAct::Nothing);
    let late = Hold { tried: Some(at(100)), ..hold(ToolKind::Kustomization) };
    let trial = Scene { trial: Some(Trial::Paused), is_labelled: false, ..scene.clone() };
    let look = Look::Kustomization(kustomization("v3"));
    assert_eq!(tend(&late, &look, &trial, at(500)).act, HoldAct::Nothing, "not its trial to end");
    assert_eq!(argo(held_application("v3"), &scene).act, HoldAct::Heal, "Applications count who holds them");
    let unwanted = Scene { unwanted: Some("a person released the revision".into()), ..scene };
    assert_eq!(flux(kustomization("v2"), &unwanted).act, HoldAct::Unlabel);
}

#[test]
fn the_newest_hold_leads_and_who_began_a_trial_ends_it() {
    let claim = |record: &str, decided: i64, tried: Option<i64>| Claim {
        tried: tried.map(at),
        decided: at(decided),
        record: record.into(),
    };
    let (older, newer) = (claim("one", 1, Some(50)), claim("two", 20, None));
    let leader = |trial| {
        (leads(&older, std::slice::from_ref(&newer), trial), leads(&newer, std::slice::from_ref(&older), trial))
    };
    assert_eq!(leader(None), (false, true));
    assert_eq!(leader(Some(Trial::Open)), (true, false));
    let (one, two) = (claim("one", 1, None), claim("two", 1, None));
    assert_eq!(
        (leads(&one, std::slice::from_ref(&two), None), leads(&two, &[one], None)),
        (false, true),
        "one of them does"
    );
    assert!(leads(&two, &[], None));
}

#[test]
fn the_mark_of_a_trial_is_read_as_it_is_written() {
    for trial in [Trial::Paused, Trial::Open] {
        assert_eq!(Trial::read(trial.as_str()), trial);
    }
    assert_eq!(Trial::Paused.as_str(), "paused");
    assert_eq!(Trial::read("anything"), Trial::Open, "what nobody wrote says least");
}

#[test]
fn a_new_trial_forgets_why_the_last_one_ended() {
    let stage = Stage::live("v1");
    let before = Hold { because: Some("nobody came".into()), tried: Some(at(1)), ..hold(ToolKind::Kustomization) };
    let begun = tend(&before, &Look::Kustomization(kustomization("v3")), &stage.scene(), at(10_000));
    assert_eq!((begun.act, begun.hold.because), (HoldAct::Try, None));
    let trial = Stage::live("v2");
    let scene = Scene { trial: Some(Trial::Paused), is_labelled: false, ..trial.scene() };
    let again = tend(&before, &Look::Kustomization(kustomization("v3")), &scene, at(10));
    assert_eq!((again.act, again.hold.because), (HoldAct::UndoAgain, None));
}

#[test]
fn a_trial_of_a_kustomization_that_is_gone_ends() {
    let stage = Stage::live("v1");
    let scene = Scene { trial: Some(Trial::Paused), is_labelled: false, ..stage.scene() };
    let tried = Hold { tried: Some(at(100)), ..hold(ToolKind::Kustomization) };
    let over = tend(&tried, &Look::Absent, &scene, at(101));
    assert_eq!((over.act, over.hold.because.as_deref()), (HoldAct::Let, Some("the Kustomization is gone")));
}
