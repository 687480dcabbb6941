//! One program that the test bed runs.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::run_dir::RunDir;
use crate::tools::tail;

/// A running program. Dropping it stops it.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program with its output in `<run>/<name>.log`, in a process group of its own, so that a Ctrl-C at the
    /// terminal reaches us and not it: we stop everything in order.
    pub fn start(run: &RunDir, name: &str, command: &mut Command) -> Result<Self> {
        let log = run.path().join(format!("{name}.log"));
        let output = std::fs::OpenOptions::new().create(true).append(true).open(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        run.record_process(child.id())?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Fails if it has ended, with the end of its log.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended with {status}; the end of its log:\n{}", self.name, tail(&self.log, 20));
        }
        Ok(())
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Sends a signal, by its number's name (`STOP`, `CONT`, `KILL`, `TERM`).
    pub fn signal(&self, signal: &str) -> Result<()> {
        let status = Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]).status()?;
        if status.success() { Ok(()) } else { bail!("kill -{signal} {} failed", self.name) }
    }

    /// Ends it now.
    pub fn kill(mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        _ = self.signal("CONT");
        _ = self.signal("TERM");
        for _ in 0..250 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
