use serde_json::{Value, json};
use snapback_core::analysis::sequential::Recorded;
use snapback_core::sample::Counts;
use snapback_recorded::{Plan, PodCounters};

use super::*;
use crate::rivals::Flagger;
use crate::{FOLDER, lag};

// What was recorded. These fail until it is, and where a part of it is missing.

fn recomputes(text: &str) -> bool {
    let recorded: Recorded = text.parse().unwrap();
    recorded.recomputed().to_bits() == recorded.found.to_bits() && recorded.to_string() == text
}

#[test]
fn the_recordings_are_those_of_the_plan_with_its_labels() {
    let plan = Plan::read(&Path::new(FOLDER).join("plan.yaml")).unwrap();
    let cases = read(Path::new(FOLDER)).unwrap();
    assert!(plan.rollouts.len() >= 60);
    let planned: BTreeSet<&str> = plan.rollouts.iter().map(|one| one.id.as_str()).collect();
    let recorded: BTreeSet<&str> = cases.iter().map(|case| case.rollout.plan.id.as_str()).collect();
    let missing: Vec<&&str> = planned.difference(&recorded).collect();
    assert!(missing.is_empty(), "not recorded (make record-rollouts MISSING=1): {missing:?}");
    assert_eq!(planned, recorded, "recorded, but not planned");
    for case in &cases {
        let Rollout { plan: recorded, interval, scale, first, last, .. } = &case.rollout;
        assert_eq!(Some(recorded), plan.rollouts.iter().find(|one| one.id == recorded.id));
        assert_eq!((*interval, *scale, *first, *last), (plan.interval, plan.scale, -plan.before, plan.after));
        assert!(case.requests.iter().any(|one| one.counts == Counts::Good), "{}", recorded.id);
        assert!(!case.latencies.is_empty(), "{}", recorded.id);
    }
}

#[test]
fn every_verdict_is_what_its_record_gives_bit_for_bit() {
    let cases = read(Path::new(FOLDER)).unwrap();
    let records: usize = cases.par_iter().map(checked_records).sum();
    assert!(!cases.is_empty() && records >= cases.len() / 4, "{records} records of {} recordings", cases.len());
}

#[test]
fn what_an_operator_recorded_is_what_its_counts_give_bit_for_bit() {
    let cases = read(&Path::new(FOLDER).join("lag")).unwrap();
    for (interval, planned) in lag::PLANNED {
        let recorded = cases.iter().filter(|case| case.rollout.interval == interval).count();
        assert_eq!(recorded, planned, "recorded with a look each {interval} s (make record-lag MISSING=1)");
    }
    for case in &cases {
        let decided = case.rollout.operator.as_ref().unwrap();
        assert!(!decided.counts.is_empty(), "{}", case.rollout.plan.id);
        assert!(decided.counts.iter().all(|(_, counts)| recomputes(counts)), "{}", case.rollout.plan.id);
    }
}

// How recordings are judged, by made-up ones: four old pods, beside four new ones from the third second to the 20th.

/// How many records there are, each of which gives what was found.
fn checked_records(case: &Case) -> usize {
    let mut records = 0;
    case.judge(&product::policy(), |checks| {
        for check in checks.iter().filter(|check| !check.record.is_empty()) {
            assert!(recomputes(&check.record), "{}, {}", case.rollout.plan.id, check.name);
            records += 1;
        }
    });
    records
}

/// A pod of it.
struct Pod {
    name: String,
    is_new: bool,
    /// The seconds in which it is scraped.
    scraped: std::ops::RangeInclusive<i64>,
}

fn pods() -> Vec<Pod> {
    let old = (0..4).map(|index| Pod { name: format!("web-1-aaaa{index}"), is_new: false, scraped: -1900..=20 });
    let new = (0..4).map(|index| Pod { name: format!("web-2-bbbb{index}"), is_new: true, scraped: 5..=60 });
    old.chain(new).collect()
}

