//! The customizations for Argo CD: how it is told the health of our kinds and what can be done with them. Kept in Argo CD's own
//! layout, and put together as its ConfigMap takes them.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::tools;

const HEADER: &str = "# Generated from deploy/argocd/resource_customizations by `make manifests`; do not edit.
apiVersion: v1
kind: ConfigMap
metadata:
  name: argocd-cm
  namespace: argocd
data:
";

/// What Argo CD is told of one kind.
pub struct Customization {
    /// Its name.
    pub kind: &'static str,
    /// How its health is told.
    pub health: String,
    /// What can be done with it, as YAML.
    pub actions: String,
}

/// Where the customizations of a kind are.
pub fn folder(kind: &str) -> PathBuf {
    tools::repository().join("deploy/argocd/resource_customizations/snapback.dev").join(kind)
}

/// All customizations.
pub fn all() -> Result<Vec<Customization>> {
    ["Rollback", "RollbackPolicy"].into_iter().map(read).collect()
}

fn read(kind: &'static str) -> Result<Customization> {
    let text = |path: PathBuf| std::fs::read_to_string(&path).with_context(|| path.display().to_string());
    let folder = folder(kind);
    let mut actions =
        format!("discovery.lua: |\n{}definitions:\n", indented(&text(folder.join("actions/discovery.lua"))?));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder.join("actions"))? {
        let entry = entry?;
        if entry.path().join("action.lua").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    for name in names {
        let script = text(folder.join("actions").join(&name).join("action.lua"))?;
        write!(actions, "- name: {name}\n  action.lua: |\n{}", indented(&indented(&script)))?;
    }
    Ok(Customization { kind, health: text(folder.join("health.lua"))?, actions })
}

/// The part of Argo CD's ConfigMap.
pub fn config_map() -> Result<String> {
    let mut map = HEADER.to_owned();
    for customization in all()? {
        for (what, text) in [("health", &customization.health), ("actions", &customization.actions)] {
            let key = format!("resource.customizations.{what}.snapback.dev_{}", customization.kind);
            write!(map, "  {key}: |\n{}", indented(&indented(text)))?;
        }
    }
    Ok(map)
}

/// Where it is kept.
pub fn config_map_file() -> PathBuf {
    tools::repository().join("deploy/argocd/argocd-cm.yaml")
}

/// Writes it; gives its path.
pub fn write() -> Result<PathBuf> {
    let path = config_map_file();
    std::fs::write(&path, config_map()?)?;
    Ok(path)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") }).collect()
}
