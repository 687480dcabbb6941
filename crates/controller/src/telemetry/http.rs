//! `/metrics`, `/healthz` and `/readyz`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use super::Metrics;

/// Whether the operator does its work.
#[derive(Debug, Default)]
pub struct Health {
    synced: AtomicBool,
    stopping: AtomicBool,
}

impl Health {
    /// The first lists are in.
    pub fn synced(&self) {
        self.synced.store(true, Ordering::Relaxed);
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn state(&self) -> Result<&'static str, &'static str> {
        match (self.synced.load(Ordering::Relaxed), self.stopping.load(Ordering::Relaxed)) {
            (_, true) => Err("stopping"),
            (false, _) => {
                Err("waiting for the first lists from the API server (is the CRD installed, is RBAC complete?)")
            }
            (true, false) => Ok("ok"),
        }
    }
}

/// Serves until `stop` resolves.
pub async fn serve(
    address: SocketAddr,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let scrape = move || async move {
        match metrics.encode() {
            Ok(text) => {
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                ([(header::CONTENT_TYPE, kind)], text).into_response()
            }
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    };
    let ready = move || async move {
        match health.state() {
            Ok(text) => (StatusCode::OK, text),
            Err(text) => (StatusCode::SERVICE_UNAVAILABLE, text),
        }
    };
    let router = Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready));
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}
