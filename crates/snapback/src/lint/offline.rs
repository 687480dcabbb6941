//! What can be told without asking anybody.

use jiff::SignedDuration;
use serde::Deserialize as _;
use serde_json::Value;
use snapback_api::convert::{self, burn_rate_queries, burn_rate_windows};
use snapback_api::v1alpha1::{BurnRateSpec, MetricsSpec, RollbackPolicy};
use snapback_controller::sampler::{metric_names, windowed};
use snapback_core::duration;
use snapback_core::policy::Policy;
use snapback_prometheus::lint::Finding;
use snapback_prometheus::{CompiledNames, lint};

use super::{Said, schema};

/// What the operator would refuse.
const INVALID: &str = "InvalidSpec";

/// As the policy says nothing of it.
const SOAK_INTERVAL: SignedDuration = SignedDuration::from_secs(30);

/// A policy that means something.
pub(super) struct Understood {
    pub(super) object: RollbackPolicy,
    pub(super) policy: Policy,
    pub(super) names: CompiledNames,
}

/// What is wrong with a policy; and the policy, if the operator could go by it. `scrape` is the time between two scrapes of
/// the pods, if that is known. What only histograms know is left to them if the source `is_asked` as well.
pub(super) fn look(object: &Value, scrape: Option<SignedDuration>, is_asked: bool) -> (Vec<Said>, Option<Understood>) {
    let mut found = schema::refusals(object);
    let understood = if found.is_empty() { understand(object, &mut found) } else { None };
    // Where the source is asked, how often it scrapes is known afterwards.
    if !is_asked || scrape.is_some() || understood.is_none() {
        found.extend(queries(object, scrape));
    }
    if !is_asked {
        found.extend(limits(object));
    }
    (found, understood)
}

fn understand(object: &Value, found: &mut Vec<Said>) -> Option<Understood> {
    let mut refuse = |field: &str, problem: String| found.push(Said::error(INVALID, field, problem, ""));
    let object: RollbackPolicy = match RollbackPolicy::deserialize(object) {
        Ok(object) => object,
        Err(error) => {
            refuse("spec", format!("cannot be read: {error}"));
            return None;
        }
    };
    let names = metric_names(object.spec.metrics.as_ref());
    let names =
        names.map_err(|error| refuse("spec.metrics", format!("must hold names that can be asked for: {error}")));
    let policy = convert::policy(&object.spec).map_err(|invalid| refuse(&invalid.field, invalid.problem));
    Some(Understood { policy: policy.ok()?, names: names.ok()?, object })
}

/// The findings of every query in the spec, whatever else is wrong with it.
pub(super) fn queries(object: &Value, scrape: Option<SignedDuration>) -> Vec<Said> {
    let interval = object.pointer("/spec/soak/interval").and_then(Value::as_str);
    let interval = interval.and_then(|text| duration::parse(text).ok()).unwrap_or(SOAK_INTERVAL);
    let scrape = scrape.unwrap_or_else(|| lint::assumed_scrape(interval));
    let mut all = Vec::new();
    texts(&object["spec"], "spec", &mut all);
    let of_own = all.into_iter().flat_map(|(field, promql)| lint::query(&field, promql, scrape));
    of_own.chain(burn_rates(object, scrape)).map(Said::from).collect()
}

/// The findings of every query of a burn rate, in each of its windows.
fn burn_rates(object: &Value, scrape: SignedDuration) -> Vec<Finding> {
    let checks = object.pointer("/spec/checks").and_then(Value::as_array);
    let specs = checks.into_iter().flatten().map(|check| BurnRateSpec::deserialize(&check["burnRate"]).ok());
    let of_spec = |(index, spec): (usize, BurnRateSpec)| {
        let of_query = |(field, text)| {
            let field = format!("spec.checks[{index}].burnRate.{field}");
            lint::query_in_windows(&field, text, &burn_rate_windows(&spec), windowed(&spec), scrape)
        };
        burn_rate_queries(&spec).flat_map(of_query).collect::<Vec<_>>()
    };
    specs.enumerate().filter_map(|(index, spec)| Some((index, spec?))).flat_map(of_spec).collect()
}

/// Every `promql` of the spec, with its field.
fn texts<'a>(value: &'a Value, path: &str, all: &mut Vec<(String, &'a str)>) {
    for (name, below) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        match below.as_str() {
            Some(text) if name == "promql" => all.push((path, text)),
            _ => texts(below, &path, all),
        }
    }
    for (index, below) in value.as_array().into_iter().flatten().enumerate() {
        texts(below, &format!("{path}[{index}]"), all);
    }
}

