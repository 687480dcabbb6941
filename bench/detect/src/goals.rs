//! What the rule must achieve, checked on every run.

use serde::Serialize;

use crate::Measured;
use crate::controls::{Found, Story};
use crate::grid::Cell;
use crate::lag::{self, Lag};
use crate::table::{Outcome, bounds};

/// A goal, and what was found.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Goal {
    /// The goal.
    pub(crate) goal: String,
    /// What was found.
    pub(crate) found: String,
    /// Whether that is enough.
    pub(crate) reached: bool,
}

/// Checks all of them. The product's outcome stands first in each list.
pub(crate) fn check(
    replays: &[&[Outcome]],
    recorded: &[Outcome],
    lags: &[Lag],
    without_fault: &[Measured],
    with_fault: &[Measured],
    without_old_pods: &[Found],
) -> Vec<Goal> {
    let mut goals: Vec<Goal> = replays.iter().filter_map(|outcomes| replayed(outcomes)).collect();
    goals.extend(own(recorded));
    goals.extend(lag::PLANNED.map(|(interval, _)| within(interval, lags.iter().find(|lag| lag.interval == interval))));
    goals.extend(false_alarms(without_fault));
    for (ratio, rps, least, most_polls) in [(20.0, 5.0, 0.99, None), (5.0, 50.0, 0.99, Some(7)), (10.0, 5.0, 0.9, None)]
    {
        goals.extend(power(with_fault, ratio, rps, least, most_polls));
    }
    goals.extend(held_back(without_old_pods));
    goals
}

/// A control that serves as much as its target holds the rollbacks of an outage back.
#[allow(clippy::cast_precision_loss, reason = "hundreds of runs")]
fn held_back(found: &[Found]) -> Option<Goal> {
    let is_it = |one: &&Found| one.cell.story == Story::Outage && one.cell.control == Some(one.cell.rps);
    let worst = found.iter().filter(is_it).max_by_key(|one| one.rolled_back)?;
    Some(Goal {
        goal: "an outage without old pods, and a control as busy as the target: at most 1 % rolled back".to_owned(),
        found: format!("{} of {} in the worst cell", worst.rolled_back, worst.runs),
        reached: worst.rolled_back as f64 <= 0.01 * worst.runs as f64,
    })
}

fn replayed(outcomes: &[Outcome]) -> Option<Goal> {
    let (ours, flagger) = (outcomes.first()?, outcomes.iter().find(|one| one.rule.starts_with("Flagger"))?);
    let delay = ours.delay(0.5);
    Some(Goal {
        goal: format!(
            "replay: at least {} caught (Flagger's), none rolled back wrongly, median of 3 min",
            flagger.caught
        ),
        found: format!("{} caught, {} wrong, median {delay:?} min", ours.caught, ours.wrong),
        reached: ours.caught >= flagger.caught && ours.wrong == 0 && delay <= Some(3),
    })
}

/// The best that a deployed detector of bad changes has published: FUNNEL (CoNEXT'15), 98.21 %.
const PRECISION: f64 = 0.982;

/// Own rollouts that say enough.
const LEAST: usize = 60;

fn own(outcomes: &[Outcome]) -> Option<Goal> {
    let ours = outcomes.first()?;
    let precision = ours.precision();
    Some(Goal {
        goal: format!("own rollouts: at least {LEAST} of them, a precision of at least {} %", 100.0 * PRECISION),
        found: format!(
            "{:.1} %, {} of {} bad ones caught, {} of {} good ones rolled back",
            100.0 * precision.unwrap_or(0.0),
            ours.caught,
            ours.bad,
            ours.wrong,
            ours.good
        ),
        reached: ours.bad + ours.good >= LEAST && precision >= Some(PRECISION),
    })
}

/// Within a look of the one that suffices. Rollouts that were not recorded reach nothing.
fn within(interval: i64, lag: Option<&Lag>) -> Goal {
    #[allow(clippy::cast_precision_loss, reason = "a few seconds")]
    let most = interval as f64;
    Goal {
        goal: format!("lag over the floor at a look each {interval} s: 95 % within {interval} s"),
        found: lag.map_or_else(|| "not recorded".to_owned(), |lag| format!("{:.2} s", lag.over[1])),
        reached: lag.is_some_and(|lag| lag.over[1] <= most),
    }
}

#[allow(clippy::cast_precision_loss, reason = "thousands of runs")]
fn false_alarms(cells: &[Measured]) -> Option<Goal> {
    let worst = cells.iter().filter_map(|cell| cell.acted.first()).max_by_key(|acted| acted.acts)?;
    let (rate, high) = (worst.acts as f64 / worst.runs as f64, bounds(worst.acts, worst.runs).1);
    Some(Goal {
        goal: "no fault: at most 0.1 % in every cell, 95 % bound at most 0.2 %".to_owned(),
        found: format!("{:.2} % in the worst cell, bound {:.2} %", 100.0 * rate, 100.0 * high),
        reached: rate <= 0.001 && high <= 0.002,
    })
}

#[allow(clippy::cast_precision_loss, reason = "thousands of runs")]
fn power(cells: &[Measured], ratio: f64, rps: f64, least: f64, most_polls: Option<usize>) -> Option<Goal> {
    let is_it = |cell: &Cell| {
        cell.ratio == ratio && cell.rps == rps && cell.errors == 0.002 && cell.onset == 0 && cell.scatter == 1.0
    };
    let acted = cells.iter().find(|measured| is_it(&measured.cell))?.acted.first()?;
    let rate = acted.acts as f64 / acted.runs as f64;
    let within = most_polls.map_or_else(String::new, |polls| format!(", median of {polls} polls"));
    Some(Goal {
        goal: format!("errors x{ratio} of 0.2 % at {rps}/s: at least {} % caught{within}", 100.0 * least),
        found: format!("{:.1} %, median {:?}", 100.0 * rate, acted.delays[0]),
        reached: rate >= least && most_polls.is_none_or(|polls| acted.delays[0] <= Some(polls)),
    })
}
