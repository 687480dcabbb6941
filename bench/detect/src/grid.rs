//! Simulated rollouts over a grid of loads, error rates, faults and disturbances.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma, Poisson};
use rayon::prelude::*;
use serde::Serialize;
use snapback_core::analysis::sequential::{Against, Look, Plan, Tally, among_pods};

use crate::product;
use crate::rivals::{Poll, Rule};

/// Polls of a rollout, and of the time before it.
pub(crate) const POLLS: usize = 30;
const BEFORE: usize = 72;
const COARSE: f64 = 10.0;

/// Seconds between two polls.
pub(crate) const STEP: f64 = 30.0;

/// Pods of each revision: half of all are new.
const PODS: usize = 3;

/// What disturbs a rollout, apart from its own fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Disturbance {
    /// Nothing.
    None,
    /// A dependency fails: a tenth of all requests, in both revisions, in the middle third.
    Outage,
    /// The load swings by 30 %.
    Diurnal,
    /// The metrics source is down in the middle third.
    MetricsOutage,
    /// The counters of every pod are reset in the middle: what came since the poll before is lost.
    CounterReset,
}

impl Disturbance {
    /// All of them.
    pub(crate) const ALL: [Self; 5] =
        [Self::None, Self::Outage, Self::Diurnal, Self::MetricsOutage, Self::CounterReset];
}

/// One cell of the grid.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cell {
    /// Requests per second, of both revisions together.
    pub(crate) rps: f64,
    /// Share of requests that fail when all is well.
    pub(crate) errors: f64,
    /// How many times that in the new pods.
    pub(crate) ratio: f64,
    /// The poll at which the fault begins.
    pub(crate) onset: usize,
    /// How much more than by chance failures scatter.
    pub(crate) scatter: f64,
    /// What disturbs.
    pub(crate) disturbance: Disturbance,
}

/// What a rule did in a cell.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Acted {
    /// The rule.
    pub(crate) rule: String,
    /// Rollouts that it acted on.
    pub(crate) acts: usize,
    /// Rollouts.
    pub(crate) runs: usize,
    /// Polls from the fault to the act: the median and nine tenths.
    pub(crate) delays: [Option<usize>; 2],
}

struct Rollout {
    before: Vec<Vec<Tally>>,
    looks: Vec<Look>,
    polls: Vec<Poll>,
}

/// A count with the mean `mean` that scatters `scatter` times as much as a Poisson one: a Poisson count whose mean is drawn
/// from a gamma distribution.
pub(crate) fn count(mean: f64, scatter: f64, rng: &mut ChaCha8Rng) -> f64 {
    if mean <= 0.0 {
        return 0.0;
    }
    let mean = if scatter > 1.0 {
        Gamma::new(mean / (scatter - 1.0), scatter - 1.0).map_or(mean, |gamma| gamma.sample(rng))
    } else {
        mean
    };
    if mean > 0.0 { Poisson::new(mean).map_or(0.0, |poisson| poisson.sample(rng)) } else { 0.0 }
}

impl Cell {
    fn draw(&self, rng: &mut ChaCha8Rng) -> Rollout {
        #[allow(clippy::cast_precision_loss, reason = "a few pods")]
        let by_pod = self.rps * STEP / (2 * PODS) as f64;
        let pods = |load: f64, rate: f64, pods: usize, rng: &mut ChaCha8Rng| -> Vec<Tally> {
            (0..pods)
                .map(|_| {
                    let bad = count(by_pod * load * rate, self.scatter, rng);
                    Tally::new(count(by_pod * load * (1.0 - rate), 1.0, rng) + bad, bad)
                })
                .collect()
        };
        let before = (0..BEFORE).map(|_| pods(COARSE, self.errors, 2 * PODS, rng)).collect();
        let (mut looks, mut polls) = (Vec::new(), Vec::new());
        for poll in 0..POLLS {
            let middle = (POLLS / 3..2 * POLLS / 3).contains(&poll);
            #[allow(clippy::cast_precision_loss, reason = "a few polls")]
            let load = match self.disturbance {
                Disturbance::Diurnal => 1.0 + 0.3 * (3.0 * poll as f64 / POLLS as f64).sin(),
                Disturbance::CounterReset if poll == POLLS / 2 => rng.random_range(0.0..1.0),
                _ => 1.0,
            };
            let common = if self.disturbance == Disturbance::Outage && middle { 0.1 } else { self.errors };
            let own = if poll >= self.onset { (self.errors * self.ratio).max(common).min(1.0) } else { common };
            let (new, old) = (pods(load, own, PODS, rng), pods(load, common, PODS, rng));
            if self.disturbance == Disturbance::MetricsOutage && middle {
                polls.push(None);
                continue;
            }
            let total = |pods: &[Tally]| pods.iter().copied().sum::<Tally>();
            polls.push(Some((total(&new), total(&old))));
            looks.push((poll, Look { old: total(&old), new, against: Against::OldPods, due: Some(0.5) }));
        }
        let looks = looks.into_iter().map(|(_, look)| look).collect();
        Rollout { before, looks, polls }
    }

