//! The sampler against a real HTTP server that answers for the pods it is asked about.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests are tests too")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use snapback_controller::sampler::{Sampler, Samples, Wanted, WatchKey};
use snapback_core::sample::Missing;
use snapback_prometheus::{Preset, Source, SourceConfig};

const INTERVAL: i64 = 30;

/// A source of `targets` Deployments in two namespaces, each with one pod that counts the target's number; with the
/// range queries that it saw.
struct Bed {
    sampler: Sampler,
    asked: Arc<Mutex<Vec<BTreeMap<String, String>>>>,
    targets: usize,
}

fn namespace(target: usize) -> &'static str {
    ["shop", "bank"][target % 2]
}

fn answer(targets: usize, query: &BTreeMap<String, String>, most: usize) -> Value {
    let second = |name: &str| query[name].parse::<f64>().unwrap();
    let (start, end, step) = (second("start"), second("end"), second("step"));
    let instants = (0i32..).map(|step_| start + f64::from(step_) * step).take_while(|at| *at <= end);
    let instants: Vec<f64> = instants.collect();
    let asked_for = |target: &usize| query["query"].contains(&format!("t{target}-abc)"));
    let is_many = (0..targets).filter(asked_for).count() > most;
    let series = (0..targets).filter(asked_for).map(|target| {
        let values: Vec<Value> = instants.iter().map(|at| json!([at, format!("{target}")])).collect();
        let labels =
            json!({"namespace": namespace(target), "pod": format!("t{target}-abc-abcde"), "code": "200", "le": "0.1"});
        json!({"metric": labels, "values": values})
    });
    let result: Vec<Value> = if is_many { vec![json!("x".repeat(2_000_000))] } else { series.collect() };
    json!({"status": "success", "data": {"resultType": "matrix", "result": result}})
}

