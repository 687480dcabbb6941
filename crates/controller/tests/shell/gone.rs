//! What is gone is watched no more, and asks nothing any more.

use serde_json::json;
use snapback_api::v1alpha1::{PhaseName, RollbackPhase};
use snapback_fake_api::{Call, FakeApi, Fault, Verb};

use crate::world::{NAMESPACE, World};

/// The kinds of workloads, the policies, and the records.
const AT_REST: usize = 5;

/// A v2 in its soak, with a watch of its pods.
async fn soaking() -> World {
    let world = World::adopted().await;
    assert_eq!(world.api.watches(), AT_REST);
    world.deploy("v2", true);
    world.until("v2 soaking", |world| world.target().is_some_and(|target| target.phase == PhaseName::Soaking)).await;
    assert_eq!(world.api.watches(), AT_REST + 1);
    world
}

fn delete_policy(api: &FakeApi) {
    api.delete("snapback.dev/v1alpha1", "rollbackpolicies", NAMESPACE, "checkout");
}

async fn is_watched_no_more(world: &World) {
    world.until("no watch of pods", |world| world.api.watches() == AT_REST).await;
    world.settle().await;
    assert_eq!(world.api.watches(), AT_REST);
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_a_deleted_policys_targets() {
    let world = soaking().await;
    delete_policy(&world.api);
    is_watched_no_more(&world).await;
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_a_policy_that_is_deleted_while_it_is_looked_at() {
    let world = World::adopted().await;
    let api = world.api.clone();
    // The look that begins the watch goes on after the policy is gone.
    let is_looked_at = move |call: &Call| {
        let is_list = call.verb == Verb::List && call.resource == "pods";
        if is_list && api.object("rollbackpolicies", NAMESPACE, "checkout").is_some() {
            delete_policy(&api);
        }
        false
    };
    world.api.fault(is_looked_at, Fault::Lost);
    world.deploy("v2", true);
    world.until("deleted", |world| world.policy_now().is_none()).await;
    is_watched_no_more(&world).await;
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_a_suspended_policys_targets() {
    let world = soaking().await;
    world.policy(&json!({"suspend": true}));
    is_watched_no_more(&world).await;
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_a_policy_that_means_nothing_any_more() {
    let world = soaking().await;
    world.policy(&json!({"soak": {"duration": "soon"}}));
    is_watched_no_more(&world).await;
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_a_deleted_workload() {
    let world = soaking().await;
    world.api.delete("apps/v1", "deployments", NAMESPACE, "checkout");
    is_watched_no_more(&world).await;
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_a_target_whose_soak_is_over() {
    let world = soaking().await;
    world.at_rest("v2 known good").await;
    is_watched_no_more(&world).await;
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_a_target_that_was_undone() {
    let world = World::adopted().await;
    world.deploy("v2", false);
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    world.at_rest("the rollback").await;
    is_watched_no_more(&world).await;
}

/// How each record stands, in the order of their names.
fn stand(world: &World) -> Vec<(RollbackPhase, String)> {
    let mut all = world.rollbacks();
    all.sort_by_key(|one| one.metadata.name.clone());
    all.into_iter().filter_map(|one| one.status).filter_map(|status| Some((status.phase?, status.reason))).collect()
}

fn is(phase: RollbackPhase, reason: &str) -> Vec<(RollbackPhase, String)> {
    vec![(phase, reason.to_owned())]
}

/// A bad v2, and a person who is asked.
async fn asked() -> World {
    let world = World::adopted().await;
    world.policy(&json!({"mode": "Approve"}));
    world.deploy("v2", false);
    let asks = is(RollbackPhase::AwaitingApproval, "AwaitingApproval");
    world.until("the question", |world| stand(world) == asks).await;
    world
}

#[tokio::test(start_paused = true)]
async fn the_question_of_a_deleted_policy() {
    let world = asked().await;
    delete_policy(&world.api);
    let closed = is(RollbackPhase::Rejected, "PolicyGone");
    world.until("the question closed", |world| stand(world) == closed).await;
    assert_eq!(world.image(), "shop/checkout:v2");
}

#[tokio::test(start_paused = true)]
async fn the_question_of_a_policy_that_is_deleted_while_nobody_runs() {
    let mut world = asked().await;
    world.kill().await;
    delete_policy(&world.api);
    world.start();
    let closed = is(RollbackPhase::Rejected, "PolicyGone");
    world.until("the question closed", |world| stand(world) == closed).await;
}

#[tokio::test(start_paused = true)]
async fn the_question_of_another_policy_and_a_persons_own_stay_open() {
    let world = asked().await;
    let target = json!({"kind": "Deployment", "name": "checkout"});
    world.api.apply(
        "snapback.dev/v1alpha1",
        "rollbackpolicies",
        &json!({
            "apiVersion": "snapback.dev/v1alpha1", "kind": "RollbackPolicy",
            "metadata": {"name": "other", "namespace": NAMESPACE}, "spec": {"targetRef": target}
        }),
    );
    world.api.apply("snapback.dev/v1alpha1", "rollbacks", &json!({
        "apiVersion": "snapback.dev/v1alpha1", "kind": "Rollback", "metadata": {"name": "zz", "namespace": NAMESPACE},
        "spec": {"target": target, "trigger": {"type": "Manual"}, "requireApproval": true}
    }));
    let asks = (RollbackPhase::AwaitingApproval, "AwaitingApproval".to_owned());
    let both = vec![asks.clone(), asks.clone()];
    world.until("both questions", |world| stand(world) == both).await;
    world.api.delete("snapback.dev/v1alpha1", "rollbackpolicies", NAMESPACE, "other");
    world.settle().await;
    assert_eq!(stand(&world), both);
    delete_policy(&world.api);
    let closed = (RollbackPhase::Rejected, "PolicyGone".to_owned());
    world.until("the policy's closed", |world| stand(world) == [closed.clone(), asks.clone()]).await;
    world.settle().await;
    assert_eq!(stand(&world)[1], asks);
}
