//! What the API server said of a Deployment and its pods, second by second: only what changed is kept.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use snapback_core::fingerprint::Fingerprint;
use snapback_core::ids::{PodUid, ReplicaSetUid, WorkloadUid};
use snapback_core::workload::{DEFAULT_HISTORY, Failure, Kind, PodFacts, Replacing, Revision, Said, Workload};

/// Turns the seconds of a recording, counted from the start of its rollout, into times.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Timestamp,
    scale: i64,
}

impl Clock {
    /// A clock on which each recorded second takes `scale` seconds.
    pub fn new(start: Timestamp, scale: i64) -> Self {
        Self { start, scale }
    }

    /// The time of a second.
    pub fn at(&self, second: i64) -> Timestamp {
        let since = SignedDuration::from_secs(second.saturating_mul(self.scale));
        self.start.checked_add(since).unwrap_or(Timestamp::MAX)
    }
}

/// The values of something over time, by the second from which on it has them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Changes<T>(Vec<(i64, T)>);

impl<T> Default for Changes<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: PartialEq> Changes<T> {
    /// Notes what it is at a second; seconds only rise.
    pub fn note(&mut self, second: i64, value: T) {
        if self.0.last().is_none_or(|(_, last)| *last != value) {
            self.0.push((second, value));
        }
    }

    /// What it was at a second.
    pub fn at(&self, second: i64) -> Option<&T> {
        let after = self.0.partition_point(|(since, _)| *since <= second);
        self.0.get(after.checked_sub(1)?).map(|(_, value)| value)
    }

    /// Every change.
    pub fn iter(&self) -> impl Iterator<Item = &(i64, T)> {
        self.0.iter()
    }
}

