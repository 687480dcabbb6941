//! Whole checks under the sequential test: from counters of pods to verdicts.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, clippy::unnecessary_wraps, reason = "tests")]

use std::collections::BTreeMap;

use crate::support::{at, complete_v2, pod, revision, version, workload};
use snapback_core::analysis::sequential::{Against, Limits, Look, Plan, Tally, regression, spare, together};
use snapback_core::checks::{CheckResult, Measured, Verdict, Why, evaluate_all, weight};
use snapback_core::policy::{Analysis, Bound, Check, Quantile, Relative, Rule, Severity};
use snapback_core::sample::{Answer, Counts, Missing, PodSeries};
use snapback_core::workload::Workload;

const LOOKS: i64 = 30;
const STEP: i64 = 30;
const START: i64 = 6000;
const PROOF: Analysis = Analysis::Sequential { false_alarms: 0.001 };

/// Counters of pods that tests move by hand, look by look.
struct Story {
    workload: Workload,
    series: BTreeMap<(String, String), PodSeries>,
    now: i64,
    scraped: bool,
    /// Pods that the source last reached then.
    reached: BTreeMap<String, i64>,
    method: Analysis,
}

impl Story {
    /// Three old pods that share the traffic, for an hour and a half, in which one request of a thousand failed.
    fn new(workload: Workload) -> Self {
        let mut story = Self::empty(workload);
        while story.now < START {
            story.step(|_| Some((200.0, 0.2, 0.0)), |_| None);
        }
        story
    }

    fn empty(workload: Workload) -> Self {
        Self { workload, series: BTreeMap::new(), now: 0, scraped: true, reached: BTreeMap::new(), method: PROOF }
    }

    /// One step: for each old and each new pod its requests, those that failed, and those that took over a second.
    fn step(&mut self, old: impl Fn(i32) -> Option<(f64, f64, f64)>, new: impl Fn(i32) -> Option<(f64, f64, f64)>) {
        self.now += STEP;
        for index in 0..3 {
            for (name, counts) in [(pod("v1", index).name, old(index)), (pod("v2", index).name, new(index))] {
                let Some((all, bad, slow)) = counts else { continue };
                self.add(&name, Counts::Good, "200", all - bad);
                self.add(&name, Counts::Bad, "500", bad);
                self.add(&name, Counts::AtMostSeconds(0.5), "0.5", all - slow);
                self.add(&name, Counts::AtMostSeconds(1.0), "1", all - slow);
                self.add(&name, Counts::AtMostSeconds(f64::INFINITY), "+Inf", all);
                if self.scraped {
                    let reached = self.reached.get(&name).copied().unwrap_or(self.now);
                    #[allow(clippy::cast_precision_loss, reason = "seconds")]
                    self.set(&name, Counts::Scraped, "up", reached as f64);
                }
            }
        }
    }

    fn steps(&mut self, count: i64, old: Option<(f64, f64, f64)>, new: Option<(f64, f64, f64)>) -> &mut Self {
        for _ in 0..count {
            self.step(|_| old, |_| new);
        }
        self
    }

    fn add(&mut self, pod: &str, counts: Counts, key: &str, increase: f64) {
        let before = self.series.get(&(pod.to_owned(), key.to_owned())).and_then(|one| one.points.last());
        let value = before.map_or(0.0, |(_, value)| *value) + increase;
        self.set(pod, counts, key, value);
    }

    fn set(&mut self, pod: &str, counts: Counts, key: &str, value: f64) {
        let fresh = || PodSeries { pod: pod.to_owned(), counts, key: key.to_owned(), points: Vec::new() };
        let one = self.series.entry((pod.to_owned(), key.to_owned())).or_insert_with(fresh);
        one.points.push((at(self.now), value));
    }

    fn judge(&self, rules: &[(&str, Rule)]) -> Vec<CheckResult> {
        let of = |wanted: fn(Counts) -> bool| -> Answer<Vec<PodSeries>> {
            let found: Vec<PodSeries> = self.series.values().filter(|one| wanted(one.counts)).cloned().collect();
            if found.is_empty() { Err(Missing::Empty) } else { Ok(found) }
        };
        let requests = of(|counts| !matches!(counts, Counts::AtMostSeconds(_)));
        let latencies = of(|counts| matches!(counts, Counts::AtMostSeconds(_)));
        let past: Vec<PodSeries> = self.series.values().cloned().collect();
        let checks: Vec<Check> = rules
            .iter()
            .map(|(name, rule)| Check { name: (*name).into(), severity: Severity::Critical, rule: rule.clone() })
            .collect();
        let measured = Measured {
            revision: &version("v2"),
            known_good: Some(&version("v1")),
            since: at(START),
            completed: None,
            workload: &self.workload,
            requests: &requests,
            latencies: &latencies,
            past: Some(&past),
            looks: u32::try_from(LOOKS).unwrap(),
            queries: &BTreeMap::new(),
            minimum_requests: 50,
        };
        evaluate_all(&checks, self.method, &measured)
    }

