//! The counters of pods: one query a metric for all watches that are due the same.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use snapback_core::sample::{Answer, Missing, PodSeries};
use snapback_prometheus::{Counter, Instants, Pods, Series, Shared, Source};

use super::batch::{self, Size};
use super::{Kept, MISSED, PAST_STEP, PAST_STEPS, Sampler, Stretch, Wanted, WatchKey, lock};

/// Watches that one query can serve: they ask the same of the same source, at the same instants.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Group {
    source: Option<String>,
    /// The query, without pods.
    shape: String,
    interval: SignedDuration,
}

/// Whose turn it is to ask for a group: the others wait, and then find their answers.
pub(super) type Turn = Arc<tokio::sync::Mutex<Size>>;

/// A watch, and the pods that it is about.
type Watch = (WatchKey, Pods);

fn pods_of(batch: &[Watch]) -> Vec<&Pods> {
    batch.iter().map(|(_, pods)| pods).collect()
}

impl Sampler {
    /// Asks for what this watch is due, and along with it for what others are due that the same query serves.
    ///
    /// Where there is no classic histogram, for a native one.
    pub(super) async fn ask_counter(
        &self,
        counter: Counter,
        source: &Answer<Arc<Source>>,
        wanted: &Wanted,
        now: Timestamp,
    ) {
        let names = wanted.names.names();
        let group = Group::of(counter, wanted);
        let turn = self.turn(&group);
        let mut size = turn.lock().await;
        let Some(((start, end), watches)) = self.due(counter, &group, &wanted.key, now) else { return };
        let ask = |promql: String| async move {
            source.as_ref().map_err(Clone::clone)?.range(&promql, start, end, wanted.interval).await
        };
        let classic = |batch: &[Watch]| ask(counter.query(names, &pods_of(batch)));
        let mut without = Vec::new();
        for (batch, answer) in batch::ask(watches, &mut size, classic).await {
            for (watch, answer) in self.shares(counter, wanted, batch, answer) {
                match answer {
                    Err(Missing::Empty) if counter.native_query(names, &[]).is_some() => without.push(watch),
                    answer => self.note(counter, &watch, end, answer),
                }
            }
        }
        let native = |batch: &[Watch]| ask(counter.native_query(names, &pods_of(batch)).unwrap_or_default());
        for (batch, answer) in batch::ask(without, &mut Size::default(), native).await {
            for (watch, answer) in self.shares(counter, wanted, batch, answer) {
                let answer = match answer {
                    // A back end that does not know native histograms: then there simply is no data.
                    Err(Missing::BadQuery(_)) => Err(Missing::Empty),
                    answer => answer,
                };
                self.note(counter, &watch, end, answer);
            }
        }
    }

    /// The parts of an answer that are each watch's.
    fn shares(
        &self,
        counter: Counter,
        wanted: &Wanted,
        batch: Vec<Watch>,
        answer: Answer<Vec<Series>>,
    ) -> Vec<(Watch, Answer<Vec<PodSeries>>)> {
        let series = match answer {
            Ok(series) => series,
            Err(missing) => return batch.into_iter().map(|watch| (watch, Err(missing.clone()))).collect(),
        };
        // What is an error is each policy's own idea.
        let names_of = |key: &WatchKey| lock(&self.kept).get(key).map(|watch| watch.wanted.names.clone());
        let read = |key: &WatchKey, share| {
            let names = names_of(key);
            counter.read(share, names.as_ref().unwrap_or(&wanted.names))
        };
        match <[Watch; 1]>::try_from(batch) {
            Ok([watch]) => {
                let answer = read(&watch.0, series);
                vec![(watch, answer)]
            }
            Err(batch) => {
                let shared = Shared::of(&series, wanted.names.names());
                let share = |watch: Watch| {
                    let answer = read(&watch.0, shared.share(&watch.1));
                    (watch, answer)
                };
                batch.into_iter().map(share).collect()
            }
        }
    }

    /// Keeps an answer, unless the question has changed meanwhile: then the next look asks anew.
    fn note(&self, counter: Counter, (key, pods): &Watch, end: Timestamp, answer: Answer<Vec<PodSeries>>) {
        let mut kept = lock(&self.kept);
        let Some(watch) = kept.get_mut(key) else { return };
        let is_same = Pods::new(&watch.wanted.namespace, &watch.patterns().0) == *pods;
        if let Some(track) = watch.track(counter).filter(|_| is_same) {
            track.note(end, answer, merge_series);
        }
    }

