//! StatefulSets and DaemonSets, whose pods are replaced in place.

use anyhow::{Result, ensure};
use kube::ResourceExt;
use snapback_api::v1alpha1::{Rollback, RollbackPhase};

use crate::judging::ERRORS;
use crate::scenario::{Bed, Scenario};

/// A v2 of this kind whose one new pod crashes before it is ever ready, undone.
fn crashing<'a>(bed: &'a Bed, namespace: &str, kind: &'static str) -> Result<(Scenario<'a>, Rollback)> {
    let scenario = Scenario::new(bed, namespace)?.like(|v1| v1.kind(kind));
    scenario.adopt(0, "")?;
    let before = scenario.pods_of("v1")?;
    scenario.apply(&scenario.v1.with(&[("VERSION", "v2"), ("NOT_READY", "true"), ("CRASH_AFTER", "300ms")]))?;
    let rollback = scenario.ended(RollbackPhase::Succeeded, 90)?;
    ensure!(rollback.spec.trigger.checks == ["crashes"], "{:?}", rollback.spec.trigger);
    scenario.is_version("v1")?;
    let after = scenario.pods_of("v1")?;
    ensure!(before.len() == after.len(), "{} pods instead of {}", after.len(), before.len());
    let replaced = after.iter().filter(|pod| !before.iter().any(|old| old.uid() == pod.uid())).count();
    ensure!(replaced == 1, "{replaced} pods were replaced");
    Ok((scenario, rollback))
}

/// `OrderedReady`: the controller alone would wait for the crashing pod for ever.
pub(crate) fn wedged(bed: &Bed) -> Result<()> {
    let (scenario, rollback) = crashing(bed, "wedged", "StatefulSet")?;
    let deleted = rollback.status.unwrap_or_default().deleted_pods;
    ensure!(deleted.len() == 1 && deleted[0].name == "checkout-2", "{deleted:?}");
    let events = scenario.events()?;
    ensure!(events.iter().any(|event| event == "StuckPodDeleted"), "{events:?}");
    Ok(())
}

pub(crate) fn daemon_set(bed: &Bed) -> Result<()> {
    let (_, rollback) = crashing(bed, "daemon-set", "DaemonSet")?;
    let deleted = rollback.status.unwrap_or_default().deleted_pods;
    ensure!(deleted.is_empty(), "it un-wedges itself: {deleted:?}");
    Ok(())
}

/// A new pod that runs and never becomes ready: Kubernetes has no deadline for it, so the policy's own one ends it.
pub(crate) fn hanging(bed: &Bed) -> Result<()> {
    let scenario = Scenario::new(bed, "hanging")?.like(|v1| v1.kind("StatefulSet"));
    scenario.adopt(0, "soak: {duration: 14s, interval: 2s, progressDeadline: 10s}")?;
    scenario.apply(&scenario.v1.with(&[("VERSION", "v2"), ("NOT_READY", "true")]))?;
    let rollback = scenario.ended(RollbackPhase::Succeeded, 90)?;
    ensure!(rollback.spec.trigger.checks == ["progress"], "{:?}", rollback.spec.trigger);
    let deleted = rollback.status.unwrap_or_default().deleted_pods;
    ensure!(deleted.len() == 1 && deleted[0].name == "checkout-2", "{deleted:?}");
    scenario.is_version("v1")
}

/// The pods of v1 and v2 have the same names, so the numbers of v2 are told by the life of its pods.
pub(crate) fn errors(bed: &Bed) -> Result<()> {
    let scenario = Scenario::new(bed, "stateful-errors")?.like(|v1| v1.kind("StatefulSet").replicas(2));
    scenario.adopt(40, ERRORS)?;
    scenario.apply(&scenario.v1.with(&[("VERSION", "v2"), ("ERROR_RATIO", "0.3")]))?;
    let rollback = scenario.ended(RollbackPhase::Succeeded, 90)?;
    ensure!(rollback.spec.trigger.checks == ["errors"], "{:?}", rollback.spec.trigger);
    let status = rollback.status.unwrap_or_default();
    ensure!(status.reason == "Verified", "{}: {}", status.reason, status.message);
    scenario.is_version("v1")?;
    scenario.pods_of("v1").map(drop)
}
