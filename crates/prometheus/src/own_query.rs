//! A user's own PromQL: its placeholders, its checks, and its answer.

use std::fmt::Write;

use promql_parser::parser::{parse, value::ValueType};
use snapback_core::sample::{Answer, Missing, Point};
use thiserror::Error;

use crate::envelope::Series;
use crate::query::quoted;
use crate::syntax;

/// What may stand between `{{` and `}}`.
pub const PLACEHOLDERS: [&str; 3] = ["namespace", "target", "pods"];

/// What may stand there where a query is asked for several windows. Pods that have just started have no long window yet.
const IN_WINDOWS: [&str; 3] = ["namespace", "target", WINDOW];

/// What must stand there then.
const WINDOW: &str = "window";

/// What takes the place of the placeholders.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// The target's namespace.
    pub namespace: &'a str,
    /// The target's name.
    pub target: &'a str,
    /// The pods of one revision, as [`crate::pods_pattern`] writes them: already escaped.
    pub pods: &'a str,
}

/// Why a query cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QueryTextError {
    /// A placeholder that does not exist.
    #[error("{{{{ {name} }}}} is no placeholder here; known are {}", listed(known))]
    UnknownPlaceholder {
        /// What it says.
        name: String,
        /// What it may say.
        known: [&'static str; 3],
    },
    /// A query of several windows without its placeholder.
    #[error(
        "nothing in it is {{{{ window }}}}, so it would be the same for every window: write rate(...[{{{{ window }}}}])"
    )]
    NoWindow,
    /// A placeholder without an end.
    #[error("at character {position}: {{{{ without }}}}")]
    Unclosed {
        /// The first of its braces, counted from 1.
        position: usize,
    },
    /// Not PromQL.
    #[error("at character {position}: {problem}")]
    Syntax {
        /// Where, in characters of the text as written, counted from 1.
        position: usize,
        /// What is wrong, in one line.
        problem: String,
    },
    /// A bare number, where series are summed up.
    #[error("the query returns a scalar; it must return an instant vector")]
    NoVector,
    /// PromQL that gives something else than numbers of one instant.
    #[error("the query returns a {0}; it must return an instant vector or a scalar")]
    Returns(&'static str),
}

fn listed(known: &[&str; 3]) -> String {
    known.map(|name| format!("{{{{ {name} }}}}")).join(", ")
}

/// Puts the values in place of the placeholders.
///
/// # Errors
/// [`QueryTextError::UnknownPlaceholder`] and [`QueryTextError::Unclosed`].
pub fn render(text: &str, values: &Values<'_>) -> Result<String, QueryTextError> {
    Ok(substitute(text, values, None)?.text)
}

/// Puts a window, such as `5m`, in place of `{{ window }}`; other placeholders stay.
pub fn in_window(text: &str, window: &str) -> String {
    let mut parts = text.split("{{");
    let mut rendered = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once("}}") {
            Some((inside, after)) if inside.trim() == WINDOW => rendered.extend([window, after]),
            _ => rendered.extend(["{{", part]),
        }
    }
    rendered
}

/// Checks a query with placeholders, without asking anyone.
///
/// # Errors
/// The first thing that is wrong, with its position in `text`.
pub fn validate(text: &str) -> Result<(), QueryTextError> {
    parses(text, None).map(drop)
}

/// What a query that is asked for several windows gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Windowed {
    /// Events, in any number of series: it is summed up.
    Events,
    /// One number: a share.
    Share,
}

/// Checks a query with placeholders that is asked for several windows.
///
/// # Errors
/// As [`validate`], and [`QueryTextError::NoWindow`]; a scalar cannot be summed.
pub fn validate_in_window(text: &str, window: &str, gives: Windowed) -> Result<(), QueryTextError> {
    let parsed = parses(text, Some(window))?;
    if gives == Windowed::Events && parsed == ValueType::Scalar {
        return Err(QueryTextError::NoVector);
    }
    if in_window(text, window) == text { Err(QueryTextError::NoWindow) } else { Ok(()) }
}

fn parses(text: &str, window: Option<&str>) -> Result<ValueType, QueryTextError> {
    let sample = Values { namespace: "sample", target: "sample", pods: "(sample-7d9f)-[a-z0-9]{5}" };
    let rendered = substitute(text, &sample, window)?;
    let told = |(at, problem)| QueryTextError::Syntax { position: position(text, rendered.original(at)), problem };
    if let Some(deep) = syntax::too_deep(&rendered.text) {
        return Err(told(deep));
    }
    let parsed = parse(&rendered.text).map_err(|message| told(syntax::explain(&rendered.text, &message)))?;
    match parsed.value_type() {
        number @ (ValueType::Vector | ValueType::Scalar) => Ok(number),
        ValueType::Matrix => Err(QueryTextError::Returns("range vector")),
        ValueType::String => Err(QueryTextError::Returns("string")),
    }
}

