//! A good release, and a source that is down, stale, empty, or answers nonsense: nothing is ever breached.
//!
//! Ten thousand looks, by both methods, through the real reader of replies. The numbers behind the replies are those of a
//! release that is as good as the one before; the replies are broken in every way that we know of.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, clippy::panic, reason = "tests")]

#[path = "../../core/tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use snapback_core::checks::{CheckResult, Measured, Verdict, burn_rate_key, evaluate_all};
use snapback_core::duration;
use snapback_core::policy::{Analysis, Bound, BurnWindow, BurnWindows, Check, Quantile, Relative, Rule, Severity};
use snapback_core::sample::{Answer, Missing, PodSeries, Point};
use snapback_core::workload::Workload;
use snapback_prometheus::{CompiledNames, Preset, Series, latencies, read_reply, requests, scraped, to_points};
use support::{at, complete_v2, pod, revision, version, workload};

const LOOKS: i64 = 30;
const STEP: i64 = 30;
/// Looks before the rollout.
const BEFORE: i64 = 12;
/// When it begins, in seconds of the story.
const START: i64 = BEFORE * STEP;
const POLLS: usize = 10_000;

/// How a look goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Broken {
    // Of the reply.
    NotReady,
    Text,
    Html,
    Cut,
    NoBody,
    Warned,
    Partial,
    TooMany,
    TimedOut,
    OtherJson,
    Word,
    // Of what it says.
    Empty,
    Nobodys,
    NotANumber,
    Infinite,
    Negative,
    Histograms,
    NoNewPods,
    NoOldPods,
    OnePodLess,
    // Of what is behind it.
    StaleNew,
    StaleAll,
    Reset,
    AllReset,
}

const KINDS: [Broken; 24] = [
    Broken::NotReady,
    Broken::Text,
    Broken::Html,
    Broken::Cut,
    Broken::NoBody,
    Broken::Warned,
    Broken::Partial,
    Broken::TooMany,
    Broken::TimedOut,
    Broken::OtherJson,
    Broken::Word,
    Broken::Empty,
    Broken::Nobodys,
    Broken::NotANumber,
    Broken::Infinite,
    Broken::Negative,
    Broken::Histograms,
    Broken::NoNewPods,
    Broken::NoOldPods,
    Broken::OnePodLess,
    Broken::StaleNew,
    Broken::StaleAll,
    Broken::Reset,
    Broken::AllReset,
];

/// The same numbers on every machine (Knuth's MMIX generator).
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// What a pod has counted since it began: by status code, and by duration.
#[derive(Debug, Clone, Default)]
struct Pod {
    good: u64,
    bad: u64,
    at_most: [u64; 3],
    reached: u64,
}

const BOUNDS: [&str; 3] = ["0.25", "0.5", "+Inf"];

impl Pod {
    /// About a hundred requests; of a thousand one fails, and ten take more than half a second.
    fn serve(&mut self, now: i64, dice: &mut Dice) {
        let all = 90 + dice.roll(20);
        let bad = u64::from(dice.roll(10) == 0);
        let (slow, very_slow) = (dice.roll(8), dice.roll(3));
        (self.good, self.bad) = (self.good + all - bad, self.bad + bad);
        for (count, slower) in self.at_most.iter_mut().zip([slow + very_slow, very_slow, 0]) {
            *count += all - slower;
        }
        self.reached = u64::try_from(now).unwrap();
    }
}

/// One of the queries, and its samples by labels.
type Table = Vec<(Value, Vec<(i64, f64)>)>;

#[derive(Clone)]
struct Soak {
    dice: Dice,
    kind: Broken,
    /// Of a hundred looks, how many are broken.
    often: u64,
    pods: BTreeMap<String, Pod>,
    /// What the source shows, which may be older.
    shown: BTreeMap<String, Pod>,
    ends: Option<i64>,
    now: i64,
    names: CompiledNames,
    requests: Track<PodSeries>,
    latencies: Track<PodSeries>,
    scraped: Track<PodSeries>,
    own: Track<Point>,
}

/// As the operator keeps answers: what was read is kept, and the last failure is the answer.
#[derive(Clone)]
struct Track<T> {
    found: Vec<T>,
    failure: Option<Missing>,
}

