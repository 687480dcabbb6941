//! The series of one pod on the grid of the looks.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use snapback_core::sample::{Counts, PodSeries};

use crate::{RecordedError, steps};

/// A value at each instant, where there is one.
type Row = Vec<Option<i64>>;

/// The counters of a pod, each a row of numbers (see [`crate`]'s `steps`): the first is that of the first instant.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodCounters {
    /// The pod.
    pub pod: String,
    /// Requests answered well, by status code.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    good: BTreeMap<String, String>,
    /// Failed ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    bad: BTreeMap<String, String>,
    /// Requests by duration, as pairs of the bound (`le`) and the row, from the smallest: each without those under the
    /// bound before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    durations: Vec<(String, String)>,
    /// How many seconds ago the source had last reached the pod, rounded down; -1 while it did not. Scrapes are told apart
    /// by that: the instants are whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scraped: Option<String>,
}

impl PodCounters {
    /// Puts series into rows, one entry per pod. `instants` is the grid.
    ///
    /// # Errors
    /// A value that is no whole number or not on the grid, and buckets of one pod with different gaps.
    pub fn write(series: &[PodSeries], instants: &[Timestamp]) -> Result<Vec<Self>, RecordedError> {
        let mut pods: BTreeMap<&str, Self> = BTreeMap::new();
        let mut buckets: BTreeMap<&str, Vec<(f64, &str, Row)>> = BTreeMap::new();
        for one in series {
            let row = if one.counts == Counts::Scraped { ages(one, instants) } else { row(one, instants) }?;
            let of = pods.entry(&one.pod).or_insert_with(|| Self { pod: one.pod.clone(), ..Self::default() });
            match one.counts {
                Counts::Good => _ = of.good.insert(one.key.clone(), steps::write(&row)),
                Counts::Bad => _ = of.bad.insert(one.key.clone(), steps::write(&row)),
                Counts::Scraped => of.scraped = Some(steps::write(&row)),
                Counts::AtMostSeconds(bound) => buckets.entry(&one.pod).or_default().push((bound, &one.key, row)),
            }
        }
        for (pod, mut found) in buckets {
            found.sort_by(|one, other| one.0.total_cmp(&other.0));
            let mut under: Row = Vec::new();
            for (_, key, row) in found {
                let alone = between(&under, &row).ok_or_else(|| wrong(pod, "its buckets have different gaps"))?;
                if let Some(of) = pods.get_mut(pod) {
                    of.durations.push((key.to_owned(), steps::write(&alone)));
                }
                under = row;
            }
        }
        Ok(pods.into_values().collect())
    }

    /// The series of requests (with when the source reached the pod), and those of durations. On the clock of the instants
    /// a recorded second takes `scale`.
    ///
    /// # Errors
    /// A row that is none, or a bound that is no number.
    pub fn read(&self, instants: &[Timestamp], scale: i64) -> Result<(Vec<PodSeries>, Vec<PodSeries>), RecordedError> {
        let mut requests = Vec::new();
        for (counts, rows) in [(Counts::Good, &self.good), (Counts::Bad, &self.bad)] {
            for (key, row) in rows {
                requests.push(self.series(counts, key, &steps::read(row)?, instants));
            }
        }
        if let Some(row) = &self.scraped {
            let reached: Row = steps::read(row)?
                .iter()
                .zip(instants)
                .map(|(age, at)| age.map(|age| if age < 0 { 0 } else { at.as_second() - age.saturating_mul(scale) }))
                .collect();
            requests.push(self.series(Counts::Scraped, "up", &reached, instants));
        }
        let (mut durations, mut under) = (Vec::new(), Vec::new());
        for (key, row) in &self.durations {
            let bound: f64 = key.parse().map_err(|_| wrong(&self.pod, "a bucket's bound is no number"))?;
            let row: Row = steps::read(row)?;
            let at_most: Row = row
                .iter()
                .enumerate()
                .map(|(index, value)| value.map(|value| value + under.get(index).copied().flatten().unwrap_or(0)))
                .collect();
            durations.push(self.series(Counts::AtMostSeconds(bound), key, &at_most, instants));
            under = at_most;
        }
        Ok((requests, durations))
    }

    #[allow(clippy::cast_precision_loss, reason = "request counts stay far below 2^52")]
    fn series(&self, counts: Counts, key: &str, row: &[Option<i64>], instants: &[Timestamp]) -> PodSeries {
        let points = instants.iter().zip(row).filter_map(|(at, value)| value.map(|value| (*at, value as f64)));
        PodSeries { pod: self.pod.clone(), counts, key: key.to_owned(), points: points.collect() }
    }
}

/// What is in one bucket and not in the one before; `None` where only one of them has a value.
fn between(under: &[Option<i64>], row: &[Option<i64>]) -> Option<Row> {
    if under.is_empty() {
        return Some(row.to_vec());
    }
    let pairs = under.iter().zip(row).map(|(under, value)| match (under, value) {
        (Some(under), Some(value)) => Some(Some(value - under)),
        (None, None) => Some(None),
        _ => None,
    });
    pairs.collect()
}

