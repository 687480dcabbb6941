//! The users' own queries: each asked once, all at the same time but not in the same instant.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use snapback_core::sample::{Answer, Missing, Point};
use snapback_prometheus::{Source, Values, render, to_points};

use super::confined::as_asked;
use super::grid::Grid;
use super::{Track, Wanted};

/// The longest that a query waits before it is asked. Many soaks look at the same instants, above all after a restart; what
/// a source is asked at the same time is bounded (`maxConcurrentQueries`), and this spreads what would queue for it.
const SPREAD: Duration = Duration::from_millis(500);

/// Patterns of the pods of the old and of the new revision.
pub(super) struct Patterns<'a> {
    pub(super) old: &'a str,
    pub(super) new: &'a str,
}

/// Asks what is due of every query, by its text: two checks with the same one are one question.
pub(super) async fn ask_all(
    source: &Answer<Arc<Source>>,
    wanted: &Wanted,
    grid: &Grid,
    pods: &Patterns<'_>,
    tracks: &mut BTreeMap<String, Track<Point>>,
) {
    for promql in wanted.queries.values() {
        tracks.entry(promql.clone()).or_default();
    }
    let due = tracks.iter_mut().filter(|(promql, _)| wanted.queries.values().any(|one| one == *promql));
    join_all(due.filter_map(|(promql, track)| {
        let (start, end) = track.due(grid)?;
        Some(async move {
            let answer = match source {
                Ok(source) => {
                    match (asked(promql, source, wanted, pods.old), asked(promql, source, wanted, pods.new)) {
                        (Ok(before), Ok(after)) => {
                            tokio::time::sleep(wait(&wanted.key.revision, promql)).await;
                            ask(source, (&before, &after), grid, start, end).await
                        }
                        (Err(missing), _) | (_, Err(missing)) => Err(missing),
                    }
                }
                Err(missing) => Err(missing.clone()),
            };
            track.note(end, answer, std::iter::Extend::extend);
        })
    }))
    .await;
}

/// A query with its placeholders filled in.
pub(super) fn render_for(promql: &str, wanted: &Wanted, pods: &str) -> Answer<String> {
    let values = Values { namespace: &wanted.namespace, target: &wanted.target, pods };
    render(promql, &values).map_err(|error| Missing::BadQuery(error.to_string()))
}

fn asked(promql: &str, source: &Source, wanted: &Wanted, pods: &str) -> Answer<String> {
    render_for(promql, wanted, pods).and_then(|query| as_asked(query, source, &wanted.namespace))
}

/// How long a query waits: always the same, so that a look is never late by more than the one before.
fn wait(revision: &str, promql: &str) -> Duration {
    let mut hasher = DefaultHasher::new();
    (revision, promql).hash(&mut hasher);
    let spread = u64::try_from(SPREAD.as_millis()).unwrap_or(1).max(1);
    Duration::from_millis(hasher.finish() % spread)
}

