//! The checklist: would a rollback work, and would it be seen to? Gone through at transitions, not at ticks.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use snapback_api::conditions::cut;
use snapback_api::v1alpha1::{ReadinessStatus, TargetStatus};
use snapback_core::jobs::Purpose;
use snapback_core::ownership::residue;
use snapback_core::readiness::{Data, Readiness, history_is_too_short, known_good_fails};
use snapback_core::rollback::{asked, judge_answers};
use snapback_core::watch::{Decision, RevisionRef};

use super::judge::Look;
use super::ready::NotKept;
use crate::workload::{cannot_run, preflight};

/// When what stands open is looked at again at rest: a copy that could not be kept, a rollback that would not work.
pub(super) const RETRY: SignedDuration = SignedDuration::from_mins(5);

/// Whether a rollback would work.
pub(super) struct Ready {
    /// What stands in the way of the order that was decided: looked at just now.
    pub(super) obstacle: Option<Readiness>,
    /// What is told.
    pub(super) told: ReadinessStatus,
}

/// Goes through the checklist. What makes an undo impossible comes first, then what will, what makes one blind, and what
/// would go wrong after it.
///
/// What needs requests is looked at when either revision or the policy changed, before an order, and at each look while
/// something of it is in the way; the rest, which is free, at each look.
pub(super) async fn readiness(look: &Look<'_>, decision: &Decision, not_kept: &NotKept, data: Data) -> Ready {
    let Some(good) = &decision.state.known_good else {
        return Ready { obstacle: None, told: stored(&Readiness::nothing()) };
    };
    let workload = &look.live.workload;
    let before = look.readiness_before();
    let is_same_good = look
        .known
        .and_then(|known| known.known_good.as_ref())
        .is_some_and(|known| good.fingerprint.as_str() == known.fingerprint);
    let is_same = is_same_good
        && look.known.is_some_and(|known| decision.state.current.fingerprint.as_str() == known.current.fingerprint);

    let fails = known_good_fails(good, workload);
    let history = history_is_too_short(good, workload, not_kept.copy.as_deref());
    let config = not_kept.config.clone();
    let blind = data.obstacle(before.map(|before| (before.reason.as_str(), before.message.as_str())));

    let free = [fails, history, config, blind].into_iter().flatten().next();
    let is_told_already = before
        .is_some_and(|before| before.ready || free.as_ref().is_some_and(|free| free.reason == before.reason.as_str()));
    let has_order = decision.order.is_some();
    let asked = if has_order || !is_same || !is_told_already {
        let was_ready = is_same_good && before.is_some_and(|before| before.ready);
        // The pods of one that is not the live one are going, and a release that is judged does not wait for them.
        let and_pods = !was_ready && decision.state.rollout.is_none();
        ask(look, good, before, and_pods, has_order).await
    } else {
        Asked::default()
    };
    let told = asked.obstacle.clone().or(free).or(asked.later).unwrap_or_else(|| Readiness::ready(good));
    Ready { obstacle: asked.obstacle, told: stored(&told) }
}

/// What needs requests.
#[derive(Default)]
struct Asked {
    /// What the undo needs is gone, or it would be refused.
    obstacle: Option<Readiness>,
    /// What follows the undo would go wrong.
    later: Option<Readiness>,
}

/// An undo that is due waits for nothing that comes after it.
async fn ask(
    look: &Look<'_>,
    good: &RevisionRef,
    before: Option<&ReadinessStatus>,
    and_pods: bool,
    is_due: bool,
) -> Asked {
    let (client, namespace, said) = (&look.shared.client, look.namespace(), &look.live.workload.said);
    let config = look.rules();
    let found = preflight(client, &namespace, look.name, look.live, good, config, said.job_before_undo()).await;
    let still = before.and_then(|before| Readiness::still(&before.reason, &before.message));
    if is_due {
        return Asked { obstacle: found.obstacle(), later: still };
    }
    let probed = if and_pods { probe(look, good).await } else { still.filter(Readiness::is_of_a_probe) };
    let later = match probed {
        Some(fails) => Some(fails),
        None => helm(look).await,
    };
    Asked { obstacle: found.obstacle(), later }
}

