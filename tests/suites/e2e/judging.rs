//! Scenarios about the verdict.

use anyhow::{Context, Result, ensure};
use snapback_api::v1alpha1::{PhaseName, RollbackPhase, VerdictName};

use crate::scenario::{Bed, Scenario, TARGET};

/// The policy of scenarios that look at errors only.
pub(crate) const ERRORS: &str =
    "checks: [{name: errors, errorRate: {max: \"5%\"}}, {name: crashes, crashRate: {max: \"50%\"}}]";

pub(crate) fn errors(bed: &Bed) -> Result<()> {
    let scenario = Scenario::adopted(bed, "s01-errors", 40, "")?;
    scenario.apply(&scenario.v1.with(&[("VERSION", "v2"), ("ERROR_RATIO", "0.2")]))?;
    let rollback = scenario.ended(RollbackPhase::Succeeded, 60)?;
    scenario.is_version("v1")?;

    // Recorded: who, why, by what numbers and what query, and when.
    let spec = &rollback.spec;
    ensure!(spec.trigger.checks == ["errors"], "{:?}", spec.trigger);
    let evidence = spec.evidence.iter().find(|check| check.name == "errors").context("no evidence")?;
    ensure!(evidence.verdict == VerdictName::Breached && evidence.limit.as_deref() == Some("5%"), "{evidence:?}");
    ensure!(evidence.counts.is_some(), "the record holds no counts to recompute the verdict from: {evidence:?}");
    ensure!(evidence.requests >= Some(10) && evidence.bad >= Some(1), "{evidence:?}");
    ensure!(evidence.query.as_ref().is_some_and(|query| query.contains("http_requests_total")), "{evidence:?}");
    let status = rollback.status.context("no status")?;
    ensure!(status.reason == "Verified", "{}", status.message);
    let timeline = &status.timeline;
    for (name, time) in [
        ("deployedAt", &timeline.deployed_at),
        ("firstBadAt", &timeline.first_bad_at),
        ("decidedAt", &timeline.decided_at),
        ("undoRequestedAt", &timeline.undo_requested_at),
        ("undoAcceptedAt", &timeline.undo_accepted_at),
        ("rolledOutAt", &timeline.rolled_out_at),
        ("recoveredAt", &timeline.recovered_at),
        ("endedAt", &timeline.ended_at),
    ] {
        ensure!(time.is_some(), "the timeline lacks {name}");
    }
    let target = scenario.target("at rest again", 20, |target| target.phase == PhaseName::Idle)?;
    ensure!(target.quarantined.len() == 1, "{target:?}");
    let events = scenario.events()?;
    for reason in ["RolloutDetected", "CheckBreached", "RollbackDecided", "RollbackStarted", "RollbackSucceeded"] {
        ensure!(events.iter().any(|event| event == reason), "no Event {reason} on the Deployment: {events:?}");
    }
    // Nothing of ours is left on the workload but the template that it had.
    let annotations = scenario.deployment()?.metadata.annotations.unwrap_or_default();
    ensure!(!annotations.keys().any(|key| key.contains("snapback")), "{annotations:?}");
    Ok(())
}

pub(crate) fn latency(bed: &Bed) -> Result<()> {
    // Well inside their buckets: a busy machine must not move them into others.
    let scenario = Scenario::new(bed, "s02-latency")?.like(|v1| v1.with(&[("LATENCY", "80ms")]));
    scenario.adopt(30, "")?;
    scenario.apply(&scenario.v1.with(&[("VERSION", "v2"), ("LATENCY", "280ms")]))?;
    let rollback = scenario.ended(RollbackPhase::Succeeded, 60)?;
    ensure!(rollback.spec.trigger.checks == ["latency"], "{:?}", rollback.spec.trigger);
    scenario.is_version("v1")
}

pub(crate) fn crash_loop(bed: &Bed) -> Result<()> {
    let scenario = Scenario::adopted(bed, "s03-crash", 0, "")?;
    scenario.apply(&scenario.v1.with(&[("VERSION", "v2"), ("CRASH_AFTER", "300ms")]))?;
    let rollback = scenario.rollback_is(40, "decided", |_| true)?;
    ensure!(rollback.spec.trigger.checks == ["crashes"], "{:?}", rollback.spec.trigger);
    scenario.ended(RollbackPhase::Succeeded, 60)?;
    scenario.is_version("v1")
}

