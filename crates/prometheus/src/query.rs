//! The queries of the built-in checks, and whose pod a pod is.
//!
//! A pod is recognised by its name: that of its ReplicaSet, a dash, and five random characters. The API server cuts
//! the name with the dash to 58 characters before it adds the random ones. The hash of a ReplicaSet whose name is
//! longer is then cut too, and two revisions can share a prefix: such pods are nobody's.

use std::fmt::Write;

use crate::batch::{Counter, Pods, selection};
use crate::names::MetricNames;

/// The longest name that `generateName` makes (63), without the random characters.
const MAX_BASE: usize = 58;
const RANDOM: usize = 5;

/// Cumulative counts of requests by pod and status code, of the pods of a pattern as the functions below write it; by
/// replica of the proxy where one in front of the pods counts. See [`crate::CompiledNames::whose`].
///
/// The names must have passed [`MetricNames::compile`].
pub fn requests_query(names: &MetricNames, namespace: &str, whose: &str) -> String {
    counters(names, &names.requests, &names.code_label, namespace, whose)
}

/// Cumulative buckets of request durations, as [`requests_query`].
///
/// The names must have passed [`MetricNames::compile`].
pub fn latency_query(names: &MetricNames, namespace: &str, whose: &str) -> String {
    counters(names, &names.latency_bucket, "le", namespace, whose)
}

/// As [`requests_query`], where the counter is a histogram's count and the histogram may be a native one; `None` otherwise.
///
/// The names must have passed [`MetricNames::compile`].
pub fn native_requests_query(names: &MetricNames, namespace: &str, whose: &str) -> Option<String> {
    let histogram = names.requests.strip_suffix("_count").filter(|name| !name.is_empty())?;
    let by_code = counters(names, histogram, &names.code_label, namespace, whose);
    Some(format!("histogram_count({by_code})"))
}

/// As [`latency_query`], of a native histogram.
///
/// The names must have passed [`MetricNames::compile`].
pub fn native_latency_query(names: &MetricNames, namespace: &str, whose: &str) -> Option<String> {
    let histogram = names.latency_bucket.strip_suffix("_bucket").filter(|name| !name.is_empty())?;
    // It has no label le: that leaves the pod.
    Some(counters(names, histogram, "le", namespace, whose))
}

/// When the source last reached each pod, in seconds since the epoch; 0 while it does not. `up` alone would not do: where
/// nobody marks series as stale (a remote write that stops), the last 1 stands for five minutes.
///
/// The names must have passed [`MetricNames::compile`].
pub fn scraped_query(names: &MetricNames, namespace: &str, pods: &str) -> String {
    Counter::Scraped.query(names, &[&Pods::new(namespace, pods)])
}

/// As [`pods_pattern`], of all pods of a StatefulSet.
pub fn ordinals_pattern(stateful_set: &str) -> String {
    quoted(&format!("({})-[0-9]+", pattern(stateful_set)))
}

/// As [`pods_pattern`], of all pods of a Deployment, whatever its ReplicaSets are called: the hash in their names is a number
/// of 32 bits, of whose ten digits or fewer each is one of 27 letters (`k8s.io/apimachinery` `rand.SafeEncodeString`).
pub fn deployment_pattern(deployment: &str) -> String {
    quoted(&format!("({})-[bcdfghjklmnpqrstvwxz2456789]{{6,10}}-[a-z0-9]{{{RANDOM}}}", pattern(deployment)))
}

/// As [`pods_pattern`], of the pods with these very names. Without names it matches none.
pub fn names_pattern(pods: &[String]) -> String {
    if pods.is_empty() {
        return "-".to_owned();
    }
    quoted(&format!("({})", pods.iter().map(|name| pattern(name)).collect::<Vec<_>>().join("|")))
}

/// A regular expression of the names of the pods of the given ReplicaSets, escaped for use inside a PromQL string.
///
/// For Kubernetes names it holds neither backslashes nor quotes, so it means the same in all three kinds of strings.
pub fn pods_pattern(replica_sets: &[String]) -> String {
    let bases: Vec<&str> = replica_sets.iter().map(|name| name.get(..MAX_BASE).unwrap_or(name)).collect();
    // The dash stands outside the alternatives, as one would write it, unless a name lost its own.
    let cut = replica_sets.iter().any(|name| name.len() >= MAX_BASE);
    let alternatives: Vec<String> = replica_sets
        .iter()
        .zip(bases)
        .map(|(name, base)| if cut && name.len() < MAX_BASE { pattern(&format!("{base}-")) } else { pattern(base) })
        .collect();
    let dash = if cut { "" } else { "-" };
    quoted(&format!("({}){dash}[a-z0-9]{{{RANDOM}}}", alternatives.join("|")))
}