/// Asks one ready pod of the good revision, all probes at once.
async fn probe(look: &Look<'_>, good: &RevisionRef) -> Option<Readiness> {
    let probes = &look.guarded.policy.rollback.probes;
    let pods: Vec<_> = asked(&look.live.workload, &good.fingerprint).into_iter().take(1).collect();
    if probes.is_empty() || pods.is_empty() {
        return None;
    }
    Readiness::probed(good, &judge_answers(&look.shared.prober.ask(pods, probes).await))
}

/// Whether Helm's Job could be made, where Helm 3 applied the workload: elsewhere it never runs.
async fn helm(look: &Look<'_>) -> Option<Readiness> {
    let helm = look.policy.spec.rollback.as_ref()?.helm.as_ref()?;
    let workload = &look.live.workload;
    residue(&workload.owners, workload.helm_release.as_ref())?;
    let why = cannot_run(&look.shared.client, &look.namespace(), look.name, &helm.job, Purpose::Helm).await?;
    Some(Readiness::no_helm_job(&why))
}

/// Whether something is in the way that may go away by itself.
pub(super) fn may_cease(readiness: &ReadinessStatus) -> bool {
    !readiness.ready && Readiness::may_cease(&readiness.reason)
}

/// When each target was last looked at with something in the way that may go away by itself. At rest that is not looked at
/// more often, whatever else wakes its policy. In memory only: after a restart it is looked at once more.
#[derive(Debug, Default)]
pub struct Retries(Mutex<HashMap<String, Timestamp>>);

impl Retries {
    /// Notes a look.
    pub(super) fn note(&self, uid: &str, told: &ReadinessStatus, now: Timestamp) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Older ones say nothing: their next look is due. Nobody else removes those of a workload that is gone.
        map.retain(|_, at| now.duration_since(*at) < RETRY);
        if may_cease(told) {
            map.insert(uid.to_owned(), now);
        } else {
            map.remove(uid);
        }
    }

    /// The time until the next look is due: nothing of it is left when it is.
    pub(super) fn left(&self, known: &TargetStatus, now: Timestamp) -> Option<SignedDuration> {
        known.readiness.as_ref().filter(|told| may_cease(told))?;
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = map.get(&known.uid).map_or(RETRY, |at| now.duration_since(*at));
        Some((RETRY - since).max(SignedDuration::ZERO))
    }
}

fn stored(readiness: &Readiness) -> ReadinessStatus {
    ReadinessStatus {
        ready: readiness.ready,
        reason: readiness.reason.to_owned(),
        message: cut(&readiness.message, 1024),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn known(reason: &str) -> TargetStatus {
        let target = json!({
            "kind": "Deployment", "name": "web", "uid": "uid", "phase": "Idle", "reason": "", "message": "",
            "current": {"fingerprint": "a"},
            "readiness": {"ready": reason == "KnownGood", "reason": reason, "message": ""}
        });
        serde_json::from_value(target).unwrap()
    }

    #[test]
    fn at_rest_it_is_looked_at_every_five_minutes_whatever_else_wakes_its_policy() {
        let at = |minute: i64| Timestamp::from_second(60 * minute).unwrap();
        let retries = Retries::default();
        let missing = known("ReferenceMissing");
        assert_eq!(retries.left(&missing, at(0)), Some(SignedDuration::ZERO), "after a restart at once");
        retries.note("uid", missing.readiness.as_ref().unwrap(), at(0));
        for (minute, left) in [(0, 5), (2, 3), (5, 0), (9, 0)] {
            assert_eq!(retries.left(&missing, at(minute)), Some(SignedDuration::from_mins(left)), "minute {minute}");
        }
        for workload in 0..100 {
            let told = missing.readiness.as_ref().unwrap();
            retries.note(&format!("deleted-{workload}"), told, at(10 + workload));
        }
        assert_eq!(retries.0.lock().unwrap().len(), 5, "workloads that are gone are forgotten");
        for at_rest in ["KnownGood", "NothingToGoBackTo"] {
            assert_eq!(retries.left(&known(at_rest), at(9)), None, "{at_rest}");
        }
    }
}
