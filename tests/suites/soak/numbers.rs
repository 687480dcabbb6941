//! What the pods would count of their requests: one exposition of all of them, which a real Prometheus scrapes.

use std::fmt::Write as _;
use std::net::SocketAddr;

use anyhow::Result;
use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::seen::Seen;

/// Requests of a pod in a second; of one that fails, half of them do.
const RATE: f64 = 60.0;

/// Serves it; gives its address.
pub(crate) async fn expose(seen: Seen) -> Result<SocketAddr> {
    let answer = move || {
        let text = text(&seen);
        async move { ([("content-type", "text/plain; version=0.0.4")], text) }
    };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let at = listener.local_addr()?;
    let router = Router::new().route("/metrics", get(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(at)
}

fn text(seen: &Seen) -> String {
    let mut text = "# TYPE http_requests_total counter\n".to_owned();
    for (key, pod) in &seen.now().pods {
        let Some((namespace, name)) = key.split_once('/') else { continue };
        let all = (pod.since.elapsed().as_secs_f64() * RATE).floor();
        let bad = if pod.fails { (all / 2.0).floor() } else { 0.0 };
        for (code, count) in [("200", all - bad), ("500", bad)] {
            _ = writeln!(
                text,
                "http_requests_total{{namespace=\"{namespace}\",pod=\"{name}\",code=\"{code}\"}} {count}"
            );
        }
    }
    text
}

/// Prometheus' own configuration.
pub(crate) fn scrapes(target: SocketAddr) -> String {
    format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: pods
  honor_labels: true
  static_configs: [{{targets: ['{target}']}}]
"
    )
}
