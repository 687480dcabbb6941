//! The project's own rollouts, recorded from real pods and a real Prometheus, judged again.
//!
//! Snapback's verdict is that of the operator's own code, from raw counters and pods to the decision, under the default
//! policy on the clock of the rollout that is meant. The rivals see the same windows, from the first in which a new pod was
//! scraped on.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use rayon::prelude::*;
use serde::Serialize;
use snapback_core::analysis::sequential::Tally;
use snapback_core::checks::{CheckResult, Measured, evaluate_all, made_by};
use snapback_core::policy::Policy;
use snapback_core::sample::{Answer, Counts, Increase, Missing, PodSeries, Side, windows};
use snapback_core::watch::{Arrival, decide, observe};
use snapback_core::workload::Workload;
use snapback_recorded::{Clock, Label, Rollout};

use crate::product;
use crate::rivals::{Poll, Rule};
use crate::table::Outcome;

/// The long time before: looks in one of its steps, and its steps, as the operator asks for them.
const PAST_STEP: i64 = 10;
const PAST_STEPS: i64 = 72;

/// A rollout with its series.
pub(crate) struct Case {
    pub(crate) rollout: Rollout,
    clock: Clock,
    requests: Vec<PodSeries>,
    latencies: Vec<PodSeries>,
    /// The second of the first look.
    seen: i64,
    /// The second from which on the new template is in the facts: that of the start, or the next.
    begins: i64,
}

/// What Snapback made of a rollout.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Acted {
    /// The second at whose look it was decided.
    pub(crate) second: i64,
    /// The checks that decided.
    pub(crate) checks: Vec<String>,
}

/// What became of one rollout, for the results.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Told {
    id: String,
    bad: bool,
    /// The checks by which Snapback decided.
    checks: Vec<String>,
    /// Looks from the fault to its decision.
    delay: Option<i64>,
}

/// One scenario under each rule: acts, and of how many rollouts.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Scenario {
    pub(crate) scenario: String,
    pub(crate) bad: bool,
    pub(crate) rollouts: usize,
    pub(crate) acts: Vec<usize>,
}

/// Reads all recordings of a folder.
///
/// # Errors
/// A file that cannot be read, or is not of this shape.
pub(crate) fn read(folder: &Path) -> Result<Vec<Case>> {
    Rollout::read_all(folder)?.into_iter().map(Case::new).collect()
}

impl Case {
    fn new(rollout: Rollout) -> Result<Self> {
        // Any time will do.
        let clock = rollout.clock(Timestamp::from_second(1_000_000_000)?);
        let (requests, latencies) = rollout.series(&clock).with_context(|| rollout.plan.id.clone())?;
        let live = |second: i64| rollout.facts.at(second, &clock).map(|workload| workload.live);
        let seen = rollout.facts.first().with_context(|| format!("{}: nobody looked", rollout.plan.id))?;
        let old = live(seen);
        let begins = (0..=rollout.last).find(|second| live(*second) != old);
        let begins = begins.with_context(|| format!("{}: its template never changes", rollout.plan.id))?;
        Ok(Self { rollout, clock, requests, latencies, seen, begins })
    }

    pub(crate) fn is_bad(&self) -> bool {
        self.rollout.plan.label == Label::Bad
    }

    fn workload(&self, second: i64) -> Option<Workload> {
        self.rollout.facts.at(if second < 0 { second } else { second.max(self.begins) }, &self.clock)
    }

    /// The seconds of the looks: at the start, and then whenever there is something new to ask for.
    fn looks(&self) -> impl Iterator<Item = i64> + use<> {
        std::iter::once(0).chain(self.rollout.seconds().filter(|second| *second > 0))
    }

    /// The second at which the fault begins: as planned, else with the first new pod that is ready, or, where pods do not
    /// come up, with the first new pod.
    pub(crate) fn fault(&self) -> i64 {
        let fault = self.rollout.plan.fault.clone().unwrap_or_default();
        fault.from.unwrap_or_else(|| {
            let shows = |second: &i64| {
                self.workload(*second).is_some_and(|workload| {
                    workload.pods_of(&workload.live).any(|pod| pod.ready || fault.is_at_start())
                })
            };
            self.looks().find(shows).unwrap_or(0)
        })
    }

    /// What is known of a track of series at a look.
    fn known(&self, series: &[PodSeries], policy: &Policy, second: i64) -> Answer<Vec<PodSeries>> {
        let first = -i64::from(policy.soak.longest_looks()) * self.rollout.interval;
        let (from, to) = (self.clock.at(first), self.clock.at(second));
        let cut = |one: &PodSeries| {
            let points: Vec<_> = one.points.iter().filter(|(at, _)| (from..=to).contains(at)).copied().collect();
            (!points.is_empty()).then(|| PodSeries { points, ..one.clone() })
        };
        let found: Vec<PodSeries> = series.iter().filter_map(cut).collect();
        if found.iter().any(|one| one.counts != Counts::Scraped) { Ok(found) } else { Err(Missing::Empty) }
    }

    /// The long time before, in longer steps.
    fn past(&self) -> Vec<PodSeries> {
        let step = PAST_STEP * self.rollout.interval;
        let instants: BTreeSet<Timestamp> = (0..=PAST_STEPS).map(|index| self.clock.at(-index * step)).collect();
        let all = self.requests.iter().chain(&self.latencies).filter(|one| one.counts != Counts::Scraped);
        let coarse = all.filter_map(|one| {
            let points: Vec<_> = one.points.iter().filter(|(at, _)| instants.contains(at)).copied().collect();
            (!points.is_empty()).then(|| PodSeries { points, ..one.clone() })
        });
        coarse.collect()
    }

