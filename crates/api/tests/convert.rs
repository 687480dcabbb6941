//! From what users write to what is judged: the defaults, and what is refused with which words.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use jiff::SignedDuration;
use serde_json::{Value, json};
use snapback_api::convert;
use snapback_api::v1alpha1::RollbackPolicySpec;
use snapback_core::gate::Gate;
use snapback_core::policy::{
    Analysis, Mode, OnInconclusive, OnNoData, Quantile, Relative, Resource, Rule, Severity, WindowKind,
};
use snapback_core::rollback::{Probe, Scheme};

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
    assert_eq!(policy.soak.longest, SignedDuration::from_hours(1));
    assert_eq!(policy.on_inconclusive, OnInconclusive::Accept);
    assert_eq!(policy.analysis, Analysis::Sequential { false_alarms: 0.001 });
    assert_eq!(policy.minimum_requests, 50);
    assert_eq!(policy.rollback.deadline, SignedDuration::from_mins(10));
    assert_eq!(policy.rollback.verify, SignedDuration::from_mins(2));
    assert_eq!(policy.rollback.probes, []);
    assert_eq!(policy.rollback.cooldown, SignedDuration::ZERO);
    assert_eq!(policy.rollback.approval_timeout, SignedDuration::from_hours(1));
    let rules: Vec<(&str, &Rule)> = policy.checks.iter().map(|check| (check.name.as_str(), &check.rule)).collect();
    let expected = [
        ("errors", &Rule::ErrorRate { max: Some(0.05), max_ratio: Some(2.0), floor: 0.005 }),
        ("latency", &Rule::Latency { quantile: Quantile::P95, max: None, max_ratio: Some(2.0) }),
        ("crashes", &Rule::CrashRate { max: 0.5 }),
        ("traffic", &Rule::TrafficDrop { max: 0.75 }),
    ];
    assert_eq!(rules, expected);
    assert!(policy.checks.iter().all(|check| check.severity == Severity::Critical));
    assert!(policy.windows.is_empty(), "at any time");
    assert_eq!(policy.gate, None);
}

#[test]
fn what_is_expected_has_a_meaning_only_behind_a_gate() {
    let gate = |more: Value| convert::policy(&spec(&more)).map(|policy| policy.gate);
    assert_eq!(gate(json!({"gate": "None"})), Ok(None));
    assert_eq!(gate(json!({"gate": "Soak"})), Ok(Some(Gate { expected: None })));
    let expected = Some("sha256:0a1b".to_owned());
    assert_eq!(gate(json!({"gate": "Soak", "expectedRevision": "sha256:0a1b"})), Ok(Some(Gate { expected })));
    let refused = |more: Value| gate(more).unwrap_err().to_string();
    for more in [json!({"expectedRevision": "v2"}), json!({"gate": "None", "expectedRevision": "v2"})] {
        assert_eq!(refused(more), "spec.expectedRevision must be set only with gate: Soak");
    }
    for name in ["", "v 2", "v2\n", "größe", &"x".repeat(193)] {
        let refused = refused(json!({"gate": "Soak", "expectedRevision": name}));
        assert!(refused.starts_with("spec.expectedRevision must be a name without spaces"), "{name:?}: {refused}");
    }
}

