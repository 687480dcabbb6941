//! One thing goes wrong at one request of a rollback: the kinds, and what is right then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use snapback_fake_api::{Call, Fault, Trouble, Verb};
use tokio::time::Instant;

use crate::pairs::{Release, undone_once};
use crate::world::World;

/// How the view of a controller is perturbed, after Sieve (OSDI'22).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// It sees the past.
    Stale,
    /// It stops in the middle, or does not know how far it came.
    Intermediate,
    /// It does not see what happened.
    Unobserved,
    /// None of these.
    Other,
}

/// Some of the requests.
type Requests = fn(&Call) -> bool;

/// One kind of fault.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    #[allow(dead_code, reason = "the table of `make faults` shows it")]
    pub(crate) pattern: Pattern,
    /// Which requests it can happen to.
    concerns: Requests,
    happens: Happens,
    /// Where another outcome is right, too: at which requests, and why.
    pub(crate) differs: Option<(Requests, &'static str)>,
}

/// What happens at the request.
#[derive(Clone, Copy)]
enum Happens {
    /// It fares so.
    Fault(Fault),
    /// The same, and the process starts anew.
    Death(Fault),
    /// The clock jumps by so many seconds.
    Jump(i64),
    /// Another operator starts, whose caches are so far behind.
    Leader(Duration),
    /// Objects that cannot be read are made beside ours.
    Unreadable,
}

/// What is rolled back: as many different requests as there can be.
pub(crate) const RELEASE: Release = Release::Everything;

const SECOND: Duration = Duration::from_secs(1);

fn any(_: &Call) -> bool {
    true
}

fn writes(call: &Call) -> bool {
    call.verb.is_write()
}

fn lists(call: &Call) -> bool {
    call.verb == Verb::List
}

fn watches(call: &Call) -> bool {
    call.verb == Verb::Watch
}

/// All kinds. With each of them at each request, the right outcome of a bad release is the same: it is undone once, with
/// all that goes with it. Where another one is right, the kind says why.
pub(crate) fn kinds() -> Vec<Kind> {
    use Happens::{Death, Jump, Leader, Unreadable};
    use Pattern::{Intermediate, Other, Stale, Unobserved};
    let kind = |name, pattern, concerns, happens| Kind { name, pattern, concerns, happens, differs: None };
    let fails = |name, pattern, concerns, fault| kind(name, pattern, concerns, Happens::Fault(fault));
    let watched = |name, pattern, trouble| kind(name, pattern, any, Happens::Fault(Fault::Watches(trouble)));
    let time = 5 * SECOND;
    vec![
        Kind {
            differs: Some((
                |call| call.verb == Verb::Get && call.resource == "configmaps",
                "a right that is missing is not waited for: the undo goes on, with the configuration that is there",
            )),
            ..fails("403 Forbidden", Other, any, Fault::Status(403))
        },
        fails(
            "403, admission refuses a write",
            Other,
            writes,
            Fault::Denied("admission webhook \"quota\" denied the request"),
        ),
        fails("409 Conflict at a write", Other, writes, Fault::Status(409)),
        fails("422 Invalid at a write", Other, writes, Fault::Status(422)),
        fails("429 with Retry-After", Other, any, Fault::Busy(429, 2)),
        fails("500", Other, any, Fault::Status(500)),
        fails("503", Other, any, Fault::Status(503)),
        fails("503 with Retry-After", Other, any, Fault::Busy(503, 2)),
        fails("504", Other, any, Fault::Status(504)),
        fails("connection reset before the request", Other, any, Fault::Lost),
        fails("connection reset after the commit", Intermediate, any, Fault::AnswerLost),
        fails("no answer, after the commit", Intermediate, any, Fault::NoAnswer(Duration::ZERO)),
        fails("no answer, commit 15 s later", Intermediate, any, Fault::NoAnswer(15 * SECOND)),
        fails("slow answer (5 s)", Stale, any, Fault::Slow(time)),
        fails("410 Gone at a list", Unobserved, lists, Fault::Status(410)),
        fails("410 Gone at a watch", Unobserved, watches, Fault::Status(410)),
        watched("watches: 410 as an event", Unobserved, Trouble::Expires),
        watched("watches: end", Unobserved, Trouble::Ends),
        watched("watches: 5 s of events dropped, then 410", Unobserved, Trouble::Drops(time)),
        watched("watches: silent until the client gives up", Unobserved, Trouble::Silent),
        watched("watches: 5 s of events twice", Stale, Trouble::Repeats(time)),
        watched("watches: 5 s of events reordered", Stale, Trouble::Reorders(time)),
        watched("watches: 5 s of events late", Stale, Trouble::Late(time)),
        fails(
            "older API server (10 s behind, for 20 s)",
            Stale,
            any,
            Fault::OlderServer { behind: 10 * SECOND, lasting: 20 * SECOND },
        ),
        fails(
            "older API server (60 s behind, for 30 s)",
            Stale,
            any,
            Fault::OlderServer { behind: 60 * SECOND, lasting: 30 * SECOND },
        ),
        kind("second operator, caches 5 s behind", Stale, any, Leader(5 * SECOND)),
        kind("second operator, caches 60 s behind", Stale, any, Leader(60 * SECOND)),
        kind("process dies before the request", Intermediate, any, Death(Fault::DiesBefore)),
        kind("process dies after the commit", Intermediate, any, Death(Fault::DiesAfter)),
        kind("clock jumps 5 min ahead", Other, any, Jump(300)),
        kind("clock jumps 5 min back", Other, any, Jump(-300)),
        kind("objects that cannot be read beside ours", Other, any, Unreadable),
    ]
}

