//! The chart's README: its values, from their comments and their schema.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::folder;

const HEADER: &str = "<!-- Generated from values.yaml and values.schema.json by `make manifests`; do not edit. -->

# snapback

Rolls bad Kubernetes releases back by itself. [Installing, upgrading and uninstalling](../../docs/install.md) tells how to
use this chart; this page lists its values. What is not listed is refused.
";

/// One line of a table.
struct Row {
    path: String,
    default: String,
    meaning: String,
}

/// The text of the README.
pub fn text() -> Result<String> {
    let values = fs::read_to_string(folder().join("values.yaml"))?;
    let schema: Value = serde_json::from_str(&fs::read_to_string(folder().join("values.schema.json"))?)?;
    let mut out = HEADER.to_owned();
    for (title, rows) in sections(&values)? {
        _ = write!(out, "\n## {title}\n\n| value | type | default | meaning |\n|---|---|---|---|\n");
        for row in rows {
            let kind = kind(&schema, &row.path)?;
            let default = if row.default.is_empty() { String::new() } else { format!("`{}`", row.default) };
            let meaning = row.meaning.replace('|', "\\|");
            _ = writeln!(out, "| `{}` | {kind} | {default} | {meaning} |", row.path);
        }
    }
    Ok(out)
}

/// Writes the file; gives its path.
pub fn write() -> Result<PathBuf> {
    let path = folder().join("README.md");
    fs::write(&path, text()?)?;
    Ok(path)
}

/// The values by section: a comment stands above its key, and `##` begins a section.
fn sections(values: &str) -> Result<Vec<(String, Vec<Row>)>> {
    let mut sections: Vec<(String, Vec<Row>)> = Vec::new();
    let (mut comment, mut path): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
    let lines: Vec<&str> = values.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let (depth, text) = (indent(line), line.trim());
        if let Some(title) = text.strip_prefix("## ") {
            sections.push((title.to_owned(), Vec::new()));
        } else if let Some(words) = text.strip_prefix("# ") {
            comment.push(words);
        } else if text.is_empty() {
            // What stands alone is no value's.
            comment.clear();
        } else {
            let (key, default) = text.split_once(':').with_context(|| format!("values.yaml:{}: no key", index + 1))?;
            path.truncate(depth / 2);
            path.push(key.to_owned());
            let within = lines.iter().skip(index + 1).take_while(|line| line.is_empty() || indent(line) > depth);
            let documented = within.clone().any(|line| line.trim().starts_with('#'));
            let row = path.join(".");
            if comment.is_empty() {
                // A part of a default that is told whole, above.
                ensure!(depth > 0, "values.yaml:{}: {row} has no comment", index + 1);
                let told = sections.last().and_then(|(_, rows)| rows.last());
                ensure!(
                    told.is_some_and(|told| row.starts_with(&format!("{}.", told.path)) && !told.default.is_empty()),
                    "values.yaml:{}: {row} has no comment",
                    index + 1
                );
                continue;
            }
            let default = if default.trim().is_empty() && !documented {
                let block: Vec<&str> = within.copied().collect();
                let whole: Value = serde_yaml_ng::from_str(&block.join("\n"))?;
                whole.to_string()
            } else {
                default.trim().to_owned()
            };
            let Some((_, rows)) = sections.last_mut() else { bail!("values.yaml:{}: before any section", index + 1) };
            rows.push(Row { path: row, default, meaning: comment.join(" ") });
            comment.clear();
        }
    }
    Ok(sections)
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The type of a value, as the schema has it. That it has one is why the schema can refuse all others.
fn kind(schema: &Value, path: &str) -> Result<String> {
    let mut at = schema;
    for key in path.split('.') {
        at = resolved(schema, &at["properties"][key]);
        ensure!(!at.is_null(), "values.schema.json does not know {path}");
    }
    if let Some(words) = at["enum"].as_array() {
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        return Ok(words.join(", "));
    }
    Ok(match at["type"].as_str().unwrap_or("any") {
        "array" => "list".to_owned(),
        "object" => "map".to_owned(),
        "integer" => "number".to_owned(),
        "boolean" => "yes or no".to_owned(),
        "string" if at["$comment"].as_str().is_some_and(|comment| comment.contains("duration.rs")) => {
            "duration".to_owned()
        }
        "string" => "text".to_owned(),
        other => other.to_owned(),
    })
}

/// Follows a reference.
pub fn resolved<'a>(schema: &'a Value, at: &'a Value) -> &'a Value {
    let name = at["$ref"].as_str().and_then(|path| path.strip_prefix("#/definitions/"));
    name.map_or(at, |name| &schema["definitions"][name])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_is_up_to_date() {
        let published = fs::read_to_string(folder().join("README.md")).unwrap_or_default();
        assert!(
            published == text().unwrap(),
            "charts/snapback/README.md is not what values.yaml says: run `make manifests`"
        );
    }

    #[test]
    fn a_value_without_a_comment_is_refused() {
        let refusal = |values: &str| sections(values).map(drop).unwrap_err().to_string();
        assert_eq!(refusal("## A\n\n# Told.\na: 1\nb: 2\n"), "values.yaml:5: b has no comment");
        assert_eq!(refusal("## A\n\n# Told.\na:\n  # Told.\n  b: 1\n  c: 2\n"), "values.yaml:7: a.c has no comment");
    }

    #[test]
    fn a_default_of_several_lines_is_told_whole() {
        let mut read = sections("## A\n\n# Told\n# twice.\na:\n  b: 1\n  c: {d: e}\n").unwrap();
        let (title, rows) = read.pop().unwrap();
        assert_eq!((title.as_str(), rows.len()), ("A", 1));
        assert_eq!((rows[0].meaning.as_str(), rows[0].default.as_str()), ("Told twice.", r#"{"b":1,"c":{"d":"e"}}"#));
    }
}
