//! Snapback's rule: the default policy, on the same counts.

use jiff::SignedDuration;
use snapback_core::analysis::sequential::{self, Limits, Look, Plan, needed, regression, silence, together};
use snapback_core::checks::weight;
use snapback_core::policy::{
    Analysis, Check, ConfigMode, Mode, OnInconclusive, OnNoData, Policy, Quantile, RollbackRules, Rule, Severity, Soak,
};

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

/// The default policy's checks.
const RULES: [(&str, Rule); 4] = [
    ("errors", Rule::ErrorRate { max: ERRORS.max, max_ratio: ERRORS.ratio, floor: ERRORS.floor }),
    ("latency", Rule::Latency { quantile: Quantile::P95, max: None, max_ratio: Some(2.0) }),
    ("crashes", Rule::CrashRate { max: 0.5 }),
    ("traffic", Rule::TrafficDrop { max: 1.0 - 1.0 / LEAST_SHARE }),
];

/// Their shares.
fn weights() -> [f64; 4] {
    let all: f64 = RULES.iter().map(|(_, rule)| weight(rule)).sum();
    RULES.map(|(_, rule)| weight(&rule) / all)
}

/// The default policy.
pub(crate) fn policy() -> Policy {
    let check = |(name, rule): (&str, Rule)| Check { name: name.to_owned(), severity: Severity::Critical, rule };
    Policy {
        gate: None,
        mode: Mode::Automatic,
        suspend: false,
        soak: Soak {
            duration: SignedDuration::from_mins(15),
            interval: SignedDuration::from_secs(30),
            longest: SignedDuration::from_mins(60),
            progress_deadline: SignedDuration::from_mins(10),
        },
        analysis: Analysis::Sequential { false_alarms: ALPHA },
        minimum_requests: 50,
        on_no_data: OnNoData::Hold,
        on_inconclusive: OnInconclusive::Accept,
        checks: RULES.map(check).to_vec(),
        controls: Vec::new(),
        in_front: false,
        rollback: RollbackRules {
            deadline: SignedDuration::from_mins(10),
            verify: SignedDuration::from_mins(2),
            config: ConfigMode::Warn,
            probes: Vec::new(),
            fast: false,
            cooldown: SignedDuration::ZERO,
            approval_timeout: SignedDuration::from_hours(1),
        },
        windows: Vec::new(),
    }
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

#[cfg(test)]
mod tests {
    #[test]
    fn the_default_policy_is_that_of_the_api() {
        let spec = serde_json::json!({"targetRef": {"kind": "Deployment", "name": "web"}});
        let spec = serde_json::from_value(spec).unwrap();
        assert_eq!(super::policy(), snapback_api::convert::policy(&spec).unwrap());
    }
}
