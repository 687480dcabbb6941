//! A bug that panics at one object: the operator goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use snapback_controller::run::run;

use crate::world::World;

#[tokio::test(start_paused = true)]
async fn a_look_that_panics_is_tried_again_and_the_release_is_undone() {
    let world = World::without_operator();
    let mut options = world.options();
    let (real, left) = (Arc::clone(&options.clock), Arc::new(AtomicUsize::new(0)));
    let panics = Arc::clone(&left);
    options.clock = Arc::new(move || {
        let broken = panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert!(broken.is_err(), "a bug");
        real()
    });
    let operator = tokio::spawn(run(world.api.client(), options, std::future::pending()));
    world.until("v1 known good", |world| world.target().is_some_and(|target| target.known_good.is_some())).await;
    left.store(3, Ordering::SeqCst);
    world.deploy("v2", false);
    world.until("the undo", |world| world.image() == "shop/checkout:v1").await;
    assert_eq!(left.load(Ordering::SeqCst), 0, "nothing panicked");
    world.at_rest("the rollback").await;
    world.was_undone_once("with panics");
    assert!(!operator.is_finished());
    operator.abort();
}