    fn one(&self, rule: Rule) -> CheckResult {
        self.judge(&[("check", rule)]).remove(0)
    }
}

fn beside() -> Workload {
    let mut workload = workload("v2", vec![revision("v1", 1, 3, 3), revision("v2", 2, 3, 3)]);
    for pod in &mut workload.pods {
        pod.ready_since = Some(at(0));
    }
    workload
}

fn errors() -> Rule {
    Rule::ErrorRate { max: Some(0.05), max_ratio: Some(2.0), floor: 0.005 }
}

fn said(result: &CheckResult) -> (Verdict, &Why) {
    (result.verdict, &result.why)
}

#[test]
fn a_release_that_fails_more_often_than_the_old_pods_beside_it_is_breached_within_a_few_looks() {
    let mut story = Story::new(beside());
    story.steps(1, Some((100.0, 0.1, 0.0)), Some((100.0, 3.0, 0.0)));
    assert_eq!(said(&story.one(errors())), (Verdict::Inconclusive, &Why::CountingUp));
    story.steps(3, Some((100.0, 0.1, 0.0)), Some((100.0, 3.0, 0.0)));
    let result = story.one(errors());
    assert_eq!(said(&result), (Verdict::Breached, &Why::OutsideLimit), "{}", result.message);
    assert_eq!(result.first_bad, Some(at(START)));
    assert!(result.limit.unwrap() < 0.05, "the multiple decided, not the maximum: {:?}", result.limit);
    assert!(result.message.contains("the odds against chance are"), "{}", result.message);
}

/// A proxy of two replicas in front of all pods: per look the requests of each, and those that failed.
fn in_front(before: (f64, f64), since: (f64, f64), looks: i64) -> Story {
    let mut story = Story::empty(beside());
    while story.now < START + looks * STEP {
        let (all, bad) = if story.now < START { before } else { since };
        story.now += STEP;
        for replica in ["10.0.0.1:10254", "10.0.0.2:10254"] {
            story.add(&PodSeries::of_proxy(replica), Counts::Good, "200", all - bad);
            if bad > 0.0 {
                story.add(&PodSeries::of_proxy(replica), Counts::Bad, "500", bad);
            }
        }
    }
    story
}

#[test]
fn a_whole_service_is_compared_with_the_time_before() {
    let result = in_front((200.0, 0.2), (200.0, 20.0), 6).one(errors());
    assert_eq!(said(&result), (Verdict::Breached, &Why::OutsideLimit), "{}", result.message);
    assert!(result.message.contains("0.1% before the rollout"), "{}", result.message);
    let result = in_front((200.0, 20.0), (200.0, 20.0), 6).one(errors());
    assert_eq!(said(&result), (Verdict::Inconclusive, &Why::ExternalCause), "{}", result.message);
}

#[test]
fn the_first_look_at_a_whole_service_counts_good_requests_as_well_as_bad_ones() {
    let result = in_front((200.0, 0.0), (200.0, 2.0), 1).one(errors());
    assert_eq!((result.requests, result.bad), (Some(400), Some(4)), "{}", result.message);
}

#[test]
fn a_replica_of_the_proxy_that_is_seen_for_the_first_time_brings_no_past_along() {
    let mut story = in_front((200.0, 0.2), (200.0, 0.2), 6);
    let late = PodSeries::of_proxy("10.0.0.3:10254");
    for (key, counts, value) in [("200", Counts::Good, 9e6), ("500", Counts::Bad, 1e6)] {
        story.set(&late, counts, key, value);
    }
    let result = story.one(errors());
    assert_eq!(result.requests, Some(2400), "{}", result.message);
}

#[test]
fn a_fault_that_begins_late_is_dated_by_its_own_beginning() {
    let mut story = Story::new(beside());
    story.steps(10, Some((100.0, 0.1, 0.0)), Some((100.0, 0.1, 0.0)));
    story.steps(5, Some((100.0, 0.1, 0.0)), Some((100.0, 20.0, 0.0)));
    let result = story.one(errors());
    assert_eq!(result.verdict, Verdict::Breached, "{}", result.message);
    assert_eq!(result.first_bad, Some(at(START + 10 * STEP)));
}

#[test]
fn a_burst_within_one_look_is_no_lasting_fault() {
    let mut story = Story::new(beside());
    story.steps(1, Some((100.0, 0.1, 0.0)), Some((100.0, 60.0, 0.0)));
    story.steps(20, Some((100.0, 0.1, 0.0)), Some((100.0, 0.1, 0.0)));
    assert_ne!(story.one(errors()).verdict, Verdict::Breached);
    story.steps(1, Some((100.0, 0.1, 0.0)), Some((100.0, 60.0, 0.0)));
    assert_eq!(story.one(errors()).verdict, Verdict::Breached, "twice is no accident");
}

