//! The answers to the built-in queries, as counters of pods.

use std::collections::BTreeMap;

use jiff::Timestamp;
use snapback_core::sample::{Answer, Counts, Missing, PodSeries};

use crate::envelope::Series;
use crate::front::REPLICA;
use crate::names::CompiledNames;
use crate::native::at_bounds;

/// Reads the answer to [`crate::requests_query`]: counts of good and of failed requests.
///
/// A series without a status code counts as good: nothing says that it failed. One without a pod is nobody's.
///
/// # Errors
/// [`Missing::Empty`] without series of pods, [`Missing::NotANumber`] if none of them has a count, and
/// [`Missing::BadQuery`] if they are native histograms, which are no counters.
pub fn requests(series: Vec<Series>, names: &CompiledNames) -> Answer<Vec<PodSeries>> {
    if series.iter().any(|one| one.points.is_empty() && !one.histograms.is_empty()) {
        return Err(Missing::BadQuery(
            "native histograms only: write the name of the counter of requests as that of the histogram with _count"
                .to_owned(),
        ));
    }
    read(series, names, |labels| {
        let code = labels.get(&names.names().code_label).cloned().unwrap_or_default();
        let counts = if names.is_error(&code) { Counts::Bad } else { Counts::Good };
        Some((counts, code))
    })
}

/// Reads the answer to [`crate::latency_query`]: cumulative counts by duration in seconds.
///
/// A series whose `le` is not a bound is skipped. Native histograms are read at bounds of our own, where there are no
/// classic ones: one pod's requests are counted once.
///
/// # Errors
/// [`Missing::Empty`] without buckets of pods, and [`Missing::NotANumber`] if none of them has a count.
pub fn latencies(series: Vec<Series>, names: &CompiledNames) -> Answer<Vec<PodSeries>> {
    if series.iter().all(|one| !one.labels.contains_key("le")) && series.iter().any(|one| !one.histograms.is_empty()) {
        return native(&series, names);
    }
    read(series, names, |labels| {
        let le = labels.get("le")?;
        let bound: f64 = le.parse().ok().filter(|bound: &f64| *bound >= 0.0)?;
        Some((Counts::AtMostSeconds(bound * names.names().unit_seconds), le.clone()))
    })
}

/// Reads the answer to [`crate::scraped_query`].
///
/// # Errors
/// [`Missing::Empty`] if the source does not say that of any pod.
pub fn scraped(series: Vec<Series>, names: &CompiledNames) -> Answer<Vec<PodSeries>> {
    read(series, names, |_| Some((Counts::Scraped, "up".to_owned())))
}

fn native(series: &[Series], names: &CompiledNames) -> Answer<Vec<PodSeries>> {
    let (mut found, mut is_anybodys) = (Vec::new(), false);
    for one in series {
        let Some(pod) = whose(&one.labels, names) else { continue };
        is_anybodys = true;
        found.extend(at_bounds(&one.histograms, names.names().unit_seconds).into_iter().map(|at| PodSeries {
            pod: pod.clone(),
            counts: Counts::AtMostSeconds(at.seconds),
            // Not that of a classic bucket: should the pod get such, they count on their own.
            key: format!("native {}", at.seconds),
            points: at.points,
        }));
    }
    match (found.is_empty(), is_anybodys) {
        (false, _) => Ok(found),
        (true, true) => Err(Missing::NotANumber),
        (true, false) => Err(Missing::Empty),
    }
}

/// Keeps the series that are counters of a pod, with the values that are counts.
fn read(
    series: Vec<Series>,
    names: &CompiledNames,
    meaning: impl Fn(&BTreeMap<String, String>) -> Option<(Counts, String)>,
) -> Answer<Vec<PodSeries>> {
    let all: Vec<PodSeries> = series
        .into_iter()
        .filter_map(|one| {
            let pod = whose(&one.labels, names)?;
            let (counts, key) = meaning(&one.labels)?;
            Some(PodSeries { pod, counts, key, points: one.points })
        })
        .collect();
    if all.is_empty() {
        return Err(Missing::Empty);
    }
    let counted: Vec<PodSeries> = all
        .into_iter()
        .filter_map(|mut one| {
            one.points.retain(|(_, value): &(Timestamp, f64)| value.is_finite() && *value >= 0.0);
            (!one.points.is_empty()).then_some(one)
        })
        .collect();
    if counted.is_empty() { Err(Missing::NotANumber) } else { Ok(counted) }
}

