//! A client that waits for ever for nothing.

use std::time::Duration;

use axum::http::Request;
use kube::Client;
use kube::client::Body;
use thiserror::Error;

/// Longest wait for the head of an answer. Longer than what a reconcile waits for: this is for those who set no limit of
/// their own, such as a watch that begins. What comes after the head may take its time.
const LONGEST: Duration = Duration::from_secs(30);

/// A connection that nobody answers on; TCP alone would find out after a quarter of an hour.
#[derive(Debug, Error)]
#[error("no answer within {LONGEST:?}")]
struct NoAnswer;

/// The same client, each request of which fails in time.
pub(crate) fn bounded(client: Client) -> Client {
    let namespace = client.default_namespace().to_owned();
    let service = tower::service_fn(move |request: Request<Body>| {
        let inner = client.clone();
        async move {
            let answer = tokio::time::timeout(LONGEST, inner.send(request)).await;
            answer.unwrap_or_else(|_| Err(kube::Error::Service(Box::new(NoAnswer))))
        }
    });
    Client::new(service, namespace)
}
