//! Asking the source: the queries that the operator asks, over a stretch of history instead of look by look.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use snapback_controller::sampler::{PAST_STEP, PAST_STEPS, own_queries};
use snapback_core::policy::{Policy, Rule};
use snapback_core::sample::{Answer, Missing, PodSeries, Point};
use snapback_prometheus::{
    CompiledNames, Series, Source, Values, latencies, latency_query, pods_pattern, render, requests, requests_query,
    scraped, scraped_query, to_points,
};

/// Most steps of one query; back ends refuse 11,000.
const MOST_STEPS: i64 = 2_000;

/// Whom to ask about what.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) source: &'a Source,
    pub(crate) names: &'a CompiledNames,
    pub(crate) namespace: &'a str,
}

/// A stretch of the grid: from its first instant to its last, both included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    pub(crate) step: SignedDuration,
}

/// What the source knows of one rollout.
#[derive(Debug, Clone)]
pub(crate) struct History {
    /// Request counters by pod, at the instants of the grid.
    pub(crate) requests: Answer<Vec<PodSeries>>,
    /// Duration buckets by pod.
    pub(crate) latencies: Answer<Vec<PodSeries>>,
    /// Whether the pods were scraped; empty where the source does not say so.
    pub(crate) scraped: Vec<PodSeries>,
    /// The long time before the rollout, in longer steps.
    pub(crate) past: Vec<PodSeries>,
    /// The users' own queries, as [`snapback_core::checks::Measured::queries`].
    pub(crate) queries: BTreeMap<String, Answer<Vec<Point>>>,
}

/// Whose pods are meant, by ReplicaSet.
pub(crate) struct Sets {
    pub(crate) old: Vec<String>,
    pub(crate) new: Vec<String>,
}

impl Asker<'_> {
    /// The series of a query, asked for in as many pieces as it takes.
    pub(crate) async fn series(&self, promql: &str, stretch: Stretch) -> Answer<Vec<Series>> {
        let Stretch { mut from, to, step } = stretch;
        let mut all: Vec<Series> = Vec::new();
        while from <= to {
            let last = to.min(from.saturating_add(step * piece()).unwrap_or(Timestamp::MAX));
            for one in self.source.range(promql, from, last, step).await? {
                match all.iter_mut().find(|known| known.labels == one.labels) {
                    Some(known) => known.points.extend(one.points),
                    None => all.push(one),
                }
            }
            let Ok(next) = last.checked_add(step) else { break };
            from = next;
        }
        Ok(all)
    }

    /// Whether the pods of a pattern were scraped, by pod; their requests where the source does not say that.
    pub(crate) async fn presence(&self, pods: &str, stretch: Stretch) -> Answer<Vec<PodSeries>> {
        let up = self.series(&scraped_query(self.names.names(), self.namespace, pods), stretch).await?;
        match scraped(up, self.names) {
            Err(Missing::Empty) => {
                let counted = self.series(&requests_query(self.names.names(), self.namespace, pods), stretch).await?;
                requests(counted, self.names)
            }
            answer => answer,
        }
    }

    /// All that checks are judged by. `since` is when the rollout began; the stretch starts before it.
    pub(crate) async fn history(
        &self,
        policy: &Policy,
        target: &str,
        sets: &Sets,
        since: Timestamp,
        stretch: Stretch,
    ) -> History {
        let names = self.names.names();
        let all = pods_pattern(&sets.old.iter().chain(&sets.new).cloned().collect::<Vec<_>>());
        let whose = self.names.whose(target, &all);
        let wants = |wanted: fn(&Rule) -> bool| policy.checks.iter().any(|check| wanted(&check.rule));
        let (by_request, by_latency) =
            (requests_query(names, self.namespace, whose), latency_query(names, self.namespace, whose));
        let long = stretch.step * PAST_STEP;
        let before = Stretch { from: since - long * PAST_STEPS, to: since, step: long };
        let mut history = History {
            requests: Err(Missing::Empty),
            latencies: Err(Missing::Empty),
            scraped: Vec::new(),
            past: Vec::new(),
            queries: BTreeMap::new(),
        };
        if wants(|rule| matches!(rule, Rule::ErrorRate { .. } | Rule::TrafficDrop { .. })) {
            let read = |answer: Answer<Vec<Series>>| answer.and_then(|series| requests(series, self.names));
            history.requests = read(self.series(&by_request, stretch).await);
            history.past.extend(read(self.series(&by_request, before).await).unwrap_or_default());
        }
        if wants(|rule| matches!(rule, Rule::Latency { .. })) {
            let read = |answer: Answer<Vec<Series>>| answer.and_then(|series| latencies(series, self.names));
            history.latencies = read(self.series(&by_latency, stretch).await);
            history.past.extend(read(self.series(&by_latency, before).await).unwrap_or_default());
        }
        let up = self.series(&scraped_query(names, self.namespace, &all), stretch).await;
        history.scraped = up.and_then(|series| scraped(series, self.names)).unwrap_or_default();
        for check in &policy.checks {
            for (key, promql) in own_queries(check) {
                let answer = self.own(&promql, target, sets, since, stretch).await;
                history.queries.insert(key, answer);
            }
        }
        history
    }

    /// A user's query: `{{ pods }}` means the old revision's pods before the rollout, and the new one's after it.
    async fn own(
        &self,
        promql: &str,
        target: &str,
        sets: &Sets,
        since: Timestamp,
        stretch: Stretch,
    ) -> Answer<Vec<Point>> {
        let text = |sets: &[String]| {
            let values = Values { namespace: self.namespace, target, pods: &pods_pattern(sets) };
            render(promql, &values).map_err(|error| Missing::BadQuery(error.to_string()))
        };
        let (before, after) = (text(&sets.old)?, text(&sets.new)?);
        if before == after {
            return self.series(&after, stretch).await.and_then(to_points);
        }
        let mut found = match self.series(&before, Stretch { to: since, ..stretch }).await.and_then(to_points) {
            Ok(found) => found,
            Err(Missing::Empty | Missing::NotANumber) => Vec::new(),
            Err(missing) => return Err(missing),
        };
        found.extend(self.series(&after, Stretch { from: since + stretch.step, ..stretch }).await.and_then(to_points)?);
        Ok(found)
    }

    /// When the source's history begins, if that is after `from`: the first instant at which it had scraped anything.
    ///
    /// # Errors
    /// The source cannot be asked.
    pub(crate) async fn begins(&self, from: Timestamp, to: Timestamp) -> Answer<Option<Timestamp>> {
        let step = SignedDuration::from_secs((to.duration_since(from).as_secs() / 500).max(60));
        let found = self.series("count(up)", Stretch { from, to, step }).await?;
        let first = found.iter().filter_map(|one| one.points.first()).map(|(at, _)| *at).min();
        Ok(first.filter(|first| *first > from + step * 2))
    }
}

fn piece() -> i32 {
    i32::try_from(MOST_STEPS).unwrap_or(i32::MAX)
}
