//! Sources that fail in shapes that a real Prometheus does not take on demand. Each passes everything on to the real one
//! until it is told to fail, and when it is healed again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

/// How a source fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Empty,
    Nan,
    Http500,
    Slow,
}

const ALL: [(Fault, &str); 4] =
    [(Fault::Empty, "empty"), (Fault::Nan, "nan"), (Fault::Http500, "http500"), (Fault::Slow, "slow")];

pub(crate) struct SourceStub {
    url: String,
    healed: BTreeMap<&'static str, Arc<AtomicBool>>,
}

#[derive(Clone)]
struct Shared {
    fault: Fault,
    healed: Arc<AtomicBool>,
    real: String,
    http: reqwest::Client,
}

impl SourceStub {
    pub(crate) async fn start(real: &str) -> Result<Self> {
        let host = real.trim_start_matches("http://").split(':').next().unwrap_or_default().to_owned();
        let http = reqwest::Client::builder().no_proxy().build()?;
        let mut healed = BTreeMap::new();
        let mut router = Router::new();
        for (fault, name) in ALL {
            let flag = Arc::new(AtomicBool::new(true));
            healed.insert(name, Arc::clone(&flag));
            let shared = Shared { fault, healed: flag, real: real.to_owned(), http: http.clone() };
            router = router.route(&format!("/{name}/api/v1/query_range"), post(answer).with_state(shared));
        }
        let listener = tokio::net::TcpListener::bind((host.as_str(), 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url, healed })
    }

    pub(crate) fn sources(&self) -> Vec<(&'static str, String)> {
        ALL.into_iter().map(|(_, name)| (name, format!("{}/{name}", self.url))).collect()
    }

    pub(crate) fn fail(&self, name: &str) {
        self.set(name, false);
    }

    pub(crate) fn heal(&self, name: &str) {
        self.set(name, true);
    }

    fn set(&self, name: &str, is_healed: bool) {
        if let Some(flag) = self.healed.get(name) {
            flag.store(is_healed, Ordering::Relaxed);
        }
    }
}

async fn answer(State(shared): State<Shared>, body: Bytes) -> Response {
    let json = |text: &'static str| ([(header::CONTENT_TYPE, "application/json")], text).into_response();
    if shared.healed.load(Ordering::Relaxed) {
        let url = format!("{}/api/v1/query_range", shared.real);
        let request =
            shared.http.post(url).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        let Ok(answer) = request.send().await else { return StatusCode::BAD_GATEWAY.into_response() };
        let Ok(bytes) = answer.bytes().await else { return StatusCode::BAD_GATEWAY.into_response() };
        return ([(header::CONTENT_TYPE, "application/json")], bytes).into_response();
    }
    match shared.fault {
        Fault::Empty => json(r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#),
        Fault::Nan => json(
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"pod":"checkout-1-aaaaa","code":"500"},"values":[[1,"NaN"]]}]}}"#,
        ),
        Fault::Http500 => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Fault::Slow => {
            tokio::time::sleep(Duration::from_mins(1)).await;
            StatusCode::OK.into_response()
        }
    }
}
