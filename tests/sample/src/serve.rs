//! The service.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, put};
use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};

use crate::behaviour::{Pace, Share, own_seed};
use crate::duration;
use crate::metrics::{Metrics, Names};
use crate::tls::Tls;

#[derive(Args)]
pub(crate) struct Serve {
    /// Port to listen on.
    #[arg(long, env = "PORT", default_value_t = 8080)]
    port: u16,
    /// Port to listen on with TLS, under a certificate of its own.
    #[arg(long, env = "TLS_PORT")]
    tls_port: Option<u16>,
    /// Shown in the answers.
    #[arg(long, env = "VERSION", default_value = "v1")]
    version: String,
    /// Share of the requests that is answered with 500, 0 to 1.
    #[arg(long, env = "ERROR_RATIO", default_value_t = 0.0)]
    error_ratio: f64,
    /// Time that a request takes.
    #[arg(long, env = "LATENCY", default_value = "0ms", value_parser = duration)]
    latency: Duration,
    /// Share of the good requests that becomes an order (orders_total).
    #[arg(long, env = "ORDER_RATIO", default_value_t = 1.0)]
    order_ratio: f64,
    /// End with exit code 1 after this time.
    #[arg(long, env = "CRASH_AFTER", value_parser = duration)]
    crash_after: Option<Duration>,
    /// Time until the service is ready.
    #[arg(long, env = "START_DELAY", default_value = "0ms", value_parser = duration)]
    start_delay: Duration,
    /// Never become ready.
    #[arg(long, env = "NOT_READY", default_value_t = false)]
    not_ready: bool,
    /// host:port of a service that every request asks for / first; unless that answers with 200, the request fails.
    #[arg(long, env = "DEPENDENCY")]
    dependency: Option<String>,
    /// What the metrics are called.
    #[arg(long, env = "METRICS", value_enum, default_value = "http")]
    metrics: Names,
    /// Failures and durations by chance from this seed and the pod's name, instead of evenly.
    #[arg(long, env = "SEED")]
    seed: Option<u64>,
    /// The pod's name.
    #[arg(long, env = "HOSTNAME", default_value = "", hide = true)]
    pod: String,
}

struct Service {
    arguments: Serve,
    started: Instant,
    errors: Mutex<Share>,
    orders: Mutex<Share>,
    pace: Mutex<Pace>,
    metrics: Metrics,
}

pub(crate) async fn serve(arguments: Serve) -> anyhow::Result<()> {
    if let Some(after) = arguments.crash_after {
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            eprintln!("crashing, as CRASH_AFTER says");
            std::process::exit(1);
        });
    }
    let address = ("0.0.0.0", arguments.port);
    let tls_port = arguments.tls_port;
    let seed = arguments.seed.map(|seed| own_seed(seed, &arguments.pod));
    let service = Arc::new(Service {
        errors: Mutex::new(Share::new(arguments.error_ratio, seed)),
        orders: Mutex::new(Share::new(arguments.order_ratio, None)),
        pace: Mutex::new(Pace::new(arguments.latency, seed)),
        started: Instant::now(),
        metrics: Metrics::default(),
        arguments,
    });
    let router = Router::new()
        .route("/", get(answer))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape))
        .route("/behaviour/{error_ratio}/{latency}", put(behave))
        .with_state(service);
    let listener = tokio::net::TcpListener::bind(address).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    if let Some(port) = tls_port {
        let serving = axum::serve(Tls::bind(port).await?, router.clone());
        tokio::spawn(serving.into_future());
    }
    let serving = axum::serve(listener, router);
    tokio::select! {
        result = serving => result?,
        // Requests that were routed here before the endpoint went away are still answered.
        _ = terminate.recv() => tokio::time::sleep(Duration::from_millis(300)).await,
    }
    Ok(())
}

async fn ready(State(service): State<Arc<Service>>) -> StatusCode {
    let waiting = service.started.elapsed() < service.arguments.start_delay;
    if waiting || service.arguments.not_ready { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

/// Another share of errors and another latency, from now on.
async fn behave(
    State(service): State<Arc<Service>>,
    Path((error_ratio, latency)): Path<(f64, String)>,
) -> Result<(), (StatusCode, String)> {
    let latency = duration(&latency).map_err(|error| (StatusCode::BAD_REQUEST, error))?;
    lock(&service.errors).set(error_ratio);
    lock(&service.pace).set(latency);
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn scrape(State(service): State<Arc<Service>>) -> String {
    service.metrics.text(service.arguments.metrics, &service.arguments.version)
}

async fn answer(State(service): State<Arc<Service>>) -> (StatusCode, String) {
    let began = Instant::now();
    let arguments = &service.arguments;
    let latency = lock(&service.pace).next();
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let depends = match &arguments.dependency {
        Some(address) => answers(address).await,
        None => true,
    };
    let failed = lock(&service.errors).next() || !depends;
    let ordered = !failed && lock(&service.orders).next();
    service.metrics.request(failed, began.elapsed().as_secs_f64(), ordered);
    let code = if failed { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    (code, format!("{}\n", arguments.version))
}

/// Whether the dependency answers with 200 in time.
async fn answers(address: &str) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<bool, std::io::Error>(answer.get(8..12) == Some(b" 200"))
    };
    matches!(tokio::time::timeout(Duration::from_millis(300), asked).await, Ok(Ok(true)))
}
