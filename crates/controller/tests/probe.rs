//! Probes against real servers that answer as told.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests are tests too")]

use std::future::pending;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use jiff::Timestamp;
use rustls::pki_types::PrivateKeyDer;
use snapback_controller::rollback::probe::Prober;
use snapback_core::fingerprint::Fingerprint;
use snapback_core::ids::{PodUid, ReplicaSetUid, WorkloadUid};
use snapback_core::rollback::{Answer, Probe, Reply, Scheme, asked};
use snapback_core::workload::{PodFacts, Revision, Said, Workload};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;
use tokio_rustls::TlsAcceptor;

/// Serves what `answer` makes of each request. Gives the address.
async fn serve<F, A>(answer: F) -> SocketAddr
where
    F: Fn(Request) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response> + Send + 'static,
{
    let app = Router::new().fallback(answer);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

/// Hands every connection to `handle`. Gives the address.
async fn accept<F, A>(handle: F) -> SocketAddr
where
    F: Fn(TcpStream) -> A + Send + Sync + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(handle(stream));
        }
    });
    address
}

fn reply(status: u16, body: impl Into<Body>) -> Response {
    Response::builder().status(status).body(body.into()).unwrap()
}

fn http(port: u16, path: &str) -> Probe {
    Probe { scheme: Scheme::Http, port, path: path.to_owned() }
}

fn https(port: u16) -> Probe {
    Probe { scheme: Scheme::Https, port, path: "/healthz".to_owned() }
}

/// Asks `count` pods of this machine's address.
async fn ask(count: usize, probes: Vec<Probe>) -> Vec<Answer> {
    ask_in(&workload(count), probes).await
}

async fn ask_in(workload: &Workload, probes: Vec<Probe>) -> Vec<Answer> {
    _ = rustls::crypto::ring::default_provider().install_default();
    Prober::new(|_| None).unwrap().ask(asked(workload, &Fingerprint::recorded("good")), &probes).await
}

async fn ask_one(probe: Probe) -> Reply {
    ask(1, vec![probe]).await.remove(0).reply
}

fn silence(why: &str) -> Reply {
    Reply::Silence(why.to_owned())
}

#[tokio::test]
async fn a_pod_is_asked_with_a_plain_get_for_the_path_and_its_query() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&seen);
    let server = serve(move |request: Request| {
        let headers = request.headers();
        let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let line = (request.method().to_string(), request.uri().to_string(), header("host"), header("user-agent"));
        all.lock().unwrap().push(line);
        async { reply(204, "") }
    })
    .await;
    assert_eq!(ask_one(http(server.port(), "/healthz?full=1")).await, Reply::Code(204));
    let agent = concat!("snapback/", env!("CARGO_PKG_VERSION")).to_owned();
    let expected = ("GET".to_owned(), "/healthz?full=1".to_owned(), Some(server.to_string()), Some(agent));
    assert_eq!(*seen.lock().unwrap(), [expected]);
}

#[tokio::test]
async fn every_pod_is_asked_everything_and_the_answers_keep_the_order() {
    let server =
        serve(|request: Request| async move { reply(if request.uri().path() == "/good" { 200 } else { 503 }, "") })
            .await;
    let probes = vec![http(server.port(), "/good"), http(server.port(), "/bad")];
    let mut workload = workload(2);
    workload.pods.reverse();
    let answers = ask_in(&workload, probes).await;
    let told: Vec<(&str, &str, &Reply)> =
        answers.iter().map(|one| (one.pod.as_str(), one.probe.path.as_str(), &one.reply)).collect();
    let (good, bad) = (Reply::Code(200), Reply::Code(503));
    let expected =
        [("pod-0", "/good", &good), ("pod-0", "/bad", &bad), ("pod-1", "/good", &good), ("pod-1", "/bad", &bad)];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let elsewhere = serve(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        async { reply(200, "") }
    })
    .await;
    let server = serve(move |_| async move {
        let to = format!("http://{elsewhere}/");
        Response::builder().status(302).header("location", to).body(Body::empty()).unwrap()
    })
    .await;
    assert_eq!(ask_one(http(server.port(), "/")).await, Reply::Code(302));
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_body_without_end_is_not_read() {
    let server = serve(|_| async {
        let chunks = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 1 << 16]));
        reply(200, Body::from_stream(chunks))
    })
    .await;
    assert_eq!(ask_one(http(server.port(), "/")).await, Reply::Code(200));
}

