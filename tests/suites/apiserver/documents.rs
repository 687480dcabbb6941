//! Every YAML of the documentation, in a fenced block or a file, works as it stands.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use snapback_controller::config::OperatorConfig;
use snapback_tests::tools;

use crate::bed::Bed;

struct Block {
    place: String,
    text: String,
}

pub(crate) fn all(bed: &Bed) -> Result<()> {
    // The namespace that the documentation is about.
    bed.namespace("shop")?;
    let blocks = blocks()?;
    ensure!(blocks.len() >= 10, "only {} blocks were found", blocks.len());
    for block in &blocks {
        works(bed, block).with_context(|| format!("the YAML at {}", block.place))?;
    }
    Ok(())
}

fn works(bed: &Bed, block: &Block) -> Result<()> {
    if block.text.starts_with("rollouts:") {
        // No object of the API: the suite `backtest` plays it.
        return Ok(());
    }
    if block.place.starts_with("examples/gitops/") {
        // Kinds of Flux and Argo CD: the suite `gitops` has them.
        return Ok(());
    }
    if block.text.contains("kind: Kustomization") {
        return overlay(bed, &block.text);
    }
    if block.text.contains("kind: OperatorConfig") {
        return OperatorConfig::parse(&block.text).map(drop).map_err(anyhow::Error::msg);
    }
    if block.text.contains("# values.yaml") {
        let file = std::env::temp_dir().join(format!("snapback-values-{}.yaml", std::process::id()));
        std::fs::write(&file, &block.text)?;
        let objects = crate::manifests::chart_objects(bed, &[&format!("--values={}", file.display())]);
        _ = std::fs::remove_file(&file);
        let objects = objects?;
        let config = configuration(&objects)?;
        OperatorConfig::parse(&config).map_err(anyhow::Error::msg)?;
        return bed.tools.kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &objects).map(drop);
    }
    if !block.text.contains("apiVersion:") {
        // A part of a policy's spec.
        let spec = block.text.trim().to_owned();
        let target = if spec.contains("targetRef:") || spec.contains("selector:") {
            ""
        } else {
            "targetRef: {kind: Deployment, name: checkout}\n"
        };
        let manifest = crate::bed::policy("shop", "part", &format!("{target}{spec}"));
        return dry_run(bed, &manifest);
    }
    if block.text.contains("kind: RollbackPolicy")
        || block.text.contains("kind: Deployment")
        || block.text.contains("kind: CronJob")
        || block.text.contains("kind: Rollback")
        || block.text.contains("kind: RoleBinding")
        || block.text.contains("kind: ClusterRole")
        || block.text.contains("kind: NetworkPolicy")
    {
        return dry_run(bed, &block.text);
    }
    bail!("nobody knows how to try this")
}

/// The operator's configuration among rendered objects.
fn configuration(objects: &str) -> Result<String> {
    for document in serde_yaml_ng::Deserializer::from_str(objects) {
        let object = serde_json::Value::deserialize(document)?;
        if let Some(config) = object["data"]["config.yaml"].as_str() {
            return Ok(config.to_owned());
        }
    }
    bail!("there is no configuration among the objects")
}

/// An overlay on `deploy/base` or on one of ours, built where it would stand.
fn overlay(bed: &Bed, text: &str) -> Result<()> {
    let root = std::env::temp_dir().join(format!("snapback-overlay-{}", std::process::id()));
    let copy = |folder: &str| -> Result<()> {
        std::fs::create_dir_all(root.join(folder))?;
        for entry in std::fs::read_dir(tools::repository().join(folder))? {
            let entry = entry?;
            std::fs::copy(entry.path(), root.join(folder).join(entry.file_name()))?;
        }
        Ok(())
    };
    let folders = ["crds", "deploy/base", "deploy/overlays/flux"];
    let built = folders.into_iter().try_for_each(copy).and_then(|()| {
        let overlay = root.join("deploy/overlay");
        std::fs::create_dir_all(&overlay)?;
        std::fs::write(overlay.join("kustomization.yaml"), text)?;
        bed.tools.kubectl(&["kustomize", &overlay.to_string_lossy()])
    });
    _ = std::fs::remove_dir_all(&root);
    let built = built?;
    OperatorConfig::parse(&configuration(&built)?).map_err(anyhow::Error::msg)?;
    ensure!(!built.contains("ghcr.io/snapback-dev"), "the image was not replaced");
    Ok(())
}

fn dry_run(bed: &Bed, manifest: &str) -> Result<()> {
    // A name that the API server makes can only be created.
    let verb = if manifest.contains("generateName:") { "create" } else { "apply" };
    bed.tools.kubectl_with(&[verb, "--dry-run=server", "--validate=strict", "-f", "-"], manifest)?;
    // What the schema lets through must also be meant.
    for document in manifest.split("\n---\n").filter(|document| document.contains("kind: RollbackPolicy")) {
        let policy: snapback_api::v1alpha1::RollbackPolicy = serde_yaml_ng::from_str(document)?;
        snapback_api::convert::policy(&policy.spec)?;
    }
    Ok(())
}

/// The block of a document with this text, as the documentation has it.
pub(crate) fn block(file: &str, text: &str) -> Result<String> {
    let found = blocks()?.into_iter().find(|block| block.place.starts_with(file) && block.text.contains(text));
    found.map(|block| block.text).with_context(|| format!("{file} has no block with {text:?}"))
}

fn blocks() -> Result<Vec<Block>> {
    let root = tools::repository();
    let mut files = vec![root.join("README.md"), root.join("CONTRIBUTING.md")];
    collect(&root.join("docs"), &mut files)?;
    collect(&root.join("examples"), &mut files)?;
    let mut blocks = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let shown = file.strip_prefix(&root).unwrap_or(&file).display().to_string();
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("yaml") => blocks.push(Block { place: shown, text }),
            Some("md") => blocks.extend(fenced(&shown, &text)),
            _ => {}
        }
    }
    Ok(blocks)
}

fn fenced(file: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in text.lines().enumerate() {
        match &mut open {
            None if line.trim() == "```yaml" => {
                open = Some(Block { place: format!("{file}:{}", index + 1), text: String::new() });
            }
            Some(_) if line.trim() == "```" => blocks.extend(open.take()),
            Some(block) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => {}
        }
    }
    blocks
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() { collect(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