/// A Deployment with its ReplicaSets and pods, over time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Facts {
    deployment: Changes<DeploymentState>,
    sets: Vec<Set>,
    pods: Vec<Pod>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeploymentState {
    live: Fingerprint,
    generation: i64,
    observed: i64,
    replicas: i32,
    updated: i32,
    available: i32,
    total: i32,
    /// The second at which the progress deadline was exceeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exceeded: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Set {
    name: String,
    fingerprint: Fingerprint,
    number: i64,
    created: i64,
    states: Changes<SetState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetState {
    desired: i32,
    replicas: i32,
    available: i32,
    observed: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Pod {
    name: String,
    /// The name of its ReplicaSet.
    set: String,
    created: i64,
    /// `null` from when on it is gone.
    states: Changes<Option<PodState>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PodState {
    /// Since when it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ready: Option<i64>,
    /// Since when it runs without being ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hanging: Option<i64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    leaving: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unschedulable: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure: Option<FailureState>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum FailureState {
    #[serde(rename_all = "camelCase")]
    CrashLoop {
        container: String,
        exit_code: Option<i32>,
        restarts: i32,
    },
    OutOfMemory {
        container: String,
    },
    ImagePull {
        container: String,
        reason: String,
    },
    Config {
        container: String,
        reason: String,
    },
}

impl Facts {
    /// Notes a look at a second. `start` is the time of second 0.
    pub fn note(&mut self, second: i64, workload: &Workload, start: Timestamp) {
        let seconds = |at: Timestamp| at.as_second() - start.as_second();
        self.deployment.note(
            second,
            DeploymentState {
                live: workload.live.clone(),
                generation: workload.generation,
                observed: workload.observed_generation,
                replicas: workload.replicas,
                updated: workload.updated,
                available: workload.available,
                total: workload.total,
                exceeded: workload.progress_deadline_exceeded.map(seconds),
            },
        );
        for revision in &workload.revisions {
            let known = self.sets.iter().position(|set| set.name == revision.name);
            let index = known.unwrap_or_else(|| {
                self.sets.push(Set {
                    name: revision.name.clone(),
                    fingerprint: revision.fingerprint.clone(),
                    number: revision.number,
                    created: seconds(revision.created),
                    states: Changes::default(),
                });
                self.sets.len() - 1
            });
            if let Some(set) = self.sets.get_mut(index) {
                let Revision { desired, replicas, available, observed, .. } = *revision;
                set.states.note(second, SetState { desired, replicas, available, observed });
            }
        }
        let set_of = |pod: &PodFacts| {
            let owner = workload.revisions.iter().find(|revision| revision.uid == pod.owner);
            owner.map_or_else(String::new, |revision| revision.name.clone())
        };
        for pod in &workload.pods {
            if !self.pods.iter().any(|known| known.name == pod.name) {
                let (name, created) = (pod.name.clone(), seconds(pod.created));
                self.pods.push(Pod { name, set: set_of(pod), created, states: Changes::default() });
            }
        }
        for known in &mut self.pods {
            let live = workload.pods.iter().find(|pod| pod.name == known.name);
            known.states.note(
                second,
                live.map(|pod| PodState {
                    ready: pod.ready.then_some(pod.ready_since).flatten().map(seconds),
                    hanging: pod.hanging_since.map(seconds),
                    leaving: pod.leaving,
                    unschedulable: pod.unschedulable,
                    failure: pod.failure.as_ref().map(failure),
                }),
            );
        }
    }

    /// The second of the first look.
    pub fn first(&self) -> Option<i64> {
        self.deployment.iter().next().map(|(second, _)| *second)
    }

    /// The workload at a second, as the operator would have observed it; `None` before the first look.
    pub fn at(&self, second: i64, clock: &Clock) -> Option<Workload> {
        let state = self.deployment.at(second)?;
        let revisions = self.sets.iter().filter_map(|set| {
            let SetState { desired, replicas, available, observed } = *set.states.at(second)?;
            Some(Revision {
                fingerprint: set.fingerprint.clone(),
                name: set.name.clone(),
                uid: ReplicaSetUid::new(set.name.clone()),
                images: Vec::new(),
                called: Vec::new(),
                number: set.number,
                created: clock.at(set.created),
                desired,
                replicas,
                available,
                observed,
            })
        });
        let pods = self.pods.iter().filter_map(|pod| {
            let state = pod.states.at(second)?.as_ref()?;
            Some(PodFacts {
                name: pod.name.clone(),
                uid: PodUid::new(pod.name.clone()),
                owner: ReplicaSetUid::new(pod.set.clone()),
                ip: None,
                version: String::new(),
                created: clock.at(pod.created),
                ready: state.ready.is_some(),
                ready_since: state.ready.map(|since| clock.at(since)),
                hanging_since: state.hanging.map(|since| clock.at(since)),
                leaving: state.leaving,
                unschedulable: state.unschedulable,
                failure: state.failure.clone().map(Failure::from),
                // The default policy does not ask for them.
                limits: Vec::new(),
            })
        });
        Some(Workload {
            kind: Kind::Deployment,
            name: "recorded".to_owned(),
            uid: WorkloadUid::new("recorded"),
            created: Timestamp::UNIX_EPOCH,
            generation: state.generation,
            observed_generation: state.observed,
            live: state.live.clone(),
            images: Vec::new(),
            called: Vec::new(),
            replicas: state.replicas,
            paused: false,
            pause_is_applied: false,
            frozen: None,
            updated: state.updated,
            available: state.available,
            total: state.total,
            revision_history_limit: DEFAULT_HISTORY,
            progress_deadline_exceeded: state.exceeded.map(|second| clock.at(second)),
            revisions: revisions.collect(),
            pods: pods.collect(),
            owners: Vec::new(),
            helm_release: None,
            delivery: snapback_core::gitops::Delivery::default(),
            rolling: None,
            replacing: Replacing::default(),
            said: Said::default(),
        })
    }
}

fn failure(failure: &Failure) -> FailureState {
    match failure.clone() {
        Failure::CrashLoop { container, exit_code, restarts } => {
            FailureState::CrashLoop { container, exit_code, restarts }
        }
        Failure::OutOfMemory { container } => FailureState::OutOfMemory { container },
        Failure::ImagePull { container, reason } => FailureState::ImagePull { container, reason },
        Failure::Config { container, reason } => FailureState::Config { container, reason },
    }
}

impl From<FailureState> for Failure {
    fn from(state: FailureState) -> Self {
        match state {
            FailureState::CrashLoop { container, exit_code, restarts } => {
                Self::CrashLoop { container, exit_code, restarts }
            }
            FailureState::OutOfMemory { container } => Self::OutOfMemory { container },
            FailureState::ImagePull { container, reason } => Self::ImagePull { container, reason },
            FailureState::Config { container, reason } => Self::Config { container, reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Timestamp {
        Timestamp::from_second(5000).unwrap()
    }

    fn workload(second: i64) -> Workload {
        let clock = Clock::new(start(), 1);
        let pod = |index: i64, failure| PodFacts {
            name: format!("web-1-abcd{index}"),
            uid: PodUid::new(format!("web-1-abcd{index}")),
            owner: ReplicaSetUid::new("web-1"),
            ip: None,
            version: String::new(),
            created: clock.at(index - 9),
            ready: second > 2,
            ready_since: (second > 2).then(|| clock.at(2)),
            hanging_since: (second == 2).then(|| clock.at(1)),
            leaving: second > 5,
            unschedulable: false,
            failure,
            limits: Vec::new(),
        };
        let crash = Failure::CrashLoop { container: "app".into(), exit_code: Some(1), restarts: 2 };
        let mut facts = Facts::default();
        facts.note(0, &empty(), start());
        let mut workload = facts.at(0, &clock).unwrap();
        workload.revisions = vec![Revision {
            fingerprint: Fingerprint::recorded("f1"),
            name: "web-1".into(),
            uid: ReplicaSetUid::new("web-1"),
            images: Vec::new(),
            called: Vec::new(),
            number: 1,
            created: clock.at(-20),
            desired: 2,
            replicas: 2,
            available: if second > 2 { 2 } else { 0 },
            observed: true,
        }];
        workload.pods = vec![pod(1, None), pod(2, Some(crash).filter(|_| second > 3))];
        workload.pods.truncate(if second > 6 { 1 } else { 2 });
        workload.progress_deadline_exceeded = (second > 4).then(|| clock.at(4));
        workload
    }

    fn empty() -> Workload {
        let state = DeploymentState {
            live: Fingerprint::recorded("f1"),
            generation: 1,
            observed: 1,
            replicas: 2,
            updated: 2,
            available: 2,
            total: 2,
            exceeded: None,
        };
        let mut deployment = Changes::default();
        deployment.note(0, state);
        Facts { deployment, ..Facts::default() }.at(0, &Clock::new(start(), 1)).unwrap()
    }

    #[test]
    fn a_workload_is_what_it_was_at_each_second() {
        let mut facts = Facts::default();
        for second in 0..9 {
            facts.note(second, &workload(second), start());
        }
        let facts: Facts = serde_json::from_str(&serde_json::to_string(&facts).unwrap()).unwrap();
        for second in 0..9 {
            assert_eq!(facts.at(second, &Clock::new(start(), 1)).unwrap(), workload(second), "second {second}");
        }
        assert_eq!(facts.at(-1, &Clock::new(start(), 1)), None);
        assert_eq!(facts.pods[0].states.iter().count(), 4, "only changes are kept");
        assert_eq!(facts.first(), Some(0));
    }

    #[test]
    fn on_a_slower_clock_everything_takes_longer() {
        let mut facts = Facts::default();
        facts.note(3, &workload(3), start());
        let found = facts.at(3, &Clock::new(start(), 30)).unwrap();
        assert_eq!(found.pods[0].ready_since, Some(start() + SignedDuration::from_secs(60)));
        assert_eq!(found.pods[0].created, start() - SignedDuration::from_secs(8 * 30));
    }
}
