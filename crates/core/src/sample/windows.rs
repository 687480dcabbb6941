//! Windows of increases, from cumulative counters.
//!
//! Every window is the stretch between two looks at the source. A counter's increase in it is the difference of its
//! values; a value that fell was reset, and counts from zero; a counter that appears in a pod that was already seen,
//! or in a new pod of the new revision, was born in the window and counts from zero. A counter that disappears adds
//! nothing. So each request is counted once, in one window, and a stretch without answers becomes one longer window.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::histogram::Histogram;
use super::series::{Counts, PodSeries};

/// Whose pod a counter belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The revision that is judged.
    New,
    /// Every other revision of the target.
    Old,
}

/// What happened between two looks.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// The earlier look.
    pub from: Timestamp,
    /// The later look.
    pub to: Timestamp,
    /// In the pods of the judged revision.
    pub new: Increase,
    /// In the pods of the others.
    pub old: Increase,
    /// The same by pod. A pod that changed sides within the window stands on the later one.
    pub pods: BTreeMap<String, (Side, Increase)>,
}

/// Requests counted in a window.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Increase {
    /// Requests answered well.
    pub good: f64,
    /// Requests that failed.
    pub bad: f64,
    /// Requests by duration.
    pub durations: Histogram,
}

impl Increase {
    /// All requests.
    pub fn requests(&self) -> f64 {
        self.good + self.bad
    }

    /// Adds another stretch of the same pods.
    pub fn add(&mut self, other: &Self) {
        self.good += other.good;
        self.bad += other.bad;
        self.durations.add(&other.durations);
    }

    fn count(&mut self, counts: Counts, increase: f64) {
        match counts {
            Counts::Good => self.good += increase,
            Counts::Bad => self.bad += increase,
            Counts::AtMostSeconds(bound) => self.durations.record(bound, increase),
            Counts::Scraped => {}
        }
    }

    fn side(window: &mut Window, side: Side) -> &mut Self {
        match side {
            Side::New => &mut window.new,
            Side::Old => &mut window.old,
        }
    }
}

impl Window {
    /// Its length.
    pub fn length(&self) -> SignedDuration {
        self.to.duration_since(self.from)
    }
}

/// Works out the windows between the instants at which the source had anything to say.
///
/// `side_of` tells whose pod a name is at an instant; counters of pods that are nobody's are ignored. A name that
/// changes sides (a StatefulSet's pods keep theirs) is another counter from then on, of which the source may still show
/// the end of the former: the first look counts for nobody, unless the value fell. A proxy in front of all pods stays the
/// same counter, whoever it counts for.
pub fn windows(series: &[PodSeries], side_of: impl Fn(&str, Timestamp) -> Option<Side>) -> Vec<Window> {
    let instants: BTreeSet<Timestamp> = series.iter().flat_map(|one| one.points.iter().map(|(at, _)| *at)).collect();
    let first_seen = first_seen(series);
    let mut windows: Vec<Window> = instants
        .iter()
        .zip(instants.iter().skip(1))
        .map(|(from, to)| Window {
            from: *from,
            to: *to,
            new: Increase::default(),
            old: Increase::default(),
            pods: BTreeMap::new(),
        })
        .collect();
    let window_ending: BTreeMap<Timestamp, usize> =
        windows.iter().enumerate().map(|(index, window)| (window.to, index)).collect();

    for one in series.iter().filter(|one| one.counts != Counts::Scraped) {
        let mut last: Option<(Option<Side>, f64)> = None;
        for (at, value) in &one.points {
            let side = side_of(&one.pod, *at);
            let before = last.replace((side, *value));
            let (Some(side), Some(index)) = (side, window_ending.get(at)) else { continue };
            let increase = match before {
                Some((_, before)) if *value < before => *value,
                Some((same, before)) if same == Some(side) || one.is_of_proxy() => value - before,
                None if born(one, *at, side, &first_seen) => *value,
                Some(_) | None => 0.0,
            };
            if let Some(window) = windows.get_mut(*index) {
                Increase::side(window, side).count(one.counts, increase);
                let of_pod = window.pods.entry(one.pod.clone()).or_insert((side, Increase::default()));
                if of_pod.0 != side {
                    *of_pod = (side, Increase::default());
                }
                of_pod.1.count(one.counts, increase);
            }
        }
    }
    windows
}

/// When each pod was first seen in any counter.
fn first_seen(series: &[PodSeries]) -> BTreeMap<&str, Timestamp> {
    let mut seen: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for one in series.iter().filter(|one| one.counts != Counts::Scraped) {
        if let Some((at, _)) = one.points.first() {
            seen.entry(one.pod.as_str()).and_modify(|known| *known = (*known).min(*at)).or_insert(*at);
        }
    }
    seen
}

