//! Whole stories by chance: releases, faults, deaths and people at random times, each from a seed, under virtual time.
//!
//! `cargo test -p snapback-controller --test simulation` tells 2,000 of them, `make soak-sim` 100,000. Whatever happens, none of
//! the nine invariants is broken, and in the end either what is known good lives, or the status says that a person is needed.
//! `SEED=7` tells one again, `STORIES=500` another number from `SEED` on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    dead_code,
    unreachable_pub,
    reason = "a program of the tests, which shares their world and not all of it"
)]

#[path = "../shell/facts.rs"]
mod facts;
#[path = "../shell/source.rs"]
mod source;
mod story;
#[path = "../shell/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use story::Tally;

/// What a run of the tests tells.
const STORIES: u64 = 2_000;

fn main() -> ExitCode {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("SEED").unwrap_or(0);
    let stories = number("STORIES").unwrap_or(if number("SEED").is_some() { 1 } else { STORIES });
    let (next, began) = (AtomicU64::new(first), Instant::now());
    let (tally, wrong) = (Mutex::new(Tally::default()), Mutex::new(Vec::new()));
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, Into::into) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + stories {
                        break;
                    }
                    match catch_unwind(|| told(seed)) {
                        Ok(told) => tally.lock().unwrap().add(&told),
                        Err(said) => {
                            let said = AssertUnwindSafe(said).downcast_ref::<String>().cloned().unwrap_or_default();
                            wrong.lock().unwrap().push((seed, said));
                        }
                    }
                    if (seed - first + 1).is_multiple_of(10_000) {
                        eprintln!("simulation: {} of {stories} stories", seed - first + 1);
                    }
                }
            });
        }
    });
    _ = std::panic::take_hook();
    let mut wrong = wrong.into_inner().unwrap();
    wrong.sort();
    for (seed, said) in wrong.iter().take(5) {
        println!("SEED={seed} is told wrongly: {said}\n");
    }
    println!("simulation: {stories} stories from seed {first} in {} s", began.elapsed().as_secs());
    println!("simulation: {}", tally.into_inner().unwrap());
    println!("simulation: {} wrong {:?}", wrong.len(), wrong.iter().map(|(seed, _)| seed).take(50).collect::<Vec<_>>());
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Tells a story under a virtual time of its own.
fn told(seed: u64) -> Tally {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let told = runtime.block_on(story::story(seed));
    runtime.shutdown_background();
    told
}