/// Ten requests a second to each pod from its start on, of which `bad` fail and `slow` take over 50 ms; both are told
/// whether the pod is new. The recording begins `first` seconds after the start, and its looks are `interval` apart.
#[allow(clippy::cast_precision_loss, reason = "seconds since 1970, at most")]
fn made_up(
    plan: &Value,
    (first, interval): (i64, i64),
    rps: impl Fn(bool) -> f64,
    bad: impl Fn(bool, i64) -> f64,
    slow: impl Fn(bool) -> f64,
) -> Case {
    let deployment = |live: &str, generation: i64, updated: i32, total: i32| {
        json!({
            "live": live, "generation": generation, "observed": generation, "replicas": 4, "updated": updated,
            "available": 4, "total": total,
        })
    };
    let set = |pods: i32, available: i32| json!({"desired": pods, "replicas": pods, "available": available, "observed": true});
    let facts = json!({
        "deployment": [
            [-45, deployment("f1", 1, 4, 4)], [0, deployment("f2", 2, 4, 8)], [20, deployment("f2", 2, 4, 4)],
        ],
        "sets": [
            {"name": "web-1", "fingerprint": "f1", "number": 1, "created": -60, "states": [[-45, set(4, 4)], [20, set(0, 0)]]},
            {"name": "web-2", "fingerprint": "f2", "number": 2, "created": 0, "states": [[0, set(4, 0)], [3, set(4, 4)]]},
        ],
        "pods": pods().iter().map(|pod| if pod.is_new {
            json!({"name": pod.name, "set": "web-2", "created": 0, "states": [[0, {}], [3, {"ready": 3}]]})
        } else {
            json!({"name": pod.name, "set": "web-1", "created": -60, "states": [[-45, {"ready": -55}], [20, null]]})
        }).collect::<Vec<_>>(),
    });
    let mut rollout: Rollout = serde_json::from_value(json!({
        "plan": plan, "interval": interval, "scale": 30, "first": first, "last": 60, "facts": facts, "pods": [],
    }))
    .unwrap();
    let start = Timestamp::from_second(1_700_000_000).unwrap();
    let real = Clock::new(start, 1);
    let instants: Vec<Timestamp> = rollout.seconds().map(|second| real.at(second)).collect();
    let mut series = Vec::new();
    for pod in pods() {
        let seconds = || rollout.seconds().filter(|second| pod.scraped.contains(second));
        let born = if pod.is_new { 3 } else { -1900 };
        let all = |second: i64| (rps(pod.is_new) * (second - born) as f64).floor();
        let failed = |second: i64| (born..second).map(|at| rps(pod.is_new) * bad(pod.is_new, at)).sum::<f64>().floor();
        let fast = |second: i64| (all(second) * (1.0 - slow(pod.is_new))).floor();
        let mut add = |counts: Counts, key: &str, value: &dyn Fn(i64) -> f64| {
            let points = seconds().map(|second| (real.at(second), value(second))).collect();
            series.push(PodSeries { pod: pod.name.clone(), counts, key: key.to_owned(), points });
        };
        add(Counts::Good, "200", &|second| all(second) - failed(second));
        add(Counts::Bad, "500", &failed);
        add(Counts::AtMostSeconds(0.05), "0.05", &fast);
        add(Counts::AtMostSeconds(0.1), "0.1", &fast);
        add(Counts::AtMostSeconds(0.25), "0.25", &all);
        add(Counts::AtMostSeconds(f64::INFINITY), "+Inf", &all);
        add(Counts::Scraped, "up", &|second| real.at(second).as_second() as f64 - 0.4);
    }
    rollout.pods = PodCounters::write(&series, &instants).unwrap();
    // As from a file.
    let rollout = serde_json::from_str(&serde_json::to_string(&rollout).unwrap()).unwrap();
    Case::new(rollout).unwrap()
}

fn plan(label: &str, fault: &Value) -> Value {
    json!({"id": "a", "scenario": "a", "label": label, "seed": 1, "load": {"rps": 40}, "fault": fault})
}

fn usual(label: &str, fault: &Value, bad: impl Fn(bool, i64) -> f64) -> Case {
    made_up(&plan(label, fault), (-40, 1), |_| 10.0, bad, |_| 0.0)
}

