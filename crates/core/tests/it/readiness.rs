//! The checklist, item by item: what is told, and what is not.
#![allow(clippy::unwrap_used, reason = "tests")]

use crate::support::*;
use jiff::SignedDuration;
use snapback_core::checks::{CheckResult, Verdict, Why};
use snapback_core::policy::{OnNoData, Policy, Severity};
use snapback_core::readiness::{Data, Readiness, data, history_is_too_short, known_good_fails};
use snapback_core::rollback::Verification;
use snapback_core::sample::Missing;
use snapback_core::watch::{RevisionRef, Rollout};
use snapback_core::workload::{Kind, Workload};

/// Rolled out since second 10, complete since second 20; half of its soak is over at second 50.
fn rollout() -> Rollout {
    Rollout { started: at(10), completed: Some(at(20)), returned: None, freeze: None }
}

fn missing(missing: Missing) -> CheckResult {
    CheckResult { covered: SignedDuration::ZERO, ..errors(Verdict::NoData, Why::Missing(missing)) }
}

fn heard(check: CheckResult, second: i64) -> Data {
    data(&policy(), Some(&rollout()), &[passing(), check], at(second))
}

fn told(data: Data) -> String {
    data.obstacle(None).unwrap().message
}

#[test]
fn what_somebody_has_to_mend_is_told_at_once() {
    let many = missing(Missing::ManySeries(3));
    let bad = missing(Missing::BadQuery("no".into()));
    let unknown = missing(Missing::UnknownSource("no".into()));
    let bucket = errors(Verdict::Inconclusive, Why::NoBucketAbove);
    for check in [many, bad, unknown, bucket] {
        let early = Rollout { completed: None, ..rollout() };
        let heard = data(&policy(), Some(&early), &[passing(), check.clone()], at(15));
        let found = heard.obstacle(None).unwrap();
        assert_eq!((found.ready, found.reason), (false, "ChecksHaveNoData"));
        assert!(found.message.contains(&format!("errors: told ({})", check.why.reason())), "{}", found.message);
    }
}

#[test]
fn what_may_pass_by_itself_is_told_when_the_soak_can_no_longer_end_in_time() {
    let down = Missing::Unavailable("down".into());
    for cause in [down, Missing::Empty, Missing::NotANumber, Missing::Partial("half".into())] {
        assert_eq!(heard(missing(cause.clone()), 49), Data::Unknown, "new pods are scraped only after a while");
        assert!(told(heard(missing(cause.clone()), 50)).contains("errors: told"));
        let never_complete = Rollout { completed: None, ..rollout() };
        assert_eq!(data(&policy(), Some(&never_complete), &[missing(cause)], at(500)), Data::Unknown);
    }
}

#[test]
fn a_lack_of_requests_is_no_fault_of_the_query() {
    for why in [Why::NoRequests, Why::TooFewRequests, Why::NoBaseline, Why::NoPods] {
        assert_eq!(heard(errors(Verdict::NoData, why), 500), Data::Fine);
    }
}

#[test]
fn a_warning_or_an_author_who_does_not_mind_is_not_spoken_of() {
    let warning = CheckResult { severity: Severity::Warning, ..missing(Missing::Empty) };
    assert_eq!(heard(warning, 500), Data::Fine);
    let pass = Policy { on_no_data: OnNoData::Pass, ..policy() };
    let silent = data(&pass, Some(&rollout()), &[missing(Missing::Empty)], at(500));
    assert_eq!(silent, Data::Fine);
    assert_eq!(silent.obstacle(Some((Data::REASON, "told before"))), None);
}

#[test]
fn what_was_found_stays_until_somebody_can_tell_better() {
    let before = Some((Data::REASON, "told before"));
    let at_rest = data(&policy(), None, &[], at(500));
    let too_early = heard(missing(Missing::Empty), 30);
    for unknown in [at_rest, too_early] {
        assert_eq!(unknown.clone().obstacle(before).unwrap().message, "told before");
        assert_eq!(unknown.clone().obstacle(Some(("ReferenceMissing", "another"))), None);
        assert_eq!(unknown.obstacle(None), None);
    }
    assert_eq!(data(&policy(), Some(&rollout()), &[passing()], at(30)).obstacle(before), None, "there is data");
}

#[test]
fn a_template_that_only_a_doomed_object_holds_is_told_with_the_two_ways_out() {
    let short = Workload { revision_history_limit: 0, ..complete_v1() };
    let found = history_is_too_short(&reference("v1"), &short, Some("forbidden")).unwrap();
    assert_eq!((found.ready, found.reason), (false, "HistoryTooShort"));
    for part in
        ["revisionHistoryLimit: 0", "at least 1", "(forbidden)", "create ControllerRevisions", "its ReplicaSet only"]
    {
        assert!(found.message.contains(part), "{part:?} is not in {:?}", found.message);
    }
    let kept = RevisionRef { snapshot: "copy".into(), ..reference("v1") };
    assert_eq!(history_is_too_short(&kept, &short, None), None, "a copy is enough");
    let one = Workload { revision_history_limit: 1, ..short };
    assert_eq!(history_is_too_short(&reference("v1"), &one, None), None, "the next release leaves it there");
    let set = Workload { kind: Kind::StatefulSet, revision_history_limit: 0, ..one };
    assert!(
        history_is_too_short(&reference("v1"), &set, None).unwrap().message.contains("its ControllerRevision only")
    );
}