    /// As [`Self::ask_counter`], of a proxy in front of the pods: it is asked for each target alone.
    pub(super) async fn ask_front(
        &self,
        counter: Counter,
        source: &Answer<Arc<Source>>,
        wanted: &Wanted,
        now: Timestamp,
    ) {
        let grid = wanted.grid(now);
        let due = lock(&self.kept).get_mut(&wanted.key).and_then(|watch| watch.track(counter)?.due(&grid));
        let Some((start, end)) = due else { return };
        let instants = Instants { start, end, step: wanted.interval };
        let whose = wanted.names.whose(&wanted.target, "");
        let answer = match (source, counter) {
            // Nobody scrapes pods for it.
            (Ok(_), Counter::Scraped) => return,
            (Ok(source), _) => source.count(counter, &wanted.names, &wanted.namespace, whose, instants).await,
            (Err(missing), _) => Err(missing.clone()),
        };
        if let Some(track) = lock(&self.kept).get_mut(&wanted.key).and_then(|watch| watch.track(counter)) {
            track.note(end, answer, merge_series);
        }
    }

    fn turn(&self, group: &Group) -> Turn {
        let mut groups = lock(&self.groups);
        if !groups.contains_key(group) {
            // Groups of policies that are gone.
            groups.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        Arc::clone(groups.entry(group.clone()).or_default())
    }

    /// The stretch that `key` is due, and the watches of its group that are due the same, with their pods; `None` when it
    /// is due nothing.
    fn due(&self, counter: Counter, group: &Group, key: &WatchKey, now: Timestamp) -> Option<(Stretch, Vec<Watch>)> {
        let mut kept = lock(&self.kept);
        let stretch = |watch: &mut Kept| {
            let grid = watch.wanted.grid(now);
            watch.track(counter)?.due(&grid)
        };
        let wanted = kept.get_mut(key).and_then(stretch)?;
        kept.retain(|_, watch| watch.is_remembered(now));
        let mut watches: Vec<Watch> = Vec::new();
        for (other, watch) in kept.iter_mut() {
            let is_looked_at = now.duration_since(watch.looked) <= watch.wanted.interval * MISSED;
            if is_looked_at && stretch(watch) == Some(wanted) && Group::of(counter, &watch.wanted) == *group {
                watches.push((other.clone(), Pods::new(&watch.wanted.namespace, &watch.patterns().0)));
            }
        }
        watches.sort_by(|(one, _), (other, _)| one.cmp(other));
        Some((wanted, watches))
    }

    /// The long time before the rollout, as far as it is not known yet.
    pub(super) async fn ask_past(&self, source: &Source, wanted: &Wanted) {
        let known = lock(&self.kept).get(&wanted.key).map(|watch| (watch.past.clone(), watch.patterns().0));
        let Some((mut past, all)) = known else { return };
        let step = wanted.interval * PAST_STEP;
        let instants = Instants { start: wanted.since - step * PAST_STEPS, end: wanted.since, step };
        let (names, namespace) = (&wanted.names, &wanted.namespace);
        let whose = names.whose(&wanted.target, &all);
        if wanted.requests && past.requests.is_none() {
            past.requests = known_past(source.count(Counter::Requests, names, namespace, whose, instants).await);
        }
        if wanted.latencies && past.latencies.is_none() {
            past.latencies = known_past(source.count(Counter::Latencies, names, namespace, whose, instants).await);
        }
        if let Some(watch) = lock(&self.kept).get_mut(&wanted.key) {
            watch.past = past;
        }
    }
}

impl Group {
    fn of(counter: Counter, wanted: &Wanted) -> Self {
        let shape = counter.query(wanted.names.names(), &[]);
        Self { source: wanted.source.clone(), shape, interval: wanted.interval }
    }
}

/// What was answered; that there was nothing is an answer.
fn known_past(answer: Answer<Vec<PodSeries>>) -> Option<Vec<PodSeries>> {
    match answer {
        Ok(series) => Some(series),
        Err(Missing::Empty | Missing::NotANumber) => Some(Vec::new()),
        Err(_) => None,
    }
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
