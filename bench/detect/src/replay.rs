//! Replays labelled rollouts, given as two tables.
//!
//! `rollouts.csv`: `id`, `label` (`bad` or `good`), `release_minute`, `old_replicas`, `new_replicas`. `series.csv`: one line
//! per rollout, minute and Ready pod, with `revision` (`old` or `new`), `requests` and `errors` in that minute. Minute 0 is
//! the first of the new pods; a verdict on the minutes 0 to k is given at minute k+1. No rule reads the label.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use snapback_core::analysis::sequential::{Against, Look, Plan, Scatter, Tally, among_pods};

use crate::product;
use crate::rivals::{Poll, Rule};
use crate::table::Outcome;

#[derive(Debug, Deserialize)]
struct RolloutLine {
    id: String,
    label: String,
    release_minute: i64,
    old_replicas: f64,
    new_replicas: f64,
}

#[derive(Debug, Deserialize)]
struct SeriesLine {
    id: String,
    minute: i64,
    pod: String,
    revision: String,
    requests: f64,
    errors: f64,
}

/// One rollout.
pub(crate) struct Rollout {
    bad: bool,
    /// One tally per old pod and minute before the change was ordered.
    before: Vec<Vec<Tally>>,
    looks: Vec<Look>,
}

/// Reads the tables in a folder.
///
/// # Errors
/// A table that is not there or not of this shape.
pub(crate) fn read(folder: &Path) -> Result<Vec<Rollout>> {
    let reader = |name: &str| {
        let path = folder.join(name);
        csv::Reader::from_path(&path).with_context(|| format!("{} cannot be read", path.display()))
    };
    let mut lines: BTreeMap<String, Vec<SeriesLine>> = BTreeMap::new();
    for line in reader("series.csv")?.into_deserialize() {
        let line: SeriesLine = line.context("series.csv")?;
        lines.entry(line.id.clone()).or_default().push(line);
    }
    let mut rollouts = Vec::new();
    for line in reader("rollouts.csv")?.into_deserialize() {
        let rollout: RolloutLine = line.context("rollouts.csv")?;
        let series = lines.remove(&rollout.id).with_context(|| format!("series.csv has nothing of {}", rollout.id))?;
        rollouts.push(one(&rollout, &series));
    }
    Ok(rollouts)
}

fn one(rollout: &RolloutLine, series: &[SeriesLine]) -> Rollout {
    let pods = |wanted: &str| -> Vec<&str> {
        let names: BTreeSet<&str> =
            series.iter().filter(|line| line.revision == wanted).map(|line| line.pod.as_str()).collect();
        names.into_iter().collect()
    };
    let at = |minute: i64, names: &[&str]| -> Vec<Tally> {
        let mut tallies = vec![Tally::default(); names.len()];
        for line in series.iter().filter(|line| line.minute == minute) {
            if let Some(index) = names.iter().position(|name| *name == line.pod) {
                tallies[index] = Tally::new(line.requests, line.errors);
            }
        }
        tallies
    };
    let (old, new) = (pods("old"), pods("new"));
    let (first, last) =
        series.iter().fold((0, 0), |(first, last), line| (first.min(line.minute), last.max(line.minute)));
    let due = rollout.new_replicas / (rollout.new_replicas + rollout.old_replicas);
    let looks = (0..=last).map(|minute| Look {
        new: at(minute, &new),
        old: at(minute, &old).into_iter().sum(),
        against: Against::OldPods,
        due: Some(due),
    });
    Rollout {
        bad: rollout.label == "bad",
        before: (first..rollout.release_minute).map(|minute| at(minute, &old)).collect(),
        looks: looks.collect(),
    }
}

impl Rollout {
    fn polls(&self) -> Vec<Poll> {
        self.looks.iter().map(|look| Some((look.new.iter().copied().sum(), look.old))).collect()
    }

    fn by_product(&self) -> Option<usize> {
        // A soak of fifteen looks, whatever a recording happens to hold.
        let plan = |scatter: Scatter| Plan {
            looks: 15,
            among_pods: scatter.factor(),
            over_time: 1.0,
            spare: product::spare(),
        };
        let requests: Vec<Vec<Tally>> =
            self.before.iter().map(|pods| pods.iter().map(|one| Tally::new(1.0, one.all)).collect()).collect();
        let errors = plan(among_pods(&self.before));
        let traffic = balanced(&self.before).then(|| plan(among_pods(&requests)));
        product::judge(&self.looks, &errors, traffic.as_ref())
    }
}

/// Whether the busiest old pod had at most four times the requests of the idlest.
fn balanced(before: &[Vec<Tally>]) -> bool {
    let pods = before.iter().map(Vec::len).max().unwrap_or(0);
    let requests: Vec<f64> =
        (0..pods).map(|pod| before.iter().filter_map(|window| window.get(pod)).map(|one| one.all).sum()).collect();
    let (least, most) =
        requests.iter().fold((f64::MAX, 0.0_f64), |(least, most), one| (least.min(*one), most.max(*one)));
    most > 0.0 && most <= 4.0 * least
}

/// What each rule makes of the rollouts: the product's first.
pub(crate) fn run(rollouts: &[Rollout], rivals: &[Box<dyn Rule>]) -> Vec<Outcome> {
    let outcome = |name: String, acts: &dyn Fn(&Rollout) -> Option<usize>| {
        let mut outcome = Outcome::new(name);
        for rollout in rollouts {
            outcome.add(rollout.bad, acts(rollout).map(|look| look + 1));
        }
        outcome
    };
    let mut outcomes = vec![outcome("Snapback, default policy".to_owned(), &Rollout::by_product)];
    outcomes.extend(rivals.iter().map(|rule| outcome(rule.name(), &|rollout| rule.acts(&rollout.polls()))));
    outcomes
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn rollouts_are_read_as_the_tables_have_them() {
        let folder = std::env::temp_dir().join(format!("snapback-replay-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut rollouts = "id,label,release_minute,old_replicas,new_replicas\n".to_owned();
        let mut series = "id,minute,pod,revision,requests,errors\n".to_owned();
        for (id, label, errors, new) in [("a", "bad", 8, 20), ("b", "good", 0, 20), ("c", "bad", 0, 0)] {
            writeln!(rollouts, "{id},{label},-2,4,1").unwrap();
            for minute in -15..15 {
                for pod in 0..4 {
                    writeln!(series, "{id},{minute},old-{pod},old,20,0").unwrap();
                }
                if minute >= 0 {
                    writeln!(series, "{id},{minute},new-0,new,{new},{errors}").unwrap();
                }
            }
        }
        std::fs::write(folder.join("rollouts.csv"), rollouts).unwrap();
        std::fs::write(folder.join("series.csv"), series).unwrap();
        let rollouts = read(&folder).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let outcome = &run(&rollouts, &[])[0];
        assert_eq!((outcome.caught, outcome.bad, outcome.wrong, outcome.good), (2, 2, 0, 1));
        assert!(outcome.delay(0.9) <= Some(4), "{:?}", outcome.delay(0.9));
    }

    #[test]
    fn a_folder_without_tables_is_told() {
        let error = read(Path::new("/nowhere")).err().unwrap().to_string();
        assert!(error.contains("/nowhere/series.csv cannot be read"), "{error}");
    }
}
