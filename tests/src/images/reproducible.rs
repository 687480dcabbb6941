//! `make reproducible`: the image is built twice, in two places, and must be the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Packed, Place, compile, operator, sbom};
use crate::say;

const NAME: &str = "snapback:reproducible";

/// Removes a folder when it goes.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// Builds here and in a copy of the sources elsewhere, and compares. The copy, with all that was built of it, is removed.
pub fn run() -> Result<()> {
    let here = Place::here()?;
    let results = here.target.join("images");
    let first = built(&here, &results.join("here"))?;
    say(&format!("built here: {}", first.0.file));
    let scratch = Scratch(std::env::temp_dir().join(format!("snapback-reproducible-{}", std::process::id())));
    let repository = scratch.0.join("some other place/sources");
    copy(&here.repository, &repository)?;
    let there = Place { target: scratch.0.join("built"), repository };
    let second = built(&there, &results.join("there"))?;
    say(&format!("built elsewhere: {}", second.0.file));
    drop(scratch);
    ensure!(first.0.file == second.0.file, "the images differ: compare target/images/here and target/images/there");
    ensure!(first.1 == second.1, "the bills of materials differ");
    say(&format!("the same image and bill of materials, twice: image ID {}", first.0.id));
    fs::remove_dir_all(results.join("there")).context("removing the second image")
}

fn built(place: &Place, folder: &Path) -> Result<(Packed, String)> {
    fs::create_dir_all(folder)?;
    let binaries = compile(place, folder)?;
    Ok((operator(&binaries, &[NAME], folder)?, sbom::text(place)?))
}

/// What git knows of, as it is now.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(from)
        .output()
        .context("running git")?;
    ensure!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    for name in String::from_utf8(listed.stdout)?.split_terminator('\0') {
        let (source, copy) = (from.join(name), to.join(name));
        // Deleted, and not committed yet.
        if !source.is_file() {
            continue;
        }
        fs::create_dir_all(copy.parent().context("a file has a folder")?)?;
        fs::copy(source, copy)?;
    }
    Ok(())
}
