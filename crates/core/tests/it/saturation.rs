//! Saturation as a policy's check: from the answers of its queries to a verdict.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use crate::support::{at, rolling_v2, version};
use snapback_core::checks::{CheckResult, Measured, Verdict, Why, evaluate_all, saturation_key};
use snapback_core::policy::{Analysis, Check, Resource, Rule, Severity};
use snapback_core::sample::{Answer, Missing, Point, Side};
use snapback_core::workload::Workload;

const STEP: i64 = 30;
const PROOF: Analysis = Analysis::Sequential { false_alarms: 0.001 };

/// The share of saturated pods at each look, from the one before the rollout on.
type Asked = BTreeMap<String, Answer<Vec<Point>>>;

fn answered(asked: &mut Asked, resource: Resource, side: Side, before: f64, shares: &[f64]) {
    let values = std::iter::once(&before).chain(shares);
    let points = (0i64..).zip(values).map(|(look, value)| Point { at: at(look * STEP), value: *value });
    asked.insert(saturation_key("full", resource, side), Ok(points.collect()));
}

fn judged(asked: &Asked, method: Analysis, max: &[(Resource, f64)]) -> CheckResult {
    judged_of(&rolling_v2(), asked, method, max)
}

fn judged_of(workload: &Workload, asked: &Asked, method: Analysis, max: &[(Resource, f64)]) -> CheckResult {
    let check =
        Check { name: "full".into(), severity: Severity::Warning, rule: Rule::Saturation { max: max.to_vec() } };
    let measured = Measured {
        revision: &version("v2"),
        known_good: Some(&version("v1")),
        since: at(0),
        completed: Some(at(0)),
        workload,
        requests: &Err(Missing::Empty),
        latencies: &Err(Missing::Empty),
        past: None,
        looks: 30,
        queries: asked,
        minimum_requests: 50,
    };
    evaluate_all(&[check], method, &measured).remove(0)
}

const MEMORY: &[(Resource, f64)] = &[(Resource::Memory, 0.9)];
const BOTH: &[(Resource, f64)] = &[(Resource::Memory, 0.9), (Resource::Cpu, 0.95)];

fn said(result: &CheckResult) -> (Verdict, &Why) {
    (result.verdict, &result.why)
}

#[test]
fn new_pods_that_stay_full_while_the_old_ones_are_not_are_a_breach() {
    let mut asked = Asked::new();
    answered(&mut asked, Resource::Memory, Side::New, 0.0, &[1.0; 9]);
    answered(&mut asked, Resource::Memory, Side::Old, 0.0, &[0.25; 9]);
    let early = judged(&asked, PROOF, MEMORY);
    assert_eq!(said(&early), (Verdict::Inconclusive, &Why::CountingUp), "a pod that warms up is busy too");
    let words =
        "100% of the new pods use over 90% of their memory limit, and 25% of the old ones, 9 of 10 looks in a row";
    assert_eq!(early.message, words);

    answered(&mut asked, Resource::Memory, Side::New, 0.0, &[1.0; 10]);
    let late = judged(&asked, PROOF, MEMORY);
    assert_eq!(said(&late), (Verdict::Breached, &Why::OutsideLimit));
    assert_eq!(late.first_bad, Some(at(0)));
    assert!(late.message.ends_with("old ones, 10 looks in a row"), "{}", late.message);
    assert_eq!(judged(&asked, Analysis::Consecutive { failures: 11 }, MEMORY).verdict, Verdict::Inconclusive);
}

#[test]
fn pods_that_are_full_for_a_while_pass() {
    let mut asked = Asked::new();
    answered(&mut asked, Resource::Memory, Side::New, 0.0, &[1.0, 1.0, 1.0, 1.0, 0.5]);
    let result = judged(&asked, PROOF, MEMORY);
    assert_eq!(said(&result), (Verdict::Passing, &Why::WithinLimit));
    assert_eq!(result.message, "50% of the new pods use over 90% of their memory limit");
}

#[test]
fn a_surge_that_fills_old_and_new_pods_is_not_the_releases() {
    let mut asked = Asked::new();
    answered(&mut asked, Resource::Memory, Side::New, 0.0, &[1.0; 20]);
    answered(&mut asked, Resource::Memory, Side::Old, 0.0, &[1.0; 20]);
    let result = judged(&asked, PROOF, MEMORY);
    assert_eq!(said(&result), (Verdict::Inconclusive, &Why::ExternalCause));
    assert!(result.message.ends_with("and 100% of the old ones: not caused by this release"), "{}", result.message);
}

#[test]
fn without_data_nothing_is_said() {
    let mut asked = Asked::new();
    let down = Missing::Unavailable("down".into());
    asked.insert(saturation_key("full", Resource::Memory, Side::New), Err(down.clone()));
    let result = judged(&asked, PROOF, MEMORY);
    assert_eq!(said(&result), (Verdict::NoData, &Why::Missing(down)));
}

#[test]
fn pods_without_a_limit_are_told_and_the_other_resource_is_judged() {
    let nothing = judged(&Asked::new(), PROOF, BOTH);
    assert_eq!(said(&nothing), (Verdict::Inconclusive, &Why::NoLimits));
    assert!(nothing.message.contains("set resources.limits.memory"), "{}", nothing.message);
    let mut asked = Asked::new();
    answered(&mut asked, Resource::Cpu, Side::New, 0.0, &[0.0; 10]);
    assert_eq!(judged(&asked, PROOF, BOTH).verdict, Verdict::Passing);
    answered(&mut asked, Resource::Cpu, Side::New, 0.0, &[1.0; 10]);
    let result = judged(&asked, PROOF, BOTH);
    assert_eq!(result.verdict, Verdict::Breached);
    assert!(result.message.contains("use over 95% of their CPU limit"), "{}", result.message);
}

#[test]
fn before_there_is_a_new_pod_nobody_is_told_to_set_limits() {
    let mut workload = rolling_v2();
    workload.pods.retain(|pod| pod.owner.as_str() == "uid-v1");
    let early = judged_of(&workload, &Asked::new(), PROOF, MEMORY);
    assert_eq!(said(&early), (Verdict::NoData, &Why::NoPods));
    assert_eq!(early.message, "no pod of this revision yet");
}
