//! A metrics source that answers every query by a function of its text and the time.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value, json};

/// What a query gives at a time; nothing if there is no series.
pub(crate) type Answer = Arc<dyn Fn(&str, Timestamp) -> Option<f64> + Send + Sync>;

/// The same of several series: the labels of each, and its value.
pub(crate) type Series = Arc<dyn Fn(&str, Timestamp) -> Vec<(Value, f64)> + Send + Sync>;

/// One series without labels, at most.
pub(crate) fn alone(answer: Answer) -> Series {
    Arc::new(move |query, at| answer(query, at).map(|value| (json!({}), value)).into_iter().collect())
}

/// Serves range queries. Gives its URL.
pub(crate) async fn serve(answer: Series) -> String {
    let app = Router::new().fallback(range).with_state(answer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

async fn range(State(answer): State<Series>, body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], reply(&answer, &body).to_string()).into_response()
}

/// What Prometheus replies to a range query with this body.
pub(crate) fn reply(answer: &Series, body: &str) -> Value {
    let form = reqwest::Url::parse(&format!("http://x/?{body}")).unwrap();
    let form: BTreeMap<String, String> = form.query_pairs().into_owned().collect();
    let number = |name: &str| form[name].parse::<f64>().unwrap();
    let (start, end, step) = (number("start"), number("end"), number("step"));
    let mut values: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut at = start;
    while at <= end {
        #[allow(clippy::cast_possible_truncation, reason = "seconds of this century")]
        for (labels, value) in answer(&form["query"], Timestamp::from_second(at as i64).unwrap()) {
            values.entry(labels.to_string()).or_default().push(json!([at, value.to_string()]));
        }
        at += step;
    }
    let one = |(labels, values): (String, Vec<Value>)| json!({"metric": serde_json::from_str::<Value>(&labels).unwrap(), "values": values});
    let series: Vec<Value> = values.into_iter().map(one).collect();
    json!({"status": "success", "data": {"resultType": "matrix", "result": series}})
}
