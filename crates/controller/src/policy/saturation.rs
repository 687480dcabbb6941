//! The queries of `saturation` checks: each side's pods against their own limits.

use jiff::SignedDuration;
use snapback_core::checks::saturation_key;
use snapback_core::policy::Resource;
use snapback_core::sample::Side;
use snapback_core::watch::RevisionRef;
use snapback_core::workload::{ContainerLimits, Kind, PodFacts, Workload};
use snapback_prometheus::{PodGroup, names_pattern, pods_pattern, saturated_query};

use super::measure::sets;
use crate::workload::{Live, limits_of_template};

/// What CPU is a mean over, at least: kubelets count it every ten to fifteen seconds, and are asked every fifteen to
/// sixty.
const WINDOW: SignedDuration = SignedDuration::from_mins(2);

/// Looks that it covers, at least.
const LOOKS: i32 = 4;

/// The queries of one check, by the key of their answers. A resource that no container of a side has a limit of is not
/// asked for.
pub(super) fn queries(
    check: &str,
    max: &[(Resource, f64)],
    live: &Live,
    known_good: Option<&RevisionRef>,
    namespace: &str,
    interval: SignedDuration,
) -> Vec<(String, String)> {
    let window = format!("{}s", (interval * LOOKS).max(WINDOW).as_secs());
    let mut queries = Vec::new();
    for side in [Side::New, Side::Old] {
        let found = groups(live, known_good, side);
        let groups: Vec<PodGroup<'_>> =
            found.iter().map(|(pods, limits)| PodGroup { pods: pods.clone(), limits }).collect();
        for (resource, max) in max {
            let query = saturated_query(*resource, *max, namespace, &groups, &window);
            queries.extend(query.map(|query| (saturation_key(check, *resource, side), query)));
        }
    }
    queries
}

/// The pods of a side, as patterns of names, with their limits: a group per ReplicaSet, or one where there are none.
fn groups(live: &Live, known_good: Option<&RevisionRef>, side: Side) -> Vec<(String, Vec<ContainerLimits>)> {
    let workload = &live.workload;
    if workload.kind != Kind::Deployment {
        let pods: Vec<&PodFacts> = match side {
            Side::New => workload.pods_of(&workload.live).collect(),
            Side::Old => workload.pods_not_of(&workload.live).collect(),
        };
        let names: Vec<String> = pods.iter().map(|pod| pod.name.clone()).collect();
        return vec![(names_pattern(&names), highest(pods.into_iter()))];
    }
    let (new, old) = sets(workload, known_good);
    let sets = if side == Side::New { new } else { old };
    sets.into_iter().map(|set| (pods_pattern(std::slice::from_ref(&set)), limits(live, workload, &set))).collect()
}

/// The limits of a ReplicaSet's pods: as admission left them, else, when none of them lives, as its template says.
fn limits(live: &Live, workload: &Workload, set: &str) -> Vec<ContainerLimits> {
    let Some(revision) = workload.revisions.iter().find(|revision| revision.name == set) else { return Vec::new() };
    let mut pods = workload.pods.iter().filter(|pod| pod.owner == revision.uid).peekable();
    if pods.peek().is_some() {
        return highest(pods);
    }
    let template = live.templates.iter().find(|(uid, _)| *uid == revision.uid);
    template.map(|(_, template)| limits_of_template(template)).unwrap_or_default()
}

/// The limits of some pods that should have the same; where somebody resized one of them, the higher.
fn highest<'a>(pods: impl Iterator<Item = &'a PodFacts>) -> Vec<ContainerLimits> {
    let mut all: Vec<ContainerLimits> = Vec::new();
    for one in pods.flat_map(|pod| &pod.limits) {
        match all.iter_mut().find(|known| known.container == one.container) {
            None => all.push(one.clone()),
            Some(known) => {
                let higher = |known: Option<f64>, one: Option<f64>| known.into_iter().chain(one).reduce(f64::max);
                (known.cpu, known.memory) = (higher(known.cpu, one.cpu), higher(known.memory, one.memory));
            }
        }
    }
    all
}
