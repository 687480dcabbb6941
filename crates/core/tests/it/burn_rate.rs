//! A burn rate as a policy's check: from the answers of its queries to a verdict.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use crate::support::{at, complete_v2, version};
use snapback_core::checks::{CheckResult, Measured, Verdict, Why, burn_rate_key, evaluate_all};
use snapback_core::duration;
use snapback_core::policy::{Analysis, BurnWindow, BurnWindows, Check, Rule, Severity};
use snapback_core::sample::{Answer, Missing, Point};

const STEP: i64 = 30;

type Asked = BTreeMap<String, Answer<Vec<Point>>>;

/// Shares of errors, from one look before the rollout on.
fn answered(asked: &mut Asked, window: &str, shares: &[f64]) {
    let points = (0i64..).zip(shares).map(|(look, value)| Point { at: at(look * STEP), value: *value });
    asked.insert(burn_rate_key("slo", window), Ok(points.collect()));
}

/// The page of the workbook, and its slower sister.
fn judged(asked: &Asked) -> CheckResult {
    let window = |text: &str| BurnWindow { text: text.into(), length: duration::parse(text).unwrap() };
    let pair = |short, long, factor| BurnWindows { short: window(short), long: window(long), factor };
    let windows = vec![pair("5m", "1h", 14.4), pair("30m", "6h", 6.0)];
    let rule = Rule::BurnRate { budget: 0.001, promql: String::new(), windows };
    let check = Check { name: "slo".into(), severity: Severity::Critical, rule };
    let measured = Measured {
        revision: &version("v2"),
        known_good: Some(&version("v1")),
        since: at(0),
        completed: Some(at(0)),
        workload: &complete_v2(),
        requests: &Err(Missing::Empty),
        latencies: &Err(Missing::Empty),
        past: None,
        looks: 30,
        queries: asked,
        minimum_requests: 50,
    };
    evaluate_all(&[check], Analysis::Sequential { false_alarms: 0.001 }, &measured).remove(0)
}

/// Both pairs keep their limits.
fn calm() -> Asked {
    let mut asked = Asked::new();
    for window in ["5m", "1h", "30m", "6h"] {
        answered(&mut asked, window, &[0.0005; 5]);
    }
    asked
}

fn said(result: &CheckResult) -> (Verdict, &Why) {
    (result.verdict, &result.why)
}

#[test]
fn a_budget_that_begins_to_burn_with_the_rollout_is_a_breach_after_three_looks() {
    let mut asked = calm();
    answered(&mut asked, "5m", &[0.001, 0.05, 0.05]);
    answered(&mut asked, "1h", &[0.001, 0.02, 0.0223]);
    let early = judged(&asked);
    assert_eq!(said(&early), (Verdict::Inconclusive, &Why::CountingUp));
    assert!(early.message.ends_with("14.4, 2 of 3 looks in a row; before the rollout at most 1"), "{}", early.message);
    answered(&mut asked, "5m", &[0.001, 0.05, 0.05, 0.05]);
    answered(&mut asked, "1h", &[0.001, 0.02, 0.0223, 0.0223]);
    let result = judged(&asked);
    assert_eq!(said(&result), (Verdict::Breached, &Why::OutsideLimit));
    assert_eq!(
        result.message,
        "since the rollout the error budget burns at 21.3 times the rate of the objective over 5m and 1h, against a limit \
         of 14.4, 3 looks in a row; before the rollout at most 1"
    );
}

#[test]
fn the_slower_pair_finds_what_the_faster_one_lets_pass() {
    let mut asked = calm();
    answered(&mut asked, "30m", &[0.0, 0.01, 0.01, 0.01]);
    answered(&mut asked, "6h", &[0.0, 0.007, 0.007, 0.007]);
    let result = judged(&asked);
    assert_eq!(said(&result), (Verdict::Breached, &Why::OutsideLimit));
    assert_eq!(result.limit, Some(6.0));
}

#[test]
fn a_budget_that_lasts_passes() {
    let result = judged(&calm());
    assert_eq!(said(&result), (Verdict::Passing, &Why::WithinLimit));
    assert_eq!(result.covered.as_secs(), 4 * STEP);
    let told = "since the rollout the error budget burns at 0 times the rate of the objective over 5m and 1h, against a \
                limit of 14.4";
    assert_eq!(result.message, told);
}

#[test]
fn what_burned_before_the_rollout_is_an_external_cause() {
    let mut asked = calm();
    answered(&mut asked, "5m", &[0.05; 5]);
    answered(&mut asked, "1h", &[0.01, 0.05, 0.05, 0.05, 0.05]);
    let result = judged(&asked);
    assert_eq!(said(&result), (Verdict::Inconclusive, &Why::ExternalCause));
    assert!(
        result.message.ends_with("; before the rollout at most 50: not caused by this release"),
        "{}",
        result.message
    );
}

#[test]
fn a_window_without_data_says_nothing() {
    let mut asked = calm();
    asked.insert(burn_rate_key("slo", "6h"), Err(Missing::Empty));
    assert_eq!(said(&judged(&asked)), (Verdict::NoData, &Why::Missing(Missing::Empty)));
    assert_eq!(judged(&Asked::new()).verdict, Verdict::NoData);
    let away = Missing::Unavailable("refused the connection".into());
    for window in ["5m", "1h", "30m", "6h"] {
        asked.insert(burn_rate_key("slo", window), Err(away.clone()));
    }
    assert_eq!(said(&judged(&asked)), (Verdict::NoData, &Why::Missing(away)));
}

#[test]
fn a_service_without_requests_before_has_nothing_to_be_compared_with() {
    let mut asked = calm();
    for window in ["5m", "1h"] {
        let points = (1..5).map(|look| Point { at: at(look * STEP), value: 1.0 });
        asked.insert(burn_rate_key("slo", window), Ok(points.collect()));
    }
    let result = judged(&asked);
    assert_eq!(said(&result), (Verdict::Inconclusive, &Why::NoBaseline));
    assert!(result.message.ends_with("nothing is known of the time before the rollout"), "{}", result.message);
}