fn wrong(pod: &str, problem: &str) -> RecordedError {
    RecordedError::Counter { pod: pod.to_owned(), problem: problem.to_owned() }
}

/// How long ago the source had reached the pod, in whole seconds.
fn ages(series: &PodSeries, instants: &[Timestamp]) -> Result<Row, RecordedError> {
    let mut row = vec![None; instants.len()];
    for (at, reached) in &series.points {
        let index = instants.binary_search(at).map_err(|_| wrong(&series.pod, "a scrape is not on the grid"))?;
        #[allow(clippy::cast_precision_loss, reason = "seconds since 1970")]
        let age = (at.as_second() as f64 - reached).max(0.0).floor();
        #[allow(clippy::cast_possible_truncation, reason = "seconds since 1970, at most")]
        let age = if *reached > 0.0 { age as i64 } else { -1 };
        if let Some(place) = row.get_mut(index) {
            *place = Some(age);
        }
    }
    Ok(row)
}

fn row(series: &PodSeries, instants: &[Timestamp]) -> Result<Row, RecordedError> {
    let mut row = vec![None; instants.len()];
    for (at, value) in &series.points {
        let index = instants.binary_search(at).map_err(|_| wrong(&series.pod, "a value is not on the grid"))?;
        if value.fract() != 0.0 || value.abs() > 1e15 {
            return Err(wrong(&series.pod, &format!("{value} is no count")));
        }
        #[allow(clippy::cast_possible_truncation, reason = "checked in the lines before")]
        let whole = *value as i64;
        if let Some(place) = row.get_mut(index) {
            *place = Some(whole);
        }
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instants() -> Vec<Timestamp> {
        (0..5).map(|second| Timestamp::from_second(second).unwrap()).collect()
    }

    fn series(pod: &str, counts: Counts, key: &str, values: &[(usize, f64)]) -> PodSeries {
        let points = values.iter().map(|(index, value)| (instants()[*index], *value)).collect();
        PodSeries { pod: pod.into(), counts, key: key.into(), points }
    }

    #[test]
    fn series_are_read_back_as_they_were() {
        let all = [
            series("a", Counts::Good, "200", &[(0, 5.0), (1, 9.0), (2, 9.0), (3, 1.0)]),
            series("a", Counts::Bad, "500", &[(2, 1.0), (4, 2.0)]),
            series("a", Counts::AtMostSeconds(0.1), "0.1", &[(1, 3.0), (2, 4.0)]),
            series("a", Counts::AtMostSeconds(0.25), "0.25", &[(1, 7.0), (2, 9.0)]),
            series("a", Counts::AtMostSeconds(f64::INFINITY), "+Inf", &[(1, 7.0), (2, 10.0)]),
            series("b", Counts::Good, "200", &[(4, 1.0)]),
        ];
        let written = PodCounters::write(&all, &instants()).unwrap();
        assert_eq!(written.len(), 2);
        let mut found = Vec::new();
        for pod in &written {
            let (requests, durations) = pod.read(&instants(), 1).unwrap();
            found.extend(requests);
            found.extend(durations);
        }
        assert_eq!(found, all);
        assert_eq!(written[0].durations[1].1, "- 4 1 -x2");
    }

    #[test]
    fn scrapes_stay_as_many_and_as_far_apart_on_another_clock() {
        let at = |start: i64, scale: i64, second: i64| Timestamp::from_second(start + second * scale).unwrap();
        let recorded: Vec<Timestamp> = (0..5).map(|second| at(1000, 1, second)).collect();
        // Not reached, then twice, then not any more; the last value stands.
        let reached = [0.0, 1000.9, 1001.95, 1001.95, 1001.95];
        let points = recorded.iter().copied().zip(reached).collect();
        let up = [PodSeries { pod: "a".into(), counts: Counts::Scraped, key: "up".into(), points }];
        let written = PodCounters::write(&up, &recorded).unwrap();
        assert_eq!(written[0].scraped.as_deref(), Some("-1 1 0 1x2"));
        let slow: Vec<Timestamp> = (0..5).map(|second| at(9000, 30, second)).collect();
        let (found, _) = written[0].read(&slow, 30).unwrap();
        let values: Vec<f64> = found[0].points.iter().map(|(_, value)| *value).collect();
        assert_eq!(values, [0.0, 9030.0, 9060.0, 9060.0, 9060.0]);
    }

    #[test]
    fn what_is_no_counter_on_the_grid_is_told() {
        let half = [series("a", Counts::Good, "200", &[(0, 0.5)])];
        let error = PodCounters::write(&half, &instants()).unwrap_err().to_string();
        assert_eq!(error, "pod a: 0.5 is no count");
        let late = [series("a", Counts::Good, "200", &[(4, 1.0)])];
        assert!(PodCounters::write(&late, &instants()[..3]).is_err());
    }
}
