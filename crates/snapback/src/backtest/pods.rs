//! What kube-state-metrics kept of the pods: whether they were ready, and whether they failed.
//!
//! Prometheus knows nothing of pods by itself. Where these series are not there, crashes and silence are not judged, and
//! that is said.

use std::collections::BTreeMap;

use jiff::Timestamp;
use snapback_core::ids::{PodUid, ReplicaSetUid};
use snapback_core::sample::Answer;
use snapback_core::workload::{Container, Ended, Failure, PodFacts, Revision};
use snapback_prometheus::Series;

use super::ask::{Asker, Stretch};

const READY: &str = "kube_pod_status_ready";
const DELETED: &str = "kube_pod_deletion_timestamp";

/// What is read of each container: of ordinary ones and of init containers.
const RESTARTS: &str = "status_restarts_total";
const WAITING: &str = "status_waiting_reason";
const CODE: &str = "status_last_terminated_exitcode";
const REASON: &str = "status_last_terminated_reason";

/// The series of the pods.
#[derive(Debug, Default)]
pub(crate) struct KubeState {
    /// By pod.
    pods: BTreeMap<String, Vec<Series>>,
}

impl KubeState {
    /// Asks for the series of the pods of a pattern.
    ///
    /// # Errors
    /// The source cannot be asked.
    pub(crate) async fn ask(asker: &Asker<'_>, pods: &str, stretch: Stretch) -> Answer<Self> {
        // Scraped without honorLabels, the labels of kube-state-metrics' own pod push those of the others aside.
        for (namespace, pod) in [("namespace", "pod"), ("exported_namespace", "exported_pod")] {
            let of_container = [RESTARTS, WAITING, CODE, REASON].join("|");
            let promql = format!(
                "{{__name__=~\"{READY}|{DELETED}|kube_pod_(init_)?container_({of_container})\",{namespace}=\"{}\",\
                 {pod}=~\"{pods}\",condition=~\"true|\"}}",
                asker.namespace
            );
            let found = Self::of(asker.series(&promql, stretch).await?, pod);
            if found.is_there() {
                return Ok(found);
            }
        }
        Ok(Self::default())
    }

    fn of(series: Vec<Series>, label: &str) -> Self {
        let mut pods: BTreeMap<String, Vec<Series>> = BTreeMap::new();
        for one in series {
            if let Some(pod) = one.labels.get(label) {
                pods.entry(pod.clone()).or_default().push(one);
            }
        }
        Self { pods }
    }

    /// Whether anything is known.
    pub(crate) fn is_there(&self) -> bool {
        !self.pods.is_empty()
    }

    /// Whether a pod was ready; `None` where that is not known.
    pub(crate) fn is_ready(&self, pod: &str, at: Timestamp) -> Option<bool> {
        let ready = self.pods.get(pod)?.iter().find(|one| name(one) == READY)?;
        value(ready, at).map(|value| value > 0.0)
    }

    /// The pods of some revisions at an instant, as the operator would have seen them.
    pub(crate) fn pods(&self, revisions: &[Revision], at: Timestamp) -> Vec<PodFacts> {
        let known = self.pods.iter().filter_map(|(pod, series)| {
            let owner = revisions.iter().find(|one| snapback_core::checks::made_by(&one.name, pod))?;
            facts(pod, series, owner.uid.clone(), at)
        });
        known.collect()
    }
}

