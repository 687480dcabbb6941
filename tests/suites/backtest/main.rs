//! `snapback backtest` against a real Prometheus, with a history of a few hours of its own making. Needs no root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test suite")]

mod history;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use history::{Kube, page, pods};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use snapback_tests::process::Process;
use snapback_tests::run_dir::RunDir;
use snapback_tests::tools;

const V1: &str = "checkout-7d9f8c6b5";
const V2: &str = "checkout-5c4b9d7f6";
const V3: &str = "checkout-9bb8c7dd4";
const V4: &str = "checkout-66d5f4c8b7";
const MINUTE: i64 = 60;
const LENGTH: i64 = 240 * MINUTE;

/// Minute 60: v2, which is good. 120: v3 fails two in five requests, until v2 is put back at 130. 180: v4 crashes, until
/// the end. Beside it a neighbour whose name begins the same, always bad; and `cart`, without kube-state-metrics, whose
/// only rollout at minute 60 is bad and stays.
fn story(start: Timestamp) -> String {
    let well = (0.001, i64::MIN);
    let all = [
        pods(V1, ["bbbbb", "ccccc", "ddddd"], (0, 61 * MINUTE), well, Kube::Ready),
        pods(V2, ["fffff", "ggggg", "hhhhh"], (60 * MINUTE + 30, 122 * MINUTE), well, Kube::Ready),
        pods(V3, ["jjjjj", "kkkkk", "lllll"], (120 * MINUTE + 30, 130 * MINUTE), (0.4, 121 * MINUTE), Kube::Ready),
        pods(V2, ["mmmmm", "nnnnn", "ppppp"], (130 * MINUTE, LENGTH), well, Kube::Ready),
        pods(V4, ["qqqqq", "rrrrr", "sssss"], (180 * MINUTE + 30, LENGTH), well, Kube::Crashing),
        pods("checkout-api-7d9f8c6b5", ["bbbbb", "ccccc", "ddddd"], (0, LENGTH), (1.0, i64::MIN), Kube::Unknown),
        pods("cart-7d9f8c6b5", ["bbbbb", "ccccc", "ddddd"], (0, 62 * MINUTE), well, Kube::Unknown),
        pods("cart-5c4b9d7f6", ["fffff", "ggggg", "hhhhh"], (60 * MINUTE + 30, LENGTH), (0.4, 0), Kube::Unknown),
    ];
    page(start, LENGTH, &all.concat())
}

fn policy(target: &str) -> String {
    format!(
        "apiVersion: snapback.dev/v1alpha1\nkind: RollbackPolicy\nmetadata: {{name: {target}, namespace: shop}}\n\
         spec: {{targetRef: {{kind: Deployment, name: {target}}}}}\n"
    )
}

/// The minutes of the history that the documentation gives other times.
const DOCUMENTED: [(i64, &str); 4] = [
    (60, "2026-01-05T12:00:00Z"),
    (120, "2026-01-05T13:00:00Z"),
    (121, "2026-01-05T13:01:00Z"),
    (180, "2026-01-05T14:00:00Z"),
];

fn docs() -> String {
    std::fs::read_to_string(tools::repository().join("docs/backtest.md")).unwrap()
}

struct Bed {
    run: RunDir,
    url: String,
    snapback: PathBuf,
    start: Timestamp,
    prometheus: Option<Process>,
}