#[test]
fn what_a_proxy_counts_by_service_is_judged_without_pods() {
    let policy = convert::policy(&spec(&json!({"metrics": {"preset": "Traefik", "service": "checkout-api"}}))).unwrap();
    let names: Vec<&str> = policy.checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!((policy.in_front, names.as_slice()), (true, ["errors", "latency", "crashes"].as_slice()));
    assert!(policy.is_without_control("errors") && !policy.is_without_control("crashes"));
    assert!(!convert::policy(&spec(&json!({"metrics": {"preset": "Istio"}}))).unwrap().is_without_control("errors"));

    let traffic = json!([{"name": "traffic", "trafficDrop": {"max": "75%"}}]);
    for (change, words) in [
        (
            json!({"metrics": {"preset": "IngressNginx"}, "checks": traffic}),
            "spec.checks[0].trafficDrop must not be set",
        ),
        (json!({"metrics": {"service": "a"}}), "spec.metrics.service must be set only with the presets"),
        (json!({"metrics": {"preset": "Traefik", "labels": {"pod": "p"}}}), "spec.metrics.labels must not be set"),
    ] {
        let said = convert::policy(&spec(&change)).expect_err(&change.to_string()).to_string();
        assert!(said.starts_with(words), "{change}: {said:?} does not begin with {words:?}");
    }
    let mut many =
        spec(&json!({"metrics": {"preset": "Traefik", "service": "a"}, "selector": {"matchLabels": {"a": "b"}}}));
    many.target_ref = None;
    assert!(convert::policy(&many).unwrap_err().to_string().contains("must be set only with targetRef"));
}

#[test]
fn controls_are_other_deployments_whose_pods_are_counted() {
    let deployment = |name: &str| json!({"kind": "Deployment", "name": name});
    let two = json!({"controls": [deployment("payments"), deployment("search")]});
    assert_eq!(convert::policy(&spec(&two)).unwrap().controls, ["payments", "search"]);
    let of_another_kind =
        json!({"targetRef": {"kind": "StatefulSet", "name": "payments"}, "controls": [deployment("payments")]});
    assert_eq!(convert::policy(&spec(&of_another_kind)).unwrap().controls, ["payments"]);
    for (change, words) in [
        (json!({"controls": [deployment("checkout")]}), "spec.controls must not name the target"),
        (
            json!({"controls": [deployment("a"), deployment("a")]}),
            "spec.controls must be unique, but \"a\" is named twice",
        ),
        (
            json!({"controls": [deployment("a")], "metrics": {"preset": "Traefik"}}),
            "spec.controls must not be set with a preset that counts by Service",
        ),
    ] {
        let said = convert::policy(&spec(&change)).expect_err(&change.to_string()).to_string();
        assert!(said.starts_with(words), "{change}: {said:?} does not begin with {words:?}");
    }
}

#[test]
fn a_window_is_in_utc_unless_it_names_a_zone() {
    let windows = convert::policy(&spec(&json!({"windows": [
        {"kind": "Allow", "schedule": "0 9 * * MON-FRI", "duration": "8h"},
        {"name": "freeze", "kind": "Deny", "schedule": "0 0 20 12 *", "duration": "744h", "timeZone": "Europe/Berlin"}
    ]})))
    .unwrap()
    .windows;
    let read: Vec<_> = windows.iter().map(|window| (window.kind, window.schedule.zone().iana_name())).collect();
    assert_eq!(read, [(WindowKind::Allow, Some("Etc/UTC")), (WindowKind::Deny, Some("Europe/Berlin"))]);
    assert_eq!(windows[0].duration, SignedDuration::from_hours(8));
    assert_eq!((windows[0].title().as_str(), windows[1].title().as_str()), ("\"0 9 * * MON-FRI\"", "\"freeze\""));
}

