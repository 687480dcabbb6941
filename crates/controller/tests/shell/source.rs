//! A metrics source that answers every query by a function of its text and the time.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::json;

/// What a query gives at a time; nothing if there is no series.
pub(crate) type Answer = Arc<dyn Fn(&str, Timestamp) -> Option<f64> + Send + Sync>;

/// Serves range queries, each with one series at most. Gives its URL.
pub(crate) async fn serve(answer: Answer) -> String {
    let app = Router::new().fallback(range).with_state(answer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

async fn range(State(answer): State<Answer>, body: String) -> Response {
    let form = reqwest::Url::parse(&format!("http://x/?{body}")).unwrap();
    let form: BTreeMap<String, String> = form.query_pairs().into_owned().collect();
    let number = |name: &str| form[name].parse::<f64>().unwrap();
    let (start, end, step) = (number("start"), number("end"), number("step"));
    let mut values = Vec::new();
    let mut at = start;
    while at <= end {
        #[allow(clippy::cast_possible_truncation, reason = "seconds of this century")]
        let value = answer(&form["query"], Timestamp::from_second(at as i64).unwrap());
        values.extend(value.map(|value| json!([at, value.to_string()])));
        at += step;
    }
    let series = if values.is_empty() { json!([]) } else { json!([{"metric": {}, "values": values}]) };
    let reply = json!({"status": "success", "data": {"resultType": "matrix", "result": series}});
    ([(header::CONTENT_TYPE, "application/json")], reply.to_string()).into_response()
}
