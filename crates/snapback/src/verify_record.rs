//! `snapback verify-record`: is the verdict in a record what its counts give?

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde::Deserialize as _;
use serde_json::Value;
use snapback_core::analysis::sequential::Recorded;
use snapback_core::checks::Odds;

/// Recompute the verdicts of a Rollback's record from the counts that it holds.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyRecord {
    /// A file with one or several Rollbacks as YAML or JSON, as `kubectl get rollback NAME -o yaml` prints them. Absent:
    /// standard input.
    file: Option<PathBuf>,
}

/// Prints a line per check. Fails if a verdict is not what its counts give, or if there is nothing to recompute.
#[allow(clippy::print_stdout, reason = "a command of the command line")]
pub(crate) fn verify(arguments: &VerifyRecord) -> anyhow::Result<()> {
    let mut text = String::new();
    match &arguments.file {
        Some(path) => {
            text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
        }
        None => {
            std::io::stdin().read_to_string(&mut text).context("standard input cannot be read")?;
        }
    }
    let found = report(&text)?;
    print!("{}", found.lines);
    if found.wrong > 0 {
        bail!("{} of {} verdicts are not what their counts give", found.wrong, found.checks);
    }
    if found.checks == 0 {
        bail!(
            "there is nothing to recompute: no Rollback whose spec.evidence holds counts (a breach by a sequential \
             check has them)"
        );
    }
    Ok(())
}

/// What was recomputed.
#[derive(Debug, Default, PartialEq)]
struct Report {
    lines: String,
    checks: usize,
    wrong: usize,
}

fn report(text: &str) -> anyhow::Result<Report> {
    let mut report = Report::default();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let object = Value::deserialize(document).context("this is neither YAML nor JSON")?;
        match object["items"].as_array() {
            Some(items) => items.iter().try_for_each(|item| rollback(item, &mut report))?,
            None => rollback(&object, &mut report)?,
        }
    }
    Ok(report)
}

fn rollback(object: &Value, report: &mut Report) -> anyhow::Result<()> {
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("?");
    for check in object.pointer("/spec/evidence").and_then(Value::as_array).into_iter().flatten() {
        let Some(counts) = check["counts"].as_str() else { continue };
        let check = check["name"].as_str().unwrap_or("?");
        let recorded: Recorded = counts.parse().with_context(|| format!("{name}, {check}"))?;
        let found = recorded.recomputed();
        let is_same = found.to_bits() == recorded.found.to_bits();
        report.checks += 1;
        report.wrong += usize::from(!is_same);
        let odds = |value: f64| Odds { found: value, needed: recorded.needed }.describe();
        let verdict = match (is_same, found >= recorded.needed) {
            (false, _) => format!("WRONG: the record says {}", odds(recorded.found)),
            (true, true) => "breached by itself, as recorded".to_owned(),
            (true, false) => "breached together with other checks, as recorded".to_owned(),
        };
        let looks = recorded.parts.iter().map(|part| part.looks.len()).max().unwrap_or(0);
        // Writing to a string cannot fail.
        _ = writeln!(
            report.lines,
            "{name}  {check}  {looks} looks, odds of {} against chance ({} needed): {verdict}",
            odds(found),
            odds(recorded.needed)
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTS: &str = "needed=7.6 found=FOUND\n\
        rate weight=1 max=0.05 floor=0 looks=30 pods=1 time=1 spare=4.6\n\
        100,30/100,0o;100,40/100,1o";

    fn document(found: &str) -> String {
        let counts = COUNTS.replace("FOUND", found);
        let evidence = serde_json::json!([{"name": "crashes"}, {"name": "errors", "counts": counts}]);
        serde_json::json!({"metadata": {"name": "checkout-1"}, "spec": {"evidence": evidence}}).to_string()
    }

    fn right() -> String {
        COUNTS.replace("FOUND", "0").parse::<Recorded>().unwrap().recomputed().to_string()
    }

    #[test]
    fn a_record_that_its_counts_give_is_confirmed() {
        let found = report(&document(&right())).unwrap();
        assert_eq!((found.checks, found.wrong), (1, 0), "{}", found.lines);
        assert!(found.lines.contains("breached by itself, as recorded"), "{}", found.lines);
    }

    #[test]
    fn a_record_that_was_changed_is_found_out() {
        let found = report(&document("9.5")).unwrap();
        assert_eq!((found.checks, found.wrong), (1, 1));
        assert!(found.lines.contains("WRONG"), "{}", found.lines);
    }

    #[test]
    fn lists_and_documents_are_read() {
        let list = format!("{{\"items\": [{}, {}]}}", document(&right()), document(&right()));
        assert_eq!(report(&format!("{list}\n---\n{}", document(&right()))).unwrap().checks, 3);
        assert_eq!(report("kind: Rollback").unwrap(), Report::default());
        assert!(report("a: [").is_err());
    }
}
