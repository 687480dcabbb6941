//! `make sbom`: what is in the operator's image, as CycloneDX.
//!
//! `cargo cyclonedx` knows the crates, those of build-time macros among them. What else is linked into a static binary is
//! added, and what is of this machine is taken out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::Place;
use super::compile::{cargo, triple};

/// The text, the same wherever and whenever it is written.
pub fn text(place: &Place) -> Result<String> {
    let mut bill = plain(&crates(place)?, &place.repository)?;
    let components = bill["components"].as_array_mut().context("no components")?;
    components.extend(linked(&place.repository)?);
    Ok(format!("{bill:#}\n"))
}

/// Writes it beside the image; gives its path.
pub fn write() -> Result<PathBuf> {
    let place = Place::here()?;
    let path = place.images()?.join("snapback.cdx.json");
    fs::write(&path, text(&place)?)?;
    Ok(path)
}

/// What the tool says of the operator's crates. It writes a file beside each manifest of the workspace.
fn crates(place: &Place) -> Result<String> {
    let name = format!("snapback-sbom-{}", std::process::id());
    let manifest = place.repository.join("crates/snapback/Cargo.toml");
    // With this variable it writes neither the time nor a random serial number.
    let epoch = std::env::var("SOURCE_DATE_EPOCH").unwrap_or_else(|_| "0".to_owned());
    let output = cargo(&place.repository)
        .args(["cyclonedx", "--format=json", "--spec-version=1.5", "--no-build-deps", "--target", &triple()])
        .args(["--override-filename", &name, "--manifest-path"])
        .arg(&manifest)
        .env("SOURCE_DATE_EPOCH", epoch)
        .output()?;
    let text = fs::read_to_string(manifest.with_file_name(format!("{name}.json")));
    for folder in members(&place.repository)? {
        _ = fs::remove_file(folder.join(format!("{name}.json")));
    }
    ensure!(output.status.success(), "cargo cyclonedx: {}", String::from_utf8_lossy(&output.stderr));
    text.context("cargo cyclonedx wrote nothing")
}

/// The folders of the workspace's crates.
fn members(repository: &Path) -> Result<Vec<PathBuf>> {
    let output = cargo(repository).args(["metadata", "--format-version=1", "--no-deps", "--offline"]).output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let manifests =
        metadata["packages"].as_array().into_iter().flatten().filter_map(|one| one["manifest_path"].as_str());
    Ok(manifests.filter_map(|manifest| Some(Path::new(manifest).parent()?.to_path_buf())).collect())
}

/// The bill without this machine's paths, by which the tool calls the crates of the workspace.
fn plain(text: &str, repository: &Path) -> Result<Value> {
    let repository = repository.to_str().context("the repository's path is no text")?;
    // In a URL a blank is %20.
    let text = text.replace(&repository.replace(' ', "%20"), "/snapback").replace(repository, "/snapback");
    let bill: Value = serde_json::from_str(&text)?;
    ensure!(bill["serialNumber"].is_null(), "a random serial number");
    Ok(bill)
}

/// What no manifest names: the standard library, and the C library of the machine that builds.
fn linked(folder: &Path) -> Result<Vec<Value>> {
    let ask = |program: &str, argument: &str| -> Result<String> {
        let output = Command::new(program).arg(argument).current_dir(folder).output();
        Ok(String::from_utf8(output.with_context(|| format!("running {program}"))?.stdout)?)
    };
    // `rustc 1.95.0 (59807616e 2026-04-14)`, `glibc 2.36`.
    let second = |text: &str| text.split_whitespace().nth(1).unwrap_or("unknown").to_owned();
    let (rust, glibc) = (second(&ask("rustc", "--version")?), second(&ask("getconf", "GNU_LIBC_VERSION")?));
    let library = |name: &str, version: &str, license: &str| {
        json!({
            "type": "library",
            "bom-ref": format!("{name}@{version}"),
            "name": name,
            "version": version,
            "scope": "required",
            "licenses": [{"expression": license}],
            "purl": format!("pkg:generic/{name}@{version}"),
        })
    };
    Ok(vec![library("rust-std", &rust, "MIT OR Apache-2.0"), library("glibc", &glibc, "LGPL-2.1-or-later")])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_of_the_machine_is_in_the_bill() {
        let text = r#"{"components": [{"bom-ref": "path+file:///home/ada/my%20code/crates/api#0.1.0"}]}"#;
        let bill = plain(text, Path::new("/home/ada/my code")).unwrap();
        assert_eq!(bill["components"][0]["bom-ref"], "path+file:///snapback/crates/api#0.1.0");
        assert!(plain(r#"{"serialNumber": "urn:uuid:1"}"#, Path::new("/home/ada")).is_err());
    }

    #[test]
    fn the_libraries_that_no_manifest_names_are_listed() {
        let linked = linked(Path::new(".")).unwrap();
        assert_eq!(linked.len(), 2);
        for library in linked {
            assert!(library["version"].as_str().unwrap().starts_with(|c: char| c.is_ascii_digit()), "{library}");
        }
    }
}
