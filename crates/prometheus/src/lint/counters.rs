//! Is what only grows asked for its growth, and over time enough?

use std::time::Duration;

use jiff::SignedDuration;
use promql_parser::parser::{BinaryExpr, Call, Expr, MatrixSelector, VectorSelector};
use snapback_core::duration;

use super::{Code, Remark, children, kept, metric, named, selectors};

/// Scrapes that a rate needs: two make a rate, and a single one that is late or fails must not take it away.
const SCRAPES: i32 = 4;

/// Ends of names of counters, by the conventions of Prometheus and OpenMetrics.
const COUNTERS: [&str; 4] = ["_total", "_count", "_sum", "_bucket"];

/// Functions that take a counter's resets into account.
const RATES: [&str; 3] = ["rate", "irate", "increase"];

/// Functions for which a counter is as good as anything.
const OF_ANYTHING: [&str; 9] = [
    "delta",
    "idelta",
    "deriv",
    "resets",
    "changes",
    "count_over_time",
    "present_over_time",
    "absent_over_time",
    "predict_linear",
];

/// What the value of a selector is used for.
#[derive(Clone, Copy)]
struct Use {
    /// Its value does not matter: only whether it is there.
    is_presence: bool,
    /// It is asked for its growth, or a part of a difference.
    is_growth: bool,
    /// A histogram's function reads it: a native histogram has no ending.
    is_histogram: bool,
}

pub(super) fn remark(expr: &Expr, scrape: SignedDuration, remarks: &mut Vec<Remark>) {
    let value = Use { is_presence: false, is_growth: false, is_histogram: false };
    Reader { scrape, remarks }.read(expr, value);
}

struct Reader<'a> {
    scrape: SignedDuration,
    remarks: &'a mut Vec<Remark>,
}

impl Reader<'_> {
    fn read(&mut self, expr: &Expr, used: Use) {
        match expr {
            Expr::VectorSelector(selector) => self.value(selector, used),
            Expr::Call(call) => self.call(call, used),
            Expr::Aggregate(one) => {
                let counts = ["count", "group", "count_values"].contains(&one.op.to_string().as_str());
                let used = Use { is_presence: used.is_presence || counts, ..used };
                self.all(children(expr), used);
            }
            Expr::Binary(two) => self.binary(two, used),
            _ => self.all(children(expr), used),
        }
    }

    fn all(&mut self, all: Vec<&Expr>, used: Use) {
        for one in all {
            self.read(one, used);
        }
    }

    fn call(&mut self, call: &Call, used: Use) {
        let function = call.func.name;
        if function == "histogram_quantile"
            && let Some(vector) = call.args.args.last()
        {
            self.quantile(vector);
        }
        let used = Use {
            is_presence: used.is_presence || ["absent", "timestamp"].contains(&function),
            is_growth: used.is_growth || RATES.contains(&function) || OF_ANYTHING.contains(&function),
            is_histogram: used.is_histogram || function.starts_with("histogram_"),
        };
        for argument in &call.args.args {
            match argument.as_ref() {
                Expr::MatrixSelector(matrix) if RATES.contains(&function) => self.rate(function, matrix, used),
                Expr::MatrixSelector(matrix) => self.value(&matrix.vs, used),
                other => self.read(other, used),
            }
        }
    }

    fn binary(&mut self, two: &BinaryExpr, used: Use) {
        let op = two.op.to_string();
        let is_difference = op == "-" && selectors(&two.rhs).iter().any(|selector| selector.offset.is_some());
        let used = Use { is_growth: used.is_growth || is_difference, ..used };
        self.read(&two.lhs, used);
        self.read(&two.rhs, Use { is_presence: used.is_presence || op == "and" || op == "unless", ..used });
    }

    /// A selector whose value is taken as it is.
    fn value(&mut self, selector: &VectorSelector, used: Use) {
        if used.is_presence || used.is_growth || !metric(selector).is_some_and(is_counter) {
            return;
        }
        let name = named(selector);
        let problem =
            format!("{name} is a counter by its name: its value is all that happened since the pod started, not now");
        let window = self.shortest().max(SignedDuration::from_mins(1));
        let fix = format!("write rate({name}{{...}}[{}]) or increase() of it", duration::format(window));
        self.remarks.push((Code::CounterAsGauge, problem, fix));
    }

    fn rate(&mut self, function: &str, matrix: &MatrixSelector, used: Use) {
        if matrix.range < Duration::try_from(self.shortest()).unwrap_or_default() {
            let range = SignedDuration::try_from(matrix.range).map(duration::format).unwrap_or_default();
            let problem = format!(
                "{function}({}[{range}]) looks at less than four scrapes (one every {}): when one fails it gives nothing, or \
                 half the truth",
                named(&matrix.vs),
                duration::format(self.scrape)
            );
            let fix = format!("write [{}] or longer", duration::format(self.shortest()));
            self.remarks.push((Code::RateWindowTooShort, problem, fix));
        }
        // As Prometheus' own remark (`PossibleNonCounterInfo`), which leaves recording rules alone, too.
        let name = metric(&matrix.vs).unwrap_or_default();
        if !name.is_empty() && !name.contains(':') && !is_counter(name) && !used.is_histogram {
            let problem = format!(
                "{function}() is for counters, and {name} is none by its name: each fall of a gauge counts as a restart"
            );
            let fix = "of a gauge, write avg_over_time() or deriv(); let a counter's name end in _total".to_owned();
            self.remarks.push((Code::GaugeAsCounter, problem, fix));
        }
    }

    /// The argument of `histogram_quantile`.
    fn quantile(&mut self, vector: &Expr) {
        let all = selectors(vector);
        let Some(bucket) = all.iter().find(|selector| metric(selector).is_some_and(|name| name.ends_with("_bucket")))
        else {
            return;
        };
        if loses_bounds(vector) {
            let name = named(bucket);
            let problem = format!("the label le of {name} is summed away, so there is no bucket left and no answer");
            let fix = format!("keep it: histogram_quantile(0.95, sum by (le) (rate({name}{{...}}[5m])))");
            self.remarks.push((Code::QuantileWithoutLe, problem, fix));
        }
    }

    fn shortest(&self) -> SignedDuration {
        self.scrape * SCRAPES
    }
}

