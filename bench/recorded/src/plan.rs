//! What is to be recorded, and how each rollout is labelled: written before the recording.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::RecordedError;

/// A list of rollouts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// Seconds between two looks; Prometheus scrapes as often.
    pub interval: i64,
    /// How many seconds of the rollout that is meant a recorded second stands for.
    pub scale: i64,
    /// Seconds that are recorded before each rollout.
    pub before: i64,
    /// Seconds that are recorded from its start on.
    pub after: i64,
    /// The rollouts.
    pub rollouts: Vec<Planned>,
}

/// Whether a rollout should be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Label {
    /// It should not.
    Good,
    /// It should.
    Bad,
}

/// One rollout that is to be recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Planned {
    /// Its name, unique in the list; also that of its namespace and file.
    pub id: String,
    /// What kind of story it is.
    pub scenario: String,
    /// Whether it should be undone.
    pub label: Label,
    /// Failures, durations and arrivals are drawn from it.
    pub seed: u64,
    /// Pods.
    #[serde(default = "four")]
    pub replicas: i32,
    /// `minReadySeconds`: how long old pods serve beside new ones.
    #[serde(default)]
    pub min_ready: i32,
    /// What is sent to it.
    pub load: Load,
    /// How every pod behaves.
    #[serde(default)]
    pub normal: Normal,
    /// What every pod of both revisions asks first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependency: Option<Dependency>,
    /// A change of its scale in the middle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scale>,
    /// What is different about the new pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

/// Requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Load {
    /// A second.
    pub rps: u32,
    /// How much the rate swings, as a share of it.
    #[serde(default)]
    pub swing: f64,
    /// The time of one swing, in seconds.
    #[serde(default = "minute")]
    pub period: u32,
}

/// How a pod behaves when nothing is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Normal {
    /// Share of failed requests.
    pub errors: f64,
    /// Time that a request takes, in milliseconds.
    pub latency: u32,
    /// Times at which a pod fails more often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<Burst>,
}

impl Default for Normal {
    fn default() -> Self {
        Self { errors: 0.002, latency: 20, burst: None }
    }
}

/// Failures that come in bursts: each pod at times of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Burst {
    /// Share of failed requests in one.
    pub errors: f64,
    /// Seconds that one lasts.
    pub lasting: u32,
    /// One in so many seconds, on average.
    pub every: u32,
}

/// What both revisions depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dependency {
    /// Outages as `[from, to, share of its requests that fail]`, in seconds from the start of the rollout.
    pub outages: Vec<(i64, i64, f64)>,
}

/// Another number of replicas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scale {
    /// Seconds from the start of the rollout.
    pub at: i64,
    /// Replicas from then on.
    pub to: i32,
}

/// What is different about the new pods.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Fault {
    /// From so many seconds after the start of the rollout on; absent: from each pod's start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<i64>,
    /// Grows evenly for so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ramp: Option<i64>,
    /// In so many of the new pods only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<usize>,
    /// Share of failed requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<f64>,
    /// Time that a request takes, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<u32>,
    /// They end with an error after so many milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crash_after: Option<u32>,
    /// What else is wrong with them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<Broken>,
}

/// A mistake in the new template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Broken {
    /// The pods never become ready.
    NotReady,
    /// Their image does not exist.
    NoImage,
    /// A ConfigMap that they want does not exist.
    NoConfig,
    /// The Service does not select them.
    Silent,
}

impl Fault {
    /// Whether it shows before a pod is ready.
    pub fn is_at_start(&self) -> bool {
        self.crash_after.is_some() || self.broken.is_some_and(|broken| broken != Broken::Silent)
    }
}

fn four() -> i32 {
    4
}

fn minute() -> u32 {
    60
}

impl Plan {
    /// Reads a list.
    ///
    /// # Errors
    /// A file that is not there, not of this shape, or has the same `id` twice.
    pub fn read(path: &Path) -> Result<Self, RecordedError> {
        let shown = || path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| RecordedError::File { path: shown(), error })?;
        let plan: Self = serde_yaml_ng::from_str(&text)
            .map_err(|error| RecordedError::Shape { path: shown(), problem: error.to_string() })?;
        let twice = plan
            .rollouts
            .iter()
            .enumerate()
            .find(|(index, one)| plan.rollouts.iter().take(*index).any(|other| other.id == one.id));
        match twice {
            Some((_, one)) => {
                Err(RecordedError::Shape { path: shown(), problem: format!("the id {:?} is there twice", one.id) })
            }
            None => Ok(plan),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Failed requests of new pods, over what is normal, from which on nobody who sees all of them can be in doubt.
    const ENOUGH: f64 = 50.0;

    /// Seconds until all pods are new, at the slowest.
    const ROLLING: f64 = 25.0;

    #[allow(clippy::cast_precision_loss, reason = "a minute of seconds")]
    fn is_plainly_bad(planned: &Planned, after: i64) -> bool {
        let Some(fault) = &planned.fault else { return false };
        let (normal, load) = (&planned.normal, f64::from(planned.load.rps));
        let ramp = fault.ramp.unwrap_or(0) as f64 / 2.0;
        let seconds = after as f64 - ROLLING.max(fault.from.unwrap_or(0) as f64 + ramp);
        let fails = fault
            .errors
            .is_some_and(|errors| errors >= 3.0 * normal.errors && load * (errors - normal.errors) * seconds >= ENOUGH);
        let is_slow = fault.latency.is_some_and(|latency| latency >= 3 * normal.latency && load * seconds >= ENOUGH);
        fault.pods.is_none() && (fails || is_slow || fault.broken.is_some() || fault.crash_after.is_some())
    }

    /// Under the default policy's floor of errors and multiple of latency, or in one pod only.
    fn is_plainly_good(planned: &Planned) -> bool {
        planned.fault.as_ref().is_none_or(|fault| {
            let harmless = fault.errors.is_none_or(|errors| errors < 0.005)
                && fault.latency.is_none_or(|latency| f64::from(latency) < 1.5 * f64::from(planned.normal.latency));
            let breaks = fault.broken.is_some() || fault.crash_after.is_some();
            !breaks && (harmless || (fault.pods == Some(1) && planned.replicas > 2))
        })
    }

    #[test]
    fn every_label_follows_from_what_is_planned() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../detect/rollouts/plan.yaml");
        let plan = Plan::read(Path::new(folder)).unwrap();
        let count = |label: Label| plan.rollouts.iter().filter(|one| one.label == label).count();
        assert!(count(Label::Bad) >= 30 && count(Label::Good) >= 30);
        for planned in &plan.rollouts {
            let is_bad = is_plainly_bad(planned, plan.after);
            assert_eq!((is_bad, !is_plainly_good(planned)), (planned.label == Label::Bad, is_bad), "{}", planned.id);
        }
    }

    #[test]
    fn an_id_is_there_once() {
        let path = std::env::temp_dir().join(format!("snapback-plan-{}.yaml", std::process::id()));
        let one = "- {id: a, scenario: a, label: good, seed: 1, load: {rps: 1}}\n";
        std::fs::write(&path, format!("interval: 1\nscale: 30\nbefore: 40\nafter: 60\nrollouts:\n{one}{one}")).unwrap();
        let error = Plan::read(&path).unwrap_err().to_string();
        std::fs::remove_file(&path).unwrap();
        assert!(error.ends_with("the id \"a\" is there twice"), "{error}");
    }
}
