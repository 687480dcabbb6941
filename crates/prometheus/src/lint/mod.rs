//! What is wrong with checks that can be read and asked, and still do not say what their author means.
//!
//! Pure: a text goes in, [`Finding`]s come out. `snapback lint` prints them, and the operator puts them into a condition
//! of the policy. None of them stops the judging: a check that is merely suspicious is judged as it is written.

mod buckets;
mod counters;
mod matchers;
mod scope;
mod shape;

pub use buckets::{limit_by_bounds, limit_by_convention, limit_not_shown};

use std::fmt;

use jiff::SignedDuration;
use promql_parser::label::METRIC_NAME;
use promql_parser::parser::{Expr, VectorSelector, parse};
use snapback_core::policy::{BurnWindows, Policy, Rule};

use crate::own_query::{QueryTextError, Values, Windowed, in_window, render, validate, validate_in_window};

/// How often the usual Prometheus scrapes at least.
const USUAL_SCRAPE: SignedDuration = SignedDuration::from_secs(15);

/// What a finding is about. The words are stable: scripts and conditions rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// The text is no PromQL, or gives no numbers.
    QueryInvalid,
    /// A selector takes series of every namespace.
    NamespaceIgnored,
    /// A rate over less time than four scrapes.
    RateWindowTooShort,
    /// A counter's value is looked at, not how fast it grows.
    CounterAsGauge,
    /// The growth is asked for of what does not only grow.
    GaugeAsCounter,
    /// A quantile of buckets whose bounds were summed away.
    QuantileWithoutLe,
    /// The answer may have several series.
    SeveralSeries,
    /// A limit above the highest finite bound of the histogram.
    LatencyBucketMissing,
    /// A limit far under the bound that slow requests are counted from.
    LatencyBucketCoarse,
    /// A matcher that no series can have.
    NeverMatches,
    /// A control that there is no Deployment of.
    ControlNotFound,
}

impl Code {
    /// One CamelCase word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueryInvalid => "QueryInvalid",
            Self::NamespaceIgnored => "NamespaceIgnored",
            Self::RateWindowTooShort => "RateWindowTooShort",
            Self::CounterAsGauge => "CounterAsGauge",
            Self::GaugeAsCounter => "GaugeAsCounter",
            Self::QuantileWithoutLe => "QuantileWithoutLe",
            Self::SeveralSeries => "SeveralSeries",
            Self::LatencyBucketMissing => "LatencyBucketMissing",
            Self::LatencyBucketCoarse => "LatencyBucketCoarse",
            Self::NeverMatches => "NeverMatches",
            Self::ControlNotFound => "ControlNotFound",
        }
    }

    /// Error where the check cannot do its work whatever is measured; Warning where that depends on the metrics, which
    /// only their author knows.
    pub fn level(self) -> Level {
        match self {
            Self::QueryInvalid | Self::QuantileWithoutLe | Self::LatencyBucketMissing | Self::NeverMatches => {
                Level::Error
            }
            Self::NamespaceIgnored
            | Self::RateWindowTooShort
            | Self::CounterAsGauge
            | Self::GaugeAsCounter
            | Self::SeveralSeries
            | Self::LatencyBucketCoarse
            | Self::ControlNotFound => Level::Warning,
        }
    }
}

/// How sure it is that something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It probably is not what is meant.
    Warning,
    /// It cannot be what is meant.
    Error,
}

/// Something that is wrong with a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub code: Code,
    /// How sure it is.
    pub level: Level,
    /// The field, such as `spec.checks[2].query.promql`.
    pub field: String,
    /// What is wrong, without a full stop.
    pub problem: String,
    /// What to write instead, without a full stop.
    pub fix: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.field, self.problem, self.fix)
    }
}

impl Finding {
    fn new(code: Code, field: &str, problem: String, fix: String) -> Self {
        Self { code, level: code.level(), field: field.to_owned(), problem, fix }
    }
}