pub(crate) fn missing_image(bed: &Bed) -> Result<()> {
    let scenario = Scenario::adopted(bed, "s04-image", 0, "")?;
    scenario.apply(&scenario.v1.with(&[("VERSION", "v2")]).image("localhost:1/no-such-image:v2"))?;
    // Until it says so is up to the kubelet's back-off, which doubles.
    let rollback = scenario.ended(RollbackPhase::Succeeded, 180)?;
    let evidence = rollback.spec.evidence.iter().find(|check| check.name == "crashes").context("no evidence")?;
    ensure!(evidence.message.contains("ImagePullBackOff"), "{}", evidence.message);
    scenario.is_version("v1")
}

pub(crate) fn query(bed: &Bed) -> Result<()> {
    let policy = r#"checks:
- name: conversion
  query:
    promql: sum(rate(orders_total{namespace="{{ namespace }}",pod=~"{{ pods }}"}[6s])) / sum(rate(http_requests_total{namespace="{{ namespace }}",pod=~"{{ pods }}"}[6s]))
    min: "80%"
    of: Baseline"#;
    let scenario = Scenario::adopted(bed, "s05-query", 30, policy)?;
    scenario.apply(&scenario.v1.with(&[("VERSION", "v2"), ("ORDER_RATIO", "0.5")]))?;
    let rollback = scenario.ended(RollbackPhase::Succeeded, 60)?;
    let evidence = rollback.spec.evidence.first().context("no evidence")?;
    ensure!(evidence.baseline.is_some() && evidence.verdict == VerdictName::Breached, "{evidence:?}");
    scenario.is_version("v1")
}

pub(crate) fn good(bed: &Bed) -> Result<()> {
    let scenario = Scenario::adopted(bed, "s06-good", 30, "")?;
    let before = scenario.deployment()?;
    let v2 = scenario.v1.with(&[("VERSION", "v2")]);
    scenario.apply(&v2)?;
    scenario.target("watched", 20, |target| target.rollout.is_some())?;
    let target = scenario.target("passed", 60, |target| target.phase == PhaseName::Idle)?;
    ensure!(target.reason == "KnownGood", "{} {}", target.reason, target.message);
    let good = target.known_good.as_ref().map(|good| &good.fingerprint);
    ensure!(good == Some(&target.current.fingerprint), "v2 is not known good");
    ensure!(scenario.rollbacks()?.is_empty(), "something was undone");

    // Byte for byte what the user applied: no difference to the manifest, no field of ours, no annotation of ours.
    bed.tools.kubectl_with(&["diff", "-f", "-"], &v2.manifest()).context("kubectl diff")?;
    let after = scenario.deployment()?;
    let managers = after.metadata.managed_fields.clone().unwrap_or_default();
    ensure!(!managers.iter().any(|entry| entry.manager.as_deref() == Some("snapback")), "{managers:?}");
    let keys = |deployment: &k8s_openapi::api::apps::v1::Deployment| -> Vec<String> {
        deployment.metadata.annotations.iter().flatten().map(|(key, _)| key.clone()).collect()
    };
    ensure!(keys(&before) == keys(&after), "{:?}", keys(&after));
    Ok(())
}

/// A query that gives a series a pod is told so, and does not stop the other checks from doing their work.
pub(crate) fn many_series(bed: &Bed) -> Result<()> {
    let policy = r#"checks:
- {name: own, query: {promql: 'http_requests_total{namespace="{{ namespace }}"}', max: "1"}}
- {name: errors, errorRate: {max: "5%"}}"#;
    let scenario = Scenario::adopted(bed, "many-series", 30, policy)?;
    scenario.apply(&scenario.v1.with(&[("VERSION", "v2"), ("ERROR_RATIO", "0.3")]))?;
    scenario.target("told of the many series", 30, |target| {
        target.checks.iter().any(|check| check.reason == "ManySeries" && check.message.contains("aggregate it to one"))
    })?;
    let rollback = scenario.ended(RollbackPhase::Succeeded, 60)?;
    ensure!(rollback.spec.trigger.checks == ["errors"], "{:?}", rollback.spec.trigger);
    scenario.is_version("v1")
}

