//! The metrics source fails: that alone never undoes anything, and what is bad is undone once it is back.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use snapback_fake_api::{Call, Verb};
use snapback_prometheus::{AuthConfig, SourceConfig, TlsConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsAcceptor;

use crate::pairs::undone_once;
use crate::source::{Series, reply};
use crate::world::{NAMESPACE, World};

/// How the source fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    Down,
    Slow,
    NotANumber,
    Empty,
    Huge,
    Truncated,
    Partial,
    Html,
    ServerError,
    WrongCertificate,
}

/// Every kind, by its name.
pub(crate) const FAILURES: [(&str, Failure); 10] = [
    ("Prometheus: connection refused", Failure::Down),
    ("Prometheus: slower than its time-out", Failure::Slow),
    ("Prometheus: NaN", Failure::NotANumber),
    ("Prometheus: empty", Failure::Empty),
    ("Prometheus: larger than the limit", Failure::Huge),
    ("Prometheus: JSON cut off", Failure::Truncated),
    ("Prometheus: partial, with warnings", Failure::Partial),
    ("Prometheus: HTML", Failure::Html),
    ("Prometheus: HTTP 500", Failure::ServerError),
    ("Prometheus: wrong certificate", Failure::WrongCertificate),
];

/// How long it fails when it comes back.
const OUTAGE: Duration = Duration::from_secs(10);

/// The largest reply that is read.
const LIMIT: usize = 256 * 1024;

/// Requests a second of each pod.
const LOAD: f64 = 20.0;

/// A source that answers, until it does not.
#[derive(Default)]
struct Source {
    asked: AtomicUsize,
    ill: Mutex<Option<Illness>>,
}

/// From which request on it fails, how, and for how long; for ever, if that is not said.
struct Illness {
    first: usize,
    failure: Failure,
    lasts: Option<Duration>,
    until: Option<Instant>,
}

impl Source {
    /// How the next request fares.
    fn next(&self) -> Option<Failure> {
        let index = self.asked.fetch_add(1, Ordering::Relaxed);
        let mut ill = self.ill.lock().unwrap();
        let ill = ill.as_mut().filter(|ill| index >= ill.first)?;
        if let Some(lasts) = ill.lasts {
            let until = *ill.until.get_or_insert_with(|| Instant::now() + lasts);
            return (Instant::now() < until).then_some(ill.failure);
        }
        Some(ill.failure)
    }
}

/// How many requests the source gets from v2's coming to rest, when nothing goes wrong.
pub(crate) async fn requests(bad: bool) -> usize {
    let (world, source) = adopted(bad, None).await;
    source.asked.store(0, Ordering::Relaxed);
    world.deploy("v2", true);
    if bad {
        undone_once(&world, "with a source that answers").await;
    } else {
        is_good(&world).await;
    }
    source.asked.load(Ordering::Relaxed)
}

/// A bad release, and the source fails for a while from this request on: it is undone once, when it is proven.
pub(crate) async fn bad_release(name: &str, failure: Failure, index: usize) -> Duration {
    let what = format!("{name} from request {index} on");
    let (mut world, source) = adopted(true, Some(failure)).await;
    source.falls_ill(index, failure, Some(OUTAGE));
    world.deploy("v2", true);
    let came = Instant::now();
    world.until(&what, |world| world.image() == "shop/checkout:v1").await;
    let took = came.elapsed();
    undone_once(&world, &what).await;
    world.kill().await;
    took
}

/// A good release, and the source fails from this request on for ever: nothing is undone.
pub(crate) async fn good_release(name: &str, failure: Failure, index: usize) {
    let what = format!("good, {name} from request {index} on");
    let (mut world, source) = adopted(false, Some(failure)).await;
    source.falls_ill(index, failure, None);
    world.deploy("v2", true);
    for _ in 0..3 {
        world.settle().await;
    }
    assert!(world.rollbacks().is_empty(), "{what}: {:#?}", world.rollbacks());
    assert_eq!((world.image().as_str(), world.revision().as_str()), ("shop/checkout:v2", "2"), "{what}");
    let is_undo = |call: &Call| call.verb == Verb::Patch && call.resource == "deployments" && !call.dry_run;
    assert!(!world.api.calls().iter().any(is_undo), "{what}: it was touched");
    world.kill().await;
}

async fn is_good(world: &World) {
    let is_known_good = |world: &World| {
        let good = world.target().and_then(|target| target.known_good);
        good.is_some_and(|good| good.images == ["shop/checkout:v2"])
    };
    world.until("v2 known good", is_known_good).await;
}

impl Source {
    /// From the `index`-th request after this on.
    fn falls_ill(&self, index: usize, failure: Failure, lasts: Option<Duration>) {
        let first = self.asked.load(Ordering::Relaxed) + index;
        *self.ill.lock().unwrap() = Some(Illness { first, failure, lasts, until: None });
    }
}

