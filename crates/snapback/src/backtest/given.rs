//! The rollouts that are replayed: what the cluster's ReplicaSets say, or a file of given times.

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One rollout that took place.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Given {
    /// The Deployment. In a file it may be left out where the policy names its only target.
    #[serde(default)]
    pub(crate) workload: String,
    /// When its template changed.
    pub(crate) at: Timestamp,
    /// When it was over, if the history does not show that: nothing after that is judged.
    #[serde(default)]
    pub(crate) until: Option<Timestamp>,
    /// When all its pods were available. Absent: as the history shows it.
    #[serde(default)]
    pub(crate) completed: Option<Timestamp>,
    /// The name of its ReplicaSet. Absent: the first new one whose pods appear after `at`.
    #[serde(default)]
    pub(crate) replica_set: Option<String>,
    /// What people know of it.
    #[serde(default)]
    pub(crate) label: Option<Label>,
    /// Since when a bad one was bad. Absent: since `at`.
    #[serde(default)]
    pub(crate) fault_from: Option<Timestamp>,
}

/// What people know of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Label {
    /// It was fine.
    Good,
    /// It should have been rolled back.
    Bad,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    rollouts: Vec<Given>,
}

/// Reads a file of rollouts, oldest first. `only` is the policy's one target; `end` is where the history ends.
///
/// # Errors
/// What is no such file, or cannot be meant; the text names the entry, counted from 0.
pub(crate) fn read(text: &str, only: Option<&str>, end: Timestamp) -> anyhow::Result<Vec<Given>> {
    let File { mut rollouts } = serde_yaml_ng::from_str(text)
        .context("this is no list of rollouts, such as {rollouts: [{workload: checkout, at: 2026-01-05T12:00:00Z}]}")?;
    for (index, one) in rollouts.iter_mut().enumerate() {
        let place = format!("rollouts[{index}]");
        match (one.workload.is_empty(), only) {
            (true, Some(only)) => only.clone_into(&mut one.workload),
            (true, None) => bail!("{place}.workload must name a Deployment: the policy chooses by labels"),
            (false, Some(only)) if one.workload != only => {
                bail!("{place}.workload is {:?}, but the policy is for {only:?}", one.workload);
            }
            (false, _) => {}
        }
        one.check(&place, end)?;
    }
    rollouts.sort_by(|a, b| (a.at, &a.workload).cmp(&(b.at, &b.workload)));
    let twice = rollouts.windows(2).find(|pair| pair[0].at == pair[1].at && pair[0].workload == pair[1].workload);
    if let Some([one, _]) = twice {
        bail!("the rollout of {} at {} is given twice", one.workload, one.at);
    }
    if rollouts.is_empty() {
        bail!("rollouts must hold at least one");
    }
    Ok(rollouts)
}

impl Given {
    fn check(&self, place: &str, end: Timestamp) -> anyhow::Result<()> {
        if !is_name(&self.workload) {
            bail!("{place}.workload must be the name of a Deployment, but is {:?}", self.workload);
        }
        if self.at >= end {
            bail!("{place}.at is {}, which is not before the end of the history ({end})", self.at);
        }
        for (field, time) in [("until", self.until), ("completed", self.completed)] {
            if time.is_some_and(|time| time <= self.at) {
                bail!("{place}.{field} must be after {place}.at");
            }
        }
        if let Some(set) = &self.replica_set
            && !set.strip_prefix(&self.workload).is_some_and(|rest| rest.starts_with('-') && rest.len() > 1)
        {
            bail!("{place}.replicaSet is {set:?}, but the ReplicaSets of {0} are called {0}-...", self.workload);
        }
        match (self.fault_from, self.label) {
            (Some(from), Some(Label::Bad)) if from >= self.at => Ok(()),
            (Some(_), Some(Label::Bad)) => bail!("{place}.faultFrom must not be before {place}.at"),
            (Some(_), _) => bail!("{place}.faultFrom must be set only with label: bad"),
            (None, _) => Ok(()),
        }
    }
}

/// Whether a text can be the name of a Deployment.
pub(crate) fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(fits) && text.ends_with(fits) && text.chars().all(|c| fits(c) || c == '-' || c == '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(entry: &str) -> anyhow::Result<Vec<Given>> {
        read(&format!("rollouts: [{entry}]"), Some("checkout"), "2026-02-01T00:00:00Z".parse().unwrap())
    }

    fn refused(entry: &str) -> String {
        format!("{:#}", read_one(entry).unwrap_err())
    }

    #[test]
    fn the_example_of_the_documentation_is_read() {
        let docs = include_str!("../../../../docs/backtest.md");
        let (_, after) = docs.split_once("```yaml\nrollouts:").unwrap();
        let (example, _) = after.split_once("```").unwrap();
        let found =
            read(&format!("rollouts:{example}"), Some("checkout"), "2027-01-01T00:00:00Z".parse().unwrap()).unwrap();
        assert!(found.len() > 1);
        assert!(found.iter().any(|one| one.label == Some(Label::Bad) && one.fault_from.is_some()));
    }

    #[test]
    fn rollouts_are_sorted_and_the_policys_target_is_meant_where_none_is_named() {
        let found = read_one("{at: 2026-01-06T00:00:00Z}, {at: '2026-01-05T00:00:00+01:00', label: good}").unwrap();
        assert_eq!(found[0].at, "2026-01-04T23:00:00Z".parse().unwrap());
        assert!(found.iter().all(|one| one.workload == "checkout"));
    }

    #[test]
    fn json_is_read_as_well() {
        let text = r#"{"rollouts": [{"workload": "checkout", "at": "2026-01-05T12:00:00Z", "label": "bad"}]}"#;
        assert_eq!(read(text, None, Timestamp::MAX).unwrap()[0].label, Some(Label::Bad));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        for (entry, words) in [
            ("{workload: cart, at: 2026-01-05T12:00:00Z}", "rollouts[0].workload is \"cart\", but the policy is for"),
            ("{at: 2026-03-05T12:00:00Z}", "rollouts[0].at is 2026-03-05T12:00:00Z, which is not before the end"),
            ("{at: 2026-01-05T12:00:00Z, until: 2026-01-05T12:00:00Z}", "rollouts[0].until must be after"),
            ("{at: 2026-01-05T12:00:00Z, faultFrom: 2026-01-05T13:00:00Z}", "only with label: bad"),
            ("{at: 2026-01-05T12:00:00Z, label: bad, faultFrom: 2026-01-05T11:00:00Z}", "must not be before"),
            ("{at: 2026-01-05T12:00:00Z, replicaSet: cart-7d9f}", "are called checkout-..."),
            ("{at: 2026-01-05T12:00:00Z}, {at: 2026-01-05T12:00:00Z}", "is given twice"),
            ("{at: yesterday}", "this is no list of rollouts"),
            ("{at: 2026-01-05T12:00:00Z, lable: bad}", "lable"),
            ("", "at least one"),
        ] {
            let error = refused(entry);
            assert!(error.contains(words), "{entry}: {error}");
        }
        let error = read("rollouts: [{at: 2026-01-05T12:00:00Z}]", None, Timestamp::MAX).unwrap_err().to_string();
        assert!(error.contains("rollouts[0].workload must name a Deployment"), "{error}");
    }
}
