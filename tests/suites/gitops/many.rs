//! The main story told many times: `RUNS=100` for the figures of docs/gitops.md.

use std::fmt;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Error, Result, bail};
use snapback_tests::say;

/// Between two looks of each tool.
const INTERVAL: Duration = Duration::from_secs(2);

/// Most stories at the same time.
const AT_ONCE: usize = 10;

/// What went wrong, and how.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The undo did not come or did not stick, or its hold did not end.
    Stuck(Error),
    /// More than one undo.
    Loop(Error),
    /// What is live is not what was applied, or something of ours is left.
    Residue(Error),
    /// The next deploy did not go through at once.
    Conflict(Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stuck(error) => write!(f, "stuck: {error:#}"),
            Self::Loop(error) => write!(f, "a loop: {error:#}"),
            Self::Residue(error) => write!(f, "residue: {error:#}"),
            Self::Conflict(error) => write!(f, "a conflict: {error:#}"),
        }
    }
}

fn runs() -> usize {
    std::env::var("RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(1)
}

/// Tells a story as often as `RUNS` says, and sums up. It gives the time from the sync of the newer commit to the end of the
/// hold.
pub(crate) fn told(tool: &str, story: impl Fn(usize) -> Result<Duration, Fault> + Sync) -> Result<()> {
    let (runs, next) = (runs(), AtomicUsize::new(0));
    let (waited, faults) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(runs) {
            scope.spawn(|| {
                while let Some(run) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|run| *run < runs) {
                    match story(run) {
                        Ok(time) => waited.lock().unwrap_or_else(PoisonError::into_inner).push(time),
                        Err(fault) => faults.lock().unwrap_or_else(PoisonError::into_inner).push((run, fault)),
                    }
                }
            });
        }
    });
    let mut waited = waited.into_inner().unwrap_or_else(PoisonError::into_inner);
    waited.sort();
    let faults = faults.into_inner().unwrap_or_else(PoisonError::into_inner);
    let count = |is_it: fn(&Fault) -> bool| faults.iter().filter(|(_, fault)| is_it(fault)).count();
    let intervals = |at: usize| waited.get(at).map_or(f64::NAN, |time| time.as_secs_f64() / INTERVAL.as_secs_f64());
    say(&format!(
        "{tool}: {runs} runs, {} stuck, {} loops, {} with residue, {} conflicts at the next deploy; the hold ended {:.1} \
         intervals of {} s after the sync (median), {:.1} at most",
        count(|fault| matches!(fault, Fault::Stuck(_))),
        count(|fault| matches!(fault, Fault::Loop(_))),
        count(|fault| matches!(fault, Fault::Residue(_))),
        count(|fault| matches!(fault, Fault::Conflict(_))),
        intervals(waited.len() / 2),
        INTERVAL.as_secs(),
        intervals(waited.len().saturating_sub(1)),
    ));
    if faults.is_empty() {
        return Ok(());
    }
    let told: Vec<String> = faults.iter().map(|(run, fault)| format!("run {run}: {fault}")).collect();
    bail!("{}", told.join("\n"))
}
