//! The good revision's configuration changed together with the bad release.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use snapback_api::v1alpha1::RollbackStatus;

use snapback_fake_api::{Call, Fault, Verb};
use tokio::time::Instant;

use crate::pairs::is_write;
use crate::world::{NAMESPACE, World, deployment};

const COPY: &str = "settings-snapback-";

pub(crate) fn set(world: &World, content: &str) {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": NAMESPACE},
        "data": {"mode": content}
    });
    world.api.apply("v1", "configmaps", &object);
}

/// A version that reads the ConfigMap; one that is not well crash-loops.
pub(crate) fn apply(world: &World, version: &str, well: bool) {
    let mut object = deployment(version, well);
    object["spec"]["template"]["spec"]["volumes"] = json!([{"name": "settings", "configMap": {"name": "settings"}}]);
    world.api.apply("apps/v1", "deployments", &object);
}

/// v1 known good with its ConfigMap.
pub(crate) async fn adopted(config: &str) -> World {
    let mut world = World::without_operator();
    set(&world, "one");
    apply(&world, "v1", true);
    world.policy(&json!({"rollback": {"config": config, "verify": {"duration": "3s"}}}));
    world.start();
    world
        .until("v1 known good with its configuration", |world| {
            world
                .target()
                .and_then(|target| target.known_good)
                .is_some_and(|good| good.config.is_some() || config == "Ignore")
        })
        .await;
    world
}

pub(crate) async fn undone(world: &World) -> RollbackStatus {
    apply(world, "v2", false);
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    world.at_rest("the rollback").await;
    assert_eq!(world.image(), "shop/checkout:v1");
    world.rollbacks()[0].status.clone().unwrap()
}

pub(crate) fn named(world: &World) -> String {
    let live = world.api.object("deployments", NAMESPACE, "checkout").unwrap();
    live["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"].as_str().unwrap().to_owned()
}

pub(crate) fn condition(status: &RollbackStatus) -> Option<(String, String)> {
    let found = status.conditions.iter().find(|one| one.type_ == "ConfigRestored");
    found.map(|one| (one.status.clone(), one.reason.clone()))
}