impl Bed {
    fn start() -> Self {
        tools::ensure(&["prometheus"]).unwrap();
        let run = RunDir::create().unwrap();
        // Whole minutes, so that the table is the same whenever it is printed.
        let now = Timestamp::now().as_second();
        let start = Timestamp::from_second((now - LENGTH - 10 * MINUTE) / MINUTE * MINUTE).unwrap();
        let exporter = serve(story(start));
        let address = free_address();
        std::fs::write(
            run.path().join("prometheus.yaml"),
            format!(
                "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: history\n  honor_labels: true\n  \
                 static_configs: [{{targets: [\"{exporter}\"]}}]\n"
            ),
        )
        .unwrap();
        let process = Process::start(
            &run,
            "prometheus",
            Command::new(tools::path("prometheus").unwrap())
                .arg(format!("--config.file={}", run.path().join("prometheus.yaml").display()))
                .arg(format!("--storage.tsdb.path={}", run.path().join("tsdb").display()))
                .arg(format!("--web.listen-address={address}"))
                // Samples with timestamps of their own leave no mark when a target is gone.
                .args(["--query.lookback-delta=30s", "--log.level=warn"]),
        )
        .unwrap();
        let bed = Self { run, url: format!("http://{address}"), snapback: binary(), start, prometheus: Some(process) };
        let deadline = Instant::now() + Duration::from_mins(1);
        while !get(&address, &format!("/api/v1/query?query=up%7Bpod%21%3D%22%22%7D&time={}", start.as_second()))
            .is_some_and(|answer| answer.contains(V1))
        {
            assert!(Instant::now() < deadline, "{}", tools::tail(&bed.run.path().join("prometheus.log"), 20));
            std::thread::sleep(Duration::from_millis(100));
        }
        bed
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.run.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn minute(&self, minute: i64) -> Timestamp {
        self.start + SignedDuration::from_mins(minute)
    }

    /// The example of the documentation, at the times of this history.
    fn documented_rollouts(&self) -> String {
        let docs = docs();
        let (_, example) = docs.split_once("```yaml\nrollouts:").unwrap();
        let (example, _) = example.split_once("```").unwrap();
        let at = |text: String, (minute, documented): (i64, &str)| {
            text.replace(documented, &self.minute(minute).to_string())
        };
        DOCUMENTED.into_iter().fold(format!("rollouts:{example}"), at)
    }

    /// Runs a backtest of a target's default policy.
    fn backtest(&self, target: &str, rollouts: &str, more: &[&str]) -> Output {
        let policy = self.write(&format!("{target}.yaml"), &policy(target));
        let rollouts = self.write(&format!("{target}-rollouts.yaml"), rollouts);
        let until = self.minute(LENGTH / MINUTE).to_string();
        Command::new(&self.snapback)
            .args(["backtest", "-f", &policy, "--prometheus", &self.url, "--rollouts", &rollouts, "--until", &until])
            .args(more)
            .output()
            .unwrap()
    }
}

fn binary() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // What cargo tells a test of itself would make it build dependencies anew that look at it.
    for (name, _) in std::env::vars_os()
        .filter(|(name, _)| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|own| name.to_string_lossy().starts_with(own)))
    {
        command.env_remove(name);
    }
    let output = command
        .args(["build", "--locked", "-p", "snapback", "--message-format=json"])
        .current_dir(tools::repository())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let made = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let path = made.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).next_back();
    path.expect("the binary")
}

/// Serves a page, on a port of its own, for as long as the process lives.
fn serve(page: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            _ = answer(stream, &page);
        }
    });
    address
}

fn answer(mut stream: TcpStream, page: &str) -> std::io::Result<()> {
    let mut request = [0_u8; 4096];
    _ = stream.read(&mut request)?;
    let length = page.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {length}\r\nConnection: close\r\n\
         \r\n{page}"
    )
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a rollout came to: verdict, seconds until then, the checks that decided.
fn outcome(row: &Value) -> (String, i64, String) {
    let decided = row["decidedBy"].as_array().unwrap().iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
    (row["verdict"].as_str().unwrap().to_owned(), row["afterSeconds"].as_i64().unwrap_or(-1), decided)
}

