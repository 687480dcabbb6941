//! The command line `snapback`, as people call it.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};

/// Builds the binary beside the suite that asks. Another build waits meanwhile, and one that is up to date takes no time.
pub fn snapback() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo).args(["build", "--quiet", "--locked", "-p", "snapback"]).status()?;
    ensure!(built.success(), "snapback could not be built");
    // `target/debug/deps/suite-0123` is who asks.
    let suite = std::env::current_exe()?;
    let folder = suite.ancestors().nth(2).context("the suite is not in a target folder")?;
    Ok(folder.join("snapback"))
}

/// What it says to these arguments, with this text on its standard input.
pub fn run(snapback: &PathBuf, arguments: &[&str], text: &str) -> Result<Output> {
    let mut command = Command::new(snapback);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    child.stdin.take().context("there is no standard input")?.write_all(text.as_bytes())?;
    Ok(child.wait_with_output()?)
}
