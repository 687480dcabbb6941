//! Scenarios in which something else fails: the source, Prometheus itself, the operator.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use snapback_api::v1alpha1::{PhaseName, RollbackPhase, RollbackPolicy, TargetStatus, VerdictName};

use crate::judging::ERRORS;
use crate::scenario::{Bed, Scenario};

/// A bad v2, judged by a source that fails: never undone, and said so; undone as soon as the source is healed.
fn faulty_source(bed: &Bed, source: &str, reason: &str) -> Result<()> {
    let policy = format!("metrics: {{source: {source}}}\nchecks: [{{name: errors, errorRate: {{max: \"5%\"}}}}]");
    let scenario = Scenario::new(bed, &format!("s07-{source}"))?.like(|v1| v1.replicas(2));
    // With a source that answers: on a busy machine v1 may have to pass a soak first.
    scenario.adopt(20, &policy)?;
    bed.stub.fail(source);
    scenario.apply(&scenario.v1.with(&[("VERSION", "v2"), ("ERROR_RATIO", "0.5")]))?;
    let missing = |target: &TargetStatus| {
        let says = |check: &snapback_api::v1alpha1::CheckStatus| {
            check.verdict == VerdictName::NoData && check.reason == reason
        };
        target.checks.iter().any(says) && target.reason == "WaitingForData"
    };
    scenario.target(&format!("without data ({reason})"), 60, missing)?;
    scenario.nothing_is_undone(5)?;
    scenario.is_version("v2")?;
    bed.stub.heal(source);
    scenario.ended(RollbackPhase::Succeeded, 60)?;
    scenario.is_version("v1")
}

pub(crate) fn source_empty(bed: &Bed) -> Result<()> {
    faulty_source(bed, "empty", "NoSeries")
}

pub(crate) fn source_nan(bed: &Bed) -> Result<()> {
    faulty_source(bed, "nan", "NotANumber")
}

pub(crate) fn source_500(bed: &Bed) -> Result<()> {
    faulty_source(bed, "http500", "SourceUnavailable")
}

pub(crate) fn source_slow(bed: &Bed) -> Result<()> {
    faulty_source(bed, "slow", "SourceUnavailable")
}

pub(crate) fn prometheus_down(bed: &Bed) -> Result<()> {
    let scenario = Scenario::adopted(bed, "s07-down", 30, ERRORS)?;
    stop_prometheus(bed)?;
    let body = || {
        scenario.apply(&scenario.v1.with(&[("VERSION", "v2"), ("ERROR_RATIO", "0.5")]))?;
        let target = scenario.target("waiting for data", 60, |target| target.reason == "WaitingForData")?;
        ensure!(target.message.contains("unavailable"), "{}", target.message);
        scenario.nothing_is_undone(5)?;
        scenario.is_version("v2")
    };
    let result = body();
    start_prometheus(bed)?;
    result?;
    scenario.ended(RollbackPhase::Succeeded, 60)?;
    scenario.is_version("v1")
}

pub(crate) fn crash_without_prometheus(bed: &Bed) -> Result<()> {
    let scenario = Scenario::adopted(bed, "s03-no-prometheus", 0, "")?;
    stop_prometheus(bed)?;
    let body = || {
        scenario.apply(&scenario.v1.with(&[("VERSION", "v2"), ("CRASH_AFTER", "300ms")]))?;
        scenario.ended(RollbackPhase::Succeeded, 60)?;
        scenario.is_version("v1")
    };
    let result = body();
    start_prometheus(bed)?;
    result
}

fn stop_prometheus(bed: &Bed) -> Result<()> {
    let mut cluster = bed.cluster();
    cluster.as_mut().and_then(|cluster| cluster.prometheus.as_mut()).context("no Prometheus")?.stop();
    Ok(())
}

fn start_prometheus(bed: &Bed) -> Result<()> {
    let mut cluster = bed.cluster();
    let cluster = cluster.as_mut().context("no cluster")?;
    bed.wait(cluster.start_prometheus())
}

