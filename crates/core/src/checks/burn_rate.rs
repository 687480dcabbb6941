//! How fast the error budget of an SLO is used up, over a short and a long window at once.
//!
//! A burn rate of 1 spends exactly the budget (1 − objective) by the end of the objective's period. The long window says
//! that enough of it is gone to matter, the short one that it goes on (Google, "The Site Reliability Workbook", chapter
//! 5, "Multiwindow, Multi-Burn-Rate Alerts").
//!
//! An alert asks whether the budget burns; a rollback, since when. So what a window still holds of the time before the
//! rollout is taken out of it, and what burned too fast already before is not the release's. An SLO is the whole
//! service's: it cannot tell new pods from old ones.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::result::{blank, from_readings, worst};
use super::{CheckResult, Measured, Readings, Unit, Why, format_value};
use crate::analysis::{Quality, Reading};
use crate::policy::{BurnWindow, BurnWindows, Check};
use crate::sample::{Missing, Point};

/// Where the answer of a query stands in [`Measured::queries`]: the share of errors over a window.
pub fn key(check: &str, window: &str) -> String {
    format!("{check}/{window}")
}

/// Judges each pair of windows; the worst of them speaks. `budget` is the share of errors that the objective allows.
pub(super) fn evaluate(
    check: &Check,
    budget: f64,
    windows: &[BurnWindows],
    failures: u32,
    measured: &Measured<'_>,
) -> CheckResult {
    let results = windows.iter().map(|pair| one(check, budget, pair, failures, measured));
    worst(results).unwrap_or_else(|| blank(check, Unit::Plain))
}

fn one(check: &Check, budget: f64, pair: &BurnWindows, failures: u32, measured: &Measured<'_>) -> CheckResult {
    let of = |window: &BurnWindow| match measured.queries.get(&key(&check.name, &window.text)) {
        Some(Ok(points)) => Ok(Burn::of(points, window.length, budget, measured.since)),
        Some(Err(missing)) => Err(missing.clone()),
        None => Err(Missing::Empty),
    };
    let readings = of(&pair.short)
        .and_then(|short| Ok((short, of(&pair.long)?)))
        .map(|(short, long)| readings(pair.factor, &short, &long, measured.since));
    let result = from_readings(check, Unit::Plain, failures, measured, readings);
    let message = tell(&result, pair, failures).unwrap_or_else(|| result.message.clone());
    CheckResult { message, ..result }
}

/// The burn rates over one window.
struct Burn {
    length: SignedDuration,
    /// At the looks before the rollout, oldest first.
    before: Vec<(Timestamp, f64)>,
    /// At the looks since.
    since: Vec<(Timestamp, f64)>,
}

impl Burn {
    fn of(points: &[Point], length: SignedDuration, budget: f64, since: Timestamp) -> Self {
        let rates = points.iter().map(|point| (point.at, point.value / budget));
        let (before, since) = rates.partition(|(at, _)| *at <= since);
        Self { length, before, since }
    }

    /// When the rollout began.
    fn last_before(&self) -> Option<f64> {
        self.before.last().map(|(_, rate)| *rate)
    }

    /// The rates without what the window still holds of the time before the rollout, as if that were spread evenly over
    /// it: how fast it burned over the window had nothing burned before.
    fn own(&self, began: Timestamp) -> impl Iterator<Item = (Timestamp, f64)> {
        let before = self.last_before().unwrap_or_default();
        self.since.iter().map(move |(at, rate)| {
            let passed = at.duration_since(began).as_secs_f64() / self.length.as_secs_f64();
            (*at, (rate - before * (1.0 - passed).max(0.0)).max(0.0))
        })
    }
}

/// The slower of the two rates at each instant at which both are known.
fn both(
    short: impl Iterator<Item = (Timestamp, f64)>,
    long: impl Iterator<Item = (Timestamp, f64)>,
) -> impl Iterator<Item = (Timestamp, f64)> {
    let long: BTreeMap<Timestamp, f64> = long.collect();
    short.filter_map(move |(at, rate)| Some((at, rate.min(*long.get(&at)?))))
}

/// How fast it burned before the rollout: over both windows at its fastest, or over the short one at the end, for what has
/// just begun the long one does not show yet. `None` unless both are known.
fn baseline(short: &Burn, long: &Burn) -> Option<f64> {
    let (at_the_end, _) = (short.last_before()?, long.last_before()?);
    let fastest = both(short.before.iter().copied(), long.before.iter().copied()).map(|(_, rate)| rate);
    Some(fastest.fold(at_the_end, f64::max))
}

/// One reading per look since the rollout began at which both windows are known.
fn readings(factor: f64, short: &Burn, long: &Burn, began: Timestamp) -> Readings {
    let before = baseline(short, long);
    let mut from = began;
    let closed = both(short.own(began), long.own(began)).map(|(to, value)| {
        let quality = match before {
            _ if value <= factor => Quality::Fine,
            None => Quality::NoBaseline,
            Some(before) if before > factor => Quality::Common,
            Some(_) => Quality::Bad,
        };
        let reading = Reading { from, to, value, limit: factor, baseline: before, requests: None, bad: None, quality };
        from = to;
        reading
    });
    Readings { closed: closed.collect(), open_requests: None }
}

