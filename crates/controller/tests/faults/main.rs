//! Every kind of fault at every request of a rollback, and every pair of crashes: `make faults`.
//!
//! Each story has a cluster, a clock and a runtime of its own. What the shell's tests try a sample of is tried whole here,
//! and told in one table.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    dead_code,
    unreachable_pub,
    reason = "a program of the tests, which shares their world and not all of it"
)]

#[path = "../shell/blind.rs"]
mod blind;
#[path = "../shell/facts.rs"]
mod facts;
#[path = "../shell/matrix.rs"]
mod matrix;
#[path = "../shell/pairs.rs"]
mod pairs;
#[path = "../shell/source.rs"]
mod source;
mod table;
#[path = "../shell/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use matrix::{Pattern, RELEASE, kinds};
use pairs::{Release, SIDES, is_write};
use table::{Outcome, Row};

/// A story, and the row that it counts for.
struct Story {
    row: usize,
    tell: Box<dyn Fn() -> Outcome + Send + Sync>,
}

fn main() -> ExitCode {
    let only = std::env::args().nth(1).filter(|text| !text.starts_with('-'));
    let is_wanted = |name: &str| only.as_deref().is_none_or(|only| name.contains(only));
    let (mut rows, mut stories, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    let mut add = |name: &str, pattern: Pattern, all: Vec<Box<dyn Fn() -> Outcome + Send + Sync>>| {
        if is_wanted(name) {
            stories.extend(all.into_iter().map(|tell| Story { row: rows.len(), tell }));
            rows.push(Row::new(name, pattern));
        }
    };

    let requests = Arc::new(run(async || RELEASE.requests().await));
    for kind in kinds() {
        let at = |index| -> Box<dyn Fn() -> Outcome + Send + Sync> {
            let requests = Arc::clone(&requests);
            Box::new(move || told(async || Some(kind.happens(index, &requests).await)))
        };
        add(kind.name, kind.pattern, (0..kind.count(&requests)).map(at).collect());
        notes.extend(kind.differs.map(|(_, why)| format!("{}: {why}.", kind.name)));
    }
    let asked = [run(async || blind::requests(true).await), run(async || blind::requests(false).await)];
    for (name, failure) in blind::FAILURES {
        let bad = (0..asked[0]).map(|index| -> Box<dyn Fn() -> Outcome + Send + Sync> {
            Box::new(move || told(async || Some(blind::bad_release(name, failure, index).await)))
        });
        add(&format!("{name}, 10 s, bad release"), Pattern::Unobserved, bad.collect());
        let good = (0..asked[1]).map(|index| -> Box<dyn Fn() -> Outcome + Send + Sync> {
            Box::new(move || {
                told(async || {
                    blind::good_release(name, failure, index).await;
                    None
                })
            })
        });
        add(&format!("{name}, for ever, good release"), Pattern::Unobserved, good.collect());
    }
    for (release, title) in [(Release::Plain, "plain"), (Release::Everything, "with everything")] {
        let writes = run(async || release.requests().await).iter().filter(|call| is_write(call)).count();
        let points = || (0..writes).flat_map(|index| SIDES.map(|side| (index, side)));
        let once = points().map(|at| -> Box<dyn Fn() -> Outcome + Send + Sync> {
            Box::new(move || {
                told(async || {
                    pairs::dies_once(release, at).await;
                    None
                })
            })
        });
        add(&format!("crash at a write, {title}"), Pattern::Intermediate, once.collect());
        let twice = points().flat_map(|first| points().map(move |second| (first, second)));
        let twice = twice.map(|(first, second)| -> Box<dyn Fn() -> Outcome + Send + Sync> {
            Box::new(move || {
                let met = Mutex::new(true);
                let outcome = told(async || {
                    *met.lock().unwrap() = pairs::dies_twice(release, first, second).await;
                    None
                });
                if *met.lock().unwrap() { outcome } else { outcome.or_not_met() }
            })
        });
        add(&format!("crash at two writes, {title}"), Pattern::Intermediate, twice.collect());
    }

    let began = Instant::now();
    tell(&stories, &Mutex::new(&mut rows));
    table::print(&rows, &notes, requests.len(), began.elapsed());
    if rows.iter().any(Row::is_wrong) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Tells all stories, on as many threads as there are cores.
fn tell(stories: &[Story], rows: &Mutex<&mut Vec<Row>>) {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(2, Into::into);
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(story) = stories.get(index) else { break };
                    let outcome = (story.tell)();
                    rows.lock().unwrap()[story.row].note(outcome);
                    if index.is_multiple_of(500) {
                        eprintln!("faults: {index} of {} stories", stories.len());
                    }
                }
            });
        }
    });
    _ = std::panic::take_hook();
}

/// What came of a story: a wrong outcome is a failed assertion.
fn told(story: impl AsyncFn() -> Option<Duration>) -> Outcome {
    match catch_unwind(AssertUnwindSafe(|| run(story))) {
        Ok(took) => Outcome::Right(took),
        Err(said) => {
            let said = said.downcast_ref::<String>().cloned();
            Outcome::Wrong(said.unwrap_or_else(|| "an assertion failed".to_owned()))
        }
    }
}

/// Runs it under a virtual time of its own.
fn run<T>(story: impl AsyncFn() -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let done = runtime.block_on(story());
    runtime.shutdown_background();
    done
}
