//! Images without a registry: one static binary in one layer, as `docker save` writes them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::run_dir::RunDir;
use crate::{say, tools};

/// The operator's image.
pub const OPERATOR: &str = "snapback.dev/snapback";
/// The sample service's image.
pub const SAMPLE: &str = "snapback.dev/sample";
/// Names of the sample service in the demo, whose versions are told apart by their tags.
pub const DEMO: [&str; 2] = ["snapback.dev/checkout:v1", "snapback.dev/checkout:v2"];
/// The tag of both: never `latest`, so that nobody pulls.
pub const TAG: &str = "testbed";

/// Builds the operator and the sample service as static binaries, and packs each into an image file.
pub fn build(folder: &Path) -> Result<Vec<PathBuf>> {
    let output = compile(folder, &["snapback", "snapback-sample"])?;
    let operator = pack(folder, &[&format!("{OPERATOR}:{TAG}")], &output.join("snapback"), "snapback")?;
    let sample = format!("{SAMPLE}:{TAG}");
    let names = [&[sample.as_str()], DEMO.as_slice()].concat();
    let sample = pack(folder, &names, &output.join("snapback-sample"), "snapback-sample")?;
    Ok(vec![operator, sample])
}

/// Builds the operator as it is in its image; gives the program.
pub fn operator() -> Result<PathBuf> {
    let folder = RunDir::create()?;
    Ok(compile(folder.path(), &["snapback"])?.join("snapback"))
}

/// Builds static binaries; gives their folder.
fn compile(folder: &Path, packages: &[&str]) -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let repository = tools::repository();
    let mut child = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--locked", "--profile", "image", "--target", &target])
        .args(packages.iter().flat_map(|package| ["-p", package]))
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .current_dir(&repository)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(folder.join("cargo.log"))?)
        .spawn()
        .context("starting cargo")?;
    let (started, mut told) = (Instant::now(), Instant::now());
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if told.elapsed() > Duration::from_secs(15) {
            told = Instant::now();
            let compiled =
                fs::read_to_string(folder.join("cargo.log")).unwrap_or_default().matches("Compiling").count();
            say(&format!(
                "building the operator's image: {compiled} of about 300 crates after {} s (about 6 min without caches)",
                started.elapsed().as_secs()
            ));
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    if !status.success() {
        bail!("building the images failed:\n{}", tools::tail(&folder.join("cargo.log"), 30));
    }
    Ok(target_directory(&repository)?.join(&target).join("image"))
}

fn target_directory(repository: &Path) -> Result<PathBuf> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(repository)
        .output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    Ok(PathBuf::from(metadata["target_directory"].as_str().context("no target directory")?))
}

/// The image that holds a pod's namespaces.
pub fn pause(folder: &Path) -> Result<PathBuf> {
    let binary = folder.join("pause");
    let source = tools::repository().join("tests/testbed/pause.c");
    let output =
        Command::new("cc").args(["-static", "-O1", "-o"]).arg(&binary).arg(source).output().context("running cc")?;
    if !output.status.success() {
        bail!("cc: {}", String::from_utf8_lossy(&output.stderr));
    }
    pack(folder, &["snapback.dev/pause:1"], &binary, "pause")
}

/// Packs a binary as the only file and the entry point of an image.
fn pack(folder: &Path, names: &[&str], binary: &Path, entry: &str) -> Result<PathBuf> {
    let mut layer = tar::Builder::new(Vec::new());
    layer.mode(tar::HeaderMode::Deterministic);
    // Static binaries have holes; containerd does not read sparse entries.
    layer.sparse(false);
    let mut file = fs::File::open(binary).with_context(|| format!("opening {}", binary.display()))?;
    layer.append_file(entry, &mut file)?;
    let layer = layer.into_inner()?;
    let digest: String = Sha256::digest(&layer).iter().map(|byte| format!("{byte:02x}")).collect();
    let config = json!({
        "architecture": if std::env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {"Entrypoint": [format!("/{entry}")], "User": "65532:65532"},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": names, "Layers": ["layer.tar"]}]);
    let path = folder.join(format!("{entry}.tar"));
    let mut image = tar::Builder::new(fs::File::create(&path)?);
    for (name, bytes) in [
        ("config.json", config.to_string().into_bytes()),
        ("manifest.json", manifest.to_string().into_bytes()),
        ("layer.tar", layer),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        image.append_data(&mut header, name, bytes.as_slice())?;
    }
    image.finish()?;
    Ok(path)
}
