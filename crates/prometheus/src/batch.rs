//! One query for the pods of many targets, and whose series are whose.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use regex::Regex;
use snapback_core::sample::{Answer, PodSeries};

use crate::counters::{latencies, requests, scraped};
use crate::envelope::Series;
use crate::names::{CompiledNames, MetricNames};
use crate::query::{by_pod, quoted, scraped_by_pod};

/// What is counted by pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counter {
    /// Requests by status code, read by [`crate::requests`].
    Requests,
    /// Requests by duration, read by [`crate::latencies`].
    Latencies,
    /// Whether the source reached the pod, read by [`crate::scraped`].
    Scraped,
}

/// The pods of one target.
#[derive(Debug, Clone)]
pub struct Pods {
    namespace: String,
    pattern: String,
    /// Made when there is an answer to share, for that takes longer than the rest of a look; `None` if the pattern is none:
    /// then no name matches.
    names: OnceLock<Option<Regex>>,
}

impl PartialEq for Pods {
    fn eq(&self, other: &Self) -> bool {
        (&self.namespace, &self.pattern) == (&other.namespace, &other.pattern)
    }
}

impl Pods {
    /// Those of a namespace whose names match a pattern as [`crate::pods_pattern`] and its like write it.
    pub fn new(namespace: &str, pattern: &str) -> Self {
        Self { namespace: namespace.to_owned(), pattern: pattern.to_owned(), names: OnceLock::new() }
    }

    fn have(&self, namespace: &str, pod: &str) -> bool {
        let names = || self.names.get_or_init(|| Regex::new(&format!("^(?:{})$", self.pattern)).ok()).as_ref();
        self.namespace == namespace && names().is_some_and(|names| names.is_match(pod))
    }
}

impl Counter {
    /// Cumulative counts of these pods, by pod and, for several targets, by namespace. The names must have passed
    /// [`MetricNames::compile`], and be those of pods, not of a proxy in front of them.
    pub fn query(self, names: &MetricNames, pods: &[&Pods]) -> String {
        let (by, matcher) = selection(names, pods);
        match self {
            Self::Requests => by_pod(names, &names.requests, &[&by, &names.code_label], &matcher),
            Self::Latencies => by_pod(names, &names.latency_bucket, &[&by, "le"], &matcher),
            Self::Scraped => scraped_by_pod(&by, &matcher),
        }
    }

    /// Reads the answer to either query.
    ///
    /// # Errors
    /// See [`requests`], [`latencies`] and [`scraped`].
    pub fn read(self, series: Vec<Series>, names: &CompiledNames) -> Answer<Vec<PodSeries>> {
        match self {
            Self::Requests => requests(series, names),
            Self::Latencies => latencies(series, names),
            Self::Scraped => scraped(series, names),
        }
    }

    /// The same of a native histogram, where there may be one; `None` otherwise.
    pub fn native_query(self, names: &MetricNames, pods: &[&Pods]) -> Option<String> {
        let (by, matcher) = selection(names, pods);
        let histogram =
            |metric: &str, end: &str| Some(metric.strip_suffix(end).filter(|name| !name.is_empty())?.to_owned());
        match self {
            Self::Requests => {
                let counted =
                    by_pod(names, &histogram(&names.requests, "_count")?, &[&by, &names.code_label], &matcher);
                Some(format!("histogram_count({counted})"))
            }
            // It has no label le: that leaves the pod.
            Self::Latencies => {
                Some(by_pod(names, &histogram(&names.latency_bucket, "_bucket")?, &[&by, "le"], &matcher))
            }
            Self::Scraped => None,
        }
    }
}

