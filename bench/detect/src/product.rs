//! Snapback's rule: the default policy, on the same counts.

use snapback_core::analysis::sequential::{self, Evidence, Limits, Look, Plan, needed, regression, silence, together};
use snapback_core::checks::weight;
use snapback_core::policy::{Quantile, Rule};

/// What the default policy says of errors.
pub(crate) const ERRORS: Limits = Limits { max: Some(0.05), ratio: Some(2.0), floor: 0.005 };

/// The least part of its share of the traffic that a new pod must get: 1 in 4.
pub(crate) const LEAST_SHARE: f64 = 4.0;

/// The rate of false alarms per rollout that the default policy asks for.
pub(crate) const ALPHA: f64 = 0.001;

/// How much less the pods without any one of them must show.
pub(crate) fn spare() -> f64 {
    sequential::spare(ALPHA)
}

/// The shares of the default policy's checks: errors, latency, crashes, traffic.
fn weights() -> [f64; 4] {
    let rules = [
        Rule::ErrorRate { max: ERRORS.max, max_ratio: ERRORS.ratio, floor: ERRORS.floor },
        Rule::Latency { quantile: Quantile::P95, max: None, max_ratio: Some(2.0) },
        Rule::CrashRate { max: 0.5 },
        Rule::TrafficDrop { max: 1.0 - 1.0 / LEAST_SHARE },
    ];
    let all: f64 = rules.iter().map(weight).sum();
    rules.map(|rule| weight(&rule) / all)
}

/// The look at whose end the default policy's checks are breached, alone or together.
pub(crate) fn acts(errors: &Evidence, traffic: Option<&Evidence>) -> Option<usize> {
    let weights = weights();
    (0..errors.log_values.len()).find(|look| {
        let quiet = 0.0;
        let traffic = traffic.map_or(quiet, |traffic| traffic.log_values[*look]);
        together(&weights, &[errors.log_values[*look], quiet, quiet, traffic]) >= needed(ALPHA)
    })
}

/// Evidence of errors and of silence.
pub(crate) fn judge(looks: &[Look], errors: &Plan, traffic: Option<&Plan>) -> Option<usize> {
    let traffic = traffic.map(|plan| silence(looks, LEAST_SHARE, plan));
    acts(&regression(looks, &ERRORS, errors), traffic.as_ref())
}