#[test]
fn past_rollouts_are_judged_as_the_operator_would_have_judged_them() {
    let mut bed = Bed::start();
    let checkout = bed.documented_rollouts();
    let picture = bed.run.path().join("backtest.svg");
    let report = json(&bed.backtest(
        "checkout",
        &checkout,
        &["--since", "230m", "-o", "json", "--svg", &picture.display().to_string()],
    ));
    let rows = report["rollouts"].as_array().unwrap();
    let outcomes: Vec<(String, i64, String)> = rows.iter().map(outcome).collect();
    let expect = |verdict: &str, seconds, by: &str| (verdict.to_owned(), seconds, by.to_owned());
    // v1 is gone after 61 min, so the soak of v2 ends with the look at 76:30. v3 fails from 121:00 on: the looks at
    // 121:30 and 122:00 prove it. v4 is restarted first at 181:30, and is in back-off then.
    assert_eq!(
        outcomes,
        [expect("Passed", 990, ""), expect("RolledBack", 120, "errors"), expect("RolledBack", 90, "crashes")],
        "{report:#}"
    );
    assert_eq!((&rows[1]["secondsToDetect"], &rows[1]["falseAlarm"]), (&60.into(), &false.into()));
    assert_eq!((rows[1]["revision"].as_str(), rows[1]["knownGood"].as_str()), (Some(V3), Some(V2)));
    let put_back = bed.minute(130) + SignedDuration::from_secs(30);
    assert_eq!(rows[1]["replaced"], put_back.to_string(), "the first look without a pod of v3");
    assert_eq!(rows[2]["knownGood"].as_str(), Some(V2), "what was found bad is not gone back to");
    assert_eq!(rows[2]["falseAlarm"], true, "nobody replaced it within the hour");
    assert_eq!(report["summary"]["badRolledBack"], 1);
    assert!(report["rollouts"].as_array().unwrap().iter().all(|row| row["notJudged"] == Value::Array(Vec::new())));
    drawn(&picture);

    let table = bed.backtest("checkout", &checkout, &["--since", "230m"]);
    let mut table = String::from_utf8(table.stdout).unwrap();
    for (minute, documented) in DOCUMENTED {
        let shown = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M").to_string();
        table = table.replace(&shown(bed.minute(minute)), &shown(documented.parse().unwrap()));
    }
    assert!(docs().contains(&format!("```\n{table}```")), "docs/backtest.md must show this:\n{table}");

    let good = bed.minute(60);
    without_kube_state_metrics(&bed, good);
    what_cannot_be_judged(&mut bed, good, &checkout);
}

fn drawn(picture: &Path) {
    let svg = std::fs::read_to_string(picture).unwrap();
    let count = |what: &str| svg.matches(what).count();
    assert_eq!((count("class=\"rollout\""), count("class=\"breach\"")), (3, 2), "{svg}");
}

/// Pods' crashes and readiness are not in Prometheus by itself: the other checks are judged, and that is said.
fn without_kube_state_metrics(bed: &Bed, at: Timestamp) {
    let cart = json(&bed.backtest("cart", &format!("rollouts: [{{at: {at}}}]"), &["--since", "230m", "-o", "json"]));
    let row = &cart["rollouts"][0];
    assert_eq!((row["verdict"].as_str(), row["decidedBy"][0].as_str()), (Some("RolledBack"), Some("errors")));
    assert_eq!(row["notJudged"], serde_json::json!(["crashes", "traffic"]));
    assert!(cart["notes"][0].as_str().unwrap().contains("kube-state-metrics"), "{cart:#}");
    assert_eq!(row["falseAlarm"], true);
    let per_30_days = cart["summary"]["falseAlarmsPer30Days"].as_f64().unwrap();
    assert!((per_30_days - 30.0 * 24.0 * 60.0 / 230.0).abs() < 0.01, "one in 230 minutes: {per_30_days}");
}

fn what_cannot_be_judged(bed: &mut Bed, good: Timestamp, checkout: &str) {
    let before = bed.minute(-120);
    let early = format!("rollouts: [{{at: {before}}}, {{at: {good}}}]");
    let report = json(&bed.backtest("checkout", &early, &["--since", "14d", "-o", "json"]));
    assert_eq!(report["rollouts"][0]["verdict"], "NoData");
    assert!(report["notes"][0].as_str().unwrap().contains("history begins only at"), "{report:#}");
    assert!(report["days"].as_f64().unwrap() < 1.0, "rates are per day of history");

    let wrong = bed.backtest("checkout", &format!("rollouts: [{{at: {good}, label: fine}}]"), &[]);
    let error = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(wrong.status.code() == Some(2) && error.contains("fine"), "{error}");

    bed.prometheus = None;
    let down = bed.backtest("checkout", checkout, &[]);
    let error = String::from_utf8_lossy(&down.stderr).into_owned();
    assert!(down.status.code() == Some(2) && error.contains("refused the connection"), "{error}");
}
