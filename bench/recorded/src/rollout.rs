//! One recorded rollout.

use std::io::ErrorKind;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use snapback_core::sample::PodSeries;

use crate::{Clock, Facts, Planned, PodCounters, RecordedError};

/// A rollout as it was recorded. Second 0 is the first at which the API server showed the new template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollout {
    /// What was planned.
    pub plan: Planned,
    /// Seconds between two looks.
    pub interval: i64,
    /// How many seconds of the rollout that is meant a recorded second stands for.
    pub scale: i64,
    /// The first instant of the series, in seconds. They are whole steps of the interval apart, and where the operator
    /// asks for them: at multiples of the interval since 1970.
    pub first: i64,
    /// The last one.
    pub last: i64,
    /// What the operator made of it, where one was running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<Decided>,
    /// What the API server said.
    pub facts: Facts,
    /// What the metrics source said, by pod.
    pub pods: Vec<PodCounters>,
}

/// A decision of a running operator. Times in seconds from the start of the rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Decided {
    /// When the first bad request was answered, by the pod's own clock.
    pub first_bad: f64,
    /// When the `Rollback` was seen.
    pub decided: f64,
    /// The counts of its record (`spec.evidence[].counts`), by check.
    pub counts: Vec<(String, String)>,
}

impl Rollout {
    /// A clock that gives the rollout this start.
    pub fn clock(&self, start: Timestamp) -> Clock {
        Clock::new(start, self.scale)
    }

    /// The seconds of its series.
    pub fn seconds(&self) -> impl Iterator<Item = i64> + use<> {
        let (last, step) = (self.last, self.interval.max(1));
        std::iter::successors(Some(self.first), move |second| Some(second + step)).take_while(move |at| *at <= last)
    }

    /// All series of requests, and all of durations.
    ///
    /// # Errors
    /// A row that is none.
    pub fn series(&self, clock: &Clock) -> Result<(Vec<PodSeries>, Vec<PodSeries>), RecordedError> {
        let instants: Vec<Timestamp> = self.seconds().map(|second| clock.at(second)).collect();
        let (mut requests, mut durations) = (Vec::new(), Vec::new());
        for pod in &self.pods {
            let (more_requests, more_durations) = pod.read(&instants, self.scale)?;
            requests.extend(more_requests);
            durations.extend(more_durations);
        }
        Ok((requests, durations))
    }

    /// Writes it into a folder, under its id.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), RecordedError> {
        let path = folder.join(format!("{}.json", self.plan.id));
        let shown = || path.display().to_string();
        let text = serde_json::to_string(self)
            .map_err(|error| RecordedError::Shape { path: shown(), problem: error.to_string() })?;
        // A line for each part: differences between two recordings can be read.
        let text = text.replace(",\"facts\":", ",\n\"facts\":").replace(",\"pods\":[{\"pod\"", ",\n\"pods\":[{\"pod\"");
        let text = text.replace("},{\"pod\":", "},\n{\"pod\":");
        std::fs::write(&path, text + "\n").map_err(|error| RecordedError::File { path: shown(), error })
    }

    /// Whether a folder has a recording of just this, at this interval.
    pub fn is_in(folder: &Path, planned: &Planned, interval: i64) -> bool {
        let found = read(&folder.join(format!("{}.json", planned.id)));
        found.is_ok_and(|rollout| rollout.plan == *planned && rollout.interval == interval)
    }

    /// Reads all of a folder, by their names; none where there is no folder.
    ///
    /// # Errors
    /// A file that cannot be read, or is not of this shape.
    pub fn read_all(folder: &Path) -> Result<Vec<Self>, RecordedError> {
        let mut paths = Vec::new();
        let entries = match std::fs::read_dir(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| unreadable(folder, error))?,
        };
        for entry in entries {
            let path = entry.map_err(|error| unreadable(folder, error))?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                paths.push(path);
            }
        }
        paths.sort();
        paths.iter().map(|path| read(path)).collect()
    }
}

fn read(path: &Path) -> Result<Rollout, RecordedError> {
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, error))?;
    serde_json::from_str(&text)
        .map_err(|error| RecordedError::Shape { path: path.display().to_string(), problem: error.to_string() })
}

fn unreadable(path: &Path, error: std::io::Error) -> RecordedError {
    RecordedError::File { path: path.display().to_string(), error }
}