impl Bed {
    /// Replies about more than `most` targets are larger than the source may answer.
    async fn start(targets: usize, most: usize) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&asked);
        let app = Router::new().fallback(move |request: Request| {
            let all = Arc::clone(&all);
            async move {
                let body = axum::body::to_bytes(request.into_body(), 1_000_000).await.unwrap();
                let query: BTreeMap<String, String> =
                    reqwest::Url::parse(&format!("http://x/?{}", std::str::from_utf8(&body).unwrap()))
                        .unwrap()
                        .query_pairs()
                        .into_owned()
                        .collect();
                let reply = answer(targets, &query, most);
                all.lock().unwrap().push(query);
                ([("content-type", "application/json")], reply.to_string())
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let config = SourceConfig { max_response_bytes: 1_000_000, ..SourceConfig::new("main", &url) };
        let source = Source::new(&config).unwrap();
        Self { sampler: Sampler::new(vec![source], None), asked, targets }
    }

    /// Another target of its namespace as its control, by the names of its pods alone.
    fn control(target: usize, other: usize) -> Wanted {
        let of_target = Self::wanted(target);
        let revision = format!("{}/control/t{other}", of_target.key.revision);
        Wanted {
            key: WatchKey { revision, ..of_target.key.clone() },
            target: format!("t{other}"),
            all_pods: Some(format!("(t{other}-abc)-[a-z0-9]{{5}}")),
            new_sets: Vec::new(),
            past: false,
            ..of_target
        }
    }

    fn wanted(target: usize) -> Wanted {
        let key = WatchKey { watcher: format!("p{target}"), revision: "v2".into(), since: at(1000) };
        Wanted {
            key,
            namespace: namespace(target).into(),
            target: format!("t{target}"),
            source: None,
            names: Preset::HttpServer.names().compile().unwrap(),
            all_pods: None,
            new_sets: vec![format!("t{target}-abc")],
            old_sets: Vec::new(),
            since: at(1000),
            interval: SignedDuration::from_secs(INTERVAL),
            before: 4,
            past: true,
            requests: true,
            latencies: true,
            queries: BTreeMap::new(),
        }
    }

    /// All targets are looked at, as many at once as there are. Gives the queries that it took.
    async fn look(&self, second: i64) -> (Vec<Samples>, usize) {
        let before = self.asked.lock().unwrap().len();
        let wanted: Vec<Wanted> = (0..self.targets).map(Self::wanted).collect();
        let looks = wanted.iter().map(|wanted| self.sampler.sample(wanted, at(second)));
        let samples = futures::future::join_all(looks).await;
        (samples, self.asked.lock().unwrap().len() - before)
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Whose counts a target got, and at which instants.
fn got(samples: &Samples) -> (Vec<String>, Vec<i64>) {
    let requests = samples.requests.as_ref().unwrap();
    let pods = requests.iter().map(|series| series.pod.clone()).collect::<std::collections::BTreeSet<_>>();
    let instants = requests[0].points.iter().map(|(at, _)| at.as_second()).collect();
    (pods.into_iter().collect(), instants)
}

#[tokio::test]
async fn the_number_of_queries_does_not_depend_on_the_number_of_targets() {
    for targets in [1, 40] {
        let bed = Bed::start(targets, targets).await;
        bed.look(1005).await;
        for second in [1025, 1055] {
            let (samples, queries) = bed.look(second).await;
            assert_eq!(queries, 3, "requests, durations and scrapes of {targets} targets");
            for (target, samples) in samples.iter().enumerate() {
                let (pods, instants) = got(samples);
                assert_eq!(pods, [format!("t{target}-abc-abcde")], "each gets its own pods");
                assert_eq!(instants.last(), Some(&(second / INTERVAL * INTERVAL)));
                assert!(instants.windows(2).all(|two| two[1] - two[0] == INTERVAL), "each instant once: {instants:?}");
            }
        }
        let (_, queries) = bed.look(1056).await;
        assert_eq!(queries, 0, "nothing is due before the next instant");
    }
}

#[tokio::test]
async fn controls_are_asked_for_by_the_queries_of_their_target_from_the_first_look_on() {
    let bed = Bed::start(6, 6).await;
    let look = async |others: &[usize], second: i64| {
        let before = bed.asked.lock().unwrap().len();
        let controls: Vec<Wanted> = others.iter().map(|other| Bed::control(1, *other)).collect();
        for control in &controls {
            bed.sampler.expect(control, at(second));
        }
        let mut pods = got(&bed.sampler.sample(&Bed::wanted(1), at(second)).await).0;
        for control in &controls {
            pods.extend(got(&bed.sampler.sample(control, at(second)).await).0);
        }
        (bed.asked.lock().unwrap().len() - before, pods)
    };
    let (alone, _) = look(&[], 1005).await;
    bed.sampler.forget("p1", "", &[]);
    for (second, queries) in [(1005, alone), (1025, 3), (1055, 3)] {
        let each_its_own = ["t1-abc-abcde", "t3-abc-abcde", "t5-abc-abcde"].map(str::to_owned).to_vec();
        assert_eq!(look(&[3, 5], second).await, (queries, each_its_own), "at {second}");
    }
}

#[tokio::test]
async fn replies_that_are_too_large_are_asked_for_in_parts() {
    let bed = Bed::start(16, 4).await;
    bed.look(1005).await;
    let (samples, queries) = bed.look(1025).await;
    assert!(samples.iter().all(|samples| samples.requests.is_ok() && samples.latencies.is_ok()));
    assert!(queries > 3 && queries <= 3 * 7, "{queries}");
}

#[tokio::test]
async fn a_watch_that_nobody_looks_at_any_more_is_not_asked_for() {
    let bed = Bed::start(2, 2).await;
    bed.look(1005).await;
    let left = Bed::wanted(0);
    for second in (1035..1400).step_by(30) {
        let samples = bed.sampler.sample(&left, at(second)).await;
        assert!(samples.requests.is_ok());
    }
    let asked = bed.asked.lock().unwrap();
    assert!(!asked.last().unwrap()["query"].contains("t1-abc"), "{:?}", asked.last());
}

#[tokio::test]
async fn without_a_source_there_is_no_answer_and_no_failure_of_another_kind() {
    let sampler = Sampler::new(Vec::new(), None);
    let samples = sampler.sample(&Bed::wanted(0), at(1005)).await;
    assert!(matches!(samples.requests, Err(Missing::UnknownSource(_))), "{:?}", samples.requests);
}
