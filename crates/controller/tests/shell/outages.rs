//! The API server is away for a while.

use std::time::Duration;

use snapback_fake_api::{Call, Fault, Trouble, Verb};
use tokio::time::{Instant, sleep_until};

use crate::world::World;

/// Longest wait of a watch that failed many times, twice, and the undo after it.
const BACK: Duration = Duration::from_secs(30);

/// Every watch waits for itself alone: one that fails holds up none of the others.
#[tokio::test(start_paused = true)]
async fn after_an_outage_every_watch_comes_back_by_itself() {
    for minutes in [1, 3] {
        let world = World::adopted().await;
        let over = Instant::now() + Duration::from_mins(minutes);
        world.api.fault(|_| true, Fault::Watches(Trouble::Ends));
        for _ in 0..2000 {
            world.api.fault(move |_| Instant::now() < over, Fault::Lost);
            // No answer is there at once, as over any network.
            let is_watch = move |call: &Call| Instant::now() >= over && call.verb == Verb::Watch;
            world.api.fault(is_watch, Fault::Slow(Duration::from_millis(20)));
        }
        world.deploy("v2", true);
        sleep_until(over).await;
        world.deploy("v3", false);
        world.until("v1 back", |world| world.image() == "shop/checkout:v1").await;
        let late = over.elapsed();
        assert!(late < BACK, "after {minutes} min of outage, undone {} s after its end", late.as_secs());
    }
}
