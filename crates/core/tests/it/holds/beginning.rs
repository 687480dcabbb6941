//! What is held, how, and what is noted of it before the undo.

use super::{Stage, application, first, held_application, hold, kustomization, planned, reasons, tool};
use crate::support::*;
use jiff::SignedDuration;
use snapback_core::gitops::{
    Application, Deliverer, Delivery, HelmReleaseLook, Hold, Kustomization, Look, Mark, Plan, Scene, Tool, ToolKind,
    begin, plan, tend,
};
use snapback_core::notice::{Notice, Reason};
use snapback_core::rollback::{Act, JobRun, Phase, Progress, step};

#[test]
fn a_kustomization_is_held_by_a_label_in_the_undos_own_patch() {
    let plan = planned(ToolKind::Kustomization, &Look::Kustomization(kustomization("v2")));
    assert!(matches!(plan, Plan::Label(..)));
    let next = first(&plan, &Progress::default(), 1);
    assert_eq!(next.act, Act::Undo);
    let hold = next.progress.hold.unwrap();
    assert_eq!((hold.mark.revision.as_deref(), hold.placed), (Some("v2"), None));
    assert_eq!(hold.label(), Some("kustomize.toolkit.fluxcd.io/reconcile"));
}

#[test]
fn a_kustomization_at_work_is_let_finish_and_not_for_long() {
    let look = Look::Kustomization(Kustomization { busy: true, applies: true, ..kustomization("v2") });
    let plan = planned(ToolKind::Kustomization, &look);
    let at_work = |after: i64| {
        let now = order().decided + SignedDuration::from_secs(after);
        let next = step(&order(), &Progress::default(), Some(&complete_v2()), None, now);
        begin(&order(), &Progress::default(), next, &plan, now)
    };
    let waits = at_work(10);
    assert_eq!(
        (waits.act, waits.reason, waits.progress.hold),
        (Act::Nothing, "Holding", None),
        "it would write v2 again"
    );
    let late = at_work(11);
    assert_eq!((late.act, late.progress.hold.unwrap().is_open()), (Act::Undo, true));
    let checks_health = Look::Kustomization(Kustomization { busy: true, ..kustomization("v2") });
    assert!(
        matches!(planned(ToolKind::Kustomization, &checks_health), Plan::Label(..)),
        "what it waits for may never come"
    );
}

#[test]
fn an_application_is_held_before_the_undo() {
    let plan = planned(ToolKind::Application, &Look::Application(application("b4d")));
    let next = first(&plan, &Progress::default(), 1);
    assert_eq!((next.act, next.reason), (Act::Hold, "Holding"));
    assert_eq!(next.progress.undo_requested, None, "nothing of the undo is noted before its turn");
    let asked = next.progress;
    assert_eq!(first(&Plan::Nothing, &asked, 2).act, Act::Hold, "not seen yet: tried again");
    let placed = Progress { hold: asked.hold.map(|hold| hold.placed(at(3))), ..asked };
    let next = first(&Plan::Nothing, &placed, 3);
    assert_eq!((next.act, next.progress.hold), (Act::Undo, placed.hold));
}

#[test]
fn a_hold_that_never_gets_a_clear_answer_does_not_keep_a_bad_release() {
    let plan = planned(ToolKind::Application, &Look::Application(application("b4d")));
    let mut asked = first(&plan, &Progress::default(), 1).progress;
    asked.hold = asked.hold.map(|hold| hold.unanswered("no answer".into()));
    assert_eq!(first(&Plan::Nothing, &asked, 31).act, Act::Hold);
    let next = first(&Plan::Nothing, &asked, 32);
    assert_eq!((next.act, reasons(&next.notices)), (Act::Undo, vec![Reason::HoldRefused]));
    assert!(next.progress.hold.unwrap().is_open(), "it may be in place, and is to be ended then");
    asked.hold = asked.hold.map(|hold| Hold { because: None, ..hold });
    let told = first(&Plan::Nothing, &asked, 32).notices.swap_remove(0).message;
    assert!(told.contains("a sync of it is under way") && told.contains("spec.syncPolicy.retry.limit to 0"), "{told}");
}

