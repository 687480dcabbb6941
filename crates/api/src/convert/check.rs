//! One rule.

use jiff::SignedDuration;
use snapback_core::number;
use snapback_core::policy::{Bound, Check, Quantile, Relative, Resource, Rule, Severity};

use super::burn_rate::burn_rate;
use super::{InvalidSpec, duration};
use crate::v1alpha1::{
    CheckSpec, ErrorRateSpec, LatencySpec, Of, QuantileName, QuerySpec, SaturationSpec, SeverityName, TrafficDropSpec,
};

/// The check at `path`, of a policy whose soak is so long.
pub(super) fn check(path: &str, spec: &CheckSpec, soak: SignedDuration) -> Result<Check, InvalidSpec> {
    let rules = [
        spec.error_rate.as_ref().map(|spec| error_rate(path, spec)),
        spec.latency.as_ref().map(|spec| latency(path, spec)),
        spec.crash_rate.as_ref().map(|spec| Ok(Rule::CrashRate { max: part(path, "crashRate.max", &spec.max)? })),
        spec.traffic_drop.as_ref().map(|spec| traffic_drop(path, spec)),
        spec.saturation.as_ref().map(|spec| saturation(path, spec)),
        spec.burn_rate.as_ref().map(|spec| burn_rate(path, spec, soak)),
        spec.query.as_ref().map(|spec| query(path, spec)),
    ];
    let mut given = rules.into_iter().flatten();
    let (Some(rule), None) = (given.next(), given.next()) else {
        let problem =
            "must set exactly one of errorRate, latency, crashRate, trafficDrop, saturation, burnRate or query";
        return Err(InvalidSpec::new(path, problem));
    };
    let rule = rule?;
    let severity = match spec.severity {
        Some(SeverityName::Critical) => Severity::Critical,
        Some(SeverityName::Warning) => Severity::Warning,
        None => default_severity(&rule),
    };
    Ok(Check { name: spec.name.clone(), severity, rule })
}

/// Full is not yet broken: users do not suffer from it as such, and what they do suffer (slow answers, kills for memory)
/// has checks of its own. And whose budget burns, suffers, but nothing says by whom: a dependency that fails just after a
/// rollout looks the same.
fn default_severity(rule: &Rule) -> Severity {
    match rule {
        Rule::Saturation { .. } | Rule::BurnRate { .. } => Severity::Warning,
        _ => Severity::Critical,
    }
}

pub(super) fn share(path: &str, field: &str, text: &str) -> Result<f64, InvalidSpec> {
    number::share(text).map_err(|error| InvalidSpec::new(format!("{path}.{field}"), error))
}

/// The smallest error rate at which a multiple of the baseline matters, unless the policy has its own.
pub(super) const FLOOR: f64 = 0.005;

/// A share that can be exceeded.
fn part(path: &str, field: &str, text: &str) -> Result<f64, InvalidSpec> {
    let part = share(path, field, text)?;
    if part >= 1.0 {
        let problem = "must be under \"100%\": nothing can be over all of it; for one percent write \"1%\"";
        return Err(InvalidSpec::new(format!("{path}.{field}"), problem));
    }
    Ok(part)
}

fn error_rate(path: &str, spec: &ErrorRateSpec) -> Result<Rule, InvalidSpec> {
    let max = spec.max.as_deref().map(|text| part(path, "errorRate.max", text)).transpose()?;
    let max_ratio = ratio(&format!("{path}.errorRate.maxRatio"), spec.max_ratio.as_deref())?;
    if max.is_none() && max_ratio.is_none() {
        return Err(InvalidSpec::new(format!("{path}.errorRate"), "must set max, maxRatio or both"));
    }
    if spec.floor.is_some() && max_ratio.is_none() {
        return Err(InvalidSpec::new(format!("{path}.errorRate"), "must set floor only with maxRatio"));
    }
    let floor = spec.floor.as_deref().map(|text| share(path, "errorRate.floor", text)).transpose()?.unwrap_or(FLOOR);
    Ok(Rule::ErrorRate { max, max_ratio, floor: if max_ratio.is_some() { floor } else { 0.0 } })
}

fn ratio(field: &str, text: Option<&str>) -> Result<Option<f64>, InvalidSpec> {
    let ratio = text.map(|text| number::decimal(text).map_err(|error| InvalidSpec::new(field, error))).transpose()?;
    if ratio.is_some_and(|ratio| ratio <= 1.0) {
        return Err(InvalidSpec::new(field, "must be over 1: it multiplies the baseline"));
    }
    Ok(ratio)
}

fn traffic_drop(path: &str, spec: &TrafficDropSpec) -> Result<Rule, InvalidSpec> {
    let max = share(path, "trafficDrop.max", &spec.max)?;
    if max >= 1.0 {
        let field = format!("{path}.trafficDrop.max");
        return Err(InvalidSpec::new(field, "must be under \"100%\": nothing can be missing more than all"));
    }
    Ok(Rule::TrafficDrop { max })
}

fn saturation(path: &str, spec: &SaturationSpec) -> Result<Rule, InvalidSpec> {
    let given =
        [(Resource::Memory, &spec.memory), (Resource::Cpu, &spec.cpu), (Resource::Throttling, &spec.throttling)];
    let mut max = Vec::new();
    for (resource, limit) in given {
        let Some(limit) = limit else { continue };
        let field = format!("saturation.{}.max", resource.name());
        max.push((resource, part(path, &field, &limit.max)?));
    }
    if max.is_empty() {
        return Err(InvalidSpec::new(
            format!("{path}.saturation"),
            "must set at least one of memory, cpu and throttling",
        ));
    }
    Ok(Rule::Saturation { max })
}

fn latency(path: &str, spec: &LatencySpec) -> Result<Rule, InvalidSpec> {
    let max = spec.max.as_deref().map(|text| duration(&format!("{path}.latency.max"), text)).transpose()?;
    let max_ratio = ratio(&format!("{path}.latency.maxRatio"), spec.max_ratio.as_deref())?;
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

/// Above this a multiple of the baseline is meant as a percentage.
const MOST_TIMES: f64 = 20.0;

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
    if spec.of.is_some() && min.is_some_and(|bound| bound.value > 1.0) {
        let problem =
            "must be at most \"100%\" with of: Baseline (or 1 as a fraction): with more, every release is bad";
        return Err(InvalidSpec::new(format!("{path}.query.min"), problem));
    }
    let is_times = spec.max.as_deref().is_some_and(|text| !text.ends_with('%'));
    if spec.of.is_some() && is_times && max.is_some_and(|bound| bound.value > MOST_TIMES) {
        let problem =
            "must be at most 20 times the baseline with of: Baseline: for a percentage write its sign, \"150%\"";
        return Err(InvalidSpec::new(format!("{path}.query.max"), problem));
    }
    let floor = spec.floor.as_deref().map(number::decimal).transpose();
    let floor = floor.map_err(|error| InvalidSpec::new(format!("{path}.query.floor"), error))?;
    if floor.is_some() && spec.of.is_none() {
        return Err(InvalidSpec::new(format!("{path}.query"), "must set floor only with of: Baseline"));
    }
    Ok(Rule::Query { promql: spec.promql.clone(), min, max, floor })
}
