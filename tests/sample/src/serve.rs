//! The service.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};

use crate::behaviour::Share;
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
    /// host:port of a service that every request asks first; without its answer the request fails.
    #[arg(long, env = "DEPENDENCY")]
    dependency: Option<String>,
    /// What the metrics are called.
    #[arg(long, env = "METRICS", value_enum, default_value = "http")]
    metrics: Names,
}

struct Service {
    arguments: Serve,
    started: Instant,
    errors: Mutex<Share>,
    orders: Mutex<Share>,
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
    let service = Arc::new(Service {
        errors: Mutex::new(Share::new(arguments.error_ratio)),
        orders: Mutex::new(Share::new(arguments.order_ratio)),
        started: Instant::now(),
        metrics: Metrics::default(),
        arguments,
    });
    let router = Router::new()
        .route("/", get(answer))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape))
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

async fn scrape(State(service): State<Arc<Service>>) -> String {
    service.metrics.text(service.arguments.metrics, &service.arguments.version)
}

async fn answer(State(service): State<Arc<Service>>) -> (StatusCode, String) {
    let began = Instant::now();
    let arguments = &service.arguments;
    if !arguments.latency.is_zero() {
        tokio::time::sleep(arguments.latency).await;
    }
    let depends = match &arguments.dependency {
        Some(address) => answers(address).await,
        None => true,
    };
    let turn = |share: &Mutex<Share>| share.lock().unwrap_or_else(PoisonError::into_inner).next();
    let failed = turn(&service.errors) || !depends;
    let ordered = !failed && turn(&service.orders);
    service.metrics.request(failed, began.elapsed().as_secs_f64(), ordered);
    let code = if failed { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    (code, format!("{}\n", arguments.version))
}

/// Whether the dependency answers with 200 in time.
async fn answers(address: &str) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<bool, std::io::Error>(answer.get(8..12) == Some(b" 200"))
    };
    matches!(tokio::time::timeout(Duration::from_millis(300), asked).await, Ok(Ok(true)))
}
