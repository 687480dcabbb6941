//! Between the operator and the API server: gives it its rights, and counts what it asks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use kube::Client;
use serde_json::Value;
use tokio::net::TcpListener;

/// What the operator asked so far.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Watches that are open.
    pub(crate) watches: u64,
    /// Requests, of which those that write, Events apart.
    pub(crate) requests: u64,
    pub(crate) writes: u64,
    /// Events that were created, and repeats of them.
    pub(crate) events: u64,
    pub(crate) repeats: u64,
    /// The versions of Deployments that it wrote.
    pub(crate) deployments: BTreeSet<u64>,
    /// The version of each policy that it read last.
    policies: BTreeMap<String, u64>,
    /// The version of the policy that it had read last when it created a record, by the record's UID.
    pub(crate) looks: BTreeMap<String, u64>,
}

#[derive(Clone)]
pub(crate) struct Proxy {
    client: Client,
    asked: Arc<Mutex<Asked>>,
}

impl Proxy {
    /// Serves on loopback with the rights of `client`.
    pub(crate) async fn start(client: Client) -> Result<(Self, SocketAddr)> {
        let proxy = Self { client, asked: Arc::default() };
        let router = Router::new().fallback(pass).with_state(proxy.clone());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let at = listener.local_addr()?;
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok((proxy, at))
    }

    pub(crate) fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open watch, while it lives.
struct Open(Proxy);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.asked().watches -= 1;
    }
}

/// What a request is about: its resource, and `NAMESPACE/NAME` as far as it says.
fn subject(path: &str) -> (&str, String) {
    let parts: Vec<&str> = path.split("/namespaces/").nth(1).unwrap_or_default().split('/').collect();
    match parts.as_slice() {
        [namespace, resource, name] => (resource, format!("{namespace}/{name}")),
        [namespace, resource] => (resource, (*namespace).to_owned()),
        _ => ("", String::new()),
    }
}

async fn pass(State(proxy): State<Proxy>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let (resource, subject) = subject(&path);
    let is_dry = query.contains("dryRun");
    {
        let mut asked = proxy.asked();
        asked.requests += 1;
        match (resource, &method) {
            ("events", &Method::POST) => asked.events += 1,
            ("events", _) => asked.repeats += 1,
            (_, &Method::GET) => {}
            _ => asked.writes += u64::from(!is_dry),
        }
    }
    // They speak of the connection, not of the request.
    for name in ["host", "connection", "authorization", "accept-encoding"] {
        parts.headers.remove(name);
    }
    let Ok(body) = axum::body::to_bytes(body, 4 << 20).await else { return StatusCode::BAD_REQUEST.into_response() };
    let request = http::Request::from_parts(parts, kube::client::Body::from(body.to_vec()));
    let answer = match proxy.client.send(request).await {
        Ok(answer) => answer.map(Body::new),
        Err(error) => return (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    };
    if query.contains("watch=true") {
        proxy.asked().watches += 1;
        let open = Open(proxy);
        return answer.map(|body| {
            let chunks = body.into_data_stream().map(move |chunk| {
                _ = &open;
                chunk
            });
            Body::from_stream(chunks)
        });
    }
    let is_told = match (resource, &method) {
        ("deployments", &Method::PATCH) => !is_dry,
        ("rollbacks", &Method::POST) | ("rollbackpolicies", &Method::GET) => true,
        _ => false,
    };
    if !is_told || !answer.status().is_success() {
        return answer;
    }
    let (mut parts, body) = answer.into_parts();
    // It came in pieces, perhaps, and goes as one.
    for name in ["transfer-encoding", "content-length"] {
        parts.headers.remove(name);
    }
    let Ok(body) = axum::body::to_bytes(body, 4 << 20).await else { return StatusCode::BAD_GATEWAY.into_response() };
    note(&mut proxy.asked(), resource, &subject, &body);
    Response::from_parts(parts, Body::from(body))
}

fn note(asked: &mut Asked, resource: &str, subject: &str, body: &Bytes) {
    let Ok(object) = serde_json::from_slice::<Value>(body) else { return };
    let metadata = &object["metadata"];
    let Some(version) = metadata["resourceVersion"].as_str().and_then(|text| text.parse().ok()) else { return };
    match resource {
        "deployments" => _ = asked.deployments.insert(version),
        "rollbackpolicies" => _ = asked.policies.insert(subject.to_owned(), version),
        _ => {
            let policy = object["spec"]["trigger"]["policy"].as_str().unwrap_or_default();
            let read = asked.policies.get(&format!("{subject}/{policy}")).copied();
            let uid = metadata["uid"].as_str().unwrap_or_default().to_owned();
            asked.looks.extend(read.map(|read| (uid, read)));
        }
    }
}
