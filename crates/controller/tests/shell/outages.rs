//! The API server is away for a while.

use std::time::Duration;

use snapback_fake_api::{Call, Fault, Trouble, Verb};
use tokio::time::{Instant, sleep_until};

use crate::world::World;

/// Longest wait of a watch that failed many times, twice, and the undo after it.
const BACK: Duration = Duration::from_secs(30);

/// From the next request on the API server is away, and watches with it. Gives when it is back.
fn outage(world: &World, minutes: u64) -> Instant {
    let over = Instant::now() + Duration::from_mins(minutes);
    world.api.fault(|_| true, Fault::Watches(Trouble::Ends));
    for _ in 0..2000 {
        world.api.fault(move |_| Instant::now() < over, Fault::Lost);
        // No answer is there at once, as over any network.
        let is_watch = move |call: &Call| Instant::now() >= over && call.verb == Verb::Watch;
        world.api.fault(is_watch, Fault::Slow(Duration::from_millis(20)));
    }
    over
}

async fn is_undone_soon_after(world: &World, over: Instant, what: &str) {
    world.until("v1 back", |world| world.image() == "shop/checkout:v1").await;
    let late = over.elapsed();
    assert!(late < BACK, "{what}: undone {} s after the end of the outage", late.as_secs());
}

/// Every watch waits for itself alone: one that fails holds up none of the others.
#[tokio::test(start_paused = true)]
async fn after_an_outage_every_watch_comes_back_by_itself() {
    for minutes in [1, 3, 10] {
        let world = World::adopted().await;
        let over = outage(&world, minutes);
        world.deploy("v2", true);
        sleep_until(over).await;
        world.deploy("v3", false);
        is_undone_soon_after(&world, over, &format!("after {minutes} min")).await;
    }
}

/// Nothing happens after the outage that would wake anybody.
#[tokio::test(start_paused = true)]
async fn a_bad_release_of_just_before_an_outage_is_undone_soon_after_it() {
    for minutes in [1, 3, 10] {
        let world = World::adopted().await;
        let over = outage(&world, minutes);
        world.deploy("v2", false);
        sleep_until(over).await;
        is_undone_soon_after(&world, over, &format!("after {minutes} min")).await;
    }
}