/// Deletes the leader's pod without any grace: the process is killed where it stands. The other replica leads soon.
fn kill_leader(scenario: &Scenario<'_>) -> Result<()> {
    let pod = scenario.leader()?;
    let arguments = ["-n", "snapback-system", "delete", "pod", &pod, "--force", "--grace-period=0"];
    let killed = Instant::now();
    scenario.bed.tools.kubectl(&arguments)?;
    while scenario.leader().is_ok_and(|leader| leader == pod) {
        ensure!(killed.elapsed() < Duration::from_secs(20), "nobody took over from {pod} within 20 s");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

pub(crate) fn killed_in_soak(bed: &Bed) -> Result<()> {
    let scenario = Scenario::adopted(bed, "s11-soak", 30, "soak: {duration: 20s, interval: 2s}")?;
    scenario.apply(&scenario.v1.with(&[("VERSION", "v2")]))?;
    let soaking = scenario.target("soaking", 40, |target| target.phase == PhaseName::Soaking)?;
    kill_leader(&scenario)?;
    let passed = scenario.target("passed", 60, |target| target.phase == PhaseName::Idle)?;
    ensure!(passed.reason == "KnownGood", "{} {}", passed.reason, passed.message);
    // The soak's clock went on: it did not begin anew with the new process.
    let ends = soaking.rollout.and_then(|rollout| rollout.soak_ends_at).context("no end")?.0;
    let late = jiff::Timestamp::now().duration_since(ends);
    ensure!(late < jiff::SignedDuration::from_secs(15), "the soak ended {late:?} late");
    scenario.is_version("v2")
}

pub(crate) fn killed_in_rollback(bed: &Bed) -> Result<()> {
    let scenario = Scenario::adopted(bed, "s11-rollback", 30, ERRORS)?;
    scenario.apply(&scenario.v1.with(&[("VERSION", "v2"), ("ERROR_RATIO", "0.5")]))?;
    scenario.rollback_is(60, "there", |_| true)?;
    kill_leader(&scenario)?;
    scenario.ended(RollbackPhase::Succeeded, 90)?;
    scenario.is_version("v1")?;
    ensure!(scenario.rollbacks()?.len() == 1, "there is more than one Rollback");
    // One undo: v1's ReplicaSet was re-used once, as revision 3.
    let annotations = scenario.deployment()?.metadata.annotations.unwrap_or_default();
    let revision = annotations.get("deployment.kubernetes.io/revision").cloned().unwrap_or_default();
    ensure!(revision == "3", "the Deployment is at revision {revision}");
    Ok(())
}

/// Lists and gets of the operator in half a minute of rest: none but those of its Lease, and of what another scenario left
/// in the middle of something. Watches are opened before and stay.
pub(crate) fn idle_traffic(bed: &Bed) -> Result<()> {
    let scenario = Scenario::adopted(bed, "idle", 0, "")?;
    std::thread::sleep(Duration::from_secs(5));
    let (rest, busy) = resting(bed, &scenario.namespace)?;
    let path = bed.cluster().as_ref().context("no cluster")?.audit_log.clone();
    let count = || -> Result<Vec<String>> {
        let text = std::fs::read_to_string(&path)?;
        let ours = text.lines().filter(|line| line.contains("system:serviceaccount:snapback-system:snapback"));
        let parsed = ours.filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let shown = parsed
            .filter(|entry| entry["verb"] != "watch" && entry["objectRef"]["resource"] != "leases")
            .map(|entry| format!("{} {}", entry["verb"], entry["requestURI"]));
        Ok(shown.collect())
    };
    let before = count()?.len();
    std::thread::sleep(Duration::from_secs(30));
    let after = count()?;
    let is_busy =
        |request: &&String| busy.iter().any(|namespace| request.contains(&format!("/namespaces/{namespace}/")));
    let new: Vec<&String> = after.iter().skip(before).filter(|request| !is_busy(request)).collect();
    ensure!(new.is_empty(), "requests while {rest} policies rest: {new:?}");
    scenario.is_version("v1")
}

/// How many policies rest, `own` among them, and the namespaces of those that do not: a target is judged, or put back, or its
/// readiness is looked at again every five minutes.
fn resting(bed: &Bed, own: &str) -> Result<(usize, Vec<String>)> {
    let policies: Api<RollbackPolicy> = Api::all(bed.client.clone());
    let policies = bed.wait(policies.list(&ListParams::default()))?.items;
    let rests = |target: &TargetStatus| {
        target.phase == PhaseName::Idle && target.readiness.as_ref().is_none_or(|readiness| readiness.ready)
    };
    let is_own = |policy: &RollbackPolicy| policy.namespace().as_deref() == Some(own);
    let (rest, busy): (Vec<_>, Vec<_>) = policies.into_iter().partition(|policy| {
        is_own(policy) || policy.status.as_ref().is_some_and(|status| status.targets.iter().all(rests))
    });
    Ok((rest.len(), busy.iter().filter_map(ResourceExt::namespace).collect()))
}
