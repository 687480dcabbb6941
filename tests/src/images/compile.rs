//! The static binaries, without a path of the machine that built them.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::seed;
use crate::{say, tools};

/// Where is built.
#[derive(Debug, Clone)]
pub struct Place {
    /// The sources.
    pub repository: PathBuf,
    /// Cargo's folder of what it built.
    pub target: PathBuf,
}

/// What was built.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// The operator.
    pub operator: PathBuf,
    /// The sample service.
    pub sample: PathBuf,
}

impl Place {
    /// This repository.
    pub fn here() -> Result<Self> {
        let repository = fs::canonicalize(tools::repository())?;
        let output = cargo(&repository).args(["metadata", "--format-version=1", "--no-deps", "--offline"]).output()?;
        let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
        let target = PathBuf::from(metadata["target_directory"].as_str().context("no target directory")?);
        Ok(Self { repository, target })
    }

    /// Where images are put for people.
    pub fn images(&self) -> Result<PathBuf> {
        let folder = self.target.join("images");
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

/// What images are built for.
pub(super) fn triple() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

pub(super) fn cargo(folder: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(folder).stdin(Stdio::null());
    command
}

/// Builds both binaries by one command, so that everybody who needs an image shares what was built. `log` is the folder of
/// cargo's words.
pub fn compile(place: &Place, log: &Path) -> Result<Binaries> {
    let target = triple();
    let log = log.join("cargo.log");
    // The sources of dependencies must be there to know where they are.
    let fetched = cargo(&place.repository).args(["fetch", "--locked", "--target", &target]).output()?;
    ensure!(fetched.status.success(), "cargo fetch: {}", String::from_utf8_lossy(&fetched.stderr));
    let renamed = renamed(place)?;
    let mut command = cargo(&place.repository);
    if let Some(library) = seed::preload(place)? {
        let more = std::env::var("LD_PRELOAD").map(|more| format!(":{more}")).unwrap_or_default();
        command.env("LD_PRELOAD", format!("{}{more}", library.display()));
    }
    let mut child = command
        .args([
            "build",
            "--locked",
            "--profile",
            "image",
            "--target",
            &target,
            "-p",
            "snapback",
            "-p",
            "snapback-sample",
        ])
        .arg("--target-dir")
        .arg(&place.target)
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", flags(&renamed))
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log)?)
        .spawn()
        .context("starting cargo")?;
    let (started, mut told) = (Instant::now(), Instant::now());
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if told.elapsed() > Duration::from_secs(15) {
            told = Instant::now();
            let compiled = fs::read_to_string(&log).unwrap_or_default().matches("Compiling").count();
            say(&format!(
                "building the operator's image: {compiled} of about 300 crates after {} s (about 6 min without caches)",
                started.elapsed().as_secs()
            ));
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    if !status.success() {
        bail!("building the images failed:\n{}", tools::tail(&log, 30));
    }
    let output = place.target.join(&target).join("image");
    let binaries = Binaries { operator: output.join("snapback"), sample: output.join("snapback-sample") };
    for binary in [&binaries.operator, &binaries.sample] {
        let told = tells(&fs::read(binary)?, renamed.iter().map(|(from, _)| from.as_path()));
        ensure!(told.is_none(), "{} tells where it was built: {}", binary.display(), told.unwrap_or_default());
    }
    Ok(binaries)
}

/// Folders of this machine, and what they are called instead. Of two that hold a file the later one counts.
fn renamed(place: &Place) -> Result<Vec<(PathBuf, String)>> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(".cargo")));
    let mut renamed: Vec<(PathBuf, String)> = Vec::new();
    if let Some(cargo_home) = &cargo_home {
        renamed.push((cargo_home.clone(), "/cargo".to_owned()));
        // The name of a registry's folder is a matter of the machine's own configuration.
        let registries = fs::read_dir(cargo_home.join("registry/src")).into_iter().flatten().flatten();
        renamed.extend(registries.map(|registry| (registry.path(), "/cargo/registry".to_owned())));
    }
    // With the sources of the standard library at hand, the compiler names them by where they are.
    let (sysroot, commit) = compiler(&place.repository)?;
    renamed.push((sysroot.clone(), "/rust".to_owned()));
    renamed.push((sysroot.join("lib/rustlib/src/rust"), format!("/rustc/{commit}")));
    renamed.push((place.repository.clone(), "/snapback".to_owned()));
    renamed.push((place.target.clone(), "/snapback/target".to_owned()));
    Ok(renamed)
}

/// Where the compiler is, and of which commit.
fn compiler(folder: &Path) -> Result<(PathBuf, String)> {
    let ask = |arguments: &[&str]| -> Result<String> {
        let output = Command::new("rustc").args(arguments).current_dir(folder).output().context("running rustc")?;
        Ok(String::from_utf8(output.stdout)?)
    };
    let version = ask(&["-vV"])?;
    let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: ")).unwrap_or("unknown");
    Ok((PathBuf::from(ask(&["--print", "sysroot"])?.trim()), commit.to_owned()))
}

/// As cargo takes them where paths may hold blanks.
fn flags(renamed: &[(PathBuf, String)]) -> OsString {
    let mut flags = OsString::from("-Ctarget-feature=+crt-static");
    for (from, to) in renamed {
        flags.push("\u{1f}--remap-path-prefix=");
        flags.push(from);
        flags.push(format!("={to}"));
    }
    flags
}

/// The first text in a binary with a path of this machine.
fn tells<'a>(binary: &[u8], folders: impl Iterator<Item = &'a Path>) -> Option<String> {
    // As a text, since searching one is quick even where this is not optimised.
    let binary = String::from_utf8_lossy(binary);
    folders.filter_map(Path::to_str).find_map(|folder| {
        let at = binary.find(&format!("{}/", folder.trim_end_matches('/')))?;
        let text = binary.get(at..)?.chars().take(120);
        Some(text.take_while(char::is_ascii_graphic).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_that_tells_where_it_was_built_is_found_out() {
        let folders = [Path::new("/home/ada/snapback"), Path::new("/home/ada/.cargo")];
        let tells = |text: &str| tells(text.as_bytes(), folders.into_iter());
        assert_eq!(tells("\0/snapback/crates/core/src/lib.rs\0/cargo/registry/serde-1/src/lib.rs"), None);
        let found = tells("\0panicked at\0/home/ada/.cargo/registry/src/x/serde-1/src/lib.rs\0\x01").unwrap();
        assert_eq!(found, "/home/ada/.cargo/registry/src/x/serde-1/src/lib.rs");
        assert_eq!(tells("/home/ada/snapback-other"), None, "another folder with a longer name");
    }

    #[test]
    fn of_two_names_of_a_folder_the_narrower_one_comes_later() {
        let repository = fs::canonicalize(tools::repository()).unwrap();
        let place = Place { target: repository.join("target"), repository };
        let renamed = renamed(&place).unwrap();
        for (index, (from, _)) in renamed.iter().enumerate() {
            let hidden = renamed.iter().skip(index + 1).find(|(later, _)| from.starts_with(later) && from != later);
            assert_eq!(hidden, None, "hides {}", from.display());
        }
        let (flags, target) = (flags(&renamed).into_string().unwrap(), place.target.display());
        let last = format!("\u{1f}--remap-path-prefix={target}=/snapback/target");
        assert!(flags.ends_with(&last), "{flags}");
    }
}
