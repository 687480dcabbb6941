//! Between the operator and the API server: sees every write, and kills the operator at the one that it is told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Result;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use kube::Client;
use snapback_tests::process::Process;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// When the operator is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    /// At which of its writes, from 0.
    pub(crate) write: usize,
    /// On which side of it.
    pub(crate) moment: Moment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The write never arrives.
    Before,
    /// The write is carried out, and the operator never hears of it.
    After,
}

/// What the proxy knows.
#[derive(Default)]
pub(crate) struct Seen {
    /// The operator, while it lives.
    pub(crate) operator: Option<Process>,
    /// Where it is to be killed.
    pub(crate) point: Option<Point>,
    /// Whether writes are counted: not before the bad release.
    pub(crate) counts: bool,
    /// Its writes, as `PATCH deployments`.
    pub(crate) writes: Vec<String>,
    /// When it was started last, and when it first asked for the target after that.
    pub(crate) started: Option<Instant>,
    pub(crate) asked: Option<Instant>,
}

#[derive(Clone)]
pub(crate) struct Proxy {
    client: Client,
    seen: Arc<Mutex<Seen>>,
}

impl Proxy {
    /// Serves on loopback with the rights of `client`; gives its URL too.
    pub(crate) async fn start(client: Client) -> Result<(Self, String, JoinHandle<()>)> {
        let proxy = Self { client, seen: Arc::default() };
        let router = Router::new().fallback(pass).with_state(proxy.clone());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let server = tokio::spawn(async move { _ = axum::serve(listener, router).await });
        Ok((proxy, url, server))
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is to be killed at this request; counts it if it is a write.
    fn is_point(&self, request: &Request) -> Option<Moment> {
        let mut seen = self.seen();
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        if *request.method() == Method::GET {
            if path.ends_with("/deployments/checkout") {
                seen.asked.get_or_insert_with(Instant::now);
            }
            return None;
        }
        // Events are best effort, and a dry run writes nothing.
        if !seen.counts || path.contains("/events") || query.contains("dryRun") {
            return None;
        }
        let index = seen.writes.len();
        let title = title(request.method(), path);
        seen.writes.push(title);
        seen.point.filter(|point| point.write == index).map(|point| point.moment)
    }

    fn kill(&self) {
        let mut seen = self.seen();
        if let Some(operator) = seen.operator.take() {
            operator.kill();
        }
        (seen.point, seen.asked) = (None, None);
    }
}

/// `PUT rollbacks/status`.
fn title(method: &Method, path: &str) -> String {
    let parts: Vec<&str> = path.split("/namespaces/").nth(1).unwrap_or(path).split('/').collect();
    match parts.as_slice() {
        [_, resource, _, part] => format!("{method} {resource}/{part}"),
        [_, resource, ..] => format!("{method} {resource}"),
        _ => format!("{method} {path}"),
    }
}

async fn pass(State(proxy): State<Proxy>, request: Request) -> Response {
    let point = proxy.is_point(&request);
    if point == Some(Moment::Before) {
        proxy.kill();
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let (mut parts, body) = request.into_parts();
    // They speak of the connection, not of the request.
    for name in ["host", "connection", "authorization", "accept-encoding"] {
        parts.headers.remove(name);
    }
    let Ok(body) = axum::body::to_bytes(body, 4 << 20).await else { return StatusCode::BAD_REQUEST.into_response() };
    let request = http::Request::from_parts(parts, kube::client::Body::from(body.to_vec()));
    let answer = proxy.client.send(request).await;
    if point == Some(Moment::After) {
        proxy.kill();
        return StatusCode::BAD_GATEWAY.into_response();
    }
    match answer {
        Ok(answer) => answer.map(Body::new),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}
