//! The PromQL of a policy.

use snapback_api::convert::{InvalidSpec, burn_rate_queries, burn_rate_windows};
use snapback_api::v1alpha1::{BurnRateSpec, RollbackPolicySpec};
use snapback_core::checks::burn_rate_key;
use snapback_core::policy::{BurnWindows, Check, Rule};
use snapback_prometheus::{QueryTextError, Windowed, in_window, validate, validate_in_window};

/// Whether every query of a policy can be asked.
///
/// # Errors
/// The first that cannot, by its field.
pub fn validate_queries(spec: &RollbackPolicySpec) -> Result<(), InvalidSpec> {
    for (index, check) in spec.checks.iter().flatten().enumerate() {
        if let Some(query) = &check.query {
            validate(&query.promql).map_err(invalid(format!("spec.checks[{index}].query.promql")))?;
        }
        let Some(spec) = &check.burn_rate else { continue };
        for (field, text) in burn_rate_queries(spec) {
            for window in burn_rate_windows(spec) {
                let valid = validate_in_window(text, window, windowed(spec));
                valid.map_err(invalid(format!("spec.checks[{index}].burnRate.{field}")))?;
            }
        }
    }
    Ok(())
}

/// The queries of a check that its author wrote, by the keys of their answers (`Measured::queries`).
pub fn own_queries(check: &Check) -> Vec<(String, String)> {
    match &check.rule {
        Rule::Query { promql, .. } => vec![(check.name.clone(), promql.clone())],
        Rule::BurnRate { promql, windows, .. } => {
            let windows = windows.iter().flat_map(BurnWindows::both).map(|window| window.text.as_str());
            windows.map(|window| (burn_rate_key(&check.name, window), in_window(promql, window))).collect()
        }
        _ => Vec::new(),
    }
}

/// What the queries of a burn rate give.
pub fn windowed(spec: &BurnRateSpec) -> Windowed {
    if spec.error_ratio.is_some() { Windowed::Share } else { Windowed::Events }
}

fn invalid(field: String) -> impl FnOnce(QueryTextError) -> InvalidSpec {
    move |error| InvalidSpec { field, problem: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(check: serde_json::Value) -> String {
        let mut check = check;
        check["name"] = "a".into();
        let spec = serde_json::json!({"targetRef": {"kind": "Deployment", "name": "web"}, "checks": [check]});
        validate_queries(&serde_json::from_value(spec).unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_asked_is_told_with_its_field() {
        use serde_json::json;
        for (check, told) in [
            (
                json!({"query": {"promql": "sum(", "max": "1"}}),
                "spec.checks[0].query.promql at character 4: ( is never closed",
            ),
            (
                json!({"burnRate": {"objective": "99%", "errorRatio": "rate(a[5m])"}}),
                "spec.checks[0].burnRate.errorRatio nothing in it is {{ window }}",
            ),
            (
                json!({"burnRate": {"objective": "99%", "errors": "rate(a[{{ window }}])", "total": "time()+{{ window }}"}}),
                "spec.checks[0].burnRate.total the query returns a scalar",
            ),
            (
                json!({"burnRate": {"objective": "99%", "errors": "rate(a[{{ window }}])", "total": "rate(a[{{ window }}])",
                    "windows": [{"short": "5m", "long": "1m1h", "factor": "2"}]}}),
                "spec.checks[0].burnRate.errors at character",
            ),
        ] {
            let error = refused(check);
            assert!(error.starts_with(told), "{error}");
        }
    }
}