#[test]
fn what_was_proven_once_stays_proven() {
    let mut story = Story::new(beside());
    story.steps(4, Some((100.0, 0.1, 0.0)), Some((100.0, 30.0, 0.0)));
    let then = story.one(errors());
    story.steps(20, Some((100.0, 0.1, 0.0)), Some((100.0, 0.1, 0.0)));
    assert_eq!(said(&story.one(errors())), said(&then), "a restart in between must not change the outcome");
}

#[test]
fn an_outage_that_hits_old_and_new_pods_alike_is_not_the_releases() {
    let mut story = Story::new(beside());
    story.steps(15, Some((100.0, 30.0, 0.0)), Some((100.0, 31.0, 0.0)));
    assert_eq!(said(&story.one(errors())), (Verdict::Inconclusive, &Why::ExternalCause));
}

#[test]
fn errors_that_were_there_before_are_not_the_releases_either() {
    let mut story = Story::empty(complete_v2());
    while story.now < START {
        story.step(|_| Some((200.0, 16.0, 0.0)), |_| None);
    }
    story.steps(15, None, Some((200.0, 17.0, 0.0)));
    assert_eq!(said(&story.one(errors())), (Verdict::Inconclusive, &Why::ExternalCause));
    // Nor when there is no further window before to compare with.
    story.steps(60, None, Some((200.0, 17.0, 0.0)));
    assert_ne!(story.one(errors()).verdict, Verdict::Breached);
}

#[test]
fn over_the_maximum_is_an_external_cause_only_when_the_baseline_is_too() {
    let mut story = Story::new(beside());
    story.steps(2, Some((2.0, 0.0, 0.0)), Some((50.0, 5.0, 0.0)));
    let result = story.one(Rule::error_rate(0.05));
    assert_eq!(said(&result), (Verdict::Inconclusive, &Why::CountingUp), "{}", result.message);
}

#[test]
fn a_revision_that_is_not_known_good_is_no_baseline() {
    let mut story = Story::new(beside());
    let third: Vec<String> = (0..3).map(|index| pod("v3", index).name).collect();
    story.workload.revisions.push(revision("v3", 3, 3, 3));
    for _ in 0..6 {
        story.step(|_| None, |_| Some((100.0, 10.0, 0.0)));
        for name in &third {
            story.add(name, Counts::Good, "200", 900.0);
            story.add(name, Counts::Bad, "500", 100.0);
        }
    }
    assert_eq!(story.one(errors()).verdict, Verdict::Breached, "a bad one beside a bad one is bad");
}

#[test]
fn four_bad_requests_are_no_breach_whatever_they_prove() {
    let strict = Rule::error_rate(0.001);
    let mut story = Story::new(beside());
    story.steps(2, Some((1000.0, 0.0, 0.0)), Some((10.0, 2.0 / 3.0, 0.0)));
    let result = story.one(strict.clone());
    assert_eq!(said(&result), (Verdict::Inconclusive, &Why::CountingUp), "{}", result.message);
    story.steps(2, Some((1000.0, 0.0, 0.0)), Some((10.0, 2.0 / 3.0, 0.0)));
    assert_eq!(story.one(strict).verdict, Verdict::Breached);
}

#[test]
fn the_consecutive_rule_does_not_wait_for_traffic_that_is_due_to_nobody() {
    let mut story = Story::new(complete_v2());
    story.steps(4, None, Some((100.0, 0.1, 0.0)));
    story.method = Analysis::Consecutive { failures: 3 };
    let result = story.one(Rule::TrafficDrop { max: 0.75 });
    assert_eq!(said(&result), (Verdict::Inconclusive, &Why::NoBaseline), "{}", result.message);
}

#[test]
fn without_old_pods_the_time_before_and_the_maximum_decide() {
    let mut story = Story::new(complete_v2());
    story.steps(4, None, Some((200.0, 30.0, 0.0)));
    let result = story.one(errors());
    assert_eq!(result.verdict, Verdict::Breached, "{}", result.message);
}

#[test]
fn one_bad_pod_of_three_is_held_to_be_that_pods_fault() {
    let mut story = Story::new(beside());
    for _ in 0..10 {
        story.step(|_| Some((100.0, 0.1, 0.0)), |index| Some((100.0, if index == 1 { 60.0 } else { 0.1 }, 0.0)));
    }
    assert_eq!(said(&story.one(errors())), (Verdict::Inconclusive, &Why::OnePod));
}

