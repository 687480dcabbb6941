//! A source against a real HTTP server that answers as told.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests are tests too")]

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use snapback_core::sample::{Answer, Counts, Missing};
use snapback_prometheus::{
    AuthConfig, BasicConfig, Counter, HeaderValueConfig, Instants, Preset, Series, Source, SourceConfig,
};
use tokio::sync::Barrier;

const EMPTY: &str = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;

/// A request as the server saw it.
#[derive(Debug, Clone)]
struct Seen {
    method: Method,
    path: String,
    headers: HeaderMap,
    params: BTreeMap<String, String>,
}

struct Stub {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Stub {
    async fn start<F, A>(answer: F) -> Self
    where
        F: Fn(Seen) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response> + Send + 'static,
    {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&seen);
        let app = Router::new().fallback(move |request: Request| {
            let (answer, all) = (answer.clone(), Arc::clone(&all));
            async move {
                let one = see(request).await;
                all.lock().unwrap().push(one.clone());
                answer(one).await
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, seen }
    }

    /// Always the same answer.
    async fn fixed(status: u16, content_type: &'static str, body: &str) -> Self {
        let body = body.to_owned();
        Self::start(move |_| {
            let body = body.clone();
            async move { reply(status, content_type, body) }
        })
        .await
    }

    fn config(&self) -> SourceConfig {
        SourceConfig::new("main", &self.url)
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn see(request: Request) -> Seen {
    let (parts, body) = request.into_parts();
    let body = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
    let query = format!("http://x/?{}&{body}", parts.uri.query().unwrap_or_default());
    let params = reqwest::Url::parse(&query).unwrap().query_pairs().into_owned().collect();
    Seen { method: parts.method, path: parts.uri.path().to_owned(), headers: parts.headers, params }
}

fn reply(status: u16, content_type: &str, body: impl Into<Body>) -> Response {
    Response::builder().status(status).header("content-type", content_type).body(body.into()).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

async fn ask(config: &SourceConfig) -> Answer<Vec<Series>> {
    Source::new(config).unwrap().instant("up", at(1_700_000_000)).await
}

/// The text of an outage, which must never hold an address.
async fn outage(config: &SourceConfig) -> String {
    match ask(config).await {
        Err(Missing::Unavailable(text)) => {
            assert!(!text.contains("127.0.0.1") && !text.contains("://"), "{text}");
            text
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_instant_query_is_posted_and_its_vector_read() {
    let body = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"pod":"a"},"value":[1700000000,"NaN"]}]}}"#;
    let stub = Stub::fixed(200, "application/json", body).await;
    let source = Source::new(&SourceConfig {
        timeout: Some("5s".to_owned()),
        query_params: BTreeMap::from([("lookback_delta", "1m"), ("dedup", "false"), ("nocache", "")].map(owned)),
        ..stub.config()
    })
    .unwrap();
    let found = source.instant("up > 0", Timestamp::from_millisecond(1_700_000_000_250).unwrap()).await.unwrap();
    assert!(found[0].points[0].1.is_nan());
    assert_eq!(found[0].labels["pod"], "a");

    let seen = &stub.seen()[0];
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/api/v1/query"));
    assert_eq!(seen.headers["user-agent"], concat!("snapback/", env!("CARGO_PKG_VERSION")));
    let params: Vec<(&str, &str)> = seen.params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [
        ("dedup", "false"),
        ("deny_partial_response", "1"),
        ("lookback_delta", "1m"),
        ("max_source_resolution", "0s"),
        ("partial_response", "false"),
        ("query", "up > 0"),
        ("time", "1700000000.250"),
        ("timeout", "5000ms"),
    ];
    assert_eq!(params, expected, "what an administrator says goes before our defaults, and nothing leaves one out");
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[tokio::test]
async fn every_back_end_is_asked_for_all_it_has_or_nothing() {
    let stub = Stub::fixed(200, "application/json", EMPTY).await;
    ask(&stub.config()).await.unwrap();
    let params = &stub.seen()[0].params;
    let sent = ["partial_response", "deny_partial_response", "dedup", "nocache"].map(|name| params[name].as_str());
    assert_eq!(sent, ["false", "1", "true", "1"]);
}

#[tokio::test]
async fn what_a_back_end_says_of_the_time_after_the_end_is_left_out() {
    // VictoriaMetrics without nocache rounds the end up to a multiple of the step; Thanos' front end rounds both down.
    let body = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},
        "values":[[0,"1"],[30,"2"],[60,"3"]],"histograms":[[90,{"count":"1","sum":"1"}]]}]}}"#;
    let stub = Stub::fixed(200, "application/json", body).await;
    let source = Source::new(&stub.config()).unwrap();
    let found = source.range("up", at(10), at(40), SignedDuration::from_secs(30)).await.unwrap();
    assert_eq!(found[0].points, [(at(0), 1.0), (at(30), 2.0)]);
    assert!(found[0].histograms.is_empty());
}

