//! How a suite starts its bed once for all its tests, and takes it down whatever becomes of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};

use crate::run_dir;
use crate::{say, stopped};

/// What all tests of a suite share.
pub trait Bed: Send + Sync + 'static {
    /// Takes everything down, once; gives what is still there. Called under running tests at Ctrl-C.
    fn tear_down(&self) -> Vec<String>;
}

/// Starts a bed on a runtime that lives as long as the suite, and takes it down at Ctrl-C: the trials run on threads
/// that cannot be cancelled.
pub fn start<B: Bed>(start: impl Future<Output = Result<B>>) -> Result<(Runtime, Arc<B>)> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let bed = runtime.block_on(async {
        tokio::select! {
            bed = start => bed,
            () = stopped() => Err(anyhow::anyhow!("stopped")),
        }
    });
    let bed = Arc::new(bed.context("the test bed could not be started")?);
    let on_stop = Arc::clone(&bed);
    runtime.spawn(async move {
        stopped().await;
        on_stop.tear_down();
        #[allow(clippy::exit, reason = "everything is taken down")]
        std::process::exit(130);
    });
    Ok((runtime, bed))
}

/// What is left of a run after its folder should be gone: `made` is what it had started.
pub fn left_behind(folder: &Path, made: Vec<String>) -> Vec<String> {
    let mut left: Vec<String> = made.into_iter().filter(|record| run_dir::is_alive(record)).collect();
    left.extend(folder.exists().then(|| folder.display().to_string()));
    left
}

/// Copies what the programs of a run said to a folder that outlives it, and says where.
pub fn keep_logs(run: &Path, to: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(run)?.flatten() {
        let name = entry.file_name();
        let is_log = Path::new(&name).extension().is_some_and(|extension| extension == "log");
        if is_log && name != "audit.log" {
            std::fs::copy(entry.path(), to.join(name))?;
        }
    }
    say(&format!("the logs are kept in {}", to.display()));
    Ok(to.to_path_buf())
}