#[test]
fn a_limit_is_kept_when_that_is_proven_and_not_before() {
    let mut story = Story::new(beside());
    story.steps(1, Some((5.0, 0.0, 0.0)), Some((5.0, 0.0, 0.0)));
    assert_eq!(said(&story.one(errors())), (Verdict::Inconclusive, &Why::TooFewRequests));
    story.steps(10, Some((100.0, 0.1, 0.0)), Some((100.0, 0.1, 0.0)));
    assert_eq!(said(&story.one(errors())), (Verdict::Passing, &Why::WithinLimit));
    let mut close = Story::new(beside());
    close.steps(10, Some((100.0, 4.5, 0.0)), Some((100.0, 4.5, 0.0)));
    assert_eq!(said(&close.one(errors())), (Verdict::Inconclusive, &Why::TooCloseToSay));
}

#[test]
fn a_stray_error_over_the_multiple_does_not_hold_up_what_is_proven_under_the_maximum() {
    let mut story = Story::new(beside());
    story.steps(2, Some((100.0, 0.0, 0.0)), Some((50.0, 0.0, 0.0)));
    story.step(|_| Some((100.0, 0.0, 0.0)), |index| Some((50.0, if index == 0 { 3.0 } else { 0.0 }, 0.0)));
    let result = story.one(errors());
    assert!(result.value > result.limit, "{result:?}");
    assert_eq!(said(&result), (Verdict::Passing, &Why::WithinLimit), "{}", result.message);
}

#[test]
fn a_multiple_of_next_to_nothing_does_not_matter() {
    let mut story = Story::new(beside());
    story.steps(20, Some((10_000.0, 1.0, 0.0)), Some((10_000.0, 10.0, 0.0)));
    assert_eq!(story.one(errors()).verdict, Verdict::Passing);
}

#[test]
fn no_request_and_no_answer_are_no_data() {
    let mut story = Story::new(beside());
    story.steps(3, Some((100.0, 0.1, 0.0)), Some((0.0, 0.0, 0.0)));
    assert_eq!(said(&story.one(errors())), (Verdict::NoData, &Why::NoRequests));
    let silent = Story::empty(beside());
    assert_eq!(said(&silent.one(errors())), (Verdict::NoData, &Why::Missing(Missing::Empty)));
}

#[test]
fn slow_requests_are_counted_against_a_duration_and_against_the_old_pods() {
    let absolute = Rule::Latency { quantile: Quantile::P95, max: Some(1.0), max_ratio: None };
    let relative = Rule::Latency { quantile: Quantile::P95, max: None, max_ratio: Some(2.0) };
    let mut slow = Story::new(beside());
    slow.steps(4, Some((100.0, 0.0, 1.0)), Some((100.0, 0.0, 30.0)));
    let mut fine = Story::new(beside());
    fine.steps(10, Some((100.0, 0.0, 1.0)), Some((100.0, 0.0, 1.0)));
    let mut both = Story::new(beside());
    both.steps(10, Some((100.0, 0.0, 30.0)), Some((100.0, 0.0, 30.0)));
    for rule in [absolute, relative] {
        assert_eq!(slow.one(rule.clone()).verdict, Verdict::Breached, "{rule:?}");
        assert_eq!(fine.one(rule.clone()).verdict, Verdict::Passing, "{rule:?}");
        assert_eq!(said(&both.one(rule.clone())), (Verdict::Inconclusive, &Why::ExternalCause), "{rule:?}");
    }
    let over_all = Rule::Latency { quantile: Quantile::P95, max: Some(20.0), max_ratio: None };
    assert_eq!(said(&slow.one(over_all)), (Verdict::Inconclusive, &Why::NoBucketAbove));
}

#[test]
fn ready_pods_that_get_no_requests_beside_busy_ones_are_breached() {
    let quiet = Rule::TrafficDrop { max: 0.75 };
    let mut story = Story::new(beside());
    story.steps(4, Some((100.0, 0.1, 0.0)), Some((0.0, 0.0, 0.0)));
    let result = story.one(quiet.clone());
    assert_eq!(result.verdict, Verdict::Breached, "{}", result.message);
    assert_eq!(result.value, Some(1.0));
    let mut fair = Story::new(beside());
    fair.steps(4, Some((100.0, 0.1, 0.0)), Some((90.0, 0.1, 0.0)));
    assert_eq!(fair.one(quiet).verdict, Verdict::Passing);
}

