//! Do the queries of the checks have data now, and for which pods?
//!
//! Each is asked as the operator asks it, with all pods of the target for `{{ pods }}`. Without a cluster the pods are known
//! by the names that Kubernetes gives them only.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use snapback_api::v1alpha1::{RollbackPolicy, TargetKind};
use snapback_core::checks::{Unit, Why, format_value};
use snapback_core::duration;
use snapback_core::policy::{Analysis, BurnWindows, Rule};
use snapback_core::sample::{Answer, Counts, Missing, PodSeries};
use snapback_prometheus::{
    AuthConfig, Series, Source, SourceConfig, Values, deployment_pattern, in_window, latencies, latency_query, lint,
    names_pattern, ordinals_pattern, pods_pattern, render, requests, requests_query, to_points,
};

use super::offline::{Understood, queries};
use super::{DATA, Lint, Said, WARNING};

/// Most pods that are named.
const MOST_NAMED: usize = 10;

/// A control that says nothing.
const CONTROL_WITHOUT_DATA: &str = "ControlWithoutData";

/// Time over which the scrapes are looked at: a handful of the slowest that anybody has.
const SCRAPES: &str = "10m";

/// What the source said of one policy.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) findings: Vec<Said>,
    pub(super) data: Vec<Said>,
}

pub(super) fn source(url: &str, arguments: &Lint) -> anyhow::Result<Source> {
    let auth = arguments.bearer_token_file.clone();
    let auth = auth.map(|file| AuthConfig { bearer_token_file: Some(file), ..AuthConfig::default() });
    Source::new(&SourceConfig { auth, ..SourceConfig::new("--prometheus", url) }).context("--prometheus")
}

/// Asks what a policy would ask.
pub(super) async fn ask(source: &Source, understood: &Understood, arguments: &Lint) -> anyhow::Result<Heard> {
    let Understood { object, .. } = understood;
    let namespace = object.namespace().or_else(|| arguments.namespace.clone());
    let namespace = namespace.context("the policy names no namespace: say which with --namespace")?;
    let now = Timestamp::now();
    let mut asker = Asker { source, understood, namespace, pods: pods(object), now, heard: Heard::default() };
    // With an interval that was given, the text was looked at already.
    if arguments.scrape_interval.is_none() {
        let scrape = asker.scrape().await?;
        if let Some(scrape) = scrape {
            asker.tell("spec.metrics", format!("the pods are scraped every {}", duration::format(scrape)));
        }
        asker.heard.findings.extend(queries(&serde_json::to_value(object)?, scrape));
    }
    let (requests, latencies) = (asker.requests().await?, asker.latencies().await?);
    for (index, check) in understood.policy.checks.iter().enumerate() {
        let field = field(object, index);
        match &check.rule {
            Rule::ErrorRate { .. } => asker.counted((&field, &check.name), &requests, true),
            Rule::TrafficDrop { .. } => asker.counted((&field, &check.name), &requests, false),
            Rule::Latency { max, .. } => asker.timed((&field, &check.name), *max, &latencies),
            Rule::Query { promql, .. } => {
                let field = format!("{field}.query.promql");
                let told = |value| format!("{} is {} now", check.name, format_value(Unit::Plain, value));
                asker.own(&field, promql, told).await?;
            }
            Rule::BurnRate { budget, promql, windows } => {
                let field = format!("{field}.burnRate");
                for window in windows.iter().flat_map(BurnWindows::both).map(|window| &window.text) {
                    let told = |value: f64| {
                        let rate = format_value(Unit::Plain, value / budget);
                        format!("{} burns at {rate} times the rate of the objective over {window}", check.name)
                    };
                    asker.own(&field, &in_window(promql, window), told).await?;
                }
            }
            // The one is known from the pods themselves; the other from what the kubelet says of them, by their limits.
            Rule::CrashRate { .. } | Rule::Saturation { .. } => {}
        }
    }
    asker.controls().await?;
    Ok(asker.heard)
}

/// Where a check stands; the defaults stand nowhere.
fn field(object: &RollbackPolicy, index: usize) -> String {
    if object.spec.checks.is_some() { format!("spec.checks[{index}]") } else { "spec.checks".to_owned() }
}

