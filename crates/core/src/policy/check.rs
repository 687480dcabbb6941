//! One rule of a policy.

use jiff::SignedDuration;

/// A named rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// Unique within the policy.
    pub name: String,
    /// What its breach leads to.
    pub severity: Severity,
    /// What it compares.
    pub rule: Rule,
}

/// What a breach leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Asks a person.
    Warning,
    /// Decides a rollback.
    Critical,
}

/// What a check compares.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// Failed requests among all requests of the new pods. At least one limit is set.
    ErrorRate {
        /// Largest share that is still fine, 0 to 1.
        max: Option<f64>,
        /// Largest multiple of the baseline that is still fine.
        max_ratio: Option<f64>,
        /// Smallest share at which the multiple matters, 0 to 1.
        floor: f64,
    },
    /// A quantile of the request duration of the new pods. At least one limit is set.
    Latency {
        /// Which quantile.
        quantile: Quantile,
        /// Largest value that is still fine, in seconds.
        max: Option<f64>,
        /// Largest multiple of the baseline that is still fine.
        max_ratio: Option<f64>,
    },
    /// Failing pods among the new pods.
    CrashRate {
        /// Largest share that is still fine, 0 to 1.
        max: f64,
    },
    /// Requests that the new pods do not get, of those that are due to them.
    TrafficDrop {
        /// Largest share that may be missing, 0 to 1.
        max: f64,
    },
    /// What the new pods use of their own limits.
    Saturation {
        /// The largest part of its limit that a pod may use, 0 to 1, by resource. At least one.
        max: Vec<(Resource, f64)>,
    },
    /// How fast an error budget is used up.
    BurnRate {
        /// The share of errors that the objective allows, over 0 and under 1.
        budget: f64,
        /// PromQL of the share of errors, with the placeholder `{{ window }}`.
        promql: String,
        /// Pairs of windows, each with its limit; at least one.
        windows: Vec<BurnWindows>,
    },
    /// The user's own query. At least one bound is set.
    Query {
        /// The query as the user wrote it, placeholders unresolved.
        promql: String,
        /// Smallest value that is still fine.
        min: Option<Bound>,
        /// Largest value that is still fine.
        max: Option<Bound>,
        /// Smallest value at which what is relative to the baseline matters.
        floor: Option<f64>,
    },
}

impl Rule {
    /// A share of failed requests that must not be exceeded, and nothing else.
    pub fn error_rate(max: f64) -> Self {
        Self::ErrorRate { max: Some(max), max_ratio: None, floor: 0.0 }
    }

    /// The words of the user's manifest.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ErrorRate { .. } => "errorRate",
            Self::Latency { .. } => "latency",
            Self::CrashRate { .. } => "crashRate",
            Self::TrafficDrop { .. } => "trafficDrop",
            Self::Saturation { .. } => "saturation",
            Self::BurnRate { .. } => "burnRate",
            Self::Query { .. } => "query",
        }
    }
}

/// What a pod has a limit of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Memory that the kernel cannot take back (the working set), of the memory limit.
    Memory,
    /// CPU time, of the CPU limit.
    Cpu,
    /// Scheduling periods in which a container with a CPU limit was held back, of all.
    Throttling,
}

impl Resource {
    /// The word of the user's manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Throttling => "throttling",
        }
    }
}

/// A short and a long window, and how fast a budget may burn over both.
#[derive(Debug, Clone, PartialEq)]
pub struct BurnWindows {
    /// That it goes on.
    pub short: BurnWindow,
    /// That it matters.
    pub long: BurnWindow,
    /// Times the rate that just spends the budget; at least 1.
    pub factor: f64,
}

/// A window that rates are taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BurnWindow {
    /// As its author wrote it: names of recorded metrics hold it.
    pub text: String,
    /// How long it is; over zero.
    pub length: SignedDuration,
}

impl BurnWindows {
    /// Both windows, the short one first.
    pub fn both(&self) -> [&BurnWindow; 2] {
        [&self.short, &self.long]
    }
}

/// A quantile that histograms are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantile {
    /// The median.
    P50,
    /// 90 % of requests are faster.
    P90,
    /// 95 % of requests are faster.
    P95,
    /// 99 % of requests are faster.
    P99,
}

impl Quantile {
    /// The quantile as a share, 0 to 1.
    pub fn share(self) -> f64 {
        match self {
            Self::P50 => 0.5,
            Self::P90 => 0.9,
            Self::P95 => 0.95,
            Self::P99 => 0.99,
        }
    }

    /// As people say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P95 => "p95",
            Self::P99 => "p99",
        }
    }
}

/// A bound of a user's own query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// The number.
    pub value: f64,
    /// What it multiplies.
    pub of: Relative,
}

/// What a bound is relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relative {
    /// Nothing: the bound is the limit itself.
    Absolute,
    /// The same query before the rollout: the limit is the bound times that value.
    Baseline,
}

#[cfg(test)]
mod tests {
    use super::{Quantile, Rule};

    #[test]
    fn a_check_is_called_as_its_manifest_calls_it() {
        let latency = Rule::Latency { quantile: Quantile::P95, max: Some(0.3), max_ratio: None };
        let kinds = [Rule::error_rate(0.05), latency, Rule::CrashRate { max: 0.5 }, Rule::TrafficDrop { max: 0.5 }];
        assert_eq!(kinds.map(|rule| rule.kind()), ["errorRate", "latency", "crashRate", "trafficDrop"]);
        let quantiles = [Quantile::P50, Quantile::P90, Quantile::P95, Quantile::P99];
        assert_eq!(quantiles.map(Quantile::name), ["p50", "p90", "p95", "p99"]);
    }
}