#[test]
fn silence_says_nothing_of_pods_that_nobody_scrapes_and_where_traffic_does_not_spread() {
    let quiet = Rule::TrafficDrop { max: 0.75 };
    let mut unseen = Story::new(beside());
    unseen.scraped = false;
    unseen.steps(9, Some((100.0, 0.1, 0.0)), Some((0.0, 0.0, 0.0)));
    assert_eq!(said(&unseen.one(quiet.clone())), (Verdict::Inconclusive, &Why::NoBaseline));
    let mut stale = Story::new(beside());
    stale.steps(1, Some((100.0, 0.1, 0.0)), Some((100.0, 0.1, 0.0)));
    stale.reached = (0..3).map(|index| (pod("v2", index).name, stale.now)).collect();
    stale.steps(9, Some((100.0, 0.1, 0.0)), Some((0.0, 0.0, 0.0)));
    let result = stale.one(quiet.clone());
    assert_ne!(result.verdict, Verdict::Breached, "old numbers are no silence: {}", result.message);
    let mut pinned = Story::empty(beside());
    while pinned.now < START {
        pinned.step(|index| Some((if index == 0 { 600.0 } else { 5.0 }, 0.0, 0.0)), |_| None);
    }
    pinned.steps(9, Some((100.0, 0.1, 0.0)), Some((0.0, 0.0, 0.0)));
    assert_eq!(said(&pinned.one(quiet)), (Verdict::Inconclusive, &Why::NoBaseline));
}

#[test]
fn checks_that_are_suspicious_prove_together_what_none_of_them_proves_alone() {
    let three = [("one", errors()), ("other", errors()), ("third", errors())];
    let mut story = Story::new(beside());
    let breached = |results: &[CheckResult]| results.iter().filter(|one| one.verdict == Verdict::Breached).count();
    let found = loop {
        story.steps(1, Some((30.0, 0.03, 0.0)), Some((8.0, 0.4, 0.0)));
        let found = story.judge(&three);
        if breached(&found) > 0 {
            break found;
        }
        assert!(story.now < START + 2 * LOOKS * STEP, "{found:#?}");
    };
    assert_eq!(breached(&found), 1, "{found:#?}");
    assert!(found.iter().any(|result| result.message.contains("together")));
}

#[test]
fn without_data_nothing_is_breached_whatever_the_checks_are() {
    let own = || Rule::Query {
        promql: "up".into(),
        min: None,
        max: Some(Bound { value: 1.0, of: Relative::Absolute }),
        floor: None,
    };
    let silent = Story::empty(beside());
    let rules = [errors(), own(), Rule::TrafficDrop { max: 0.75 }];
    for some in 1..8_usize {
        let chosen: Vec<(&str, Rule)> =
            (0..3).filter(|bit| some >> bit & 1 == 1).map(|bit| ("one", rules[bit].clone())).collect();
        for result in silent.judge(&chosen) {
            assert_eq!(result.verdict, Verdict::NoData, "{chosen:?}: {}", result.message);
        }
    }
}

#[test]
fn a_multiple_is_judged_at_a_bound_that_is_near() {
    // The baseline lies at 0.5 s, twice that at the bound of 1 s, or just over it.
    let relative = |ratio: f64| Rule::Latency { quantile: Quantile::P95, max: None, max_ratio: Some(ratio) };
    let mut slow = Story::new(beside());
    slow.steps(6, Some((100.0, 0.0, 1.0)), Some((100.0, 0.0, 30.0)));
    let baseline = slow.one(relative(2.0)).baseline.unwrap();
    assert_eq!(slow.one(relative(1.1 / baseline)).verdict, Verdict::Breached, "1 s is near 1.1 s");
    assert_eq!(said(&slow.one(relative(1.5 / baseline))), (Verdict::Inconclusive, &Why::NoBucketAbove));
}

/// Requests of a look that took up to 50, 100 and 250 ms, and longer, of each old and each new pod.
fn timed(story: &mut Story, old: [f64; 4], new: Option<[f64; 4]>) {
    story.now += STEP;
    for index in 0..3 {
        for (name, took) in [(pod("v1", index).name, Some(old)), (pod("v2", index).name, new)] {
            let Some(took) = took else { continue };
            let mut at_most = 0.0;
            for (bound, more) in [0.05, 0.1, 0.25, f64::INFINITY].into_iter().zip(took) {
                at_most += more;
                story.add(&name, Counts::AtMostSeconds(bound), &bound.to_string(), at_most);
            }
        }
    }
}

#[test]
fn three_times_as_slow_shows_though_twice_lies_inside_a_wide_bucket() {
    let twice = Rule::Latency { quantile: Quantile::P95, max: None, max_ratio: Some(2.0) };
    let judged = |old: [f64; 4], new: [f64; 4]| {
        let mut story = Story::empty(beside());
        while story.now < START {
            timed(&mut story, old, None);
        }
        for _ in 0..6 {
            timed(&mut story, old, Some(new));
        }
        story.one(twice.clone())
    };
    let slow = judged([90.0, 9.0, 1.0, 0.0], [5.0, 25.0, 70.0, 0.0]);
    assert_eq!(slow.verdict, Verdict::Breached, "{}", slow.message);
    assert_eq!(slow.bad, Some(2 * 3 * 70), "those over 100 ms in the two looks that it takes");
    let within = judged([90.0, 9.0, 1.0, 0.0], [0.0, 95.0, 5.0, 0.0]);
    assert_ne!(within.verdict, Verdict::Breached, "most may be just over 50 ms: {}", within.message);
    // 99 ms that become 101 ms are in another bucket, and not twice as slow.
    let hardly = judged([0.0, 100.0, 0.0, 0.0], [0.0, 0.0, 100.0, 0.0]);
    assert_ne!(hardly.verdict, Verdict::Breached, "{}", hardly.message);
}

