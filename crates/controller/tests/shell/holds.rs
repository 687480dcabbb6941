//! GitOps tools that put back what they deliver, and holds that keep them from it: wherever the process dies.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use snapback_api::v1alpha1::{HoldStatus, RollbackPhase};
use snapback_fake_api::{Call, FakeApi, Fault};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::pairs::{SIDES, is_write};
use crate::world::{NAMESPACE, World, deployment};

pub(crate) const FLUX: (&str, &str) = ("kustomize.toolkit.fluxcd.io/v1", "kustomizations");
pub(crate) const ARGO: (&str, &str) = ("argoproj.io/v1alpha1", "applications");
pub(crate) const RECONCILE: &str = "kustomize.toolkit.fluxcd.io/reconcile";

/// What a repository says: commit, version, whether that is well.
type Source = Arc<Mutex<(&'static str, &'static str, bool)>>;

/// A tool that delivers `checkout` every ten seconds, and its repository.
pub(crate) struct Tool {
    source: Source,
    delivers: JoinHandle<()>,
    kind: (&'static str, &'static str),
}

impl Drop for Tool {
    fn drop(&mut self) {
        self.delivers.abort();
    }
}

impl Tool {
    fn start(world: &World, kind: (&'static str, &'static str)) -> Self {
        let source: Source = Arc::new(Mutex::new(("c1", "v1", true)));
        let spec = if kind == ARGO {
            json!({"syncPolicy": {"automated": {"selfHeal": true}}})
        } else {
            json!({"interval": "10s"})
        };
        let kind_name = if kind == ARGO { "Application" } else { "Kustomization" };
        let object = json!({
            "apiVersion": kind.0, "kind": kind_name, "metadata": {"name": "apps", "namespace": "argocd"}, "spec": spec
        });
        world.api.apply(kind.0, kind.1, &object);
        let (api, repository) = (world.api.clone(), Arc::clone(&source));
        let mut last = "";
        let delivers = tokio::spawn(async move {
            loop {
                let (commit, version, well) = *repository.lock().unwrap_or_else(PoisonError::into_inner);
                if kind == ARGO {
                    sync(&api, commit, version, well, &mut last);
                } else {
                    reconcile(&api, commit, version, well);
                }
                // Its interval, or sooner when it is asked.
                for _ in 0..100 {
                    sleep(Duration::from_millis(100)).await;
                    if kind == FLUX && asked(&api).is_some() {
                        break;
                    }
                }
            }
        });
        Self { source, delivers, kind }
    }

    pub(crate) fn commits(&self, commit: &'static str, version: &'static str, well: bool) {
        *self.source.lock().unwrap_or_else(PoisonError::into_inner) = (commit, version, well);
    }

    pub(crate) fn heals(&self, world: &World) -> bool {
        let object = world.api.object(self.kind.1, "argocd", "apps").unwrap();
        assert_eq!(object["metadata"]["annotations"]["snapback.dev/held-by"], Value::Null, "a note of ours is left");
        object["spec"]["syncPolicy"]["automated"]["selfHeal"] == true
    }
}

fn manifest(version: &str, well: bool, kind: (&str, &str)) -> Value {
    let mut object = deployment(version, well);
    if kind == ARGO {
        object["metadata"]["annotations"] =
            json!({"argocd.argoproj.io/tracking-id": "apps:apps/Deployment:shop/checkout"});
    } else {
        object["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"] = json!("apps");
        object["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/namespace"] = json!("argocd");
    }
    object
}

/// A request that was not answered.
fn asked(api: &FakeApi) -> Option<Value> {
    let object = api.object(FLUX.1, "argocd", "apps")?;
    let request = object["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"].clone();
    (request != object["status"]["lastHandledReconcileAt"]).then_some(request)
}

