//! What a metrics source answers: the HTTP status and the content type in a line, then the body.

use std::sync::OnceLock;

use serde_json::Value;
use snapback_core::sample::{Counts, Missing, PodSeries, Side, windows};
use snapback_prometheus::{
    CompiledNames, Counter, Pods, Preset, Series, Shared, owner_of_pod, pods_pattern, read_reply, to_points,
};

pub(crate) fn target(data: &[u8]) {
    let (status, content_type, body) = head(data);
    match read_reply(status, content_type.as_deref(), body) {
        Ok(series) => {
            is_what_the_bytes_hold(status, body, &series);
            own_query(&series);
            shares(&series);
            series_of_pods(&series);
        }
        Err(missing) => is_said_in_one_line(&missing),
    }
}

fn head(data: &[u8]) -> (u16, Option<String>, &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (line, body) = data.split_at(end);
    let line = String::from_utf8_lossy(line).into_owned();
    let (status, content_type) = line.split_once(' ').unwrap_or((&line, ""));
    let content_type = Some(content_type.to_owned()).filter(|text| !text.is_empty());
    match status.parse() {
        Ok(status) => (status, content_type, body.get(1..).unwrap_or_default()),
        Err(_) => (200, None, data),
    }
}

/// A reply's text gets into messages only as much as people can read.
fn is_said_in_one_line(missing: &Missing) {
    let said = missing.to_string();
    assert!(said.chars().count() <= 320, "long: {said:?}");
    assert!(!said.contains("://") && !said.chars().any(char::is_control), "not one plain line: {said:?}");
}

/// Read a second time, as plain JSON, the reply holds the same: nothing is made up, and nothing left out.
fn is_what_the_bytes_hold(status: u16, body: &[u8], series: &[Series]) {
    assert!((200..300).contains(&status), "HTTP {status} is an answer");
    // Deeper than this reader goes, in what is not read.
    let Ok(reply) = serde_json::from_slice::<Value>(body) else { return };
    assert_eq!(reply["status"], "success");
    assert_ne!(reply["isPartial"], true);
    let result = &reply["data"]["result"];
    let all: Vec<&Value> = match reply["data"]["resultType"].as_str() {
        Some("scalar") => {
            assert_eq!(series.len(), 1);
            return holds(&series[0], &[result], &[]);
        }
        Some("vector" | "matrix") => result.as_array().unwrap().iter().collect(),
        // Structs may be written as lists.
        _ => return,
    };
    assert_eq!(all.len(), series.len());
    for (one, written) in series.iter().zip(all).filter(|(_, written)| written.is_object()) {
        assert_eq!(serde_json::to_value(&one.labels).unwrap(), written["metric"]);
        let single = |key: &str| written.get(key).filter(|sample| !sample.is_null());
        let several = |key: &str| written.get(key).and_then(Value::as_array).into_iter().flatten();
        let is_vector = reply["data"]["resultType"] == "vector";
        let of = |one: &str, all: &str| -> Vec<&Value> {
            if is_vector { single(one).into_iter().collect() } else { several(all).collect() }
        };
        holds(one, &of("value", "values"), &of("histogram", "histograms"));
    }
}

fn holds(one: &Series, values: &[&Value], histograms: &[&Value]) {
    assert_eq!((one.points.len(), one.histograms.len()), (values.len(), histograms.len()));
    let is_at = |at: jiff::Timestamp, written: &Value| {
        #[allow(clippy::cast_precision_loss, reason = "milliseconds of our times are exact")]
        let off = at.as_millisecond() as f64 - written.as_f64().unwrap() * 1000.0;
        assert!(off.abs() <= 0.6, "{at} is {off} ms off");
    };
    let is_number = |number: f64, written: &Value| {
        let written: f64 = written.as_str().unwrap().parse().unwrap();
        assert!(number == written || (number.is_nan() && written.is_nan()), "{number} was {written}");
    };
    for ((at, value), written) in one.points.iter().zip(values) {
        is_at(*at, &written[0]);
        is_number(*value, &written[1]);
    }
    for ((at, histogram), written) in one.histograms.iter().zip(histograms) {
        is_at(*at, &written[0]);
        if written[1].is_object() {
            is_number(histogram.count, &written[1]["count"]);
            assert_eq!(histogram.buckets.len(), written[1]["buckets"].as_array().map_or(0, Vec::len));
        }
    }
}

fn own_query(series: &[Series]) {
    match to_points(series.to_vec()) {
        Ok(points) => {
            assert_eq!(series.len(), 1);
            assert!(!points.is_empty() && points.iter().all(|point| point.value.is_finite()));
        }
        Err(missing) => is_said_in_one_line(&missing),
    }
}

/// Of an answer for many targets each gets the series of its own pods, and of its own namespace.
fn shares(series: &[Series]) {
    let names = &names()[0];
    let shared = Shared::of(series, names.names());
    for sets in [vec!["web-7d9f".to_owned()], vec!["web-7d9f-abcde".to_owned(), "a.b-5c4b".to_owned()]] {
        let share = shared.share(&Pods::new("shop", &pods_pattern(&sets)));
        let is_own = |one: &Series| {
            let label = |name: &str| one.labels.get(name).map_or("", String::as_str);
            label("namespace") == "shop" && owner_of_pod(label("pod"), &sets).is_some()
        };
        assert!(share.iter().all(is_own), "somebody else's");
        assert_eq!(share.len(), series.iter().filter(|one| is_own(one)).count(), "not all");
    }
}

/// Whatever is counted is counted in numbers that the judgement can rely on.
fn series_of_pods(series: &[Series]) {
    for names in names() {
        let mut all: Vec<PodSeries> = Vec::new();
        for counter in [Counter::Requests, Counter::Latencies, Counter::Scraped] {
            match counter.read(series.to_vec(), names) {
                Ok(found) => {
                    assert!(!found.is_empty());
                    found.iter().for_each(is_counter);
                    all.extend(found);
                }
                Err(missing) => is_said_in_one_line(&missing),
            }
        }
        are_windows(&all);
    }
}

fn is_counter(one: &PodSeries) {
    assert!(!one.pod.is_empty() && !one.points.is_empty());
    assert!(one.points.iter().all(|(_, value)| value.is_finite() && *value >= 0.0), "{one:?}");
    assert!(!matches!(one.counts, Counts::AtMostSeconds(bound) if bound.is_nan() || bound < 0.0), "{one:?}");
}

fn are_windows(all: &[PodSeries]) {
    for window in windows(all, |pod, _| Some(if pod.contains('b') { Side::New } else { Side::Old })) {
        assert!(window.from < window.to);
        for side in [&window.new, &window.old] {
            assert!(side.requests() >= 0.0, "{side:?}");
            for share in [0.5, 0.99] {
                let Some(quantile) = side.durations.quantile(share) else { continue };
                assert!(quantile.at_least() >= 0.0 && quantile.estimate() >= quantile.at_least(), "{quantile:?}");
            }
        }
    }
}

fn names() -> &'static [CompiledNames] {
    static NAMES: OnceLock<Vec<CompiledNames>> = OnceLock::new();
    let presets = [Preset::HttpServer, Preset::Istio, Preset::IngressNginx];
    NAMES.get_or_init(|| presets.map(|preset| preset.names().compile().unwrap()).to_vec())
}
