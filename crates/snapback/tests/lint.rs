//! `snapback lint` as people and pipelines call it, without a source.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

const HEAD: &str = "apiVersion: snapback.dev/v1alpha1\nkind: RollbackPolicy\nmetadata: {name: checkout, namespace: shop}\n\
    spec:\n  targetRef: {kind: Deployment, name: checkout}\n";
const SUSPICIOUS: &str = "  checks: [{name: own, query: {promql: sum(up), max: '1'}}]\n";
const WRONG: &str = "  mode: Auto\n";

/// What it says of this text on its standard input.
fn lint(arguments: &[&str], text: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_snapback"));
    command.arg("lint").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn code(arguments: &[&str], text: &str) -> i32 {
    lint(arguments, text).status.code().unwrap()
}

#[test]
fn the_exit_code_tells_clean_from_wrong_from_unknown() {
    let (suspicious, wrong) = (format!("{HEAD}{SUSPICIOUS}"), format!("{HEAD}{WRONG}"));
    assert_eq!(code(&["-"], HEAD), 0);
    assert_eq!((code(&["-"], &suspicious), code(&["--strict", "-"], &suspicious)), (0, 1));
    assert_eq!(code(&["-"], &wrong), 1);
    assert_eq!(code(&["-"], "a: ["), 2);
    assert_eq!(code(&["no-such-file.yaml"], ""), 2);
    assert_eq!(code(&["--prometheus", "ftp://nowhere", "-"], HEAD), 2);
    assert_eq!(code(&["-o", "json", "-"], &wrong), 1, "the output does not change it");
}

#[test]
fn findings_stand_at_their_lines_in_the_order_of_the_file() {
    let said = lint(&["-"], &format!("{HEAD}{WRONG}---\nkind: ConfigMap\n---\n{HEAD}{SUSPICIOUS}"));
    let said = String::from_utf8(said.stdout).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("-:6: error: spec.mode must be one of Automatic, Approve, Observe"), "{said}");
    assert!(lines[1].starts_with("-:15: warning: spec.checks[0].query.promql: up is asked for in all"), "{said}");
    assert_eq!(lines[2..], ["2 policies, 1 error, 1 warning"]);
}

#[test]
fn a_gate_that_sees_no_policy_is_not_open() {
    let misspelt = HEAD.replace("RollbackPolicy", "RollBackPolicy");
    for text in ["", misspelt.as_str()] {
        assert_eq!(lint(&["-"], text).status.code(), Some(0), "{text}");
        assert_eq!(lint(&["--strict", "-"], text).status.code(), Some(1), "{text}");
    }
}

#[test]
fn what_the_docs_and_the_examples_show_is_clean() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(root.join("examples")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    assert!(files.len() > 5);
    let files: Vec<&str> = files.iter().map(|file| file.to_str().unwrap()).collect();
    let said = lint(&[&["--strict"], files.as_slice()].concat(), "");
    assert_eq!(said.status.code(), Some(0), "{}", String::from_utf8_lossy(&said.stdout));
    // Each block of the documentation, whole or as a part of a spec.
    for file in ["README.md", "docs/tutorial.md", "docs/how-it-decides.md", "docs/workloads.md"] {
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        for block in text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            let is_part = !block.contains("apiVersion:");
            if !is_part && !block.contains("kind: RollbackPolicy") {
                continue;
            }
            let has_target = block.contains("targetRef:") || block.contains("selector:");
            let head = HEAD.split("  targetRef").next().unwrap();
            let target = if has_target { "" } else { "  targetRef: {kind: Deployment, name: checkout}\n" };
            let part: String = block.lines().map(|line| format!("  {line}\n")).collect();
            let text = if is_part { format!("{head}{target}{part}") } else { block.to_owned() };
            let said = lint(&["--strict", "-"], &text);
            assert_eq!(said.status.code(), Some(0), "{file}\n{text}\n{}", String::from_utf8_lossy(&said.stdout));
        }
    }
}