#[test]
fn a_window_that_cannot_be_meant_is_refused_with_its_field() {
    let good = json!({"kind": "Deny", "schedule": "0 0 * * *", "duration": "1h"});
    let table = [
        (
            json!({"schedule": "0 25 * * *"}),
            "spec.windows[1].schedule must be a cron schedule of five fields such as \"0 9 * * 1-5\", but is \"0 25 * * *\"",
        ),
        (json!({"schedule": "0 0 9 * * 1-5"}), "spec.windows[1].schedule must be a cron schedule of five fields"),
        (json!({"schedule": "0 0 31 11 *"}), "spec.windows[1].schedule must be a time that comes"),
        (json!({"timeZone": "Berlin"}), "spec.windows[1].timeZone must be a time zone of the IANA database"),
        (json!({"duration": "0s"}), "spec.windows[1].duration must be at least 1m and at most 744h"),
        (json!({"duration": "745h"}), "spec.windows[1].duration must be at least 1m and at most 744h"),
        (json!({"duration": "7d"}), "spec.windows[1].duration must be a duration such as"),
    ];
    for (change, words) in table {
        let mut bad = good.clone();
        bad.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let windows = json!({"windows": [good, bad]});
        let said = convert::policy(&spec(&windows)).expect_err(&change.to_string()).to_string();
        assert!(said.starts_with(words), "{change}: {said:?} does not begin with {words:?}");
    }
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
fn a_full_pod_is_a_warning_unless_the_policy_says_otherwise() {
    let check = |more: Value| {
        let mut check = json!({"name": "full", "saturation": {"cpu": {"max": "95%"}, "memory": {"max": "0.9"}}});
        check.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        convert::policy(&spec(&json!({"checks": [check]}))).unwrap().checks.remove(0)
    };
    let full = check(json!({}));
    assert_eq!(full.severity, Severity::Warning);
    assert_eq!(full.rule, Rule::Saturation { max: vec![(Resource::Memory, 0.9), (Resource::Cpu, 0.95)] });
    assert_eq!(check(json!({"severity": "Critical"})).severity, Severity::Critical);
}

#[test]
fn a_burn_rate_is_the_workbooks_page_unless_the_policy_says_otherwise() {
    let check = |burn_rate: Value| {
        let checks = json!({"checks": [{"name": "slo", "burnRate": burn_rate}]});
        convert::policy(&spec(&checks)).unwrap().checks.remove(0)
    };
    let counted = check(json!({"objective": "99.9%", "errors": "a[{{ window }}]", "total": "b"}));
    assert_eq!(counted.severity, Severity::Warning, "nothing says who burns it");
    let Rule::BurnRate { budget, promql, windows } = counted.rule else { panic!("no burn rate") };
    assert!((budget - 0.001).abs() < 1e-9);
    assert_eq!(promql, "(sum(a[{{ window }}]\n) or vector(0)) / (sum(b\n) > 0)");
    let [page] = windows.try_into().unwrap();
    assert_eq!((page.short.text.as_str(), page.long.text.as_str(), page.factor), ("5m", "1h", 14.4));
    // Pyrra's, of an objective over 30 days.
    let pyrra = [json!({"short": "5m", "long": "1h4m", "factor": "14"})];
    let recorded =
        check(json!({"objective": "0.995", "errorRatio": "http_requests:burnrate{{ window }}", "windows": pyrra}));
    let Rule::BurnRate { promql, windows, .. } = recorded.rule else { panic!("no burn rate") };
    assert_eq!((promql.as_str(), windows[0].long.text.as_str()), ("http_requests:burnrate{{ window }}", "1h4m"));
    assert_eq!(windows[0].long.length.as_secs(), 64 * 60);
}

#[test]
fn probes_are_plain_http_unless_they_say_otherwise_and_the_record_says_the_same() {
    let http = json!([{"path": "/healthz", "port": 8080}, {"path": "/ready?full=1", "port": 8443, "scheme": "HTTPS"}]);
    let policy = convert::policy(&spec(&json!({"rollback": {"verify": {"http": http}}}))).unwrap();
    let probes = policy.rollback.probes;
    let expected = [
        Probe { scheme: Scheme::Http, port: 8080, path: "/healthz".to_owned() },
        Probe { scheme: Scheme::Https, port: 8443, path: "/ready?full=1".to_owned() },
    ];
    assert_eq!(probes, expected);
    let recorded = convert::probe_specs(&probes);
    assert_eq!(serde_json::to_value(&recorded).unwrap(), http);
    assert_eq!(convert::probes("spec.verify.http", &recorded).unwrap(), probes);
}

#[test]
fn a_burn_rate_that_cannot_be_meant_is_refused_with_its_field() {
    let windows = |short: &str, long: &str, factor: &str| json!({"objective": "99%", "errorRatio": "a", "windows": [{"short": short, "long": long, "factor": factor}]});
    let table = [
        (json!({"objective": "100%", "errorRatio": "a"}), ".objective must be under \"100%\""),
        (
            json!({"objective": "99%", "errors": "a", "errorRatio": "b"}),
            " must set either errors and total, or errorRatio",
        ),
        (
            json!({"objective": "90%", "errorRatio": "a"}),
            ".windows must have a factor under 10: no error rate burns faster than all",
        ),
        (
            windows("16m", "1h", "2"),
            ".windows[0] must have a short window of at most soak.duration (15m), but it is 16m",
        ),
        (windows("5m", "5m", "2"), ".windows[0] must have a short window that is shorter than the long one"),
        (windows("0s", "5m", "2"), ".windows[0].short must not be zero"),
        (windows("5m", "1h", "0.5"), ".windows[0].factor must be at least 1"),
    ];
    for (burn_rate, words) in table {
        let more = json!({"checks": [{"name": "slo", "burnRate": burn_rate}]});
        let said = convert::policy(&spec(&more)).expect_err(&more.to_string()).to_string();
        assert!(said.starts_with(&format!("spec.checks[0].burnRate{words}")), "{more}: {said:?}");
    }
}

#[test]
fn a_limit_that_nothing_or_everything_is_over_is_refused_with_what_was_meant() {
    let errors = |max: &str| json!({"name": "a", "errorRate": {"max": max}});
    let crashes = |max: &str| json!({"name": "a", "crashRate": {"max": max}});
    let orders =
        |bound: &str, value: &str| json!({"name": "a", "query": {"promql": "up", "of": "Baseline", bound: value}});
    let under = "must be under \"100%\": nothing can be over all of it; for one percent write \"1%\"";
    for (check, field, words) in [
        (errors("1"), "errorRate.max", under),
        (crashes("100%"), "crashRate.max", under),
        (orders("min", "70"), "query.min", "must be at most \"100%\" with of: Baseline"),
        (orders("max", "150"), "query.max", "must be at most 20 times the baseline"),
    ] {
        let more = json!({"checks": [check]});
        let said = convert::policy(&spec(&more)).expect_err(&more.to_string()).to_string();
        assert!(said.starts_with(&format!("spec.checks[0].{field} {words}")), "{more}: {said:?}");
    }
    for check in [errors("99%"), orders("min", "100%"), orders("max", "150%"), orders("max", "20")] {
        assert!(convert::policy(&spec(&json!({"checks": [check]}))).is_ok());
    }
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
        (json!({"soak": {"progressDeadline": "9s"}}), "spec.soak.progressDeadline must be at least 10s"),
        (json!({"minimumRequests": 0}), "spec.minimumRequests must be at least 1"),
        (json!({"analysis": {"failures": 3}}), "spec.analysis.failures must be set only with method: Consecutive"),
        (json!({"analysis": {"method": "Consecutive", "failures": 0}}), "spec.analysis.failures must be at least 1"),
        (
            json!({"analysis": {"method": "Consecutive", "falseAlarmRate": "0.01"}}),
            "spec.analysis.falseAlarmRate must be set only with method: Sequential",
        ),
        (json!({"analysis": {"falseAlarmRate": "50%"}}), "spec.analysis.falseAlarmRate must be between"),
        (json!({"soak": {"maxDuration": "5m"}}), "spec.soak.maxDuration must be at least spec.soak.duration"),
        (
            json!({"checks": [{"name": "errors", "errorRate": {}}]}),
            "spec.checks[0].errorRate must set max, maxRatio or both",
        ),
        (
            json!({"checks": [{"name": "quiet", "trafficDrop": {"max": "100%"}}]}),
            "spec.checks[0].trafficDrop.max must be under \"100%\"",
        ),
        (
            json!({"checks": [{"name": "full", "saturation": {}}]}),
            "spec.checks[0].saturation must set at least one of memory, cpu and throttling",
        ),
        (
            json!({"checks": [{"name": "full", "saturation": {"throttling": {"max": "1"}}}]}),
            "spec.checks[0].saturation.throttling.max must be under \"100%\"",
        ),
        (
            json!({"checks": [{"name": "own", "query": {"promql": "up", "max": "2", "floor": "1"}}]}),
            "spec.checks[0].query must set floor only with of: Baseline",
        ),
        (
            json!({"checks": [{"name": "own", "query": {"promql": "up", "max": "2", "of": "Baseline", "floor": "10%"}}]}),
            "spec.checks[0].query.floor must be a decimal number",
        ),
        (json!({"checks": []}), "spec.checks must name at least one check"),
        (
            json!({"checks": [{"name": "a"}]}),
            "spec.checks[0] must set exactly one of errorRate, latency, crashRate, trafficDrop, saturation, burnRate or query",
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
        (json!({"rollback": {"helm": {"job": "Helm"}}}), "spec.rollback.helm.job must be the name of"),
        (json!({"rollback": {"verify": {"duration": "soon"}}}), "spec.rollback.verify.duration must be"),
        (
            json!({"rollback": {"verify": {"http": [{"path": "/", "port": 80}, {"path": "healthz", "port": 80}]}}}),
            "spec.rollback.verify.http[1].path must begin with /",
        ),
        (
            json!({"rollback": {"verify": {"http": [{"path": "/a b", "port": 80}]}}}),
            "spec.rollback.verify.http[0].path must begin with /",
        ),
        (
            json!({"rollback": {"verify": {"http": [{"path": "/", "port": 0}]}}}),
            "spec.rollback.verify.http[0].port must be 1 to 65535, but is 0",
        ),
        (
            json!({"rollback": {"verify": {"http": [{"path": "/", "port": 65536}]}}}),
            "spec.rollback.verify.http[0].port must be 1 to 65535",
        ),
    ];
    for (more, words) in table {
        let said = convert::policy(&spec(&more)).expect_err(&more.to_string()).to_string();
        assert!(said.starts_with(words), "{more}: {said:?} does not begin with {words:?}");
    }
}

#[test]
fn what_the_schemas_rules_refuse_is_refused_without_them_too() {
    let burn = |windows: Value| {
        let slo = json!({"objective": "99%", "errorRatio": "a{{ window }}", "windows": windows});
        json!({"checks": [{"name": "slo", "burnRate": slo}]})
    };
    let window = |schedule: &str| json!({"windows": [{"kind": "Deny", "schedule": schedule, "duration": "8h"}]});
    for (change, words) in [
        (
            json!({"checks": [{"name": "a", "errorRate": {"max": "5%", "floor": "1%"}}]}),
            "spec.checks[0].errorRate must set floor only with maxRatio",
        ),
        (burn(json!([])), "spec.checks[0].burnRate.windows must hold a pair of windows"),
        (
            burn(json!([{"short": "1m1ms", "long": "1h", "factor": "2"}])),
            "spec.checks[0].burnRate.windows[0].short must be in hours, minutes and seconds",
        ),
        (window("0\t9 * * 1-5"), "spec.windows[0].schedule must be a cron schedule"),
        (window("0 9 ? * 1-5"), "spec.windows[0].schedule must be a cron schedule"),
    ] {
        let told = convert::policy(&spec(&change)).unwrap_err().to_string();
        assert!(told.starts_with(words), "{told}");
    }
}

#[test]
fn a_selector_that_would_choose_everything_is_refused() {
    for (selector, words) in [
        (json!({}), "spec.selector must name at least one label"),
        (json!({"matchExpressions": [{"key": "a", "operator": "In"}]}), "spec.selector.matchExpressions[0] must have"),
        (
            json!({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}),
            "spec.selector.matchExpressions[0] must have",
        ),
    ] {
        let spec: RollbackPolicySpec = serde_json::from_value(json!({"selector": selector})).unwrap();
        let told = convert::policy(&spec).unwrap_err().to_string();
        assert!(told.starts_with(words), "{told}");
    }
}
