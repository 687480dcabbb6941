//! Snapback's rule: the default policy, on the same counts.

use snapback_core::analysis::sequential::{self, Limits, Look, Plan, needed, regression, silence, together};
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

/// Bad requests that a breach of errors takes.
const LEAST_BAD: f64 = 5.0;

/// The look at whose end the default policy's checks are breached, alone or together.
pub(crate) fn judge(looks: &[Look], errors: &Plan, traffic: Option<&Plan>) -> Option<usize> {
    let traffic = traffic.map(|plan| silence(looks, LEAST_SHARE, plan));
    let errors = regression(looks, &ERRORS, errors);
    let weights = weights();
    (0..looks.len()).find(|look| {
        let quiet = 0.0;
        let bad: f64 = looks[errors.began[*look]..=*look].iter().flat_map(|look| &look.new).map(|one| one.bad).sum();
        let by_errors = if bad >= LEAST_BAD { errors.log_values[*look] } else { quiet };
        let by_traffic = traffic.as_ref().map_or(quiet, |traffic| traffic.log_values[*look]);
        together(&weights, &[by_errors, quiet, quiet, by_traffic]) >= needed(ALPHA)
    })
}
