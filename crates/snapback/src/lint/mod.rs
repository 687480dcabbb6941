//! `snapback lint`: what is wrong with a policy, before a release depends on it.
//!
//! ```text
//! documents  which policies are in the files, and on which lines their fields are
//! schema     what the API server would refuse: types, unknown fields, CEL
//! offline    what the operator would refuse, and what is suspicious
//! overlap    which of them would be kept out by another one
//! online     what the source answers now
//! print      for people, for programs, for GitHub
//! ```

mod documents;
mod offline;
mod online;
mod overlap;
mod print;
mod schema;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use jiff::SignedDuration;
use serde::Serialize;
use snapback_core::duration;
use snapback_prometheus::lint::{Finding, Level};

/// Say what is wrong with policies, before a release depends on them. Exits with 0 if nothing is, 1 if something is, 2 if
/// that could not be found out.
#[derive(Debug, clap::Args)]
pub(crate) struct Lint {
    /// Files with policies as YAML or JSON; `-` is standard input. Other kinds in them are passed over.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Exit with 1 for warnings, too.
    #[arg(long)]
    strict: bool,
    /// How findings are printed.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// The time between two scrapes of the pods, such as 30s. Default: what the source shows with --prometheus; else 15s, or
    /// the policy's soak.interval if that is shorter.
    #[arg(long, value_parser = duration::parse)]
    scrape_interval: Option<SignedDuration>,
    /// Also ask this Prometheus whether the checks have data now, without /api/v1: http://localhost:9090
    #[arg(long, value_name = "URL")]
    prometheus: Option<String>,
    /// A file with a bearer token for it.
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    bearer_token_file: Option<PathBuf>,
    /// The namespace of policies that name none.
    #[arg(short, long)]
    namespace: Option<String>,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// `file:line: error: field: ...`
    Text,
    /// One object with all findings.
    Json,
    /// Annotations of a workflow of GitHub Actions.
    Github,
}

/// All that is to be told.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// Policies that were looked at.
    policies: usize,
    findings: Vec<Told>,
    /// What the source has, if it was asked.
    data: Vec<Told>,
}

/// One thing that is to be told of a field of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Told {
    file: String,
    line: usize,
    policy: String,
    #[serde(flatten)]
    said: Said,
}

/// What is said of a field, wherever the policy stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Said {
    level: &'static str,
    code: &'static str,
    field: String,
    problem: String,
    /// Empty where the problem says it: `must be ...`.
    #[serde(skip_serializing_if = "String::is_empty")]
    fix: String,
}

const ERROR: &str = "error";
const WARNING: &str = "warning";
const DATA: &str = "data";

impl Said {
    fn error(code: &'static str, field: &str, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: ERROR, code, field: field.to_owned(), problem: problem.into(), fix: fix.into() }
    }
}

impl From<Finding> for Said {
    fn from(found: Finding) -> Self {
        let level = match found.level {
            Level::Error => ERROR,
            Level::Warning => WARNING,
        };
        Self { level, code: found.code.as_str(), field: found.field, problem: found.problem, fix: found.fix }
    }
}

/// Prints what is wrong, and gives the exit code.
pub(crate) fn lint(arguments: &Lint) -> ExitCode {
    match report(arguments) {
        Ok(report) => {
            print::print(&report, arguments.output);
            code(&report, arguments.strict)
        }
        Err(error) => {
            print::failure(&error);
            ExitCode::from(2)
        }
    }
}

fn code(report: &Report, strict: bool) -> ExitCode {
    let counts = |told: &Told| told.said.level == ERROR || strict;
    // A gate that sees no policy, for a misspelt kind or an empty pipe, must not be open.
    let sees_nothing = strict && report.policies == 0;
    if sees_nothing || report.findings.iter().any(counts) { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

fn report(arguments: &Lint) -> anyhow::Result<Report> {
    let source = arguments.prometheus.as_deref().map(|url| online::source(url, arguments)).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut report = Report::default();
    let mut seen = overlap::Seen::default();
    for file in &arguments.files {
        let name = file.display().to_string();
        let text = read(file).with_context(|| format!("{name} cannot be read"))?;
        for policy in documents::policies(&text).with_context(|| name.clone())? {
            let (mut found, understood) = offline::look(&policy.object, arguments.scrape_interval, source.is_some());
            found.extend(seen.note(&name, &policy, arguments.namespace.as_deref()));
            let mut data = Vec::new();
            if let (Some(source), Some(understood)) = (&source, &understood) {
                let asked = online::ask(source, understood, arguments);
                let heard = runtime.block_on(asked).with_context(|| format!("{name}, {}", policy.name()))?;
                found.extend(heard.findings);
                data = heard.data;
            }
            let told =
                |said: Said| Told { file: name.clone(), line: policy.line(&said.field), policy: policy.name(), said };
            report.policies += 1;
            report.findings.extend(found.into_iter().map(told));
            report.data.extend(data.into_iter().map(told));
        }
    }
    report.findings.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    Ok(report)
}

fn read(file: &Path) -> std::io::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(file)
}