impl<T: Clone> Track<T> {
    fn new() -> Self {
        Self { found: Vec::new(), failure: Some(Missing::Empty) }
    }

    fn note(&mut self, answer: Answer<Vec<T>>, merge: impl Fn(&mut Vec<T>, Vec<T>)) {
        self.failure = None;
        match answer {
            Ok(new) => merge(&mut self.found, new),
            Err(missing) => self.failure = Some(missing),
        }
    }

    fn answer(&self) -> Answer<Vec<T>> {
        self.failure.clone().map_or_else(|| Ok(self.found.clone()), Err)
    }
}

fn merge_series(all: &mut Vec<PodSeries>, new: Vec<PodSeries>) {
    for one in new {
        match all.iter_mut().find(|known| known.pod == one.pod && known.key == one.key) {
            Some(known) => known.points.extend(one.points),
            None => all.push(one),
        }
    }
}

impl Soak {
    /// The time before any rollout.
    fn before() -> Self {
        let mut soak = Self {
            dice: Dice(7),
            kind: Broken::Empty,
            often: 0,
            pods: (0..3).map(|index| (pod("v1", index).name, Pod::default())).collect(),
            shown: BTreeMap::new(),
            ends: None,
            now: 0,
            names: Preset::HttpServer.names().compile().unwrap(),
            requests: Track::new(),
            latencies: Track::new(),
            scraped: Track::new(),
            own: Track::new(),
        };
        while soak.now < START {
            soak.look(None);
        }
        soak
    }

    fn begin(&self, index: usize) -> Self {
        let mut soak = self.clone();
        (soak.dice, soak.kind) = (Dice(index as u64), KINDS[index % KINDS.len()]);
        soak.often = if index.is_multiple_of(2) { 100 } else { 40 };
        soak.ends = (index.is_multiple_of(3)).then_some(START + 10 * STEP);
        soak.pods.extend((0..3).map(|index| (pod("v2", index).name, Pod::default())));
        soak
    }

    fn workload(&self) -> Workload {
        let is_over = self.ends.is_some_and(|ends| self.now >= ends);
        let both = || workload("v2", vec![revision("v1", 1, 3, 3), revision("v2", 2, 3, 3)]);
        let mut workload = if is_over { complete_v2() } else { both() };
        for pod in &mut workload.pods {
            pod.ready_since = Some(at(0));
        }
        workload
    }

    /// One look: time goes on, and the source is asked.
    fn look(&mut self, broken: Option<Broken>) {
        self.now += STEP;
        if self.ends.is_some_and(|ends| self.now >= ends) {
            self.pods.retain(|name, _| !is_old(name));
            self.shown.retain(|name, _| !is_old(name));
        }
        if broken == Some(Broken::Reset) || broken == Some(Broken::AllReset) {
            let chosen = self.dice.roll(self.pods.len() as u64);
            for (number, pod) in (0..).zip(self.pods.values_mut()) {
                if broken == Some(Broken::AllReset) || number == chosen {
                    *pod = Pod::default();
                }
            }
        }
        for pod in self.pods.values_mut() {
            pod.serve(self.now, &mut self.dice);
        }
        for (name, pod) in &self.pods {
            let is_stale = match broken {
                Some(Broken::StaleAll) => true,
                Some(Broken::StaleNew) => !is_old(name),
                _ => false,
            };
            if !is_stale {
                self.shown.insert(name.clone(), pod.clone());
            }
        }
        let names = self.names.clone();
        let requested = self.ask(&self.requested(), broken).and_then(|series| requests(series, &names));
        self.requests.note(requested, merge_series);
        let timed = self.ask(&self.timed(), broken).and_then(|series| latencies(series, &names));
        self.latencies.note(timed, merge_series);
        let reached = self.ask(&self.reached(), broken).and_then(|series| scraped(series, &names));
        self.scraped.note(reached, merge_series);
        // A query of the user's may well be negative.
        let own = broken.filter(|broken| *broken != Broken::Negative);
        let own = self.ask(&vec![(json!({}), self.sample(1))], own).and_then(to_points);
        self.own.note(own, std::iter::Extend::extend);
    }