impl Kind {
    /// How many of these requests it can happen to.
    pub(crate) fn count(&self, requests: &[Call]) -> usize {
        requests.iter().filter(|call| (self.concerns)(call)).count()
    }

    /// It happens to the `index`-th such request of a bad release. How long the undo took then.
    pub(crate) async fn happens(&self, index: usize, requests: &[Call]) -> Duration {
        let request = requests.iter().filter(|call| (self.concerns)(call)).nth(index);
        let what = format!("{} at request {index}, {}", self.name, request.map(Call::title).unwrap_or_default());
        let mut world = RELEASE.adopted().await;
        if self.differs.zip(request).is_some_and(|((differs, _), request)| differs(request)) {
            world.settings_may_stay();
        }
        let met = self.arm(&world, index);
        RELEASE.comes(&world);
        let came = Instant::now();
        let is_met = |_: &World| met.load(Ordering::Relaxed);
        match self.happens {
            Happens::Death(_) => {
                world.until(&what, is_met).await;
                world.kill().await;
                world.start();
            }
            Happens::Leader(behind) => {
                world.until(&what, is_met).await;
                world.start_behind(behind);
            }
            _ => {}
        }
        world.until(&what, |world| world.image() == "shop/checkout:v1").await;
        let took = came.elapsed();
        undone_once(&world, &what).await;
        world.kill().await;
        took
    }

    /// Makes it happen at the `index`-th request that it can happen to. Gives whether it has.
    fn arm(&self, world: &World, index: usize) -> Arc<AtomicBool> {
        let (concerns, count, met) = (self.concerns, AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
        let seen = Arc::clone(&met);
        let is_it = move |call: &Call| {
            let is_it = concerns(call) && count.fetch_add(1, Ordering::Relaxed) == index;
            seen.fetch_or(is_it, Ordering::Relaxed);
            is_it
        };
        match self.happens {
            Happens::Fault(fault) | Happens::Death(fault) => world.api.fault(is_it, fault),
            Happens::Leader(_) => {
                let look = move |call: &Call| {
                    is_it(call);
                    false
                };
                world.api.fault(look, Fault::Lost);
            }
            Happens::Jump(seconds) => {
                let hand = world.hand();
                let jump = move |call: &Call| {
                    hand.fetch_add(if is_it(call) { seconds } else { 0 }, Ordering::Relaxed);
                    false
                };
                world.api.fault(jump, Fault::Lost);
            }
            Happens::Unreadable => {
                let api = world.api.clone();
                let make = move |call: &Call| {
                    if is_it(call) {
                        for (kind, resource) in [("RollbackPolicy", "rollbackpolicies"), ("Rollback", "rollbacks")] {
                            let object = json!({
                                "apiVersion": "snapback.dev/v1alpha1", "kind": kind,
                                "metadata": {"name": "broken", "namespace": NEIGHBOUR},
                                "spec": {"targetRef": 7, "mode": "Sometimes", "target": []}
                            });
                            api.apply("snapback.dev/v1alpha1", resource, &object);
                        }
                    }
                    false
                };
                world.api.fault(make, Fault::Lost);
            }
        }
        met
    }
}

/// Where those beside ours are: in sight of the same watches, and out of the way of what counts our own.
const NEIGHBOUR: &str = "shop-two";
