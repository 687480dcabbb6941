//! Controls: an outage that begins when the old pods are gone is not the release's.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use crate::support::{at, complete_v2, pod, version};
use snapback_core::analysis::sequential::Recorded;
use snapback_core::checks::{CheckResult, Control, Measured, Verdict, Why, evaluate_beside};
use snapback_core::policy::{Analysis, Check, Quantile, Rule, Severity};
use snapback_core::sample::{Answer, Counts, Missing, PodSeries};

const STEP: i64 = 30;
const START: i64 = 1800;
const PROOF: Analysis = Analysis::Sequential { false_alarms: 0.001 };
const IN_A_ROW: Analysis = Analysis::Consecutive { failures: 3 };

/// The ReplicaSets of the control.
const PAYMENTS: &str = "payments-7d9f8c6b5b";
const NEXT: &str = "payments-5c4b6d7f8f";

/// What each pod counts in a look: requests, those that failed, those that took over a second.
type Counted = (f64, f64, f64);
const FINE: Counted = (200.0, 0.2, 0.2);
const BAD: Counted = (200.0, 60.0, 0.2);
const SLOW: Counted = (200.0, 0.2, 60.0);
const NOTHING: Counted = (0.0, 0.0, 0.0);

/// Counters of pods, look by look.
struct Story {
    target: BTreeMap<(String, String), PodSeries>,
    control: BTreeMap<(String, String), PodSeries>,
    now: i64,
    /// The ReplicaSet of the control's pods.
    set: &'static str,
    method: Analysis,
}

impl Story {
    /// Half an hour before the rollout, in which the control fared like that.
    fn after(control: Counted) -> Self {
        let (target, series) = (BTreeMap::new(), BTreeMap::new());
        let mut story = Self { target, control: series, now: 0, set: PAYMENTS, method: PROOF };
        story.steps(START / STEP, Some(FINE), None, Some(control));
        story
    }

    /// Looks in which each of three old pods, new pods and the control's pods counts the same; `None` where there are none.
    fn steps(&mut self, looks: i64, old: Option<Counted>, new: Option<Counted>, control: Option<Counted>) -> &mut Self {
        for _ in 0..looks {
            self.now += STEP;
            for index in 0..3 {
                for (name, counted) in [(pod("v1", index).name, old), (pod("v2", index).name, new)] {
                    count(&mut self.target, &name, self.now, counted);
                }
                count(&mut self.control, &format!("{}-bcdf{index}", self.set), self.now, control);
            }
        }
        self
    }

    /// Looks of the new pods alone, and of the control.
    fn alone(&mut self, looks: i64, new: Counted, control: Counted) -> &mut Self {
        self.steps(looks, None, Some(new), Some(control))
    }

    fn control(&self) -> Control {
        let (requests, latencies) = answers(&self.control);
        Control::new("payments", requests, latencies)
    }

    fn judge(&self, rule: Rule, controls: &[Control]) -> CheckResult {
        let (requests, latencies) = answers(&self.target);
        let check = Check { name: "check".into(), severity: Severity::Critical, rule };
        let measured = Measured {
            revision: &version("v2"),
            known_good: Some(&version("v1")),
            since: at(START),
            completed: Some(at(START)),
            workload: &complete_v2(),
            requests: &requests,
            latencies: &latencies,
            past: None,
            looks: 30,
            queries: &BTreeMap::new(),
            minimum_requests: 50,
        };
        evaluate_beside(&[check], self.method, &measured, controls).remove(0)
    }

    fn errors(&self) -> CheckResult {
        self.judge(errors(), &[self.control()])
    }
}

fn count(series: &mut BTreeMap<(String, String), PodSeries>, pod: &str, now: i64, counted: Option<Counted>) {
    let Some((all, bad, slow)) = counted else { return };
    for (counts, key, increase) in [
        (Counts::Good, "200", all - bad),
        (Counts::Bad, "500", bad),
        (Counts::AtMostSeconds(0.5), "0.5", all - slow),
        (Counts::AtMostSeconds(1.0), "1", all - slow),
        (Counts::AtMostSeconds(f64::INFINITY), "+Inf", all),
    ] {
        let fresh = || PodSeries { pod: pod.to_owned(), counts, key: key.to_owned(), points: Vec::new() };
        let one = series.entry((pod.to_owned(), key.to_owned())).or_insert_with(fresh);
        let value = one.points.last().map_or(0.0, |(_, value)| *value) + increase;
        one.points.push((at(now), value));
    }
}

