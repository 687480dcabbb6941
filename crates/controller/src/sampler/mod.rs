//! The one place that asks metrics sources.
//!
//! Counters are asked for on a grid: the multiples of the interval. Each instant is asked for once and kept while its
//! rollout is judged; what is missing (after a restart, after an outage) is asked for in the same single range query
//! per metric. So verdicts are a function of the grid, not of when this process happened to run; and all watches with the
//! same interval are due at the same instants, so that one query a metric serves all of them.

mod batch;
mod confined;
mod counted;
mod grid;
mod names;
mod own;
mod texts;

pub(crate) use confined::confined;
pub use grid::Grid;
pub use names::metric_names;
pub use texts::{own_queries, validate_queries, windowed};

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use snapback_core::sample::{Answer, Missing, PodSeries, Point};
use snapback_prometheus::{CompiledNames, Counter, Source, latency_query, names_pattern, pods_pattern, requests_query};

use counted::{Group, Turn};
use own::{Patterns, ask_all, render_for};

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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    groups: Mutex<HashMap<Group, Turn>>,
}

/// What is kept for one watch.
#[derive(Debug, Clone)]
struct Kept {
    /// What was wanted last, and when.
    wanted: Wanted,
    looked: Timestamp,
    /// ReplicaSets that were ever asked about: only grows, so that the baseline stays when the old pods are gone.
    old_sets: BTreeSet<String>,
    new_sets: BTreeSet<String>,
    requests: Track<PodSeries>,
    latencies: Track<PodSeries>,
    scraped: Track<PodSeries>,
    past: Past,
    /// By the text of the query.
    queries: BTreeMap<String, Track<Point>>,
}

/// The long time before a rollout. It does not change, so it is asked for until it is known.
#[derive(Debug, Clone, Default)]
struct Past {
    requests: Option<Vec<PodSeries>>,
    latencies: Option<Vec<PodSeries>>,
}

/// Steps of the long time before, each as long as so many looks: six hours, of looks every 30 s.
pub const PAST_STEPS: i32 = 72;
/// Looks in each of the [`PAST_STEPS`].
pub const PAST_STEP: i32 = 10;

/// Looks that a watch may miss before it is no longer asked for along with others, and before it is forgotten: its policy
/// may be gone.
const MISSED: i32 = 4;
const FORGOTTEN: i32 = 120;

impl Kept {
    fn new(wanted: &Wanted, now: Timestamp) -> Self {
        Self {
            wanted: wanted.clone(),
            looked: now,
            old_sets: BTreeSet::new(),
            new_sets: BTreeSet::new(),
            requests: Track::default(),
            latencies: Track::default(),
            scraped: Track::default(),
            past: Past::default(),
            queries: BTreeMap::new(),
        }
    }

    /// Takes up what is wanted now.
    fn want(&mut self, wanted: &Wanted, now: Timestamp) {
        (self.wanted, self.looked) = (wanted.clone(), now);
        let grown = |known: &mut BTreeSet<String>, sets: &[String]| {
            let before = known.len();
            known.extend(sets.iter().cloned());
            known.len() > before
        };
        let more_old = grown(&mut self.old_sets, &wanted.old_sets);
        let more_new = grown(&mut self.new_sets, &wanted.new_sets);
        if more_old || more_new {
            // Other pods belong to the question now: ask for the whole stretch again.
            self.queries.clear();
        }
        if (more_old || more_new) && wanted.all_pods.is_none() {
            (self.requests, self.latencies) = (Track::default(), Track::default());
            (self.scraped, self.past) = (Track::default(), Past::default());
        }
    }

    /// Whether somebody may still ask for it.
    fn is_remembered(&self, now: Timestamp) -> bool {
        now.duration_since(self.looked) <= self.wanted.interval * FORGOTTEN
    }

    /// Patterns of all its pods, of the old ones and of the new ones.
    fn patterns(&self) -> (String, String, String) {
        let (old, new): (Vec<String>, Vec<String>) =
            (self.old_sets.iter().cloned().collect(), self.new_sets.iter().cloned().collect());
        match &self.wanted.all_pods {
            None => (pods_pattern(&[old.clone(), new.clone()].concat()), pods_pattern(&old), pods_pattern(&new)),
            Some(all) => (all.clone(), all.clone(), names_pattern(&new)),
        }
    }

    /// The answer so far to a user's query.
    fn own(&self, promql: &str) -> Answer<Vec<Point>> {
        self.queries.get(promql).map_or(Err(Missing::Empty), Track::answer)
    }

