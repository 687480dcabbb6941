//! Two replicas and one Lease: who leads, who takes over, and that nobody else writes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::Request;
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use snapback_controller::lease::{LeaseOptions, Terms};
use snapback_controller::run::{RunError, run};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::pairs::is_write;
use crate::world::World;

/// Longest time from a leader's death to the next one's first write.
const TAKEOVER: Duration = Duration::from_secs(20);

/// One replica, and what goes through its connection.
pub(crate) struct Replica {
    task: JoinHandle<Result<(), RunError>>,
    stop: Option<oneshot::Sender<()>>,
    /// Whether its requests about the Lease get no answer any more.
    cut: Arc<AtomicBool>,
    /// When it wrote anything but the Lease.
    writes: Arc<Mutex<Vec<Instant>>>,
}

impl Replica {
    pub(crate) fn start(world: &World, name: &str) -> Self {
        let mut options = world.options();
        options.lease = Some(lease(name));
        let (cut, writes) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (client, is_cut, written) = (world.api.client(), Arc::clone(&cut), Arc::clone(&writes));
        let service = tower::service_fn(move |request: Request<Body>| {
            let (client, is_cut, written) = (client.clone(), Arc::clone(&is_cut), Arc::clone(&written));
            async move {
                if request.uri().path().contains("/leases") {
                    if is_cut.load(Ordering::Relaxed) {
                        std::future::pending::<()>().await;
                    }
                } else if request.method() != "GET" {
                    written.lock().unwrap().push(Instant::now());
                }
                client.send(request).await
            }
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let operator = run(Client::new(service, "default"), options, async { _ = stopped.await });
        Self { task: tokio::spawn(operator), stop: Some(stop), cut, writes }
    }

    pub(crate) fn writes(&self) -> Vec<Instant> {
        self.writes.lock().unwrap().clone()
    }

    /// How it ended by itself.
    pub(crate) async fn ended(self) -> Result<(), RunError> {
        self.task.await.unwrap()
    }

    /// Asks it to end, and waits until it has.
    async fn stop(mut self) -> Result<(), RunError> {
        _ = self.stop.take().unwrap().send(());
        self.task.await.unwrap()
    }
}

/// The Lease of all, for one of this name.
pub(crate) fn lease(name: &str) -> LeaseOptions {
    LeaseOptions {
        namespace: "snapback-system".to_owned(),
        name: "snapback".to_owned(),
        identity: name.to_owned(),
        terms: Terms::default(),
    }
}

pub(crate) fn holder(world: &World) -> Option<String> {
    let lease = world.api.object("leases", "snapback-system", "snapback")?;
    lease["spec"]["holderIdentity"].as_str().map(str::to_owned)
}

/// `a` leads, `b` stands by, and v1 is known good.
async fn two(world: &World) -> (Replica, Replica) {
    let a = Replica::start(world, "a");
    world.until("a leader", |world| holder(world).is_some()).await;
    let b = Replica::start(world, "b");
    world.until("v1 known good", |world| world.target().is_some_and(|target| target.known_good.is_some())).await;
    (a, b)
}

async fn undone(world: &World, what: &str) {
    world.until(what, |world| !world.rollbacks().is_empty()).await;
    world.at_rest(what).await;
    world.was_undone_once(what);
}

#[tokio::test(start_paused = true)]
async fn one_of_two_does_the_work() {
    let world = World::without_operator();
    let (a, b) = two(&world).await;
    world.deploy("v2", false);
    undone(&world, "a bad release").await;
    assert_eq!(holder(&world).as_deref(), Some("a"));
    assert!(!a.writes().is_empty());
    assert_eq!(b.writes(), [], "the one that stands by wrote");
}

#[tokio::test(start_paused = true)]
async fn whenever_the_leader_dies_the_other_finishes_its_work_within_20_seconds() {
    let world = World::without_operator();
    let replicas = two(&world).await;
    let before = world.api.calls().len();
    world.deploy("v2", false);
    undone(&world, "without any death").await;
    let writes =
        world.api.calls().iter().skip(before).filter(|call| is_write(call) && call.resource != "leases").count();
    drop(replicas);
    for (index, after) in (0..writes).flat_map(|index| [(index, false), (index, true)]) {
        let what = format!("the leader dies at write {index}, after: {after}");
        let world = World::without_operator();
        let (a, b) = two(&world).await;
        let (count, died) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(None)));
        let noted = Arc::clone(&died);
        let is_it = move |call: &snapback_fake_api::Call| {
            let is_it = is_write(call) && call.resource != "leases" && count.fetch_add(1, Ordering::Relaxed) == index;
            if is_it {
                *noted.lock().unwrap() = Some(Instant::now());
            }
            is_it
        };
        let fault = if after { snapback_fake_api::Fault::DiesAfter } else { snapback_fake_api::Fault::DiesBefore };
        world.api.fault(is_it, fault);
        world.deploy("v2", false);
        world.until(&what, |world| world.api.faults_left() == 0).await;
        a.task.abort();
        world.until(&what, |world| holder(world).as_deref() == Some("b")).await;
        undone(&world, &what).await;
        let died = died.lock().unwrap().unwrap();
        if let Some(first) = b.writes().first() {
            assert!(first.duration_since(died) < TAKEOVER, "{what}: {:?}", first.duration_since(died));
        } else {
            // Its last write was the last one that there was to do.
            assert!(after && index + 1 == writes, "{what}: nobody took over");
        }
        b.task.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_writes_nothing_and_ends_before_another_one_leads() {
    let world = World::without_operator();
    let (a, b) = two(&world).await;
    a.cut.store(true, Ordering::Relaxed);
    let cut = Instant::now();
    // Work without end: whoever leads has something to write all the time.
    let mut version = 2;
    while holder(&world).as_deref() != Some("b") {
        world.deploy(&format!("v{version}"), true);
        version += 1;
        sleep(Duration::from_millis(300)).await;
        assert!(cut.elapsed() < TAKEOVER, "nobody took over");
    }
    let taken = cut.elapsed();
    let last = a.writes().last().unwrap().duration_since(cut);
    assert!(last < Terms::default().deadline, "it wrote {last:?} after its last renewal");
    assert!(last + Duration::from_secs(2) < taken, "wrote at {last:?}, another one led at {taken:?}");
    let ended = a.task.await.unwrap().unwrap_err().to_string();
    assert!(ended.contains("lost the lead: the Lease could not be renewed for 8s"), "{ended}");
    // The other one goes on.
    world.deploy("v2", false);
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    assert!(!b.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_stopped_hands_over_at_once() {
    let world = World::without_operator();
    let (a, b) = two(&world).await;
    let stopped = Instant::now();
    a.stop().await.unwrap();
    world.until("the other one", |world| holder(world).as_deref() == Some("b")).await;
    assert!(stopped.elapsed() < Duration::from_secs(3), "{:?}", stopped.elapsed());
    world.deploy("v2", false);
    undone(&world, "after the change of leaders").await;
    b.stop().await.unwrap();
    assert_eq!(holder(&world), None, "released by the last one, too");
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_lease_is_taken_ends() {
    let world = World::without_operator();
    let (a, b) = two(&world).await;
    b.task.abort();
    let mut lease = world.api.object("leases", "snapback-system", "snapback").unwrap();
    lease["spec"]["holderIdentity"] = Value::from("somebody");
    world.api.apply("coordination.k8s.io/v1", "leases", &lease);
    let ended = a.task.await.unwrap().unwrap_err().to_string();
    assert!(ended.contains("another replica holds the Lease"), "{ended}");
}

#[tokio::test(start_paused = true)]
async fn the_end_is_in_time_whenever_it_is_asked_for() {
    // While it stands by.
    let world = World::without_operator();
    let (_a, b) = two(&world).await;
    let asked = Instant::now();
    b.stop().await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(1), "standing by: {:?}", asked.elapsed());
    // Before the first lists are in.
    let world = World::without_operator();
    for _ in 0..100 {
        world.api.fault(|call| call.resource == "deployments", snapback_fake_api::Fault::Status(503));
    }
    let a = Replica::start(&world, "a");
    world.until("a leader", |world| holder(world).is_some()).await;
    let asked = Instant::now();
    a.stop().await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(1), "before the first lists: {:?}", asked.elapsed());
    // In mid-work.
    let world = World::without_operator();
    let (a, b) = two(&world).await;
    world.deploy("v2", false);
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    let asked = Instant::now();
    a.stop().await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(10), "in mid-work: {:?}", asked.elapsed());
    undone(&world, "by the other one").await;
    assert!(!b.writes().is_empty());
    assert_eq!(holder(&world).as_deref(), Some("b"));
}
