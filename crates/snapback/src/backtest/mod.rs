//! `snapback backtest`: what would a policy have done to the rollouts that took place?
//!
//! ```text
//! subject   the policy, read as the operator reads it              pure
//! given     the rollouts, from a file                              pure
//! cluster   or from the ReplicaSets                                I/O
//! ask       the operator's queries, over history                   I/O
//! cast      whose pods are whose                                   pure
//! pods      what kube-state-metrics kept of them                   I/O, then pure
//! replay    one rollout after the other: what is known good then   I/O
//! walk      look by look over the soak, with the core's judgement  pure
//! report    counts; table and svg show them                        pure
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command of the command line")]

mod ask;
mod cast;
mod cluster;
mod given;
mod pods;
mod replay;
mod report;
mod subject;
mod svg;
mod table;
mod walk;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use snapback_controller::config::OperatorConfig;
use snapback_core::duration;
use snapback_core::policy::Policy;
use snapback_prometheus::{Source, SourceConfig};

use ask::Asker;
use cluster::Remembered;
pub(crate) use cluster::connect;
use given::Given;
use replay::Replay;
use report::{Report, Row};
use subject::Subject;

/// Replay a policy over past rollouts and the metrics of that time: when it would have rolled back, and how often wrongly.
#[derive(Debug, Args)]
pub(crate) struct Backtest {
    /// A file with one RollbackPolicy, as YAML or JSON.
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    policy: PathBuf,
    /// The metrics source: a base URL, without `/api/v1`. This or --config is needed.
    #[arg(long, value_name = "URL", required_unless_present = "config", conflicts_with = "config")]
    prometheus: Option<String>,
    /// The operator's configuration file: the source that the policy names is asked, with its credentials.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A file with the times of the rollouts. This or --from-cluster is needed.
    #[arg(long, value_name = "FILE", required_unless_present = "from_cluster", conflicts_with = "from_cluster")]
    rollouts: Option<PathBuf>,
    /// Read the rollouts from the ReplicaSets of the cluster.
    #[arg(long)]
    from_cluster: bool,
    /// The context of the kubeconfig. Default: the current one.
    #[arg(long, requires = "from_cluster")]
    context: Option<String>,
    /// The namespace of the policy's targets. Default: that of the policy, or with --from-cluster of the context.
    #[arg(short, long)]
    namespace: Option<String>,
    /// How far to look back, such as 14d or 36h.
    #[arg(long, value_name = "TIME", default_value = "14d", value_parser = days)]
    since: SignedDuration,
    /// Where to look back from, such as 2026-01-05T12:00:00Z. Default: now.
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// What is printed.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Write a picture to this file, too.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// Prints a report. Ends the process with 2 if there is none.
pub(crate) fn backtest(arguments: &Backtest) {
    if let Err(error) = try_backtest(arguments) {
        eprintln!("Error: {error:#}");
        // 1 is left to commands that find something wrong; this one judges nobody.
        std::process::exit(2);
    }
}

fn try_backtest(arguments: &Backtest) -> anyhow::Result<()> {
    let subject = subject::load(&arguments.policy)?;
    let source = Source::new(&source_config(arguments, &subject)?)?;
    // Queries and their grid are in whole seconds.
    let to = Timestamp::from_second(arguments.until.unwrap_or_else(Timestamp::now).as_second())?;
    let from = to.checked_sub(arguments.since).context("--since")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(run(arguments, &subject, &source, (from, to)))?;
    if let Some(path) = &arguments.svg {
        std::fs::write(path, svg::svg(&report)).with_context(|| format!("--svg {}", path.display()))?;
    }
    match arguments.output {
        Output::Table => print!("{}", table::table(&report)),
        Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    Ok(())
}

/// Time for one query: those over history are longer than the operator's.
const TIMEOUT: &str = "1m";

fn source_config(arguments: &Backtest, subject: &Subject) -> anyhow::Result<SourceConfig> {
    if let Some(url) = &arguments.prometheus {
        let source = SourceConfig::new("--prometheus", url.clone());
        return Ok(SourceConfig { timeout: Some(TIMEOUT.to_owned()), max_response_bytes: 256 << 20, ..source });
    }
    let path = arguments.config.as_deref().context("--prometheus or --config must be given")?;
    let config = OperatorConfig::load(path)?;
    let names: Vec<&str> = config.sources.iter().map(|source| source.name.as_str()).collect();
    let only = match names.as_slice() {
        [only] => Some(*only),
        _ => None,
    };
    let wanted = subject.source.as_deref().or(config.default_source.as_deref()).or(only);
    let found = config.sources.iter().find(|source| Some(source.name.as_str()) == wanted);
    found.cloned().with_context(|| {
        format!("spec.metrics.source must name a source of {} (there are: {})", path.display(), names.join(", "))
    })
}

async fn run(
    arguments: &Backtest,
    subject: &Subject,
    source: &Source,
    (from, to): (Timestamp, Timestamp),
) -> anyhow::Result<Report> {
    let own = arguments.namespace.clone().or_else(|| subject.namespace.clone());
    let (remembered, namespace) = if let Some(path) = &arguments.rollouts {
        let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let rollouts = given::read(&text, subject.target.as_deref(), to);
        let rollouts = rollouts.with_context(|| path.display().to_string())?;
        let namespace = own.context("the policy has no metadata.namespace: give --namespace")?;
        (Remembered { rollouts, ..Remembered::default() }, namespace)
    } else {
        let (client, default) = cluster::connect(arguments.context.as_deref()).await?;
        let namespace = own.unwrap_or(default);
        (cluster::remembered(&client, &namespace, subject, from).await?, namespace)
    };
    if !given::is_name(&namespace) {
        bail!("--namespace must be the name of a namespace, but is {namespace:?}");
    }
    let asker = Asker { source, names: &subject.names, namespace: &namespace };
    let begins = asker.begins(from, to).await.map_err(|missing| anyhow::anyhow!("asking for history: {missing}"))?;
    let Remembered { rollouts, known, mut notes } = remembered;
    let (rollouts, older): (Vec<Given>, Vec<Given>) = rollouts.into_iter().partition(|one| one.at >= from);
    if !older.is_empty() {
        notes.push(format!("{} rollouts are older than --since and were left out", older.len()));
    }
    let begins = begins.unwrap_or(from);
    if begins > from {
        notes.push(format!(
            "the source's history begins only at {begins} (its retention is shorter than --since); rollouts before that \
             were not judged, and rates are per day since then"
        ));
    }
    let replay = Replay { asker, subject, known: &known, begins, to };
    let rows = replay.all(&rollouts).await;
    notes.extend(notes_on(&rows, &subject.policy));
    let name = format!("{namespace}/{}", subject.name);
    Ok(Report::new(name, &subject.policy.checks, (begins, to), rows, notes))
}

fn notes_on(rows: &[Row], policy: &Policy) -> Vec<String> {
    let never = walk::untold(policy, true);
    let unknown = |row: &&Row| row.not_judged.len() > never.len();
    let mut notes = Vec::new();
    if !never.is_empty() && !rows.is_empty() {
        notes.push(format!("{} is not judged: no metric holds the limits of pods that are gone", never.join(" and ")));
    }
    if let Some(row) = rows.iter().find(unknown) {
        let names: Vec<&str> = row.not_judged.iter().filter(|name| !never.contains(name)).map(String::as_str).collect();
        notes.push(format!(
            "{} could not be judged for {} of {} rollouts: the source has no kube-state-metrics of their pods \
             (kube_pod_status_ready)",
            names.join(" and "),
            rows.iter().filter(unknown).count(),
            rows.len()
        ));
    }
    if rows.iter().any(|row| row.false_alarm && row.label.is_none()) {
        notes.push(
            "a rollback of a rollout without a label counts as a false alarm if no other revision took over within an \
             hour; label it to say otherwise"
                .to_owned(),
        );
    }
    notes
}

/// A duration that may be in days.
fn days(text: &str) -> Result<SignedDuration, String> {
    let in_days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok()).filter(|days| *days <= 3650);
    let parsed = match in_days {
        Some(days) => Ok(SignedDuration::from_hours(i64::from(days) * 24)),
        None => duration::parse(text).map_err(|_| format!("must be a duration such as 14d or 36h, but is {text:?}")),
    };
    parsed.and_then(|since| if since.is_zero() { Err("must not be zero".to_owned()) } else { Ok(since) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_to_look_back_may_be_in_days() {
        assert_eq!(days("14d"), Ok(SignedDuration::from_hours(14 * 24)));
        assert_eq!(days("1h30m"), Ok(SignedDuration::from_mins(90)));
        for wrong in ["", "d", "14 d", "-1d", "0d", "soon", "9999d"] {
            assert!(days(wrong).is_err(), "{wrong}");
        }
    }
}
