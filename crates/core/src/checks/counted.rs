//! Windows as the looks of a sequential test: bad ones among all, in the new pods and in what they are compared with.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::lives::lives;
use super::{After, Measured, side_of};
use crate::analysis::sequential::{Against, Look, Plan, Tally, among_pods, over_time, spare};
use crate::sample::{Answer, Increase, PodSeries, Side, Window, windows};
use crate::workload::Kind;

/// New pods are told apart up to this number; more are put into as many groups, so that a record stays small.
const GROUPS: usize = 8;

/// The least share of the requests that old pods must serve to be compared with, as a part of those of the new pods.
const SERVING: f64 = 0.1;

/// Looks, with the time that each covers.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Counted {
    pub(super) looks: Vec<Look>,
    pub(super) times: Vec<(Timestamp, Timestamp)>,
}

impl Counted {
    /// How much of the time since `completed` they cover.
    pub(super) fn covered(&self, completed: Option<Timestamp>) -> SignedDuration {
        let Some(completed) = completed else { return SignedDuration::ZERO };
        self.times.iter().map(|(from, to)| (*to).max(completed).duration_since((*from).max(completed))).sum()
    }

    /// The new pods' and the others' counts from one look to another, both included.
    pub(super) fn between(&self, first: usize, last: usize) -> (Tally, Tally) {
        let looks = self.looks.get(first..=last.max(first)).unwrap_or_default();
        looks.iter().fold((Tally::default(), Tally::default()), |(new, old), look| {
            (look.new.iter().fold(new, |sum, one| sum.plus(*one)), old.plus(look.old))
        })
    }

    /// All of them.
    pub(super) fn total(&self) -> (Tally, Tally) {
        self.between(0, self.looks.len().saturating_sub(1))
    }
}

/// The windows of an answer.
pub(super) fn windows_of(answer: &Answer<Vec<PodSeries>>, measured: &Measured<'_>) -> Answer<Vec<Window>> {
    let series = answer.as_ref().map_err(Clone::clone)?;
    if measured.workload.kind == Kind::Deployment {
        return Ok(windows(series, |pod, at| side_of(measured, pod, at)));
    }
    let lives = lives(series, measured.since);
    let is_old = |pod: &str, at: Timestamp| lives.get(pod).is_some_and(|until| at <= *until);
    Ok(windows(series, |pod, at| side_of(measured, pod, at).or_else(|| is_old(pod, at).then_some(Side::Old))))
}

/// The same without those since the rollout that begin too early.
pub(super) fn windows_after(
    answer: &Answer<Vec<PodSeries>>,
    measured: &Measured<'_>,
    after: After,
) -> Answer<Vec<Window>> {
    let mut windows = windows_of(answer, measured)?;
    windows.retain(|window| window.to <= measured.since || after.is_none_or(|after| window.from >= after));
    Ok(windows)
}

/// The looks since the rollout began, oldest first.
///
/// The new pods are compared with the old ones while these serve, else with a window before the rollout, the first with the
/// first; each of those is used once.
pub(super) fn looks(windows: &[Window], since: Timestamp, tally: impl Fn(&Increase) -> Tally) -> Counted {
    looks_by(windows, since, &tally, &tally)
}

/// The same, with other things counted in the new pods than in those that they are compared with.
pub(super) fn looks_by(
    windows: &[Window],
    since: Timestamp,
    tally: impl Fn(&Increase) -> Tally,
    of_old: impl Fn(&Increase) -> Tally,
) -> Counted {
    let (before, after): (Vec<&Window>, Vec<&Window>) = windows.iter().partition(|window| window.to <= since);
    let names: BTreeSet<&str> =
        after.iter().flat_map(|window| of_side(window, Side::New)).map(|(name, _)| name).collect();
    let group: BTreeMap<&str, usize> =
        names.into_iter().enumerate().map(|(index, name)| (name, index % GROUPS)).collect();
    let groups = group.len().min(GROUPS);
    let mut counted = Counted::default();
    for (index, window) in after.into_iter().enumerate() {
        let mut new = vec![Tally::default(); groups];
        for (name, increase) in of_side(window, Side::New) {
            if let Some(sum) = group.get(name).and_then(|group| new.get_mut(*group)) {
                *sum = sum.plus(tally(increase));
            }
        }
        let total: f64 = new.iter().map(|one| one.all).sum();
        let beside = of_old(&window.old);
        let past = before.get(index).map(|window| of_old(&window.old)).filter(|past| past.all > 0.0);
        let (old, against) = match past {
            _ if beside.all > 0.0 && beside.all >= SERVING * total => (beside, Against::OldPods),
            Some(past) => (past, Against::TheTimeBefore),
            None => (Tally::default(), Against::Nothing),
        };
        counted.looks.push(Look { new, old, against, due: None });
        counted.times.push((window.from, window.to));
    }
    counted
}