/// The finding of a control that does not exist: nothing is held back by it.
pub fn control_not_found(field: &str, name: &str) -> Finding {
    let problem = format!("there is no Deployment {name:?} in this namespace, so nothing is known by it");
    Finding::new(Code::ControlNotFound, field, problem, "correct its name, or leave it out".to_owned())
}

/// A finding whose field is still to be named: the rules know a query, not where it stands.
type Remark = (Code, String, String);

/// How often pods are scraped, where nobody says: as often as usual, or as often as the policy looks, which its author is
/// told to choose no shorter than a scrape.
pub fn assumed_scrape(soak_interval: SignedDuration) -> SignedDuration {
    USUAL_SCRAPE.min(soak_interval)
}

/// The findings of a policy that are certain or likely from its text alone.
pub fn policy(policy: &Policy) -> Vec<Finding> {
    let scrape = assumed_scrape(policy.soak.interval);
    let queries = policy.checks.iter().enumerate().filter_map(|(index, check)| match &check.rule {
        Rule::Query { promql, .. } => Some(query(&format!("spec.checks[{index}].query.promql"), promql, scrape)),
        Rule::BurnRate { promql, windows, .. } => {
            let windows: Vec<&str> = windows.iter().flat_map(BurnWindows::both).map(|one| one.text.as_str()).collect();
            Some(query_in_windows(&format!("spec.checks[{index}].burnRate"), promql, &windows, Windowed::Share, scrape))
        }
        _ => None,
    });
    queries.flatten().collect()
}

/// The findings of one query, in the order in which it is read; `scrape` is the time between two scrapes of the pods.
pub fn query(field: &str, promql: &str, scrape: SignedDuration) -> Vec<Finding> {
    let expr = match validate(promql).and_then(|()| expression(promql)) {
        Ok(expr) => expr,
        Err(error) => return vec![invalid(field, &error)],
    };
    let mut remarks: Vec<Remark> = Vec::new();
    scope::remark(&expr, scope::Recorded::OfAnybody, &mut remarks);
    matchers::remark(&expr, &mut remarks);
    counters::remark(&expr, scrape, &mut remarks);
    shape::remark(&expr, &mut remarks);
    findings(field, remarks)
}

/// The findings of a query that is asked for several windows, each once.
pub fn query_in_windows(
    field: &str,
    promql: &str,
    windows: &[&str],
    gives: Windowed,
    scrape: SignedDuration,
) -> Vec<Finding> {
    let mut remarks: Vec<Remark> = Vec::new();
    for (index, window) in windows.iter().enumerate() {
        let valid = validate_in_window(promql, window, gives);
        let expr = match valid.and_then(|()| expression(&in_window(promql, window))) {
            Ok(expr) => expr,
            Err(error) => return vec![invalid(field, &error)],
        };
        // Whose series they are and how many does not depend on the window.
        if index == 0 {
            scope::remark(&expr, scope::Recorded::OfOneSlo, &mut remarks);
            matchers::remark(&expr, &mut remarks);
            matchers::remark_on_slos(&expr, &mut remarks);
        }
        if index == 0 && gives == Windowed::Share {
            shape::remark(&expr, &mut remarks);
        }
        counters::remark(&expr, scrape, &mut remarks);
    }
    findings(field, remarks)
}

/// What several say is told once.
fn findings(field: &str, remarks: Vec<Remark>) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for (code, problem, fix) in remarks {
        let finding = Finding::new(code, field, problem, fix);
        if !found.contains(&finding) {
            found.push(finding);
        }
    }
    found
}

fn invalid(field: &str, error: &QueryTextError) -> Finding {
    let fix = match error {
        QueryTextError::UnknownPlaceholder { .. } => "write one of these",
        QueryTextError::Unclosed { .. } => "close it, as in {{ namespace }}",
        QueryTextError::Syntax { .. } => "correct it there",
        QueryTextError::NoWindow => "put {{ window }} where the range is, or where a recorded metric's name has it",
        QueryTextError::NoVector => "leave scalar() out: it is summed up anyway",
        QueryTextError::Returns(_) => "put a function around it that gives one number, such as rate() in sum()",
    };
    Finding::new(Code::QueryInvalid, field, error.to_string(), fix.to_owned())
}

