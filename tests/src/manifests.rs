//! `deploy/base`: the chart's objects for those who use kustomize.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::sample::Tools;
use crate::tools;

const HEADER: &str = "# Generated from charts/snapback by `make manifests`; do not edit.\n";

/// The objects of the chart with its own values, without what only Helm has use for.
pub fn base(helm: &Tools) -> Result<String> {
    let chart = tools::repository().join("charts/snapback");
    let rendered = helm.helm(&["template", "snapback", &chart.to_string_lossy(), "--namespace=snapback-system"])?;
    let is_helms = |line: &&str| {
        let line = line.trim_start();
        line.starts_with("helm.sh/chart:")
            || line.starts_with("app.kubernetes.io/managed-by:")
            || line.starts_with("# Source:")
    };
    let lines: Vec<&str> = rendered.lines().filter(|line| !is_helms(line)).map(str::trim_end).collect();
    Ok(format!("{HEADER}{}\n", lines.join("\n").trim_start_matches("---\n").trim_end()))
}

/// Writes the file; gives its path.
pub fn write() -> Result<PathBuf> {
    let path = tools::repository().join("deploy/base/snapback.yaml");
    std::fs::write(&path, base(&Tools::new(Path::new("/dev/null")))?)?;
    Ok(path)
}