    /// One sample at this instant, as the API writes it.
    fn sample(&self, count: u64) -> Vec<(i64, f64)> {
        vec![(at(self.now).as_second(), count as f64)]
    }

    fn requested(&self) -> Table {
        let of = |name: &String, code: &str, count: u64| (json!({"pod": name, "code": code}), self.sample(count));
        self.shown.iter().flat_map(|(name, pod)| [of(name, "200", pod.good), of(name, "500", pod.bad)]).collect()
    }

    fn timed(&self) -> Table {
        let of =
            |name: &String, index: usize, count: u64| (json!({"pod": name, "le": BOUNDS[index]}), self.sample(count));
        let all = |(name, pod): (&String, &Pod)| -> Table {
            pod.at_most.iter().enumerate().map(|(index, count)| of(name, index, *count)).collect()
        };
        self.shown.iter().flat_map(all).collect()
    }

    fn reached(&self) -> Table {
        let of = |(name, pod): (&String, &Pod)| (json!({"pod": name}), self.sample(pod.reached));
        self.shown.iter().map(of).collect()
    }

    /// The reply to one query, broken or not, as our reader reads it.
    fn ask(&self, table: &Table, broken: Option<Broken>) -> Answer<Vec<Series>> {
        let value = |value: f64| match broken {
            Some(Broken::NotANumber) => "NaN".to_owned(),
            Some(Broken::Infinite) => "+Inf".to_owned(),
            Some(Broken::Negative) => format!("-{value}"),
            _ => value.to_string(),
        };
        let is_left_out = |labels: &Value| {
            let name = labels["pod"].as_str().unwrap_or_default();
            match broken {
                Some(Broken::Empty) => true,
                Some(Broken::NoNewPods) => !is_old(name),
                Some(Broken::NoOldPods) => is_old(name),
                Some(Broken::OnePodLess) => name.ends_with('1'),
                _ => false,
            }
        };
        let series = |(labels, points): &(Value, Vec<(i64, f64)>)| {
            let points: Vec<Value> = points.iter().map(|(at, number)| json!([at, value(*number)])).collect();
            let native: Vec<Value> = points.iter().map(|one| json!([one[0], {"count": one[1], "sum": "1"}])).collect();
            let labels = if broken == Some(Broken::Nobodys) { json!({}) } else { labels.clone() };
            match broken {
                Some(Broken::Histograms) => json!({"metric": labels, "histograms": native}),
                _ => json!({"metric": labels, "values": points}),
            }
        };
        let result: Vec<Value> = table.iter().filter(|(labels, _)| !is_left_out(labels)).map(series).collect();
        let good = json!({"status": "success", "data": {"resultType": "matrix", "result": result}});
        let error = |kind: &str| json!({"status": "error", "errorType": kind, "error": "no"}).to_string();
        let (status, content_type, body) = match broken {
            Some(Broken::NotReady) => (503, "application/json", error("unavailable")),
            Some(Broken::TimedOut) => (503, "application/json", error("timeout")),
            Some(Broken::Text) => (500, "text/plain", "boom".to_owned()),
            Some(Broken::Html) => (200, "text/html", "<html></html>".to_owned()),
            Some(Broken::TooMany) => (429, "application/json", good.to_string()),
            Some(Broken::NoBody) => (200, "application/json", String::new()),
            Some(Broken::OtherJson) => (200, "application/json", json!({"message": "no route"}).to_string()),
            Some(Broken::Cut) => {
                let whole = good.to_string();
                let end = usize::try_from(self.now).unwrap() * 7 % whole.len();
                (200, "application/json", whole[..end].to_owned())
            }
            Some(Broken::Warned) => (200, "application/json", with(good, "warnings", json!(["store a is down"]))),
            Some(Broken::Partial) => (200, "application/json", with(good, "isPartial", json!(true))),
            Some(Broken::Word) => {
                let text = json!({"status": "success", "data": {"resultType": "string", "result": [1, "a"]}});
                (200, "application/json", text.to_string())
            }
            _ => (200, "application/json", good.to_string()),
        };
        read_reply(status, Some(content_type), body.as_bytes())
    }

