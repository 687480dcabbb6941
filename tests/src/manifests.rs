//! What is generated from the chart: `deploy/base` and what its overlays need for those who use kustomize, the chart's
//! README, and what its unit tests expect; and the customizations for Argo CD as its ConfigMap takes them.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::argocd;
use crate::chart::{self, cases, readme};
use crate::sample::Tools;
use crate::tools;

const HEADER: &str = "# Generated from charts/snapback by `make manifests`; do not edit.\n";

/// Files for kustomize, and how they are rendered.
pub const FILES: [(&str, &[&str]); 6] = [
    // The kinds are taken from crds/.
    ("deploy/base/snapback.yaml", &["--set=crds.install=false"]),
    (
        "deploy/overlays/monitoring/monitoring.yaml",
        &[
            "--set=monitoring.podMonitor.enabled=true,monitoring.prometheusRule.enabled=true",
            "--show-only=templates/monitors.yaml",
            "--show-only=templates/alerts.yaml",
        ],
    ),
    (
        "deploy/overlays/argocd/argocd.yaml",
        &["--set=config.gitops.argocd.enabled=true", "--show-only=templates/gitops.yaml"],
    ),
    ("deploy/overlays/flux/flux.yaml", &["--set=config.gitops.flux.enabled=true", "--show-only=templates/gitops.yaml"]),
    (
        // What confines the operator is with Flux's already.
        "deploy/overlays/gitops/argocd.yaml",
        &["--set=config.gitops.argocd.enabled=true,admission.enabled=false", "--show-only=templates/gitops.yaml"],
    ),
    (
        "deploy/end-holds/job.yaml",
        &[
            "--set=config.gitops.argocd.enabled=true,config.gitops.flux.enabled=true",
            "--show-only=templates/end-holds.yaml",
        ],
    ),
];

/// The objects of the chart, without what only Helm has use for.
pub fn plain(helm: &Tools, more: &[&str]) -> Result<String> {
    let rendered = chart::render(helm, more)?;
    let is_helms = |line: &&str| {
        let line = line.trim_start();
        line.starts_with("helm.sh/")
            || line.starts_with("app.kubernetes.io/managed-by:")
            || line.starts_with("# Source:")
    };
    let mut lines: Vec<&str> = rendered.lines().filter(|line| !is_helms(line)).map(str::trim_end).collect();
    // Annotations that were all Helm's.
    let indent = |line: &str| line.len() - line.trim_start().len();
    let is_empty = |at: usize| {
        lines[at].trim() == "annotations:" && lines.get(at + 1).is_none_or(|next| indent(next) <= indent(lines[at]))
    };
    let empty: Vec<usize> = (0..lines.len()).filter(|at| is_empty(*at)).collect();
    for at in empty.into_iter().rev() {
        lines.remove(at);
    }
    Ok(format!("{HEADER}{}\n", lines.join("\n").trim_start_matches("---\n").trim_end()))
}

/// Writes all; gives what was written.
pub fn write() -> Result<Vec<PathBuf>> {
    let helm = Tools::new(Path::new("/dev/null"));
    let mut written = Vec::new();
    for (name, more) in FILES {
        let path = tools::repository().join(name);
        std::fs::write(&path, plain(&helm, more)?)?;
        written.push(path);
    }
    written.push(readme::write()?);
    written.push(argocd::write()?);
    cases::write(&helm)?;
    written.push(chart::folder().join("tests/rendered"));
    Ok(written)
}
