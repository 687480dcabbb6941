//! The pods of the known good revision that still run: a revision that fails as well is no place to go.

use super::Readiness;
use crate::checks::Failing;
use crate::watch::RevisionRef;
use crate::workload::{Failure, PodFacts, Workload};

/// The failing share of its pods above which it is not gone back to.
const MOST_FAILING: f64 = 0.5;

/// Most pods that are named.
const MOST_NAMED: usize = 3;

/// Says so when the old pods of the known good revision fail: more than half of them, and it is more than one pod's bad
/// luck, as the crash check means it. The last one of many is no evidence either: all of them means all that the workload
/// should have.
pub fn known_good_fails(good: &RevisionRef, workload: &Workload) -> Option<Readiness> {
    if good.fingerprint == workload.live {
        return None;
    }
    let Failing { pods: mut failing, of } = Failing::among(workload.pods_of(&good.fingerprint));
    let wanted = usize::try_from(workload.replicas).unwrap_or_default();
    let is_luck = failing.len() < 2 && failing.len() < wanted.max(of);
    if is_luck || !Failing::share(failing.len(), of).is_some_and(|share| share > MOST_FAILING) {
        return None;
    }
    failing.sort_by(|a, b| a.name.cmp(&b.name));
    // Numbers of restarts would change the sentence again and again.
    let tell = |pod: &&PodFacts| format!("{} ({})", pod.name, pod.failure.as_ref().map_or("", Failure::word));
    let mut told = failing.iter().take(MOST_NAMED).map(tell).collect::<Vec<_>>().join(", ");
    if failing.len() > MOST_NAMED {
        told = format!("{told}, and {} more", failing.len() - MOST_NAMED);
    }
    let message = format!(
        "the known good revision {} fails too: {} of its {of} pods, {told}. Going back would not help: look at what both \
         depend on",
        good.name(),
        failing.len()
    );
    Some(Readiness::not("KnownGoodFails", message))
}