/// `{{ pods }}` means the old revision's pods before the rollout, and the new one's after it.
async fn ask(
    source: &Source,
    (before, after): (&str, &str),
    grid: &Grid,
    start: Timestamp,
    end: Timestamp,
) -> Answer<Vec<Point>> {
    let (last_before, step) = (grid.start().min(end), grid.step());
    if before == after || start > last_before {
        return source.range(after, start, end, step).await.and_then(to_points);
    }
    // No value before the rollout is no failure: the check says that it has no baseline.
    let mut found = match source.range(before, start, last_before, step).await.and_then(to_points) {
        Ok(found) => found,
        Err(Missing::Empty | Missing::NotANumber) => Vec::new(),
        Err(missing) => return Err(missing),
    };
    let next = grid.after(last_before);
    if next <= end {
        found.extend(source.range(after, next, end, step).await.and_then(to_points)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use jiff::SignedDuration;
    use snapback_prometheus::{Preset, SourceConfig};

    use super::*;
    use crate::sampler::{Sampler, WatchKey};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Answers every query with the same number; returns the address and what was asked.
    async fn prometheus() -> (String, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let app = axum::Router::new().fallback(move |body: String| {
            seen.lock().unwrap().push(body);
            let reply =
                r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[60,"7"]]}]}}"#;
            async move { ([("content-type", "application/json")], reply) }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (url, asked)
    }

    fn wanted(queries: &[(&str, &str)]) -> Wanted {
        Wanted {
            key: WatchKey { watcher: "a".into(), revision: "uid/v2".into(), since: at(60) },
            namespace: "shop".into(),
            target: "web".into(),
            source: None,
            names: Preset::HttpServer.names().compile().unwrap(),
            all_pods: None,
            new_sets: vec!["web-2".into()],
            old_sets: vec!["web-1".into()],
            since: at(60),
            interval: SignedDuration::from_secs(30),
            before: 1,
            past: false,
            requests: false,
            latencies: false,
            queries: queries.iter().map(|(check, promql)| ((*check).to_owned(), (*promql).to_owned())).collect(),
        }
    }

    #[tokio::test]
    async fn two_checks_with_the_same_query_are_one_question() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (url, asked) = prometheus().await;
        let source = Source::new(&SourceConfig::new("main", url)).unwrap();
        let sampler = Sampler::new(vec![source], None);
        let queries = [("high", "sum(x)"), ("low", "sum(x)"), ("other", "sum(y)")];
        let wanted = wanted(&queries);
        let samples = sampler.sample(&wanted, at(60)).await;
        assert_eq!(asked.lock().unwrap().len(), 2);
        for (check, promql) in queries {
            let points = samples.queries[check].as_ref().unwrap();
            assert_eq!((points.len(), points[0].value, samples.asked[check].as_str()), (1, 7.0, promql), "{check}");
        }
        sampler.sample(&wanted, at(65)).await;
        assert_eq!(asked.lock().unwrap().len(), 2, "an instant is asked for once");
    }

    #[tokio::test]
    async fn of_a_confined_source_nothing_is_asked_that_selects_by_the_name_of_a_target() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (url, asked) = prometheus().await;
        let confined =
            SourceConfig { confine_to_namespace_by: Some("namespace".into()), ..SourceConfig::new("main", url) };
        let sampler = Sampler::new(vec![Source::new(&confined).unwrap()], None);
        // A Deployment of this name makes a subtraction of it, from everybody's `secret`.
        let query = r#"{{ target }}{namespace="{{ namespace }}"}"#;
        let own = r#"sum(x{namespace="{{ namespace }}",app="{{ target }}"})"#;
        let wanted = Wanted { target: "secret-x".into(), ..wanted(&[("out", query), ("own", own)]) };
        let samples = sampler.sample(&wanted, at(60)).await;
        let Err(Missing::BadQuery(told)) = &samples.queries["out"] else { panic!("{:?}", samples.queries["out"]) };
        assert!(told.starts_with("secret may select series of other namespaces"), "{told}");
        assert!(samples.queries["own"].is_ok());
        assert_eq!(asked.lock().unwrap().len(), 1);

        // A person's record may name any label: that of the namespace is the source's.
        let mut names = Preset::HttpServer.names();
        names.namespace_label = "job".to_owned();
        let key = WatchKey { watcher: "record".into(), ..wanted.key.clone() };
        let by_job =
            Wanted { key, names: names.compile().unwrap(), requests: true, latencies: true, past: true, ..wanted };
        let samples = sampler.sample(&by_job, at(60)).await;
        assert!(matches!(samples.requests, Err(Missing::BadQuery(_))), "{:?}", samples.requests);
        assert_eq!(asked.lock().unwrap().len(), 1);
    }

    #[test]
    fn queries_are_spread_and_each_waits_the_same_every_time() {
        let waits: Vec<Duration> = (0..100).map(|index| wait(&format!("uid/{index}"), "sum(x)")).collect();
        assert!(waits.iter().all(|one| *one < SPREAD));
        let early = waits.iter().filter(|one| **one < SPREAD / 2).count();
        assert!((30..=70).contains(&early), "{early} of 100 in the first half");
        assert_eq!(wait("uid/1", "sum(x)"), waits[1]);
    }
}
