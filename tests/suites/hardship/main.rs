//! An operator that lacks one of its rights, whose API server shows it the past, or that starts anew. A real control plane with
//! a simulated node; needs no root.
//!
//! A third of the rights by default, another one each day; all of them with `RIGHTS=all`, a certain third with `RIGHTS=0`
//! to `RIGHTS=2`.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::expect_used, clippy::panic, reason = "a test suite")]

mod bed;
mod counted;
mod lag;
mod missing;
mod operator;
mod past;
mod story;

use std::process::ExitCode;
use std::sync::Arc;

use bed::Bed;
use libtest_mimic::{Arguments, Failed, Trial};

/// Operators at the same time.
const LANES: usize = 8;

fn main() -> ExitCode {
    rustls::crypto::ring::default_provider().install_default().expect("the first TLS provider");
    let mut arguments = Arguments::from_args();
    if arguments.list {
        return libtest_mimic::run(&arguments, Vec::new()).exit_code();
    }
    arguments.test_threads = Some(arguments.test_threads.unwrap_or(LANES));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let bed = runtime.block_on(async {
        tokio::select! {
            bed = Bed::start() => bed,
            () = snapback_tests::stopped() => Err(anyhow::anyhow!("interrupted")),
        }
    });
    let bed = match bed {
        Ok(bed) => Arc::new(bed),
        Err(error) => {
            eprintln!("the test bed could not be started: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let on_stop = Arc::clone(&bed);
    runtime.spawn(async move {
        snapback_tests::stopped().await;
        on_stop.tear_down();
        #[allow(clippy::exit, reason = "everything is taken down")]
        std::process::exit(130);
    });
    let trial = |name: String, test: missing::Test| {
        let bed = Arc::clone(&bed);
        Trial::test(name, move || test(&bed).map_err(|error| Failed::from(format!("{error:#}"))))
    };
    let mut trials: Vec<Trial> = past::TESTS
        .into_iter()
        .chain(counted::TESTS)
        .map(|(name, test)| trial(name.to_owned(), Box::new(test)))
        .collect();
    trials.extend(missing::tests(&bed).into_iter().map(|(name, test)| trial(name, test)));
    let conclusion = libtest_mimic::run(&arguments, trials);
    bed.tear_down();
    conclusion.exit_code()
}
