//! `docs/api.md`: the reference of both kinds, from the schemas that the API server gets.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::Value;

use crate::tools;

const HEADER: &str = "<!-- Generated from crates/api by `make crds`; do not edit. -->\n\n# API reference\n\nGroup `snapback.dev/v1alpha1`. \
A field in **bold** is required. `kubectl explain rollbackpolicy.spec` tells the same.\n";

/// The text of the reference.
pub fn text() -> String {
    let mut out = HEADER.to_owned();
    for (_, crd) in snapback_api::crd::all() {
        let names = &crd["spec"]["names"];
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        _ = write!(
            out,
            "\n## {}\n\n{}\n\nShort name `{}`; `kubectl get {}`.\n",
            plain(&names["kind"]),
            description(schema),
            plain(&names["shortNames"][0]),
            plain(&names["plural"])
        );
        for part in ["spec", "status"] {
            let fields = &schema["properties"][part];
            _ = write!(
                out,
                "\n### {} {part}\n\n{}\n\n| field | type | meaning |\n|---|---|---|\n",
                plain(&names["kind"]),
                description(fields)
            );
            rows(&mut out, part, fields);
            rules(&mut out, part, fields);
        }
    }
    out
}

/// Writes the file; gives its path.
pub fn write() -> Result<PathBuf> {
    let path = tools::repository().join("docs/api.md");
    std::fs::write(&path, text())?;
    Ok(path)
}

fn rows(out: &mut String, path: &str, schema: &Value) {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let shown = if required.contains(&name.as_str()) { format!("**`{path}`**") } else { format!("`{path}`") };
        _ = writeln!(out, "| {shown} | {} | {} |", type_of(field), description(field).replace('|', "\\|"));
        // Conditions are those of Kubernetes itself.
        if name == "conditions" {
            continue;
        }
        rows(out, &path, field);
        rows(out, &format!("{path}[]"), &field["items"]);
    }
}

/// What must hold between fields.
fn rules(out: &mut String, path: &str, schema: &Value) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        _ = write!(out, "\n- `{path}` {}\n", plain(&rule["message"]));
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        rules(out, &format!("{path}.{name}"), field);
        rules(out, &format!("{path}.{name}[]"), &field["items"]);
    }
}

fn type_of(field: &Value) -> String {
    if let Some(words) = field["enum"].as_array() {
        return words.iter().map(|word| format!("`{}`", plain(word))).collect::<Vec<_>>().join(", ");
    }
    match (field["type"].as_str().unwrap_or("object"), field["format"].as_str()) {
        ("array", _) => format!("list of {}", field["items"]["type"].as_str().unwrap_or("object")),
        ("object", _) if field["additionalProperties"].is_object() => "map".to_owned(),
        (_, Some("date-time")) => "time".to_owned(),
        (name, _) => name.to_owned(),
    }
}

fn description(field: &Value) -> String {
    plain(&field["description"]).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn plain(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
