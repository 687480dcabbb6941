//! The replies of Prometheus' query API, read with all that the client library leaves out.
//!
//! `warnings` above all: Thanos and Mimir answer with what they have when a store is down, and say so only there.
//! Nothing of a reply gets into a message, except what Prometheus itself says about a query.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::IgnoredAny;
use snapback_core::sample::{Answer, Missing};

use crate::native::{Bucket, NativeHistogram};

/// One series of an answer, as the source returned it.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its samples, oldest first; may be NaN or infinite.
    pub points: Vec<(Timestamp, f64)>,
    /// Its samples that are native histograms, oldest first; their counts may be NaN or infinite.
    pub histograms: Vec<(Timestamp, NativeHistogram)>,
}

/// The longest text that is quoted, in characters.
const QUOTE: usize = 200;

#[derive(Deserialize)]
struct Head {
    status: Status,
    #[serde(default, rename = "errorType")]
    error_type: Option<String>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
    #[serde(default, rename = "isPartial")]
    is_partial: bool,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Status {
    Success,
    Error,
}

#[derive(Deserialize)]
struct Body {
    data: Data,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Instant>),
    Matrix(Vec<Range>),
    Scalar(Sample),
    String(IgnoredAny),
}

type Sample = (f64, String);

type NativeSample = (f64, Native);

/// Buckets as `[which of its bounds are in it, lower, upper, count]`; empty ones are left out.
#[derive(Deserialize)]
struct Native {
    count: String,
    #[serde(default)]
    buckets: Vec<(IgnoredAny, String, IgnoredAny, String)>,
}

/// A sample is a value or a native histogram.
#[derive(Deserialize)]
struct Instant {
    metric: BTreeMap<String, String>,
    value: Option<Sample>,
    histogram: Option<NativeSample>,
}

/// Samples may be the one at some instants and the other at others.
#[derive(Deserialize)]
struct Range {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<Sample>,
    #[serde(default)]
    histograms: Vec<NativeSample>,
}

/// Reads a whole reply of the query API.
///
/// # Errors
/// A [`Missing`] that says why it holds no answer. An answer without series is none: it is an empty list.
pub fn read_reply(status: u16, content_type: Option<&str>, body: &[u8]) -> Answer<Vec<Series>> {
    check_head(status, content_type)?;
    read(status, body)
}

/// Whether the body of a reply is worth reading.
pub(crate) fn check_head(status: u16, content_type: Option<&str>) -> Answer<()> {
    let unavailable = |text: String| Err(Missing::Unavailable(text));
    match status {
        300..=399 => unavailable(format!("answered with a redirect, which is not followed (HTTP {status})")),
        401 | 403 => unavailable(format!("refused the operator's credentials (HTTP {status})")),
        429 => unavailable(format!("limits the rate of queries (HTTP {status})")),
        _ => match content_type.map(essence) {
            Some(essence) if essence != "application/json" && !essence.ends_with("+json") => {
                unavailable(format!("answered with {essence} instead of JSON (HTTP {status})"))
            }
            _ => Ok(()),
        },
    }
}

/// Reads the body of a reply that passed [`check_head`].
pub(crate) fn read(status: u16, body: &[u8]) -> Answer<Vec<Series>> {
    let foreign =
        || Missing::Unavailable(format!("answered with something that is no Prometheus reply (HTTP {status})"));
    let head: Head = serde_json::from_slice(body).map_err(|_| foreign())?;
    if head.status == Status::Error {
        return Err(refusal(status, &head));
    }
    if !(200..300).contains(&status) {
        return Err(foreign());
    }
    if let Some(partial) = partial(&head) {
        return Err(partial);
    }
    let body: Body = serde_json::from_slice(body).map_err(|_| foreign())?;
    match body.data {
        Data::Vector(all) => all
            .into_iter()
            .map(|one| series(one.metric, one.value.into_iter().collect(), one.histogram.into_iter().collect()))
            .collect(),
        Data::Matrix(all) => all.into_iter().map(|one| series(one.metric, one.values, one.histograms)).collect(),
        Data::Scalar(sample) => series(BTreeMap::new(), vec![sample], Vec::new()).map(|one| vec![one]),
        Data::String(_) => return Err(Missing::BadQuery("the query returns text instead of numbers".to_owned())),
    }
    .ok_or_else(foreign)
}

/// What an error of the source means. Only a query that the source calls wrong is the query's fault; the text of any
/// other error may tell of the source's inside, and stays out.
fn refusal(status: u16, head: &Head) -> Missing {
    let kind = head.error_type.as_deref().unwrap_or_default();
    match kind {
        // VictoriaMetrics gives the HTTP status as the type.
        "bad_data" | "400" | "422" if matches!(status, 400 | 422) => {
            Missing::BadQuery(quote(head.error.as_deref().unwrap_or("without a reason")))
        }
        "timeout" => Missing::Unavailable(format!("gave up on the query after its own time limit (HTTP {status})")),
        "canceled" => Missing::Unavailable(format!("cancelled the query (HTTP {status})")),
        "execution" => Missing::Unavailable(format!("could not execute the query (HTTP {status})")),
        "internal" => Missing::Unavailable(format!("had an internal error (HTTP {status})")),
        "unavailable" => Missing::Unavailable(format!("is not ready (HTTP {status})")),
        _ => Missing::Unavailable(format!("answered with an error (HTTP {status})")),
    }
}

