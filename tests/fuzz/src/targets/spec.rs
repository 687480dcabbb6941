//! Specs of both kinds, as JSON: an object with `kind` and `spec`.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kube::core::SelectorExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use snapback_api::convert;
use snapback_api::v1alpha1::{
    LabelSelectorSpec, Rollback, RollbackPolicySpec, RollbackSpec, RollbackStatus, SelectorOperator,
};
use snapback_controller::rollback::{guard, next_status};
use snapback_controller::sampler::{metric_names, own_queries, validate_queries};
use snapback_core::duration;
use snapback_core::policy::{Analysis, Check, Policy, Rule};
use snapback_core::rollback::step;
use snapback_prometheus::{Values, lint, render};

use crate::schema::{broken_rules, misshapen};

pub(crate) fn target(data: &[u8]) {
    let Ok(object) = serde_json::from_slice::<Value>(data) else { return };
    if object["kind"] == "Rollback" { a_rollback(&object["spec"]) } else { a_policy(&object["spec"]) }
}

/// What is read is written the same.
fn read<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(value: &Value) -> Option<(T, Value)> {
    let spec: T = serde_json::from_value(value.clone()).ok()?;
    let written = serde_json::to_value(&spec).unwrap();
    assert_eq!(serde_json::from_value::<T>(written.clone()).unwrap(), spec);
    Some((spec, written))
}

fn a_policy(value: &Value) {
    let Some((spec, written)) = read::<RollbackPolicySpec>(value) else { return };
    if let Some(selector) = &spec.selector {
        selects_as_kubernetes_does(selector);
    }
    match convert::policy(&spec) {
        Ok(policy) => {
            is_sound(&policy);
            let names = metric_names(spec.metrics.as_ref());
            let queries = validate_queries(&spec);
            if names.is_ok() && queries.is_ok() {
                is_taken_by_the_rules("RollbackPolicy", &written);
                can_be_asked(&policy);
            }
        }
        Err(invalid) => is_told(&invalid),
    }
}

fn is_told(invalid: &convert::InvalidSpec) {
    assert!(invalid.field.starts_with("spec"), "{invalid}");
    assert!(invalid.problem.starts_with("must "), "{invalid}");
}

/// What we accept, the rules of the schema accept: an older schema, or none, lets nothing in that is not meant.
fn is_taken_by_the_rules(kind: &str, spec: &Value) {
    let object = json!({"apiVersion": "snapback.dev/v1alpha1", "kind": kind, "metadata": {"name": "a"}, "spec": spec});
    let broken = broken_rules(kind, &object);
    // The rule knows only spaces around a placeholder's name, and we all that is blank.
    let broken: Vec<&String> = broken.iter().filter(|rule| !rule.contains("must hold {{ window }}")).collect();
    assert!(broken.is_empty(), "accepted, though the schema refuses it: {broken:?}");
}

fn is_sound(policy: &Policy) {
    let soak = &policy.soak;
    assert!(soak.interval >= SignedDuration::from_secs(1) && soak.duration >= soak.interval);
    assert!(soak.longest >= soak.duration && soak.duration <= SignedDuration::from_hours(24));
    assert!((1..=120).contains(&soak.looks()) && soak.longest_looks() >= soak.looks());
    assert!(policy.minimum_requests > 0 && !policy.checks.is_empty());
    match policy.analysis {
        Analysis::Sequential { false_alarms } => assert!((1e-6..=0.1).contains(&false_alarms)),
        Analysis::Consecutive { failures } => assert!(failures > 0),
    }
    for (index, check) in policy.checks.iter().enumerate() {
        assert!(policy.checks.iter().skip(index + 1).all(|other| other.name != check.name), "twice {:?}", check.name);
        is_sound_check(check, soak.duration);
    }
    let now: Timestamp = "2026-03-29T00:30:00Z".parse().unwrap();
    for window in &policy.windows {
        assert!(window.duration >= SignedDuration::from_mins(1) && window.duration <= SignedDuration::from_hours(744));
        _ = window.state(now);
    }
    _ = snapback_core::permission::windows::outside(&policy.windows, now);
    let rules = &policy.rollback;
    assert!(rules.approval_timeout >= SignedDuration::from_mins(1));
    // A record has them as text, which its schema takes, and which is read as the same.
    for (field, length) in [
        ("deadline", rules.deadline),
        ("approvalTimeout", rules.approval_timeout),
        ("verify/properties/duration", rules.verify),
        ("verify/properties/interval", soak.interval),
    ] {
        let text = duration::format(length);
        assert_eq!(duration::parse(&text), Ok(length));
        let wrong = misshapen("Rollback", &format!("/properties/spec/properties/{field}"), &json!(text));
        assert!(wrong.is_empty(), "{wrong:?}: {text}");
    }
}

