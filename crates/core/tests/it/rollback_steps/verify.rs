//! Cured or not.

use super::*;
use crate::support::*;
use snapback_core::rollback::{
    Act, Answer, Order, Phase, Probe, Progress, Reply, Scheme, Verification, asked, judge_answers, step,
};
use snapback_core::workload::Workload;

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