/// Whether an answer is only a part of the truth. Remarks of Prometheus about the query (`PromQL info: metric might
/// not be a counter`) are not; older versions put them among the warnings.
fn partial(head: &Head) -> Option<Missing> {
    let warnings = head.warnings.iter().flatten();
    let mut serious =
        warnings.filter(|text| !text.starts_with("PromQL info") && !text.contains("might not be a counter"));
    let Some(first) = serious.next() else {
        return head.is_partial.then(|| Missing::Partial("it is marked as partial".to_owned()));
    };
    let own = ["PromQL warning", "results truncated"].iter().any(|start| first.starts_with(start));
    let text = if own { quote(first) } else { format!("it came with {} warning(s)", 1 + serious.count()) };
    Some(Missing::Partial(text))
}

fn series(labels: BTreeMap<String, String>, samples: Vec<Sample>, histograms: Vec<NativeSample>) -> Option<Series> {
    let points =
        samples.into_iter().map(|(at, value)| Some((instant(at)?, value.parse().ok()?))).collect::<Option<_>>()?;
    let histograms =
        histograms.into_iter().map(|(at, one)| Some((instant(at)?, native(&one)?))).collect::<Option<_>>()?;
    Some(Series { labels, points, histograms })
}

fn native(one: &Native) -> Option<NativeHistogram> {
    let bucket = |(_, lower, _, count): &(IgnoredAny, String, IgnoredAny, String)| {
        Some(Bucket { lower: lower.parse().ok()?, count: count.parse().ok()? })
    };
    let buckets = one.buckets.iter().map(bucket).collect::<Option<_>>()?;
    Some(NativeHistogram { count: one.count.parse().ok()?, buckets })
}

/// Seconds since the epoch, to the millisecond, which is as fine as Prometheus counts.
fn instant(seconds: f64) -> Option<Timestamp> {
    let milliseconds = SignedDuration::try_from_secs_f64((seconds * 1000.0).round()).ok()?.as_secs();
    Timestamp::from_millisecond(milliseconds).ok()
}

/// The media type without parameters, cut to what one can look like.
fn essence(content_type: &str) -> String {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let fits = |c: char| c.is_ascii_alphanumeric() || "/.+-_".contains(c);
    if essence.is_empty() || essence.len() > 60 || !essence.chars().all(fits) {
        "something".to_owned()
    } else {
        essence
    }
}