    /// The counter's answers so far; `None` if it is not wanted.
    fn track(&mut self, counter: Counter) -> Option<&mut Track<PodSeries>> {
        match counter {
            Counter::Requests => self.wanted.requests.then_some(&mut self.requests),
            Counter::Latencies => self.wanted.latencies.then_some(&mut self.latencies),
            Counter::Scraped => self.wanted.past.then_some(&mut self.scraped),
        }
    }
}

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
    fn due(&self, grid: &Grid) -> Option<Stretch> {
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

/// The first and the last instant of a question.
type Stretch = (Timestamp, Timestamp);

impl Sampler {
    /// A sampler over the configured sources.
    pub fn new(sources: Vec<Source>, default: Option<String>) -> Self {
        let default = default.or_else(|| match sources.as_slice() {
            [only] => Some(only.name().to_owned()),
            _ => None,
        });
        let sources = sources.into_iter().map(|source| (source.name().to_owned(), Arc::new(source))).collect();
        Self { sources, default, kept: Mutex::default(), groups: Mutex::default() }
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

    /// Notes what is about to be sampled, so that whoever asks first asks for it as well.
    pub fn expect(&self, wanted: &Wanted, now: Timestamp) {
        let mut kept = lock(&self.kept);
        if !kept.contains_key(&wanted.key) {
            // Only now does it grow. Whoever asked for the others may be gone.
            kept.retain(|_, watch| watch.is_remembered(now));
        }
        let known = || Kept::new(wanted, now);
        kept.entry(wanted.key.clone()).or_insert_with(known).want(wanted, now);
    }

    /// Everything that is known at `now`, after asking for what is due.
    ///
    /// What one watch is due, the others of its group are mostly due as well: one query asks for all of them.
    pub async fn sample(&self, wanted: &Wanted, now: Timestamp) -> Samples {
        self.expect(wanted, now);
        let source = self.source(wanted.source.as_deref());
        let source = source.and_then(|source| confined::for_names(source, &wanted.names));
        for counter in [Counter::Requests, Counter::Latencies, Counter::Scraped] {
            match wanted.names.names().front {
                None => self.ask_counter(counter, &source, wanted, now).await,
                Some(_) => self.ask_front(counter, &source, wanted, now).await,
            }
        }
        if wanted.past
            && let Ok(source) = &source
        {
            self.ask_past(source, wanted).await;
        }
        self.ask_queries(&source, wanted, now).await;
        self.samples(wanted, now)
    }

    /// The users' own queries.
    async fn ask_queries(&self, source: &Answer<Arc<Source>>, wanted: &Wanted, now: Timestamp) {
        let known = lock(&self.kept).get(&wanted.key).map(|watch| (watch.queries.clone(), watch.patterns()));
        let Some((mut queries, (_, old, new))) = known else { return };
        ask_all(source, wanted, &wanted.grid(now), &Patterns { old: &old, new: &new }, &mut queries).await;
        if let Some(watch) = lock(&self.kept).get_mut(&wanted.key) {
            watch.queries = queries;
        }
    }

    /// What is known of a watch.
    fn samples(&self, wanted: &Wanted, now: Timestamp) -> Samples {
        let mut kept = lock(&self.kept);
        let watch = kept.entry(wanted.key.clone()).or_insert_with(|| Kept::new(wanted, now));
        let (all, _, new) = watch.patterns();
        let (names, whose) = (wanted.names.names(), wanted.names.whose(&wanted.target, &all));
        let mut asked = BTreeMap::new();
        if wanted.requests {
            asked.insert("requests".to_owned(), requests_query(names, &wanted.namespace, whose));
        }
        if wanted.latencies {
            asked.insert("latencies".to_owned(), latency_query(names, &wanted.namespace, whose));
        }
        for (check, promql) in &wanted.queries {
            asked.insert(check.clone(), render_for(promql, wanted, &new).unwrap_or_else(|_| promql.clone()));
        }
        let mut requests = watch.requests.answer();
        if let Ok(series) = &mut requests {
            // That the source does not say whether it reached the pods is no failure: then silence cannot be told.
            series.extend(watch.scraped.found.iter().cloned());
        }
        Samples {
            requests,
            latencies: watch.latencies.answer(),
            past: watch.past.requests.iter().chain(&watch.past.latencies).flatten().cloned().collect(),
            queries: wanted.queries.iter().map(|(check, promql)| (check.clone(), watch.own(promql))).collect(),
            asked,
        }
    }

    /// Forgets the watches of `watcher` other than the `current` ones.
    pub fn forget(&self, watcher: &str, revision_prefix: &str, current: &[&WatchKey]) {
        lock(&self.kept).retain(|key, _| {
            key.watcher != watcher || !key.revision.starts_with(revision_prefix) || current.contains(&key)
        });
    }
}

impl Wanted {
    fn grid(&self, now: Timestamp) -> Grid {
        Grid::new(self.since, self.interval, self.before, now)
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use snapback_prometheus::Preset;

    use super::*;

    fn wanted(watcher: usize, since: Timestamp) -> Wanted {
        Wanted {
            key: WatchKey { watcher: format!("policy-{watcher}"), revision: "uid/v2".into(), since },
            namespace: "shop".into(),
            target: "web".into(),
            source: None,
            // A proxy that is asked for each target alone: nobody goes through the others' watches.
            names: Preset::IngressNginx.names().compile().unwrap(),
            all_pods: None,
            new_sets: Vec::new(),
            old_sets: Vec::new(),
            since,
            interval: SignedDuration::from_secs(30),
            before: 4,
            past: true,
            requests: true,
            latencies: false,
            queries: BTreeMap::new(),
        }
    }

    #[tokio::test]
    async fn watches_of_those_who_are_gone_are_forgotten() {
        let sampler = Sampler::new(Vec::new(), None);
        for policy in 0..100 {
            let minute = Timestamp::from_second(60 * i64::try_from(policy).unwrap()).unwrap();
            sampler.sample(&wanted(policy, minute), minute).await;
        }
        assert_eq!(lock(&sampler.kept).len(), 61, "an hour of looks every 30 s");
        sampler.forget("policy-99", "", &[]);
        assert_eq!(lock(&sampler.kept).len(), 60);
    }

    #[tokio::test]
    async fn groups_that_nobody_asks_for_any_more_are_forgotten() {
        let sampler = Sampler::new(Vec::new(), None);
        for second in 1..=100 {
            let mut wanted = wanted(0, Timestamp::UNIX_EPOCH);
            wanted.names = Preset::HttpServer.names().compile().unwrap();
            wanted.interval = SignedDuration::from_secs(second);
            sampler.sample(&wanted, Timestamp::UNIX_EPOCH).await;
        }
        assert!(lock(&sampler.groups).len() <= 1, "{:?}", lock(&sampler.groups).len());
    }
}
