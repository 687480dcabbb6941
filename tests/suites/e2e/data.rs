//! Releases that changed data: taken back by a Job before the undo, or never undone.

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use snapback_api::v1alpha1::{FreezeName, PhaseName, RollbackPhase, TargetStatus};
use snapback_tests::images::{SAMPLE, TAG};
use snapback_tests::sample::{Service, is_of};

use crate::scenario::{Bed, Scenario, TARGET};

/// v1 known good, and a crashing v2 whose change of data is taken back by a container with these arguments.
fn migrated<'a>(bed: &'a Bed, namespace: &str, arguments: &str) -> Result<Scenario<'a>> {
    let scenario = Scenario::adopted(bed, namespace, 0, "")?;
    bed.tools.apply(&format!(
        "apiVersion: batch/v1
kind: Job
metadata:
  name: migrate-down
  namespace: {namespace}
  annotations: {{snapback.dev/allow-rollback-jobs: \"true\"}}
spec:
  suspend: true
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
      - {{name: down, image: \"{SAMPLE}:{TAG}\", args: {arguments}}}
"
    ))?;
    let v2 = scenario.v1.with(&[("VERSION", "v2"), ("CRASH_AFTER", "300ms")]);
    scenario.apply(
        &v2.annotated("snapback.dev/migration", "Reversible").annotated("snapback.dev/migration-job", "migrate-down"),
    )?;
    Ok(scenario)
}

pub(crate) fn taken_back(bed: &Bed) -> Result<()> {
    // Three seconds of work, whatever it is.
    let work = "[load, --target=127.0.0.1:8080, --rps=1, --duration=3s]";
    let scenario = migrated(bed, "taken-back", work)?;
    let rollback = scenario.ended(RollbackPhase::Succeeded, 90)?;
    scenario.is_version("v1")?;
    let status = rollback.status.context("no status")?;
    let job = status.migration.context("no Job")?.job;
    let pods = scenario.pods(&format!("batch.kubernetes.io/job-name={job}"))?;
    ensure!(pods.len() == 1, "Job {job} has {} pods", pods.len());
    let container = pods[0].status.iter().flat_map(|status| status.container_statuses.iter().flatten()).next();
    let state = container.and_then(|container| container.state.as_ref()?.terminated.clone());
    let ended = state.with_context(|| format!("Job {job} has not run: {container:?}"))?;
    ensure!(ended.exit_code == 0, "{ended:?}");
    let (worked, undone) =
        (ended.finished_at.context("no end")?, status.timeline.undo_requested_at.context("no undo")?);
    ensure!(worked.0 <= undone.0, "undone at {undone:?}, before the data at {worked:?}");
    scenario.pods_of("v1").map(drop)
}

pub(crate) fn not_taken_back(bed: &Bed) -> Result<()> {
    let scenario = migrated(bed, "not-taken-back", "[serve, --crash-after=500ms]")?;
    let rollback = scenario.ended(RollbackPhase::Failed, 90)?;
    let status = rollback.status.context("no status")?;
    ensure!(status.reason == "MigrationFailed", "{}: {}", status.reason, status.message);
    ensure!(status.timeline.undo_requested_at.is_none(), "{:?}", status.timeline);
    let target = scenario.target("given to a person", 20, |target| target.phase == PhaseName::Escalated)?;
    ensure!(target.reason == "RollbackFailed", "{}: {}", target.reason, target.message);
    // Nothing was written to the workload: v1 and v2, and no third template.
    let generation = scenario.deployment()?.metadata.generation;
    ensure!(generation == Some(2), "the Deployment is at generation {generation:?}");
    scenario.is_version("v2")
}

pub(crate) fn frozen(bed: &Bed) -> Result<()> {
    let scenario = Scenario::adopted(bed, "frozen", 0, "")?;
    let old = scenario.pods_of("v1")?;
    let release = |version: &str| -> Service {
        scenario.v1.with(&[("VERSION", version)]).annotated("snapback.dev/migration", "Irreversible")
    };
    let freeze = |target: &TargetStatus| target.rollout.as_ref().and_then(|rollout| rollout.freeze);
    scenario.apply(&release("v2").with(&[("NOT_READY", "true"), ("CRASH_AFTER", "300ms")]))?;
    let target = scenario.target("frozen", 60, |target| freeze(target) == Some(FreezeName::Frozen))?;
    ensure!(target.phase == PhaseName::Held && target.reason == "ForwardFixOnly", "{target:?}");
    let live = scenario.deployment()?;
    ensure!(live.spec.as_ref().and_then(|spec| spec.paused) == Some(true), "it is not paused");
    scenario.nothing_is_undone(3)?;
    // The very pods of before, and each answers.
    let pods = scenario.pods("app=checkout")?;
    for pod in &old {
        let name = pod.name_any();
        ensure!(pods.iter().any(|one| one.uid() == pod.uid() && is_of(one, "v1")), "pod {name} is gone");
        let url = format!("/api/v1/namespaces/{}/pods/{name}:8080/proxy/", scenario.namespace);
        let answer = bed.tools.kubectl(&["get", "--raw", &url])?;
        ensure!(answer.trim() == "v1", "pod {name} answers {answer:?}");
    }

    // A fix is all that is needed.
    scenario.apply(&release("v3"))?;
    scenario.target("the freeze over", 30, |target| target.rollout.is_some() && freeze(target).is_none())?;
    scenario.rolled_out()?;
    let live = scenario.deployment()?;
    ensure!(live.spec.as_ref().is_some_and(|spec| spec.paused.is_none()), "it is still paused");
    ensure!(!live.annotations().contains_key("snapback.dev/frozen"), "{:?}", live.annotations());
    ensure!(scenario.rollbacks()?.is_empty(), "something was undone");
    ensure!(scenario.target_now(TARGET)?.is_some_and(|target| target.phase != PhaseName::Held), "it is held");
    scenario.is_version("v3")?;
    // Without requests it would be looked at for ever; the scenarios after this one want rest.
    bed.tools.kubectl(&["-n", &scenario.namespace, "delete", "rollbackpolicy", TARGET]).map(drop)
}