/// The query with words in place of its placeholders that its author can hardly have written.
fn expression(promql: &str) -> Result<Expr, QueryTextError> {
    // A word without a dash, as the sample that the text was found valid with: outside of quotes a dash is a sign.
    let marked = Values { namespace: scope::NAMESPACE, target: "snapback_lint_target", pods: scope::PODS };
    let text = render(promql, &marked)?;
    // Values are words; where the query parses with some, it does with others.
    parse(&text).map_err(|problem| QueryTextError::Syntax { position: 1, problem })
}

/// A selector's metric, if it has one name.
fn metric(selector: &VectorSelector) -> Option<&str> {
    let by_label = || {
        let all = &selector.matchers.matchers;
        let named = all.iter().find(|matcher| matcher.name == METRIC_NAME && is_equal(matcher));
        named.map(|matcher| matcher.value.as_str())
    };
    selector.name.as_deref().or_else(by_label)
}

/// What a message calls a selector.
fn named(selector: &VectorSelector) -> String {
    metric(selector).map_or_else(|| "a selector without a metric".to_owned(), str::to_owned)
}

fn is_equal(matcher: &promql_parser::label::Matcher) -> bool {
    matches!(matcher.op, promql_parser::label::MatchOp::Equal)
}

/// All selectors below an expression.
fn selectors(expr: &Expr) -> Vec<&VectorSelector> {
    match expr {
        Expr::VectorSelector(selector) => vec![selector],
        Expr::MatrixSelector(matrix) => vec![&matrix.vs],
        other => children(other).into_iter().flat_map(selectors).collect(),
    }
}

fn children(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Aggregate(one) => one.param.iter().map(AsRef::as_ref).chain([one.expr.as_ref()]).collect(),
        Expr::Unary(one) => vec![&one.expr],
        Expr::Binary(two) => vec![&two.lhs, &two.rhs],
        Expr::Paren(one) => vec![&one.expr],
        Expr::Subquery(one) => vec![&one.expr],
        Expr::Call(call) => call.args.args.iter().map(AsRef::as_ref).collect(),
        Expr::NumberLiteral(_)
        | Expr::StringLiteral(_)
        | Expr::VectorSelector(_)
        | Expr::MatrixSelector(_)
        | Expr::Extension(_) => Vec::new(),
    }
}

