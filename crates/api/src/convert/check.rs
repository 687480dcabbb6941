//! One rule.

use snapback_core::number;
use snapback_core::policy::{Bound, Check, Quantile, Relative, Rule, Severity};

use super::{InvalidSpec, duration};
use crate::v1alpha1::{CheckSpec, LatencySpec, Of, QuantileName, QuerySpec, SeverityName};

pub(super) fn check(path: &str, spec: &CheckSpec) -> Result<Check, InvalidSpec> {
    let share = |field: &str, text: &str| {
        number::share(text).map_err(|error| InvalidSpec::new(format!("{path}.{field}"), error))
    };
    let rule = match (&spec.error_rate, &spec.latency, &spec.crash_rate, &spec.query) {
        (Some(rate), None, None, None) => Rule::ErrorRate { max: share("errorRate.max", &rate.max)? },
        (None, Some(spec), None, None) => latency(path, spec)?,
        (None, None, Some(rate), None) => Rule::CrashRate { max: share("crashRate.max", &rate.max)? },
        (None, None, None, Some(spec)) => query(path, spec)?,
        _ => return Err(InvalidSpec::new(path, "must set exactly one of errorRate, latency, crashRate or query")),
    };
    let severity = match spec.severity {
        None | Some(SeverityName::Critical) => Severity::Critical,
        Some(SeverityName::Warning) => Severity::Warning,
    };
    Ok(Check { name: spec.name.clone(), severity, rule })
}

fn latency(path: &str, spec: &LatencySpec) -> Result<Rule, InvalidSpec> {
    let max = spec.max.as_deref().map(|text| duration(&format!("{path}.latency.max"), text)).transpose()?;
    let ratio_field = format!("{path}.latency.maxRatio");
    let max_ratio = spec
        .max_ratio
        .as_deref()
        .map(|text| number::decimal(text).map_err(|error| InvalidSpec::new(&ratio_field, error)))
        .transpose()?;
    if max_ratio.is_some_and(|ratio| ratio <= 1.0) {
        return Err(InvalidSpec::new(ratio_field, "must be over 1: it multiplies the baseline"));
    }
    if max.is_none() && max_ratio.is_none() {
        return Err(InvalidSpec::new(format!("{path}.latency"), "must set max, maxRatio or both"));
    }
    let quantile = quantile(spec.quantile);
    Ok(Rule::Latency { quantile, max: max.map(|max| max.as_secs_f64()), max_ratio })
}

/// The quantile of a latency check.
pub(crate) fn quantile(name: Option<QuantileName>) -> Quantile {
    match name {
        Some(QuantileName::P50) => Quantile::P50,
        Some(QuantileName::P90) => Quantile::P90,
        None | Some(QuantileName::P95) => Quantile::P95,
        Some(QuantileName::P99) => Quantile::P99,
    }
}

fn query(path: &str, spec: &QuerySpec) -> Result<Rule, InvalidSpec> {
    let bound = |field: &str, text: Option<&String>| {
        let parsed = text.map(|text| match spec.of {
            Some(Of::Baseline) => number::of_baseline(text).map(|value| Bound { value, of: Relative::Baseline }),
            None => number::signed(text).map(|value| Bound { value, of: Relative::Absolute }),
        });
        parsed.transpose().map_err(|error| InvalidSpec::new(format!("{path}.query.{field}"), error))
    };
    let (min, max) = (bound("min", spec.min.as_ref())?, bound("max", spec.max.as_ref())?);
    if min.is_none() && max.is_none() {
        return Err(InvalidSpec::new(format!("{path}.query"), "must set min, max or both"));
    }
    Ok(Rule::Query { promql: spec.promql.clone(), min, max })
}