fn answers(series: &BTreeMap<(String, String), PodSeries>) -> (Answer<Vec<PodSeries>>, Answer<Vec<PodSeries>>) {
    let of = |wanted: fn(Counts) -> bool| -> Answer<Vec<PodSeries>> {
        let found: Vec<PodSeries> = series.values().filter(|one| wanted(one.counts)).cloned().collect();
        if found.is_empty() { Err(Missing::Empty) } else { Ok(found) }
    };
    (of(|counts| !matches!(counts, Counts::AtMostSeconds(_))), of(|counts| matches!(counts, Counts::AtMostSeconds(_))))
}

fn errors() -> Rule {
    Rule::ErrorRate { max: Some(0.05), max_ratio: Some(2.0), floor: 0.005 }
}

fn said(result: &CheckResult) -> (Verdict, &Why) {
    (result.verdict, &result.why)
}

const HELD: (Verdict, &Why) = (Verdict::Inconclusive, &Why::ExternalCause);
const BREACHED: (Verdict, &Why) = (Verdict::Breached, &Why::OutsideLimit);

#[test]
fn an_outage_after_completion_that_hits_a_control_too_is_not_the_releases() {
    let mut story = Story::after(FINE);
    story.alone(6, FINE, FINE).alone(6, BAD, BAD);
    assert_eq!(said(&story.judge(errors(), &[])), BREACHED, "without a control it looks like the release");
    let held = story.errors();
    assert_eq!(said(&held), HELD);
    assert_eq!(
        held.message,
        "30% against a limit of 5% (360 bad of 1200 requests), but payments, which was not released, has got worse at the \
         same time (30%, 0.1% before): not caused by this release"
    );
    assert!(held.record.is_empty() && held.first_bad.is_none() && held.odds.is_some());
}

#[test]
fn a_slow_dependency_is_not_the_releases_either() {
    let mut story = Story::after(FINE);
    story.alone(6, FINE, FINE).alone(6, SLOW, SLOW);
    for rule in [
        Rule::Latency { quantile: Quantile::P95, max: Some(1.0), max_ratio: None },
        Rule::Latency { quantile: Quantile::P95, max: None, max_ratio: Some(2.0) },
    ] {
        let alone = story.judge(rule.clone(), &[]);
        assert_eq!(said(&alone), BREACHED, "{}", alone.message);
        let held = story.judge(rule.clone(), &[story.control()]);
        assert_eq!(said(&held), HELD, "{}", held.message);
        assert_eq!(said(&story.judge(errors(), &[story.control()])).0, Verdict::Passing, "by the same check only");
    }
}

#[test]
fn a_release_that_is_bad_while_its_controls_are_well_is_breached_by_the_same_record() {
    let mut story = Story::after(FINE);
    story.alone(6, FINE, FINE).alone(6, BAD, FINE);
    let result = story.errors();
    assert_eq!(said(&result), BREACHED);
    assert_eq!(result, story.judge(errors(), &[]), "a control that says nothing changes nothing");
}

#[test]
fn one_control_of_several_is_enough() {
    let mut story = Story::after(FINE);
    story.alone(6, BAD, BAD);
    let nothing = Control::new("search", Err(Missing::Empty), Err(Missing::Empty));
    assert_eq!(said(&story.judge(errors(), &[nothing, story.control()])), HELD);
}

#[test]
fn a_quiet_control_is_compared_with_all_of_its_time_before() {
    let mut story = Story::after((5.0, 0.0, 0.0));
    story.alone(2, BAD, (5.0, 1.0, 0.0));
    assert_eq!(said(&story.errors()), HELD, "six bad of thirty, and none of nine hundred before");
}

#[test]
fn a_control_that_was_released_itself_is_none() {
    let mut story = Story::after(FINE);
    story.alone(6, FINE, FINE);
    story.set = NEXT;
    story.alone(6, BAD, BAD);
    assert_eq!(said(&story.errors()), BREACHED);
}

#[test]
fn a_control_with_an_old_trouble_of_its_own_is_no_external_cause() {
    let mut story = Story::after(BAD);
    story.alone(6, FINE, BAD).alone(6, BAD, BAD);
    assert_eq!(said(&story.errors()), BREACHED);
}

#[test]
fn a_control_that_was_bad_at_another_time_is_no_external_cause() {
    let mut story = Story::after(FINE);
    story.alone(4, FINE, BAD).alone(6, FINE, FINE).alone(6, BAD, FINE);
    assert_eq!(said(&story.errors()), BREACHED);
}