/// The pod that a series belongs to, or the replica of the proxy in front of all of them.
fn whose(labels: &BTreeMap<String, String>, names: &CompiledNames) -> Option<String> {
    if names.names().front.is_some() {
        return Some(PodSeries::of_proxy(labels.get(REPLICA).map_or("", String::as_str)));
    }
    labels.get(&names.names().pod_label).filter(|pod| !pod.is_empty()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{MetricNames, Preset};
    use crate::native::{Bucket, NativeHistogram};

    fn names() -> CompiledNames {
        Preset::HttpServer.names().compile().unwrap()
    }

    fn series(labels: &[(&str, &str)], values: &[f64]) -> Series {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let points = (0i64..).zip(values).map(|(at, value)| (Timestamp::from_second(at).unwrap(), *value)).collect();
        Series { labels, points, histograms: Vec::new() }
    }

    fn meanings(found: &[PodSeries]) -> Vec<(&str, Counts)> {
        found.iter().map(|one| (one.key.as_str(), one.counts)).collect()
    }

    #[test]
    fn the_status_code_tells_good_from_bad() {
        let found = requests(
            vec![
                series(&[("pod", "a"), ("code", "200")], &[1.0]),
                series(&[("pod", "a"), ("code", "503")], &[1.0]),
                series(&[("pod", "a")], &[1.0]),
            ],
            &names(),
        )
        .unwrap();
        assert_eq!(meanings(&found), [("200", Counts::Good), ("503", Counts::Bad), ("", Counts::Good)]);
    }

    #[test]
    fn a_proxy_counts_for_all_pods_by_its_replicas() {
        let names = Preset::IngressNginx.names().compile().unwrap();
        let labels = [("instance", "10.0.0.5:10254"), ("status", "502")];
        let found = requests(vec![series(&labels, &[1.0])], &names).unwrap();
        assert_eq!((found[0].pod.as_str(), found[0].counts), ("@10.0.0.5:10254", Counts::Bad));
        assert!(found[0].is_of_proxy());
    }

    #[test]
    fn what_is_no_count_is_dropped() {
        let found = requests(vec![series(&[("pod", "a")], &[1.0, f64::NAN, f64::INFINITY, -1.0, 2.0])], &names());
        let values: Vec<f64> = found.unwrap()[0].points.iter().map(|(_, value)| *value).collect();
        assert_eq!(values, [1.0, 2.0]);
        let none = requests(vec![series(&[("pod", "a")], &[f64::NAN])], &names());
        assert_eq!(none, Err(Missing::NotANumber));
    }

    #[test]
    fn native_histograms_are_counted_at_bounds_of_our_own_where_there_are_no_classic_ones() {
        let histogram = NativeHistogram { count: 10.0, buckets: vec![Bucket { lower: 0.5, count: 4.0 }] };
        let native = || Series {
            histograms: vec![(Timestamp::from_second(0).unwrap(), histogram.clone())],
            ..series(&[("pod", "a")], &[])
        };
        let found = latencies(vec![native()], &names()).unwrap();
        let count =
            |bound: f64| found.iter().find(|one| one.counts == Counts::AtMostSeconds(bound)).unwrap().points[0].1;
        assert_eq!((count(0.5), count(0.75), count(f64::INFINITY)), (6.0, 10.0, 10.0));
        let both = latencies(vec![native(), series(&[("pod", "a"), ("le", "+Inf")], &[10.0])], &names()).unwrap();
        assert_eq!(meanings(&both), [("+Inf", Counts::AtMostSeconds(f64::INFINITY))]);
        let Err(Missing::BadQuery(text)) = requests(vec![native()], &names()) else { panic!("a counter?") };
        assert!(text.starts_with("native histograms only"), "{text}");
    }

    #[test]
    fn no_series_and_no_pods_are_no_data() {
        assert_eq!(requests(Vec::new(), &names()), Err(Missing::Empty));
        assert_eq!(requests(vec![series(&[("code", "200")], &[1.0])], &names()), Err(Missing::Empty));
        assert_eq!(latencies(vec![series(&[("pod", "a")], &[1.0])], &names()), Err(Missing::Empty));
    }

    #[test]
    fn bounds_are_in_seconds_whatever_their_unit() {
        let milliseconds = MetricNames { unit_seconds: 0.001, ..Preset::HttpServer.names() }.compile().unwrap();
        let buckets = |le| series(&[("pod", "a"), ("le", le)], &[1.0]);
        let found = latencies(vec![buckets("250"), buckets("+Inf"), buckets("x"), buckets("NaN")], &milliseconds);
        let found = found.unwrap();
        assert_eq!(
            meanings(&found),
            [("250", Counts::AtMostSeconds(0.25)), ("+Inf", Counts::AtMostSeconds(f64::INFINITY))]
        );
    }
}