/// The limits that well-known histograms cannot show, unless their application chose other buckets.
fn limits(object: &Value) -> Vec<Said> {
    let metrics = object.pointer("/spec/metrics").map(MetricsSpec::deserialize).transpose();
    let Some(names) = metrics.ok().and_then(|metrics| metric_names(metrics.as_ref()).ok()) else { return Vec::new() };
    let checks = object.pointer("/spec/checks").and_then(Value::as_array);
    let of_check = |(index, check): (usize, &Value)| {
        let max = duration::parse(check.pointer("/latency/max")?.as_str()?).ok()?.as_secs_f64();
        lint::limit_by_convention(&format!("spec.checks[{index}].latency.max"), max, names.names())
    };
    checks.into_iter().flatten().enumerate().filter_map(of_check).map(Said::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(spec: &str) -> Vec<(String, &'static str)> {
        let spec = Value::deserialize(serde_yaml_ng::Deserializer::from_str(spec)).unwrap();
        let object = serde_json::json!({
            "apiVersion": "snapback.dev/v1alpha1", "kind": "RollbackPolicy", "metadata": {"name": "a"}, "spec": spec
        });
        let (found, understood) = look(&object, None, false);
        let is_sound = found.iter().all(|said| !said.code.starts_with("Invalid"));
        assert_eq!(understood.is_some(), is_sound, "{found:?}");
        found.into_iter().map(|said| (said.field, said.code)).collect()
    }

    fn one(checks: &str) -> (String, &'static str) {
        let found = of(&format!("targetRef: {{kind: Deployment, name: a}}\nchecks: [{checks}]"));
        let [found] = found.try_into().unwrap();
        found
    }

    #[test]
    fn what_the_operator_would_refuse_is_told_with_its_field() {
        let slow = "{name: slow, latency: {maxRatio: '0.5'}}";
        assert_eq!(one(slow), ("spec.checks[0].latency.maxRatio".to_owned(), "InvalidSpec"));
        let found = of("targetRef: {kind: Deployment, name: a}\nmetrics: {requests: {errorCodes: '5..)('}}");
        assert_eq!(found, [("spec.metrics".to_owned(), "InvalidSpec")]);
    }

    #[test]
    fn queries_are_looked_at_whatever_else_is_wrong() {
        let found = of("checks: [{name: own, query: {promql: sum(up), max: '1'}}]");
        assert_eq!(
            found,
            [("spec".to_owned(), "InvalidField"), ("spec.checks[0].query.promql".to_owned(), "NamespaceIgnored")]
        );
    }

    #[test]
    fn the_queries_of_a_burn_rate_are_looked_at_in_all_of_its_windows() {
        let slo = |fields: &str| {
            of(&format!(
                "targetRef: {{kind: Deployment, name: a}}\nchecks: [{{name: slo, burnRate: {{objective: 99.9%, {fields}}}}}]"
            ))
        };
        let of_namespace = "rate(a_total{namespace=\"{{ namespace }}\"}[{{ window }}])";
        let events = |errors: &str| slo(&format!("errors: '{errors}', total: '{of_namespace}'"));
        assert_eq!(events(of_namespace), []);
        let field = "spec.checks[0].burnRate.errors".to_owned();
        assert_eq!(events("rate(b_total[{{ window }}])"), [(field.clone(), "NamespaceIgnored")]);
        assert_eq!(events("rate(b_total[{{ window }}]"), [(field, "QueryInvalid")]);
        let recorded = "errorRatio: 'slo:sli_error:ratio_rate{{ window }}{sloth_id=\"shop-checkout\"}'";
        assert_eq!(slo(recorded), []);
        // A word that PromQL does not take as a range, though each of its parts is one.
        let odd = format!("errorRatio: 'sum({of_namespace})', windows: [{{short: 5m, long: 1m1h, factor: '2'}}]");
        assert_eq!(slo(&odd), [("spec.checks[0].burnRate.errorRatio".to_owned(), "QueryInvalid")]);
    }

    #[test]
    fn a_window_is_measured_by_the_soaks_interval_where_that_is_shorter_than_a_usual_scrape() {
        let of = |interval: &str| {
            of(&format!(
                "targetRef: {{kind: Deployment, name: a}}\nsoak: {{interval: {interval}}}\nchecks:\n- name: own\n  query:\n    \
                 promql: sum(rate(a_total{{pod=~\"{{{{ pods }}}}\"}}[10s]))\n    max: '1'"
            ))
        };
        assert_eq!(of("30s"), [("spec.checks[0].query.promql".to_owned(), "RateWindowTooShort")]);
        assert_eq!(of("2s"), []);
    }

    #[test]
    fn a_limit_over_the_usual_buckets_is_told_where_there_are_usual_ones() {
        let slow = "{name: slow, latency: {max: 30s}}";
        assert_eq!(one(slow), ("spec.checks[0].latency.max".to_owned(), "LatencyBucketMissing"));
        let found =
            of(&format!("targetRef: {{kind: Deployment, name: a}}\nmetrics: {{preset: Istio}}\nchecks: [{slow}]"));
        assert_eq!(found, []);
    }
}