#[test]
fn before_the_first_look_there_is_no_data() {
    let result = Story::new(beside()).one(errors());
    assert_eq!(said(&result), (Verdict::NoData, &Why::Missing(Missing::Empty)), "{}", result.message);
}

#[test]
fn without_requests_there_is_no_value_to_show() {
    let mut story = Story::new(beside());
    story.steps(3, Some((0.0, 0.0, 0.0)), Some((0.0, 0.0, 0.0)));
    let result = story.one(errors());
    assert_eq!(said(&result), (Verdict::NoData, &Why::NoRequests), "{}", result.message);
    assert_eq!(result.value, None);
}

#[test]
fn without_old_requests_a_multiple_of_their_quantile_cannot_be_judged() {
    let mut story = Story::empty(complete_v2());
    story.now = START;
    story.steps(10, None, Some((100.0, 0.1, 5.0)));
    let rule = Rule::Latency { quantile: Quantile::P95, max: None, max_ratio: Some(2.0) };
    let result = story.one(rule);
    assert_eq!(said(&result), (Verdict::Inconclusive, &Why::NoBaseline), "{}", result.message);
}

#[test]
fn a_limit_over_all_bounds_cannot_be_judged_and_one_between_two_only_by_the_upper_one() {
    let most = |max: f64| Rule::Latency { quantile: Quantile::P95, max: Some(max), max_ratio: None };
    let mut story = Story::new(beside());
    story.steps(15, Some((100.0, 0.1, 0.1)), Some((100.0, 0.1, 0.1)));
    let over = story.one(most(5.0));
    assert_eq!(said(&over), (Verdict::Inconclusive, &Why::NoBucketAbove), "{}", over.message);
    assert_eq!(said(&story.one(most(0.5))), (Verdict::Passing, &Why::WithinLimit));
    // All that is known of them is that they take at most half a second.
    let inside = story.one(most(0.3));
    assert_eq!(said(&inside), (Verdict::Inconclusive, &Why::TooCloseToSay), "{}", inside.message);
}

#[test]
fn a_quantile_that_lies_on_its_limit_is_not_said_to_keep_it() {
    let mut story = Story::new(beside());
    story.steps(15, Some((100.0, 0.1, 5.0)), Some((100.0, 0.1, 5.0)));
    let result = story.one(Rule::Latency { quantile: Quantile::P95, max: Some(0.5), max_ratio: None });
    assert_eq!(said(&result), (Verdict::Inconclusive, &Why::TooCloseToSay), "{}", result.message);
}

#[test]
fn what_is_suspicious_is_told_of_the_time_since_it_began() {
    let mut story = Story::new(beside());
    story.steps(10, Some((100.0, 0.1, 0.0)), Some((100.0, 0.1, 0.0)));
    story.steps(2, Some((100.0, 0.1, 0.0)), Some((100.0, 2.5, 0.0)));
    let result = story.one(errors());
    assert_eq!(said(&result), (Verdict::Inconclusive, &Why::CountingUp), "{}", result.message);
    assert_eq!(result.window, Some((at(START + 10 * STEP), at(START + 12 * STEP))));
    assert_eq!(result.first_bad, Some(at(START + 10 * STEP)));
    let mut fine = Story::new(beside());
    fine.steps(15, Some((100.0, 0.1, 0.0)), Some((100.0, 0.1, 0.0)));
    assert_eq!(fine.one(errors()).first_bad, None);
}

#[test]
fn the_limit_that_is_told_is_the_one_that_is_exceeded() {
    let mut story = Story::new(beside());
    story.steps(6, Some((100.0, 1.0, 0.0)), Some((100.0, 4.0, 0.0)));
    let limit = story.one(errors()).limit.unwrap();
    assert!((limit - 0.02).abs() < 1e-9, "twice the old rate: {limit}");
}

