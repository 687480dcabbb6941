//! Measuring the good revision by the limits that the bad one broke, and by what its pods answer.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use snapback_api::v1alpha1::{LimitSpec, QuantileName, Rollback};
use snapback_core::checks::{CheckResult, Measured};
use snapback_core::number;
use snapback_core::policy::{Bound, Quantile, Relative, Rule};
use snapback_core::rollback::{Limit, Order, Verification, asked, judge_answers, verify};
use snapback_core::workload::Workload;

use crate::context::Context;
use crate::policy::{all_pods, sets};
use crate::sampler::{Wanted, WatchKey, metric_names};

/// Looks before the good revision was rolled out that are asked for.
const BEFORE: u32 = 10;

/// What the checks say of the good revision since it was rolled out, and what its pods answer now.
pub(super) async fn measure(
    ctx: &Context,
    rollback: &Rollback,
    order: &Order,
    workload: &Workload,
    since: Timestamp,
    now: Timestamp,
) -> (Verification, Vec<CheckResult>) {
    let limits = by_limits(ctx, rollback, order, workload, since, now);
    if order.probes.is_empty() {
        return limits.await;
    }
    let pods = asked(workload, &order.to.fingerprint);
    let ((verification, checks), answers) = tokio::join!(limits, ctx.prober.ask(pods, &order.probes));
    (verification.and(judge_answers(&answers)), checks)
}

async fn by_limits(
    ctx: &Context,
    rollback: &Rollback,
    order: &Order,
    workload: &Workload,
    since: Timestamp,
    now: Timestamp,
) -> (Verification, Vec<CheckResult>) {
    let spec = &*rollback.verify();
    let limits: Vec<Limit> = spec.limits.iter().filter_map(limit).collect();
    if limits.len() < spec.limits.len() {
        return (Verification::Unknown("a limit of the record cannot be read".to_owned()), Vec::new());
    }
    let names = match metric_names(spec.metrics.as_ref()) {
        Ok(names) => names,
        Err(error) => return (Verification::Unknown(error.to_string()), Vec::new()),
    };
    let (new_sets, old_sets) = sets(workload, Some(&order.to));
    let queries = limits.iter().filter_map(|limit| match &limit.rule {
        Rule::Query { promql, .. } => Some((limit.name.clone(), promql.clone())),
        _ => None,
    });
    let wanted = Wanted {
        key: WatchKey {
            watcher: rollback.uid().unwrap_or_default(),
            revision: format!("{}/{}", order.uid, order.to.fingerprint),
            since,
        },
        namespace: rollback.namespace().unwrap_or_default(),
        target: rollback.spec.target.name.clone(),
        source: spec.metrics.as_ref().and_then(|metrics| metrics.source.clone()),
        names,
        all_pods: all_pods(workload, &rollback.spec.target.name),
        new_sets,
        old_sets,
        since,
        interval: snapback_core::duration::parse(&spec.interval).unwrap_or(SignedDuration::from_secs(30)),
        before: BEFORE,
        past: false,
        requests: limits.iter().any(|limit| matches!(limit.rule, Rule::ErrorRate { .. })),
        latencies: limits.iter().any(|limit| matches!(limit.rule, Rule::Latency { .. })),
        queries: queries.collect(),
    };
    let samples = ctx.sampler.sample(&wanted, now).await;
    verify(
        &limits,
        &Measured {
            revision: &order.to.fingerprint,
            known_good: None,
            since,
            completed: Some(since),
            workload,
            requests: &samples.requests,
            latencies: &samples.latencies,
            past: None,
            looks: BEFORE,
            queries: &samples.queries,
            minimum_requests: u64::try_from(spec.minimum_requests).unwrap_or(1),
        },
    )
}

fn limit(spec: &LimitSpec) -> Option<Limit> {
    let read = |text: &Option<String>| text.as_deref().and_then(number::recorded);
    let (min, max) = (read(&spec.min), read(&spec.max));
    let bound = |value: f64| Bound { value, of: Relative::Absolute };
    let rule = match spec.kind.as_str() {
        "errorRate" => Rule::error_rate(max?),
        "latency" => Rule::Latency { quantile: quantile(spec.quantile), max: Some(max?), max_ratio: None },
        "query" => Rule::Query { promql: spec.promql.clone()?, min: min.map(bound), max: max.map(bound), floor: None },
        _ => return None,
    };
    Some(Limit { name: spec.name.clone(), rule })
}

fn quantile(name: Option<QuantileName>) -> Quantile {
    match name {
        Some(QuantileName::P50) => Quantile::P50,
        Some(QuantileName::P90) => Quantile::P90,
        None | Some(QuantileName::P95) => Quantile::P95,
        Some(QuantileName::P99) => Quantile::P99,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_was_a_multiple_of_a_measured_baseline_is_read_back_as_it_was() {
        for value in [0.05, 2.0 * (3.0 / 7.0) / 100.0, 1e-9 / 3.0] {
            let spec = LimitSpec {
                name: "errors".into(),
                kind: "errorRate".into(),
                quantile: None,
                promql: None,
                min: None,
                max: Some(number::record(value)),
            };
            let read = limit(&spec).map(|limit| limit.rule);
            assert_eq!(read, Some(Rule::error_rate(value)), "{:?}", spec.max);
        }
    }
}
