//! Cured or not.

use super::*;
use crate::support::*;
use snapback_core::checks::Measured;
use snapback_core::policy::Rule;
use snapback_core::rollback::{
    Act, Answer, Limit, Order, Phase, Probe, Progress, Reply, Scheme, Verification, asked, judge_answers, step, verify,
};
use snapback_core::sample::{Answer as Answered, Counts, Missing, PodSeries};
use snapback_core::workload::Workload;
use std::collections::BTreeMap;

#[test]
fn it_succeeds_when_the_limits_are_kept_for_the_whole_time_and_escalates_when_they_are_not() {
    let verifying = look(&undone(), &back(), 100).progress;
    let say_on = |progress: &Progress, verification: Verification, second| {
        step(&order(), progress, Some(&back()), Some(&verification), at(second))
    };
    let say = |verification, second| say_on(&verifying, verification, second);
    let bad = || Verification::Outside("errors".into());
    let clean = say(Verification::Within, 105).progress;
    assert_eq!(say_on(&clean, Verification::Within, 134).progress.phase, Some(Phase::Verifying));
    let cured = say_on(&clean, Verification::Within, 135);
    assert_eq!((cured.progress.phase, cured.verified), (Some(Phase::Succeeded), Some(true)));
    assert_eq!(cured.progress.recovered, Some(at(105)));
    // A relapse starts the time anew.
    let relapsed = say_on(&clean, bad(), 120).progress;
    let clean_again = say_on(&relapsed, Verification::Within, 125).progress;
    assert_eq!(say_on(&clean_again, Verification::Within, 154).progress.phase, Some(Phase::Verifying));
    assert_eq!(say_on(&clean_again, Verification::Within, 155).progress.phase, Some(Phase::Succeeded));
    assert_eq!(
        say(bad(), 130).progress.phase,
        Some(Phase::Verifying),
        "the last bad requests take a while to leave the windows"
    );
    let not_cured = say(bad(), 160);
    assert_eq!((not_cured.progress.phase, not_cured.reason), (Some(Phase::Escalated), "NotCured"));
    let unknown = say(Verification::Unknown("no data".into()), 160);
    assert_eq!(
        (unknown.progress.phase, unknown.verified, unknown.reason),
        (Some(Phase::Succeeded), None, "NotMeasured")
    );
}

#[test]
fn a_good_revision_that_crashes_now_is_no_cure() {
    let verifying = look(&undone(), &back(), 100).progress;
    let mut sick = back();
    sick.pods = vec![crashing("v1", 0), crashing("v1", 1), crashing("v1", 2)];
    let next = step(&order(), &verifying, Some(&sick), Some(&Verification::Within), at(160));
    assert_eq!((next.progress.phase, next.act), (Some(Phase::Escalated), Act::Nothing), "and there is no second undo");
}

fn probe() -> Probe {
    Probe { scheme: Scheme::Http, port: 8080, path: "/healthz".into() }
}

fn says(pod: &str, code: u16) -> Vec<Answer> {
    vec![Answer { pod: pod.into(), probe: probe(), reply: Reply::Code(code) }]
}

#[test]
fn probes_confirm_a_cure_refute_it_or_leave_it_open() {
    let order = Order { probes: vec![probe()], ..order() };
    let verifying = look(&undone(), &back(), 100).progress;
    let say =
        |answers: &[Answer], second| step(&order, &verifying, Some(&back()), Some(&judge_answers(answers)), at(second));
    let good = judge_answers(&says("web-v1-a", 200));
    let clean = step(&order, &verifying, Some(&back()), Some(&good), at(100)).progress;
    let cured = step(&order, &clean, Some(&back()), Some(&good), at(130));
    assert_eq!((cured.progress.phase, cured.reason, cured.verified), (Some(Phase::Succeeded), "Verified", Some(true)));
    assert!(cured.message.ends_with("and its pods answer their probes"), "{}", cured.message);

    let bad = says("web-v1-a", 503);
    let waiting = say(&bad, 159);
    assert_eq!(waiting.progress.phase, Some(Phase::Verifying), "a service may need a while to warm up");
    assert!(waiting.message.ends_with("; GET :8080/healthz of pod web-v1-a answered 503"), "{}", waiting.message);
    let not_cured = say(&bad, 160);
    assert_eq!((not_cured.progress.phase, not_cured.reason), (Some(Phase::Escalated), "NotCured"));
    assert!(not_cured.message.contains("(GET :8080/healthz of pod web-v1-a answered 503)"), "{}", not_cured.message);

    let silence = Answer { reply: Reply::Silence("refused the connection".into()), ..bad[0].clone() };
    let open = say(&[silence], 160);
    assert_eq!((open.progress.phase, open.reason, open.verified), (Some(Phase::Succeeded), "NotMeasured", None));
    assert!(open.message.contains("a NetworkPolicy?"), "{}", open.message);
}