#[tokio::test]
async fn a_native_histogram_is_asked_for_where_there_is_no_classic_one() {
    let native = |seen: &Seen| !seen.params["query"].contains("_bucket");
    let stub = Stub::start(move |seen: Seen| async move {
        let body = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"pod":"web-1-abcde"},
            "histograms":[[10,{"count":"3","sum":"1","buckets":[[0,"0.25","0.5","2"],[0,"1","2","1"]]}]]}]}}"#;
        reply(200, "application/json", if native(&seen) { body } else { EMPTY })
    })
    .await;
    let source = Source::new(&stub.config()).unwrap();
    let names = Preset::HttpServer.names().compile().unwrap();
    let instants = Instants { start: at(10), end: at(10), step: SignedDuration::from_secs(30) };
    let found = source.count(Counter::Latencies, &names, "shop", "(web-1)-[a-z0-9]{5}", instants).await.unwrap();
    let at_most = |bound| found.iter().find(|one| one.counts == Counts::AtMostSeconds(bound)).unwrap().points[0].1;
    assert_eq!((at_most(0.5), at_most(1.0), at_most(1.5), at_most(f64::INFINITY)), (2.0, 2.0, 3.0, 3.0));
    assert_eq!(stub.seen().len(), 2);
}

#[tokio::test]
async fn a_back_end_without_native_histograms_has_no_data_rather_than_a_wrong_query() {
    let stub = Stub::start(|seen: Seen| async move {
        let refused = r#"{"status":"error","errorType":"422","error":"unknown func \"histogram_count\""}"#;
        if seen.params["query"].contains("histogram_count") {
            reply(422, "application/json", refused)
        } else {
            reply(200, "application/json", EMPTY)
        }
    })
    .await;
    let source = Source::new(&stub.config()).unwrap();
    let names = Preset::OpenTelemetry.names().compile().unwrap();
    let instants = Instants { start: at(10), end: at(10), step: SignedDuration::from_secs(30) };
    assert_eq!(
        source.count(Counter::Requests, &names, "shop", "(web-1)-[a-z0-9]{5}", instants).await,
        Err(Missing::Empty)
    );
}

#[tokio::test]
async fn a_range_query_goes_to_its_own_path_under_the_prefix() {
    let body =
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[10,"1"],[40,"2"]]}]}}"#;
    let stub = Stub::fixed(200, "application/json", body).await;
    let source = Source::new(&SourceConfig::new("main", format!("{}/prometheus/", stub.url))).unwrap();
    let found = source.range("up", at(10), at(40), SignedDuration::from_secs(30)).await.unwrap();
    assert_eq!(found[0].points, [(at(10), 1.0), (at(40), 2.0)]);

    let seen = &stub.seen()[0];
    assert_eq!(seen.path, "/prometheus/api/v1/query_range");
    assert_eq!((&*seen.params["start"], &*seen.params["end"], &*seen.params["step"]), ("10", "40", "30"));
}

