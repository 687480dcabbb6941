//! Jobs around an undo: before it for the data, after it for Helm's own record.

use std::sync::atomic::{AtomicBool, Ordering};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::{Value, json};
use snapback_api::v1alpha1::{PhaseName, RollbackPhase, RollbackStatus};
use snapback_fake_api::{Call, Fault, Verb};

use crate::crashes::die_everywhere_after;
use crate::faults::fail_everywhere;
use crate::world::{NAMESPACE, World};

fn is_undo(call: &Call) -> bool {
    call.verb == Verb::Patch && call.resource == "deployments" && !call.dry_run
}

fn is_creation(call: &Call) -> bool {
    call.verb == Verb::Create && call.resource == "jobs" && !call.dry_run
}

/// v1 known good; bad versions say that the Job `down` takes their change of data back, whose pods fare like this.
async fn reversible(fares: Option<&str>) -> World {
    let world = World::adopted().await.saying(&json!({
        "snapback.dev/migration": "Reversible", "snapback.dev/migration-job": "down"
    }));
    world.cron_job("down", fares);
    world
}

/// v1 known good and applied by Helm 3; the Job `helm` rolls its record back, and its pods fare like this.
async fn by_helm(fares: Option<&str>) -> World {
    let world = World::adopted().await.by_helm();
    world.cron_job("helm", fares);
    world.policy(&json!({"rollback": {"deadline": "2m", "verify": {"duration": "3s"}, "helm": {"job": "helm"}}}));
    world
}

async fn ended(world: &World) -> RollbackStatus {
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    world.at_rest("the rollback").await;
    world.rollbacks()[0].status.clone().unwrap()
}

fn residue(status: &RollbackStatus) -> Condition {
    status.conditions.iter().find(|condition| condition.type_ == "ResidueExpected").cloned().unwrap()
}

