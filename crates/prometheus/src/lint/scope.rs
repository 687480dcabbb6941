//! Does every selector stay within the target's namespace?
//!
//! Otherwise a service of the same name elsewhere, or everything that there is, is judged with the release.

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{BinaryExpr, Expr, LabelModifier, VectorSelector};

use super::{Code, Remark, children, is_equal, kept, named};

/// Stand for the values of `{{ namespace }}` and `{{ pods }}`.
pub(super) const NAMESPACE: &str = "snapback_lint_namespace";
pub(super) const PODS: &str = "snapback_lint_pods";

/// Whose the series of a recording rule are, whose name has a colon.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Recorded {
    /// Any service's, as everything else.
    OfAnybody,
    /// The one's whose SLO is recorded: its own labels tell it from others, and several at once are no answer.
    OfOneSlo,
}

pub(super) fn remark(expr: &Expr, recorded: Recorded, remarks: &mut Vec<Remark>) {
    for stray in scope(expr).strays {
        if recorded == Recorded::OfOneSlo && stray.contains(':') {
            continue;
        }
        let problem = format!("{stray} is asked for in all namespaces, so other services are judged with this one");
        let fix = match recorded {
            Recorded::OfAnybody => r#"add namespace="{{ namespace }}" or pod=~"{{ pods }}" to its labels"#,
            Recorded::OfOneSlo => r#"add namespace="{{ namespace }}" to its labels"#,
        };
        remarks.push((Code::NamespaceIgnored, problem, fix.to_owned()));
    }
}

/// What an expression takes its series from.
#[derive(Default)]
struct Scope {
    /// Selectors that nothing narrows.
    strays: Vec<String>,
    /// Whether there is a selector at all.
    selects: bool,
    /// Whether its series still say whose they are.
    labelled: bool,
}

impl Scope {
    fn and(mut self, other: Self) -> Self {
        self.strays.extend(other.strays);
        Self { selects: self.selects || other.selects, labelled: self.labelled || other.labelled, ..self }
    }

    /// Whether it holds nothing but series of the namespace.
    fn is_narrow(&self) -> bool {
        self.selects && self.strays.is_empty()
    }
}

fn scope(expr: &Expr) -> Scope {
    match expr {
        Expr::VectorSelector(selector) => of_selector(selector),
        Expr::MatrixSelector(matrix) => of_selector(&matrix.vs),
        Expr::Aggregate(one) => {
            let below = of_all(expr);
            let keeps = match (&one.modifier, kept(one)) {
                (_, Some(labels)) => labels.iter().any(|label| tells_whose(label)),
                (Some(LabelModifier::Exclude(labels)), None) => !labels.labels.iter().any(|label| tells_whose(label)),
                _ => false,
            };
            Scope { labelled: below.labelled && keeps, ..below }
        }
        Expr::Binary(two) => of_binary(two),
        _ => of_all(expr),
    }
}

fn of_all(expr: &Expr) -> Scope {
    children(expr).into_iter().map(scope).fold(Scope::default(), Scope::and)
}

fn of_selector(selector: &VectorSelector) -> Scope {
    let all = &selector.matchers;
    let mut groups = vec![all.matchers.as_slice()];
    if !all.or_matchers.is_empty() {
        // `{a="1" or b="2"}`: each alternative stands alone.
        groups = all.or_matchers.iter().map(Vec::as_slice).collect();
    }
    let is_narrow = groups.iter().all(|group| group.iter().any(narrows));
    let strays = if is_narrow { Vec::new() } else { vec![named(selector)] };
    Scope { strays, selects: true, labelled: true }
}

