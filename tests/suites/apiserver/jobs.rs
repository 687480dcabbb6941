//! Jobs around an undo, with the real Job controller. The node is simulated: a test ends the Job's pod itself.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kube::Api;
use kube::api::ListParams;
use serde_json::Value;
use snapback_api::v1alpha1::{Rollback, RollbackPhase};
use snapback_controller::workload::{Started, start};
use snapback_core::jobs::{NewJob, Purpose, job_name};

use crate::bed::Bed;

const PATIENCE: Duration = Duration::from_secs(30);

/// The one Job that was made for a `Rollback`, once it is there.
pub(crate) fn made(bed: &Bed, namespace: &str) -> Result<Value> {
    let mut jobs = listed(bed, namespace)?;
    ensure!(jobs.len() == 1, "{} Jobs were made", jobs.len());
    Ok(jobs.remove(0))
}

/// The Job's pod ends like this.
pub(crate) fn ends(bed: &Bed, namespace: &str, phase: &str) -> Result<()> {
    let job = made(bed, namespace)?;
    let job = job["metadata"]["name"].as_str().context("no name")?.to_owned();
    let deadline = Instant::now() + PATIENCE;
    let pod = loop {
        let pods =
            bed.tools.kubectl(&["-n", namespace, "get", "pods", "-o", "name", "-l", &format!("job-name={job}")])?;
        if let Some(pod) = pods.lines().next() {
            break pod.to_owned();
        }
        ensure!(Instant::now() < deadline, "Job {job} has no pod");
        std::thread::sleep(Duration::from_millis(100));
    };
    let status = format!("{{\"status\":{{\"phase\":\"{phase}\"}}}}");
    bed.tools
        .kubectl(&["-n", namespace, "patch", &pod, "--subresource=status", "--type=merge", "-p", &status])
        .map(drop)
}