#[test]
fn no_data_of_a_control_is_no_evidence() {
    let mut story = Story::after(FINE);
    story.alone(6, BAD, FINE);
    for missing in [Missing::Empty, Missing::Unavailable("down".into())] {
        let control = Control::new("payments", Err(missing.clone()), Err(missing));
        assert_eq!(said(&story.judge(errors(), &[control])), BREACHED);
    }
    let mut idle = Story::after(NOTHING);
    idle.alone(6, BAD, NOTHING);
    assert_eq!(said(&idle.errors()), BREACHED);
}

#[test]
fn while_old_pods_serve_beside_the_new_ones_controls_are_not_asked() {
    let mut story = Story::after(FINE);
    story.steps(6, Some(FINE), Some(BAD), Some(BAD));
    assert_eq!(said(&story.errors()), BREACHED, "the old pods have said whose fault it is");
}

#[test]
fn what_goes_on_when_the_old_pods_are_gone_is_asked_about() {
    let mut story = Story::after(FINE);
    story.steps(1, Some(FINE), Some(BAD), Some(BAD)).alone(4, BAD, BAD);
    assert_eq!(said(&story.errors()), HELD);
}

#[test]
fn when_the_fault_is_over_the_release_is_judged_by_what_comes_after() {
    let mut story = Story::after(FINE);
    story.alone(6, FINE, FINE).alone(4, BAD, BAD).alone(1, BAD, FINE);
    let recovering = story.errors();
    assert_ne!(recovering.verdict, Verdict::Breached, "{}", recovering.message);
    story.alone(2, FINE, FINE);
    let well = story.errors();
    assert_eq!(said(&well), (Verdict::Passing, &Why::WithinLimit), "{}", well.message);
    assert_eq!(well.requests, Some(2 * 3 * 200), "nothing of the outage counts, and nothing of before");

    story.alone(4, BAD, FINE);
    let result = story.errors();
    assert_eq!(said(&result), BREACHED, "{}", result.message);
    let record: Recorded = result.record.parse().unwrap();
    assert_eq!(record.recomputed().to_bits(), record.found.to_bits());
    let looks = record.parts[0].looks.len();
    assert!(looks <= 6, "the {looks} looks of the record are those that count");
}

#[test]
fn a_second_fault_holds_again() {
    let mut story = Story::after(FINE);
    story.alone(4, BAD, BAD).alone(6, FINE, FINE).alone(4, BAD, BAD);
    assert_eq!(said(&story.errors()), HELD);
}

#[test]
fn a_hold_does_not_outlast_the_release_of_its_control() {
    let mut story = Story::after(FINE);
    story.alone(6, BAD, BAD);
    assert_eq!(said(&story.errors()), HELD);
    story.set = NEXT;
    story.alone(6, BAD, FINE);
    assert_eq!(said(&story.errors()), BREACHED);
}

#[test]
fn bad_windows_in_a_row_are_held_back_in_the_same_way() {
    let mut story = Story::after(FINE);
    story.method = IN_A_ROW;
    story.alone(6, FINE, FINE).alone(3, BAD, BAD);
    let max = || Rule::error_rate(0.05);
    assert_eq!(said(&story.judge(max(), &[])), BREACHED);
    let held = story.judge(max(), &[story.control()]);
    assert_eq!((said(&held), held.in_a_row), (HELD, 3));
    story.alone(2, BAD, FINE);
    assert_eq!(story.judge(max(), &[story.control()]).why, Why::CountingUp, "the count begins anew");
    story.alone(3, BAD, FINE);
    assert_eq!(said(&story.judge(max(), &[story.control()])), BREACHED, "the release is bad by itself");
}

#[test]
fn looks_cover_the_time_since_the_rollout_was_complete() {
    let mut story = Story::after(FINE);
    story.alone(6, FINE, FINE);
    assert_eq!(story.errors().covered.as_secs(), 6 * STEP);
}

/// In one look nobody asks anything.
#[test]
fn a_look_without_requests_is_none_without_old_pods() {
    let mut story = Story::after(FINE);
    story.steps(1, Some(FINE), Some(BAD), Some(BAD)).steps(1, None, Some(NOTHING), Some(BAD));
    story.steps(5, Some(FINE), Some(BAD), Some(BAD));
    assert_eq!(said(&story.errors()), BREACHED, "old pods serve beside the new ones, and are well");
}