#[test]
fn releases_that_came_since_count_against_the_history() {
    let third = workload("v3", vec![revision("v1", 1, 0, 0), revision("v2", 2, 0, 0), revision("v3", 3, 3, 3)]);
    let with = |limit| Workload { revision_history_limit: limit, ..third.clone() };
    let short = history_is_too_short(&reference("v1"), &with(2), None).unwrap();
    assert!(short.message.contains("at least 3"), "{}", short.message);
    assert_eq!(history_is_too_short(&reference("v1"), &with(3), None), None);
    // It is gone already: that has a word of its own.
    assert_eq!(history_is_too_short(&reference("v0"), &with(0), None), None);
}

#[test]
fn the_live_revision_is_not_asked_whether_it_fails() {
    let mut live = complete_v1();
    live.pods = vec![crashing("v1", 0), crashing("v1", 1), crashing("v1", 2)];
    assert_eq!(known_good_fails(&reference("v1"), &live), None, "there is nothing that could be undone");
}

#[test]
fn of_many_failing_pods_the_first_are_named_and_no_count_that_rises() {
    let mut rolling = workload("v2", vec![revision("v1", 1, 5, 5), revision("v2", 2, 1, 0)]);
    rolling.pods = (0..5).rev().map(|index| crashing("v1", index)).collect();
    let message = known_good_fails(&reference("v1"), &rolling).unwrap().message;
    let named =
        "5 of its 5 pods, web-v1-abcd0 (CrashLoop), web-v1-abcd1 (CrashLoop), web-v1-abcd2 (CrashLoop), and 2 more.";
    assert!(message.contains(named), "{message}");
}

#[test]
fn a_probe_that_fails_is_told_with_what_it_would_lead_to() {
    let good = reference("v1");
    assert_eq!(Readiness::probed(&good, &Verification::Within), None);
    let outside = Readiness::probed(&good, &Verification::Outside("GET :80/ of pod a answered 404".into())).unwrap();
    assert_eq!((outside.ready, outside.reason), (false, "ProbeFails"));
    assert!(outside.message.contains("answered 404") && outside.message.contains("had not helped"), "{outside:?}");
    let silent = Readiness::probed(&good, &Verification::Unknown("cannot be reached".into())).unwrap();
    assert!(silent.message.contains("no undo could be seen to have helped"), "{silent:?}");
}

#[test]
fn a_configuration_that_cannot_be_kept_is_told_by_whether_it_may_be_later() {
    let good = reference("v1");
    let lost = ["ConfigMap web".to_owned()];
    let kept = Readiness::configuration_is_not_kept(&good, Some("forbidden"), &[]);
    assert_eq!(kept.reason, "ConfigNotKept");
    assert!(kept.message.contains("forbidden") && !kept.message.contains("changed before"), "{kept:?}");
    let both = Readiness::configuration_is_not_kept(&good, Some("forbidden"), &lost);
    assert_eq!(both.reason, "ConfigNotKept");
    assert!(both.message.contains("forbidden") && both.message.contains("ConfigMap web changed before"), "{both:?}");
    let gone = Readiness::configuration_is_not_kept(&good, None, &lost);
    assert_eq!(gone.reason, "ConfigLost");
    assert!(!Readiness::may_cease(gone.reason), "only a person brings it back");
}

#[test]
fn what_comes_after_an_undo_stays_said_while_nobody_can_look() {
    let failed = Readiness::probed(&reference("v1"), &Verification::Outside("404".into())).unwrap();
    let no_job = Readiness::no_helm_job("forbidden");
    for (said, is_of_a_probe) in [(failed, true), (no_job, false)] {
        assert_eq!(Readiness::still(said.reason, &said.message), Some(said.clone()));
        assert_eq!(said.is_of_a_probe(), is_of_a_probe);
        assert!(Readiness::may_cease(said.reason));
        assert_eq!(said.clone().obstacle(), Some(said));
    }
    assert_eq!(Readiness::still("ReferenceMissing", "gone"), None, "that is looked at each time");
}

#[test]
fn what_may_cease_by_itself_is_looked_at_again_and_the_rest_is_not() {
    for reason in ["ReferenceMissing", "KnownGoodFails", "ConfigNotKept", Data::REASON] {
        assert!(Readiness::may_cease(reason), "{reason}");
    }
    for reason in ["", "Ready", "ConfigLost"] {
        assert!(!Readiness::may_cease(reason), "{reason}");
    }
}

#[test]
fn what_is_open_is_no_obstacle() {
    let failed = Readiness::refused(&reference("v1"), "no");
    assert_eq!(Readiness { ready: true, ..failed }.obstacle(), None);
}

#[test]
fn a_restart_of_the_good_revision_counts_as_the_newest_of_its_own() {
    let again = snapback_core::workload::Revision { number: 3, ..revision("v1", 3, 0, 0) };
    let sets = vec![revision("v1", 1, 0, 0), revision("v2", 2, 0, 0), again, revision("v4", 4, 3, 3)];
    let with = |limit| Workload { revision_history_limit: limit, ..workload("v4", sets.clone()) };
    assert!(history_is_too_short(&reference("v1"), &with(1), None).unwrap().message.contains("at least 2"));
    assert_eq!(history_is_too_short(&reference("v1"), &with(2), None), None);
}

#[test]
fn three_failing_pods_are_all_named() {
    let mut rolling = workload("v2", vec![revision("v1", 1, 3, 3), revision("v2", 2, 1, 0)]);
    rolling.pods = (0..3).map(|index| crashing("v1", index)).collect();
    let message = known_good_fails(&reference("v1"), &rolling).unwrap().message;
    assert!(message.contains("web-v1-abcd2 (CrashLoop). Going back"), "{message}");
}