#[test]
fn limits_and_probes_both_have_to_confirm_and_one_is_enough_to_refute() {
    let outside = || Verification::Outside("bad".into());
    let unknown = || Verification::Unknown("no data".into());
    for (limits, probes, both) in [
        (Verification::Within, Verification::Within, Verification::Within),
        (Verification::Within, unknown(), unknown()),
        (unknown(), Verification::Within, unknown()),
        (unknown(), outside(), outside()),
        (outside(), unknown(), outside()),
        (Verification::Within, outside(), outside()),
    ] {
        assert_eq!(limits.clone().and(probes.clone()), both, "{limits:?} and {probes:?}");
    }
    let first = Verification::Outside("errors".into());
    assert_eq!(first.clone().and(outside()), first, "the sentence does not change with the second");
}

#[test]
fn ready_pods_of_the_good_revision_are_asked_the_same_ten_at_each_look() {
    let mut many = workload("v1", vec![revision("v1", 3, 14, 14), revision("v2", 2, 1, 1)]);
    many.pods[0].ready = false;
    many.pods[1].leaving = true;
    let names = |workload: &Workload| -> Vec<String> {
        asked(workload, &version("v1")).into_iter().map(|pod| pod.name.clone()).collect()
    };
    let first = names(&many);
    assert_eq!(first.len(), 10);
    assert!(first.iter().all(|name| name.starts_with("web-v1-")), "{first:?}");
    assert!(!first.contains(&many.pods[0].name) && !first.contains(&many.pods[1].name), "{first:?}");
    many.pods.reverse();
    assert_eq!(names(&many), first);
}

#[test]
fn a_pod_that_crashes_while_it_leaves_says_nothing() {
    let verifying = look(&undone(), &back(), 100).progress;
    let mut leaving = back();
    leaving.pods.insert(0, snapback_core::workload::PodFacts { leaving: true, ..crashing("v1", 7) });
    let next = step(&order(), &verifying, Some(&leaving), Some(&Verification::Within), at(110));
    assert_eq!(next.progress.recovered, Some(at(110)), "{}", next.message);
}

/// Ten requests a second to each pod of the good revision, of which so many fail in a hundred.
fn counted(bad: f64) -> Vec<PodSeries> {
    let series = |counts, each: f64| PodSeries {
        pod: pod("v1", 0).name,
        counts,
        key: String::new(),
        points: (0..10i32).map(|look| (at(100 + i64::from(look) * 10), f64::from(look) * each)).collect(),
    };
    vec![series(Counts::Good, 100.0 - bad), series(Counts::Bad, bad)]
}

#[test]
fn the_limits_that_were_broken_are_asked_of_the_good_revision() {
    let limits = [Limit { name: "errors".into(), rule: Rule::error_rate(0.05) }];
    let judged = |workload: &Workload, requests: &Answered<Vec<PodSeries>>| {
        let measured = Measured {
            revision: &version("v1"),
            known_good: None,
            since: at(100),
            completed: Some(at(100)),
            workload,
            requests,
            latencies: &Err(Missing::Empty),
            queries: &BTreeMap::new(),
            past: None,
            looks: 6,
            minimum_requests: 50,
        };
        verify(&limits, &measured).0
    };
    assert_eq!(judged(&back(), &Ok(counted(1.0))), Verification::Within);
    let outside = judged(&back(), &Ok(counted(20.0)));
    assert!(matches!(&outside, Verification::Outside(why) if why.starts_with("errors: 20%")), "{outside:?}");
    assert!(matches!(judged(&back(), &Err(Missing::Empty)), Verification::Unknown(_)));
    // The bad revision still serves, and fails as well: whoever's fault that is, it is not cured.
    let both = workload("v1", vec![revision("v1", 3, 3, 3), revision("v2", 2, 3, 3)]);
    let bad = counted(20.0).into_iter().map(|one| PodSeries { pod: pod("v2", 0).name, ..one });
    let common = judged(&both, &Ok(counted(20.0).into_iter().chain(bad).collect()));
    assert!(matches!(&common, Verification::Outside(why) if why.contains("baseline too")), "{common:?}");
}
