//! What others make of what our kinds say: kstatus, by which Flux and Helm wait, and Argo CD's Lua engine. Both are theirs; the
//! objects are those that `crates/controller/tests/shell/told.rs` keeps. Needs no root and no cluster.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test suite")]

mod argocd;
mod kstatus;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use snapback_tests::argocd::folder;
use snapback_tests::tools;

pub(crate) const KINDS: [&str; 2] = ["Rollback", "RollbackPolicy"];

/// The stories of a kind, by name, and what it says there.
pub(crate) fn stories(kind: &str) -> Vec<(String, Value)> {
    let entries = std::fs::read_dir(folder(kind).join("testdata")).unwrap();
    let mut stories: Vec<(String, Value)> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), read(&path))
        })
        .collect();
    stories.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(stories.len() >= 10, "only {} stories of a {kind}", stories.len());
    stories
}

/// A file of YAML.
pub(crate) fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What a program answers to each question: one JSON a line, both ways.
pub(crate) fn ask(program: &str, questions: &[Value]) -> Vec<Value> {
    tools::ensure(&[program]).unwrap();
    let mut command = Command::new(tools::path(program).unwrap());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let text: String = questions.iter().map(|question| format!("{question}\n")).collect();
    // It answers while it is asked.
    let asking = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    asking.join().unwrap().unwrap();
    assert!(output.status.success(), "{program} failed");
    let text = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), questions.len(), "{program} did not answer each question");
    answers
}
