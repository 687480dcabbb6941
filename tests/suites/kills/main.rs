//! The operator as a process of its own on a real API server, killed (SIGKILL) at its writes: before a write arrives, or
//! after it was carried out and before the operator hears of it. A proxy in between knows when. Needs no root.
//!
//! Every third point by default, all of them with `KILLS=all`.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::expect_used, clippy::panic, reason = "a test suite")]

mod proxy;
mod story;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};
use proxy::{Moment, Point};
use snapback_tests::suite::{self, Bed as _};
use story::{Bed, Story};

/// What the stories came to.
#[derive(Default)]
struct Tally {
    killed: u32,
    slowest: Duration,
}

/// Stories at the same time.
const LANES: usize = 3;

fn main() -> ExitCode {
    rustls::crypto::ring::default_provider().install_default().expect("the first TLS provider");
    let mut arguments = Arguments::from_args();
    if arguments.list {
        return libtest_mimic::run(&arguments, Vec::new()).exit_code();
    }
    arguments.test_threads = Some(arguments.test_threads.unwrap_or(LANES));
    let (_runtime, bed) = match suite::start(Bed::start()) {
        Ok(started) => started,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = run(&arguments, &bed);
    bed.tear_down();
    outcome.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}

fn run(arguments: &Arguments, bed: &Arc<Bed>) -> Result<ExitCode> {
    // Without a kill first: what there is to kill it at.
    let undisturbed = Story::new(bed, "undisturbed")?.run(None)?;
    let step = if std::env::var("KILLS").is_ok_and(|kills| kills == "all") { 1 } else { 3 };
    let all: Vec<Point> = undisturbed
        .writes
        .iter()
        .enumerate()
        .flat_map(|(write, _)| [Moment::Before, Moment::After].map(|moment| Point { write, moment }))
        .collect();
    println!("{} writes, {} points, every {step}. of them", undisturbed.writes.len(), all.len());
    let tally = Arc::new(Mutex::new(Tally::default()));
    let trials = all.into_iter().step_by(step).map(|point| {
        let (bed, tally) = (Arc::clone(bed), Arc::clone(&tally));
        let title = undisturbed.writes.get(point.write).map_or("", String::as_str);
        let name = format!("killed_{:?}_write_{:02}_{title}", point.moment, point.write).to_lowercase();
        let namespace = format!("kill-{:?}-{}", point.moment, point.write).to_lowercase();
        Trial::test(name.replace(' ', "_"), move || {
            let told = Story::new(&bed, &namespace).and_then(|story| story.run(Some(point)));
            let told = told.map_err(|error| Failed::from(format!("{error:#}")))?;
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.killed += u32::from(told.is_killed);
            tally.slowest = told.back_at_work.unwrap_or_default().max(tally.slowest);
            Ok(())
        })
    });
    let (trials, began) = (trials.collect(), Instant::now());
    let conclusion = libtest_mimic::run(arguments, trials);
    let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    println!(
        "killed at {} points with the right outcome, {} wrong, in {} s; back at work after at most {:.1} s",
        tally.killed,
        conclusion.num_failed,
        began.elapsed().as_secs(),
        tally.slowest.as_secs_f64(),
    );
    Ok(conclusion.exit_code())
}
