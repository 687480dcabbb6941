//! A HelmRelease is held by a label, until its next release.

use super::{Stage, hold, planned, tended};
use crate::support::*;
use jiff::SignedDuration;
use snapback_core::gitops::{HelmReleaseLook, HoldAct, Look, Plan, ToolKind, tend};

#[test]
fn a_helm_release_is_held_until_its_next_release() {
    let stage = Stage::live("v1");
    let release = |version: &str| {
        let look = HelmReleaseLook {
            corrects: true,
            release: Some(version.into()),
            remote: false,
            ..HelmReleaseLook::default()
        };
        tended(ToolKind::HelmRelease, Look::HelmRelease(look), &stage.scene())
    };
    assert_eq!(release("v2").act, HoldAct::Nothing);
    assert_eq!(release("v3").act, HoldAct::Unlabel);
}

/// An upgrade that waits for its pods becomes a release because it was undone.
#[test]
fn a_helm_release_that_was_begun_before_the_undo_is_what_was_undone() {
    let requested = hold(ToolKind::HelmRelease).requested;
    let look = |late: SignedDuration| HelmReleaseLook {
        corrects: true,
        release: Some("v3".into()),
        begun: Some(requested + late),
        ..HelmReleaseLook::default()
    };
    let begun = |late, stage: &Stage| tended(ToolKind::HelmRelease, Look::HelmRelease(look(late)), &stage.scene());
    let (then, later) = (SignedDuration::ZERO, SignedDuration::from_secs(1));
    assert_eq!(begun(later, &Stage::live("v1")).act, HoldAct::Unlabel, "a newer one, of the same template");
    assert_eq!(begun(then, &Stage::live("v3")).act, HoldAct::Unlabel, "it brought something else");
    let noted = begun(then, &Stage::live("v1"));
    assert_eq!((noted.act, noted.hold.mark.revision.as_deref()), (HoldAct::Nothing, Some("v3")));
    // By hand, or by an upgrade that still waits: what it has released is the bad one, which it would put back.
    let other = Stage::live("v9");
    let kept = tend(&noted.hold, &Look::HelmRelease(look(then)), &other.scene(), at(100));
    assert_eq!((kept.act, kept.hold), (HoldAct::Nothing, noted.hold));
}

#[test]
fn a_helm_release_that_brings_a_bad_revision_again_is_left_to_the_record_that_undoes_it() {
    let stage = Stage::live("v2");
    let look =
        HelmReleaseLook { corrects: true, release: Some("v3".into()), remote: false, ..HelmReleaseLook::default() };
    assert_eq!(tended(ToolKind::HelmRelease, Look::HelmRelease(look), &stage.scene()).act, HoldAct::Nothing);
}

/// What a tool may be found as, in the order of a look each second.
#[test]
fn a_helm_release_that_corrects_drift_is_held_by_its_label() {
    let corrects = HelmReleaseLook { corrects: true, release: Some("v2".into()), ..HelmReleaseLook::default() };
    assert!(matches!(planned(ToolKind::HelmRelease, &Look::HelmRelease(corrects)), Plan::Label(..)));
}