#[tokio::test]
async fn no_series_is_an_answer_without_series() {
    let stub = Stub::fixed(200, "application/json", EMPTY).await;
    assert_eq!(ask(&stub.config()).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_wrong_query_is_the_querys_fault() {
    let body = r#"{"status":"error","errorType":"bad_data","error":"1:1: parse error"}"#;
    let stub = Stub::fixed(400, "application/json", body).await;
    assert_eq!(ask(&stub.config()).await, Err(Missing::BadQuery("1:1: parse error".to_owned())));
}

#[tokio::test]
async fn failures_of_the_server_are_outages() {
    let json = r#"{"status":"error","errorType":"unavailable","error":"http://127.0.0.1 is down"}"#;
    for (status, content_type, body, expected) in [
        (500, "text/plain", "boom", "answered with text/plain instead of JSON (HTTP 500)"),
        (500, "application/json", "{}", "answered with something that is no Prometheus reply (HTTP 500)"),
        (503, "application/json", json, "is not ready (HTTP 503)"),
        (200, "text/html", "<html>secret</html>", "answered with text/html instead of JSON (HTTP 200)"),
        (401, "application/json", "{}", "refused the operator's credentials (HTTP 401)"),
    ] {
        assert_eq!(outage(&Stub::fixed(status, content_type, body).await.config()).await, expected);
    }
}

#[tokio::test]
async fn warnings_make_the_answer_partial() {
    let body = r#"{"status":"success","warnings":["store down"],"data":{"resultType":"vector","result":[]}}"#;
    let stub = Stub::fixed(200, "application/json", body).await;
    assert!(matches!(ask(&stub.config()).await, Err(Missing::Partial(_))));
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_on() {
    let stub = Stub::start(|_| pending()).await;
    let config = SourceConfig { timeout: Some("100ms".to_owned()), ..stub.config() };
    assert_eq!(outage(&config).await, "gave no answer within 100ms");
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up_on() {
    let stub = Stub::start(|_| async {
        let body = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
        reply(200, "application/json", body)
    })
    .await;
    let config = SourceConfig { timeout: Some("100ms".to_owned()), ..stub.config() };
    assert_eq!(outage(&config).await, "gave no answer within 100ms");
}

#[tokio::test]
async fn a_reply_over_the_limit_is_not_read_whether_or_not_it_tells_its_length() {
    let told = Stub::fixed(200, "application/json", &"x".repeat(1001)).await;
    let untold = Stub::start(|_| async {
        let chunks = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 100]));
        reply(200, "application/json", Body::from_stream(chunks))
    })
    .await;
    for stub in [told, untold] {
        let config = SourceConfig { max_response_bytes: 1000, ..stub.config() };
        assert_eq!(ask(&config).await, Err(Missing::TooLarge(1000)));
    }
}

#[tokio::test]
async fn a_reply_of_just_the_limit_is_read() {
    let stub = Stub::fixed(200, "application/json", EMPTY).await;
    let config = SourceConfig { max_response_bytes: EMPTY.len(), ..stub.config() };
    assert_eq!(ask(&config).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_port_without_a_server_refuses_the_connection() {
    let stub = Stub::fixed(200, "application/json", EMPTY).await;
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    assert_eq!(outage(&SourceConfig { url, ..stub.config() }).await, "refused the connection");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Stub::fixed(200, "application/json", EMPTY).await;
    let target = elsewhere.url.clone();
    let stub = Stub::start(move |_| {
        let target = target.clone();
        async move { Response::builder().status(307).header("location", target).body(Body::empty()).unwrap() }
    })
    .await;
    assert_eq!(outage(&stub.config()).await, "answered with a redirect, which is not followed (HTTP 307)");
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn a_rotated_token_is_used_by_the_next_query() {
    let stub = Stub::fixed(200, "application/json", EMPTY).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "first\n").unwrap();
    let auth = AuthConfig { bearer_token_file: Some(path.clone()), ..AuthConfig::default() };
    let source = Source::new(&SourceConfig { auth: Some(auth), ..stub.config() }).unwrap();
    source.instant("up", at(1)).await.unwrap();
    std::fs::write(&path, "other\n").unwrap();
    source.instant("up", at(2)).await.unwrap();
    let sent: Vec<String> =
        stub.seen().iter().map(|seen| seen.headers["authorization"].to_str().unwrap().to_owned()).collect();
    assert_eq!(sent, ["Bearer first", "Bearer other"]);

    std::fs::remove_file(&path).unwrap();
    let Err(Missing::Unavailable(text)) = source.instant("up", at(3)).await else { panic!("asked without a token") };
    assert!(text.starts_with("the file of auth.bearerTokenFile cannot be read"), "{text}");
    assert_eq!(stub.seen().len(), 2);
}

#[tokio::test]
async fn headers_and_basic_authentication_are_sent() {
    let stub = Stub::fixed(200, "application/json", EMPTY).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, "pässword\n").unwrap();
    let basic = BasicConfig { username: "me".to_owned(), password_file: path.clone() };
    let tenant = HeaderValueConfig { value: Some("shop".to_owned()), value_file: None };
    let config = SourceConfig {
        auth: Some(AuthConfig { basic: Some(basic), ..AuthConfig::default() }),
        headers: BTreeMap::from([("X-Scope-OrgID".to_owned(), tenant)]),
        ..stub.config()
    };
    ask(&config).await.unwrap();
    let headers = &stub.seen()[0].headers;
    assert_eq!(headers["x-scope-orgid"], "shop");
    assert_eq!(headers["authorization"], "Basic bWU6cMOkc3N3b3Jk");
}

#[tokio::test]
async fn a_server_that_takes_only_get_is_asked_with_get_from_then_on() {
    let stub = Stub::start(|seen: Seen| async move {
        if seen.method == Method::GET { reply(200, "application/json", EMPTY) } else { reply(405, "text/plain", "") }
    })
    .await;
    let source = Source::new(&stub.config()).unwrap();
    assert_eq!(source.instant("up", at(1)).await, Ok(Vec::new()));
    assert_eq!(source.range("up", at(1), at(2), SignedDuration::from_secs(1)).await, Ok(Vec::new()));
    let methods: Vec<String> = stub.seen().iter().map(|seen| seen.method.to_string()).collect();
    assert_eq!(methods, ["POST", "GET", "GET"]);
    assert_eq!(stub.seen()[1].params["query"], "up");
}

#[tokio::test]
async fn no_more_queries_run_at_once_than_allowed() {
    // Two at a time must meet at the barrier, or none would be answered.
    let (barrier, running, most) =
        (Arc::new(Barrier::new(2)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let highest = Arc::clone(&most);
    let stub = Stub::start(move |_| {
        let (barrier, running, most) = (Arc::clone(&barrier), Arc::clone(&running), Arc::clone(&most));
        async move {
            most.fetch_max(1 + running.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
            barrier.wait().await;
            running.fetch_sub(1, Ordering::SeqCst);
            reply(200, "application/json", EMPTY)
        }
    })
    .await;
    let source = Source::new(&SourceConfig { max_concurrent_queries: 2, ..stub.config() }).unwrap();
    let answers = futures::future::join_all((0..8).map(|second| source.instant("up", at(second)))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(highest.load(Ordering::SeqCst), 2);
}

#[test]
fn a_wrong_setting_is_refused_with_the_sources_name() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let base = || SourceConfig::new("main", "http://prometheus:9090");
    let token = AuthConfig { bearer_token_file: Some("/nowhere/token".into()), ..AuthConfig::default() };
    for (config, expected) in [
        (SourceConfig { url: "prometheus".to_owned(), ..base() }, "source \"main\": url is no URL"),
        (SourceConfig { timeout: Some("soon".to_owned()), ..base() }, "source \"main\": timeout must be a duration"),
        (SourceConfig { timeout: Some("0s".to_owned()), ..base() }, "source \"main\": timeout must not be zero"),
        (SourceConfig { max_concurrent_queries: 0, ..base() }, "source \"main\": maxConcurrentQueries"),
        (
            SourceConfig { query_params: BTreeMap::from([("time".to_owned(), "1".to_owned())]), ..base() },
            "source \"main\": queryParams.time is set by the operator",
        ),
        (
            SourceConfig { auth: Some(token), ..base() },
            "source \"main\": the file of auth.bearerTokenFile cannot be read",
        ),
    ] {
        let error = Source::new(&config).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}