fn listed(bed: &Bed, namespace: &str) -> Result<Vec<Value>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = bed.tools.kubectl(&[
            "-n",
            namespace,
            "get",
            "jobs",
            "-o",
            "json",
            "-l",
            snapback_core::jobs::ROLLBACK_LABEL,
        ])?;
        let list: Value = serde_json::from_str(&text)?;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        if !items.is_empty() {
            return Ok(items);
        }
        ensure!(Instant::now() < deadline, "there is no Job of a Rollback in {namespace}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Waits until the one `Rollback` is so.
pub(crate) fn until(bed: &Bed, namespace: &str, what: &str, is_so: impl Fn(&Rollback) -> bool) -> Result<Rollback> {
    let rollbacks: Api<Rollback> = Api::namespaced(bed.client.clone(), namespace);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = bed.wait(rollbacks.list(&ListParams::default()))?.items.pop();
        if let Some(rollback) = &found {
            let conditions = rollback.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
            let wrong = snapback_api::conditions::violations(&conditions);
            ensure!(wrong.is_empty(), "the status breaks its contract: {wrong:?}");
            if is_so(rollback) {
                return Ok(rollback.clone());
            }
        }
        if Instant::now() > deadline {
            bail!("waited {PATIENCE:?} for {what:?}, but the Rollback is {found:#?}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// `v1` known good, the documented `v2` crashes, and the Job that takes its data back is there.
fn migrating(bed: &Bed, namespace: &str) -> Result<Value> {
    let example = crate::documents::block("examples/reversible.yaml", "kind: CronJob")?;
    let v2 = example.replace("namespace: shop", &format!("namespace: {namespace}")).replace(
        "labels: {app: checkout}\n      annotations",
        "labels: {app: checkout, simulated: crash-loop}\n      annotations",
    );
    ensure!(v2.contains("crash-loop"), "{v2}");
    let (template, v2) = v2.split_once("\n---\n").context("one document")?;
    let v1 = v2.replace(", simulated: crash-loop", "").replace("checkout:v2", "checkout:v1");
    bed.tools.apply(&v1)?;
    bed.rolled_out(namespace, "deploy/checkout")?;
    bed.adopted(namespace, "Deployment", "checkout", "rollback: {verify: {duration: 1s}}")?;
    bed.tools.apply(v2)?;
    // The template is not there: nothing is decided, and the way out is told.
    bed.until(namespace, "checkout", "held", |policy| {
        let target = policy.status.as_ref().and_then(|status| status.targets.first());
        target.is_some_and(|target| {
            target.reason == "MigrationJobNotReady"
                && target.message.contains("no CronJob or Job checkout-migrate-down")
        })
    })?;
    bed.tools.apply(template)?;
    made(bed, namespace)
}

fn image(bed: &Bed, namespace: &str) -> Result<String> {
    let path = "jsonpath={.spec.template.spec.containers[0].image}";
    bed.tools.kubectl(&["-n", namespace, "get", "deploy", "checkout", "-o", path])
}

pub(crate) fn taken_back(bed: &Bed) -> Result<()> {
    let namespace = bed.namespace("taken-back")?;
    let job = migrating(bed, &namespace)?;
    ensure!(job["spec"]["suspend"] == false && job["spec"]["backoffLimit"] == 2, "{job:#}");
    let waiting = until(bed, &namespace, "running", |rollback| {
        let run = rollback.status.as_ref().and_then(|status| status.migration.as_ref());
        run.is_some_and(|run| run.created_at.is_some())
    })?;
    ensure!(job["metadata"]["ownerReferences"][0]["uid"].as_str() == waiting.metadata.uid.as_deref(), "{job:#}");
    ensure!(waiting.status.is_some_and(|status| status.reason == "Migrating"), "the undo did not wait");
    ensure!(image(bed, &namespace)? == "shop/checkout:v2", "the undo did not wait");
    ends(bed, &namespace, "Succeeded")?;
    until(bed, &namespace, "undone", |rollback| {
        rollback.status.as_ref().is_some_and(|status| status.phase == Some(RollbackPhase::Succeeded))
    })?;
    ensure!(image(bed, &namespace)? == "shop/checkout:v1", "it was not undone");
    // The record is all that keeps the Job.
    bed.tools.kubectl(&["-n", &namespace, "delete", "rollbacks", "--all"])?;
    bed.tools.kubectl(&["-n", &namespace, "wait", "--for=delete", "jobs", "--all", "--timeout=30s"]).map(drop)
}

pub(crate) fn not_taken_back(bed: &Bed) -> Result<()> {
    let namespace = bed.namespace("not-taken-back")?;
    migrating(bed, &namespace)?;
    // Kubernetes' own way to fail a Job that has tries left: its deadline.
    let job = made(bed, &namespace)?;
    let job = job["metadata"]["name"].as_str().context("no name")?;
    let deadline = r#"{"spec":{"activeDeadlineSeconds":1}}"#;
    bed.tools.kubectl(&["-n", &namespace, "patch", "job", job, "--type=merge", "-p", deadline])?;
    let ended = until(bed, &namespace, "failed", |rollback| {
        rollback.status.as_ref().is_some_and(|status| status.phase == Some(RollbackPhase::Failed))
    })?;
    let status = ended.status.unwrap_or_default();
    ensure!(status.reason == "MigrationFailed" && status.message.contains("DeadlineExceeded"), "{}", status.message);
    ensure!(image(bed, &namespace)? == "shop/checkout:v2", "it was undone over data of v2");
    Ok(())
}

pub(crate) fn no_right(bed: &Bed) -> Result<()> {
    let nobody = bed.client_as("system:serviceaccount:default:nobody")?;
    let new = NewJob {
        name: job_name("checkout", "uid", Purpose::Migration),
        namespace: "default".to_owned(),
        owner: None,
        env: Vec::new(),
        seconds: 60,
    };
    let said = bed.wait(start(&nobody, "down", &new, true));
    let wanted = "the operator may not create Jobs: set jobs.enabled in the chart";
    ensure!(said == Started::Refused(wanted.to_owned()), "{said:?}");
    Ok(())
}