fn tell(result: &CheckResult, pair: &BurnWindows, failures: u32) -> Option<String> {
    let show = |value: f64| format_value(Unit::Plain, (value * 10.0).round() / 10.0);
    let burns = format!(
        "since the rollout the error budget burns at {} times the rate of the objective over {} and {}, against a limit \
         of {}",
        show(result.value?),
        pair.short.text,
        pair.long.text,
        show(pair.factor)
    );
    let before = result.baseline.map(|before| format!("; before the rollout at most {}", show(before)));
    let before = before.unwrap_or_default();
    Some(match &result.why {
        Why::WithinLimit => burns,
        Why::OutsideLimit => format!("{burns}, {} looks in a row{before}", result.in_a_row),
        Why::CountingUp => format!("{burns}, {} of {failures} looks in a row{before}", result.in_a_row),
        Why::ExternalCause => format!("{burns}{before}: not caused by this release"),
        Why::NoBaseline => format!("{burns}; nothing is known of the time before the rollout"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: f64 = 0.001;

    /// Shares of errors at looks of 30 s; the rollout began at second 30.
    fn found(short: &[f64], long: &[f64]) -> Vec<Reading> {
        let began = Timestamp::from_second(30).unwrap();
        let burn = |values: &[f64], minutes| {
            let at = |look: i64| Timestamp::from_second(look * 30).unwrap();
            let points: Vec<Point> =
                (0i64..).zip(values).map(|(look, value)| Point { at: at(look), value: *value }).collect();
            Burn::of(&points, SignedDuration::from_mins(minutes), BUDGET, began)
        };
        readings(14.4, &burn(short, 5), &burn(long, 60), began).closed
    }

    fn qualities(short: &[f64], long: &[f64]) -> Vec<Quality> {
        found(short, long).iter().map(|reading| reading.quality).collect()
    }

    #[test]
    fn only_both_windows_together_are_a_burn() {
        use Quality::{Bad, Fine};
        let short = [0.0, 0.0, 0.5, 0.5, 0.5, 0.01];
        let long = [0.0, 0.0, 0.01, 0.0144, 0.02, 0.02];
        assert_eq!(qualities(&short, &long), [Fine, Fine, Bad, Fine]);
    }

    #[test]
    fn what_burned_already_is_not_the_releases() {
        use Quality::Common;
        assert_eq!(qualities(&[0.0, 0.5, 0.6], &[0.0, 0.001, 0.1]), [Common], "it had just begun");
        assert_eq!(qualities(&[0.5, 0.0, 0.6], &[0.1, 0.1, 0.2]), [Common], "it had burned over both windows");
    }

    #[test]
    fn a_spike_that_was_over_before_the_rollout_excuses_nothing() {
        // One error of a hundred requests at night is such a spike; the long window knows what it is worth.
        assert_eq!(qualities(&[0.5, 0.0, 0.6], &[0.001, 0.001, 0.1]), [Quality::Bad]);
    }

    #[test]
    fn what_a_window_still_holds_of_the_time_before_is_taken_out_of_it() {
        // An outage of the old revision is over; the long window is full of it, and a small blip follows the rollout.
        let (short, mut long) = ([0.0, 0.0, 0.02, 0.02], [0.02, 0.02, 0.0201, 0.0203]);
        assert_eq!(qualities(&short, &long), [Quality::Fine; 2]);
        long[3] = 0.05;
        let worse = found(&short, &long);
        assert_eq!(worse[1].quality, Quality::Bad);
        // 20 − 0 by the short window, and 50 − 20 · (1 − 1/60) by the long one.
        assert!((worse[1].value - 20.0).abs() < 1e-9, "{}", worse[1].value);
        long[3] = 0.035;
        assert!((found(&short, &long)[1].value - (35.0 - 20.0 * 59.0 / 60.0)).abs() < 1e-9);
    }

    #[test]
    fn without_the_time_before_a_burn_cannot_be_the_releases() {
        let burn = |first: i64| {
            let at = |look: i64| Timestamp::from_second(look * 30).unwrap();
            let points: Vec<Point> = (first..3).map(|look| Point { at: at(look), value: 0.5 }).collect();
            Burn::of(&points, SignedDuration::from_mins(5), BUDGET, at(1))
        };
        for (short, long) in [(2, 2), (0, 2), (2, 0)] {
            let found = readings(14.4, &burn(short), &burn(long), Timestamp::from_second(30).unwrap());
            assert_eq!(found.closed[0].quality, Quality::NoBaseline, "first looks {short} and {long}");
        }
    }

    #[test]
    fn a_look_at_which_one_window_is_unknown_is_none() {
        assert_eq!(qualities(&[0.0, 0.0, 0.5, 0.5], &[0.0, 0.0, 0.5]), [Quality::Bad]);
    }
}
