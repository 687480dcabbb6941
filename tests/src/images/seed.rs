//! Chance for build scripts that is the same each time (`tests/testbed/seed.c` says why). Nothing but the image is built so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::Place;
use super::compile::{cargo, triple};
use super::pack::digest;
use crate::{say, tools};

/// The crate whose build script writes in the order of maps.
const SEEDED: &str = "promql-parser";

/// What `LD_PRELOAD` is to be. Without a C compiler the image is built all the same, and said not to be reproducible.
pub(super) fn preload(place: &Place) -> Result<Option<PathBuf>> {
    let source = tools::repository().join("tests/testbed/seed.c");
    let digest = digest(&fs::read(&source)?);
    let name = digest.get("sha256:".len()..).and_then(|hex| hex.get(..12)).context("a digest is longer")?;
    let library = place.target.join("seed").join(format!("{name}.so"));
    if library.exists() {
        return Ok(Some(library));
    }
    if let Err(why) = compile(&source, &library) {
        say(&format!(
            "the image will differ from other builds of the same sources ({why:#}); all else about it is right"
        ));
        return Ok(None);
    }
    // What was written before was written by chance.
    let output = cargo(&place.repository)
        .args(["clean", "--package", SEEDED, "--profile", "image", "--target", &triple(), "--target-dir"])
        .arg(&place.target)
        .output()?;
    ensure!(output.status.success(), "cargo clean: {}", String::from_utf8_lossy(&output.stderr));
    Ok(Some(library))
}

fn compile(source: &Path, library: &Path) -> Result<()> {
    let is_separator = |one: char| one == ':' || one.is_whitespace();
    ensure!(!library.to_string_lossy().contains(is_separator), "LD_PRELOAD cannot name {}", library.display());
    fs::create_dir_all(library.parent().context("a file has a folder")?)?;
    let unfinished = library.with_extension(std::process::id().to_string());
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&unfinished)
        .arg(source)
        .output()
        .context("running cc, to build tests/testbed/seed.c")?;
    if !output.status.success() {
        bail!("cc: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(fs::rename(unfinished, library)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a program of this name reads of chance, through the library that the system calls are in.
    fn chance(folder: &Path, name: &str, library: &Path) -> Vec<u8> {
        let source = folder.join("ask.c");
        let ask = "#include <sys/random.h>\n#include <unistd.h>\n\
                   int main(void) { char some[16]; getrandom(some, 16, 0); return write(1, some, 16) != 16; }\n";
        fs::write(&source, ask).unwrap();
        let program = folder.join(name);
        assert!(Command::new("cc").arg("-o").arg(&program).arg(&source).status().unwrap().success());
        Command::new(program).env("LD_PRELOAD", library).output().unwrap().stdout
    }

    #[test]
    fn chance_is_the_same_each_time_for_build_scripts_and_for_nothing_else() {
        let folder = std::env::temp_dir().join(format!("snapback-seed-{}", std::process::id()));
        let library = folder.join("seed.so");
        compile(&tools::repository().join("tests/testbed/seed.c"), &library).unwrap();
        let chance = |name: &str| chance(&folder, name, &library);
        assert_eq!(chance("build-script-build"), [42; 16]);
        assert_ne!(chance("rustc"), chance("rustc"));
        fs::remove_dir_all(folder).unwrap();
    }
}
