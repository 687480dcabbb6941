//! Findings for people, for programs, and for GitHub.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command of the command line")]

use super::{DATA, ERROR, Output, Report, Told, WARNING};

pub(super) fn print(report: &Report, output: Output) {
    match output {
        Output::Text => print!("{}", text(report)),
        Output::Json => match serde_json::to_string_pretty(report) {
            Ok(text) => println!("{text}"),
            Err(error) => eprintln!("error: {error}"),
        },
        Output::Github => report.findings.iter().for_each(|told| println!("{}", annotation(told))),
    }
}

pub(super) fn failure(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for told in report.findings.iter().chain(&report.data) {
        let said = &told.said;
        let code = if said.level == DATA { String::new() } else { format!(" [{}]", said.code) };
        text.push_str(&format!("{}:{}: {}: {}{code}\n", told.file, told.line, said.level, sentence(told)));
    }
    let count = |level: &str| report.findings.iter().filter(|told| told.said.level == level).count();
    let (policies, errors, warnings) = (report.policies, count(ERROR), count(WARNING));
    match policies {
        0 => text.push_str("no RollbackPolicy was found\n"),
        _ => text.push_str(&format!(
            "{}, {}, {}\n",
            number(policies, "policy", "policies"),
            number(errors, "error", "errors"),
            number(warnings, "warning", "warnings")
        )),
    }
    text
}

fn sentence(told: &Told) -> String {
    let said = &told.said;
    // `must be ...` reads on from the field.
    let joint = if said.problem.starts_with("must ") || said.problem.starts_with("is ") { " " } else { ": " };
    let fix = if said.fix.is_empty() { String::new() } else { format!("; {}", said.fix) };
    format!("{}{joint}{}{fix}", said.field, said.problem)
}

fn number(count: usize, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

/// A workflow command of GitHub Actions.
fn annotation(told: &Told) -> String {
    let escape = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| escape(text).replace(':', "%3A").replace(',', "%2C");
    let said = &told.said;
    let (file, title) = (property(&told.file), property(said.code));
    format!("::{} file={file},line={},title={title}::{}", said.level, told.line, escape(&sentence(told)))
}

#[cfg(test)]
mod tests {
    use super::super::Said;
    use super::*;

    fn report() -> Report {
        let told = |said: Said| Told { file: "a,b.yaml".to_owned(), line: 7, policy: "shop/a".to_owned(), said };
        let wrong = Said::error("InvalidField", "spec.mode", "must be one of\nA, but is 5%", "");
        let odd = Said::error("CounterAsGauge", "spec.checks[0].query.promql", "x is a counter", "write rate(x[1m])");
        let odd = Said { level: WARNING, ..odd };
        let data = Said { level: DATA, ..Said::error("Data", "spec.checks[1]", "2 pods: a, b", "") };
        Report { policies: 1, findings: vec![told(wrong), told(odd)], data: vec![told(data)] }
    }

    #[test]
    fn people_read_a_line_for_each_with_its_place_and_the_fix() {
        assert_eq!(
            text(&report()),
            "a,b.yaml:7: error: spec.mode must be one of\nA, but is 5% [InvalidField]\n\
             a,b.yaml:7: warning: spec.checks[0].query.promql: x is a counter; write rate(x[1m]) [CounterAsGauge]\n\
             a,b.yaml:7: data: spec.checks[1]: 2 pods: a, b\n\
             1 policy, 1 error, 1 warning\n"
        );
        assert_eq!(text(&Report::default()), "no RollbackPolicy was found\n");
    }

    #[test]
    fn programs_read_flat_objects() {
        let value = serde_json::to_value(report()).unwrap();
        let first = serde_json::json!({
            "file": "a,b.yaml", "line": 7, "policy": "shop/a", "level": "error", "code": "InvalidField",
            "field": "spec.mode", "problem": "must be one of\nA, but is 5%"
        });
        assert_eq!((&value["findings"][0], &value["policies"]), (&first, &serde_json::json!(1)));
        assert_eq!(value["data"][0]["level"], "data");
    }

    #[test]
    fn github_reads_workflow_commands() {
        assert_eq!(
            annotation(&report().findings[0]),
            "::error file=a%2Cb.yaml,line=7,title=InvalidField::spec.mode must be one of%0AA, but is 5%25"
        );
    }
}