fn env(job: &Value, name: &str) -> Value {
    let env = job["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    env.iter().find(|one| one["name"] == name).map(|one| one["value"].clone()).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_change_of_data_is_taken_back_before_the_undo() {
    let world = reversible(None).await;
    world.deploy("v2", false);
    let status = ended(&world).await;
    world.was_undone_once("with a Job");
    let run = status.migration.unwrap();
    assert!(run.ended_at <= status.timeline.undo_requested_at, "the undo did not wait");
    let calls = world.api.calls();
    let place = |is: fn(&Call) -> bool| calls.iter().position(is).unwrap();
    assert!(place(is_creation) < place(is_undo));
    let job = world.jobs().remove(0);
    assert_eq!(job["metadata"]["name"], run.job.as_str());
    assert_eq!(job["metadata"]["ownerReferences"][0]["uid"], world.rollbacks()[0].metadata.uid.clone().unwrap());
    assert_eq!(job["spec"]["activeDeadlineSeconds"], 120, "it may go on when nobody waits for it any longer");
    assert_eq!(env(&job, "SNAPBACK_TARGET"), "checkout");
    assert_eq!(
        (env(&job, "SNAPBACK_IMAGES"), env(&job, "SNAPBACK_BAD_IMAGES")),
        (json!("shop/checkout:v1"), json!("shop/checkout:v2"))
    );
}

#[tokio::test(start_paused = true)]
async fn it_is_taken_back_once_wherever_the_process_dies() {
    die_everywhere_after(async || reversible(None).await, 1).await;
}

#[tokio::test(start_paused = true)]
async fn it_is_taken_back_once_whichever_request_fails() {
    fail_everywhere(async || reversible(None).await).await;
}

#[tokio::test(start_paused = true)]
async fn two_operators_make_one_job() {
    let mut world = reversible(None).await;
    world.start();
    world.deploy("v2", false);
    ended(&world).await;
    world.was_undone_once("two operators");
}

#[tokio::test(start_paused = true)]
async fn when_the_data_cannot_be_taken_back_nothing_is_undone() {
    for (fares, wanted) in [("fails", "BackoffLimitExceeded"), ("hangs", "did not end before the deadline")] {
        let world = reversible(Some(fares)).await;
        world.deploy("v2", false);
        let status = ended(&world).await;
        assert_eq!((status.phase, status.reason.as_str()), (Some(RollbackPhase::Failed), "MigrationFailed"));
        assert!(
            status.message.contains(wanted) && status.message.contains("kubectl logs -n shop job/"),
            "{}",
            status.message
        );
        assert_eq!(world.image(), "shop/checkout:v2");
        assert!(!world.api.calls().iter().any(is_undo), "{fares}: it was undone over data of v2");
        let target = world.target().unwrap();
        assert_eq!((target.phase, target.reason.as_str()), (PhaseName::Escalated, "RollbackFailed"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_template_that_is_missing_or_not_meant_for_it_is_told_before_anything_is_decided() {
    let world = reversible(None).await;
    world.api.delete("batch/v1", "cronjobs", NAMESPACE, "down");
    let held = |wanted: &'static str| {
        move |world: &World| {
            let target = world.target();
            target.is_some_and(|target| target.reason == "MigrationJobNotReady" && target.message.contains(wanted))
        }
    };
    world.deploy("v2", false);
    world.until("held", held("there is no CronJob or Job down in namespace shop")).await;
    let forbidden = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "down", "namespace": NAMESPACE},
        "spec": {"suspend": true, "template": {"spec": {"containers": [{"name": "app"}]}}}
    });
    world.api.apply("batch/v1", "jobs", &forbidden);
    world.until("held", held("annotate it with snapback.dev/allow-rollback-jobs")).await;
    let target = world.target().unwrap();
    assert!(target.phase == PhaseName::Held && !target.readiness.unwrap().ready);
    assert!(world.rollbacks().is_empty() && !world.api.calls().iter().any(is_creation));
    world.cron_job("down", None);
    ended(&world).await;
    world.was_undone_once("once the template was there");
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_job_of_the_same_name_is_not_taken_for_ours() {
    let world = reversible(None).await;
    let (api, done) = (world.api.clone(), AtomicBool::new(false));
    let race = move |call: &Call| {
        if is_creation(call) && !done.swap(true, Ordering::Relaxed) {
            let name = api.objects("rollbacks", NAMESPACE)[0]["status"]["migration"]["job"].clone();
            let job = json!({
                "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {"template": {"spec": {"containers": []}}}
            });
            api.apply("batch/v1", "jobs", &job);
        }
        false
    };
    world.api.fault(race, Fault::Lost);
    world.deploy("v2", false);
    let status = ended(&world).await;
    assert_eq!(status.reason, "MigrationFailed");
    assert!(status.message.contains("somebody else's"), "{}", status.message);
}

#[tokio::test(start_paused = true)]
async fn a_template_that_is_applied_while_the_job_runs_wins() {
    let world = reversible(Some("hangs")).await;
    world.deploy("v2", false);
    world.until("the Job", |world| !world.jobs().is_empty()).await;
    world.deploy("v3", true);
    let status = ended(&world).await;
    assert_eq!(status.phase, Some(RollbackPhase::Superseded));
    assert!(status.message.contains("may still take the change of data back"), "{}", status.message);
    assert_eq!(world.image(), "shop/checkout:v3");
}

#[tokio::test(start_paused = true)]
async fn helms_own_record_is_rolled_back_after_the_undo() {
    let world = by_helm(None).await;
    world.deploy("v2", false);
    let status = ended(&world).await;
    world.was_undone_once("by Helm 3");
    let condition = residue(&status);
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("False", "ReleaseRolledBack"));
    let job = world.jobs().remove(0);
    assert_eq!((env(&job, "SNAPBACK_RELEASE"), env(&job, "SNAPBACK_NAMESPACE")), (json!("shop"), json!(NAMESPACE)));
    assert!(status.helm.unwrap().requested_at >= status.timeline.handed_back_at.unwrap());
}

#[tokio::test(start_paused = true)]
async fn it_is_rolled_back_once_wherever_the_process_dies() {
    die_everywhere_after(async || by_helm(None).await, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_helm_job_that_fails_hangs_or_cannot_be_made_changes_a_condition_only() {
    for (fares, wanted) in [
        (Some("fails"), "BackoffLimitExceeded"),
        (Some("hangs"), "did not end before the deadline"),
        (None, "there is no CronJob or Job helm"),
    ] {
        let world = by_helm(fares).await;
        if fares.is_none() {
            world.api.delete("batch/v1", "cronjobs", NAMESPACE, "helm");
        }
        world.deploy("v2", false);
        let status = ended(&world).await;
        assert_eq!(status.phase, Some(RollbackPhase::Succeeded), "{wanted}");
        assert_eq!(world.image(), "shop/checkout:v1");
        // The record ends on time, and the Job is followed.
        let (ended, given_up) =
            (status.timeline.ended_at.clone().unwrap(), status.helm.clone().unwrap().ended_at.unwrap());
        assert!(fares == Some("fails") || ended < given_up, "{wanted}: the record waited for the Job");
        let condition = residue(&status);
        assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("True", "ReleaseRollbackFailed"));
        for part in [wanted, "`helm rollback shop --namespace shop`"] {
            assert!(condition.message.contains(part), "{}", condition.message);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_helm_job_that_can_be_made_only_after_the_end_is_made_then() {
    let mut world = by_helm(None).await;
    world.api.delete("batch/v1", "cronjobs", NAMESPACE, "helm");
    world.deploy("v2", false);
    let phase = |world: &World| world.rollbacks().first().and_then(|rollback| rollback.status.as_ref()?.phase);
    world.until("the end", |world| phase(world) == Some(RollbackPhase::Succeeded)).await;
    world.kill().await;
    assert!(world.jobs().is_empty());
    world.start();
    world.cron_job("helm", None);
    let status = ended(&world).await;
    world.was_undone_once("with a late Job");
    assert_eq!(residue(&status).reason, "ReleaseRolledBack");
}