/// The answer to a user's own query: one series of finite values.
///
/// # Errors
/// [`Missing::Empty`] without series or samples, [`Missing::ManySeries`] with several series, [`Missing::NotANumber`] if
/// no value is finite, and [`Missing::BadQuery`] if there are native histograms instead.
pub fn to_points(series: Vec<Series>) -> Answer<Vec<Point>> {
    let count = series.len();
    let mut series = series.into_iter();
    let (Some(one), None) = (series.next(), series.next()) else {
        return Err(if count == 0 { Missing::Empty } else { Missing::ManySeries(count) });
    };
    if !one.histograms.is_empty() {
        let problem =
            "the query returns native histograms: take a number of them, such as histogram_quantile(0.95, ...)";
        return Err(Missing::BadQuery(problem.to_owned()));
    }
    if one.points.is_empty() {
        return Err(Missing::Empty);
    }
    let points: Vec<Point> =
        one.points.into_iter().filter(|(_, value)| value.is_finite()).map(|(at, value)| Point { at, value }).collect();
    if points.is_empty() { Err(Missing::NotANumber) } else { Ok(points) }
}

/// A text with values in place of placeholders.
struct Rendered {
    text: String,
    /// Of each placeholder: where its value starts and ends, and where it stood and ended itself. In bytes.
    moved: Vec<((usize, usize), (usize, usize))>,
}

impl Rendered {
    /// Where a byte of the rendered text comes from.
    fn original(&self, at: usize) -> usize {
        let before = self.moved.iter().take_while(|((start, _), _)| *start <= at).last();
        match before {
            None => at,
            Some(((_, end), (from, _))) if at < *end => *from,
            Some(((_, end), (_, to))) => to + (at - end),
        }
    }
}

fn substitute(text: &str, values: &Values<'_>, window: Option<&str>) -> Result<Rendered, QueryTextError> {
    let mut rendered = Rendered { text: String::with_capacity(text.len()), moved: Vec::new() };
    let (mut rest, mut at) = (text, 0);
    while let Some((before, after)) = rest.split_once("{{") {
        let from = at + before.len();
        let Some((inside, next)) = after.split_once("}}") else {
            return Err(QueryTextError::Unclosed { position: position(text, from) });
        };
        rendered.text.push_str(before);
        let start = rendered.text.len();
        match inside.trim() {
            "namespace" => rendered.text.push_str(&quoted(values.namespace)),
            "target" => rendered.text.push_str(&quoted(values.target)),
            "pods" if window.is_none() => rendered.text.push_str(values.pods),
            WINDOW if window.is_some() => rendered.text.push_str(window.unwrap_or_default()),
            name => {
                let known = if window.is_some() { IN_WINDOWS } else { PLACEHOLDERS };
                return Err(QueryTextError::UnknownPlaceholder { name: shown(name), known });
            }
        }
        at = from + 2 + inside.len() + 2;
        rendered.moved.push(((start, rendered.text.len()), (from, at)));
        rest = next;
    }
    rendered.text.push_str(rest);
    Ok(rendered)
}

/// A stranger's text, short and in one line.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars().take(40) {
        // Writing to a string cannot fail.
        let _ = if c.is_control() { write!(shown, " ") } else { write!(shown, "{c}") };
    }
    shown
}

