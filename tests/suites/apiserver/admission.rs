//! What is let in, and what the author of the rest is told.

use anyhow::{Context, Result, ensure};

use snapback_tests::command_line;

use crate::bed::{Bed, policy};

const TARGET: &str = "targetRef: {kind: Deployment, name: checkout}";

pub(crate) fn minimal(bed: &Bed) -> Result<()> {
    let manifest = policy("default", "minimal", TARGET);
    bed.tools.kubectl_with(&["create", "--dry-run=server", "-f", "-"], &manifest)?;
    let manifest = policy("default", "minimal", "selector: {matchLabels: {app.kubernetes.io/part-of: shop}}");
    bed.tools.kubectl_with(&["create", "--dry-run=server", "-f", "-"], &manifest).map(drop)
}

pub(crate) fn checks(bed: &Bed) -> Result<()> {
    let spec = r#"targetRef: {kind: Deployment, name: checkout}
mode: Approve
suspend: false
soak: {duration: 1h30m, interval: 15s, maxDuration: 6h}
onInconclusive: Hold
minimumRequests: 200
onNoData: Pass
analysis: {method: Consecutive, failures: 5}
metrics:
  source: main
  preset: OpenTelemetry
  requests: {metric: "http:requests_total", codeLabel: status, errorCodes: "5..|429"}
  latency: {metric: request_seconds}
  labels: {namespace: kubernetes_namespace, pod: pod_name}
checks:
- {name: errors, errorRate: {max: "0.5%"}}
- {name: slow, severity: Warning, latency: {quantile: P99, max: 750ms, maxRatio: "1.5"}}
- {name: crashes, crashRate: {max: "0.25"}}
- {name: regression, errorRate: {max: "5%", maxRatio: "1.5", floor: "1%"}}
- {name: traffic, trafficDrop: {max: "80%"}}
- {name: full, severity: Critical, saturation: {memory: {max: "90%"}, cpu: {max: "0.95"}, throttling: {max: "99.9%"}}}
- {name: slo, burnRate: {objective: "99.9%", errors: "sum(rate(a[{{ window }}]))", total: "sum(rate(b[{{window}}]))"}}
- name: recorded
  burnRate:
    objective: "0.995"
    errorRatio: http_requests:burnrate{{ window }}{slo="checkout"}
    windows: [{short: 5m, long: 1h4m, factor: "14"}]
- {name: orders, query: {promql: "sum(rate(orders_total[1m]))", min: "80%", of: Baseline, floor: "0.5"}}
- {name: queue, query: {promql: "max(queue_length)", min: "-1.5", max: "10"}}
controls:
- {kind: Deployment, name: payments}
- {kind: Deployment, name: a-name-of-46-characters-that-is-long-enough-ab}
rollback:
  deadline: 5m
  helm: {job: helm}
  verify:
    duration: 90s
    http:
    - {path: /healthz, port: 8080}
    - {path: "/ready?full=1&name=%20", port: 65535, scheme: HTTPS}
windows:
- {kind: Allow, schedule: "0 9 * * 1-5", duration: 8h, timeZone: Europe/Berlin}
- {name: freeze, kind: Deny, schedule: "0  0 20,L DEC *", duration: 744h, timeZone: America/Argentina/ComodRivadavia}
- {name: odd, kind: Deny, schedule: "*/15 0-23/2 1,15 JAN-JUN MON", duration: 1m, timeZone: Etc/GMT+5}"#;
    bed.tools.kubectl_with(&["create", "--dry-run=server", "-f", "-"], &policy("default", "all", spec)).map(drop)
}

