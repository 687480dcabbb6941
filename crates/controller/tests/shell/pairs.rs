//! The process dies at one of its writes, and when it is up again at another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use snapback_fake_api::{Call, Fault};

use crate::world::World;

/// Before or after the write is carried out.
pub(crate) const SIDES: [Fault; 2] = [Fault::DiesBefore, Fault::DiesAfter];

/// Everything but Events, which are best effort.
pub(crate) fn is_write(call: &Call) -> bool {
    call.verb.is_write() && !call.dry_run && call.resource != "events"
}

/// What is rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    /// A bad image, and nothing else.
    Plain,
    /// With the configuration of then, a raised surge, and Helm's Job.
    Everything,
}

impl Release {
    /// v1 known good.
    pub(crate) async fn adopted(self) -> World {
        match self {
            Self::Plain => {
                let world = World::adopted().await;
                // Long enough for all that goes wrong: what is given up in time is told elsewhere.
                world.policy(&json!({"rollback": {"deadline": "10m", "verify": {"duration": "3s"}}}));
                world
            }
            Self::Everything => World::adopted_with_everything().await,
        }
    }

    /// v2 comes, and is bad.
    pub(crate) fn comes(self, world: &World) {
        if self == Self::Everything {
            world.settings("two");
        }
        world.deploy("v2", false);
    }

    /// What is asked of the API server from its coming to rest, when nothing goes wrong.
    pub(crate) async fn requests(self) -> Vec<Call> {
        let world = self.adopted().await;
        let before = world.api.calls().len();
        self.comes(&world);
        undone_once(&world, "without any fault").await;
        world.api.calls().split_off(before)
    }
}

/// A Rollback comes, everything comes to rest and stays there, and the outcome is the right one.
pub(crate) async fn undone_once(world: &World, what: &str) {
    world.until(what, |world| !world.rollbacks().is_empty()).await;
    world.at_rest(what).await;
    world.was_undone_once(what);
    // What was late has come by now, and changes nothing.
    world.settle().await;
    world.at_rest(what).await;
    world.was_undone_once(what);
}

/// The process dies at a write, and then at the `second`-th write after its start. Whether it lived to see that.
pub(crate) async fn dies_twice(release: Release, first: (usize, Fault), second: (usize, Fault)) -> bool {
    let what = format!("{release:?}: {:?} write {}, then {:?} write {}", first.1, first.0, second.1, second.0);
    let mut world = release.adopted().await;
    dies_at(&world, first);
    release.comes(&world);
    world.until(&what, |world| world.api.faults_left() == 0).await;
    world.kill().await;
    dies_at(&world, second);
    world.start();
    let was_met = world.met_or_at_rest(&what).await;
    if was_met {
        world.kill().await;
        world.start();
    }
    undone_once(&world, &what).await;
    was_met
}

/// The same once.
pub(crate) async fn dies_once(release: Release, at: (usize, Fault)) {
    let what = format!("{release:?}: {:?} write {}", at.1, at.0);
    let mut world = release.adopted().await;
    dies_at(&world, at);
    release.comes(&world);
    world.until(&what, |world| world.api.faults_left() == 0).await;
    world.kill().await;
    world.start();
    undone_once(&world, &what).await;
}

fn dies_at(world: &World, (index, fault): (usize, Fault)) {
    let count = Arc::new(AtomicUsize::new(0));
    world.api.fault(move |call| is_write(call) && count.fetch_add(1, Ordering::Relaxed) == index, fault);
}