/// One line of at most [`QUOTE`] characters, without URLs, and without what a terminal would obey.
fn quote(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let words: Vec<&str> = words.map(|word| if word.contains("://") { "(URL)" } else { word }).collect();
    let line = words.join(" ");
    match line.char_indices().nth(QUOTE) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(data: &str) -> Answer<Vec<Series>> {
        read(200, format!(r#"{{"status":"success","data":{data}}}"#).as_bytes())
    }

    fn error(status: u16, kind: &str, text: &str) -> Missing {
        let body = format!(r#"{{"status":"error","errorType":"{kind}","error":"{text}"}}"#);
        read(status, body.as_bytes()).unwrap_err()
    }

    fn warned(warnings: &str) -> Answer<Vec<Series>> {
        let body = format!(r#"{{"status":"success",{warnings},"data":{{"resultType":"vector","result":[]}}}}"#);
        read(200, body.as_bytes())
    }

    #[test]
    fn a_vector_a_matrix_and_a_scalar_become_series() {
        let vector = ok(r#"{"resultType":"vector","result":[{"metric":{"pod":"a"},"value":[1700000000.123,"1.5"]}]}"#);
        let one = &vector.unwrap()[0];
        assert_eq!((one.labels["pod"].as_str(), one.points[0].1), ("a", 1.5));
        assert_eq!(one.points[0].0.as_millisecond(), 1_700_000_000_123);
        let matrix = ok(r#"{"result":[{"metric":{},"values":[[1,"1"],[2,"2e3"]]}],"resultType":"matrix"}"#).unwrap();
        assert_eq!(matrix[0].points[1], (Timestamp::from_second(2).unwrap(), 2000.0));
        let scalar = ok(r#"{"resultType":"scalar","result":[1,"7"]}"#).unwrap();
        assert!(scalar[0].labels.is_empty());
        assert_eq!(scalar[0].points, [(Timestamp::from_second(1).unwrap(), 7.0)]);
    }

    #[test]
    fn values_that_are_no_numbers_stay_what_they_are() {
        let found =
            ok(r#"{"resultType":"matrix","result":[{"metric":{},"values":[[1,"NaN"],[2,"+Inf"],[3,"-Inf"]]}]}"#);
        let points = &found.unwrap()[0].points;
        assert!(points[0].1.is_nan());
        assert_eq!((points[1].1, points[2].1), (f64::INFINITY, f64::NEG_INFINITY));
    }

    #[test]
    fn native_histograms_are_read_with_their_buckets() {
        let vector = r#"{"resultType":"vector","result":[{"metric":{"pod":"a"},"histogram":[1,
            {"count":"3","sum":"2.5","buckets":[[0,"0.5","0.7071067811865475","1"],[3,"-0.001","0.001","2"]]}]}]}"#;
        let found = ok(vector).unwrap();
        let (at, histogram) = &found[0].histograms[0];
        assert!(found[0].points.is_empty());
        assert_eq!((at.as_second(), histogram.count), (1, 3.0));
        assert_eq!(histogram.buckets[1], Bucket { lower: -0.001, count: 2.0 });
        let matrix = r#"{"resultType":"matrix","result":[{"metric":{},"values":[[1,"7"]],"histograms":[[31,{"count":"0","sum":"0"}]]}]}"#;
        let found = ok(matrix).unwrap();
        assert_eq!((found[0].points.len(), found[0].histograms.len()), (1, 1), "each instant has one of the two");
        let broken =
            r#"{"resultType":"matrix","result":[{"metric":{},"histograms":[[31,{"count":"many","sum":"0"}]]}]}"#;
        assert!(matches!(ok(broken), Err(Missing::Unavailable(_))));
    }

    #[test]
    fn text_is_the_querys_fault() {
        assert!(matches!(ok(r#"{"resultType":"string","result":[1,"a"]}"#), Err(Missing::BadQuery(_))));
    }

    #[test]
    fn warnings_make_an_answer_partial_and_remarks_do_not() {
        assert_eq!(
            warned(r#""warnings":["fetch from store 10.0.0.1:10901: token=abc","b"]"#),
            Err(Missing::Partial("it came with 2 warning(s)".to_owned()))
        );
        assert_eq!(
            warned(r#""warnings":["results truncated due to limit"]"#),
            Err(Missing::Partial("results truncated due to limit".to_owned()))
        );
        assert!(matches!(warned(r#""isPartial":true"#), Err(Missing::Partial(_))));
        for fine in [
            r#""infos":["PromQL info: metric might not be a counter, name does not end in _total"]"#,
            r#""warnings":["PromQL info: metric might not be a counter"]"#,
            r#""warnings":["metric might not be a counter: \"x\""]"#,
            r#""warnings":[],"isPartial":false"#,
            r#""warnings":null"#,
        ] {
            assert_eq!(warned(fine), Ok(Vec::new()), "{fine}");
        }
    }

    #[test]
    fn only_a_wrong_query_is_the_querys_fault() {
        assert_eq!(
            error(400, "bad_data", "1:3: parse error: unexpected end"),
            Missing::BadQuery("1:3: parse error: unexpected end".to_owned())
        );
        assert_eq!(
            error(400, "bad_data", "\\u001b[31mred\\nand blue\\u0000"),
            Missing::BadQuery("[31mred and blue".to_owned()),
            "nothing that a terminal obeys"
        );
        assert!(matches!(error(422, "422", "unknown func"), Missing::BadQuery(_)));
        for (status, kind) in [
            (503, "timeout"),
            (503, "canceled"),
            (422, "execution"),
            (500, "internal"),
            (503, "unavailable"),
            (404, "not_found"),
            (500, "bad_data"),
        ] {
            let missing = error(status, kind, "store 10.0.0.1 secret");
            let Missing::Unavailable(text) = &missing else { panic!("{kind}: {missing:?}") };
            assert!(text.contains(&format!("HTTP {status}")) && !text.contains("10.0.0.1"), "{text}");
        }
    }

    #[test]
    fn a_quoted_text_is_short_and_holds_no_url() {
        let quoted = quote(&format!("see https://user:pw@host/x\n{}", "é".repeat(300)));
        assert!(quoted.starts_with("see (URL) é") && quoted.chars().count() == QUOTE + 1, "{quoted}");
    }

    #[test]
    fn a_head_tells_what_need_not_be_read() {
        for (status, content_type, expected) in [
            (200, Some("text/html; charset=utf-8"), "answered with text/html instead of JSON (HTTP 200)"),
            (200, Some("https://evil token"), "answered with something instead of JSON (HTTP 200)"),
            (302, None, "answered with a redirect, which is not followed (HTTP 302)"),
            (401, Some("application/json"), "refused the operator's credentials (HTTP 401)"),
            (429, Some("text/plain"), "limits the rate of queries (HTTP 429)"),
        ] {
            assert_eq!(check_head(status, content_type), Err(Missing::Unavailable(expected.to_owned())));
        }
        assert_eq!(check_head(200, Some("application/json; charset=utf-8")), Ok(()));
        assert_eq!(check_head(400, None), Ok(()));
    }

    #[test]
    fn json_of_something_else_is_no_reply() {
        for (status, body) in [(200, "{}"), (200, "[1"), (200, r#"{"status":"success"}"#), (500, r#"{"message":"x"}"#)]
        {
            assert!(matches!(read(status, body.as_bytes()), Err(Missing::Unavailable(_))), "{body}");
        }
        let time = ok(r#"{"resultType":"vector","result":[{"metric":{},"value":[1e300,"1"]}]}"#);
        assert!(matches!(time, Err(Missing::Unavailable(_))));
    }
}
