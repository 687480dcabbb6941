//! The answers to the built-in queries, as counters of pods.

use std::collections::BTreeMap;

use jiff::Timestamp;
use snapback_core::sample::{Answer, Counts, Missing, PodSeries};

use crate::envelope::Series;
use crate::names::CompiledNames;

/// Reads the answer to [`crate::requests_query`]: counts of good and of failed requests.
///
/// A series without a status code counts as good: nothing says that it failed. One without a pod is nobody's.
///
/// # Errors
/// [`Missing::Empty`] without series of pods, and [`Missing::NotANumber`] if none of them has a count.
pub fn requests(series: Vec<Series>, names: &CompiledNames) -> Answer<Vec<PodSeries>> {
    read(series, names, |labels| {
        let code = labels.get(&names.names().code_label).cloned().unwrap_or_default();
        let counts = if names.is_error(&code) { Counts::Bad } else { Counts::Good };
        Some((counts, code))
    })
}

/// Reads the answer to [`crate::latency_query`]: cumulative counts by duration in seconds.
///
/// A series whose `le` is not a bound is skipped.
///
/// # Errors
/// [`Missing::Empty`] without buckets of pods, and [`Missing::NotANumber`] if none of them has a count.
pub fn latencies(series: Vec<Series>, names: &CompiledNames) -> Answer<Vec<PodSeries>> {
    read(series, names, |labels| {
        let le = labels.get("le")?;
        let bound: f64 = le.parse().ok().filter(|bound: &f64| *bound >= 0.0)?;
        Some((Counts::AtMostSeconds(bound * names.names().unit_seconds), le.clone()))
    })
}

/// Reads the answer to [`crate::scraped_query`]: 1 while the source reached the pod.
///
/// # Errors
/// [`Missing::Empty`] if the source does not say that of any pod.
pub fn scraped(series: Vec<Series>, names: &CompiledNames) -> Answer<Vec<PodSeries>> {
    read(series, names, |_| Some((Counts::Scraped, "up".to_owned())))
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
            let pod = one.labels.get(&names.names().pod_label).filter(|pod| !pod.is_empty())?.clone();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{MetricNames, Preset};

    fn names() -> CompiledNames {
        Preset::HttpServer.names().compile().unwrap()
    }

    fn series(labels: &[(&str, &str)], values: &[f64]) -> Series {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let points = (0i64..).zip(values).map(|(at, value)| (Timestamp::from_second(at).unwrap(), *value)).collect();
        Series { labels, points }
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
    fn what_is_no_count_is_dropped() {
        let found = requests(vec![series(&[("pod", "a")], &[1.0, f64::NAN, f64::INFINITY, -1.0, 2.0])], &names());
        let values: Vec<f64> = found.unwrap()[0].points.iter().map(|(_, value)| *value).collect();
        assert_eq!(values, [1.0, 2.0]);
        let none = requests(vec![series(&[("pod", "a")], &[f64::NAN])], &names());
        assert_eq!(none, Err(Missing::NotANumber));
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
