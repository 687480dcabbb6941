//! The one place that asks metrics sources.
//!
//! Counters are asked for on a grid: `since`, `since + interval`, ... Each instant is asked for once and kept while its
//! rollout is judged; what is missing (after a restart, after an outage) is asked for in the same single range query
//! per metric. So verdicts are a function of the grid, not of when this process happened to run.

mod grid;
mod names;

pub use grid::Grid;
pub use names::metric_names;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use snapback_core::sample::{Answer, Missing, PodSeries, Point};
use snapback_prometheus::{
    CompiledNames, Source, Values, latencies, latency_query, names_pattern, pods_pattern, render, requests,
    requests_query, scraped, scraped_query, to_points,
};

/// What is wanted for one target at one instant.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Identifies the watch: what is kept is kept under this.
    pub key: WatchKey,
    /// The target's namespace.
    pub namespace: String,
    /// The target's name.
    pub target: String,
    /// The source's name; `None` for the default one.
    pub source: Option<String>,
    /// What metrics are called.
    pub names: CompiledNames,
    /// A pattern of all the target's pods, where their names do not tell their revision; `new_sets` holds pods then.
    pub all_pods: Option<String>,
    /// ReplicaSets of the judged revision.
    pub new_sets: Vec<String>,
    /// ReplicaSets of the other revisions that had pods.
    pub old_sets: Vec<String>,
    /// Start of the grid's judged part.
    pub since: Timestamp,
    /// Its step.
    pub interval: SignedDuration,
    /// Steps before `since` that the new pods may be compared with.
    pub before: u32,
    /// Whether the long time before is wanted too, and whether the pods were scraped.
    pub past: bool,
    /// Whether request counters are wanted.
    pub requests: bool,
    /// Whether duration histograms are wanted.
    pub latencies: bool,
    /// The users' own queries, by check name.
    pub queries: BTreeMap<String, String>,
}

/// One watch of one revision.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WatchKey {
    /// UID of the object that watches (a policy or a `Rollback`).
    pub watcher: String,
    /// The workload's UID and the revision.
    pub revision: String,
    /// When the watch began.
    pub since: Timestamp,
}

/// What was answered.
#[derive(Debug, Clone)]
pub struct Samples {
    /// Request counters.
    pub requests: Answer<Vec<PodSeries>>,
    /// Duration buckets.
    pub latencies: Answer<Vec<PodSeries>>,
    /// Both of the old pods, over a longer time before the rollout, in longer steps; empty while that is not known.
    pub past: Vec<PodSeries>,
    /// Points of the users' own queries, by check name.
    pub queries: BTreeMap<String, Answer<Vec<Point>>>,
    /// The queries as they were asked: `requests`, `latencies`, and by check name.
    pub asked: BTreeMap<String, String>,
}

/// Keeps the sources, and what they answered for the watches under way.
pub struct Sampler {
    sources: BTreeMap<String, Arc<Source>>,
    default: Option<String>,
    kept: Mutex<HashMap<WatchKey, Kept>>,
}

/// What is kept for one watch.
#[derive(Debug, Clone, Default)]
struct Kept {
    /// ReplicaSets that were ever asked about: only grows, so that the baseline stays when the old pods are gone.
    old_sets: BTreeSet<String>,
    new_sets: BTreeSet<String>,
    requests: Track<PodSeries>,
    latencies: Track<PodSeries>,
    scraped: Track<PodSeries>,
    past: Past,
    queries: BTreeMap<String, Track<Point>>,
}

/// The long time before a rollout. It does not change, so it is asked for until it is known.
#[derive(Debug, Clone, Default)]
struct Past {
    requests: Option<Vec<PodSeries>>,
    latencies: Option<Vec<PodSeries>>,
}

/// Steps of the long time before, each as long as so many looks: six hours, of looks every 30 s.
const PAST_STEPS: i32 = 72;
const PAST_STEP: i32 = 10;

/// One query's answers so far.
#[derive(Debug, Clone)]
struct Track<T> {
    /// Up to where the grid was answered.
    until: Option<Timestamp>,
    /// The last instant that was asked for, answered or not.
    tried: Option<Timestamp>,
    found: Vec<T>,
    failure: Option<Missing>,
}

impl<T> Default for Track<T> {
    fn default() -> Self {
        Self { until: None, tried: None, found: Vec::new(), failure: Some(Missing::Empty) }
    }
}

impl<T: Clone> Track<T> {
    fn answer(&self) -> Answer<Vec<T>> {
        match &self.failure {
            Some(missing) => Err(missing.clone()),
            None => Ok(self.found.clone()),
        }
    }

    /// The stretch that has to be asked for at `grid`'s newest instant; `None` when it was tried already.
    fn due(&self, grid: &Grid) -> Option<(Timestamp, Timestamp)> {
        let end = grid.newest()?;
        if self.tried.is_some_and(|tried| tried >= end) {
            return None;
        }
        let start = self.until.map_or(grid.first(), |until| grid.after(until));
        (start <= end).then_some((start, end))
    }

