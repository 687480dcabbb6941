//! Scenarios about what is done, and to whom.

use anyhow::{Context, Result, ensure};
use snapback_api::v1alpha1::{PhaseName, RollbackPhase, TriggerType};

use crate::judging::ERRORS;
use crate::scenario::{Bed, Scenario, TARGET};

const BAD: (&str, &str) = ("ERROR_RATIO", "0.5");

pub(crate) fn superseded(bed: &Bed) -> Result<()> {
    let scenario = Scenario::adopted(bed, "s08-superseded", 30, "soak: {duration: 30s, interval: 2s}")?;
    let v2 = scenario.v1.with(&[("VERSION", "v2")]);
    scenario.apply(&v2)?;
    let second = scenario.target("v2 soaking", 40, |target| target.phase == PhaseName::Soaking)?;
    scenario.apply(&scenario.v1.with(&[("VERSION", "v3"), BAD]))?;
    let third = scenario.target("v3 watched", 20, |target| {
        target.current.fingerprint != second.current.fingerprint && target.rollout.is_some()
    })?;
    ensure!(third.known_good == second.known_good, "v2 became known good without its soak");
    let rollback = scenario.ended(RollbackPhase::Succeeded, 60)?;
    ensure!(
        rollback.ordered().is_some_and(|ordered| ordered.from.fingerprint == third.current.fingerprint),
        "another revision was judged"
    );
    ensure!(scenario.events()?.iter().any(|event| event == "RolloutSuperseded"), "no Event");
    scenario.is_version("v1")
}

pub(crate) fn two_bad(bed: &Bed) -> Result<()> {
    let scenario = Scenario::adopted(bed, "s09-two-bad", 30, ERRORS)?;
    // v2 is slow to become ready, so that v3 comes before v2 is judged.
    scenario.apply(&scenario.v1.with(&[("VERSION", "v2"), BAD, ("START_DELAY", "6s")]))?;
    scenario.target("v2 watched", 20, |target| target.rollout.is_some())?;
    scenario.apply(&scenario.v1.with(&[("VERSION", "v3"), BAD]))?;
    scenario.ended(RollbackPhase::Succeeded, 90)?;
    scenario.is_version("v1")
}

pub(crate) fn first_rollout(bed: &Bed) -> Result<()> {
    let scenario = Scenario::new(bed, "s13-first")?;
    scenario.policy("")?;
    scenario.apply(&scenario.v1.with(&[("CRASH_AFTER", "300ms")]))?;
    let target = scenario.target("held", 60, |target| target.reason == "NothingToGoBackTo")?;
    ensure!(target.phase == PhaseName::Held && target.known_good.is_none(), "{target:?}");
    scenario.nothing_is_undone(3)?;
    // A fix is judged like any other revision, and becomes the first known good one.
    scenario.policy("onNoData: Pass")?;
    scenario.apply(&scenario.v1.with(&[("VERSION", "fixed")]))?;
    scenario.target("known good", 60, |target| target.known_good.is_some()).map(drop)
}

pub(crate) fn paused(bed: &Bed) -> Result<()> {
    let scenario = Scenario::adopted(bed, "s14-paused", 30, ERRORS)?;
    let kubectl = |verb: &str| bed.tools.kubectl(&["-n", &scenario.namespace, "rollout", verb, "deploy/checkout"]);
    kubectl("pause")?;
    scenario.apply(&scenario.v1.with(&[("VERSION", "v2"), BAD]))?;
    scenario.target("left alone", 20, |target| target.reason == "Paused")?;
    scenario.nothing_is_undone(5)?;
    kubectl("resume")?;
    scenario.ended(RollbackPhase::Succeeded, 60)?;
    scenario.is_version("v1")
}

pub(crate) fn scaled_to_zero(bed: &Bed) -> Result<()> {
    let scenario = Scenario::adopted(bed, "s14-zero", 0, "onNoData: Pass")?;
    scenario.apply(&scenario.v1.with(&[("VERSION", "v2")]))?;
    scenario.target("soaking", 40, |target| target.phase == PhaseName::Soaking)?;
    bed.tools.kubectl(&["-n", &scenario.namespace, "scale", "deploy/checkout", "--replicas=0"])?;
    scenario.target("not judged", 20, |target| target.reason == "ScaledToZero")?;
    scenario.nothing_is_undone(4)?;
    ensure!(scenario.deployment()?.spec.and_then(|spec| spec.replicas) == Some(0), "the replicas were changed");
    bed.tools.kubectl(&["-n", &scenario.namespace, "scale", "deploy/checkout", "--replicas=2"])?;
    scenario.target("passed", 60, |target| target.phase == PhaseName::Idle && target.reason == "KnownGood").map(drop)
}

