//! A source that has counters of three pods `store-0` to `store-2`, and lets them fail when a test says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use reqwest::Url;
use serde_json::{Value, json};

/// How long they fail.
const FAULT: i64 = 8;

#[derive(Clone, Default)]
pub(crate) struct Numbers {
    fails_from: Arc<AtomicI64>,
    asked: Arc<Mutex<BTreeSet<String>>>,
}

impl Numbers {
    /// Serves it; gives its URL too.
    pub(crate) async fn start() -> Result<(Self, String)> {
        let numbers = Self::default();
        numbers.fails_from.store(i64::MAX / 2, Ordering::Relaxed);
        let router = Router::new().route("/api/v1/query_range", post(answer)).with_state(numbers.clone());
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok((numbers, url))
    }

    /// Every request fails from now on, for [`FAULT`] seconds.
    pub(crate) fn fail(&self) {
        self.fails_from.store(jiff::Timestamp::now().as_second(), Ordering::Relaxed);
    }

    /// The queries that were asked.
    pub(crate) fn asked(&self) -> BTreeSet<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn answer(State(numbers): State<Numbers>, form: String) -> Response {
    // A form is written like a query.
    let form = Url::parse(&format!("http://form/?{form}"));
    let form: BTreeMap<String, String> = form.iter().flat_map(|form| form.query_pairs().into_owned()).collect();
    let number = |key: &str| form.get(key).and_then(|text| text.trim_end_matches('s').parse::<f64>().ok());
    #[allow(clippy::cast_possible_truncation, reason = "whole seconds")]
    let [start, end, step] = ["start", "end", "step"].map(|key| number(key).unwrap_or(1.0) as i64);
    let from = numbers.fails_from.load(Ordering::Relaxed);
    numbers.asked.lock().unwrap_or_else(PoisonError::into_inner).extend(form.get("query").cloned());
    let bad = |at: i64| 100 * (at - from).clamp(0, FAULT);
    // Of anything else it knows nothing.
    let pods = if form.get("query").is_some_and(|query| query.contains("http_requests_total")) { 3 } else { 0 };
    let series = (0..pods).flat_map(|pod| [("200", pod), ("500", pod)]).map(|(code, pod)| {
        let count = |at: i64| if code == "500" { bad(at) } else { 100 * (at % 1_000_000) - bad(at) };
        let step = usize::try_from(step.max(1)).unwrap_or(1);
        let values: Vec<Value> = (start..=end).step_by(step).map(|at| json!([at, count(at).to_string()])).collect();
        json!({"metric": {"pod": format!("store-{pod}"), "code": code}, "values": values})
    });
    let answer = json!({"status": "success", "data": {"resultType": "matrix", "result": series.collect::<Vec<_>>()}});
    ([(header::CONTENT_TYPE, "application/json")], answer.to_string()).into_response()
}