#[test]
fn of_several_suspicious_checks_the_one_with_the_most_evidence_is_breached() {
    let slow = Rule::Latency { quantile: Quantile::P95, max: Some(0.5), max_ratio: None };
    let mut story = Story::new(beside());
    let found = loop {
        story.steps(1, Some((30.0, 0.03, 0.0)), Some((8.0, 0.45, 0.9)));
        let found = story.judge(&[("slow", slow.clone()), ("errors", errors())]);
        if let Some(found) = found.into_iter().find(|one| one.verdict == Verdict::Breached) {
            break found;
        }
        assert!(story.now < START + 4 * LOOKS * STEP);
    };
    assert_eq!(found.name, "errors", "{}", found.message);
}

/// Of all that the new pods are due by [`Rule::TrafficDrop`], what is missing; by looks in a row.
fn quiet(story: &mut Story) -> CheckResult {
    story.method = Analysis::Consecutive { failures: 3 };
    story.one(Rule::TrafficDrop { max: 0.75 })
}

fn asked(requests: f64) -> Option<(f64, f64, f64)> {
    Some((requests, 0.0, 0.0))
}

#[test]
fn every_ready_pod_is_due_the_same() {
    let mut story = Story::new(beside());
    // Nobody knows yet whether what the source shows of the new pods is old.
    story.steps(1, asked(100.0), asked(0.0));
    let first = quiet(&mut story);
    assert_eq!(said(&first), (Verdict::Inconclusive, &Why::NoBaseline), "{}", first.message);
    assert_eq!(first.message, "no baseline to compare with: nothing is due to the new pods");
    assert_eq!(first.covered, jiff::SignedDuration::MAX, "nothing is waited for");
    story.steps(3, asked(100.0), asked(10.0));
    let result = quiet(&mut story);
    assert_eq!(said(&result), (Verdict::Breached, &Why::OutsideLimit), "{}", result.message);
    let missing = result.value.unwrap();
    assert!((missing - (1.0 - 30.0 / 165.0)).abs() < 1e-9, "half of 330 requests are due: {missing}");
    assert_eq!(result.requests, Some(30));
    story.steps(1, asked(100.0), asked(20.0));
    assert_eq!(said(&quiet(&mut story)), (Verdict::Passing, &Why::WithinLimit), "two thirds are missing");
}

#[test]
fn what_is_missing_is_counted_over_all_looks() {
    let mut story = Story::new(beside());
    story.steps(1, asked(100.0), asked(100.0));
    story.steps(1, asked(100.0), asked(10.0));
    story.steps(1, asked(50.0), asked(20.0));
    let missing = story.one(Rule::TrafficDrop { max: 0.75 }).value.unwrap();
    assert!((missing - (1.0 - 90.0 / 270.0)).abs() < 1e-9, "{missing}");
}

#[test]
fn half_of_what_is_due_is_no_silence_however_long() {
    let mut story = Story::new(beside());
    story.steps(LOOKS, asked(100.0), asked(34.0));
    assert_ne!(story.one(Rule::TrafficDrop { max: 0.75 }).verdict, Verdict::Breached);
}

#[test]
fn too_few_requests_say_nothing_of_who_gets_them() {
    let mut story = Story::new(beside());
    story.steps(4, asked(16.0), asked(0.0));
    assert_eq!(said(&quiet(&mut story)), (Verdict::Inconclusive, &Why::NoBaseline));
    story.steps(1, asked(17.0), asked(0.0));
    assert_eq!(said(&quiet(&mut story)), (Verdict::Inconclusive, &Why::CountingUp));
    let mut silent = Story::new(beside());
    silent.steps(4, asked(0.0), asked(0.0));
    assert_eq!(said(&quiet(&mut silent)), (Verdict::Inconclusive, &Why::NoBaseline));
}

#[test]
fn nothing_is_due_to_new_pods_that_are_not_ready_or_leave_or_are_not_scraped() {
    let changes: [fn(&mut snapback_core::workload::PodFacts); 4] = [
        |pod| pod.ready = false,
        |pod| pod.leaving = true,
        |pod| pod.ready_since = None,
        |pod| pod.ready_since = Some(at(START + 4 * STEP + 1)),
    ];
    for change in changes {
        let mut workload = beside();
        workload.pods.iter_mut().filter(|pod| pod.name.starts_with("web-v2")).for_each(change);
        let mut story = Story::new(workload);
        story.steps(5, asked(100.0), asked(0.0));
        let result = quiet(&mut story);
        assert_eq!(said(&result), (Verdict::Inconclusive, &Why::NoBaseline), "{}", result.message);
    }
    let mut unseen = Story::new(beside());
    unseen.scraped = false;
    unseen.steps(5, asked(100.0), asked(10.0));
    assert_eq!(said(&quiet(&mut unseen)), (Verdict::Inconclusive, &Why::NoBaseline));
}