/// The ReplicaSet that a pod belongs to by its name, or `None` if it is none of the given or cannot be told.
pub fn owner_of_pod<'a>(pod: &str, replica_sets: &'a [String]) -> Option<&'a str> {
    let owners: Vec<&str> = replica_sets.iter().map(String::as_str).filter(|owner| is_pod_of(pod, owner)).collect();
    let longest = owners.iter().map(|owner| owner.len().min(MAX_BASE)).max()?;
    let mut best = owners.into_iter().filter(|owner| owner.len().min(MAX_BASE) == longest);
    let owner = best.next()?;
    best.all(|other| other == owner).then_some(owner)
}

fn is_pod_of(pod: &str, replica_set: &str) -> bool {
    let rest = match replica_set.get(..MAX_BASE) {
        Some(base) => pod.strip_prefix(base),
        None => pod.strip_prefix(replica_set).and_then(|rest| rest.strip_prefix('-')),
    };
    rest.is_some_and(|rest| rest.len() == RANDOM && rest.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()))
}

fn counters(names: &MetricNames, metric: &str, label: &str, namespace: &str, whose: &str) -> String {
    if let Some(front) = names.front {
        return front.by_replica(metric, label, namespace, whose);
    }
    let (by, matchers) = selection(names, &[&Pods::new(namespace, whose)]);
    by_pod(names, metric, &[&by, label], &matchers)
}

