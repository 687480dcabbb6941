//! `/metrics`, `/healthz` and `/readyz`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::Metrics;
use crate::rights::Right;

/// Whether the operator does its work, or would do it if the leader died.
#[derive(Debug, Default)]
pub struct Health {
    synced: AtomicBool,
    stopping: AtomicBool,
    share: Mutex<Share>,
    /// Rights that were refused, and when last.
    lacking: Mutex<BTreeMap<Right, Instant>>,
}

/// How long a refused right is told: it may have been granted since.
const REFUSED: Duration = Duration::from_mins(10);

/// What is ours to do.
#[derive(Debug, Default)]
enum Share {
    /// There is nobody to share with.
    #[default]
    All,
    /// Nobody has seen the Lease yet.
    Unknown,
    /// It is all ours until then.
    Leads(Instant),
    /// Another one leads, as the Lease said until then.
    StandsBy(String, Instant),
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

    /// There is a Lease, and it was not read yet.
    pub(crate) fn shares(&self) {
        self.share(Share::Unknown);
    }

    /// We lead until then, unless that is prolonged.
    pub(crate) fn leads(&self, until: Instant) {
        self.share(Share::Leads(until));
    }

    /// Another one leads; we would know of a change until then.
    pub(crate) fn stands_by(&self, leader: String, until: Instant) {
        self.share(Share::StandsBy(leader, until));
    }

    /// A right was refused just now. Whether that is news.
    pub(crate) fn lacks(&self, right: &Right) -> bool {
        let mut lacking = self.lacking.lock().unwrap_or_else(PoisonError::into_inner);
        lacking.insert(right.clone(), Instant::now()).is_none()
    }

    /// The rights that were refused lately, in words: `; without the right to list pods`.
    fn without(&self, now: Instant) -> String {
        let lacking = self.lacking.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = lacking.iter().filter(|(_, at)| now.saturating_duration_since(**at) < REFUSED);
        let told: Vec<String> = lately.map(|(right, _)| format!("{} {}", right.verb, right.resource)).collect();
        if told.is_empty() { String::new() } else { format!("; without the right to {}", told.join(", ")) }
    }

    /// Whether a Service or a rollout may count on this replica, and why not; and what it is not allowed to do.
    fn told(&self, now: Instant) -> Result<String, String> {
        let without = self.without(now);
        self.state(now).map(|text| format!("{text}{without}")).map_err(|text| format!("{text}{without}"))
    }

    fn share(&self, share: Share) {
        *self.share.lock().unwrap_or_else(PoisonError::into_inner) = share;
    }

    /// Whether a Service or a rollout may count on this replica, and why not.
    fn state(&self, now: Instant) -> Result<String, String> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err("stopping".to_owned());
        }
        match &*self.share.lock().unwrap_or_else(PoisonError::into_inner) {
            Share::StandsBy(leader, until) if now < *until => return Ok(format!("standing by; {leader} leads")),
            Share::Leads(until) if now < *until => {}
            Share::All => {}
            Share::Unknown => return Err("the Lease could not be read yet (is RBAC complete?)".to_owned()),
            Share::Leads(_) | Share::StandsBy(..) => return Err("the API server cannot be reached".to_owned()),
        }
        if self.synced.load(Ordering::Relaxed) {
            return Ok("ok".to_owned());
        }
        Err("waiting for the first lists from the API server (is the CRD installed, is RBAC complete?)".to_owned())
    }
}

/// Serves until `stop` resolves.
pub async fn serve(
    listener: TcpListener,
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
        match health.told(Instant::now()) {
            Ok(text) => (StatusCode::OK, text),
            Err(text) => (StatusCode::SERVICE_UNAVAILABLE, text),
        }
    };
    let router = Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready));
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn alone_it_is_ready_with_the_first_lists_and_no_more_once_it_stops() {
        let (health, now) = (Health::default(), Instant::now());
        assert!(health.state(now).unwrap_err().contains("first lists"));
        health.synced();
        assert_eq!(health.state(now), Ok("ok".to_owned()));
        health.stopping();
        assert_eq!(health.state(now), Err("stopping".to_owned()));
    }

    #[test]
    fn a_right_that_was_refused_is_told_for_a_while_and_is_news_once() {
        let (health, now) = (Health::default(), Instant::now());
        let right = Right { verb: "list".to_owned(), resource: "deployments.apps".to_owned() };
        assert!(health.lacks(&right) && !health.lacks(&right));
        assert!(health.told(now).unwrap_err().ends_with("; without the right to list deployments.apps"));
        health.synced();
        assert_eq!(health.told(now).unwrap(), "ok; without the right to list deployments.apps");
        assert_eq!(health.told(Instant::now() + REFUSED).unwrap(), "ok");
    }

    #[test]
    fn a_replica_is_ready_while_it_knows_who_leads() {
        let (health, now) = (Health::default(), Instant::now());
        health.shares();
        assert!(health.state(now).unwrap_err().contains("Lease"));
        health.stands_by("other".to_owned(), now + SECOND);
        assert_eq!(health.state(now), Ok("standing by; other leads".to_owned()));
        assert!(health.state(now + SECOND).unwrap_err().contains("cannot be reached"));
    }

    #[test]
    fn a_leader_is_ready_with_the_first_lists_and_while_it_can_renew() {
        let (health, now) = (Health::default(), Instant::now());
        health.leads(now + SECOND);
        assert!(health.state(now).unwrap_err().contains("first lists"));
        health.synced();
        assert_eq!(health.state(now), Ok("ok".to_owned()));
        assert!(health.state(now + SECOND).unwrap_err().contains("cannot be reached"));
    }
}