    /// Runs every rule on the same rollouts. Each rollout has a random stream of its own, so the table does not depend on
    /// the number of threads.
    pub(crate) fn run(&self, index: u64, runs: usize, seed: u64, rivals: &[Box<dyn Rule>]) -> Vec<Acted> {
        let acts: Vec<Vec<Option<usize>>> = (0..runs)
            .into_par_iter()
            .map(|run| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(index << 32 | run as u64);
                let rollout = self.draw(&mut rng);
                let mut acts = vec![by_product(&rollout)];
                acts.extend(rivals.iter().map(|rule| rule.acts(&rollout.polls)));
                acts
            })
            .collect();
        let names = std::iter::once("Snapback".to_owned()).chain(rivals.iter().map(|rule| rule.name()));
        names
            .enumerate()
            .map(|(rule, name)| {
                let mut delays: Vec<usize> =
                    acts.iter().filter_map(|acts| acts[rule]).map(|at| (at + 1).saturating_sub(self.onset)).collect();
                delays.sort_unstable();
                let quantile =
                    |tenths: usize| delays.get((delays.len() * tenths).div_ceil(10).saturating_sub(1)).copied();
                Acted { rule: name, acts: delays.len(), runs, delays: [quantile(5), quantile(9)] }
            })
            .collect()
    }
}

fn by_product(rollout: &Rollout) -> Option<usize> {
    let plan = Plan {
        looks: u32::try_from(POLLS).unwrap_or(u32::MAX),
        among_pods: among_pods(&rollout.before).factor(),
        over_time: 1.0,
        spare: product::spare(),
    };
    let requests: Vec<Vec<Tally>> =
        rollout.before.iter().map(|pods| pods.iter().map(|one| Tally::new(1.0, one.all)).collect()).collect();
    let traffic = Plan { among_pods: among_pods(&requests).factor(), ..plan };
    product::judge(&rollout.looks, &plan, Some(&traffic))
}

/// Loads, rates and disturbances without a fault.
pub(crate) fn null() -> Vec<Cell> {
    let mut cells = Vec::new();
    for rps in [0.5, 5.0, 50.0, 500.0] {
        for errors in [0.0001, 0.002, 0.02] {
            for scatter in [1.0, 3.0] {
                for disturbance in Disturbance::ALL {
                    cells.push(Cell { rps, errors, ratio: 1.0, onset: 0, scatter, disturbance });
                }
            }
        }
    }
    cells
}

/// Loads and faults.
pub(crate) fn faults() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (rps, errors) in
        [0.5, 5.0, 50.0, 500.0].into_iter().flat_map(|rps| [0.0001, 0.002, 0.02].map(|errors| (rps, errors)))
    {
        for ratio in [2.0, 5.0, 10.0, 20.0] {
            for onset in [0, POLLS / 2] {
                for scatter in [1.0, 3.0] {
                    cells.push(Cell { rps, errors, ratio, onset, scatter, disturbance: Disturbance::None });
                }
            }
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    const CELL: Cell =
        Cell { rps: 50.0, errors: 0.002, ratio: 1.0, onset: 0, scatter: 1.0, disturbance: Disturbance::None };

    fn acts(cell: Cell) -> usize {
        cell.run(7, 100, 1, &[])[0].acts
    }

    #[test]
    fn a_good_release_is_left_alone_whatever_disturbs_it() {
        for disturbance in Disturbance::ALL {
            for scatter in [1.0, 3.0] {
                assert_eq!(acts(Cell { scatter, disturbance, ..CELL }), 0, "{disturbance:?}, scatter {scatter}");
            }
        }
    }

    #[test]
    fn a_bad_release_is_caught() {
        assert_eq!(acts(Cell { ratio: 5.0, ..CELL }), 100);
        assert!(acts(Cell { ratio: 20.0, rps: 5.0, ..CELL }) >= 98);
    }

    #[test]
    fn the_same_seed_gives_the_same_rollouts_in_any_order() {
        let cell = Cell { ratio: 10.0, rps: 5.0, ..CELL };
        assert_eq!(format!("{:?}", cell.run(3, 50, 9, &[])), format!("{:?}", cell.run(3, 50, 9, &[])));
        assert_ne!(format!("{:?}", cell.run(3, 50, 9, &[])), format!("{:?}", cell.run(3, 50, 10, &[])));
    }
}