fn facts(pod: &str, series: &[Series], owner: ReplicaSetUid, at: Timestamp) -> Option<PodFacts> {
    let of = |wanted: &str| series.iter().find(|one| name(one) == wanted);
    let readiness = of(READY)?;
    let ready = value(readiness, at)? > 0.0;
    let until_now = || readiness.points.iter().take_while(|(time, _)| *time <= at);
    let not_before = until_now().filter(|(_, value)| *value <= 0.0).map(|(time, _)| *time).last();
    let since = until_now().map(|(time, _)| *time).find(|time| not_before.is_none_or(|not| *time > not));
    let containers: Vec<&str> = {
        let mut names: Vec<&str> =
            series.iter().filter_map(|one| Some(one.labels.get("container")?.as_str())).collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    let containers: Vec<Container> = containers.into_iter().map(|name| container(name, series, at)).collect();
    Some(PodFacts {
        name: pod.to_owned(),
        uid: PodUid::new(pod),
        owner,
        ip: None,
        version: String::new(),
        created: readiness.points.first().map_or(at, |(time, _)| *time),
        ready,
        ready_since: since.filter(|_| ready),
        hanging_since: None,
        leaving: of(DELETED).is_some_and(|deleted| value(deleted, at).is_some()),
        unschedulable: false,
        failure: Failure::of(&containers),
        limits: Vec::new(),
    })
}

fn container(container: &str, series: &[Series], at: Timestamp) -> Container {
    let mine = || series.iter().filter(|one| one.labels.get("container").is_some_and(|name| name == container));
    let of = |what: &'static str| mine().filter(move |one| name(one).ends_with(what));
    let number = |what: &'static str| of(what).find_map(|one| value(one, at));
    let word = |what: &'static str| {
        let current = of(what).find(|one| value(one, at).is_some_and(|value| value > 0.0))?;
        current.labels.get("reason").cloned()
    };
    let reason = word(REASON);
    let code = number(CODE).or_else(|| reason.as_ref().map(|reason| f64::from(u8::from(reason != "Completed"))));
    Container {
        name: container.to_owned(),
        restarts: number(RESTARTS).map_or(0, whole),
        waiting: word(WAITING),
        ended: code.map(|code| Ended { code: whole(code), reason: reason.unwrap_or_default() }),
    }
}

fn name(series: &Series) -> &str {
    series.labels.get("__name__").map_or("", String::as_str)
}

fn value(series: &Series, at: Timestamp) -> Option<f64> {
    series.points.iter().find(|(time, _)| *time == at).map(|(_, value)| *value)
}

#[allow(clippy::cast_possible_truncation, reason = "a conversion that saturates")]
fn whole(value: f64) -> i32 {
    value.round() as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use snapback_core::fingerprint::Fingerprint;

    const POD: &str = "checkout-7d9f8c6b5-x2x4z";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn series(name: &str, labels: &[(&str, &str)], points: &[(i64, f64)]) -> Series {
        let own = [("__name__", name), ("pod", POD)];
        let all = own.iter().chain(labels);
        Series {
            labels: all.map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect(),
            points: points.iter().map(|(second, value)| (at(*second), *value)).collect(),
            histograms: Vec::new(),
        }
    }

    fn revisions() -> Vec<Revision> {
        vec![Revision {
            fingerprint: Fingerprint::recorded("a"),
            name: "checkout-7d9f8c6b5".to_owned(),
            uid: ReplicaSetUid::new("a"),
            images: Vec::new(),
            called: Vec::new(),
            number: 0,
            created: at(0),
            desired: 1,
            replicas: 1,
            available: 1,
            observed: true,
        }]
    }

    #[test]
    fn a_pod_is_ready_since_the_last_time_that_it_was_not() {
        let ready = series(READY, &[], &[(0, 0.0), (30, 1.0), (60, 0.0), (90, 1.0), (120, 1.0)]);
        let known = KubeState::of(vec![ready], "pod");
        let seen = |second| known.pods(&revisions(), at(second)).pop().unwrap();
        assert_eq!((seen(60).ready, seen(60).ready_since), (false, None));
        assert_eq!((seen(120).ready, seen(120).ready_since), (true, Some(at(90))));
        assert!(known.pods(&revisions(), at(150)).is_empty(), "it is gone");
    }

    #[test]
    fn a_crash_loop_is_what_the_operator_would_call_one() {
        let container = ("container", "app");
        let known = KubeState::of(
            vec![
                series(READY, &[], &[(0, 0.0), (30, 0.0), (60, 0.0)]),
                series("kube_pod_container_status_restarts_total", &[container], &[(0, 0.0), (30, 1.0), (60, 2.0)]),
                series(
                    "kube_pod_container_status_last_terminated_reason",
                    &[container, ("reason", "Error")],
                    &[(30, 1.0), (60, 1.0)],
                ),
            ],
            "pod",
        );
        let failure = |second| known.pods(&revisions(), at(second)).pop().unwrap().failure;
        assert_eq!((failure(0), failure(30)), (None, None), "one restart is not a loop");
        assert!(matches!(failure(60), Some(Failure::CrashLoop { restarts: 2, exit_code: Some(1), .. })));
    }
}
