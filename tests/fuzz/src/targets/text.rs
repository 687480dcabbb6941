//! Texts that users write: durations, numbers, schedules, time zones, names of metrics, PromQL.

use std::sync::OnceLock;

use jiff::{SignedDuration, Timestamp};
use promql_parser::parser::parse;
use regex::Regex;
use snapback_core::policy::{Schedule, Window, WindowKind, WindowState, zone};
use snapback_core::{duration, number};
use snapback_prometheus::lint::{self, Code};
use snapback_prometheus::{
    Front, MetricNames, Preset, QueryTextError, Values, Windowed, confine, in_window, latency_query,
    native_latency_query, pods_pattern, render, requests_query, validate, validate_in_window,
};

/// The longest text that a schema takes.
const LONGEST: usize = 4096;

pub(crate) fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Editors end a file with a line.
    let text = text.strip_suffix('\n').unwrap_or(text);
    if text.len() > LONGEST {
        return;
    }
    a_duration(text);
    a_number(text);
    a_zone(text);
    a_schedule(text);
    a_name(text);
    a_query(text);
    a_query_of_windows(text);
}

fn matches(pattern: &'static str, cell: &'static OnceLock<Regex>, text: &str) -> bool {
    cell.get_or_init(|| Regex::new(pattern).unwrap()).is_match(text)
}

/// As the schema has it.
fn looks_like_a_duration(text: &str) -> bool {
    static PATTERN: OnceLock<Regex> = OnceLock::new();
    matches("^([0-9]{1,5}(h|m|s|ms)){1,4}$", &PATTERN, text)
}

fn a_duration(text: &str) {
    let Ok(read) = duration::parse(text) else { return };
    assert!(looks_like_a_duration(text), "the schema does not take {text:?}");
    let written = duration::format(read);
    assert_eq!(duration::parse(&written), Ok(read), "{text:?} is written as {written:?}");
    assert!(looks_like_a_duration(&written), "the schema does not take {written:?}");
}

fn a_number(text: &str) {
    static DECIMAL: OnceLock<Regex> = OnceLock::new();
    let is_decimal = matches("^[0-9]+([.][0-9]+)?$", &DECIMAL, text) && text.len() <= 16;
    let decimal = number::decimal(text);
    assert_eq!(decimal.is_ok(), is_decimal, "{text:?}");
    if let Ok(value) = decimal {
        assert!(value.is_finite() && value >= 0.0);
        assert_eq!(Ok(value), text.parse());
        assert_eq!(number::signed(&format!("-{text}")), Ok(-value));
        assert_eq!(number::of_baseline(text), Ok(value));
    }
    if let Ok(share) = number::share(text) {
        assert!((0.0..=1.0).contains(&share), "{text:?} is {share}");
        assert_eq!(number::of_baseline(text), Ok(share));
    }
    if let Ok(value) = number::signed(text) {
        assert_eq!(number::recorded(&number::record(value)), Some(value), "{text:?}");
    }
    // Whatever a record holds is a number, or nothing.
    if let Some(value) = number::recorded(text) {
        assert!(value.is_finite());
        let record = number::record(value);
        assert!(record.len() <= 32, "{record}");
        assert_eq!(number::recorded(&record), Some(value));
    }
}

fn a_zone(text: &str) {
    static PATTERN: OnceLock<Regex> = OnceLock::new();
    if zone(text).is_ok() {
        assert!(matches("^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$", &PATTERN, text), "the schema does not take {text:?}");
    }
}

fn a_schedule(text: &str) {
    static PATTERN: OnceLock<Regex> = OnceLock::new();
    if text.len() > 100 {
        return;
    }
    for name in ["Etc/UTC", "Europe/Berlin", "Africa/Cairo", "Pacific/Apia", "America/St_Johns"] {
        let Ok(schedule) = Schedule::parse(text, zone(name).unwrap()) else { return };
        let pattern = "^ *[0-9A-Za-z*,/#+-]+( +[0-9A-Za-z*,/#+-]+){4} *$";
        assert!(matches(pattern, &PATTERN, text), "the schema does not take {text:?}");
        // In the days in which clocks change, and far from them.
        for now in ["2026-03-28T23:30:00Z", "2026-10-24T23:59:59.5Z", "2027-02-03T04:05:06Z"] {
            let now: Timestamp = now.parse().unwrap();
            let mut last = now;
            for _ in 0..3 {
                let Some(next) = schedule.next(last) else { break };
                assert!(next > last, "{text:?} in {name}: {next} follows {last}");
                last = next;
            }
            for minutes in [1, 26 * 60] {
                is_open_until_it_closes(&schedule, SignedDuration::from_mins(minutes), now);
            }
        }
    }
}

fn is_open_until_it_closes(schedule: &Schedule, duration: SignedDuration, now: Timestamp) {
    let window = Window { name: None, kind: WindowKind::Deny, schedule: schedule.clone(), duration };
    let state = |at: Timestamp| window.state(at);
    let second = SignedDuration::from_secs(1);
    let shown = || format!("{:?} for {duration:#} at {now}", schedule.text());
    match state(now) {
        WindowState::Until(end) => {
            assert!(end > now, "{}", shown());
            assert_eq!(state(end), WindowState::Closed, "{}", shown());
            if end.duration_since(now) > second {
                assert_eq!(state(end - second), WindowState::Until(end), "{}", shown());
            }
        }
        WindowState::Closed => {
            let Some(next) = schedule.next(now) else { return };
            assert_ne!(state(next), WindowState::Closed, "{}", shown());
            if next.duration_since(now) > second {
                assert_eq!(state(next - second), WindowState::Closed, "{}", shown());
            }
        }
        WindowState::Unending => {}
    }
}