pub(crate) fn scaling(bed: &Bed) -> Result<()> {
    let scenario = Scenario::adopted(bed, "s14-scaling", 30, ERRORS)?;
    scenario.apply(&scenario.v1.with(&[("VERSION", "v2")]))?;
    scenario.target("soaking", 40, |target| target.phase == PhaseName::Soaking)?;
    // As an autoscaler does: through the scale subresource.
    bed.tools.kubectl(&["-n", &scenario.namespace, "scale", "deploy/checkout", "--replicas=5"])?;
    scenario.target("passed", 60, |target| target.phase == PhaseName::Idle && target.reason == "KnownGood")?;
    scenario.apply(&scenario.v1.replicas(5).with(&[("VERSION", "v3"), BAD]))?;
    bed.tools.kubectl(&["-n", &scenario.namespace, "scale", "deploy/checkout", "--replicas=4"])?;
    scenario.ended(RollbackPhase::Succeeded, 60)?;
    ensure!(scenario.deployment()?.spec.and_then(|spec| spec.replicas) == Some(4), "the replicas were changed");
    scenario.is_version("v2")
}

pub(crate) fn approve(bed: &Bed) -> Result<()> {
    let scenario = Scenario::adopted(bed, "approve", 30, &format!("mode: Approve\n{ERRORS}"))?;
    scenario.apply(&scenario.v1.with(&[("VERSION", "v2"), BAD]))?;
    let waiting = scenario.rollback_is(60, "waiting", |phase| phase == RollbackPhase::AwaitingApproval)?;
    scenario.target("waiting", 20, |target| target.phase == PhaseName::AwaitingApproval)?;
    scenario.is_version("v2")?;
    let name = waiting.metadata.name.context("no name")?;
    // The record cannot be bent to another target.
    let bent = bed.tools.kubectl(&[
        "-n",
        &scenario.namespace,
        "patch",
        "rollback",
        &name,
        "--type=merge",
        "-p",
        r#"{"spec":{"target":{"name":"other"}}}"#,
    ]);
    ensure!(bent.is_err_and(|error| error.to_string().contains("must not change")), "the record could be changed");
    let by = bed.tools.whoami()?;
    let patch = serde_json::json!({"decision": "Approved", "by": by, "reason": "errors are real"});
    let patch = serde_json::json!({"spec": {"approval": patch}}).to_string();
    bed.tools.kubectl(&["-n", &scenario.namespace, "patch", "rollback", &name, "--type=merge", "-p", &patch])?;
    let rollback = scenario.ended(RollbackPhase::Succeeded, 60)?;
    ensure!(rollback.status.is_some_and(|status| status.timeline.approved_at.is_some()), "no time of approval");
    scenario.is_version("v1")
}

pub(crate) fn observe(bed: &Bed) -> Result<()> {
    let scenario = Scenario::adopted(bed, "observe", 30, &format!("mode: Observe\n{ERRORS}"))?;
    scenario.apply(&scenario.v1.with(&[("VERSION", "v2"), BAD]))?;
    let target = scenario.target("decided", 60, |target| target.reason == "ObservedOnly")?;
    ensure!(target.message.contains("nothing was changed"), "{}", target.message);
    scenario.nothing_is_undone(3)?;
    scenario.is_version("v2")
}

pub(crate) fn selector(bed: &Bed) -> Result<()> {
    let scenario = Scenario::new(bed, "selector")?;
    let other = snapback_tests::sample::Service::new(&scenario.namespace, "cart").with(&[("VERSION", "v1")]);
    let labelled = |manifest: String| manifest.replacen("labels: {app:", "labels: {team: payments, app:", 1);
    for service in [&scenario.v1, &other] {
        bed.tools.apply(&labelled(service.replicas(1).manifest()))?;
    }
    scenario.rolled_out()?;
    bed.tools.kubectl(&["-n", &scenario.namespace, "rollout", "status", "deploy/cart", "--timeout=60s"])?;
    scenario.policy(&format!(
        "selector: {{matchLabels: {{team: payments}}}}\n{}",
        ERRORS.replace("errorRate: {max: \"5%\"}", "crashRate: {max: \"90%\"}")
    ))?;
    for name in [TARGET, "cart"] {
        scenario.target_named(name, "adopted", 30, |target| target.known_good.is_some())?;
    }
    bed.tools.apply(&labelled(other.replicas(1).with(&[("VERSION", "v2"), ("CRASH_AFTER", "300ms")]).manifest()))?;
    let rollback = scenario.ended(RollbackPhase::Succeeded, 90)?;
    ensure!(rollback.spec.target.name == "cart", "{:?}", rollback.spec.target);
    let untouched = scenario.target_now(TARGET)?.context("no target")?;
    ensure!(untouched.phase == PhaseName::Idle && untouched.reason == "Adopted", "{untouched:?}");
    Ok(())
}

