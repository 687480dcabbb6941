//! What those who wait for a release are told, from its first pod to its end.

use serde_json::{Value, json};
use snapback_api::v1alpha1::PhaseName;
use snapback_fake_api::{Call, Fault, Verb};

use crate::holds::{self, FLUX};
use crate::world::{NAMESPACE, World};

/// What kstatus makes of an object: `Current`, or how it is not, and the reason of its `Ready`.
fn kstatus(object: &Value) -> String {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let find = |type_: &str| conditions.iter().find(|one| one["type"] == type_).cloned().unwrap_or_default();
    let ready = find("Ready");
    let status = match () {
        () if object["status"]["observedGeneration"] != object["metadata"]["generation"] => {
            return "NotSeen".to_owned();
        }
        () if find("Reconciling")["status"] == "True" => "InProgress",
        () if find("Stalled")["status"] == "True" => "Failed",
        () if ready["status"] == "True" => "Current",
        () => panic!("nothing that a wait could go by: {conditions:#?}"),
    };
    let expected = match status {
        "InProgress" => "Unknown",
        "Failed" => "False",
        _ => "True",
    };
    assert_eq!(ready["status"], expected, "{conditions:#?}");
    format!("{status} {}", ready["reason"].as_str().unwrap())
}

/// What was told since a version of the cluster, each once.
fn told(world: &World, since: u64) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    for change in world.api.history(since).iter().filter(|change| change.resource == "rollbackpolicies") {
        let status = kstatus(&change.object);
        if told.last() != Some(&status) {
            told.push(status);
        }
    }
    told
}

fn now(world: &World) -> String {
    kstatus(&world.api.object("rollbackpolicies", NAMESPACE, "checkout").unwrap())
}

fn message(world: &World) -> String {
    let conditions = world.policy_now().unwrap().status.unwrap().conditions;
    conditions.iter().find(|one| one.type_ == "Ready").unwrap().message.clone()
}

async fn until(world: &World, wanted: &str) {
    world.until(wanted, |world| now(world) == wanted).await;
    let conditions = world.policy_now().unwrap().status.unwrap().conditions;
    assert_eq!(snapback_api::conditions::violations(&conditions), Vec::<String>::new());
}

/// As a chart does it: the workload, then the policy that says what is expected. Gives the version from which on a wait
/// would look.
fn release(world: &World, version: &str, well: bool) -> u64 {
    world.deploy(version, well);
    let since = world.api.version();
    expect(world, version);
    since
}

fn expect(world: &World, version: &str) {
    world.policy(&json!({"gate": "Soak", "expectedRevision": version}));
}