/// A spec, and what the refusal must name: the field, and what to write instead.
const REFUSED: [(&str, &[&str]); 69] = [
    (
        "targetRef: {kind: Deployment, name: a}\nexpectedRevision: v2",
        &["spec", "must set expectedRevision only with gate: Soak"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\ngate: Soak\nexpectedRevision: release 2",
        &["spec.expectedRevision", "must be a name without spaces, such as v2, sha256:... or a commit"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\ngate: Soak\nexpectedRevision: 7",
        &["spec.expectedRevision", "must be of type string"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nanalysis: {failures: 3}",
        &["spec.analysis", "must set failures only with method: Consecutive"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nanalysis: {method: Consecutive, falseAlarmRate: \"0.01\"}",
        &["spec.analysis", "must set falseAlarmRate only with method: Sequential"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nchecks: [{name: errors, errorRate: {}}]",
        &["spec.checks[0].errorRate", "must set max, maxRatio or both"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nchecks: [{name: errors, errorRate: {max: \"5%\", floor: \"1%\"}}]",
        &["spec.checks[0].errorRate", "must set floor only with maxRatio"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nchecks: [{name: quiet, trafficDrop: {max: \"100%\"}}]",
        &["spec.checks[0].trafficDrop.max", "must be under \"100%\""],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nchecks: [{name: full, saturation: {}}]",
        &["spec.checks[0].saturation", "must set at least one of memory, cpu and throttling"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nchecks: [{name: full, saturation: {memory: {max: 512Mi}}}]",
        &["spec.checks[0].saturation.memory.max", "must be a percentage such as \"90%\""],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nchecks: [{name: full, saturation: {cpu: {max: \"100%\"}}}]",
        &["spec.checks[0].saturation.cpu.max", "must be under \"100%\": nothing can be over all of it"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nchecks: [{name: slo, burnRate: {objective: \"99%\", errors: \"a[{{ window }}]\"}}]",
        &["spec.checks[0].burnRate", "must set either errors and total, or errorRatio"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nchecks: [{name: slo, burnRate: {objective: \"99%\", errorRatio: \"rate(a[5m])\"}}]",
        &["spec.checks[0].burnRate.errorRatio", "must hold {{ window }}, as in rate(...[{{ window }}])"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nchecks: [{name: slo, burnRate: {objective: \"100%\", errorRatio: \"a{{ window }}\"}}]",
        &["spec.checks[0].burnRate.objective", "must be under \"100%\": an objective without a budget"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nchecks: [{name: slo, burnRate: {objective: \"99%\", errorRatio: \"a{{ window }}\", windows: [{short: 1h, long: 5m, factor: \"2\"}]}}]",
        &["spec.checks[0].burnRate.windows[0]", "must have a short window that is shorter than the long one"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nchecks: [{name: own, query: {promql: up, max: \"2\", floor: \"1\"}}]",
        &["spec.checks[0].query", "must set floor only with of: Baseline"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nrollback: {helm: {job: Helm_Job}}",
        &["spec.rollback.helm.job", "should match"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nchecks: [{name: errors, errorRate: {max: \"250%\"}}]",
        &["spec.checks[0].errorRate.max", "must be under \"100%\""],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nchecks: [{name: errors, errorRate: {max: \"5\"}}]",
        &["spec.checks[0].errorRate.max", "must be under \"100%\"", "for one percent write \"1%\""],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nchecks: [{name: crashes, crashRate: {max: \"1\"}}]",
        &["spec.checks[0].crashRate.max", "must be under \"100%\""],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nchecks: [{name: own, query: {promql: up, of: Baseline, min: \"70\"}}]",
        &["spec.checks[0].query", "must have a min of at most \"100%\" with of: Baseline"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nchecks: [{name: own, query: {promql: up, of: Baseline, max: \"150\"}}]",
        &["spec.checks[0].query", "must have a max of at most 20 times the baseline"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nsoak: {duration: 10s, interval: 30s}",
        &["spec.soak", "must not have an interval (30s if absent) longer than the duration"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nchecks: [{name: slow, latency: {maxRatio: twice}}]",
        &["spec.checks[0].latency.maxRatio", "must be a number such as \"2\""],
    ),
    ("mode: Observe", &["must set exactly one of targetRef and selector"]),
    (
        "targetRef: {kind: Deployment, name: checkout}\nselector: {matchLabels: {app: checkout}}",
        &["must set exactly one of targetRef and selector"],
    ),
    ("targetRef: {kind: Job, name: checkout}", &["spec.targetRef.kind", "\"Deployment\""]),
    ("targetRef: {kind: Deployment, name: Check_Out}", &["spec.targetRef.name", "should match"]),
    ("targetRef: {kind: Deployment}", &["spec.targetRef.name", "Required value"]),
    ("selector: {}", &["spec.selector", "must name at least one label"]),
    (
        "targetRef: {kind: Deployment, name: a}\ncontrols: [{kind: Deployment, name: b}, {kind: Deployment, name: a}]",
        &["must not name the target in controls"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\ncontrols: [{kind: StatefulSet, name: b}]",
        &["spec.controls[0].kind", "\"Deployment\""],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\ncontrols: [{kind: Deployment, name: b}, {kind: Deployment, name: b}]",
        &["spec.controls[1]", "Duplicate value"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\ncontrols: [{kind: Deployment, name: a1}, {kind: Deployment, name: a2}, {kind: Deployment, name: a3}, {kind: Deployment, name: a4}, {kind: Deployment, name: a5}]",
        &["spec.controls", "at most 4"],
    ),
    (
        "selector: {matchExpressions: [{key: app, operator: In}]}",
        &["spec.selector.matchExpressions[0]", "must have values with the operators In and NotIn"],
    ),
    ("targetRef: {kind: Deployment, name: a}\nmode: Auto", &["spec.mode", "\"Automatic\", \"Approve\", \"Observe\""]),
    (
        "targetRef: {kind: Deployment, name: a}\nsoak: {duration: 15 minutes}",
        &["spec.soak.duration", "must be a duration such as 30s"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nsoak: {duration: \"15\"}",
        &["spec.soak.duration", "must be a duration such as 30s"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nsoak: {interval: -30s}",
        &["spec.soak.interval", "must be a duration such as 30s"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nminimumRequests: 0",
        &["spec.minimumRequests", "greater than or equal to 1"],
    ),
    ("targetRef: {kind: Deployment, name: a}\nonNoData: Rollback", &["spec.onNoData", "\"Hold\", \"Pass\""]),
    (
        "targetRef: {kind: Deployment, name: a}\nanalysis: {method: Magic}",
        &["spec.analysis.method", "\"Sequential\", \"Consecutive\""],
    ),
    ("targetRef: {kind: Deployment, name: a}\nmetrics: {preset: Nginx}", &["spec.metrics.preset", "\"HttpServer\""]),
    (
        "targetRef: {kind: Deployment, name: a}\nmetrics: {requests: {metric: \"a b\"}}",
        &["spec.metrics.requests.metric", "should match"],
    ),
    ("targetRef: {kind: Deployment, name: a}\nchecks: []", &["spec.checks", "at least 1"]),
    (
        "targetRef: {kind: Deployment, name: a}\nchecks: [{name: one, crashRate: {max: \"1%\"}}, {name: one, crashRate: {max: \"2%\"}}]",
        &["spec.checks[1]", "Duplicate value"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nchecks: [{name: apdex}]",
        &[
            "spec.checks[0]",
            "must set exactly one of errorRate, latency, crashRate, trafficDrop, saturation, burnRate or query",
        ],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nchecks: [{name: two, crashRate: {max: \"1%\"}, errorRate: {max: \"1%\"}}]",
        &["spec.checks[0]", "must set exactly one of"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nchecks: [{name: errors, errorRate: {max: five}}]",
        &["spec.checks[0].errorRate.max", "must be a percentage such as \"5%\""],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nchecks: [{name: slow, latency: {quantile: P95}}]",
        &["spec.checks[0].latency", "must set max, maxRatio or both"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nchecks: [{name: slow, latency: {quantile: P42, max: 1s}}]",
        &["spec.checks[0].latency.quantile", "\"P50\", \"P90\", \"P95\", \"P99\""],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nchecks: [{name: own, query: {promql: up}}]",
        &["spec.checks[0].query", "must set min, max or both"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nchecks: [{name: own, severity: Fatal, query: {promql: up, min: \"1\"}}]",
        &["spec.checks[0].severity", "\"Critical\", \"Warning\""],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nchecks: [{name: own, query: {promql: up, min: \"1,5\"}}]",
        &["spec.checks[0].query.min", "must be a number such as \"10\""],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nwindows: [{kind: Freeze, schedule: \"0 9 * * *\", duration: 8h}]",
        &["spec.windows[0].kind", "\"Allow\", \"Deny\""],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nwindows: [{kind: Deny, schedule: \"0 9 * *\", duration: 8h}]",
        &["spec.windows[0].schedule", "must be a cron schedule of five fields such as"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nwindows: [{kind: Deny, schedule: \"0 9 * * 1-5 Europe/Berlin\", duration: 8h}]",
        &["spec.windows[0].schedule", "must be a cron schedule of five fields such as"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nwindows: [{kind: Deny, schedule: \"@midnight-please\", duration: 8h}]",
        &["spec.windows[0].schedule", "must be a cron schedule of five fields such as"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nwindows: [{kind: Deny, schedule: \"0 9 * * *\", duration: 7d}]",
        &["spec.windows[0].duration", "must be a duration such as 30s"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nwindows: [{kind: Deny, schedule: \"0 9 * * *\", duration: 745h}]",
        &["spec.windows[0].duration", "must be at least 1m and at most 744h"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nwindows: [{kind: Deny, schedule: \"0 9 * * *\", duration: 59s}]",
        &["spec.windows[0].duration", "must be at least 1m and at most 744h"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nwindows: [{kind: Deny, schedule: \"0 9 * * *\", duration: 8h, timeZone: \"UTC +2\"}]",
        &["spec.windows[0].timeZone", "must be a time zone of the IANA database"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nrollback: {verify: {http: [{path: healthz, port: 80}]}}",
        &["spec.rollback.verify.http[0].path", "must begin with / and hold only visible ASCII"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nrollback: {verify: {http: [{path: \"http://other/\", port: 80}]}}",
        &["spec.rollback.verify.http[0].path", "must begin with /"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nrollback: {verify: {http: [{path: \"/a b\", port: 80}]}}",
        &["spec.rollback.verify.http[0].path", "must begin with / and hold only visible ASCII"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nrollback: {verify: {http: [{path: \"/a\\r\\nHost: other\", port: 80}]}}",
        &["spec.rollback.verify.http[0].path", "must begin with / and hold only visible ASCII"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nrollback: {verify: {http: [{path: /, port: 65536}]}}",
        &["spec.rollback.verify.http[0].port", "less than or equal to 65535"],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nrollback: {verify: {http: [{path: /, port: 80, scheme: TCP}]}}",
        &["spec.rollback.verify.http[0].scheme", "\"HTTP\", \"HTTPS\""],
    ),
    (
        "targetRef: {kind: Deployment, name: a}\nrollback: {verify: {http: [{path: /, port: 1}, {path: /, port: 2}, {path: /, port: 3}, {path: /, port: 4}, {path: /, port: 5}]}}",
        &["spec.rollback.verify.http", "at most 4"],
    ),
];

pub(crate) fn refused(bed: &Bed) -> Result<()> {
    for (spec, wanted) in REFUSED {
        let said = bed.refusal(&policy("default", "refused", spec))?;
        for part in wanted {
            ensure!(said.contains(part), "{spec}\nthe refusal does not say {part:?}, but:\n{said}");
        }
    }
    linted()
}

/// What the API server refuses, `snapback lint` finds without one: in the same field.
fn linted() -> Result<()> {
    let snapback = command_line::snapback()?;
    for (spec, wanted) in REFUSED {
        let manifest = policy("default", "refused", spec);
        let said = command_line::run(&snapback, &["lint", "--output=json", "-"], &manifest)?;
        let report: serde_json::Value = serde_json::from_slice(&said.stdout)?;
        let found = report["findings"].as_array().into_iter().flatten();
        let fields: Vec<&str> = found.filter_map(|found| found["field"].as_str()).collect();
        // Where the words are of no field, it is the whole spec.
        let field = wanted.first().filter(|word| word.starts_with("spec.")).unwrap_or(&"spec");
        let is_found = fields.iter().any(|found| found.starts_with(field));
        ensure!(is_found && said.status.code() == Some(1), "{spec}\nlint does not find {field}, but {fields:?}");
    }
    Ok(())
}

pub(crate) fn unknown_field(bed: &Bed) -> Result<()> {
    let manifest =
        policy("default", "unknown", &format!("{TARGET}\nchecks: [{{name: slow, apdex: {{min: \"0.9\"}}}}]"));
    let said = bed.refusal(&manifest)?;
    ensure!(said.contains("unknown field \"spec.checks[0].apdex\""), "{said}");
    Ok(())
}

const RECORD: &str = r#"apiVersion: snapback.dev/v1alpha1
kind: Rollback
metadata: {name: record, namespace: default}
spec:
  target: {kind: Deployment, name: nobody, uid: 0a1b2c}
  from: {fingerprint: aaaa, images: ["shop:v2"]}
  to: {fingerprint: bbbb, images: ["shop:v1"]}
  trigger: {type: Manual}
  requireApproval: true
  deadline: 10m
  jobs: {migration: down}
  verify: {duration: 2m, interval: 30s, minimumRequests: 50, http: [{path: /healthz, port: 8080}]}
"#;

pub(crate) fn record(bed: &Bed) -> Result<()> {
    bed.tools.apply(RECORD)?;
    let patch = |spec: &str| {
        let patch = format!("{{\"spec\":{spec}}}");
        bed.tools.kubectl(&["patch", "rollback", "record", "--type=merge", "-p", &patch])
    };
    for change in [
        r#"{"target":{"name":"other"}}"#,
        r#"{"to":{"fingerprint":"cccc"}}"#,
        r#"{"trigger":{"type":"Policy"}}"#,
        r#"{"deadline":"20m"}"#,
        r#"{"verify":{"http":[{"path":"/other","port":8080}]}}"#,
        r#"{"verify":{"http":[{"path":"/healthz","port":8080,"scheme":"HTTPS"}]}}"#,
        r#"{"verify":{"http":null}}"#,
        r#"{"jobs":{"migration":"other"}}"#,
        r#"{"jobs":null}"#,
        r#"{"requireApproval":false}"#,
        r#"{"requireApproval":null}"#,
        r#"{"approvalReason":"it was me"}"#,
        r#"{"startedAt":"2026-01-02T03:00:00Z"}"#,
        r#"{"firstBadAt":"2026-01-02T03:00:00Z"}"#,
        r#"{"verify":{"interval":"1s"}}"#,
        r#"{"verify":{"minimumRequests":1}}"#,
        r#"{"verify":{"limits":[{"name":"errors","kind":"errorRate","max":"1"}]}}"#,
        r#"{"evidence":[{"name":"errors","severity":"Critical","verdict":"Breached","reason":"R","message":"M"}]}"#,
    ] {
        let said = format!("{:#}", patch(change).err().with_context(|| format!("{change} was accepted"))?);
        ensure!(said.contains("only spec.approval and spec.released may be set"), "{change}: {said}");
    }
    let by = bed.tools.whoami()?;
    let word = |decision: &str| patch(&format!(r#"{{"approval":{{"decision":"{decision}","by":"{by}"}}}}"#));
    word("Rejected")?;
    let said = word("Approved").err().context("a second word was accepted")?;
    ensure!(format!("{said:#}").contains("the approval was already given"), "{said:#}");
    let said = patch(r#"{"released":{"by":"me"}}"#).err().context("a release without a reason was accepted")?;
    ensure!(format!("{said:#}").contains("spec.released.reason"), "{said:#}");
    let said = patch(r#"{"released":{"reason":"x","by":"ada"}}"#).err().context("in another's name")?;
    ensure!(format!("{said:#}").contains("spec.released must name you"), "{said:#}");
    patch(&format!(r#"{{"released":{{"reason":"it was the database","by":"{by}"}}}}"#))?;
    let said = patch(r#"{"released":null}"#).err().context("a release was taken back")?;
    ensure!(format!("{said:#}").contains("already released"), "{said:#}");
    bed.tools.kubectl(&["delete", "rollback", "record"]).map(drop)
}

/// A Rollback of a workload that there is none of; `spec` is further YAML of its spec.
fn short(name: &str, trigger: &str, spec: &str) -> String {
    format!(
        r"apiVersion: snapback.dev/v1alpha1
kind: Rollback
metadata: {{name: {name}, namespace: default}}
spec:
  trigger: {{type: {trigger}}}
  {spec}
"
    )
}

const NOBODY: &str = "target: {kind: Deployment, name: nobody}";
const NOBODY_IN_FULL: &str = "target: {kind: Deployment, name: nobody, uid: 0a1b2c}\n  from: {fingerprint: aaaa}";

pub(crate) fn by_hand(bed: &Bed) -> Result<()> {
    let create = |manifest: &str| bed.tools.kubectl_with(&["create", "--dry-run=server", "-f", "-"], manifest);
    create(&short("by-hand", "Manual", NOBODY))?;
    create(&short("by-hand", "Manual", NOBODY).replace("name: by-hand", "generateName: nobody-"))?;
    create(&short("by-hand", "Manual", &format!("{NOBODY}\n  to: {{revision: 3}}\n  requireApproval: true")))?;
    create(&short("by-hand", "Manual", &format!("{NOBODY_IN_FULL}\n  to: {{fingerprint: bbbb}}")))?;
    let all_or_none = "must have all of target.uid, from and to.fingerprint, or none of them";
    let of_a_policy = "must have target.uid, from, to.fingerprint, decidedAt, deadline and verify";
    let either = "must have either revision, a number that `kubectl rollout history` shows, or fingerprint";
    let in_full = format!("{NOBODY_IN_FULL}\n  to: {{fingerprint: bbbb}}");
    for (trigger, spec, wanted) in [
        ("Policy", NOBODY.to_owned(), of_a_policy),
        ("Quarantine", NOBODY.to_owned(), of_a_policy),
        ("Policy", in_full, of_a_policy),
        ("Manual", format!("{NOBODY}\n  to: {{revision: 0}}"), "greater than or equal to 1"),
        ("Manual", format!("{NOBODY}\n  to: {{}}"), either),
        ("Manual", format!("{NOBODY}\n  to: {{revision: 3, fingerprint: bbbb}}"), either),
        ("Manual", NOBODY_IN_FULL.to_owned(), all_or_none),
        // What nobody could read, and what could never be changed again.
        ("Manual", format!("{NOBODY}\n  startedAt: \"9999-12-31T23:59:59Z\""), "before the year 9000"),
        ("Manual", format!("{NOBODY}\n  firstBadAt: \"2026-01-02t03:04:05z\""), "firstBadAt"),
        ("Manual", format!("{NOBODY}\n  to: {{fingerprint: bbbb}}"), all_or_none),
        ("Manual", format!("{NOBODY_IN_FULL}\n  to: {{revision: 3}}"), all_or_none),
    ] {
        let said = bed.refusal(&short("by-hand", trigger, &spec))?;
        ensure!(said.contains(wanted), "{trigger} {spec}\nthe refusal does not say {wanted:?}, but:\n{said}");
    }
    // What was left out stays out: the record says what was asked.
    bed.tools.apply(&short("by-hand", "Manual", NOBODY))?;
    for change in [
        r#"{"to":{"revision":3}}"#,
        r#"{"target":{"uid":"0a1b2c"},"from":{"fingerprint":"a"},"to":{"fingerprint":"b"}}"#,
        r#"{"decidedAt":"2026-01-02T03:00:00Z"}"#,
        r#"{"deadline":"20m"}"#,
        r#"{"verify":{"duration":"2m","interval":"30s","minimumRequests":50}}"#,
    ] {
        let patch = format!("{{\"spec\":{change}}}");
        let patched = bed.tools.kubectl(&["patch", "rollback", "by-hand", "--type=merge", "-p", &patch]);
        let said = format!("{:#}", patched.err().with_context(|| format!("{change} was accepted"))?);
        ensure!(said.contains("only spec.approval and spec.released may be set"), "{change}: {said}");
    }
    bed.tools.kubectl(&["delete", "rollback", "by-hand"]).map(drop)
}