/// Sums of a metric, of the pods that the matchers choose.
pub(crate) fn by_pod(names: &MetricNames, metric: &str, by: &[&str], matchers: &str) -> String {
    let only = names.only.map(|(label, value)| format!(r#",{label}="{value}""#)).unwrap_or_default();
    format!("sum by ({}) ({metric}{{{matchers}{only}}})", by.join(", "))
}

/// When pods were last reached, of those that the matchers choose.
pub(crate) fn scraped_by_pod(by: &str, matchers: &str) -> String {
    format!("max by ({by}) (timestamp(up{{{matchers}}}) * up{{{matchers}}})")
}

/// A regular expression that matches the text itself. A dot becomes `[.]`, which needs no backslash.
pub(crate) fn pattern(text: &str) -> String {
    text.split('.').map(|part| regex::escape(part).replace(r"\-", "-")).collect::<Vec<_>>().join("[.]")
}

/// The inside of a PromQL string in double quotes.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => {
                // Writing to a string cannot fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Preset;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn of_a_proxy_only_what_it_receives_is_counted() {
        let istio = requests_query(&Preset::Istio.names(), "shop", "web-1-[a-z0-9]{5}");
        assert_eq!(
            istio,
            r#"sum by (pod, response_code) (istio_requests_total{namespace="shop",pod=~"web-1-[a-z0-9]{5}",reporter="destination"})"#
        );
        let linkerd = latency_query(&Preset::Linkerd.names(), "shop", "web-1-[a-z0-9]{5}");
        assert!(linkerd.ends_with(r#",direction="inbound"})"#), "{linkerd}");
    }

    #[test]
    fn the_queries_read_as_a_person_would_write_them() {
        let sets = names(&["checkout-7d9f", "checkout-5c4b"]);
        assert_eq!(
            requests_query(&Preset::HttpServer.names(), "shop", &pods_pattern(&sets)),
            r#"sum by (pod, code) (http_requests_total{namespace="shop",pod=~"(checkout-7d9f|checkout-5c4b)-[a-z0-9]{5}"})"#
        );
        assert_eq!(
            latency_query(&Preset::OpenTelemetry.names(), "shop", &pods_pattern(&sets[..1])),
            r#"sum by (pod, le) (http_server_request_duration_seconds_bucket{namespace="shop",pod=~"(checkout-7d9f)-[a-z0-9]{5}"})"#
        );
    }

    #[test]
    fn a_histograms_count_may_be_that_of_a_native_one() {
        let query = |preset: Preset| native_requests_query(&preset.names(), "shop", "(a-1)-[a-z0-9]{5}");
        assert_eq!(
            query(Preset::OpenTelemetry).unwrap(),
            r#"histogram_count(sum by (pod, http_response_status_code) (http_server_request_duration_seconds{namespace="shop",pod=~"(a-1)-[a-z0-9]{5}"}))"#
        );
        assert_eq!(query(Preset::HttpServer), None);
    }

    #[test]
    fn every_built_query_parses() {
        for preset in Preset::ALL {
            let sets = [names(&[]), names(&["a.b-7d9f"]), names(&[&"x".repeat(60), "web-1"])];
            let patterns = sets.iter().flat_map(|sets| [pods_pattern(sets), names_pattern(sets)]);
            for pods in patterns.chain([ordinals_pattern("a.b"), deployment_pattern("a.b")]) {
                let names = preset.names();
                assert!(promql_parser::parser::parse(&scraped_query(&names, "shop", &pods)).is_ok());
                let classic = [requests_query(&names, "shop", &pods), latency_query(&names, "shop", &pods)];
                let native =
                    [native_requests_query(&names, "shop", &pods), native_latency_query(&names, "shop", &pods)];
                for query in classic.into_iter().chain(native.into_iter().flatten()) {
                    assert!(promql_parser::parser::parse(&query).is_ok(), "{query}");
                }
            }
        }
    }

    #[test]
    fn a_replica_set_of_60_characters_loses_its_end_and_its_dash() {
        let long = format!("{}-7d9f8c6b5a", "x".repeat(49));
        assert_eq!(long.len(), 60);
        let base = &long[..58];
        assert_eq!(pods_pattern(std::slice::from_ref(&long)), format!("({base})[a-z0-9]{{5}}"));
        assert_eq!(pods_pattern(&[long.clone(), "web-1".to_owned()]), format!("({base}|web-1-)[a-z0-9]{{5}}"));
        assert_eq!(owner_of_pod(&format!("{base}abcde"), std::slice::from_ref(&long)), Some(long.as_str()));
    }

    #[test]
    fn the_longest_name_that_keeps_its_dash_has_57_characters() {
        for (length, dash) in [(57, "-"), (58, "")] {
            let name = "x".repeat(length);
            let pod = format!("{name}{dash}abcde");
            assert_eq!(pod.len(), 63);
            let pattern = regex::Regex::new(&format!("^(?:{})$", pods_pattern(std::slice::from_ref(&name)))).unwrap();
            assert!(pattern.is_match(&pod), "{length}");
            assert_eq!(owner_of_pod(&pod, std::slice::from_ref(&name)), Some(name.as_str()));
        }
    }

    #[test]
    fn a_dot_matches_only_a_dot_without_a_backslash() {
        let pattern = pods_pattern(&names(&["a.b-7d9f"]));
        assert_eq!(pattern, "(a[.]b-7d9f)-[a-z0-9]{5}");
        assert!(!regex::Regex::new(&pattern).unwrap().is_match("axb-7d9f-abcde"));
    }

    #[test]
    fn pods_without_a_set_in_their_name_are_matched_by_number_or_whole_name() {
        let is_match = |pattern: &str, pod: &str| regex::Regex::new(&format!("^(?:{pattern})$")).unwrap().is_match(pod);
        assert!(is_match(&ordinals_pattern("web"), "web-12") && !is_match(&ordinals_pattern("web"), "web-abcde"));
        let two = names_pattern(&names(&["web-0", "web-1"]));
        assert!(is_match(&two, "web-1") && !is_match(&two, "web-10") && !is_match(&names_pattern(&[]), ""));
    }

    #[test]
    fn all_pods_of_a_deployment_are_matched_and_none_of_its_namesakes() {
        let pattern = regex::Regex::new(&format!("^(?:{})$", deployment_pattern("web"))).unwrap();
        for pod in ["web-7d9f8c6b5b-abcde", "web-5c4b6d-x2z4b"] {
            assert!(pattern.is_match(pod), "{pod}");
        }
        // A DaemonSet web-metrics, a Deployment web-db, a StatefulSet web.
        for pod in ["web-metrics-abcde", "web-db-7d9f8c6b5b-abcde", "web-0", "web-7d9f8c6b5b-abcdef"] {
            assert!(!pattern.is_match(pod), "{pod}");
        }
    }

    #[test]
    fn what_could_end_a_string_is_escaped() {
        assert_eq!(quoted("a\"b\\c\nd\t"), r#"a\"b\\c\nd\u0009"#);
    }

    #[test]
    fn a_pod_belongs_to_the_replica_set_whose_name_it_carries() {
        let sets = names(&["web-7d9f", "web-7d9f-abcde"]);
        for (pod, owner) in [
            ("web-7d9f-abcde", Some("web-7d9f")),
            ("web-7d9f-abcde-fghij", Some("web-7d9f-abcde")),
            ("web-7d9f-abcd", None),
            ("web-7d9f-ABCDE", None),
            ("web-7d9fabcde", None),
            ("other-7d9f-abcde", None),
        ] {
            assert_eq!(owner_of_pod(pod, &sets), owner, "{pod}");
        }
    }

    #[test]
    fn a_pod_that_could_be_of_two_revisions_is_nobodys() {
        let deployment = "x".repeat(58);
        let sets = names(&[&format!("{deployment}-7d9f"), &format!("{deployment}-5c4b")]);
        assert_eq!(owner_of_pod(&format!("{deployment}abcde"), &sets), None);
    }
}
