//! How long the pods that a rollout found went on, where their names do not tell their revision.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::sample::{Counts, PodSeries};

/// Until when each name that counted at `since`, or before, stood for the same pod: its counters went on, and none fell.
///
/// A replaced pod counts from zero, and there is a look without it, or one at which it has counted less. A container that
/// restarts looks the same; then the rest of that pod's life is nobody's, which is the safe side.
pub(super) fn lives(series: &[PodSeries], since: Timestamp) -> BTreeMap<&str, Timestamp> {
    let counters = || series.iter().filter(|one| one.counts != Counts::Scraped);
    let looks: BTreeSet<Timestamp> = counters().flat_map(|one| one.points.iter().map(|(at, _)| *at)).collect();
    let Some(start) = looks.range(..=since).next_back().copied() else { return BTreeMap::new() };
    let mut totals: BTreeMap<&str, BTreeMap<Timestamp, f64>> = BTreeMap::new();
    for one in counters() {
        let of_pod = totals.entry(one.pod.as_str()).or_default();
        for (at, value) in one.points.iter().filter(|(at, _)| *at >= start) {
            *of_pod.entry(*at).or_default() += value;
        }
    }
    let life = |of_pod: &BTreeMap<Timestamp, f64>| {
        let mut last = (start, *of_pod.get(&start)?);
        for at in looks.range(start..) {
            match of_pod.get(at) {
                Some(total) if *total >= last.1 => last = (*at, *total),
                _ => break,
            }
        }
        Some(last.0)
    };
    totals.iter().filter_map(|(pod, of_pod)| Some((*pod, life(of_pod)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn series(pod: &str, key: &str, points: &[(i64, f64)]) -> PodSeries {
        let points = points.iter().map(|(second, value)| (at(*second), *value)).collect();
        PodSeries { pod: pod.to_owned(), counts: Counts::Good, key: key.to_owned(), points }
    }

    #[test]
    fn a_pod_goes_on_until_its_counters_fall_or_stop() {
        let series = [
            series("fell", "200", &[(0, 50.0), (30, 60.0), (60, 70.0), (90, 4.0), (120, 90.0)]),
            series("went", "200", &[(0, 50.0), (30, 60.0), (90, 70.0)]),
            series("stayed", "200", &[(0, 50.0), (30, 60.0), (60, 60.0), (90, 61.0), (120, 62.0)]),
            series("came", "200", &[(60, 1.0), (90, 2.0), (120, 3.0)]),
        ];
        let lives = lives(&series, at(45));
        let expected = [("fell", at(60)), ("stayed", at(120)), ("went", at(30))];
        assert_eq!(lives.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_sum_of_a_pods_counters_tells_of_its_replacement() {
        // The new pod answers with another code first: neither counter alone falls.
        let pods = [series("web-0", "200", &[(0, 50.0), (30, 60.0)]), series("web-0", "500", &[(60, 9.0)])];
        assert_eq!(lives(&pods, at(10))["web-0"], at(30));
    }
}
