//! Rollouts that are complete before anything happens: no old pods to compare with, with and without a control.
//!
//! Whole checks on counters of pods, as the operator judges them, look by look.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;
use snapback_core::checks::{Control, Measured, Verdict, evaluate_beside};
use snapback_core::fingerprint::Fingerprint;
use snapback_core::ids::{ReplicaSetUid, WorkloadUid};
use snapback_core::policy::{Analysis, Check, Rule, Severity};
use snapback_core::sample::{Counts, Missing, PodSeries};
use snapback_core::workload::{DEFAULT_HISTORY, Kind, Replacing, Revision, Said, Workload};

use crate::grid::{POLLS, STEP, count};
use crate::product::{ALPHA, ERRORS};

/// Pods of each workload.
const PODS: usize = 3;

/// Share of requests that fail when all is well.
const NORMAL: f64 = 0.002;

/// Share that fails while the dependency is down, or in a bad release.
const OUTAGE: f64 = 0.1;
const FAULT: f64 = 20.0 * NORMAL;

/// What happens in the middle third of the looks, or from the beginning on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Story {
    /// Something fails that the target and its control both need.
    Outage,
    /// The release is bad, and its control well.
    BadRelease,
}

/// One cell.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cell {
    pub(crate) story: Story,
    /// Requests per second of the target.
    pub(crate) rps: f64,
    /// Those of the control; `None` without one.
    pub(crate) control: Option<f64>,
}

/// What came of the rollouts of a cell.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Found {
    pub(crate) cell: Cell,
    pub(crate) runs: usize,
    pub(crate) rolled_back: usize,
    /// Looks from the beginning of the fault to the breach, of those that were rolled back.
    pub(crate) median: Option<usize>,
}

/// All cells.
pub(crate) fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for story in [Story::Outage, Story::BadRelease] {
        for rps in [5.0, 50.0] {
            for control in [None, Some(rps), Some(rps / 10.0)] {
                cells.push(Cell { story, rps, control });
            }
        }
    }
    cells
}

impl Cell {
    /// Simulates rollouts, each with a random stream of its own.
    pub(crate) fn run(self, index: u64, runs: usize, seed: u64) -> Found {
        let mut delays: Vec<usize> = (0..runs)
            .into_par_iter()
            .filter_map(|run| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(index << 32 | run as u64);
                self.breached(&mut rng)
            })
            .collect();
        delays.sort_unstable();
        let median = delays.get(delays.len().div_ceil(2).saturating_sub(1)).copied();
        Found { cell: self, runs, rolled_back: delays.len(), median }
    }

    fn breached(self, rng: &mut ChaCha8Rng) -> Option<usize> {
        let onset = if self.story == Story::Outage { POLLS / 3 } else { 0 };
        let during = |look: usize| (POLLS / 3..2 * POLLS / 3).contains(&look);
        let target = |look: Option<usize>| match (self.story, look) {
            (Story::Outage, Some(look)) if during(look) => OUTAGE,
            (Story::BadRelease, Some(_)) => FAULT,
            _ => NORMAL,
        };
        let beside = |look: Option<usize>| match (self.story, look) {
            (Story::Outage, Some(look)) if during(look) => OUTAGE,
            _ => NORMAL,
        };
        let series = counters(&["web-v1", "web-v2"], self.rps, target, rng);
        let control = self.control.map(|rps| counters(&["payments-7d9f8c6b5b"; 2], rps, beside, rng));
        (onset..POLLS).find(|look| is_breached(&series, control.as_deref(), *look)).map(|look| look + 1 - onset)
    }
}

/// Counters of pods of one ReplicaSet before the rollout, and of one since. `rate` is the share of failures in a look, or
/// before the first.
fn counters(
    [before, since]: &[&str; 2],
    rps: f64,
    rate: impl Fn(Option<usize>) -> f64,
    rng: &mut ChaCha8Rng,
) -> Vec<PodSeries> {
    let mut found: BTreeMap<(String, bool), PodSeries> = BTreeMap::new();
    #[allow(clippy::cast_precision_loss, reason = "a few pods")]
    let by_pod = rps * STEP / PODS as f64;
    for instant in 0..=2 * POLLS {
        let look = instant.checked_sub(POLLS + 1);
        let set = if look.is_some() { since } else { before };
        for pod in 0..PODS {
            let bad = count(by_pod * rate(look), 1.0, rng);
            for (is_bad, increase) in [(true, bad), (false, count(by_pod * (1.0 - rate(look)), 1.0, rng))] {
                let (counts, key) = if is_bad { (Counts::Bad, "500") } else { (Counts::Good, "200") };
                let name = format!("{set}-bcdf{pod}");
                let fresh =
                    || PodSeries { pod: name.clone(), counts, key: key.to_owned(), points: Vec::with_capacity(POLLS) };
                let one = found.entry((name.clone(), is_bad)).or_insert_with(fresh);
                let value = one.points.last().map_or(0.0, |(_, value)| *value) + increase;
                one.points.push((at(instant), value));
            }
        }
    }
    found.into_values().collect()
}