/// As kustomize-controller: it applies all but what is labelled, and says that all is well.
fn reconcile(api: &FakeApi, commit: &str, version: &str, well: bool) {
    let Some(mut object) = api.object(FLUX.1, "argocd", "apps") else { return };
    let live = api.object("deployments", NAMESPACE, "checkout").unwrap_or_default();
    if live["metadata"]["labels"][RECONCILE] != "disabled" {
        api.apply("apps/v1", "deployments", &manifest(version, well, FLUX));
    }
    object["status"] = json!({
        "lastAttemptedRevision": commit, "lastAppliedRevision": commit, "history": [{"digest": format!("of {commit}")}],
        "lastHandledReconcileAt": object["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"],
        "inventory": {"entries": [{"id": "shop_checkout_apps_Deployment", "v": "v1"}]},
        "conditions": [{"type": "Ready", "status": "True"}]
    });
    api.report(FLUX.0, FLUX.1, &object);
}

/// As Argo CD's application controller: a new commit is synced, and drift only where self-heal is on.
fn sync(api: &FakeApi, commit: &'static str, version: &str, well: bool, last: &mut &'static str) {
    let Some(mut object) = api.object(ARGO.1, "argocd", "apps") else { return };
    if object["metadata"]["annotations"]["argocd.argoproj.io/refresh"].is_string() {
        let mut seen = object.clone();
        seen["metadata"] = json!({
            "name": "apps", "namespace": "argocd", "annotations": {"argocd.argoproj.io/refresh": null}
        });
        api.apply(ARGO.0, ARGO.1, &seen);
        object = api.object(ARGO.1, "argocd", "apps").unwrap();
    }
    if *last != commit || object["spec"]["syncPolicy"]["automated"]["selfHeal"] == true {
        api.apply("apps/v1", "deployments", &manifest(version, well, ARGO));
        *last = commit;
    }
    let live = api.object("deployments", NAMESPACE, "checkout").unwrap_or_default();
    let is_synced = live["spec"]["template"] == manifest(version, well, ARGO)["spec"]["template"];
    object["status"] = json!({
        "sync": {"status": if is_synced { "Synced" } else { "OutOfSync" }, "revision": commit},
        "operationState": {"phase": "Succeeded", "syncResult": {"revision": *last}},
        "resources": [{"group": "apps", "kind": "Deployment", "namespace": NAMESPACE, "name": "checkout"}]
    });
    api.report(ARGO.0, ARGO.1, &object);
}

/// v1 is delivered by a tool, and known good.
pub(crate) async fn delivered(kind: (&'static str, &'static str)) -> (World, Tool) {
    let mut world = World::without_operator();
    world.api.apply("apps/v1", "deployments", &manifest("v1", true, kind));
    let tool = Tool::start(&world, kind);
    world.holds_tools();
    world.start();
    world.until("v1 known good", |world| world.target().is_some_and(|target| target.known_good.is_some())).await;
    (world, tool)
}

pub(crate) fn hold(world: &World) -> Option<HoldStatus> {
    world.rollbacks().first()?.status.clone()?.hold
}

pub(crate) fn is_held(world: &World) -> bool {
    hold(world).is_some_and(|hold| hold.placed_at.is_some() && hold.ended_at.is_none() && hold.tried_at.is_none())
}

pub(crate) fn has_ended(world: &World) -> bool {
    let all = world.rollbacks();
    all.iter().all(|one| {
        let hold = one.status.as_ref().and_then(|status| status.hold.as_ref());
        hold.is_some_and(|hold| hold.ended_at.is_some()) && one.metadata.finalizers.as_ref().is_none_or(Vec::is_empty)
    })
}

/// Nothing of a hold is left on the workload.
pub(crate) fn is_clean(world: &World) -> bool {
    let live = world.api.object("deployments", NAMESPACE, "checkout").unwrap();
    let labels = &live["metadata"]["labels"];
    labels[RECONCILE].is_null() && labels["snapback.dev/trial"].is_null() && live["spec"]["paused"] != true
}

