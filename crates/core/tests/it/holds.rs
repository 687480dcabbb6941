//! Every way in which a hold begins, is kept, and ends.
#![allow(clippy::needless_pass_by_value, reason = "tests")]

use crate::support::*;
use jiff::SignedDuration;
use proptest::prelude::*;
use snapback_core::fingerprint::Fingerprint;
use snapback_core::gitops::{
    Application, Claim, Deliverer, Delivery, HelmReleaseLook, Hold, HoldAct, Kustomization, Look, Mark, Plan, Scene,
    Tended, Tool, ToolKind, Trial, begin, leads, plan, tend,
};
use snapback_core::notice::{Notice, Reason};
use snapback_core::rollback::{Act, JobRun, Phase, Progress, Step, step};
use snapback_core::workload::Kind;

fn tool(kind: ToolKind) -> Tool {
    Tool { kind, namespace: Some("flux".into()), name: "apps".into() }
}

fn kustomization(revision: &str) -> Kustomization {
    Kustomization {
        delivers: true,
        attempted: Some(revision.into()),
        applied: Some(revision.into()),
        digest: Some(format!("digest of {revision}")),
        ready: true,
        ..Kustomization::default()
    }
}

fn application(revision: &str) -> Application {
    Application {
        heals: true,
        settled: true,
        synced: true,
        compared: Some(revision.into()),
        applied: Some(revision.into()),
        delivers: true,
        ..Application::default()
    }
}

fn held_application(revision: &str) -> Application {
    Application { heals: false, held_by: vec!["shop/one".into()], ..application(revision) }
}

fn planned(kind: ToolKind, look: &Look) -> Plan {
    plan(&[Deliverer::Tool(tool(kind))], Some(look))
}

/// The step that would undo, with its hold.
fn first(plan: &Plan, progress: &Progress, second: i64) -> Step {
    let next = step(&order(), progress, Some(&complete_v2()), None, at(second));
    begin(&order(), progress, next, plan, at(second))
}

fn reasons(notices: &[snapback_core::notice::Notice]) -> Vec<Reason> {
    notices.iter().map(|notice| notice.reason).collect()
}

// What is held, and how.

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

// What is done about one that is there.

fn hold(kind: ToolKind) -> Hold {
    Hold {
        tool: tool(kind),
        requested: at(1),
        placed: Some(at(2)),
        mark: Mark { revision: Some("v2".into()), digest: Some("digest of v2".into()) },
        tried: None,
        because: None,
        ended: None,
    }
}

struct Stage {
    bad: Vec<Fingerprint>,
    good: Fingerprint,
    live: Fingerprint,
}

impl Stage {
    fn live(name: &str) -> Self {
        Self { bad: vec![version("v2")], good: version("v1"), live: version(name) }
    }

    fn scene(&self) -> Scene<'_> {
        Scene {
            bad: &self.bad,
            good: &self.good,
            live: Some(&self.live),
            trial: None,
            is_labelled: true,
            record: "shop/one",
            unwanted: None,
            is_back: true,
            is_over: true,
            is_deleted: false,
            leads: true,
        }
    }
}

fn tended(kind: ToolKind, look: Look, scene: &Scene) -> Tended {
    tend(&hold(kind), &look, scene, at(100))
}

fn flux(look: Kustomization, scene: &Scene) -> Tended {
    tended(ToolKind::Kustomization, Look::Kustomization(look), scene)
}

fn argo(look: Application, scene: &Scene) -> Tended {
    tended(ToolKind::Application, Look::Application(look), scene)
}

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

// Several records of one workload.

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

// Whatever comes in whatever order.

/// What a tool may be found as, in the order of a look each second.
#[test]
fn a_helm_release_that_corrects_drift_is_held_by_its_label() {
    let corrects = HelmReleaseLook { corrects: true, release: Some("v2".into()), ..HelmReleaseLook::default() };
    assert!(matches!(planned(ToolKind::HelmRelease, &Look::HelmRelease(corrects)), Plan::Label(..)));
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
            Look::Application(Application { heals, settled, synced, delivers, held_by, ..application(revision) })
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