/// v1 known good by a source; v2 answers well, or half of its requests fail.
async fn adopted(bad: bool, failure: Option<Failure>) -> (World, Arc<Source>) {
    let mut world = World::without_operator();
    let first = world.sets().remove(0);
    let began = world.now() - SignedDuration::from_hours(7);
    let api = world.api.clone();
    let answer: Series = Arc::new(move |query, at| {
        if !query.contains("http_requests_total{") {
            return Vec::new();
        }
        let sets = api.objects("replicasets", NAMESPACE);
        let births = sets.iter().map(|set| (set["metadata"]["name"].as_str().unwrap(), set));
        let asked = births.filter(|(name, _)| query.contains(name));
        let counts = asked.flat_map(|(name, set)| {
            let is_first = name == first;
            let birth =
                if is_first { began } else { set["metadata"]["creationTimestamp"].as_str().unwrap().parse().unwrap() };
            let share = if bad && !is_first { 0.5 } else { 0.0 };
            counters(&format!("{name}-aaaaa"), birth, share, at)
        });
        counts.collect()
    });
    let source = Arc::new(Source::default());
    let tls = failure == Some(Failure::WrongCertificate);
    let url = serve(Arc::clone(&source), answer, tls).await;
    let auth = tls.then(|| AuthConfig {
        tls: Some(TlsConfig { ca_file: Some(certificates().authority.clone()), ..TlsConfig::default() }),
        ..AuthConfig::default()
    });
    world.ask_source(SourceConfig { auth, max_response_bytes: LIMIT, ..SourceConfig::new("main", url) });
    world.policy(&json!({
        "soak": {"duration": "30s", "interval": "5s"},
        "checks": [{"name": "errors", "errorRate": {"max": "5%"}}],
        "rollback": {"deadline": "10m", "verify": {"duration": "10s"}}
    }));
    world.start();
    world.until("v1 known good", |world| world.target().is_some_and(|target| target.known_good.is_some())).await;
    (world, source)
}

/// The requests of a pod that serves from `birth` on; with whether they failed.
fn counters(pod: &str, birth: Timestamp, share: f64, at: Timestamp) -> Vec<(Value, f64)> {
    if at < birth {
        return Vec::new();
    }
    let all = LOAD * at.duration_since(birth).as_secs_f64();
    let labels = |code: &str| json!({"namespace": NAMESPACE, "pod": pod, "code": code});
    vec![(labels("200"), (all * (1.0 - share)).floor()), (labels("500"), (all * share).floor())]
}

async fn serve(source: Arc<Source>, answer: Series, tls: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Each connection carries one request.
            let (failure, answer) = (source.next(), Arc::clone(&answer));
            tokio::spawn(async move { connection(stream, tls, failure, &answer).await });
        }
    });
    if tls { format!("https://localhost:{}", address.port()) } else { format!("http://{address}") }
}

/// What goes wrong on the way is what the client is to bear.
async fn connection(stream: TcpStream, tls: bool, failure: Option<Failure>, answer: &Series) {
    if failure == Some(Failure::Down) {
        return;
    }
    if !tls {
        return exchange(stream, failure, answer).await;
    }
    let certificates = certificates();
    let wrong = failure == Some(Failure::WrongCertificate);
    let acceptor = if wrong { &certificates.wrong } else { &certificates.right };
    if let Ok(stream) = acceptor.accept(stream).await {
        exchange(stream, failure, answer).await;
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, failure: Option<Failure>, answer: &Series) {
    let Some(query) = request(&mut stream).await else { return };
    let mut body = reply(answer, &query);
    let values = |body: &mut Value, value: &str| {
        for series in body["data"]["result"].as_array_mut().into_iter().flatten() {
            for point in series["values"].as_array_mut().into_iter().flatten() {
                point[1] = json!(value);
            }
        }
    };
    let (mut status, mut kind) = ("200 OK", "application/json");
    match failure {
        Some(Failure::Slow) => sleep(Duration::from_secs(30)).await,
        Some(Failure::NotANumber) => values(&mut body, "NaN"),
        Some(Failure::Empty) => body["data"]["result"] = json!([]),
        Some(Failure::Huge) => body["padding"] = json!("x".repeat(LIMIT)),
        Some(Failure::Partial) => body["warnings"] = json!(["fetch from store 10.0.0.1:10901: timed out"]),
        Some(Failure::ServerError) => status = "500 Internal Server Error",
        Some(Failure::Html) => kind = "text/html",
        _ => {}
    }
    let mut body = match failure {
        Some(Failure::ServerError) => "the disk is full".to_owned(),
        Some(Failure::Html) => "<html>Sign in</html>".to_owned(),
        _ => body.to_string(),
    };
    let length = body.len();
    if failure == Some(Failure::Truncated) {
        body.truncate(length / 2);
    }
    // A reply that is cut off says that it is whole: it is no broken connection, but broken JSON.
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    _ = stream.write_all(head.as_bytes()).await;
    _ = stream.write_all(body.as_bytes()).await;
    _ = stream.shutdown().await;
}

/// The body of the one request on a connection.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut read = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        read.extend_from_slice(buffer.get(..count)?);
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
        if body.len() >= length? {
            return Some(body.to_owned());
        }
    }
}

/// The certificate that the operator trusts, and one that it does not.
struct Certificates {
    authority: PathBuf,
    right: TlsAcceptor,
    wrong: TlsAcceptor,
}

fn certificates() -> &'static Certificates {
    static MADE: OnceLock<Certificates> = OnceLock::new();
    MADE.get_or_init(|| {
        _ = rustls::crypto::ring::default_provider().install_default();
        let (pem, right) = certificate();
        let authority = std::env::temp_dir().join(format!("snapback-faults-{}.pem", std::process::id()));
        std::fs::write(&authority, pem).unwrap();
        Certificates { authority, right, wrong: certificate().1 }
    })
}

fn certificate() -> (String, TlsAcceptor) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (made.cert.pem(), TlsAcceptor::from(Arc::new(config)))
}