#[test]
fn an_application_whose_controller_has_not_looked_yet_is_not_held_yet() {
    let stage = Stage::live("v2");
    let asked = Hold { placed: None, ..hold(ToolKind::Application) };
    let busy = Application { settled: false, ..held_application("v2") };
    let scene = Scene { is_over: false, is_back: false, ..stage.scene() };
    assert_eq!(tend(&asked, &Look::Application(busy.clone()), &scene, at(5)).hold.placed, None);
    assert_eq!(tend(&asked, &Look::Application(held_application("v2")), &scene, at(5)).hold.placed, Some(at(5)));
    // Once the record is over it is there to be ended.
    assert_eq!(tend(&asked, &Look::Application(busy), &stage.scene(), at(5)).hold.placed, Some(at(5)));
}

#[test]
fn a_tool_that_cannot_be_read_is_waited_for_and_not_for_long() {
    let plan = planned(ToolKind::Kustomization, &Look::Unknown("no answer".into()));
    let decided = order().decided;
    let soon = decided + SignedDuration::from_secs(30);
    let next = step(&order(), &Progress::default(), Some(&complete_v2()), None, soon);
    let waits = begin(&order(), &Progress::default(), next.clone(), &plan, soon);
    assert_eq!((waits.act, waits.reason, waits.progress.hold), (Act::Nothing, "Holding", None));
    let late = begin(&order(), &Progress::default(), next, &plan, soon + SignedDuration::from_secs(1));
    assert_eq!((late.act, reasons(&late.notices)), (Act::Undo, vec![Reason::HoldRefused]));
}

#[test]
fn what_cannot_be_held_is_told_and_the_undo_goes_on() {
    let kept = Application { parent: Some("ApplicationSet stores".into()), ..application("b4d") };
    let below = Application { parent: Some("Application root".into()), ..application("b4d") };
    for (kind, look, why) in [
        (ToolKind::Kustomization, Look::Absent, "not in this cluster"),
        (ToolKind::Kustomization, Look::Forbidden("gitops.flux.enabled is off".into()), "gitops.flux.enabled"),
        (
            ToolKind::Kustomization,
            Look::Kustomization(Kustomization { remote: true, ..kustomization("v2") }),
            "cluster",
        ),
        (
            ToolKind::Kustomization,
            Look::Kustomization(Kustomization { delivers: false, ..kustomization("v2") }),
            "does not say",
        ),
        (
            ToolKind::Application,
            Look::Application(Application { delivers: false, ..application("b4d") }),
            "does not say",
        ),
        (ToolKind::Application, Look::Application(kept), "ApplicationSet stores"),
        (ToolKind::Application, Look::Application(below), "RespectIgnoreDifferences=true"),
        (
            ToolKind::HelmRelease,
            Look::HelmRelease(HelmReleaseLook {
                remote: true,
                corrects: true,
                release: Some("v2".into()),
                ..HelmReleaseLook::default()
            }),
            "cluster",
        ),
    ] {
        let next = first(&planned(kind, &look), &Progress::default(), 1);
        assert_eq!((next.act, reasons(&next.notices)), (Act::Undo, vec![Reason::HoldRefused]), "{look:?}");
        let hold = next.progress.hold.unwrap();
        assert!(hold.was_refused() && hold.because.as_ref().unwrap().contains(why), "{hold:?}");
    }
}

#[test]
fn where_nothing_comes_back_by_itself_nothing_is_held() {
    let drifts = HelmReleaseLook { release: Some("v2".into()), ..HelmReleaseLook::default() };
    for (kind, look) in [
        (ToolKind::Application, Look::Application(Application { heals: false, ..application("b4d") })),
        (ToolKind::HelmRelease, Look::HelmRelease(drifts)),
        // A label that Helm charts write as well.
        (ToolKind::PossibleApplication, Look::Absent),
        (ToolKind::PossibleApplication, Look::Forbidden("off".into())),
        (ToolKind::PossibleApplication, Look::Application(Application { delivers: false, ..application("b4d") })),
    ] {
        assert_eq!(planned(kind, &look), Plan::Nothing, "{kind:?} {look:?}");
    }
    assert_eq!(plan(&[], None), Plan::Nothing);
}

