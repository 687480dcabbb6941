//! An outage that begins when the old pods are gone: the release's doing, unless a control got worse as well.

use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use snapback_api::v1alpha1::{PhaseName, TargetStatus};

use crate::world::{NAMESPACE, World};

/// A pod of the control, as Kubernetes would call it.
const CONTROL: &str = "payments-7d9f8c6b5b-bcdfg";

/// Requests a second of each pod.
const LOAD: f64 = 20.0;

/// What happens when.
#[derive(Default)]
struct Times {
    released: Option<Timestamp>,
    /// Since when 30 % of the requests fail, and how long.
    outage: Option<(Timestamp, SignedDuration)>,
}

/// The requests of a pod that serves from `birth` on; with whether they failed.
fn counters(
    pod: &str,
    birth: Timestamp,
    outage: Option<(Timestamp, SignedDuration)>,
    at: Timestamp,
) -> [(Value, f64); 2] {
    let seconds = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64().max(0.0);
    let bad = outage.map_or(0.0, |(from, lasts)| 0.3 * LOAD * seconds(from.max(birth), at.min(from + lasts)));
    let labels = |code: &str| json!({"namespace": NAMESPACE, "pod": pod, "code": code});
    [(labels("200"), (LOAD * seconds(birth, at) - bad).floor()), (labels("500"), bad.floor())]
}

/// v2 is rolled out, and all is well. The outage, when it comes, hits the control too or not.
async fn released(is_common: bool) -> (World, Arc<Mutex<Times>>) {
    let mut world = World::without_operator();
    let first = world.sets().remove(0);
    let began = world.now() - SignedDuration::from_hours(7);
    let times = Arc::new(Mutex::new(Times::default()));
    let told = Arc::clone(&times);
    let answer = move |query: &str, at: Timestamp| {
        let Times { released, outage } = *told.lock().unwrap();
        let mut all = Vec::new();
        if !query.contains("http_requests_total{") {
            return all;
        }
        for set in
            query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).filter(|word| word.starts_with("checkout-"))
        {
            let birth = if *set == *first { Some(began) } else { released };
            let is_gone = *set == *first && released.is_some_and(|released| at >= released);
            all.extend(
                birth
                    .filter(|birth| at > *birth && !is_gone)
                    .into_iter()
                    .flat_map(|birth| counters(&format!("{set}-aaaaa"), birth, outage, at)),
            );
        }
        if query.contains("(payments)-") {
            all.extend(counters(CONTROL, began, outage.filter(|_| is_common), at));
        }
        all
    };
    world.count_at(Arc::new(answer)).await;
    world.policy(&json!({
        "soak": {"duration": "5m", "interval": "30s"},
        "controls": [{"kind": "Deployment", "name": "payments"}],
        "checks": [{"name": "errors", "errorRate": {"max": "5%"}}]
    }));
    world.start();
    world.until("v1 known good", |world| world.target().is_some_and(|target| target.known_good.is_some())).await;
    times.lock().unwrap().released = Some(world.now());
    world.deploy("v2", true);
    world.until("the soak", |world| phase(world) == Some(PhaseName::Soaking)).await;
    // Two looks from now on.
    let outage = (world.now() + SignedDuration::from_mins(1), SignedDuration::from_mins(2));
    times.lock().unwrap().outage = Some(outage);
    (world, times)
}

fn phase(world: &World) -> Option<PhaseName> {
    world.target().map(|target| target.phase)
}

fn is_held(target: &TargetStatus) -> bool {
    target.phase == PhaseName::Held && target.reason == "NotCausedByRelease"
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_hits_a_control_too_holds_until_it_is_over_and_the_release_becomes_known_good() {
    let (world, times) = released(true).await;
    world.until("the hold", |world| world.target().is_some_and(|target| is_held(&target))).await;
    let message = world.target().unwrap().message;
    assert!(message.contains("but payments, which was not released, has got worse at the same time ("), "{message}");
    let is_v2 = |world: &World| {
        world.target().is_some_and(|target| {
            target.phase == PhaseName::Idle && target.known_good.is_some_and(|good| good.images == ["shop/checkout:v2"])
        })
    };
    world.until("v2 known good", is_v2).await;
    assert!(world.rollbacks().is_empty(), "{:#?}", world.rollbacks());
    let (from, lasts) = times.lock().unwrap().outage.unwrap();
    assert!(world.now() > from + lasts);
}

#[tokio::test(start_paused = true)]
async fn a_release_that_turns_bad_alone_is_undone_though_it_has_a_control() {
    let (world, _) = released(false).await;
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    let rollback = world.rollbacks().remove(0);
    assert_eq!(rollback.spec.trigger.checks, ["errors"]);
    assert!(rollback.spec.require_approval.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_control_that_does_not_exist_is_told() {
    let world = World::adopted().await;
    world.policy(&json!({"controls": [{"kind": "Deployment", "name": "payments"}]}));
    let doubt = |world: &World| {
        let conditions = world.policy_now()?.status?.conditions;
        conditions.into_iter().find(|one| one.type_ == "ChecksDoubtful")
    };
    world.until("the doubt", |world| doubt(world).is_some()).await;
    let told = doubt(&world).unwrap();
    assert_eq!(told.reason, "ControlNotFound");
    let words = "spec.controls[0]: there is no Deployment \"payments\" in this namespace";
    assert!(told.message.starts_with(words), "{}", told.message);
}