fn of_side(window: &Window, wanted: Side) -> impl Iterator<Item = (&str, &Increase)> {
    window
        .pods
        .iter()
        .filter(move |(_, (side, _))| *side == wanted)
        .map(|(name, (_, increase))| (name.as_str(), increase))
}

/// What is known before the first look: how much the old pods scattered.
pub(super) fn plan(measured: &Measured<'_>, alpha: f64, tally: impl Fn(&Increase) -> Tally) -> Plan {
    let rows = past_by_pod(measured, tally);
    let totals: Vec<Tally> = rows.iter().map(|row| row.iter().copied().sum()).collect();
    Plan {
        looks: measured.looks,
        among_pods: among_pods(&rows).factor(),
        over_time: over_time(&totals).factor(),
        spare: spare(alpha),
    }
}

/// The long time before the rollout: a row per window, in it a tally per pod.
pub(super) fn past_by_pod(measured: &Measured<'_>, tally: impl Fn(&Increase) -> Tally) -> Vec<Vec<Tally>> {
    let found = windows(measured.past.unwrap_or_default(), |pod, at| side_of(measured, pod, at));
    let before: Vec<&Window> = found.iter().filter(|window| window.to <= measured.since).collect();
    let names: BTreeSet<&str> =
        before.iter().flat_map(|window| of_side(window, Side::Old)).map(|(name, _)| name).collect();
    before
        .iter()
        .map(|window| {
            let of = |name: &&str| window.pods.get(*name).map_or_else(Tally::default, |(_, increase)| tally(increase));
            names.iter().map(of).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn window(to: i64, pods: &[(&str, Side, f64)]) -> Window {
        let of = |good: f64| Increase { good, ..Increase::default() };
        let sum = |wanted: Side| of(pods.iter().filter(|(_, side, _)| *side == wanted).map(|(_, _, good)| good).sum());
        Window {
            from: at(to - 30),
            to: at(to),
            new: sum(Side::New),
            old: sum(Side::Old),
            pods: pods.iter().map(|(name, side, good)| ((*name).to_owned(), (*side, of(*good)))).collect(),
        }
    }

    fn requests(increase: &Increase) -> Tally {
        Tally::new(increase.requests(), increase.bad)
    }

    #[test]
    fn old_pods_are_compared_with_while_they_serve_and_the_time_before_afterwards() {
        let windows = [
            window(0, &[("o", Side::Old, 70.0)]),
            window(30, &[("o", Side::Old, 80.0)]),
            window(60, &[("o", Side::Old, 40.0), ("n", Side::New, 40.0)]),
            window(90, &[("o", Side::Old, 3.0), ("n", Side::New, 90.0)]),
            window(120, &[("n", Side::New, 90.0)]),
        ];
        let counted = looks(&windows, at(30), requests);
        let against: Vec<(f64, Against)> = counted.looks.iter().map(|look| (look.old.all, look.against)).collect();
        assert_eq!(
            against,
            [(40.0, Against::OldPods), (80.0, Against::TheTimeBefore), (0.0, Against::Nothing)],
            "each window before is used once"
        );
        assert_eq!(counted.covered(Some(at(75))), SignedDuration::from_secs(45));
    }

    #[test]
    fn many_pods_become_a_few_groups_that_stay_the_same() {
        let names: Vec<String> = (0..20).map(|index| format!("n{index:02}")).collect();
        let pods: Vec<(&str, Side, f64)> = names.iter().map(|name| (name.as_str(), Side::New, 1.0)).collect();
        let counted = looks(&[window(60, &pods), window(90, &pods[..1])], at(30), requests);
        assert_eq!(counted.looks[0].new.len(), GROUPS);
        assert_eq!(counted.total().0.all, 21.0);
        assert_eq!(counted.looks[1].new[0].all, 1.0);
    }

    #[test]
    fn where_nobody_was_asked_anything_there_is_nothing_to_compare_with() {
        let windows = [
            window(30, &[("o", Side::Old, 0.0)]),
            window(60, &[("o", Side::Old, 0.0), ("n", Side::New, 0.0)]),
            window(90, &[("n", Side::New, 90.0)]),
        ];
        let counted = looks(&windows, at(30), requests);
        let against: Vec<Against> = counted.looks.iter().map(|look| look.against).collect();
        assert_eq!(against, [Against::Nothing, Against::Nothing]);
    }
}