#[test]
fn an_application_that_a_record_holds_already_is_held_by_the_next_too() {
    let plan = planned(ToolKind::Application, &Look::Application(held_application("b4d")));
    assert!(matches!(plan, Plan::Application(..)), "{plan:?}");
}

#[test]
fn an_application_that_tracks_by_label_is_one_when_it_says_so() {
    let plan = planned(ToolKind::PossibleApplication, &Look::Application(application("b4d")));
    assert!(matches!(&plan, Plan::Application(Tool { kind: ToolKind::Application, .. }, _)), "{plan:?}");
}

#[test]
fn who_delivers_is_told_and_a_mere_possibility_is_not() {
    let by = |kind| Delivery { by: vec![Deliverer::Tool(tool(kind))], ..Delivery::default() };
    assert_eq!(by(ToolKind::Kustomization).told().as_deref(), Some("Flux Kustomization flux/apps"));
    assert_eq!(by(ToolKind::PossibleApplication).told(), None);
}

#[test]
fn a_hold_says_nothing_of_the_phase() {
    let plan = planned(ToolKind::Application, &Look::Application(application("b4d")));
    let next = first(&plan, &Progress::default(), 1);
    assert_eq!(next.progress.phase, Some(Phase::Running));
}

/// A person has just approved, the data is taken back, and Helm's own record will be wrong: of that only what is true before
/// the undo is noted while its tool is being held.
#[test]
fn what_goes_before_a_hold_is_noted_and_what_comes_after_it_is_not() {
    let plan = planned(ToolKind::Application, &Look::Application(application("b4d")));
    let taken_back = JobRun {
        job: "down".into(),
        requested: at(1),
        created: Some(at(1)),
        refused: None,
        ended: Some(at(2)),
        failure: None,
    };
    let mut next = step(&order(), &Progress::default(), Some(&complete_v2()), None, at(3));
    next.progress.approved = Some(at(3));
    next.progress.migration = Some(taken_back.clone());
    next.residue = Some("what Helm keeps".into());
    next.notices.push(Notice::new(Reason::RollbackStarted, "it begins"));
    let waits = begin(&order(), &Progress::default(), next, &plan, at(3));
    assert_eq!((waits.progress.approved, waits.progress.migration), (Some(at(3)), Some(taken_back)));
    assert_eq!((waits.residue, waits.notices, waits.next_look), (None, Vec::new(), Some(SignedDuration::from_secs(1))));
    let told = "Argo CD Application flux/apps is being held, so that it does not bring web:v2 (v2) back";
    assert_eq!(waits.message, told);
}

#[test]
fn a_hold_remembers_why_it_was_not_let_in() {
    let asked = || Hold { placed: None, because: None, ..hold(ToolKind::Application) };
    let refused = asked().refused("forbidden".into(), at(5));
    assert_eq!(
        (refused.because.as_deref(), refused.ended, refused.was_refused()),
        (Some("forbidden"), Some(at(5)), true)
    );
    let unanswered = asked().unanswered("no answer".into());
    assert_eq!(
        (unanswered.because.as_deref(), unanswered.was_refused()),
        (Some("no answer"), false),
        "it may be in place"
    );
    let placed = Hold { ended: Some(at(9)), ..hold(ToolKind::Application) };
    assert!(!placed.was_refused(), "it was there");
}

#[test]
fn a_commit_is_told_by_its_first_digits() {
    let told = |revision: &str| {
        let mark = Mark { revision: Some(revision.into()), digest: None };
        Hold { mark, ..hold(ToolKind::Kustomization) }.told()
    };
    let hash = "0123456789abcdef0123456789abcdef01234567";
    assert!(told(&format!("main@sha1:{hash}")).ends_with("newer than main@sha1:0123456789"));
    assert!(told(hash).ends_with("newer than 0123456789"));
    assert!(told("release-0123456789-0123456789-x").ends_with("newer than release-0123456789-0123456789-x"));
    assert!(told("0123456789abcde").ends_with("newer than 0123456789abcde"), "too short for a hash");
}
