//! `snapback lint` with a real Prometheus: does it tell what is there from what is not? Needs no root and no cluster.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test suite")]

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use snapback_tests::command_line;
use snapback_tests::process::Process;
use snapback_tests::run_dir::RunDir;
use snapback_tests::tools;

/// The time between two samples.
const SCRAPE: SignedDuration = SignedDuration::from_secs(20);
const PODS: [&str; 2] = ["checkout-7d9f8c6b5a-abcde", "checkout-7d9f8c6b5a-fghij"];

/// A Prometheus that knows two pods of `shop/checkout`, as one that has scraped them for ten minutes.
struct Metrics {
    url: String,
    snapback: PathBuf,
    _process: Process,
    _run: RunDir,
}

impl Metrics {
    async fn start() -> Self {
        _ = rustls::crypto::ring::default_provider().install_default();
        tools::ensure(&["prometheus"]).unwrap();
        // What is pushed below would grow old meanwhile.
        let snapback = command_line::snapback().unwrap();
        let run = RunDir::create().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = run.path().join("prometheus.yaml");
        std::fs::write(&file, "global: {}\n").unwrap();
        let mut command = Command::new(tools::path("prometheus").unwrap());
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", run.path().join("tsdb").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--web.enable-otlp-receiver");
        let mut process = Process::start(&run, "prometheus", &mut command).unwrap();
        let (url, client) = (format!("http://127.0.0.1:{port}"), reqwest::Client::new());
        let is_ready =
            async || client.get(format!("{url}/-/ready")).send().await.is_ok_and(|r| r.status().is_success());
        while !is_ready().await {
            process.check().unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let pushed = client
            .post(format!("{url}/api/v1/otlp/v1/metrics"))
            .header("content-type", "application/json")
            .body(metrics().to_string())
            .send()
            .await
            .unwrap();
        let (status, said) = (pushed.status(), pushed.text().await.unwrap());
        assert!(status.is_success(), "{status}: {said}");
        Self { url, snapback, _process: process, _run: run }
    }

    /// The exit code, and what was said of a policy with this spec beside its target.
    fn lint(&self, spec: &str) -> (i32, Value) {
        let policy = format!(
            "apiVersion: snapback.dev/v1alpha1\nkind: RollbackPolicy\nmetadata: {{name: checkout}}\nspec:\n  targetRef: \
             {{kind: Deployment, name: checkout}}\n{spec}"
        );
        let arguments = ["lint", "--output=json", "--prometheus", &self.url, "--namespace=shop", "-"];
        let said = command_line::run(&self.snapback, &arguments, &policy).unwrap();
        let report = serde_json::from_slice(&said.stdout)
            .unwrap_or_else(|_| panic!("{spec}\n{}", String::from_utf8_lossy(&said.stderr)));
        (said.status.code().unwrap(), report)
    }

    /// The only finding: its level, code and all of its words.
    fn one(&self, spec: &str) -> (String, String, String) {
        let (_, report) = self.lint(spec);
        let [found] = report["findings"].as_array().unwrap().as_slice() else { panic!("{spec}\n{report:#}") };
        let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
        (text("level"), text("code"), format!("{}: {}; {}", text("field"), text("problem"), text("fix")))
    }
}

/// What an OpenTelemetry collector would send.
fn metrics() -> Value {
    let now = Timestamp::now();
    let times: Vec<Timestamp> = (0..=30).rev().map(|back| now - SCRAPE * back).collect();
    let start = nanoseconds(now - SCRAPE * 31);
    let points = |value: &dyn Fn(usize) -> Value, more: &[(&str, &str)]| -> Vec<Value> {
        let of_pod = |pod: &&str| {
            let labels: Vec<Value> = [("namespace", "shop"), ("pod", *pod)]
                .iter()
                .chain(more)
                .map(|(key, value)| json!({"key": key, "value": {"stringValue": value}}))
                .collect();
            let point = |(index, at): (usize, &Timestamp)| {
                let mut point = value(index);
                point["attributes"] = json!(labels);
                point["startTimeUnixNano"] = json!(start);
                point["timeUnixNano"] = json!(nanoseconds(*at));
                point
            };
            times.iter().enumerate().map(point).collect::<Vec<_>>()
        };
        PODS.iter().flat_map(of_pod).collect()
    };
    let up = points(&|_| json!({"asDouble": 1.0}), &[]);
    let requests = points(&|index| json!({"asDouble": index * 100}), &[("code", "200")]);
    let durations = |index: usize| {
        let count = (index * 100).to_string();
        json!({"count": count, "sum": 1.0, "explicitBounds": [0.1, 0.5, 2.5], "bucketCounts": [count, "0", "0", "0"]})
    };
    let durations = points(&durations, &[]);
    json!({"resourceMetrics": [{"resource": {}, "scopeMetrics": [{"scope": {}, "metrics": [
        {"name": "up", "gauge": {"dataPoints": up}},
        {"name": "http_requests_total",
         "sum": {"aggregationTemporality": 2, "isMonotonic": true, "dataPoints": requests}},
        {"name": "http_request_duration_seconds", "histogram": {"aggregationTemporality": 2, "dataPoints": durations}}
    ]}]}]})
}