/// A bad commit comes, is undone once, and stays undone for three intervals; then a good one comes, and rolls out.
async fn from_commit_to_commit(world: &World, tool: &Tool, what: &str) {
    world.until(what, |world| !world.rollbacks().is_empty()).await;
    world.until(what, |world| world.is_at_rest() && is_held(world)).await;
    for _ in 0..30 {
        assert_eq!(world.image(), "shop/checkout:v1", "{what}: the tool brought it back");
        sleep(Duration::from_secs(1)).await;
    }
    world.was_undone_once(what);
    tool.commits("c3", "v3", true);
    world.until(what, |world| world.image() == "shop/checkout:v3" && has_ended(world)).await;
    let known = |world: &World| world.target().and_then(|target| target.known_good).map(|good| good.images[0].clone());
    world.until(what, |world| known(world).as_deref() == Some("shop/checkout:v3")).await;
    assert!(is_clean(world), "{what}: something of ours is left");
    if tool.kind == ARGO {
        assert!(tool.heals(world), "{what}: it does not heal as before");
    }
    assert_eq!(world.rollbacks().len(), 1, "{what}");
    assert_eq!(world.rollbacks()[0].status.as_ref().unwrap().phase, Some(RollbackPhase::Succeeded), "{what}");
}

async fn writes(kind: (&'static str, &'static str)) -> usize {
    let (world, tool) = delivered(kind).await;
    let before = world.api.calls().len();
    tool.commits("c2", "v2", false);
    from_commit_to_commit(&world, &tool, "without any fault").await;
    world.api.calls().split_off(before).iter().filter(|call| is_write(call)).count()
}

pub(crate) fn dies_at(world: &World, (index, fault): (usize, Fault)) {
    let count = Arc::new(AtomicUsize::new(0));
    world.api.fault(move |call: &Call| is_write(call) && count.fetch_add(1, Ordering::Relaxed) == index, fault);
}