/// The instants: as many looks before the rollout as since.
fn at(instant: usize) -> Timestamp {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a few looks")]
    let second = (instant as f64 * STEP) as i64;
    Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Whether the check of errors is breached at the end of a look, by what was counted up to it.
fn is_breached(series: &[PodSeries], control: Option<&[PodSeries]>, look: usize) -> bool {
    let now = at(POLLS + 1 + look);
    let known = |series: &[PodSeries]| {
        let until = |one: &PodSeries| {
            let points: Vec<_> = one.points.iter().take_while(|(at, _)| *at <= now).copied().collect();
            (!points.is_empty()).then(|| PodSeries { points, ..one.clone() })
        };
        Ok(series.iter().filter_map(until).collect())
    };
    let rule = Rule::ErrorRate { max: ERRORS.max, max_ratio: ERRORS.ratio, floor: ERRORS.floor };
    let check = Check { name: "errors".to_owned(), severity: Severity::Critical, rule };
    let measured = Measured {
        revision: &Fingerprint::recorded("v2"),
        known_good: Some(&Fingerprint::recorded("v1")),
        since: at(POLLS),
        completed: Some(at(POLLS)),
        workload: &workload(),
        requests: &known(series),
        latencies: &Err(Missing::Empty),
        past: Some(series),
        looks: u32::try_from(POLLS).unwrap_or(u32::MAX),
        queries: &BTreeMap::new(),
        minimum_requests: 50,
    };
    let controls: Vec<Control> =
        control.map(|series| Control::new("payments", known(series), Err(Missing::Empty))).into_iter().collect();
    let results = evaluate_beside(&[check], Analysis::Sequential { false_alarms: ALPHA }, &measured, &controls);
    results.iter().any(|result| result.verdict == Verdict::Breached)
}

/// The target, as far as its checks look at it: its revisions.
fn workload() -> Workload {
    let revision = |version: &str| Revision {
        fingerprint: Fingerprint::recorded(version),
        name: format!("web-{version}"),
        uid: ReplicaSetUid::new(version),
        images: Vec::new(),
        called: Vec::new(),
        number: 0,
        created: Timestamp::UNIX_EPOCH,
        desired: 0,
        replicas: 0,
        available: 0,
        observed: true,
    };
    Workload {
        kind: Kind::Deployment,
        name: "web".to_owned(),
        uid: WorkloadUid::new("web"),
        created: Timestamp::UNIX_EPOCH,
        generation: 1,
        observed_generation: 1,
        live: Fingerprint::recorded("v2"),
        images: Vec::new(),
        called: Vec::new(),
        replicas: 3,
        paused: false,
        pause_is_applied: false,
        frozen: None,
        updated: 3,
        available: 3,
        total: 3,
        revision_history_limit: DEFAULT_HISTORY,
        progress_deadline_exceeded: None,
        revisions: vec![revision("v1"), revision("v2")],
        pods: Vec::new(),
        owners: Vec::new(),
        helm_release: None,
        delivery: snapback_core::gitops::Delivery::default(),
        rolling: None,
        replacing: Replacing::default(),
        said: Said::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rolled_back(story: Story, control: Option<f64>) -> usize {
        Cell { story, rps: 50.0, control }.run(1, 20, 7).rolled_back
    }

    #[test]
    fn an_outage_looks_like_the_release_without_a_control_and_a_bad_release_does_with_one() {
        assert_eq!(rolled_back(Story::Outage, None), 20);
        assert_eq!(rolled_back(Story::Outage, Some(50.0)), 0);
        assert_eq!(rolled_back(Story::BadRelease, Some(50.0)), 20);
    }
}
