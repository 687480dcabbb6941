//! What the operator would have asked the source.

use anyhow::{Context, Result, anyhow};
use snapback_core::sample::{Missing, PodSeries};
use snapback_prometheus::{Counter, Instants, Source, SourceConfig, pods_pattern};

use crate::Site;

/// The test bed's Prometheus.
pub(crate) fn source(url: &str) -> Result<Source> {
    let config = SourceConfig { max_response_bytes: 64 << 20, ..SourceConfig::new("recorded", url) };
    Source::new(&config).context("the test bed's Prometheus")
}

/// All series of the pods of these ReplicaSets, by the queries of the operator.
pub(crate) async fn ask(site: &Site, namespace: &str, sets: &[String], instants: Instants) -> Result<Vec<PodSeries>> {
    let pods = pods_pattern(sets);
    let whose = site.names.whose(crate::manifests::TARGET, &pods);
    let mut all = Vec::new();
    for counter in [Counter::Requests, Counter::Latencies, Counter::Scraped] {
        match site.source.count(counter, &site.names, namespace, whose, instants).await {
            Ok(series) => all.extend(series),
            // That there is nothing is an answer.
            Err(Missing::Empty | Missing::NotANumber) => {}
            Err(missing) => return Err(anyhow!("{missing}")),
        }
    }
    Ok(all)
}