#[tokio::test]
async fn what_gives_no_answer_is_silence_with_its_reason_and_no_address() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    assert_eq!(ask_one(http(port, "/")).await, silence("refused the connection"));

    let closing = accept(|mut stream| async move {
        _ = stream.read(&mut [0; 1024]).await;
    })
    .await;
    assert_eq!(ask_one(http(closing.port(), "/")).await, silence("broke the connection"));

    let speaking = accept(|mut stream| async move {
        _ = stream.read(&mut [0; 1024]).await;
        _ = stream.write_all(b"220 mail.example ESMTP\r\n").await;
    })
    .await;
    assert_eq!(ask_one(http(speaking.port(), "/")).await, silence("broke the connection"));
}

// Time is held: it jumps to the end of the wait.
#[tokio::test(start_paused = true)]
async fn a_pod_that_never_answers_is_given_up_on() {
    let server = serve(|_| pending()).await;
    let began = tokio::time::Instant::now();
    assert_eq!(ask_one(http(server.port(), "/")).await, silence("no answer within 3s"));
    assert_eq!(began.elapsed().as_secs(), 3);
}

#[tokio::test]
async fn a_pod_without_an_address_is_told_of() {
    let server = serve(|_| async { reply(200, "") }).await;
    let mut workload = workload(2);
    workload.pods[0].ip = None;
    let answers = ask_in(&workload, vec![http(server.port(), "/")]).await;
    let replies: Vec<Reply> = answers.into_iter().map(|answer| answer.reply).collect();
    assert_eq!(replies, [silence("it has no address of its own yet"), Reply::Code(200)]);
}

#[tokio::test]
async fn at_most_ten_are_asked_at_once() {
    // Ten at a time must meet at the barrier, or none would be answered.
    let (barrier, running, most) =
        (Arc::new(Barrier::new(10)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let highest = Arc::clone(&most);
    let server = serve(move |_| {
        let (barrier, running, most) = (Arc::clone(&barrier), Arc::clone(&running), Arc::clone(&most));
        async move {
            most.fetch_max(1 + running.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
            barrier.wait().await;
            running.fetch_sub(1, Ordering::SeqCst);
            reply(200, "")
        }
    })
    .await;
    let answers = ask(12, vec![http(server.port(), "/a"), http(server.port(), "/b")]).await;
    assert_eq!(answers.len(), 20, "of twelve pods ten are asked");
    assert!(answers.iter().all(|answer| answer.reply == Reply::Code(200)), "{answers:?}");
    assert_eq!(highest.load(Ordering::SeqCst), 10);
}

#[tokio::test]
async fn over_https_no_certificate_is_asked_for_a_name() {
    _ = rustls::crypto::ring::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(["another.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let server = accept(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            _ = stream.read(&mut [0; 1024]).await;
            _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
            _ = stream.shutdown().await;
        }
    })
    .await;
    assert_eq!(ask_one(https(server.port())).await, Reply::Code(200));

    let plain = serve(|_| async { reply(200, "") }).await;
    assert_eq!(ask_one(https(plain.port())).await, silence("the TLS connection failed"));
}

/// `good` runs, with so many ready pods.
fn workload(count: usize) -> Workload {
    let pods = (0..count).map(|index| PodFacts {
        name: format!("pod-{index}"),
        uid: PodUid::new(index.to_string()),
        owner: ReplicaSetUid::new("set"),
        version: String::new(),
        created: Timestamp::UNIX_EPOCH,
        ip: Some([127, 0, 0, 1].into()),
        ready: true,
        ready_since: None,
        hanging_since: None,
        leaving: false,
        unschedulable: false,
        failure: None,
        limits: Vec::new(),
    });
    let replicas = i32::try_from(count).unwrap();
    let revision = Revision {
        fingerprint: Fingerprint::recorded("good"),
        name: "pod".to_owned(),
        uid: ReplicaSetUid::new("set"),
        images: Vec::new(),
        called: Vec::new(),
        number: 3,
        created: Timestamp::UNIX_EPOCH,
        desired: replicas,
        replicas,
        available: replicas,
        observed: true,
    };
    Workload {
        kind: snapback_core::workload::Kind::Deployment,
        replacing: snapback_core::workload::Replacing::default(),
        name: "checkout".to_owned(),
        uid: WorkloadUid::new("uid"),
        created: Timestamp::UNIX_EPOCH,
        generation: 1,
        observed_generation: 1,
        live: Fingerprint::recorded("good"),
        images: Vec::new(),
        called: Vec::new(),
        replicas,
        paused: false,
        pause_is_applied: false,
        frozen: None,
        updated: replicas,
        available: replicas,
        total: replicas,
        revision_history_limit: snapback_core::workload::DEFAULT_HISTORY,
        progress_deadline_exceeded: None,
        revisions: vec![revision],
        pods: pods.collect(),
        owners: Vec::new(),
        helm_release: None,
        delivery: snapback_core::gitops::Delivery::default(),
        rolling: None,
        said: Said::default(),
    }
}
