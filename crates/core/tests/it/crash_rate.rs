//! Pods that fail: when they are the release's fault, and when they are bad luck.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use crate::support::{at, crashing, pod, revision, version, workload};
use snapback_core::checks::{CheckResult, Measured, Verdict, Why, evaluate_all};
use snapback_core::policy::{Analysis, Check, Rule, Severity};
use snapback_core::sample::Missing;
use snapback_core::workload::PodFacts;

/// So many pods of a version, of which the first fail.
fn pods(version: &str, of: i32, failing: i32) -> Vec<PodFacts> {
    (0..of).map(|index| if index < failing { crashing(version, index) } else { pod(version, index) }).collect()
}

/// Judged with at most half of the pods failing.
fn judged(old: Vec<PodFacts>, new: Vec<PodFacts>) -> CheckResult {
    judged_by(0.5, old, new)
}

fn judged_by(max: f64, old: Vec<PodFacts>, new: Vec<PodFacts>) -> CheckResult {
    let mut workload = workload("v2", vec![revision("v1", 1, 0, 0), revision("v2", 2, 0, 0)]);
    workload.pods = [old, new].concat();
    let check = Check { name: "crashes".into(), severity: Severity::Critical, rule: Rule::CrashRate { max } };
    let measured = Measured {
        revision: &version("v2"),
        known_good: Some(&version("v1")),
        since: at(0),
        completed: None,
        workload: &workload,
        requests: &Err(Missing::Empty),
        latencies: &Err(Missing::Empty),
        past: None,
        looks: 30,
        queries: &BTreeMap::new(),
        minimum_requests: 50,
    };
    let [run, proof] = [Analysis::Consecutive { failures: 3 }, Analysis::Sequential { false_alarms: 0.001 }]
        .map(|method| evaluate_all(std::slice::from_ref(&check), method, &measured).remove(0));
    assert_eq!(run, proof, "pods are not counted over time");
    run
}

fn said(result: &CheckResult) -> (Verdict, &Why) {
    (result.verdict, &result.why)
}

#[test]
fn more_failing_pods_than_the_limit_are_a_breach() {
    let result = judged(Vec::new(), pods("v2", 3, 2));
    assert_eq!(said(&result), (Verdict::Breached, &Why::OutsideLimit), "{}", result.message);
    assert_eq!(result.baseline, None, "there are no old pods");
    assert_eq!(
        said(&judged(Vec::new(), pods("v2", 4, 2))),
        (Verdict::Passing, &Why::WithinLimit),
        "half is not over it"
    );
    assert_eq!(judged(Vec::new(), pods("v2", 3, 0)).message, "0 of 3 pods fail");
    assert_eq!(said(&judged(pods("v1", 3, 0), Vec::new())), (Verdict::NoData, &Why::NoPods));
}

#[test]
fn one_pod_that_fails_is_its_own_bad_luck_unless_it_is_the_only_one() {
    let leaving = PodFacts { leaving: true, ..crashing("v2", 7) };
    let alone = judged(Vec::new(), [pods("v2", 1, 1), vec![leaving]].concat());
    assert_eq!(said(&alone), (Verdict::Breached, &Why::OutsideLimit), "{}", alone.message);
    let of_three = judged_by(0.1, Vec::new(), pods("v2", 3, 1));
    assert_eq!(said(&of_three), (Verdict::Inconclusive, &Why::CountingUp), "{}", of_three.message);
    let two = judged_by(0.1, Vec::new(), pods("v2", 3, 2));
    assert_eq!(said(&two), (Verdict::Breached, &Why::OutsideLimit), "{}", two.message);
}

#[test]
fn when_the_old_pods_fail_as_well_it_is_not_the_release() {
    let result = judged(pods("v1", 3, 2), pods("v2", 3, 3));
    assert_eq!(said(&result), (Verdict::Inconclusive, &Why::ExternalCause));
    assert!(result.message.ends_with("2 of 3 old pods fail too"), "{}", result.message);
    for fewer in [0, 1, 2] {
        let result = judged(pods("v1", 4, fewer), pods("v2", 3, 3));
        assert_eq!(said(&result), (Verdict::Breached, &Why::OutsideLimit), "{fewer} of 4 old pods keep the limit");
    }
}