/// A pattern of all pods that a policy's targets can have.
fn pods(object: &RollbackPolicy) -> String {
    match &object.spec.target_ref {
        None => ".+".to_owned(),
        Some(target) => match target.kind {
            // A ReplicaSet's name ends in the hash of its template: up to ten characters.
            TargetKind::Deployment => {
                let exact = names_pattern(std::slice::from_ref(&target.name));
                format!("{exact}-[a-z0-9]{{1,10}}-[a-z0-9]{{5}}")
            }
            TargetKind::StatefulSet => ordinals_pattern(&target.name),
            TargetKind::DaemonSet => pods_pattern(std::slice::from_ref(&target.name)),
        },
    }
}

struct Asker<'a> {
    source: &'a Source,
    understood: &'a Understood,
    namespace: String,
    pods: String,
    now: Timestamp,
    heard: Heard,
}

impl Asker<'_> {
    /// What stands for the placeholders; a policy with a selector has no one target.
    fn values(&self) -> Values<'_> {
        let target = self.understood.object.spec.target_ref.as_ref().map_or(".+", |target| target.name.as_str());
        Values { namespace: &self.namespace, target, pods: &self.pods }
    }

    /// Asks at this instant. That there is no answer is no finding about the policy.
    async fn instant(&self, promql: &str) -> anyhow::Result<Answer<Vec<Series>>> {
        match self.source.instant(promql, self.now).await {
            Err(Missing::Unavailable(why)) => bail!("the source {why}"),
            answer => Ok(answer),
        }
    }

    /// The time between two scrapes of the pods, if they are scraped.
    async fn scrape(&self) -> anyhow::Result<Option<SignedDuration>> {
        let names = self.understood.names.names();
        let (of, pod) = (&names.namespace_label, &names.pod_label);
        let text = format!(r#"up{{{of}="{{{{ namespace }}}}",{pod}=~"{{{{ pods }}}}"}}[{SCRAPES}]"#);
        let promql = render(&text, &self.values())?;
        Ok(self.instant(&promql).await?.ok().and_then(|series| shortest_gap(&series)))
    }

    /// What the source has of requests, if a check wants it.
    async fn requests(&self) -> anyhow::Result<Found> {
        let wants = |rule: &Rule| matches!(rule, Rule::ErrorRate { .. } | Rule::TrafficDrop { .. });
        if !self.understood.policy.checks.iter().any(|check| wants(&check.rule)) {
            return Ok(Found::default());
        }
        let names = &self.understood.names;
        let promql = requests_query(names.names(), &self.namespace, &self.pods);
        let answer = self.instant(&promql).await?.and_then(|series| requests(series, names));
        self.found(answer, &names.names().requests).await
    }

    /// The same of durations.
    async fn latencies(&self) -> anyhow::Result<Found> {
        if !self.understood.policy.checks.iter().any(|check| matches!(check.rule, Rule::Latency { .. })) {
            return Ok(Found::default());
        }
        let names = &self.understood.names;
        let promql = latency_query(names.names(), &self.namespace, &self.pods);
        let answer = self.instant(&promql).await?.and_then(|series| latencies(series, names));
        self.found(answer, &names.names().latency_bucket).await
    }

    /// Whether there is anything of the controls that the checks count.
    async fn controls(&mut self) -> anyhow::Result<()> {
        let counts = |wanted: fn(&Rule) -> bool| self.understood.policy.checks.iter().any(|check| wanted(&check.rule));
        let requests = counts(|rule| matches!(rule, Rule::ErrorRate { .. }));
        let latencies = counts(|rule| matches!(rule, Rule::Latency { .. }));
        let names = self.understood.names.names();
        for (index, control) in self.understood.policy.controls.iter().enumerate() {
            let (field, pods) = (format!("spec.controls[{index}]"), deployment_pattern(control));
            let queries = [
                requests.then(|| (&names.requests, requests_query(names, &self.namespace, &pods))),
                latencies.then(|| (&names.latency_bucket, latency_query(names, &self.namespace, &pods))),
            ];
            for (metric, promql) in queries.into_iter().flatten() {
                let answer = self.instant(&promql).await?;
                match answer.and_then(|series| if series.is_empty() { Err(Missing::Empty) } else { Ok(series) }) {
                    Ok(_) => self.tell(&field, format!("{control} has {metric}")),
                    Err(missing) => {
                        let problem = format!("{control} has no {metric} ({missing}), so nothing is held back by it");
                        let said = Said::error(CONTROL_WITHOUT_DATA, &field, problem, "name one that serves requests");
                        self.heard.findings.push(Said { level: WARNING, ..said });
                    }
                }
            }
        }
        Ok(())
    }

    /// The answer; and where there is none, whether others have the metric.
    async fn found(&self, answer: Answer<Vec<PodSeries>>, metric: &str) -> anyhow::Result<Found> {
        let mut is_elsewhere = false;
        if matches!(answer, Err(Missing::Empty)) {
            let anywhere = self.instant(&format!("count({metric})")).await?;
            is_elsewhere = anywhere.is_ok_and(|series| !series.is_empty());
        }
        Ok(Found { metric: metric.to_owned(), answer, is_elsewhere })
    }

    fn counted(&mut self, (field, check): (&str, &str), found: &Found, by_code: bool) {
        let Some(series) = self.data(field, check, found) else { return };
        let names = self.understood.names.names();
        if by_code && series.iter().all(|one| one.key.is_empty()) {
            let problem = format!(
                "no series of {} has the label {}, so no request counts as failed",
                names.requests, names.code_label
            );
            let fix = "name the label that says so in spec.metrics.requests.codeLabel";
            self.heard.findings.push(Said::error("CodeLabelMissing", field, problem, fix));
        }
    }

    fn timed(&mut self, (field, check): (&str, &str), max: Option<f64>, found: &Found) {
        let Some(series) = self.data(field, check, found) else { return };
        let mut bounds: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for one in series {
            if let Counts::AtMostSeconds(bound) = one.counts {
                bounds.entry(&one.pod).or_default().push(bound);
            }
        }
        let is_counted = matches!(self.understood.policy.analysis, Analysis::Sequential { .. });
        let field = format!("{field}.latency.max");
        let of_pod = |bounds: &Vec<f64>| lint::limit_by_bounds(&field, max?, bounds, is_counted);
        // Pods of several releases may have several histograms: the least that can be shown is told.
        let worst = bounds.values().filter_map(of_pod).max_by_key(|finding| finding.level);
        self.heard.findings.extend(worst.map(Said::from));
    }

    /// The series of an answer, after telling whose they are; or why there are none.
    fn data<'f>(&mut self, field: &str, check: &str, found: &'f Found) -> Option<&'f [PodSeries]> {
        let missing = match &found.answer {
            Ok(series) => {
                let pods: BTreeSet<&str> = series.iter().map(|one| one.pod.as_str()).collect();
                let mut named = pods.iter().take(MOST_NAMED).copied().collect::<Vec<_>>().join(", ");
                if pods.len() > MOST_NAMED {
                    named = format!("{named}, and {} more", pods.len() - MOST_NAMED);
                }
                self.tell(field, format!("{check} has {} of {} pods: {named}", found.metric, pods.len()));
                return Some(series);
            }
            Err(missing) => missing,
        };
        let names = self.understood.names.names();
        let (problem, fix) = match missing {
            Missing::Empty if found.is_elsewhere => {
                let only = names.only.map(|(label, value)| format!(r#",{label}="{value}""#)).unwrap_or_default();
                let labels = format!(
                    r#"{}="{}",{}=~"{}"{only}"#,
                    names.namespace_label, self.namespace, names.pod_label, self.pods
                );
                let fix = "look whether these pods run and serve, or name the labels that say whose a series is in \
                           spec.metrics.labels";
                (format!("{} has series, but none with {labels}", found.metric), fix)
            }
            Missing::Empty => {
                let fix = "choose the preset in spec.metrics whose metrics your pods have, or name them there";
                (format!("there is no series {}", found.metric), fix)
            }
            other => (other.to_string(), "look at the source"),
        };
        self.missing(field, missing, problem, fix);
        None
    }

    /// A user's own query, with all pods for the new ones.
    async fn own(&mut self, field: &str, promql: &str, told: impl FnOnce(f64) -> String) -> anyhow::Result<()> {
        // One that cannot be written out was found without the source.
        let Ok(promql) = render(promql, &self.values()) else { return Ok(()) };
        match self.instant(&promql).await?.and_then(to_points) {
            Ok(points) => {
                if let Some(last) = points.last() {
                    self.tell(field, told(last.value));
                }
            }
            Err(missing) => {
                let fix = match missing {
                    Missing::Empty => {
                        "try its parts one by one where you look at your metrics; the labels are the usual cause"
                    }
                    Missing::ManySeries(_) => "put sum(), avg() or max() around it",
                    Missing::NotANumber => "that is so while nothing happens, if it divides; else correct it",
                    _ => "look at the source, or correct the query",
                };
                let problem = format!("{missing}, asked as {promql}");
                self.missing(field, &missing, problem, fix);
            }
        }
        Ok(())
    }

    fn tell(&mut self, field: &str, problem: String) {
        self.heard.data.push(Said { level: DATA, ..Said::error("Data", field, problem, "") });
    }

    /// Why there is no answer, in the words of a check's reason. What may pass by itself is a warning.
    fn missing(&mut self, field: &str, missing: &Missing, problem: String, fix: &str) {
        let said = Said::error(Why::Missing(missing.clone()).reason(), field, problem, fix);
        let may_pass = matches!(missing, Missing::NotANumber | Missing::Partial(_) | Missing::Unavailable(_));
        self.heard.findings.push(if may_pass { Said { level: WARNING, ..said } } else { said });
    }
}