pub(crate) fn comes_back(bed: &Bed) -> Result<()> {
    let scenario = Scenario::adopted(bed, "comes-back", 0, "")?;
    let bad = scenario.v1.with(&[("VERSION", "v2"), ("CRASH_AFTER", "300ms")]);
    scenario.apply(&bad)?;
    scenario.ended(RollbackPhase::Succeeded, 90)?;
    scenario.target("at rest", 20, |target| target.phase == PhaseName::Idle)?;
    scenario.apply(&bad)?;
    scenario.target("undone again", 60, |target| {
        target.phase == PhaseName::Idle && target.quarantined.iter().any(|bad| bad.rollback.ends_with("-1"))
    })?;
    let mut rollbacks = scenario.rollbacks()?;
    rollbacks.sort_by_key(|rollback| rollback.spec.decided_at.clone());
    ensure!(rollbacks.len() == 2, "{} Rollbacks", rollbacks.len());
    let again = rollbacks.pop().context("just counted")?;
    ensure!(again.spec.trigger.type_ == TriggerType::Quarantine, "{:?}", again.spec.trigger);
    ensure!(again.status.is_some_and(|status| status.phase == Some(RollbackPhase::Succeeded)), "it did not succeed");
    scenario.is_version("v1")?;

    // A person lets it go: it runs, and is judged anew.
    scenario.policy("mode: Observe")?;
    let released = serde_json::json!({"reason": "a drill", "by": bed.tools.whoami()?});
    let patch = serde_json::json!({"spec": {"released": released}}).to_string();
    let name = again.metadata.name.context("no name")?;
    bed.tools.kubectl(&["-n", &scenario.namespace, "patch", "rollback", &name, "--type=merge", "-p", &patch])?;
    scenario.target("released", 20, |target| target.quarantined.is_empty())?;
    scenario.apply(&bad)?;
    scenario.target("judged", 60, |target| target.reason == "ObservedOnly").map(drop)
}

pub(crate) fn probed(bed: &Bed) -> Result<()> {
    let probes =
        "[{path: /healthz, port: 8080}, {path: /readyz, port: 8080}, {path: /healthz, port: 8443, scheme: HTTPS}]";
    let scenario = undone_with_probes(bed, "probed", probes)?;
    let rollback = scenario.ended(RollbackPhase::Succeeded, 60)?;
    ensure!(rollback.verify().http.len() == 3, "the record lacks the probes: {:?}", rollback.spec.verify);
    let status = rollback.status.context("no status")?;
    ensure!(status.message.ends_with("its pods answer their probes"), "{}", status.message);
    let verified = status.conditions.iter().find(|condition| condition.type_ == "Verified");
    ensure!(verified.is_some_and(|verified| verified.status == "True"), "{:?}", status.conditions);
    scenario.is_version("v1")
}

pub(crate) fn probed_badly(bed: &Bed) -> Result<()> {
    let scenario = undone_with_probes(bed, "probed-badly", "[{path: /no-such-path, port: 8080}]")?;
    let rollback = scenario.ended(RollbackPhase::Escalated, 60)?;
    let status = rollback.status.context("no status")?;
    ensure!(status.reason == "NotCured" && status.message.contains("answered 404"), "{}", status.message);
    ensure!(status.message.contains("GET :8080/no-such-path of pod checkout-"), "{}", status.message);
    scenario.target("escalated", 20, |target| target.phase == PhaseName::Escalated)?;
    // There is no second undo: the good revision stays.
    scenario.is_version("v1")
}

/// A v2 that crash-loops, under a policy with these probes.
fn undone_with_probes<'a>(bed: &'a Bed, namespace: &str, probes: &str) -> Result<Scenario<'a>> {
    let policy = format!(
        "checks: [{{name: crashes, crashRate: {{max: \"50%\"}}}}]\nrollback: {{deadline: 60s, verify: {{duration: 6s, http: {probes}}}}}"
    );
    let scenario = Scenario::new(bed, namespace)?.like(|v1| v1.with(&[("TLS_PORT", "8443")]));
    scenario.adopt(0, &policy)?;
    scenario.apply(&scenario.v1.with(&[("VERSION", "v2"), ("CRASH_AFTER", "300ms")]))?;
    Ok(scenario)
}