/// Names of the labels that an aggregation keeps, if it says that.
fn kept(one: &promql_parser::parser::AggregateExpr) -> Option<&[String]> {
    use promql_parser::parser::LabelModifier;
    match &one.modifier {
        None => Some(&[]),
        Some(LabelModifier::Include(labels)) => Some(&labels.labels),
        Some(LabelModifier::Exclude(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The codes of a query under a scrape every 15 s.
    pub(super) fn codes(promql: &str) -> Vec<&'static str> {
        found(promql).iter().map(|finding| finding.code.as_str()).collect()
    }

    pub(super) fn found(promql: &str) -> Vec<Finding> {
        query("q", promql, SignedDuration::from_secs(15))
    }

    #[test]
    fn a_query_as_the_docs_have_them_is_clean() {
        for promql in [
            r#"sum(rate(orders_total{namespace="{{ namespace }}"}[1m]))"#,
            r#"max(queue_length{pod=~"{{ pods }}"})"#,
            r#"sum(rate(errors_total{pod=~"{{ pods }}"}[5m])) / sum(rate(requests_total{pod=~"{{ pods }}"}[5m]))"#,
            r#"histogram_quantile(0.99, sum by (le) (rate(db_seconds_bucket{namespace="{{namespace}}"}[5m])))"#,
            r#"sum(increase(paid_total{namespace="shop"}[10m])) or vector(0)"#,
        ] {
            assert_eq!(found(promql), [], "{promql}");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_the_only_thing_that_is_said() {
        for (promql, problem) in [
            ("sum(rate(x_total[10s])", "is never closed"),
            (r#"up{pod="{{ pod }}"}"#, "{{ pod }} is no placeholder here"),
            ("x_total[5m]", "returns a range vector"),
        ] {
            let found = found(promql);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!((found[0].code, found[0].level), (Code::QueryInvalid, Level::Error));
            assert!(found[0].problem.contains(problem), "{}", found[0]);
        }
    }

    #[test]
    fn a_name_that_is_a_part_of_a_metrics_name_makes_no_query_invalid() {
        for query in [
            r#"sum(rate({{ target }}_total{namespace="{{ namespace }}"}[5m]))"#,
            "sum(rate({{ namespace }}_total[5m]))",
        ] {
            assert_eq!(validate(query), Ok(()));
            assert!(!codes(query).contains(&"QueryInvalid"), "{query}");
        }
    }

    #[test]
    fn several_faults_are_all_told_with_the_field_and_the_fix() {
        let found = query("spec.checks[2].query.promql", "rate(x_total[30s])", SignedDuration::from_secs(15));
        let codes: Vec<&str> = found.iter().map(|finding| finding.code.as_str()).collect();
        assert_eq!(codes, ["NamespaceIgnored", "RateWindowTooShort", "SeveralSeries"]);
        assert!(found.iter().all(|finding| finding.to_string().starts_with("spec.checks[2].query.promql: ")));
        assert!(found.iter().all(|finding| !finding.fix.is_empty()));
    }

    #[test]
    fn a_query_of_several_windows_is_looked_at_in_each_and_told_once() {
        let of = |promql: &str, gives| {
            let found = query_in_windows("f", promql, &["30s", "6m"], gives, SignedDuration::from_secs(15));
            found.into_iter().map(|finding| finding.to_string()).collect::<Vec<_>>()
        };
        let events = r#"rate(x_total{namespace="{{ namespace }}"}[{{ window }}])"#;
        let short = of(events, Windowed::Events);
        assert!(matches!(short.as_slice(), [only] if only.contains("rate(x_total[30s])")), "{short:?}");
        let stray = of("rate(x_total[1{{ window }}])", Windowed::Share);
        assert_eq!(stray.len(), 2, "NamespaceIgnored and SeveralSeries, for both windows: {stray:?}");
        assert!(stray[0].ends_with(r#"add namespace="{{ namespace }}" to its labels"#), "{stray:?}");
        let recorded = of("checkout_errors_ratio{{ window }}", Windowed::Share);
        assert_eq!(recorded.len(), 2, "the same of a metric whose name holds the window: {recorded:?}");
        let any_slos = of("slo:sli_error:ratio_rate{{ window }}", Windowed::Share);
        assert!(any_slos.iter().any(|told| told.contains("without a label is every SLO's")), "{any_slos:?}");
        let slos = of(r#"slo:sli_error:ratio_rate{{ window }}{sloth_id="checkout"}"#, Windowed::Share);
        assert!(slos.is_empty(), "{slos:?}");
        assert!(of("rate(x_total[5m])", Windowed::Share)[0].contains("nothing in it is {{ window }}"));
        assert!(of("scalar(rate(x[{{ window }}]))", Windowed::Events)[0].contains("leave scalar() out"));
        let sloth = r#"slo:sli_error:ratio_rate{{ window }}{sloth_id="shop-checkout"}"#;
        assert_eq!(of(sloth, Windowed::Share), [""; 0], "an SLO that is recorded is one service's");
    }

    #[test]
    fn a_scrape_is_no_longer_than_the_time_between_two_looks() {
        assert_eq!(assumed_scrape(SignedDuration::from_secs(30)).as_secs(), 15);
        assert_eq!(assumed_scrape(SignedDuration::from_secs(1)).as_secs(), 1);
    }
}