/// A name that may stand in a query changes nothing else of it.
fn a_name(text: &str) {
    if text.len() > 253 {
        return;
    }
    let base = || Preset::OpenTelemetry.names();
    let own = || text.to_owned();
    let named = [
        MetricNames { requests: own(), ..base() },
        MetricNames { latency_bucket: own(), ..base() },
        MetricNames { code_label: own(), ..base() },
        MetricNames { pod_label: own(), ..base() },
        MetricNames { service: Some(own()), ..Preset::IngressNginx.names() },
        MetricNames { service: Some(own()), ..Preset::EnvoyGateway.names() },
    ];
    for names in named {
        let Ok(names) = names.compile() else { continue };
        let sets = pods_pattern(&["web-7d9f".to_owned()]);
        let whose = names.whose("web", &sets);
        let queries = [
            Some(requests_query(names.names(), "shop", whose)),
            Some(latency_query(names.names(), "shop", whose)),
            native_latency_query(names.names(), "shop", whose),
        ];
        for query in queries.into_iter().flatten() {
            let selectors = selectors(&query).unwrap_or_else(|| panic!("{text:?} makes no query: {query}"));
            // ingress-nginx has its labels under two names.
            let expected = if names.names().front == Some(Front::IngressNginx) { 3 } else { 1 };
            assert_eq!(selectors.len(), expected, "{text:?} makes another query: {query}");
        }
    }
    if text.len() <= 64 {
        let names = MetricNames { error_codes: own(), ..base() };
        if let Ok(names) = names.compile() {
            let whole = Regex::new(&format!(r"\A(?:{text})\z")).unwrap();
            for code in ["", "200", "503", "5030", "1503", "5xx", text] {
                assert_eq!(names.is_error(code), whole.is_match(code), "{text:?} of {code:?}");
            }
        }
    }
}

/// Every selector of a query as the parser shows it, wherever it stands; `None` if it is none.
fn selectors(query: &str) -> Option<Vec<String>> {
    let shown = format!("{:?}", parse(query).ok()?);
    Some(shown.split("VectorSelector {").skip(1).map(str::to_owned).collect())
}

fn values<'a>(pods: &'a str, target: &'a str) -> Values<'a> {
    Values { namespace: "shop", target, pods }
}

fn a_query(text: &str) {
    let found = lint::query("spec", text, SignedDuration::from_secs(15));
    let is_invalid = found.iter().any(|finding| finding.code == Code::QueryInvalid);
    match validate(text) {
        Ok(()) => assert!(!is_invalid, "{text:?}: {found:?}"),
        Err(error) => {
            assert!(is_invalid && found.len() == 1, "{text:?}: {found:?}");
            is_told_where(text, &error);
        }
    }
    let sets = ["web-7d9f".to_owned(), "a.b-5c4b".to_owned()];
    for values in [values(&pods_pattern(&sets[..1]), "web"), values(&pods_pattern(&sets), "a.b")] {
        let Ok(query) = render(text, &values) else {
            assert!(validate(text).is_err(), "{text:?} is valid, and cannot be asked");
            continue;
        };
        // What parses with one word parses with another; a name with a dot is none outside of quotes.
        if values.target == "web" && parses_with_samples(text) {
            assert!(parse(&query).is_ok(), "{text:?} as {query:?}");
        }
        if confine(&query, "namespace", "shop").is_err() {
            continue;
        }
        let selectors = selectors(&query).unwrap_or_else(|| panic!("{query:?} is let through, and is no query"));
        for selector in selectors {
            let names = r#"Matcher { op: Equal, name: "namespace", value: "shop" }"#;
            assert!(selector.contains(names), "{query:?} is let through, and selects {selector}");
            assert!(selector.contains("or_matchers: []"), "{query:?} is let through, and has alternatives");
        }
    }
}

fn parses_with_samples(text: &str) -> bool {
    match validate(text) {
        Ok(()) | Err(QueryTextError::Returns(_) | QueryTextError::NoVector) => true,
        Err(_) => false,
    }
}

fn is_told_where(text: &str, error: &QueryTextError) {
    let said = error.to_string();
    assert!(!said.chars().any(char::is_control), "not one line: {said:?}");
    if let QueryTextError::Syntax { position, .. } | QueryTextError::Unclosed { position } = error {
        assert!((1..=text.chars().count() + 1).contains(position), "{position} is not in {text:?}");
    }
}

fn a_query_of_windows(text: &str) {
    for (gives, windows) in [(Windowed::Share, ["5m", "1h"]), (Windowed::Events, ["30s", "1h30m"])] {
        let valid = windows.iter().all(|window| validate_in_window(text, window, gives).is_ok());
        let found = lint::query_in_windows("spec", text, &windows, gives, SignedDuration::from_secs(15));
        assert_eq!(valid, found.iter().all(|finding| finding.code != Code::QueryInvalid), "{text:?}: {found:?}");
        for window in windows.iter().filter(|_| valid) {
            let query = in_window(text, window);
            assert_ne!(query, text);
            let rendered = render(&query, &values("-", "web"));
            assert!(rendered.is_ok_and(|query| parse(&query).is_ok()), "{text:?} as {query:?}");
        }
    }
}
