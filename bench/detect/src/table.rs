//! What a rule achieved, and how it is shown.

use crate::Measured;
use crate::controls::Found;
use crate::grid::{Acted, Disturbance};
use crate::lag::Lag;
use crate::recorded::Scenario;
use serde::Serialize;
use serde::ser::SerializeStruct;
use statrs::distribution::{Beta, ContinuousCDF};

/// What a rule made of a set of rollouts.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// The rule.
    pub(crate) rule: String,
    /// Bad rollouts.
    pub(crate) bad: usize,
    /// Bad rollouts that it acted on.
    pub(crate) caught: usize,
    /// Good rollouts.
    pub(crate) good: usize,
    /// Good rollouts that it acted on.
    pub(crate) wrong: usize,
    /// Bad rollouts that it acted on before they were bad; not among the caught ones.
    early: usize,
    /// Polls from the fault to the act, of the bad ones it acted on; sorted.
    delays: Vec<usize>,
}

impl Outcome {
    /// Nothing seen yet.
    pub(crate) fn new(rule: String) -> Self {
        Self { rule, bad: 0, caught: 0, good: 0, wrong: 0, early: 0, delays: Vec::new() }
    }

    /// Adds a rollout: whether it was bad, and how many polls after the fault the rule acted.
    pub(crate) fn add(&mut self, bad: bool, delay: Option<usize>) {
        if bad {
            self.bad += 1;
            self.caught += usize::from(delay.is_some());
            self.delays.extend(delay);
            self.delays.sort_unstable();
        } else {
            self.good += 1;
            self.wrong += usize::from(delay.is_some());
        }
    }

    /// Adds a bad rollout that the rule acted on before its fault began.
    pub(crate) fn early(&mut self) {
        self.bad += 1;
        self.early += 1;
    }

    /// A quantile (0 to 1) of the delay, in polls.
    pub(crate) fn delay(&self, share: f64) -> Option<usize> {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a few thousand"
        )]
        let rank = (share * self.delays.len() as f64).ceil().max(1.0) as usize - 1;
        self.delays.get(rank).copied()
    }

    /// Right ones among all acts, 0 to 1.
    #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
    pub(crate) fn precision(&self) -> Option<f64> {
        let acts = self.caught + self.wrong + self.early;
        (acts > 0).then(|| self.caught as f64 / acts as f64)
    }
}

impl Serialize for Outcome {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Outcome", 10)?;
        fields.serialize_field("rule", &self.rule)?;
        fields.serialize_field("bad", &self.bad)?;
        fields.serialize_field("caught", &self.caught)?;
        fields.serialize_field("good", &self.good)?;
        fields.serialize_field("wrong", &self.wrong)?;
        fields.serialize_field("early", &self.early)?;
        fields.serialize_field("wrongBounds", &bounds(self.wrong, self.good))?;
        fields.serialize_field("medianDelay", &self.delay(0.5))?;
        fields.serialize_field("p90Delay", &self.delay(0.9))?;
        fields.serialize_field("precision", &self.precision())?;
        fields.end()
    }
}

/// The 95 % bounds of a share by Clopper and Pearson (1934).
#[allow(clippy::cast_precision_loss, reason = "a few thousand")]
pub(crate) fn bounds(hits: usize, of: usize) -> (f64, f64) {
    let (k, n) = (hits as f64, of as f64);
    let quantile = |a: f64, b: f64, p: f64| Beta::new(a, b).map_or(f64::NAN, |beta| beta.inverse_cdf(p));
    let low = if hits == 0 { 0.0 } else { quantile(k, n - k + 1.0, 0.025) };
    let high = if hits >= of { 1.0 } else { quantile(k + 1.0, n - k, 0.975) };
    (low, high)
}

/// A share with its bounds: `3/149 (2.0 %, 0.4-5.8 %)`.
#[allow(clippy::cast_precision_loss, reason = "a few thousand")]
pub(crate) fn share(hits: usize, of: usize) -> String {
    if of == 0 {
        return "-".to_owned();
    }
    let (low, high) = bounds(hits, of);
    format!("{hits}/{of} ({:.1} %, {:.1}-{:.1} %)", 100.0 * hits as f64 / of as f64, 100.0 * low, 100.0 * high)
}

/// Prints what rules made of labelled rollouts.
pub(crate) fn print(outcomes: &[Outcome]) {
    let number = |delay: Option<usize>| delay.map_or_else(|| "-".to_owned(), |delay| delay.to_string());
    println!("  {:34} {:28} {:28} {:>6} {:>4}  precision", "rule", "bad caught", "good rolled back", "median", "p90");
    for one in outcomes {
        println!(
            "  {:34} {:28} {:28} {:>6} {:>4}  {}",
            one.rule,
            share(one.caught, one.bad),
            share(one.wrong, one.good),
            number(one.delay(0.5)),
            number(one.delay(0.9)),
            one.precision().map_or_else(|| "-".to_owned(), |precision| format!("{:.1} %", 100.0 * precision)),
        );
    }
}