/// Whether a counter's first value is all increase. A whole pod of an old revision (or a proxy) that appears late may only
/// have been unreachable before, so its past is not counted as present.
fn born(series: &PodSeries, at: Timestamp, side: Side, first_seen: &BTreeMap<&str, Timestamp>) -> bool {
    (side == Side::New && !series.is_of_proxy()) || first_seen.get(series.pod.as_str()).is_some_and(|seen| *seen < at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn series(pod: &str, counts: Counts, key: &str, points: &[(i64, f64)]) -> PodSeries {
        let points = points.iter().map(|(second, value)| (at(*second), *value)).collect();
        PodSeries { pod: pod.to_owned(), counts, key: key.to_owned(), points }
    }

    fn side(pod: &str, _: Timestamp) -> Option<Side> {
        match pod.split('-').next() {
            Some("new") => Some(Side::New),
            Some("old") => Some(Side::Old),
            _ => None,
        }
    }

    #[test]
    fn a_window_holds_the_difference_of_two_looks() {
        let found = windows(&[series("old-1", Counts::Good, "200", &[(0, 100.0), (30, 160.0), (60, 170.0)])], side);
        let goods: Vec<f64> = found.iter().map(|window| window.old.good).collect();
        assert_eq!(goods, [60.0, 10.0]);
        assert_eq!(found[0].length(), SignedDuration::from_secs(30));
    }

    #[test]
    fn a_restarted_container_counts_from_zero() {
        let found = windows(&[series("new-1", Counts::Bad, "500", &[(0, 90.0), (30, 5.0)])], side);
        assert_eq!(found[0].new.bad, 5.0);
    }

    #[test]
    fn a_new_pod_and_a_new_status_code_count_from_zero() {
        let found = windows(
            &[
                series("old-1", Counts::Good, "200", &[(0, 100.0), (30, 100.0)]),
                series("old-1", Counts::Bad, "500", &[(30, 4.0)]),
                series("new-1", Counts::Bad, "500", &[(30, 7.0)]),
            ],
            side,
        );
        assert_eq!((found[0].old.bad, found[0].new.bad), (4.0, 7.0));
    }

    #[test]
    fn an_old_pod_that_was_out_of_sight_does_not_bring_its_whole_past() {
        let found = windows(
            &[
                series("new-1", Counts::Good, "200", &[(0, 1.0), (30, 2.0), (60, 3.0)]),
                series("old-1", Counts::Good, "200", &[(30, 9000.0), (60, 9010.0)]),
            ],
            side,
        );
        assert_eq!((found[0].old.good, found[1].old.good), (0.0, 10.0));
    }

    #[test]
    fn a_stretch_without_answers_is_one_longer_window_and_counts_once() {
        let found = windows(&[series("new-1", Counts::Good, "200", &[(0, 0.0), (30, 10.0), (120, 50.0)])], side);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].new.good, 40.0);
        assert_eq!(found[1].length(), SignedDuration::from_secs(90));
    }

    #[test]
    fn a_strangers_pod_counts_for_nobody() {
        let found = windows(&[series("other-1", Counts::Bad, "500", &[(0, 0.0), (30, 10.0)])], side);
        assert_eq!(found[0].new.requests() + found[0].old.requests(), 0.0);
    }

    #[test]
    fn a_name_that_changes_sides_counts_for_each_what_it_counted_for_it() {
        let side = |_: &str, at: Timestamp| match at.as_second() {
            ..=30 => Some(Side::Old),
            31..=60 => None,
            _ => Some(Side::New),
        };
        // At 90 the source still shows the last value of the pod before.
        let points = [(0, 100.0), (30, 140.0), (60, 150.0), (90, 150.0), (120, 7.0), (150, 9.0)];
        let found = windows(&[series("web-0", Counts::Good, "200", &points)], side);
        let counted: Vec<(f64, f64)> = found.iter().map(|window| (window.old.good, window.new.good)).collect();
        assert_eq!(counted, [(40.0, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 7.0), (0.0, 2.0)]);
    }

    #[test]
    fn what_a_name_counted_as_anothers_is_not_the_new_ones() {
        let side = |_: &str, at: Timestamp| Some(if at.as_second() <= 30 { Side::Old } else { Side::New });
        let points = [(0, 100.0), (30, 140.0), (60, 170.0), (90, 180.0)];
        let found = windows(&[series("web-0", Counts::Good, "200", &points)], side);
        let counted: Vec<(f64, f64)> = found.iter().map(|window| (window.old.good, window.new.good)).collect();
        assert_eq!(counted, [(40.0, 0.0), (0.0, 0.0), (0.0, 10.0)]);
    }

    proptest::proptest! {
        #[test]
        fn windows_add_up_to_the_whole_increase(steps in proptest::collection::vec(0u32..1000, 2..40)) {
            let mut total = 0.0;
            let points: Vec<(i64, f64)> = (0i64..).zip(&steps).map(|(index, step)| { total += f64::from(*step); (index * 30, total) }).collect();
            let found = windows(&[series("new-1", Counts::Good, "200", &points)], side);
            let counted: f64 = found.iter().map(|window| window.new.good).sum();
            proptest::prop_assert!((counted - (total - f64::from(steps[0]))).abs() < 1e-6);
        }
    }
}