/// Whether a sum on the way drops the bounds of the buckets.
fn loses_bounds(expr: &Expr) -> bool {
    match expr {
        Expr::Aggregate(one) => {
            let keeps = match kept(one) {
                Some(labels) => labels.iter().any(|label| label == "le"),
                None => !one.modifier.as_ref().is_some_and(|labels| labels.labels().labels.iter().any(|l| l == "le")),
            };
            !keeps || loses_bounds(&one.expr)
        }
        other => children(other).into_iter().any(loses_bounds),
    }
}

/// What a recording rule makes has a colon in its name; its end tells the operation.
fn is_counter(name: &str) -> bool {
    !name.contains(':') && COUNTERS.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{codes, found};
    use super::super::{Code, Level, query};
    use jiff::SignedDuration;

    /// The codes of a query within a namespace that gives one number, whose selectors `x` need no labels.
    fn of(promql: &str) -> Vec<&'static str> {
        let text = promql.replace("{}", r#"{namespace="{{ namespace }}"}"#);
        codes(&format!("sum({text})"))
    }

    #[test]
    fn the_value_of_a_counter_is_no_reading() {
        for promql in [
            "orders_total{}",
            "orders_total{} > 5",
            "errors_total{} / requests_total{}",
            "avg_over_time(orders_total{}[5m])",
            "max_over_time(orders_total{}[5m:1m])",
            r#"{__name__="orders_total",namespace="x"}"#,
        ] {
            assert_eq!(of(promql).first(), Some(&"CounterAsGauge"), "{promql}");
        }
    }

    #[test]
    fn the_growth_or_the_presence_of_a_counter_is() {
        for promql in [
            "rate(orders_total{}[5m])",
            "increase(orders_total{}[5m]) / increase(all_count{}[5m])",
            "max_over_time(rate(orders_total{}[5m])[30m:1m])",
            "delta(orders_total{}[5m])",
            "orders_total{} - orders_total{} offset 5m",
            "count(orders_total{})",
            "absent(orders_total{})",
            "time() - timestamp(orders_total{})",
            "queue{} and orders_total{}",
            "job:orders_total:rate5m{}",
        ] {
            assert_eq!(of(promql), [""; 0], "{promql}");
        }
    }

    #[test]
    fn a_window_holds_four_scrapes() {
        let short = |seconds: i64| {
            let scrape = SignedDuration::from_secs(seconds);
            query("q", r#"sum(rate(a_total{pod=~"{{ pods }}"}[1m]))"#, scrape)
        };
        assert_eq!(short(15), []);
        let [finding] = short(30).try_into().unwrap();
        assert_eq!((finding.code, finding.level), (Code::RateWindowTooShort, Level::Warning));
        assert_eq!(finding.fix, "write [2m] or longer");
        for promql in ["increase(a_total{}[59s])", "irate(a_total{}[30s])"] {
            assert_eq!(of(promql), ["RateWindowTooShort"], "{promql}");
        }
        assert_eq!(of("max_over_time(queue{}[10s])"), [""; 0], "no rate");
    }

    #[test]
    fn a_rate_is_for_counters() {
        for promql in ["rate(queue_length{}[5m])", "increase(memory_bytes{}[5m])"] {
            assert_eq!(of(promql), ["GaugeAsCounter"], "{promql}");
        }
        for promql in ["deriv(queue_length{}[5m])", "rate(job:a:sum{}[5m])", "histogram_count(rate(latency{}[5m]))"] {
            assert_eq!(of(promql), [""; 0], "{promql}");
        }
    }

    #[test]
    fn a_quantile_needs_the_bounds() {
        let of = |inner: &str| codes(&format!("sum(histogram_quantile(0.9, {inner}))"));
        let rate = r#"rate(a_bucket{pod=~"{{ pods }}"}[5m])"#;
        for inner in [format!("sum({rate})"), format!("sum by (pod) ({rate})"), format!("sum without (le) ({rate})")] {
            assert_eq!(of(&inner), ["QuantileWithoutLe"], "{inner}");
        }
        for inner in [rate.to_owned(), format!("sum by (le, pod) ({rate})"), format!("sum without (pod) ({rate})")] {
            assert_eq!(of(&inner), [""; 0], "{inner}");
        }
        assert_eq!(of(r#"sum(rate(native{pod=~"{{ pods }}"}[5m]))"#), [""; 0]);
        assert_eq!(found(&format!("histogram_quantile(0.9, sum({rate}))"))[0].level, Level::Error);
    }
}