    fn judge(&self, checks: &[Check], method: Analysis) -> Vec<CheckResult> {
        let mut requests = self.requests.answer();
        if let Ok(series) = &mut requests {
            series.extend(self.scraped.found.iter().cloned());
        }
        let latencies = self.latencies.answer();
        let past: Vec<PodSeries> =
            self.requests.found.iter().chain(&self.latencies.found).filter(|one| is_old(&one.pod)).cloned().collect();
        let keys = ["own".to_owned(), burn_rate_key("slo", "5m"), burn_rate_key("slo", "1h")];
        let queries = keys.into_iter().map(|key| (key, self.own.answer())).collect();
        let measured = Measured {
            revision: &version("v2"),
            known_good: Some(&version("v1")),
            since: at(START),
            completed: None,
            workload: &self.workload(),
            requests: &requests,
            latencies: &latencies,
            past: Some(&past),
            looks: u32::try_from(LOOKS).unwrap(),
            queries: &queries,
            minimum_requests: 50,
        };
        evaluate_all(checks, method, &measured)
    }
}

fn is_old(pod: &str) -> bool {
    pod.contains("-v1-")
}

fn with(mut reply: Value, key: &str, value: Value) -> String {
    reply[key] = value;
    reply.to_string()
}

fn checks() -> Vec<Check> {
    let critical = |name: &str, rule| Check { name: name.to_owned(), severity: Severity::Critical, rule };
    let max = Some(Bound { value: 5.0, of: Relative::Absolute });
    let min = Some(Bound { value: 0.5, of: Relative::Baseline });
    // It burned before as it burns now.
    let window = |text: &str| BurnWindow { text: text.to_owned(), length: duration::parse(text).unwrap() };
    let windows = vec![BurnWindows { short: window("5m"), long: window("1h"), factor: 5.0 }];
    vec![
        critical("errors", Rule::ErrorRate { max: Some(0.05), max_ratio: Some(2.0), floor: 0.005 }),
        critical("latency", Rule::Latency { quantile: Quantile::P95, max: Some(0.5), max_ratio: Some(2.0) }),
        critical("traffic", Rule::TrafficDrop { max: 0.75 }),
        critical("own", Rule::Query { promql: "sum(x)".to_owned(), min, max, floor: None }),
        critical("slo", Rule::BurnRate { budget: 0.1, promql: "{{ window }}".to_owned(), windows }),
    ]
}

#[test]
fn ten_thousand_looks_at_a_good_release_through_a_broken_source_breach_nothing() {
    let checks = checks();
    let before = Soak::before();
    let (mut polls, mut index) = (0, 0);
    while polls < POLLS {
        let mut soak = before.begin(index);
        let breaches_nothing = |soak: &Soak, method| {
            let results = soak.judge(&checks, method);
            let breached = results.iter().find(|result| result.verdict == Verdict::Breached);
            assert!(breached.is_none(), "{:?} in soak {index} at {}: {breached:#?}", soak.kind, soak.now - START);
        };
        for look in 1..=LOOKS {
            let kind = (soak.dice.roll(100) < soak.often).then_some(soak.kind);
            soak.look(kind);
            polls += 1;
            breaches_nothing(&soak, Analysis::Consecutive { failures: 3 });
            // The test looks back: what any look proved is still proven at a later one.
            if look % 10 == 0 {
                breaches_nothing(&soak, Analysis::Sequential { false_alarms: 0.001 });
            }
        }
        soak.look(None);
        breaches_nothing(&soak, Analysis::Sequential { false_alarms: 0.001 });
        index += 1;
    }
    assert!(index >= KINDS.len() * 3, "every kind, often enough, with and without old pods: {index}");
}

#[test]
fn the_same_story_with_a_bad_release_is_breached() {
    let mut soak = Soak::before().begin(1);
    for _ in 0..LOOKS {
        soak.look(None);
        for (name, pod) in &mut soak.pods {
            if !is_old(name) {
                (pod.good, pod.bad) = (pod.good - 20, pod.bad + 20);
            }
        }
    }
    let result = soak.judge(&checks(), Analysis::Sequential { false_alarms: 0.001 }).remove(0);
    assert_eq!(result.verdict, Verdict::Breached, "{}", result.message);
}