/// The labels that tell pods apart, and the matchers that choose them. Namespaces and pods are matched apart, so an answer
/// may hold pods that nobody asked for: [`share`] leaves them out.
pub(crate) fn selection(names: &MetricNames, pods: &[&Pods]) -> (String, String) {
    let (pod_label, namespace_label) = (&names.pod_label, &names.namespace_label);
    let namespaces: BTreeSet<&str> = pods.iter().map(|pods| pods.namespace.as_str()).collect();
    let patterns: BTreeSet<&str> = pods.iter().map(|pods| pods.pattern.as_str()).collect();
    let patterns = patterns.into_iter().collect::<Vec<_>>().join("|");
    // Names of namespaces hold nothing that means something in a pattern.
    let operator = if namespaces.len() == 1 { "=" } else { "=~" };
    let namespaces: Vec<String> = namespaces.into_iter().map(quoted).collect();
    let namespace = format!(r#"{namespace_label}{operator}"{}""#, namespaces.join("|"));
    let by = if pods.len() == 1 { pod_label.clone() } else { format!("{namespace_label}, {pod_label}") };
    (by, format!(r#"{namespace},{pod_label}=~"{patterns}""#))
}

/// The answer to one query for several targets, by namespace and pod.
#[derive(Debug)]
pub struct Shared<'a>(BTreeMap<(&'a str, &'a str), Vec<&'a Series>>);

impl<'a> Shared<'a> {
    /// Sorts an answer to [`Counter::query`].
    pub fn of(series: &'a [Series], names: &MetricNames) -> Self {
        let mut by_pod: BTreeMap<(&str, &str), Vec<&Series>> = BTreeMap::new();
        let label = |one: &'a Series, name: &str| one.labels.get(name).map_or("", String::as_str);
        for one in series {
            let pod = (label(one, &names.namespace_label), label(one, &names.pod_label));
            by_pod.entry(pod).or_default().push(one);
        }
        Self(by_pod)
    }

    /// The series of one of the targets.
    pub fn share(&self, pods: &Pods) -> Vec<Series> {
        let of_target = self.0.iter().filter(|((namespace, pod), _)| pods.have(namespace, pod));
        of_target.flat_map(|(_, series)| series.iter().copied().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Preset;
    use crate::{
        latency_query, native_latency_query, native_requests_query, pods_pattern, requests_query, scraped_query,
    };

    fn pods(namespace: &str, set: &str) -> Pods {
        Pods::new(namespace, &pods_pattern(&[set.to_owned()]))
    }

    #[test]
    fn of_one_target_the_query_is_the_one_that_a_record_shows() {
        let names = Preset::Istio.names();
        let (one, pattern) = (pods("shop", "web-1"), pods_pattern(&["web-1".to_owned()]));
        assert_eq!(Counter::Requests.query(&names, &[&one]), requests_query(&names, "shop", &pattern));
        assert_eq!(Counter::Latencies.query(&names, &[&one]), latency_query(&names, "shop", &pattern));
        assert_eq!(Counter::Scraped.query(&names, &[&one]), scraped_query(&names, "shop", &pattern));
        let names = Preset::OpenTelemetry.names();
        assert_eq!(Counter::Latencies.native_query(&names, &[&one]), native_latency_query(&names, "shop", &pattern));
        assert_eq!(Counter::Requests.native_query(&names, &[&one]), native_requests_query(&names, "shop", &pattern));
    }

    #[test]
    fn many_targets_are_one_query() {
        let names = Preset::HttpServer.names();
        let (web, api, pay) = (pods("shop", "web-1"), pods("shop", "api-1"), pods("bank", "pay-1"));
        assert_eq!(
            Counter::Requests.query(&names, &[&web, &api]),
            r#"sum by (namespace, pod, code) (http_requests_total{namespace="shop",pod=~"(api-1)-[a-z0-9]{5}|(web-1)-[a-z0-9]{5}"})"#
        );
        assert_eq!(Counter::Scraped.query(&names, &[&web, &pay]), {
            let up = r#"up{namespace=~"bank|shop",pod=~"(pay-1)-[a-z0-9]{5}|(web-1)-[a-z0-9]{5}"}"#;
            format!("max by (namespace, pod) (timestamp({up}) * {up})")
        });
        let otel = Preset::OpenTelemetry.names();
        for counter in [Counter::Requests, Counter::Latencies, Counter::Scraped] {
            let all = [&web, &api, &pay];
            for query in [Some(counter.query(&names, &all)), counter.native_query(&otel, &all)].into_iter().flatten() {
                assert!(promql_parser::parser::parse(&query).is_ok(), "{query}");
            }
        }
    }

    #[test]
    fn each_target_gets_its_own_pods() {
        let series = |namespace: &str, pod: &str, code: &str| Series {
            labels: [("namespace", namespace), ("pod", pod), ("code", code)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            points: Vec::new(),
            histograms: Vec::new(),
        };
        let answer = [
            series("shop", "web-1-aaaaa", "200"),
            series("shop", "web-1-aaaaa", "500"),
            series("bank", "web-1-bbbbb", "200"),
            series("shop", "web-1-aaaaa-ccccc", "200"),
        ];
        let names = Preset::HttpServer.names();
        let shared = Shared::of(&answer, &names);
        assert_eq!(shared.share(&pods("shop", "web-1")), answer[..2]);
        assert_eq!(shared.share(&pods("bank", "web-1")), answer[2..3]);
        assert_eq!(shared.share(&pods("bank", "pay-1")), []);
    }
}