fn acted(case: &Case) -> Option<(i64, Vec<String>)> {
    case.judge(&product::policy(), |_| ()).map(|acted| (case.delay(acted.second), acted.checks))
}

#[test]
fn errors_of_new_pods_are_found_and_those_of_all_pods_are_not() {
    let bad = usual("bad", &json!({"errors": 0.2}), |is_new, _| if is_new { 0.2 } else { 0.002 });
    let (delay, checks) = acted(&bad).unwrap();
    assert!((2..8).contains(&delay) && checks == ["errors"], "{delay}, {checks:?}");
    assert!(checked_records(&bad) > 0, "there is something to compute again");
    assert_eq!(acted(&usual("good", &json!({}), |_, _| 0.002)), None);
    let outage = |_: bool, second: i64| if (6..14).contains(&second) { 1.0 } else { 0.002 };
    assert_eq!(acted(&usual("good", &json!({}), outage)), None);
}

#[test]
fn slow_and_silent_new_pods_are_found() {
    let of = |is_new: bool, share: f64| if is_new { share } else { 0.0 };
    let slow = made_up(&plan("bad", &json!({})), (-40, 1), |_| 10.0, |_, _| 0.0, |is_new| of(is_new, 0.9));
    assert_eq!(acted(&slow).unwrap().1, ["latency"]);
    let silent = made_up(&plan("bad", &json!({})), (-40, 1), |is_new| 10.0 - of(is_new, 10.0), |_, _| 0.0, |_| 0.0);
    assert_eq!(acted(&silent).unwrap().1, ["traffic"]);
}

#[test]
fn a_late_fault_counts_from_when_it_begins_and_an_act_before_it_is_a_wrong_one() {
    let late =
        usual("bad", &json!({"from": 15, "errors": 0.5}), |is_new, second| f64::from(is_new && second >= 15) / 2.0);
    assert_eq!(late.fault(), 15);
    assert!(acted(&late).unwrap().0 >= 1, "{:?}", acted(&late));
    let early = usual("bad", &json!({"from": 50, "errors": 0.5}), |is_new, _| f64::from(is_new) / 2.0);
    let (outcomes, scenarios, told) = run(&[early], &[]);
    assert_eq!((outcomes[0].bad, outcomes[0].caught, outcomes[0].precision()), (1, 0, Some(0.0)));
    assert!(scenarios[0].acts == [0] && told[0].delay.is_some_and(|delay| delay < 0));
}

#[test]
fn rivals_see_the_windows_from_the_first_scrape_of_a_new_pod_on() {
    let bad = usual("bad", &json!({"errors": 1.0}), |is_new, _| f64::from(is_new));
    let (first, polls) = bad.polls();
    assert_eq!((first, polls.len()), (6, 55));
    assert!(polls.iter().flatten().all(|(new, _)| new.all > 0.0 && new.rate() == 1.0));
    // The second bad poll fills the threshold, and the third acts.
    assert_eq!(bad.by_rival(&Flagger { threshold: 2, least_success: 0.99 }), Some(8));
}

#[test]
fn looks_that_are_not_seconds_lie_where_the_operator_asks() {
    // The start lies 6 s after an instant of the grid: what ends 9 s after it is the first window of the rollout.
    let bad = |is_new: bool, _: i64| if is_new { 0.5 } else { 0.0 };
    let case = made_up(&plan("bad", &json!({"errors": 0.5})), (-1806, 15), |_| 10.0, bad, |_| 0.0);
    assert_eq!(case.looks().collect::<Vec<_>>(), [0, 9, 24, 39, 54]);
    let (mut first, policy) = (None, product::policy());
    let acted = case.judge(&policy, |checks| {
        let errors = checks.iter().find(|check| check.name == "errors");
        first = first.or_else(|| errors.and_then(|check| check.requests.filter(|requests| *requests > 0)));
    });
    assert_eq!(first, Some(4 * 60), "six seconds of four pods, at the look 9 s after the start");
    assert!(acted.is_some_and(|acted| acted.second <= 39));
}
