//! What a policy asks of a source that is confined to its namespace.

use std::sync::Arc;

use snapback_api::convert::InvalidSpec;
use snapback_core::policy::{Policy, Rule};
use snapback_core::sample::{Answer, Missing};
use snapback_prometheus::{CompiledNames, Front, Source, Values, confine, render};

use super::texts::own_queries;

/// Checks that a policy can see nothing but its own namespace, by this label.
///
/// # Errors
/// The first thing that may see more, by its field.
pub(crate) fn confined(
    policy: &Policy,
    names: &CompiledNames,
    label: &str,
    namespace: &str,
) -> Result<(), InvalidSpec> {
    let invalid = |field: &str, problem: String| Err(InvalidSpec { field: field.to_owned(), problem });
    by_names(names, label)?;
    // As long as any that are asked; of pods only the form matters.
    let values = Values { namespace, target: "sample", pods: r"(sample-7d9f)-[a-z0-9]{5}" };
    for (index, check) in policy.checks.iter().enumerate() {
        let part = if matches!(check.rule, Rule::Query { .. }) { "query.promql" } else { "burnRate" };
        for (_, text) in own_queries(check) {
            let told = match render(&text, &values) {
                Ok(query) => confine(&query, label, namespace).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(problem) = told {
                return invalid(&format!("spec.checks[{index}].{part}"), problem);
            }
        }
    }
    Ok(())
}

/// Checks that what the built-in checks ask for by these names is in the policy's own namespace.
fn by_names(names: &CompiledNames, label: &str) -> Result<(), InvalidSpec> {
    let invalid = |field: &str, problem: String| Err(InvalidSpec { field: field.to_owned(), problem });
    let names = names.names();
    if names.front == Some(Front::Traefik) {
        // `a-b-c` is Service `b-c` in namespace `a`, and Service `c` in namespace `a-b`.
        let problem = "must not be Traefik with this source, which is confined to the policy's own namespace: Traefik's \
                       names of services do not tell where the namespace ends";
        return invalid("spec.metrics.preset", problem.to_owned());
    }
    if names.front.is_none() && names.namespace_label != label {
        let problem =
            format!("must be {label:?} with this source, which is confined to the policy's own namespace by it");
        return invalid("spec.metrics.labels.namespace", problem);
    }
    Ok(())
}

/// The source, if it may be asked for these names. A record that a person wrote was checked by no policy.
pub(super) fn for_names(source: Arc<Source>, names: &CompiledNames) -> Answer<Arc<Source>> {
    match source.confined_by().map(|label| by_names(names, label)) {
        Some(Err(invalid)) => Err(Missing::BadQuery(invalid.to_string())),
        Some(Ok(())) | None => Ok(source),
    }
}

/// A query of a user as it is about to be asked, if it may be. What was checked when it was written held a sample of a
/// target's name: a real one may end a selector, outside of quotes.
pub(super) fn as_asked(query: String, source: &Source, namespace: &str) -> Answer<String> {
    match source.confined_by().map(|label| confine(&query, label, namespace)) {
        Some(Err(refused)) => Err(Missing::BadQuery(refused.to_string())),
        Some(Ok(())) | None => Ok(query),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use snapback_api::convert;

    use super::super::metric_names;
    use super::*;

    fn told(mut spec: Value) -> Result<(), String> {
        spec["targetRef"] = json!({"kind": "Deployment", "name": "web"});
        let spec = serde_json::from_value(spec).unwrap();
        let (policy, names) = (convert::policy(&spec).unwrap(), metric_names(spec.metrics.as_ref()).unwrap());
        confined(&policy, &names, "namespace", "shop").map_err(|invalid| invalid.to_string())
    }

    fn check(rule: &str, of: &Value) -> Value {
        let mut check = json!({"name": "own", rule: of});
        check["severity"] = json!("Warning");
        json!({"checks": [check]})
    }

    #[test]
    fn what_stays_in_its_namespace_is_let_through() {
        let own = r#"sum(rate(orders_total{namespace="{{ namespace }}",pod=~"{{ pods }}"}[1m]))"#;
        let burn = r#"rate(errors_total{namespace="shop"}[{{ window }}])"#;
        let share = format!("{burn} / {burn}");
        for spec in [
            json!({}),
            check("query", &json!({"promql": own, "max": "1"})),
            check("burnRate", &json!({"objective": "99%", "errorRatio": share})),
            json!({"metrics": {"preset": "Istio"}}),
            json!({"metrics": {"preset": "EnvoyGateway", "service": "checkout"}}),
        ] {
            assert_eq!(told(spec.clone()), Ok(()), "{spec}");
        }
    }

    #[test]
    fn what_may_see_another_is_refused_with_its_field() {
        let burn = r#"rate(errors_total{namespace="other"}[{{ window }}])"#;
        for (spec, field) in [
            (check("query", &json!({"promql": "sum(up)", "max": "1"})), "spec.checks[0].query.promql up may select"),
            (
                check("query", &json!({"promql": "up{namespace=\"{{ target }}\"}", "max": "1"})),
                "spec.checks[0].query.promql up may select",
            ),
            (
                check("burnRate", &json!({"objective": "99%", "errorRatio": burn})),
                "spec.checks[0].burnRate errors_total may",
            ),
            (
                json!({"metrics": {"labels": {"namespace": "job"}}}),
                "spec.metrics.labels.namespace must be \"namespace\"",
            ),
            (json!({"metrics": {"preset": "Traefik"}}), "spec.metrics.preset must not be Traefik"),
        ] {
            let said = told(spec.clone()).unwrap_err();
            assert!(said.starts_with(field), "{spec}: {said}");
        }
    }
}
