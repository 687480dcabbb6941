//! The chart: what it renders, and what is generated from it.

pub mod cases;
pub mod objects;
pub mod readme;

use std::path::PathBuf;

use anyhow::Result;

use crate::sample::Tools;
use crate::tools;

/// Where it is.
pub fn folder() -> PathBuf {
    tools::repository().join("charts/snapback")
}

/// Its objects as a release `snapback` in `snapback-system`, without those of `helm test`.
pub fn render(helm: &Tools, more: &[&str]) -> Result<String> {
    let chart = folder();
    let start = ["template", "snapback", &chart.to_string_lossy(), "--namespace=snapback-system", "--skip-tests"];
    helm.helm(&[&start[..], more].concat())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;
    use snapback_controller::config::OperatorConfig;

    use super::readme::resolved;
    use super::*;

    fn read(name: &str) -> String {
        std::fs::read_to_string(folder().join(name)).unwrap()
    }

    /// The keys that the operator knows where this configuration has one that nobody knows.
    fn known(config: &str) -> BTreeSet<String> {
        let text = format!("apiVersion: config.snapback.dev/v1alpha1\nkind: OperatorConfig\n{config}\n");
        let refusal = OperatorConfig::parse(&text).unwrap_err();
        let (_, expected) =
            refusal.split_once("unknown field `nobody`, expected ").unwrap_or_else(|| panic!("{refusal}"));
        expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_schema_knows_the_keys_of_the_operators_configuration() {
        let schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
        let source = |more: &str| format!("sources: [{{name: a, url: 'http://a', {more}}}]");
        for (config, path) in [
            ("nobody: 1".to_owned(), ""),
            ("limits: {nobody: 1}".to_owned(), "limits"),
            ("limits: {fleetBrake: {nobody: 1}}".to_owned(), "limits.fleetBrake"),
            ("history: {nobody: 1}".to_owned(), "history"),
            (source("nobody: 1"), "sources.items"),
            (source("auth: {nobody: 1}"), "sources.items.auth"),
            (source("auth: {basic: {nobody: 1}}"), "sources.items.auth.basic"),
            (source("auth: {tls: {nobody: 1}}"), "sources.items.auth.tls"),
            (source("headers: {a: {nobody: 1}}"), "sources.items.headers.additionalProperties"),
        ] {
            let mut at = &schema["properties"]["config"];
            for key in path.split('.').filter(|key| !key.is_empty()) {
                let next =
                    if ["items", "additionalProperties"].contains(&key) { &at[key] } else { &at["properties"][key] };
                at = resolved(&schema, next);
            }
            assert_eq!(at["additionalProperties"], false, "{path}");
            let mut listed: BTreeSet<String> = at["properties"].as_object().unwrap().keys().cloned().collect();
            if path.is_empty() {
                // The chart writes these itself; restore.secrets is the feature.
                listed.extend(["apiVersion", "kind", "features"].map(str::to_owned));
            }
            assert_eq!(listed, known(&config), "config.{path}");
        }
    }

    #[test]
    fn artifact_hub_is_told_of_the_kinds_and_the_image() {
        let chart: Value = serde_yaml_ng::from_str(&read("Chart.yaml")).unwrap();
        let values: Value = serde_yaml_ng::from_str(&read("values.yaml")).unwrap();
        let annotation = |name: &str| -> Value {
            let text = chart["annotations"][format!("artifacthub.io/{name}")].as_str();
            serde_yaml_ng::from_str(text.unwrap_or_else(|| panic!("no {name}"))).unwrap()
        };
        let told: Vec<Value> = annotation("crds").as_array().unwrap().clone();
        let kinds = snapback_api::crd::all();
        assert_eq!(told.len(), kinds.len());
        for (_, kind) in kinds {
            let told = told.iter().find(|told| told["name"] == kind["metadata"]["name"]).unwrap();
            assert_eq!(told["kind"], kind["spec"]["names"]["kind"]);
            assert_eq!(told["version"], kind["spec"]["versions"][0]["name"]);
        }
        for example in annotation("crdsExamples").as_array().unwrap() {
            let policy: snapback_api::v1alpha1::RollbackPolicy = serde_json::from_value(example.clone()).unwrap();
            snapback_api::convert::policy(&policy.spec).unwrap();
        }
        let (repository, version) =
            (values["image"]["repository"].as_str().unwrap(), chart["appVersion"].as_str().unwrap());
        assert_eq!(annotation("images")[0]["image"], format!("{repository}:{version}"));
        assert_eq!(
            (version, chart["version"].as_str().unwrap()),
            (env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_VERSION"))
        );
    }
}
