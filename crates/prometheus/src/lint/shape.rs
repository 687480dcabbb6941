//! Is there one series in the answer?

use promql_parser::label::Matchers;
use promql_parser::parser::{AggregateExpr, BinaryExpr, Expr, VectorMatchCardinality};

use super::{Code, Remark, is_equal, kept, metric, named, selectors};

pub(super) fn remark(expr: &Expr, remarks: &mut Vec<Remark>) {
    if let Shape::Several(why) = shape(expr) {
        let problem = format!("{why}, and an answer of several series counts as no data");
        let fix = "put sum(), avg() or max() around it".to_owned();
        remarks.push((Code::SeveralSeries, problem, fix));
    }
}

/// How many series an expression gives at most.
enum Shape {
    One,
    /// More, by what.
    Several(String),
    /// That depends on what there is.
    Unknown,
}

fn shape(expr: &Expr) -> Shape {
    match expr {
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => Shape::One,
        Expr::VectorSelector(one) => of_selector(one),
        Expr::MatrixSelector(one) => of_selector(&one.vs),
        Expr::Paren(one) => shape(&one.expr),
        Expr::Unary(one) => shape(&one.expr),
        Expr::Subquery(one) => shape(&one.expr),
        Expr::Aggregate(one) => of_aggregate(expr, one, ""),
        Expr::Binary(two) => of_binary(two),
        Expr::Call(call) => match (call.func.name, call.args.args.last().map(AsRef::as_ref)) {
            ("time" | "vector" | "scalar" | "absent" | "absent_over_time" | "pi", _) | (_, None) => Shape::One,
            ("histogram_quantile", Some(Expr::Aggregate(one))) => of_aggregate(expr, one, "le"),
            // The other arguments are numbers and words, before or after the series.
            _ => call.args.args.iter().map(|one| shape(one)).fold(Shape::One, widest),
        },
    }
}

/// A recording rule's author may have summed already.
fn of_selector(selector: &promql_parser::parser::VectorSelector) -> Shape {
    match metric(selector) {
        Some(name) if name.contains(':') => Shape::Unknown,
        _ => Shape::Several(format!("{} may have a series per pod and label", named(selector))),
    }
}

/// An aggregation, of whose labels `consumed` is taken away by what stands around it.
fn of_aggregate(expr: &Expr, one: &AggregateExpr, consumed: &str) -> Shape {
    let op = one.op.to_string();
    if ["topk", "bottomk", "limitk", "limit_ratio"].contains(&op.as_str()) {
        let is_one = matches!(one.param.as_deref(), Some(Expr::NumberLiteral(number)) if number.val == 1.0);
        return if is_one && kept(one).is_some_and(<[String]>::is_empty) { Shape::One } else { several(&op) };
    }
    if op == "count_values" {
        return several(&op);
    }
    let Some(labels) = kept(one) else { return Shape::Unknown };
    let is_pinned = |label: &String| {
        let below = selectors(expr);
        !below.is_empty() && below.iter().all(|selector| pins(&selector.matchers, label))
    };
    match labels.iter().find(|label| *label != consumed && !is_pinned(label)) {
        Some(label) => Shape::Several(format!("{op} by ({}) gives a series for each {label}", labels.join(", "))),
        None => Shape::One,
    }
}

fn several(op: &str) -> Shape {
    Shape::Several(format!("{op} gives several series"))
}

fn pins(matchers: &Matchers, label: &str) -> bool {
    matchers.matchers.iter().any(|matcher| matcher.name == label && is_equal(matcher))
}

fn of_binary(two: &BinaryExpr) -> Shape {
    let (left, right) = (shape(&two.lhs), shape(&two.rhs));
    let card = two.modifier.as_ref().map(|modifier| &modifier.card);
    match (two.op.to_string().as_str(), card) {
        ("or", _) => widest(left, right),
        ("and" | "unless", _) | (_, Some(VectorMatchCardinality::ManyToOne(_))) => left,
        (_, Some(VectorMatchCardinality::OneToMany(_))) => right,
        _ if is_number(&two.lhs) => right,
        _ if is_number(&two.rhs) => left,
        // One to one: no more than the side with fewer.
        _ => match (left, right) {
            (Shape::One, _) | (_, Shape::One) => Shape::One,
            (Shape::Unknown, _) | (_, Shape::Unknown) => Shape::Unknown,
            (left, _) => left,
        },
    }
}

fn is_number(expr: &Expr) -> bool {
    expr.value_type() == promql_parser::parser::value::ValueType::Scalar
}

fn widest(left: Shape, right: Shape) -> Shape {
    match (left, right) {
        (Shape::Several(why), _) | (_, Shape::Several(why)) => Shape::Several(why),
        (Shape::Unknown, _) | (_, Shape::Unknown) => Shape::Unknown,
        _ => Shape::One,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::codes;

    /// Whether several series are told of a query whose selectors `{}` keep to the namespace.
    fn is_several(promql: &str) -> bool {
        codes(&promql.replace("{}", r#"{namespace="{{ namespace }}"}"#)).contains(&"SeveralSeries")
    }

    #[test]
    fn an_answer_that_has_several_series_is_none() {
        for promql in [
            "queue{}",
            "-(queue{} * 2)",
            "2 * queue{}",
            "rate(a_total{}[5m])",
            "sum by (pod) (queue{})",
            "sum(queue{}) by (namespace, pod)",
            "topk(3, queue{})",
            "topk(1, queue{}) by (pod)",
            "count_values(\"v\", queue{})",
            "histogram_quantile(0.9, rate(a_bucket{}[5m]))",
            "histogram_quantile(0.9, sum by (le, pod) (rate(a_bucket{}[5m])))",
            "queue{} / limit{}",
            "queue{} / on () group_left () sum(limit{})",
            "clamp_min(queue{}, 0)",
            "queue{} or vector(0)",
            "queue{} and on () sum(limit{})",
        ] {
            assert!(is_several(promql), "{promql}");
        }
    }

    #[test]
    fn one_series_or_what_cannot_be_told_is_fine() {
        for promql in [
            "sum(queue{})",
            "sum by (namespace) (queue{})",
            "topk(1, queue{})",
            "sum(rate(a_total{}[5m])) / sum(rate(b_total{}[5m]))",
            "histogram_quantile(0.9, sum by (le) (rate(a_bucket{}[5m])))",
            "histogram_quantile(0.9, sum by (le, namespace) (rate(a_bucket{}[5m])))",
            "sum(queue{}) or vector(0)",
            "scalar(queue{})",
            "absent(queue{})",
            "sum without (pod) (queue{})",
            "job:queue:sum{}",
            "1",
            "clamp_min(sum(queue{}), 0)",
            "avg_over_time(sum(queue{})[5m:1m])",
        ] {
            assert!(!is_several(promql), "{promql}");
        }
    }
}
