//! A client that writes only while we lead.

use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{Method, Request};
use kube::Client;
use kube::client::Body;
use thiserror::Error;
use tokio::time::Instant;

/// Until when we lead, by the monotonic clock: a process that was stopped for a minute finds it over when it goes on.
#[derive(Debug, Clone)]
pub(crate) struct Leadership(Arc<Mutex<Term>>);

#[derive(Debug, Clone, Copy)]
enum Term {
    /// There is nobody to share with.
    Alone,
    Until(Instant),
    Over,
}

/// A write was not sent.
#[derive(Debug, Error)]
#[error("another replica leads: nothing is written")]
struct Fenced;

impl Leadership {
    /// Of an operator that has no Lease.
    pub(crate) fn alone() -> Self {
        Self(Arc::new(Mutex::new(Term::Alone)))
    }

    /// Of one that does not lead yet.
    pub(super) fn none() -> Self {
        Self(Arc::new(Mutex::new(Term::Over)))
    }

    pub(super) fn extend(&self, until: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Term::Until(until);
    }

    /// Ends it: nothing that is still under way writes any more.
    pub(crate) fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Term::Over;
    }

    /// Whether we lead now.
    pub(crate) fn is_held(&self) -> bool {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Term::Alone => true,
            Term::Until(until) => Instant::now() < until,
            Term::Over => false,
        }
    }
}

/// The same client, which sends no write unless we lead at that moment. Reads go through.
pub(crate) fn fenced(client: &Client, leadership: &Leadership) -> Client {
    let (inner, leadership) = (client.clone(), leadership.clone());
    let service = tower::service_fn(move |request: Request<Body>| {
        let (inner, leadership) = (inner.clone(), leadership.clone());
        async move {
            if *request.method() != Method::GET && !leadership.is_held() {
                return Err(kube::Error::Service(Box::new(Fenced)));
            }
            inner.send(request).await
        }
    });
    Client::new(service, client.default_namespace())
}
