//! From what users write to what is judged: the defaults, and what is refused with which words.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use jiff::SignedDuration;
use serde_json::{Value, json};
use snapback_api::convert;
use snapback_api::v1alpha1::RollbackPolicySpec;
use snapback_core::policy::{Analysis, Mode, OnNoData, Quantile, Relative, Rule, Severity};

fn spec(more: &Value) -> RollbackPolicySpec {
    let mut spec = json!({"targetRef": {"kind": "Deployment", "name": "checkout"}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(spec).unwrap()
}

#[test]
fn a_policy_that_names_only_its_target_has_the_documented_defaults() {
    let policy = convert::policy(&spec(&json!({}))).unwrap();
    assert_eq!((policy.mode, policy.suspend, policy.on_no_data), (Mode::Automatic, false, OnNoData::Hold));
    assert_eq!(policy.soak.duration, SignedDuration::from_mins(15));
    assert_eq!(policy.soak.interval, SignedDuration::from_secs(30));
    assert_eq!(policy.analysis, Analysis::Consecutive { failures: 3 });
    assert_eq!(policy.minimum_requests, 50);
    assert_eq!(policy.rollback.deadline, SignedDuration::from_mins(10));
    assert_eq!(policy.rollback.verify, SignedDuration::from_mins(2));
    assert_eq!(policy.rollback.cooldown, SignedDuration::ZERO);
    assert_eq!(policy.rollback.approval_timeout, SignedDuration::from_hours(1));
    let rules: Vec<(&str, &Rule)> = policy.checks.iter().map(|check| (check.name.as_str(), &check.rule)).collect();
    let expected = [
        ("errors", &Rule::ErrorRate { max: 0.05 }),
        ("latency", &Rule::Latency { quantile: Quantile::P95, max: None, max_ratio: Some(2.0) }),
        ("crashes", &Rule::CrashRate { max: 0.5 }),
    ];
    assert_eq!(rules, expected);
    assert!(policy.checks.iter().all(|check| check.severity == Severity::Critical));
}

#[test]
fn percentages_fractions_and_units_mean_the_same() {
    let rule = |check: Value| convert::policy(&spec(&json!({"checks": [check]}))).unwrap().checks.remove(0).rule;
    assert_eq!(
        rule(json!({"name": "a", "errorRate": {"max": "0.5%"}})),
        rule(json!({"name": "a", "errorRate": {"max": "0.005"}}))
    );
    let seconds = rule(json!({"name": "a", "latency": {"max": "1500ms"}}));
    assert_eq!(seconds, rule(json!({"name": "a", "latency": {"max": "1s500ms"}})));
    let Rule::Query { min: Some(min), .. } =
        rule(json!({"name": "a", "query": {"promql": "up", "min": "80%", "of": "Baseline"}}))
    else {
        panic!("not a query with a minimum")
    };
    assert_eq!((min.of, min.value), (Relative::Baseline, 0.8));
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_field() {
    let table = [
        (json!({"selector": {"matchLabels": {"a": "b"}}}), "spec must set exactly one of targetRef and selector"),
        (json!({"soak": {"interval": "500ms"}}), "spec.soak.interval must be at least 1s"),
        (
            json!({"soak": {"duration": "10s", "interval": "20s"}}),
            "spec.soak.duration must be at least spec.soak.interval",
        ),
        (json!({"soak": {"duration": "25h"}}), "spec.soak.duration must be at most 24h"),
        (json!({"minimumRequests": 0}), "spec.minimumRequests must be at least 1"),
        (json!({"analysis": {"failures": 0}}), "spec.analysis.failures must be at least 1"),
        (json!({"checks": []}), "spec.checks must name at least one check"),
        (
            json!({"checks": [{"name": "a"}]}),
            "spec.checks[0] must set exactly one of errorRate, latency, crashRate or query",
        ),
        (
            json!({"checks": [{"name": "a", "crashRate": {"max": "1%"}}, {"name": "a", "crashRate": {"max": "2%"}}]}),
            "spec.checks[1].name must be unique",
        ),
        (json!({"checks": [{"name": "a", "errorRate": {"max": "101%"}}]}), "spec.checks[0].errorRate.max must be"),
        (
            json!({"checks": [{"name": "a", "latency": {"maxRatio": "1"}}]}),
            "spec.checks[0].latency.maxRatio must be over 1",
        ),
        (json!({"checks": [{"name": "a", "latency": {}}]}), "spec.checks[0].latency must set max, maxRatio or both"),
        (
            json!({"checks": [{"name": "a", "query": {"promql": "up"}}]}),
            "spec.checks[0].query must set min, max or both",
        ),
        (json!({"rollback": {"approvalTimeout": "5s"}}), "spec.rollback.approvalTimeout must be at least 1m"),
        (json!({"rollback": {"verify": {"duration": "soon"}}}), "spec.rollback.verify.duration must be"),
    ];
    for (more, words) in table {
        let said = convert::policy(&spec(&more)).expect_err(&more.to_string()).to_string();
        assert!(said.starts_with(words), "{more}: {said:?} does not begin with {words:?}");
    }
}