/// The number of the character at a byte, counted from 1.
fn position(text: &str, byte: usize) -> usize {
    1 + text.char_indices().take_while(|(at, _)| *at < byte).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use std::collections::BTreeMap;

    const VALUES: Values<'_> = Values { namespace: "shop", target: "checkout", pods: "(checkout-7d9f)-[a-z0-9]{5}" };

    fn series(values: &[f64]) -> Series {
        let points = (0i64..).zip(values).map(|(at, value)| (Timestamp::from_second(at).unwrap(), *value)).collect();
        Series { labels: BTreeMap::new(), points, histograms: Vec::new() }
    }

    #[test]
    fn a_query_that_would_exhaust_the_stack_is_refused_before_it_is_parsed() {
        let deep = [
            "-".repeat(4000) + "up",
            "(".repeat(2000) + "up" + &")".repeat(2000),
            "1".to_owned() + &"+up".repeat(1300),
        ];
        for text in deep {
            let error = validate(&text).unwrap_err();
            assert!(error.to_string().ends_with("it has more than 500 operators and brackets"), "{error}");
            assert_eq!(crate::confine(&text, "namespace", "shop"), Err(crate::ConfinementError::Syntax));
        }
        assert_eq!(validate(&("up".to_owned() + &" + up".repeat(400))), Ok(()));
    }

    #[test]
    fn placeholders_become_values() {
        let text = r#"sum(up{namespace="{{ namespace }}",app='{{target}}',pod=~"{{ pods }}"})"#;
        assert_eq!(
            render(text, &VALUES).unwrap(),
            r#"sum(up{namespace="shop",app='checkout',pod=~"(checkout-7d9f)-[a-z0-9]{5}"})"#
        );
        assert_eq!(validate(text), Ok(()));
    }

    #[test]
    fn an_unknown_placeholder_is_named_with_the_known_ones() {
        let error = validate("up{pod=\"{{ pod }}\"}").unwrap_err().to_string();
        assert_eq!(error, "{{ pod }} is no placeholder here; known are {{ namespace }}, {{ target }}, {{ pods }}");
        assert_eq!(validate("up{a=\"{{ pods\"}"), Err(QueryTextError::Unclosed { position: 7 }));
    }

    #[test]
    fn an_error_tells_the_position_in_the_text_as_written() {
        for (text, position, word) in [
            (r#"sum(up{namespace="{{ namespace }}"})) "#, 37, ")"),
            (r#"sum(up{namespace="{{ namespace }}"}"#, 4, "never closed"),
            (r#"up{namespace="{{ namespace }}"} +"#, 34, "ends"),
            (r#"up{pod=~"{{ pods }}"} up"#, 23, "up"),
            ("sum(rate(x))", 5, "matrix"),
            ("nosuch(x)", 1, "nosuch"),
            ("é > 1", 1, ""),
            ("", 1, ""),
        ] {
            let Err(QueryTextError::Syntax { position: found, problem }) = validate(text) else { panic!("{text}") };
            assert_eq!(found, position, "{text}: {problem}");
            assert!(problem.contains(word) && !problem.contains('\n'), "{text}: {problem}");
        }
    }

    #[test]
    fn a_query_of_several_windows_must_say_where_they_go() {
        let sloth = r#"slo:sli_error:ratio_rate{{ window }}{sloth_id="shop-{{target}}"}"#;
        assert_eq!(in_window(sloth, "1h4m"), r#"slo:sli_error:ratio_rate1h4m{sloth_id="shop-{{target}}"}"#);
        assert_eq!(validate_in_window(sloth, "1h4m", Windowed::Share), Ok(()));
        let checked = |text, window| validate_in_window(text, window, Windowed::Events);
        assert_eq!(checked(r#"rate(a{app="{{ target }}"}[{{window}}])"#, "5m"), Ok(()));
        let of_pods = checked(r#"rate(a{pod=~"{{ pods }}"}[{{window}}])"#, "5m").unwrap_err().to_string();
        assert_eq!(of_pods, "{{ pods }} is no placeholder here; known are {{ namespace }}, {{ target }}, {{ window }}");
        assert_eq!(checked("rate(a[5m])", "5m"), Err(QueryTextError::NoWindow));
        assert_eq!(checked("scalar(rate(a[{{ window }}]))", "5m"), Err(QueryTextError::NoVector));
        let Err(QueryTextError::Syntax { position, .. }) = checked("rate(a[{{ window }}]) +", "5m") else {
            panic!("not the end of the query")
        };
        assert_eq!(position, 24);
        assert!(matches!(checked("rate(a[{{ window }}])", "1m1h"), Err(QueryTextError::Syntax { .. })));
        assert!(matches!(validate("rate(a[{{ window }}])"), Err(QueryTextError::UnknownPlaceholder { .. })));
        assert_eq!(in_window("a {{ b", "5m"), "a {{ b", "what is no placeholder stays for others to refuse");
    }

    #[test]
    fn only_numbers_of_an_instant_will_do() {
        for text in ["up", "1", "scalar(up)", "rate(up[5m])", "vector(1) > bool 2", "sum(up) or vector(0)"] {
            assert_eq!(validate(text), Ok(()), "{text}");
        }
        assert_eq!(validate("up[5m]"), Err(QueryTextError::Returns("range vector")));
        assert_eq!(validate("rate(up[5m])[1h:1m]"), Err(QueryTextError::Returns("range vector")));
        assert_eq!(validate(r#""text""#), Err(QueryTextError::Returns("string")));
    }

    #[test]
    fn one_series_of_numbers_is_an_answer_and_nothing_else_is() {
        assert_eq!(to_points(Vec::new()), Err(Missing::Empty));
        assert_eq!(to_points(vec![series(&[])]), Err(Missing::Empty));
        assert_eq!(to_points(vec![series(&[1.0]), series(&[2.0])]), Err(Missing::ManySeries(2)));
        assert_eq!(to_points(vec![series(&[f64::NAN, f64::INFINITY])]), Err(Missing::NotANumber));
        let native = (Timestamp::from_second(0).unwrap(), crate::NativeHistogram::default());
        let native = Series { histograms: vec![native], ..series(&[]) };
        assert!(matches!(to_points(vec![native]), Err(Missing::BadQuery(_))));
        let points = to_points(vec![series(&[1.0, f64::NAN, 3.0])]).unwrap();
        assert_eq!(points.iter().map(|point| point.value).collect::<Vec<_>>(), [1.0, 3.0]);
    }
}