    /// Judges it as the operator would, look by look, until it decides. `seen` sees each look's results.
    pub(crate) fn judge(&self, policy: &Policy, mut seen: impl FnMut(&[CheckResult])) -> Option<Acted> {
        let (mut state, _) = observe(None, &self.workload(self.seen)?, &Arrival::Before, self.clock.at(self.seen));
        let past = self.past();
        for second in self.looks() {
            let (now, workload) = (self.clock.at(second), self.workload(second)?);
            let (target, _) = observe(Some(&state), &workload, &Arrival::Before, now);
            let rollout = target.rollout.clone()?;
            let measured = Measured {
                revision: &target.current.fingerprint,
                known_good: target.known_good.as_ref().map(|good| &good.fingerprint),
                since: rollout.started,
                completed: rollout.completed,
                workload: &workload,
                requests: &self.known(&self.requests, policy, second),
                latencies: &self.known(&self.latencies, policy, second),
                past: Some(&past),
                looks: policy.soak.looks(),
                queries: &std::collections::BTreeMap::new(),
                minimum_requests: policy.minimum_requests,
            };
            let checks = evaluate_all(&policy.checks, policy.analysis, &measured);
            seen(&checks);
            let decision = decide(policy, target, &workload, &checks, None, now);
            if let Some(order) = decision.order {
                return Some(Acted { second, checks: order.breached });
            }
            state = decision.state;
        }
        None
    }

    /// The windows as the rivals poll them, and the second of the first poll.
    fn polls(&self) -> (i64, Vec<Poll>) {
        let Some(workload) = self.workload(self.rollout.last) else { return (0, Vec::new()) };
        let side = |pod: &str, _| {
            let set = workload.revisions.iter().find(|revision| made_by(&revision.name, pod))?;
            Some(if set.fingerprint == workload.live { Side::New } else { Side::Old })
        };
        let up = |at: Timestamp| {
            let new = self.requests.iter().filter(|one| side(&one.pod, at) == Some(Side::New));
            new.filter(|one| one.counts == Counts::Scraped)
                .any(|one| one.points.iter().any(|(when, reached)| *when == at && *reached > 0.0))
        };
        let seen = self.looks().skip(1).find(|second| up(self.clock.at(*second - self.rollout.interval)));
        let first = seen.unwrap_or(self.rollout.interval);
        let since = self.clock.at(first - self.rollout.interval);
        let tally = |increase: &Increase| Tally::new(increase.requests(), increase.bad);
        let windows = windows(&self.requests, side);
        let polls = windows
            .iter()
            .filter(|window| window.from >= since)
            .map(|window| Some((tally(&window.new), tally(&window.old))));
        (first, polls.collect())
    }

    fn by_rival(&self, rule: &dyn Rule) -> Option<i64> {
        let (first, polls) = self.polls();
        let poll = i64::try_from(rule.acts(&polls)?).ok()?;
        Some(first + poll * self.rollout.interval)
    }

    /// Looks from the fault to an act.
    fn delay(&self, second: i64) -> i64 {
        (second - self.fault()).div_euclid(self.rollout.interval)
    }
}

/// What each rule makes of the rollouts: the product's first.
pub(crate) fn run(cases: &[Case], rivals: &[Box<dyn Rule>]) -> (Vec<Outcome>, Vec<Scenario>, Vec<Told>) {
    let policy = product::policy();
    let found: Vec<(Vec<Option<i64>>, Told)> = cases
        .par_iter()
        .map(|case| {
            let acted = case.judge(&policy, |_| ());
            let mut seconds = vec![acted.as_ref().map(|acted| acted.second)];
            seconds.extend(rivals.iter().map(|rule| case.by_rival(rule.as_ref())));
            let told = Told {
                id: case.rollout.plan.id.clone(),
                bad: case.is_bad(),
                delay: acted.as_ref().map(|acted| case.delay(acted.second)),
                checks: acted.map(|acted| acted.checks).unwrap_or_default(),
            };
            (seconds, told)
        })
        .collect();
    let names = std::iter::once("Snapback, default policy".to_owned()).chain(rivals.iter().map(|rule| rule.name()));
    let mut outcomes: Vec<Outcome> = names.map(Outcome::new).collect();
    let mut scenarios: Vec<Scenario> = Vec::new();
    for (case, (seconds, _)) in cases.iter().zip(&found) {
        let (name, bad) = (&case.rollout.plan.scenario, case.is_bad());
        let index = scenarios.iter().position(|one| one.scenario == *name && one.bad == bad).unwrap_or_else(|| {
            let acts = vec![0; seconds.len()];
            scenarios.push(Scenario { scenario: name.clone(), bad, rollouts: 0, acts });
            scenarios.len() - 1
        });
        scenarios[index].rollouts += 1;
        for (rule, second) in seconds.iter().enumerate() {
            let delay = second.map(|second| case.delay(second));
            match delay.map(usize::try_from) {
                // Before its fault a bad one is as good as any; a good one is good at any time.
                Some(Err(_)) if bad => outcomes[rule].early(),
                Some(delay) => outcomes[rule].add(bad, Some(delay.unwrap_or_default())),
                None => outcomes[rule].add(bad, None),
            }
            scenarios[index].acts[rule] += usize::from(delay.is_some_and(|delay| delay >= 0 || !bad));
        }
    }
    scenarios.sort_by_key(|one| !one.bad);
    (outcomes, scenarios, found.into_iter().map(|(_, told)| told).collect())
}

#[cfg(test)]
mod tests;