/// What the source has of a metric.
struct Found {
    metric: String,
    answer: Answer<Vec<PodSeries>>,
    /// Whether there are series of it, but not of these pods.
    is_elsewhere: bool,
}

impl Default for Found {
    fn default() -> Self {
        Self { metric: String::new(), answer: Ok(Vec::new()), is_elsewhere: false }
    }
}

/// The usual time between two samples of the series that has them most often, to the second where it is longer.
fn shortest_gap(series: &[Series]) -> Option<SignedDuration> {
    let usual = |one: &Series| {
        let mut gaps: Vec<SignedDuration> =
            one.points.iter().zip(one.points.iter().skip(1)).map(|(a, b)| b.0.duration_since(a.0)).collect();
        gaps.sort_unstable();
        gaps.get(gaps.len() / 2).copied()
    };
    let gap = series.iter().filter_map(usual).min()?;
    let whole = SignedDuration::from_secs((gap.as_millis() + 500).div_euclid(1000).try_into().ok()?);
    Some(if whole.is_zero() { gap } else { whole })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(seconds: &[f64]) -> Series {
        let at = |second: &f64| Timestamp::UNIX_EPOCH + SignedDuration::from_secs_f64(*second);
        Series {
            labels: BTreeMap::new(),
            points: seconds.iter().map(|second| (at(second), 1.0)).collect(),
            histograms: Vec::new(),
        }
    }

    #[test]
    fn the_usual_gap_is_the_time_between_two_scrapes() {
        let gap = |all: &[Series]| shortest_gap(all).map(duration::format);
        assert_eq!(gap(&[]), None);
        assert_eq!(gap(&[series(&[5.0])]), None, "one sample says nothing");
        // Jitter, and a scrape that failed.
        let steady = series(&[0.0, 15.001, 30.0, 60.002, 75.0, 90.0]);
        assert_eq!(gap(std::slice::from_ref(&steady)), Some("15s".to_owned()));
        assert_eq!(gap(&[steady, series(&[0.0, 60.0, 120.0])]), Some("15s".to_owned()), "two jobs");
        assert_eq!(gap(&[series(&[0.0, 0.2, 0.4, 0.6])]), Some("200ms".to_owned()));
    }

    #[test]
    fn the_pods_of_a_target_are_known_by_their_names() {
        let pods = |kind: &str| {
            let spec = serde_json::json!({"targetRef": {"kind": kind, "name": "web"}});
            let object = RollbackPolicy::new("a", serde_json::from_value(spec).unwrap());
            regex::Regex::new(&format!("^(?:{})$", super::pods(&object))).unwrap()
        };
        for (kind, pod, other) in [
            ("Deployment", "web-7d9f8c6b5a-abcde", "web-api-7d9f8c6b5a-abcde"),
            ("StatefulSet", "web-12", "web-7d9f-abcde"),
            ("DaemonSet", "web-abcde", "web-1"),
        ] {
            assert!(pods(kind).is_match(pod) && !pods(kind).is_match(other), "{kind}");
        }
    }
}