async fn die_everywhere(kind: (&'static str, &'static str)) {
    for index in 0..writes(kind).await {
        for side in SIDES {
            let what = format!("{}: {side:?} write {index}", kind.1);
            let (mut world, tool) = delivered(kind).await;
            dies_at(&world, (index, side));
            tool.commits("c2", "v2", false);
            // The last writes are of the commit that mends it.
            let is_mended = |world: &World| world.is_at_rest() && is_held(world);
            world.until(&what, |world| world.api.faults_left() == 0 || is_mended(world)).await;
            if world.api.faults_left() > 0 {
                tool.commits("c3", "v3", true);
                world.until(&what, |world| world.api.faults_left() == 0).await;
                world.kill().await;
                world.start();
                world.until(&what, |world| world.image() == "shop/checkout:v3" && has_ended(world)).await;
                assert!(is_clean(&world) && world.rollbacks().len() == 1, "{what}");
                continue;
            }
            world.kill().await;
            world.start();
            from_commit_to_commit(&world, &tool, &what).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_kustomization_leaves_the_undo_alone_until_its_source_moves_on_wherever_the_process_dies() {
    die_everywhere(FLUX).await;
}

#[tokio::test(start_paused = true)]
async fn an_application_leaves_the_undo_alone_until_it_synced_a_newer_commit_wherever_the_process_dies() {
    die_everywhere(ARGO).await;
}

/// v2 was undone, and its Kustomization is held.
async fn held() -> (World, Tool) {
    held_by(FLUX).await
}

/// v2 was undone, and its tool is held.
pub(crate) async fn held_by(kind: (&'static str, &'static str)) -> (World, Tool) {
    let (world, tool) = delivered(kind).await;
    tool.commits("c2", "v2", false);
    world.until("v2 undone and held", |world| world.is_at_rest() && is_held(world)).await;
    (world, tool)
}

#[tokio::test(start_paused = true)]
async fn a_commit_elsewhere_brings_no_pod_of_the_bad_revision_back_wherever_the_process_dies() {
    let elsewhere = async |world: &World, tool: &Tool, what: &str| {
        let is_tried = |world: &World| {
            let hold = hold(world);
            hold.is_some_and(|hold| hold.tried_at.is_some() && hold.revision.as_deref() == Some("c2b"))
        };
        tool.commits("c2b", "v2", false);
        world.until(what, |world| is_tried(world) && world.image() == "shop/checkout:v1" && labelled(world)).await;
    };
    let after = async |world: &World, tool: &Tool, what: &str| {
        for _ in 0..30 {
            assert_eq!(world.sets().len(), 1, "{what}: pods of another revision");
            sleep(Duration::from_secs(1)).await;
        }
        world.until(what, World::is_at_rest).await;
        assert_eq!(world.rollbacks().len(), 1, "{what}: nobody decided anything anew");
        tool.commits("c3", "v3", true);
        world.until(what, |world| world.image() == "shop/checkout:v3" && has_ended(world)).await;
        assert!(is_clean(world), "{what}");
    };
    let (world, tool) = held().await;
    let before = world.api.calls().len();
    elsewhere(&world, &tool, "without any fault").await;
    let writes = world.api.calls().split_off(before).iter().filter(|call| is_write(call)).count();
    after(&world, &tool, "without any fault").await;
    for index in 0..writes {
        for side in SIDES {
            let what = format!("elsewhere: {side:?} write {index}");
            let (mut world, tool) = held().await;
            dies_at(&world, (index, side));
            tool.commits("c2b", "v2", false);
            world.until(&what, |world| world.api.faults_left() == 0).await;
            world.kill().await;
            world.start();
            elsewhere(&world, &tool, &what).await;
            after(&world, &tool, &what).await;
        }
    }
}

fn labelled(world: &World) -> bool {
    let live = world.api.object("deployments", NAMESPACE, "checkout").unwrap();
    live["metadata"]["labels"][RECONCILE] == "disabled" && live["spec"]["paused"] != true
}

#[tokio::test(start_paused = true)]
async fn two_holds_of_one_workload_keep_both_bad_revisions_away() {
    let (world, tool) = held().await;
    // By hand, over the hold: the tool has no part in it.
    world.deploy("v3", false);
    let holds = |world: &World| -> Vec<HoldStatus> {
        let statuses = world.rollbacks().into_iter().filter_map(|one| one.status);
        statuses.filter_map(|status| status.hold).filter(|hold| hold.ended_at.is_none()).collect()
    };
    world
        .until("both held", |world| {
            let holds = holds(world);
            world.is_at_rest() && holds.len() == 2 && holds.iter().all(|hold| hold.placed_at.is_some())
        })
        .await;
    assert_eq!(world.image(), "shop/checkout:v1");
    for (commit, version) in [("c4", "v2"), ("c5", "v3"), ("c6", "v2")] {
        tool.commits(commit, version, false);
        let is_tried = |world: &World| holds(world).iter().any(|hold| hold.revision.as_deref() == Some(commit));
        let what = format!("the trial of {commit}");
        world.until(&what, |world| is_tried(world) && world.image() == "shop/checkout:v1" && labelled(world)).await;
        for _ in 0..30 {
            assert_eq!(world.sets().len(), 1, "{what}: pods of another revision");
            sleep(Duration::from_secs(1)).await;
        }
        assert_eq!((world.rollbacks().len(), holds(&world).len()), (2, 2), "{what}: nobody decided anything anew");
    }
    tool.commits("c7", "v4", true);
    world.until("v4", |world| world.image() == "shop/checkout:v4" && has_ended(world)).await;
    assert!(is_clean(&world));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_goes_back_to_the_good_revision_ends_the_hold() {
    let (world, tool) = held().await;
    tool.commits("revert", "v1", true);
    world.until("the end of the hold", has_ended).await;
    assert!(is_clean(&world));
    assert_eq!((world.image().as_str(), world.rollbacks().len()), ("shop/checkout:v1", 1));
}

#[tokio::test(start_paused = true)]
async fn a_hold_ends_with_its_record() {
    let (world, _tool) = held().await;
    let name = world.rollbacks()[0].metadata.name.clone().unwrap();
    world.api.delete("snapback.dev/v1alpha1", "rollbacks", NAMESPACE, &name);
    world
        .until("the end of the hold", |world| {
            is_clean(world) && world.rollbacks().iter().all(|one| one.metadata.name.as_ref() != Some(&name))
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_hold_ends_with_its_policy() {
    let (world, _tool) = held().await;
    world.api.delete("snapback.dev/v1alpha1", "rollbackpolicies", NAMESPACE, "checkout");
    world.until("the end of the hold", |world| has_ended(world) && is_clean(world)).await;
}

#[tokio::test(start_paused = true)]
async fn a_hold_ends_when_a_person_releases_the_revision() {
    let (world, _tool) = held().await;
    let mut released = serde_json::to_value(&world.rollbacks()[0]).unwrap();
    released["spec"]["released"] = json!({"by": "me", "reason": "the database is back"});
    released["metadata"] = json!({"name": released["metadata"]["name"], "namespace": NAMESPACE});
    released.as_object_mut().unwrap().remove("status");
    world.api.apply("snapback.dev/v1alpha1", "rollbacks", &released);
    world.until("v2 again", |world| world.image() == "shop/checkout:v2" && is_clean(world)).await;
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_the_administrator_did_not_switch_on_is_not_held_and_people_hear_of_it() {
    let mut world = World::without_operator();
    world.api.apply("apps/v1", "deployments", &manifest("v1", true, FLUX));
    let tool = Tool::start(&world, FLUX);
    world.start();
    world.until("v1 known good", |world| world.target().is_some_and(|target| target.known_good.is_some())).await;
    tool.commits("c2", "v2", false);
    world.until("an undo", |world| world.image() == "shop/checkout:v1" && !world.rollbacks().is_empty()).await;
    world.until("the reason", |world| hold(world).is_some_and(|hold| hold.ended_at.is_some())).await;
    let hold = hold(&world).unwrap();
    assert!(hold.because.as_ref().unwrap().contains("gitops.flux.enabled"), "{hold:?}");
    assert_eq!(hold.placed_at, None);
    let told = world.api.objects("events", NAMESPACE);
    assert!(told.iter().any(|event| event["reason"] == "HoldRefused"));
}

#[tokio::test(start_paused = true)]
async fn a_workload_that_another_operator_controls_is_not_undone() {
    let mut world = World::without_operator();
    let mut object = deployment("v1", true);
    object["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "x.dev/v1", "kind": "Shop", "name": "main", "uid": "u", "controller": true}]);
    world.api.apply("apps/v1", "deployments", &object);
    world.start();
    world.until("v1 known good", |world| world.target().is_some_and(|target| target.known_good.is_some())).await;
    world.deploy("v2", false);
    let is_told = |world: &World| {
        let target = world.target();
        target.is_some_and(|target| {
            target.message.contains("Shop/main controls") || target.reason == "ControlledElsewhere"
        })
    };
    world.until("the reason", is_told).await;
    world.settle().await;
    assert_eq!((world.image().as_str(), world.rollbacks().len()), ("shop/checkout:v2", 0));
    assert_eq!(world.target().unwrap().delivered_by.as_deref(), Some("Shop/main"));
}

/// Helm's Job outlasts its record, and so does a hold: neither waits for the other.
#[tokio::test(start_paused = true)]
async fn a_helm_job_is_followed_while_its_record_holds_a_tool() {
    let (world, _tool) = held().await;
    let mut record = serde_json::to_value(world.rollbacks().remove(0)).unwrap();
    let began = record["status"]["timeline"]["endedAt"].clone();
    record["status"]["helm"] = json!({"job": "gone", "requestedAt": began});
    world.api.report("snapback.dev/v1alpha1", "rollbacks", &record);
    let helm = |world: &World| world.rollbacks().remove(0).status.unwrap().helm.unwrap();
    world.until("the end of the Job", |world| helm(world).ended_at.is_some()).await;
    assert!(is_held(&world), "it waited for the end of the hold");
}