#[test]
fn old_pods_share_what_is_asked_while_they_are_ready_or_serve() {
    let missing = |story: &mut Story| {
        story.steps(1, asked(100.0), asked(10.0));
        for _ in 0..3 {
            story.step(|index| asked(if index == 0 { 300.0 } else { 0.0 }), |_| asked(10.0));
        }
        let all = 330.0;
        let due = 30.0 / all / (1.0 - quiet(story).value.unwrap());
        (due * 1000.0).round() / 1000.0
    };
    assert_eq!(missing(&mut Story::new(beside())), 0.5, "all three are ready");
    let is_old = |name: &str| name.starts_with("web-v1");
    let changes: [fn(&mut snapback_core::workload::PodFacts); 3] =
        [|pod| pod.ready = false, |pod| pod.leaving = true, |pod| pod.ready_since = None];
    for change in changes {
        let mut workload = beside();
        workload.pods.iter_mut().filter(|pod| is_old(&pod.name)).for_each(change);
        assert_eq!(missing(&mut Story::new(workload)), 0.75, "one of them still serves");
    }
}

#[test]
fn traffic_spreads_when_pods_that_served_for_most_of_the_time_before_served_about_the_same() {
    let after = |before: &dyn Fn(i32, i64) -> Option<f64>| {
        let mut story = Story::empty(beside());
        while story.now < START {
            let look = story.now / STEP;
            story.step(|index| before(index, look).and_then(asked), |_| None);
        }
        story.steps(5, asked(100.0), asked(0.0));
        quiet(&mut story).verdict
    };
    let looks = START / STEP;
    assert_eq!(after(&|index, _| Some(if index == 0 { 200.0 } else { 100.0 })), Verdict::Breached, "twice is the same");
    let newcomer = |index: i32, look: i64| (index < 2 || look > looks - 10).then_some(100.0);
    assert_eq!(after(&newcomer), Verdict::Breached, "one that has just come says nothing");
    let idle = |index: i32, look: i64| if index < 2 { Some(100.0) } else { (look > looks / 3).then_some(1.0) };
    assert_eq!(after(&idle), Verdict::Inconclusive, "one that served for long got next to nothing");
    assert_eq!(after(&|index, _| (index == 0).then_some(100.0)), Verdict::Inconclusive, "one alone shares nothing");
}

#[test]
fn evidence_of_several_checks_is_weighed_and_not_added() {
    let both = together(&[0.25, 0.75], &[0.0, 0.0]);
    assert!(both.abs() < 1e-12, "two checks that say nothing say nothing together: {both}");
    let one = together(&[0.25, 0.75], &[12.0, 0.0]);
    assert!((one - (12.0_f64.exp() * 0.25 + 0.75).ln()).abs() < 1e-9, "{one}");
}

#[test]
fn counts_that_scatter_are_weaker_evidence_and_so_is_another_time() {
    let found = |against, among_pods, over_time| {
        let look = Look { new: vec![Tally::new(100.0, 10.0); 3], old: Tally::new(300.0, 3.0), against, due: None };
        let plan = Plan { looks: 30, among_pods, over_time, spare: spare(0.001) };
        regression(&vec![look; 5], &Limits { max: None, ratio: Some(2.0), floor: 0.0 }, &plan).now()
    };
    let beside = found(Against::OldPods, 1.0, 4.0);
    assert!(found(Against::OldPods, 3.0, 4.0) < beside);
    assert_eq!(found(Against::OldPods, 1.0, 1.0), beside, "what changes for both, cancels");
    let another_time = found(Against::TheTimeBefore, 1.0, 1.0);
    assert!(found(Against::TheTimeBefore, 1.0, 4.0) < another_time);
    assert!(found(Against::TheTimeBefore, 4.0, 1.0) < another_time);
}

#[test]
fn silence_is_a_breach_when_it_has_lasted_two_minutes() {
    let mut story = Story::new(beside());
    story.steps(3, asked(1000.0), asked(0.0));
    let early = story.one(Rule::TrafficDrop { max: 0.75 });
    assert_eq!(said(&early), (Verdict::Inconclusive, &Why::CountingUp), "{}", early.message);
    story.steps(1, asked(1000.0), asked(0.0));
    let late = story.one(Rule::TrafficDrop { max: 0.75 });
    assert_eq!(said(&late), (Verdict::Breached, &Why::OutsideLimit), "{}", late.message);
}

#[test]
fn errors_may_use_the_most_of_the_rate_of_false_alarms_and_what_is_not_counted_none() {
    let slow = Rule::Latency { quantile: Quantile::P95, max: Some(0.5), max_ratio: None };
    let own = Rule::Query { promql: "up".into(), min: None, max: None, floor: None };
    let weights = [errors(), slow, Rule::TrafficDrop { max: 0.75 }, Rule::CrashRate { max: 0.5 }, own];
    assert_eq!(weights.map(|rule| weight(&rule)), [5.0, 2.0, 2.0, 1.0, 0.0]);
}
