//! Images without a registry: one static binary in one layer, as `docker save` writes them; the same bytes wherever and
//! whenever they are built of the same sources by the same compiler.

mod compile;
mod pack;
pub mod reproducible;
pub mod sbom;
mod seed;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

pub use compile::{Binaries, Place, compile};
use pack::Image;
pub use pack::Packed;

use crate::run_dir::RunDir;
use crate::tools;

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
    let binaries = compile(&Place::here()?, folder)?;
    let operator = operator(&binaries, &[&format!("{OPERATOR}:{TAG}")], folder)?;
    let sample = format!("{SAMPLE}:{TAG}");
    let names = [&[sample.as_str()], DEMO.as_slice()].concat();
    let sample = Image { names: &names, entry: "snapback-sample", command: &[], labels: &[] };
    let sample = sample.write(&binaries.sample, folder)?;
    Ok(vec![operator.path, sample.path])
}

/// Packs the operator.
pub fn operator(binaries: &Binaries, names: &[&str], folder: &Path) -> Result<Packed> {
    let labels = [
        ("org.opencontainers.image.title", "snapback"),
        ("org.opencontainers.image.description", "Rolls bad Kubernetes releases back by itself"),
        ("org.opencontainers.image.version", env!("CARGO_PKG_VERSION")),
        ("org.opencontainers.image.source", env!("CARGO_PKG_REPOSITORY")),
        ("org.opencontainers.image.licenses", env!("CARGO_PKG_LICENSE")),
    ];
    Image { names, entry: "snapback", command: &["run"], labels: &labels }.write(&binaries.operator, folder)
}

/// Builds the operator as it is in its image; gives the program.
pub fn program() -> Result<PathBuf> {
    let folder = RunDir::create()?;
    Ok(compile(&Place::here()?, folder.path())?.operator)
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
    let image = Image { names: &["snapback.dev/pause:1"], entry: "pause", command: &[], labels: &[] };
    Ok(image.write(&binary, folder)?.path)
}
