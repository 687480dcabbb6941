//! What keeps a hold, and what ends it.

use super::{Stage, application, argo, flux, held_application, hold, kustomization, reasons, tended};
use crate::support::*;
use snapback_core::gitops::{Application, HelmReleaseLook, Hold, HoldAct, Look, Scene, ToolKind, Trial, tend};
use snapback_core::notice::Reason;
use snapback_core::workload::Kind;

#[test]
fn a_hold_that_is_seen_is_placed_and_told_once() {
    let stage = Stage::live("v1");
    let asked = Hold { placed: None, ..hold(ToolKind::Kustomization) };
    let seen = tend(&asked, &Look::Kustomization(kustomization("v2")), &stage.scene(), at(5));
    assert_eq!((seen.hold.placed, reasons(&seen.notices)), (Some(at(5)), vec![Reason::HoldPlaced]));
    assert!(seen.notices[0].message.contains("v2"), "{}", seen.notices[0].message);
    assert!(flux(kustomization("v2"), &stage.scene()).notices.is_empty());
}

#[test]
fn one_that_never_was_ends_without_a_word() {
    let stage = Stage::live("v3");
    let asked = Hold { placed: None, ..hold(ToolKind::Kustomization) };
    let scene = Scene { is_labelled: false, ..stage.scene() };
    let over = tend(&asked, &Look::Kustomization(kustomization("v2")), &scene, at(5));
    assert_eq!((over.hold.ended, over.notices, over.act), (Some(at(5)), vec![], HoldAct::Nothing));
    let waits = Scene { is_over: false, ..scene };
    assert!(tend(&asked, &Look::Kustomization(kustomization("v2")), &waits, at(5)).hold.is_open());
}

#[test]
fn who_takes_it_off_by_hand_ends_it() {
    let stage = Stage::live("v1");
    let scene = Scene { is_labelled: false, ..stage.scene() };
    let over = flux(kustomization("v2"), &scene);
    assert_eq!((over.hold.ended, reasons(&over.notices)), (Some(at(100)), vec![Reason::HoldEnded]));
    let over = argo(application("v2"), &stage.scene());
    assert_eq!(over.hold.ended, Some(at(100)));
    let healed = argo(Application { heals: true, ..held_application("v2") }, &stage.scene());
    assert_eq!(healed.act, HoldAct::Heal, "only our note is left to take off");
}

/// An ApplicationSet, or whoever writes an Application anew, takes our note off and may leave self-heal off.
#[test]
fn an_application_whose_note_was_taken_off_alone_is_held_on_and_heals_in_the_end() {
    let stage = Stage::live("v1");
    let forgotten = |revision: &str| Application { held_by: vec![], ..held_application(revision) };
    let kept = argo(forgotten("v2"), &stage.scene());
    assert_eq!((kept.act, kept.hold.is_open()), (HoldAct::Nothing, true));
    assert_eq!(argo(forgotten("v3"), &stage.scene()).act, HoldAct::Heal);
    // Before the note was seen it may be a person's own switch.
    let asked = Hold { placed: None, ..hold(ToolKind::Application) };
    let seen = tend(&asked, &Look::Application(forgotten("v2")), &stage.scene(), at(5));
    assert_eq!((seen.hold.placed, seen.hold.is_open()), (None, false));
    let by_others = Application { held_by: vec!["shop/two".into()], ..forgotten("v2") };
    assert!(!argo(by_others, &stage.scene()).hold.is_open(), "it is theirs to switch on");
    let manual = Application { is_off: false, ..forgotten("v2") };
    assert!(!argo(manual, &stage.scene()).hold.is_open(), "somebody wants no automatic sync at all");
}

#[test]
fn while_the_source_says_the_bad_revision_it_is_kept() {
    let stage = Stage::live("v1");
    assert_eq!(flux(kustomization("v2"), &stage.scene()).act, HoldAct::Nothing);
    assert_eq!(argo(held_application("v2"), &stage.scene()).act, HoldAct::Nothing);
    assert_eq!(argo(Application { synced: false, ..held_application("v3") }, &stage.scene()).act, HoldAct::Nothing);
    for look in [Look::Unknown("no answer".into()), Look::Forbidden("no".into())] {
        assert_eq!(tended(ToolKind::Application, look, &stage.scene()).act, HoldAct::Nothing);
    }
}