    fn note(&mut self, end: Timestamp, answer: Answer<Vec<T>>, merge: impl FnOnce(&mut Vec<T>, Vec<T>)) {
        self.tried = Some(end);
        match answer {
            Ok(found) => {
                merge(&mut self.found, found);
                self.until = Some(end);
                self.failure = None;
            }
            Err(missing) => self.failure = Some(missing),
        }
    }
}

impl Sampler {
    /// A sampler over the configured sources.
    pub fn new(sources: Vec<Source>, default: Option<String>) -> Self {
        let default = default.or_else(|| match sources.as_slice() {
            [only] => Some(only.name().to_owned()),
            _ => None,
        });
        let sources = sources.into_iter().map(|source| (source.name().to_owned(), Arc::new(source))).collect();
        Self { sources, default, kept: Mutex::new(HashMap::new()) }
    }

    /// The source of that name, or what to write instead.
    pub fn source(&self, name: Option<&str>) -> Answer<Arc<Source>> {
        let known = || {
            let names: Vec<&str> = self.sources.keys().map(String::as_str).collect();
            if names.is_empty() { "none is configured".to_owned() } else { format!("there are: {}", names.join(", ")) }
        };
        let name = name.or(self.default.as_deref()).ok_or_else(|| {
            Missing::UnknownSource(format!(
                "spec.metrics.source must name a source of the operator's configuration ({})",
                known()
            ))
        })?;
        self.sources.get(name).cloned().ok_or_else(|| {
            Missing::UnknownSource(format!(
                "spec.metrics.source {name:?} is not in the operator's configuration ({})",
                known()
            ))
        })
    }

    /// Everything that is known at `now`, after asking for what is due.
    pub async fn sample(&self, wanted: &Wanted, now: Timestamp) -> Samples {
        let mut kept = self.take(wanted);
        let grid = Grid::new(wanted.since, wanted.interval, wanted.before, now);
        let old_sets: Vec<String> = kept.old_sets.iter().cloned().collect();
        let new_sets: Vec<String> = kept.new_sets.iter().cloned().collect();
        let all_sets: Vec<String> = old_sets.iter().chain(&new_sets).cloned().collect();
        let (all, old, new) = match &wanted.all_pods {
            None => (pods_pattern(&all_sets), pods_pattern(&old_sets), pods_pattern(&new_sets)),
            Some(all) => (all.clone(), all.clone(), names_pattern(&new_sets)),
        };
        let source = self.source(wanted.source.as_deref());
        let mut asked = BTreeMap::new();

        if wanted.requests {
            let promql = requests_query(wanted.names.names(), &wanted.namespace, &all);
            if let Some((start, end)) = kept.requests.due(&grid) {
                let answer = match &source {
                    Ok(source) => {
                        let series = source.range(&promql, start, end, wanted.interval).await;
                        series.and_then(|series| requests(series, &wanted.names))
                    }
                    Err(missing) => Err(missing.clone()),
                };
                kept.requests.note(end, answer, merge_series);
            }
            asked.insert("requests".to_owned(), promql);
        }
        if wanted.latencies {
            let promql = latency_query(wanted.names.names(), &wanted.namespace, &all);
            if let Some((start, end)) = kept.latencies.due(&grid) {
                let answer = match &source {
                    Ok(source) => {
                        let series = source.range(&promql, start, end, wanted.interval).await;
                        series.and_then(|series| latencies(series, &wanted.names))
                    }
                    Err(missing) => Err(missing.clone()),
                };
                kept.latencies.note(end, answer, merge_series);
            }
            asked.insert("latencies".to_owned(), promql);
        }
        if wanted.past
            && let Ok(source) = &source
        {
            self.ask_scraped(source, wanted, &grid, &all, &mut kept).await;
            ask_past(source, wanted, &all, &mut kept.past).await;
        }
        for (check, promql) in &wanted.queries {
            let text = |pods: &str| {
                let values = Values { namespace: &wanted.namespace, target: &wanted.target, pods };
                render(promql, &values).map_err(|error| Missing::BadQuery(error.to_string()))
            };
            let track = kept.queries.entry(check.clone()).or_default();
            if let Some((start, end)) = track.due(&grid) {
                let answer = match (&source, &text(&old), &text(&new)) {
                    (Ok(source), Ok(before), Ok(after)) => ask_own(source, (before, after), wanted, start, end).await,
                    (Err(missing), ..) | (_, Err(missing), _) | (_, _, Err(missing)) => Err(missing.clone()),
                };
                track.note(end, answer, std::iter::Extend::extend);
            }
            asked.insert(check.clone(), text(&new).unwrap_or_else(|_| promql.clone()));
        }

        let mut requests = kept.requests.answer();
        if let Ok(series) = &mut requests {
            series.extend(kept.scraped.found.iter().cloned());
        }
        let past = kept.past.requests.iter().chain(&kept.past.latencies).flatten().cloned();
        let samples = Samples {
            requests,
            latencies: kept.latencies.answer(),
            past: past.collect(),
            queries: kept.queries.iter().map(|(check, track)| (check.clone(), track.answer())).collect(),
            asked,
        };
        self.keep(wanted.key.clone(), kept);
        samples
    }