fn is_sound_check(check: &Check, soak: SignedDuration) {
    let is_part = |part: f64| (0.0..1.0).contains(&part);
    let is_ratio = |ratio: f64| ratio.is_finite() && ratio > 1.0;
    match &check.rule {
        Rule::ErrorRate { max, max_ratio, floor } => {
            assert!(max.is_some() || max_ratio.is_some());
            assert!(max.is_none_or(is_part) && max_ratio.is_none_or(is_ratio) && (0.0..=1.0).contains(floor));
        }
        Rule::Latency { max, max_ratio, .. } => {
            assert!(max.is_some() || max_ratio.is_some());
            assert!(max.is_none_or(|max| max.is_finite() && max >= 0.0) && max_ratio.is_none_or(is_ratio));
        }
        Rule::CrashRate { max } | Rule::TrafficDrop { max } => assert!(is_part(*max)),
        Rule::Saturation { max } => assert!(!max.is_empty() && max.iter().all(|(_, part)| is_part(*part))),
        Rule::BurnRate { budget, windows, .. } => {
            assert!(*budget > 0.0 && *budget <= 1.0 && !windows.is_empty());
            for pair in windows {
                assert!(pair.short.length.is_positive() && pair.short.length < pair.long.length);
                assert!(pair.short.length <= soak && pair.factor >= 1.0 && pair.factor * budget < 1.0);
            }
        }
        Rule::Query { min, max, floor, .. } => {
            assert!(min.is_some() || max.is_some());
            let is_finite =
                |bound: &Option<_>| bound.is_none_or(|bound: snapback_core::policy::Bound| bound.value.is_finite());
            assert!(is_finite(min) && is_finite(max) && floor.is_none_or(|floor| floor.is_finite() && floor >= 0.0));
        }
    }
}

/// A policy that is accepted asks for something: every query of it has all that it needs, and lint can speak of it.
fn can_be_asked(policy: &Policy) {
    let values = Values { namespace: "shop", target: "web", pods: "(web-7d9f)-[a-z0-9]{5}" };
    for (key, text) in policy.checks.iter().flat_map(own_queries) {
        let query = render(&text, &values).unwrap_or_else(|error| panic!("{key}: {error}"));
        assert!(promql_parser::parser::parse(&query).is_ok(), "{key}: {query}");
    }
    let findings = lint::policy(policy);
    assert!(findings.iter().all(|finding| finding.code != lint::Code::QueryInvalid), "{findings:?}");
}

fn selects_as_kubernetes_does(spec: &LabelSelectorSpec) {
    let selector = convert::selector(spec);
    for labels in [&[][..], &[("app", "web")], &[("app", ""), ("tier", "front")], &[("tier", "web"), ("app", "api")]] {
        let labels: BTreeMap<String, String> =
            labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let equal = spec.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
        let required = spec.match_expressions.iter().all(|one| {
            let value = labels.get(&one.key);
            let is_listed = value.is_some_and(|value| one.values.contains(value));
            match one.operator {
                SelectorOperator::In => is_listed,
                SelectorOperator::NotIn => !is_listed,
                SelectorOperator::Exists => value.is_some(),
                SelectorOperator::DoesNotExist => value.is_none(),
            }
        });
        assert_eq!(selector.matches(&labels), equal && required, "{spec:?} of {labels:?}");
    }
}

/// A record that the schema takes can be carried out, as far as it says what is put back where.
fn a_rollback(value: &Value) {
    let Some((spec, written)) = read::<RollbackSpec>(value) else { return };
    let object =
        json!({"apiVersion": "snapback.dev/v1alpha1", "kind": "Rollback", "metadata": {"name": "a"}, "spec": written});
    let is_taken =
        misshapen("Rollback", "/properties/spec", &written).is_empty() && broken_rules("Rollback", &object).is_empty();
    let rollback = Rollback::new("a", spec);
    match guard(&rollback) {
        Ok((order, progress)) => {
            assert!(order.from.fingerprint != order.to.fingerprint);
            let now = Timestamp::UNIX_EPOCH;
            let next = step(&order, &progress, None, None, now);
            _ = next_status(&rollback, &RollbackStatus::default(), &next, &[], now);
        }
        Err(problem) if is_taken => {
            let is_open = rollback.is_by_hand() && rollback.ordered().is_none();
            let is_same = rollback.ordered().is_some_and(|ordered| ordered.from.fingerprint == ordered.to.fingerprint);
            assert!(
                is_open || is_same || problem.contains("must be at most 99999h"),
                "refused, though the schema takes it: {problem}"
            );
        }
        Err(_) => {}
    }
}