/// Prints the acts of each rule by scenario, the bad ones first.
pub(crate) fn print_scenarios(outcomes: &[Outcome], scenarios: &[Scenario]) {
    println!("  {:26} {}", "", outcomes.iter().map(|one| format!("{:34}", one.rule)).collect::<String>());
    for one in scenarios {
        let name = format!("{}, {}", if one.bad { "bad" } else { "good" }, one.scenario);
        let acts = one.acts.iter().map(|acts| format!("{:34}", format!("{acts} of {}", one.rollouts)));
        println!("  {name:26} {}", acts.collect::<String>());
    }
}

/// Prints how long a running operator took to decide.
pub(crate) fn print_lags(lags: &[Lag]) {
    for Lag { interval, rollouts, total, floor, over } in lags {
        let both = |[median, most]: &[f64; 2]| format!("{median:.2} s, {most:.2} s");
        println!(
            "  a look each {interval} s, {rollouts} rollouts: first bad request to decision {}; to the look that suffices \
             {}; from there {}",
            both(total),
            both(floor),
            both(over),
        );
    }
}

/// Prints the cells in which anybody acted without a fault by disturbance, and those with a fault at an error rate of 0.2 %.
pub(crate) fn print_cells(without_fault: &[Measured], with_fault: &[Measured]) {
    let rules: Vec<&str> =
        without_fault.first().map(|cell| cell.acted.iter().map(|one| one.rule.as_str()).collect()).unwrap_or_default();
    println!("  {:44} {}", "", rules.iter().map(|rule| format!("{rule:28}")).collect::<String>());
    for disturbance in Disturbance::ALL {
        let cells = || without_fault.iter().filter(|cell| cell.cell.disturbance == disturbance);
        let worst =
            (0..rules.len()).map(|rule| cells().filter_map(|cell| cell.acted.get(rule)).max_by_key(|one| one.acts));
        let shown: String = worst.flatten().map(|one| format!("{:28}", percent(one))).collect();
        println!("  {:44} {shown}", format!("no fault, {disturbance:?}: worst of {} cells", cells().count()));
    }
    for Measured { cell, acted } in with_fault.iter().filter(|measured| measured.cell.errors == 0.002) {
        let onset = if cell.onset == 0 { "" } else { ", late" };
        let name = format!("x{} at {}/s, scatter {}{onset}", cell.ratio, cell.rps, cell.scatter);
        println!("  {name:44} {}", acted.iter().map(|one| format!("{:28}", percent(one))).collect::<String>());
    }
}

/// Prints what became of rollouts without old pods.
pub(crate) fn print_controls(found: &[Found]) {
    for Found { cell, runs, rolled_back, median } in found {
        let control = cell.control.map_or_else(|| "no control".to_owned(), |rps| format!("a control at {rps}/s"));
        let name = format!("{:?} at {}/s, {control}", cell.story, cell.rps);
        let median = median.map_or_else(|| "-".to_owned(), |median| median.to_string());
        println!("  {name:44} {:32} {median:>3}", share(*rolled_back, *runs));
    }
}

#[allow(clippy::cast_precision_loss, reason = "thousands of runs")]
fn percent(acted: &Acted) -> String {
    let rate = format!("{:.2} %", 100.0 * acted.acts as f64 / acted.runs as f64);
    match acted.delays {
        [Some(median), Some(most)] => format!("{rate} ({median}, {most})"),
        _ => rate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_are_those_of_the_tables() {
        let (low, high) = bounds(0, 166);
        assert!(low == 0.0 && (high - 0.021_98).abs() < 1e-4, "{high}");
        let (low, high) = bounds(5, 10);
        assert!((low - 0.187_1).abs() < 1e-4 && (high - 0.812_9).abs() < 1e-4);
    }

    #[test]
    fn delays_are_of_what_was_caught() {
        let mut outcome = Outcome::new("rule".into());
        for delay in [Some(3), None, Some(1), Some(9)] {
            outcome.add(true, delay);
        }
        outcome.add(false, Some(2));
        assert_eq!((outcome.delay(0.5), outcome.delay(0.9), outcome.caught, outcome.wrong), (Some(3), Some(9), 3, 1));
        assert_eq!(outcome.precision(), Some(0.75));
        outcome.early();
        assert_eq!((outcome.precision(), outcome.bad, outcome.caught), (Some(0.6), 5, 3));
    }
}
