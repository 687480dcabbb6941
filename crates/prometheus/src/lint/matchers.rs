//! Matchers that no series can have, or every series has.

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{Expr, VectorSelector};

use super::scope::PODS;
use super::{Code, Remark, is_equal, metric, selectors};

pub(super) fn remark(expr: &Expr, remarks: &mut Vec<Remark>) {
    for matcher in selectors(expr).into_iter().flat_map(matchers) {
        if is_equal(matcher) && matcher.value.contains(PODS) {
            let label = &matcher.name;
            let problem = format!(r#"{label}="{{{{ pods }}}}" takes a pattern for a name, and no pod is called so"#);
            remarks.push((Code::NeverMatches, problem, format!(r#"write {label}=~"{{{{ pods }}}}""#)));
        }
        if let Some(variable) = variable(matcher) {
            let problem = format!("{variable} is a dashboard's variable, which nobody replaces here");
            let fix = "write {{ namespace }}, {{ target }} or {{ pods }}, or the value itself".to_owned();
            remarks.push((Code::NeverMatches, problem, fix));
        }
    }
}

/// What a rule records for an SLO, of all SLOs that there are.
pub(super) fn remark_on_slos(expr: &Expr, remarks: &mut Vec<Remark>) {
    for selector in selectors(expr) {
        if let Some(recorded) = metric(selector).filter(|name| name.contains(':'))
            && matchers(selector).next().is_none()
        {
            let problem = format!("{recorded} without a label is every SLO's");
            let fix = r#"add the label that names yours, such as sloth_id="..." or slo="...""#.to_owned();
            remarks.push((Code::SeveralSeries, problem, fix));
        }
    }
}

fn matchers(selector: &VectorSelector) -> impl Iterator<Item = &Matcher> {
    let all = &selector.matchers;
    let named = |matcher: &&Matcher| matcher.name != super::METRIC_NAME;
    all.matchers.iter().chain(all.or_matchers.iter().flatten()).filter(named)
}

/// `$name` or `${name}` at the beginning of a value.
fn variable(matcher: &Matcher) -> Option<&str> {
    let name = matcher.value.strip_prefix('$')?;
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '{');
    (is_name && matches!(matcher.op, MatchOp::Equal | MatchOp::Re(_))).then_some(&matcher.value)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{codes, found};

    #[test]
    fn a_pattern_is_no_name_and_a_dashboards_variable_no_placeholder() {
        let wrong = found(r#"sum(rate(hits_total{pod="{{ pods }}"}[2m]))"#);
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert_eq!(wrong[0].fix, r#"write pod=~"{{ pods }}""#);
        assert_eq!(codes(r#"sum(rate(hits_total{namespace="$namespace"}[2m]))"#), ["NeverMatches"]);
        assert_eq!(codes(r#"sum(rate(hits_total{namespace=~"${ns}"}[2m]))"#), ["NeverMatches"]);
        assert!(codes(r#"sum(rate(hits_total{pod=~"{{ pods }}",path=~"/cart$"}[2m]))"#).is_empty());
        assert!(codes(r#"sum(rate(hits_total{namespace="{{ namespace }}",price="$5"}[2m]))"#).is_empty());
    }
}