#[tokio::test(start_paused = true)]
async fn by_default_a_changed_configuration_is_told() {
    let world = adopted("Warn").await;
    set(&world, "two");
    let status = undone(&world).await;
    assert_eq!(condition(&status), Some(("False".into(), "Drifted".into())));
    assert_eq!(status.config.unwrap().drifted, ["ConfigMap settings"]);
    assert_eq!(named(&world), "settings");
    assert_eq!(world.api.objects("configmaps", NAMESPACE).len(), 1, "a copy was kept");
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_configuration_is_not_spoken_of() {
    for mode in ["Ignore", "Warn", "Restore"] {
        let world = adopted(mode).await;
        let status = undone(&world).await;
        assert_eq!((condition(&status), named(&world).as_str()), (None, "settings"), "{mode}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_read_is_told_and_holds_no_undo_up() {
    let world = adopted("Restore").await;
    set(&world, "two");
    let reads = |call: &Call| call.verb == Verb::Get && call.resource == "configmaps";
    for _ in 0..100 {
        world.api.fault(reads, Fault::Status(403));
    }
    let status = undone(&world).await;
    assert_eq!(condition(&status), Some(("Unknown".into(), "NotRead".into())));
    assert_eq!(status.config.unwrap().unread, ["ConfigMap settings"]);
    assert_eq!(named(&world), "settings");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_want_to_know_is_not_told() {
    let world = adopted("Ignore").await;
    set(&world, "two");
    assert_eq!(condition(&undone(&world).await), None);
    assert_eq!(world.target().unwrap().known_good.unwrap().config, None, "it was looked at");
}

#[tokio::test(start_paused = true)]
async fn a_changed_configuration_comes_back_by_its_copy() {
    let world = adopted("Restore").await;
    set(&world, "two");
    let status = undone(&world).await;
    assert_eq!(condition(&status), Some(("True".into(), "CopiesUsed".into())));
    let copy = named(&world);
    assert!(copy.starts_with(COPY), "{copy}");
    let copy = world.api.object("configmaps", NAMESPACE, &copy).unwrap();
    assert_eq!((&copy["data"]["mode"], &copy["immutable"]), (&json!("one"), &json!(true)));
    assert_eq!(copy["metadata"]["ownerReferences"][0]["name"], "checkout");
    let shared = world.api.object("configmaps", NAMESPACE, "settings").unwrap();
    assert_eq!(shared["data"]["mode"], "two", "what others may read was changed");

    // The next release names its own, is judged, and the copy that nobody needs any more goes.
    apply(&world, "v3", true);
    world
        .until("v3 known good", |world| {
            world.target().and_then(|target| target.known_good).is_some_and(|good| {
                good.images == ["shop/checkout:v3"] && good.config.is_some_and(|config| !config[0].copy.is_empty())
            })
        })
        .await;
    assert_eq!(named(&world), "settings");
    let copies = world.api.objects("configmaps", NAMESPACE);
    let contents: Vec<&Value> =
        copies.iter().filter(|one| one["immutable"] == true).map(|one| &one["data"]["mode"]).collect();
    assert_eq!(contents, [&json!("two")]);
}

#[tokio::test(start_paused = true)]
async fn a_config_map_that_was_pruned_comes_back_by_its_copy() {
    let world = adopted("Restore").await;
    world.api.delete("v1", "configmaps", NAMESPACE, "settings");
    let status = undone(&world).await;
    assert_eq!(condition(&status), Some(("True".into(), "CopiesUsed".into())));
    assert!(named(&world).starts_with(COPY));
}

#[tokio::test(start_paused = true)]
async fn copies_that_may_not_be_made_are_asked_for_and_stop_nothing() {
    let mut world = World::without_operator();
    set(&world, "one");
    apply(&world, "v1", true);
    world.policy(&json!({"rollback": {"config": "Restore", "verify": {"duration": "3s"}}}));
    let forbidden = |call: &Call| call.verb == Verb::Create && call.resource == "configmaps";
    for _ in 0..20 {
        world.api.fault(forbidden, Fault::Status(403));
    }
    world.start();
    world.until("told", |world| readiness(world).as_deref() == Some("ConfigNotKept")).await;
    set(&world, "two");
    let status = undone(&world).await;
    assert_eq!(condition(&status), Some(("False".into(), "Drifted".into())));
}

/// From the decision on, so many reads of ConfigMaps fail.
async fn undone_while_reads_fail(times: usize) -> RollbackStatus {
    let world = adopted("Restore").await;
    set(&world, "two");
    let is_read = |call: &Call| call.verb == Verb::Get && call.resource == "configmaps";
    for _ in 0..times {
        let api = world.api.clone();
        let decided = move || !api.objects("rollbacks", NAMESPACE).is_empty();
        world.api.fault(move |call| is_read(call) && decided(), Fault::Status(503));
    }
    let began = Instant::now();
    let status = undone(&world).await;
    assert!(began.elapsed() < Duration::from_mins(2), "{:?}", began.elapsed());
    status
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_cannot_be_read_for_a_moment_is_waited_for() {
    let status = undone_while_reads_fail(3).await;
    assert_eq!(condition(&status), Some(("True".into(), "CopiesUsed".into())));
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_cannot_be_read_for_long_stops_no_undo() {
    let status = undone_while_reads_fail(1000).await;
    assert_eq!(condition(&status), Some(("Unknown".into(), "NotRead".into())));
}

/// A look that comes too late must not remove what the revision needs that stays the known good one.
#[tokio::test(start_paused = true)]
async fn copies_stay_until_it_is_written_that_another_revision_is_known_good() {
    let world = adopted("Restore").await;
    let kept = |world: &World| {
        let all = world.api.objects("configmaps", NAMESPACE);
        let content = |one: &Value| one["data"]["mode"].as_str().unwrap_or_default().to_owned();
        all.iter().filter(|one| one["immutable"] == true).map(content).collect::<Vec<_>>()
    };
    assert_eq!(kept(&world), ["one"]);
    set(&world, "two");
    // From the moment on at which v2 has its copy, no status of the policy is taken.
    let (met, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    for _ in 0..100 {
        let (api, met, is_over) = (world.api.clone(), Arc::clone(&met), Arc::clone(&is_over));
        let is_kept = move || {
            let all = api.objects("configmaps", NAMESPACE);
            all.iter().any(|one| one["data"]["mode"] == "two" && one["immutable"] == true)
        };
        let is_refused = move |call: &Call| {
            let is = call.verb.is_write()
                && call.resource == "rollbackpolicies"
                && !is_over.load(Ordering::Relaxed)
                && is_kept();
            met.fetch_add(usize::from(is), Ordering::Relaxed);
            is
        };
        world.api.fault(is_refused, Fault::Status(409));
    }
    apply(&world, "v2", true);
    world.until("v2 kept", |world| kept(world).len() == 2).await;
    set(&world, "three");
    apply(&world, "v3", false);
    world.until("refused", |_| met.load(Ordering::Relaxed) > 0).await;
    assert!(kept(&world).contains(&"one".to_owned()), "{:?}", kept(&world));
    assert_eq!(world.api.objects("controllerrevisions", NAMESPACE).len(), 2, "of the templates of v1 and v2");
    is_over.store(true, Ordering::Relaxed);
    world.until("v3 undone", |world| world.image() == "shop/checkout:v1").await;
    world.at_rest("the rollback").await;
    assert!(named(&world).starts_with(COPY), "{}", named(&world));
    let copy = world.api.object("configmaps", NAMESPACE, &named(&world)).unwrap();
    assert_eq!(copy["data"]["mode"], "one");
    world
        .until("those of v2 gone", |world| {
            kept(world) == ["one"] && world.api.objects("controllerrevisions", NAMESPACE).len() == 1
        })
        .await;
}

/// Whoever deletes it: the undo goes on with the configuration of the day.
#[tokio::test(start_paused = true)]
async fn a_copy_that_is_gone_stops_no_undo() {
    let world = adopted("Restore").await;
    set(&world, "two");
    undone(&world).await;
    let copy = named(&world);
    assert!(copy.starts_with(COPY), "{copy}");
    set(&world, "three");
    world.api.delete("v1", "configmaps", NAMESPACE, &copy);
    apply(&world, "v3", false);
    world.until("a second Rollback", |world| world.rollbacks().len() == 2).await;
    world.at_rest("the rollback").await;
    assert_eq!((world.image().as_str(), named(&world).as_str()), ("shop/checkout:v1", "settings"));
    let drifted = world.rollbacks().into_iter().filter_map(|one| one.status?.config).flat_map(|one| one.drifted);
    assert_eq!(drifted.collect::<Vec<_>>(), ["ConfigMap settings"]);
}

fn readiness(world: &World) -> Option<String> {
    world.target()?.readiness.map(|readiness| readiness.reason)
}

/// The process dies before and after each of its writes on a bad v2 whose coming changed the configuration. `is_back` looks
/// whether v1 has that of then.
pub(crate) async fn die_everywhere(
    make: impl AsyncFn() -> World,
    bad: impl Fn(&World),
    is_back: impl Fn(&World) -> bool,
) {
    let world = make().await;
    let before = world.api.calls().len();
    bad(&world);
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    world.at_rest("the rollback").await;
    let writes = world.api.calls().iter().skip(before).filter(|call| is_write(call)).count();
    assert!(writes >= 6, "{writes}");
    for index in 0..writes {
        for fault in [Fault::DiesBefore, Fault::DiesAfter] {
            let what = format!("{fault:?} write {index}");
            let mut world = make().await;
            let count = AtomicUsize::new(0);
            world.api.fault(move |call| is_write(call) && count.fetch_add(1, Ordering::Relaxed) == index, fault);
            bad(&world);
            world.until(&what, |world| world.api.faults_left() == 0).await;
            world.kill().await;
            world.start();
            world.until(&what, |world| !world.rollbacks().is_empty()).await;
            world.at_rest(&what).await;
            let status = world.rollbacks()[0].status.clone().unwrap();
            assert_eq!(condition(&status), Some(("True".into(), "CopiesUsed".into())), "{what}");
            assert!(is_back(&world) && world.image() == "shop/checkout:v1", "{what}");
            assert_eq!((world.rollbacks().len(), world.revision().as_str()), (1, "4"), "{what}: not one undo");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_the_known_good_revision_is_a_new_configuration() {
    let world = adopted("Restore").await;
    set(&world, "two");
    let mut restarted = deployment("v1", true);
    let template = &mut restarted["spec"]["template"];
    template["spec"]["volumes"] = json!([{"name": "settings", "configMap": {"name": "settings"}}]);
    template["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/restartedAt": "now"});
    let before = world.target().unwrap().known_good.unwrap();
    world.api.apply("apps/v1", "deployments", &restarted);
    world
        .until("remembered anew", |world| {
            let good = world.target().and_then(|target| target.known_good);
            good.is_some_and(|good| good.config.is_some() && good.config != before.config)
        })
        .await;
    assert_eq!(condition(&undone(&world).await), None, "what v1 ran with last is what it goes back to");
}

#[tokio::test(start_paused = true)]
async fn it_comes_back_wherever_the_process_dies() {
    let bad = |world: &World| {
        set(world, "two");
        apply(world, "v2", false);
    };
    die_everywhere(async || adopted("Restore").await, bad, |world| named(world).starts_with(COPY)).await;
}
