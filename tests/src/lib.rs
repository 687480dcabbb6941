//! The test bed: a real Kubernetes on one machine, with real pods and a real Prometheus; and what the suites share.
//!
//! Everything it starts is recorded in a run directory, and everything recorded is removed: at the end, on Ctrl-C, and,
//! for runs that were killed, by the next start.

pub mod argocd;
pub mod bench_undo;
pub mod chart;
pub mod cluster;
pub mod command_line;
pub mod demo;
pub mod images;
pub mod manifests;
pub mod process;
pub mod reference;
pub mod releases;
pub mod run_dir;
pub mod sample;
pub mod slope;
pub mod suite;
pub mod tools;

/// Says what is being done.
#[allow(clippy::print_stderr, reason = "the test bed talks to the person who started it")]
pub fn say(text: &str) {
    eprintln!("testbed: {text}");
}

/// Resolves at Ctrl-C or SIGTERM.
pub async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