/// v1 is known good, under a gate that expects it.
async fn gated() -> World {
    let world = World::adopted().await;
    expect(&world, "v1");
    until(&world, "Current Adopted").await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_good_release_is_in_progress_until_its_soak_has_passed() {
    let world = gated().await;
    let since = release(&world, "v2", true);
    until(&world, "Current KnownGood").await;
    let told = told(&world, since);
    assert_eq!((told[0].as_str(), told.last().unwrap().as_str()), ("NotSeen", "Current KnownGood"), "{told:?}");
    assert!(told[1..told.len() - 1].iter().all(|status| status.starts_with("InProgress ")), "{told:?}");
    assert!(told.len() > 2, "nothing was judged: {told:?}");
    assert_eq!(world.image(), "shop/checkout:v2");
}

#[tokio::test(start_paused = true)]
async fn a_bad_release_is_failed_and_stays_so_until_a_newer_one_comes() {
    let world = gated().await;
    let since = release(&world, "v2", false);
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    world.at_rest("the rollback").await;
    world.was_undone_once("under a gate");
    assert_eq!(now(&world), "Failed RolledBack");
    let bad = told(&world, since);
    assert!(!bad.iter().any(|status| status.starts_with("Current")), "a false green: {bad:?}");
    let failed = bad.iter().position(|status| status.starts_with("Failed")).unwrap();
    assert!(bad[failed..].iter().all(|status| status.starts_with("Failed")), "{bad:?}");
    assert!(bad[..failed].iter().all(|status| !status.starts_with("Failed")), "{bad:?}");

    let since = release(&world, "v3", true);
    until(&world, "Current KnownGood").await;
    let told = told(&world, since);
    assert!(!told.iter().any(|status| status.starts_with("Failed")), "the failure of v2 is not v3's: {told:?}");
    assert_eq!(world.image(), "shop/checkout:v3");
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_comes_before_its_workload_waits_for_it() {
    let world = gated().await;
    let since = world.api.version();
    expect(&world, "v2");
    until(&world, "InProgress AwaitingRevision").await;
    let said = message(&world);
    assert!(said.contains("v2 is expected, and shop/checkout:v1") && said.contains("which is called v1"), "{said}");
    world.settle().await;
    world.deploy("v2", true);
    until(&world, "Current KnownGood").await;
    assert_eq!(told(&world, since).iter().filter(|status| status.starts_with("Current")).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_revert_to_what_runs_again_passes_at_once() {
    let world = gated().await;
    release(&world, "v2", false);
    until(&world, "Failed RolledBack").await;
    world.at_rest("the rollback").await;
    let since = release(&world, "v1", true);
    until(&world, "Current RolledBack").await;
    assert_eq!(told(&world, since), ["NotSeen", "Current RolledBack"]);
    // Another deploy of what was undone is as bad as the first.
    expect(&world, "v2");
    until(&world, "Failed RolledBack").await;
    assert!(message(&world).contains("v2 is expected, and was rolled back (Rollback checkout-"), "{}", message(&world));
}

#[tokio::test(start_paused = true)]
async fn without_an_expected_revision_the_gate_speaks_of_what_was_deployed_last() {
    let world = World::adopted().await;
    world.policy(&json!({"gate": "Soak"}));
    until(&world, "Current Adopted").await;
    world.deploy("v2", false);
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    let since = world.api.version();
    world.at_rest("the rollback").await;
    let bad = told(&world, since);
    assert!(bad.iter().all(|status| status.starts_with("Failed")), "{bad:?}");
    // A person lets it go: nothing is held against it any more.
    world.deploy("v3", true);
    until(&world, "Current KnownGood").await;
}

#[tokio::test(start_paused = true)]
async fn a_gate_answers_where_nothing_is_undone() {
    let world = gated().await;
    world.policy(&json!({"gate": "Soak", "expectedRevision": "v2", "mode": "Observe"}));
    world.deploy("v2", false);
    until(&world, "Failed ObservedOnly").await;
    assert_eq!(world.image(), "shop/checkout:v2");
    world.deploy("v3", false);
    world.policy(&json!({"gate": "Soak", "expectedRevision": "v3", "mode": "Approve"}));
    until(&world, "Failed AwaitingApproval").await;
}

#[tokio::test(start_paused = true)]
async fn who_suspends_a_policy_opens_its_gate() {
    let world = gated().await;
    world.policy(&json!({"gate": "Soak", "expectedRevision": "v2", "suspend": true}));
    until(&world, "Current Suspended").await;
    world.deploy("v2", false);
    world.settle().await;
    assert_eq!(now(&world), "Current Suspended");
    expect(&world, "v2");
    until(&world, "Failed RolledBack").await;
    // What is found bad stays so.
    world.policy(&json!({"gate": "Soak", "expectedRevision": "v2", "suspend": true}));
    world.settle().await;
    assert_eq!(now(&world), "Failed RolledBack");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_looked_at_has_not_passed() {
    let world = gated().await;
    for _ in 0..3 {
        world.api.fault(|call: &Call| call.verb == Verb::Get && call.resource == "deployments", Fault::Status(500));
    }
    let since = release(&world, "v2", true);
    until(&world, "Current KnownGood").await;
    let told = told(&world, since);
    assert!(told.contains(&"InProgress ReadFailed".to_owned()), "{told:?}");
    assert_eq!(told.iter().filter(|status| status.starts_with("Current")).count(), 1, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_workload_that_is_yet_to_come_is_waited_for() {
    let mut world = World::without_operator();
    world.api.delete("apps/v1", "deployments", NAMESPACE, "checkout");
    expect(&world, "v1");
    world.start();
    until(&world, "InProgress TargetNotFound").await;
    world.deploy("v1", true);
    until(&world, "Current KnownGood").await;
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_an_older_one_overrides_never_has_a_verdict() {
    let mut world = World::without_operator();
    let mut younger = world.api.object("rollbackpolicies", NAMESPACE, "checkout").unwrap();
    younger["metadata"] = json!({"name": "younger", "namespace": NAMESPACE});
    younger["spec"]["gate"] = json!("Soak");
    world.hand().store(9, std::sync::atomic::Ordering::Relaxed);
    world.api.apply("snapback.dev/v1alpha1", "rollbackpolicies", &younger);
    world.start();
    let of_younger = |world: &World| kstatus(&world.api.object("rollbackpolicies", NAMESPACE, "younger").unwrap());
    world.until("overridden", |world| of_younger(world) == "Failed Overridden").await;
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_waits_for_the_gate_is_not_made_to_wait_for_itself() {
    let (world, tool) = holds::delivered(FLUX).await;
    expect(&world, "v1");
    until(&world, "Current Adopted").await;
    tool.commits("c2", "v2", false);
    expect(&world, "v2");
    world.until("held", |world| world.is_at_rest() && holds::is_held(world)).await;
    assert_eq!(now(&world), "Failed RolledBack");
    // It applied the policy of the next commit, and is kept from the workload.
    expect(&world, "v3");
    until(&world, "Failed KeptAway").await;
    assert!(message(&world).contains("Flux Kustomization argocd/apps is held"), "{}", message(&world));
    tool.commits("c3", "v3", true);
    until(&world, "Current KnownGood").await;
    assert_eq!((world.image().as_str(), world.target().unwrap().phase), ("shop/checkout:v3", PhaseName::Idle));
}