pub(crate) fn external_cause(bed: &Bed) -> Result<()> {
    let scenario = Scenario::new(bed, "s10-external")?;
    let dependency = snapback_tests::sample::Service::new(&scenario.namespace, "dependency").replicas(1);
    bed.tools.apply(&dependency.manifest())?;
    bed.tools.apply(&format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: dependency, namespace: {}}}\nspec: {{selector: {{app: dependency}}, ports: [{{port: 80, targetPort: 8080}}]}}",
        scenario.namespace
    ))?;
    bed.tools.kubectl(&["-n", &scenario.namespace, "rollout", "status", "deploy/dependency", "--timeout=60s"])?;
    let scenario =
        scenario.like(|v1| v1.with(&[("DEPENDENCY", "$(DEPENDENCY_SERVICE_HOST):$(DEPENDENCY_SERVICE_PORT)")]));
    scenario.adopt(40, ERRORS)?;
    // New pods take traffic at once, and old ones stay beside them: a pod is available only after 25 s.
    let v2 = scenario.v1.with(&[("VERSION", "v2")]);
    let manifest = v2.manifest().replace("spec:\n  replicas", "spec:\n  minReadySeconds: 25\n  replicas");
    bed.tools.apply(&manifest)?;
    scenario.target("watched", 20, |target| target.rollout.is_some())?;
    bed.tools.kubectl(&["-n", &scenario.namespace, "scale", "deploy/dependency", "--replicas=0"])?;
    let held = scenario.target("held for an external cause", 40, |target| target.reason == "NotCausedByRelease")?;
    ensure!(held.phase == PhaseName::Held, "{held:?}");
    ensure!(held.message.contains("not caused by this release"), "{}", held.message);
    bed.tools.kubectl(&["-n", &scenario.namespace, "scale", "deploy/dependency", "--replicas=1"])?;
    scenario.target("judged again", 60, |target| target.phase != PhaseName::Held)?;
    ensure!(scenario.rollbacks()?.is_empty(), "something was undone");
    scenario.is_version("v2")
}

pub(crate) fn no_traffic(bed: &Bed) -> Result<()> {
    let scenario = Scenario::adopted(bed, "s12-silence", 0, "")?;
    scenario.apply(&scenario.v1.with(&[("VERSION", "v2"), ("ERROR_RATIO", "1")]))?;
    let target = scenario.target("waiting for data", 60, |target| target.reason == "WaitingForData")?;
    ensure!(target.message.contains("no requests"), "{}", target.message);
    ensure!(target.checks.iter().any(|check| check.verdict == VerdictName::NoData), "{:?}", target.checks);
    scenario.nothing_is_undone(6)?;
    scenario.is_version("v2")?;
    let known = scenario.target_now(TARGET)?.and_then(|target| target.known_good).context("v1 was forgotten")?;
    ensure!(known.fingerprint != target.current.fingerprint, "an unjudged revision became known good");
    // It would be sampled for as long as there is no verdict; the scenarios after this one want rest.
    bed.tools.kubectl(&["-n", &scenario.namespace, "delete", "rollbackpolicy", TARGET]).map(drop)
}

pub(crate) fn under_the_limit(bed: &Bed) -> Result<()> {
    let scenario = Scenario::new(bed, "s15-limit")?.like(|v1| v1.replicas(1));
    scenario.adopt(60, &format!("{ERRORS}\nminimumRequests: 100"))?;
    scenario.apply(&scenario.v1.with(&[("VERSION", "v2"), ("ERROR_RATIO", "0.04")]))?;
    scenario.target("watched", 20, |target| target.rollout.is_some())?;
    let target = scenario.target("passed", 90, |target| target.phase == PhaseName::Idle)?;
    // So short a soak may be too short to prove that four are under five.
    ensure!(matches!(target.reason.as_str(), "KnownGood" | "Unproven"), "{} {}", target.reason, target.message);
    ensure!(scenario.rollbacks()?.is_empty(), "something was undone");
    scenario.is_version("v2")
}

/// The same bad release, under each preset's names.
pub(crate) fn preset(bed: &Bed, names: &str, preset: &str) -> Result<()> {
    let scenario = Scenario::new(bed, names)?.like(|v1| v1.with(&[("METRICS", names)]).replicas(2));
    scenario.adopt(30, &format!("metrics: {{preset: {preset}}}"))?;
    scenario.apply(&scenario.v1.with(&[("VERSION", "v2"), ("ERROR_RATIO", "0.3")]))?;
    scenario.ended(RollbackPhase::Succeeded, 60)?;
    scenario.is_version("v1")
}