#[test]
fn an_application_heals_again_when_it_has_synced_a_newer_commit() {
    let stage = Stage::live("v3");
    let over = argo(held_application("v3"), &stage.scene());
    assert_eq!((over.act, over.hold.ended), (HoldAct::Heal, None), "its end is noted when it is seen");
    assert!(over.hold.because.unwrap().contains("v3"));
}

#[test]
fn a_newer_commit_that_still_says_the_bad_revision_ends_nothing() {
    let stage = Stage::live("v2");
    assert_eq!(argo(held_application("v3"), &stage.scene()).act, HoldAct::Nothing);
    assert_eq!(flux(kustomization("v3"), &stage.scene()).act, HoldAct::Nothing);
}

#[test]
fn what_nobody_wants_any_more_ends() {
    let stage = Stage::live("v1");
    let scene = Scene { unwanted: Some("a person released the revision".into()), ..stage.scene() };
    assert_eq!(flux(kustomization("v2"), &scene).act, HoldAct::Unlabel);
    assert_eq!(argo(held_application("v2"), &scene).act, HoldAct::Heal);
    let release =
        HelmReleaseLook { corrects: true, release: Some("v2".into()), remote: false, ..HelmReleaseLook::default() };
    assert_eq!(tended(ToolKind::HelmRelease, Look::HelmRelease(release), &scene).act, HoldAct::Unlabel);
    let trial = Scene { trial: Some(Trial::Paused), is_labelled: false, ..scene };
    assert_eq!(flux(kustomization("v2"), &trial).act, HoldAct::Let);
}

#[test]
fn a_deleted_tool_or_workload_is_held_no_more() {
    let stage = Stage::live("v1");
    assert_eq!(tended(ToolKind::Kustomization, Look::Absent, &stage.scene()).act, HoldAct::Unlabel);
    assert_eq!(tended(ToolKind::Application, Look::Absent, &stage.scene()).hold.ended, Some(at(100)));
    let gone = Scene { live: None, is_labelled: false, ..stage.scene() };
    assert_eq!(flux(kustomization("v2"), &gone).hold.ended, Some(at(100)));
    assert_eq!(argo(held_application("v2"), &gone).act, HoldAct::Heal);
}

#[test]
fn a_record_is_not_kept_for_a_hold_that_nobody_here_may_end() {
    let stage = Stage::live("v1");
    let look = || Look::Forbidden("gitops.argocd.enabled is off".into());
    let scene = Scene { unwanted: Some("its Rollback is being deleted".into()), ..stage.scene() };
    let kept = tended(ToolKind::Application, look(), &scene);
    assert!(kept.hold.is_open(), "it may be let again");
    let deleted = Scene { is_deleted: true, ..scene };
    let gone = tended(ToolKind::Application, look(), &deleted);
    assert_eq!((gone.hold.ended, reasons(&gone.notices)), (Some(at(100)), vec![Reason::HoldRefused]));
    assert!(gone.notices[0].message.contains("gitops.argocd.enabled"), "{}", gone.notices[0].message);
    let unclear = tended(ToolKind::Application, Look::Unknown("no answer".into()), &deleted);
    assert!(unclear.hold.is_open(), "it answers another time");
    let label = tended(ToolKind::Kustomization, look(), &deleted);
    assert_eq!(label.act, HoldAct::Unlabel, "what is on the workload can be taken off");
}

#[test]
fn a_hold_that_has_ended_is_left_alone() {
    let stage = Stage::live("v1");
    let over = Hold { ended: Some(at(50)), ..hold(ToolKind::Kustomization) };
    let left = tend(&over, &Look::Kustomization(kustomization("v3")), &stage.scene(), at(100));
    assert_eq!((left.act, left.next_look, left.hold), (HoldAct::Nothing, None, over));
}

#[test]
fn a_person_is_told_how_to_end_one_by_hand() {
    let target = (Kind::Deployment, "shop", "checkout");
    assert_eq!(
        hold(ToolKind::Kustomization).ended_by_hand(target, "argocd"),
        "kubectl -n shop label deployment checkout kustomize.toolkit.fluxcd.io/reconcile-"
    );
    assert_eq!(
        hold(ToolKind::Application).ended_by_hand(target, "argocd"),
        "kubectl -n flux patch applications.argoproj.io apps --type=merge -p \
         '{\"metadata\":{\"annotations\":{\"snapback.dev/held-by\":null}},\
         \"spec\":{\"syncPolicy\":{\"automated\":{\"selfHeal\":true}}}}'"
    );
}