fn nanoseconds(at: Timestamp) -> String {
    at.as_nanosecond().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn lint_tells_what_the_source_has_from_what_it_has_not() {
    let metrics = Metrics::start().await;
    has_data(&metrics);
    is_told(&metrics);
}

fn has_data(metrics: &Metrics) {
    let (code, report) = metrics.lint(
        "  checks:
  - {name: errors, errorRate: {max: \"5%\"}}
  - {name: traffic, trafficDrop: {max: \"75%\"}}
  - {name: slow, latency: {max: 500ms}}
  - name: own
    query: {promql: 'sum(rate(http_requests_total{pod=~\"{{ pods }}\"}[5m]))', min: \"1\"}
",
    );
    assert_eq!((code, &report["findings"]), (0, &json!([])), "{report:#}");
    let data: Vec<String> =
        report["data"].as_array().unwrap().iter().map(|one| one["problem"].as_str().unwrap().to_owned()).collect();
    let pods = PODS.join(", ");
    assert_eq!(
        data,
        [
            "the pods are scraped every 20s".to_owned(),
            format!("errors has http_requests_total of 2 pods: {pods}"),
            format!("traffic has http_requests_total of 2 pods: {pods}"),
            format!("slow has http_request_duration_seconds_bucket of 2 pods: {pods}"),
            "own is 10 now".to_owned(),
        ]
    );
    let (code, report) = metrics.lint("");
    assert_eq!((code, &report["findings"]), (0, &json!([])), "the default checks: {report:#}");
}

fn is_told(metrics: &Metrics) {
    let check = |check: &str| metrics.one(&format!("  checks:\n  - {{name: own, {check}}}\n"));
    let query = |promql: &str| check(&format!("query: {{promql: '{promql}', max: \"1\"}}"));
    let requests = "http_requests_total{pod=~\"{{ pods }}\"}";
    for ((level, code, text), wanted, words) in [
        (
            check("latency: {max: 30s}"),
            ("error", "LatencyBucketMissing"),
            "spec.checks[0].latency.max: no bucket can show a limit of 30s: the highest bound of the pods is 2.5s",
        ),
        (check("latency: {max: 1s}"), ("warning", "LatencyBucketCoarse"), "write 500ms or 2.5s"),
        // Four scrapes of 20 s are 80 s: only the source knows.
        (
            query(&format!("sum(rate({requests}[1m]))")),
            ("warning", "RateWindowTooShort"),
            "spec.checks[0].query.promql: rate(http_requests_total[1m]) looks at less than four scrapes (one every 20s)",
        ),
        (query("sum(nothing{pod=~\"{{ pods }}\"})"), ("error", "NoSeries"), "asked as sum(nothing{pod=~\"(checkout)-"),
        (query("sum(up{pod=~\"{{ pods }}\"}) * 0 / 0"), ("warning", "NotANumber"), "asked as"),
        (query("sum without (code) (up{pod=~\"{{ pods }}\"})"), ("error", "ManySeries"), "put sum(), avg() or max()"),
        (
            metrics.one(
                "  controls: [{kind: Deployment, name: payments}]\n  checks: [{name: errors, errorRate: {max: \"5%\"}}]\n",
            ),
            ("warning", "ControlWithoutData"),
            "spec.controls[0]: payments has no http_requests_total (the query returned no data), so nothing is held back",
        ),
        (
            metrics.one("  metrics: {preset: Istio}\n  checks: [{name: errors, errorRate: {max: \"5%\"}}]\n"),
            ("error", "NoSeries"),
            "there is no series istio_requests_total; choose the preset",
        ),
        (
            metrics.one("  metrics: {labels: {pod: pod_name}}\n  checks: [{name: errors, errorRate: {max: \"5%\"}}]\n"),
            ("error", "NoSeries"),
            "http_requests_total has series, but none with namespace=\"shop\",pod_name=~\"(checkout)-",
        ),
        (
            metrics.one(
                "  metrics: {requests: {codeLabel: status}}\n  checks: [{name: errors, errorRate: {max: \"5%\"}}]\n",
            ),
            ("error", "CodeLabelMissing"),
            "no series of http_requests_total has the label status, so no request counts as failed",
        ),
    ] {
        assert_eq!((level.as_str(), code.as_str()), wanted, "{text}");
        assert!(text.contains(words), "{words:?} is not in {text:?}");
    }
}