    /// Whether the source reached the pods. That it does not say so is no failure: then silence cannot be told.
    async fn ask_scraped(&self, source: &Source, wanted: &Wanted, grid: &Grid, all: &str, kept: &mut Kept) {
        let Some((start, end)) = kept.scraped.due(grid) else { return };
        let promql = scraped_query(wanted.names.names(), &wanted.namespace, all);
        let answer = source.range(&promql, start, end, wanted.interval).await;
        kept.scraped.note(end, answer.and_then(|series| scraped(series, &wanted.names)), merge_series);
    }

    /// Forgets the watches of `watcher` other than `current`.
    pub fn forget(&self, watcher: &str, revision_prefix: &str, current: Option<&WatchKey>) {
        self.lock().retain(|key, _| {
            key.watcher != watcher || !key.revision.starts_with(revision_prefix) || Some(key) == current
        });
    }

    fn take(&self, wanted: &Wanted) -> Kept {
        let mut kept = self.lock().get(&wanted.key).cloned().unwrap_or_default();
        let grown = |known: &mut BTreeSet<String>, sets: &[String]| {
            let before = known.len();
            known.extend(sets.iter().cloned());
            known.len() > before
        };
        let more_old = grown(&mut kept.old_sets, &wanted.old_sets);
        let more_new = grown(&mut kept.new_sets, &wanted.new_sets);
        if more_old || more_new {
            // Other pods belong to the question now: ask for the whole stretch again.
            kept.queries.clear();
        }
        if (more_old || more_new) && wanted.all_pods.is_none() {
            (kept.requests, kept.latencies) = (Track::default(), Track::default());
            (kept.scraped, kept.past) = (Track::default(), Past::default());
        }
        kept
    }

    fn keep(&self, key: WatchKey, kept: Kept) {
        self.lock().insert(key, kept);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<WatchKey, Kept>> {
        self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The long time before the rollout, as far as it is not known yet.
async fn ask_past(source: &Source, wanted: &Wanted, all: &str, past: &mut Past) {
    let step = wanted.interval * PAST_STEP;
    let start = wanted.since - step * PAST_STEPS;
    let (names, namespace) = (wanted.names.names(), &wanted.namespace);
    if wanted.requests && past.requests.is_none() {
        let promql = requests_query(names, namespace, all);
        let answer = source.range(&promql, start, wanted.since, step).await;
        past.requests = known(answer.and_then(|series| requests(series, &wanted.names)));
    }
    if wanted.latencies && past.latencies.is_none() {
        let promql = latency_query(names, namespace, all);
        let answer = source.range(&promql, start, wanted.since, step).await;
        past.latencies = known(answer.and_then(|series| latencies(series, &wanted.names)));
    }
}

/// What was answered; that there was nothing is an answer.
fn known(answer: Answer<Vec<PodSeries>>) -> Option<Vec<PodSeries>> {
    match answer {
        Ok(series) => Some(series),
        Err(Missing::Empty | Missing::NotANumber) => Some(Vec::new()),
        Err(_) => None,
    }
}

/// A user's query: `{{ pods }}` means the old revision's pods before the rollout, and the new one's after it.
async fn ask_own(
    source: &Source,
    (before, after): (&str, &str),
    wanted: &Wanted,
    start: Timestamp,
    end: Timestamp,
) -> Answer<Vec<Point>> {
    if before == after || start > wanted.since {
        return source.range(after, start, end, wanted.interval).await.and_then(to_points);
    }
    let split = wanted.since.min(end);
    // No value before the rollout is no failure: the check says that it has no baseline.
    let mut found = match source.range(before, start, split, wanted.interval).await.and_then(to_points) {
        Ok(found) => found,
        Err(Missing::Empty | Missing::NotANumber) => Vec::new(),
        Err(missing) => return Err(missing),
    };
    let next = split + wanted.interval;
    if next <= end {
        found.extend(source.range(after, next, end, wanted.interval).await.and_then(to_points)?);
    }
    Ok(found)
}

/// Appends the new points of each counter to the points that are kept.
fn merge_series(all: &mut Vec<PodSeries>, new: Vec<PodSeries>) {
    for one in new {
        match all.iter_mut().find(|known| known.pod == one.pod && known.key == one.key) {
            Some(known) => known.points.extend(one.points),
            None => all.push(one),
        }
    }
}