/// Where series of both sides are matched by labels that say whose they are, one narrow side narrows the other.
fn of_binary(two: &BinaryExpr) -> Scope {
    let (left, right) = (scope(&two.lhs), scope(&two.rhs));
    let by_owner = match two.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref()) {
        None => true,
        Some(LabelModifier::Include(labels)) => labels.labels.iter().any(|label| tells_whose(label)),
        Some(LabelModifier::Exclude(labels)) => !labels.labels.iter().any(|label| tells_whose(label)),
    };
    let is_matched = by_owner && left.labelled && right.labelled;
    let narrowed = match two.op.to_string().as_str() {
        "or" => false,
        // What is left over is of the left side.
        "unless" => left.is_narrow(),
        _ => left.is_narrow() || right.is_narrow(),
    };
    let both = left.and(right);
    if is_matched && narrowed { Scope { strays: Vec::new(), ..both } } else { both }
}

/// Whether a matcher keeps to one namespace, or to the pods of the target.
fn narrows(matcher: &Matcher) -> bool {
    if !matches!(matcher.op, MatchOp::Equal | MatchOp::Re(_)) {
        return false;
    }
    let by_placeholder = matcher.value.contains(NAMESPACE) || matcher.value.contains(PODS);
    let is_some = !matcher.value.is_empty() && (is_equal(matcher) || !matcher.is_match("any-other-namespace"));
    by_placeholder || is_namespace(&matcher.name) && is_some
}

/// `namespace`, `kubernetes_namespace`, `destination_service_namespace`, ...
fn is_namespace(label: &str) -> bool {
    label == "ns" || label.contains("namespace")
}

fn tells_whose(label: &str) -> bool {
    is_namespace(label) || label.contains("pod") || label == "instance"
}

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::super::tests::found;

    fn strays(promql: &str) -> Vec<String> {
        let found = found(promql).into_iter().filter(|finding| finding.code == Code::NamespaceIgnored);
        found.map(|finding| finding.problem.split_whitespace().next().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_selector_without_the_namespace_is_named() {
        for promql in [
            "sum(up)",
            r#"sum(up{app="{{ target }}"})"#,
            r#"sum(up{namespace!="kube-system"})"#,
            r#"sum(up{namespace=~".*"})"#,
            r#"sum(up{namespace=""})"#,
            r#"sum(up{namespace="{{ namespace }}" or job="x"})"#,
            r#"sum({__name__="up"})"#,
        ] {
            assert_eq!(strays(promql), ["up"], "{promql}");
        }
    }

    #[test]
    fn a_placeholder_or_a_name_of_a_namespace_is_enough() {
        for promql in [
            r#"sum(up{namespace="{{ namespace }}"})"#,
            r#"sum(up{k8s="{{ namespace }}/{{ target }}"})"#,
            r#"sum(up{pod_name=~"{{ pods }}"})"#,
            r#"sum(up{kubernetes_namespace=~"shop|cart"})"#,
            "vector(1)",
        ] {
            assert!(strays(promql).is_empty(), "{promql}");
        }
    }

    #[test]
    fn each_side_of_a_ratio_is_looked_at() {
        let promql = r#"sum(rate(a_total{pod=~"{{ pods }}"}[5m])) / sum(rate(b_total[5m]))"#;
        assert_eq!(strays(promql), ["b_total"]);
        assert_eq!(strays(r#"sum(a{namespace="x"}) or sum(b)"#), ["b"]);
    }

    #[test]
    fn a_side_that_is_matched_by_its_owner_is_narrowed_by_the_other() {
        for promql in [
            r#"sum(a{namespace="{{ namespace }}"} / b)"#,
            r#"sum(a * on (namespace, pod) group_left () kube_pod_labels{namespace="{{ namespace }}"})"#,
            r#"sum(sum by (pod) (a) and sum by (pod) (b{pod=~"{{ pods }}"}))"#,
            r#"sum(a{pod=~"{{ pods }}"} unless b)"#,
        ] {
            assert!(strays(promql).is_empty(), "{promql}");
        }
        assert_eq!(strays(r#"sum(a unless b{pod=~"{{ pods }}"})"#), ["a"]);
        assert_eq!(strays(r#"sum(a * on (version) group_left () b{pod=~"{{ pods }}"})"#), ["a"]);
        assert_eq!(strays(r#"sum(sum by (job) (a) / sum by (job) (b{pod=~"{{ pods }}"}))"#), ["a"]);
    }
}
