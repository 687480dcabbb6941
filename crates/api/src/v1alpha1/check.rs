//! The rules of a policy.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One rule. Exactly one of `errorRate`, `latency`, `crashRate`, `trafficDrop`, `saturation`, `burnRate` and `query` says
/// what it looks at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "(has(self.errorRate) ? 1 : 0) + (has(self.latency) ? 1 : 0) + (has(self.crashRate) ? 1 : 0) + (has(self.trafficDrop) ? 1 : 0) + (has(self.saturation) ? 1 : 0) + (has(self.burnRate) ? 1 : 0) + (has(self.query) ? 1 : 0) == 1",
    "must set exactly one of errorRate, latency, crashRate, trafficDrop, saturation, burnRate or query (these are the known types of checks)"
))]
pub struct CheckSpec {
    /// Name of the check, unique in the policy; it appears in status, events and records.
    #[schemars(length(min = 1, max = 63), extend("pattern" = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// What a breach leads to: Critical decides a rollback, Warning asks a person. Default: Critical; of saturation
    /// and burnRate: Warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<SeverityName>,
    /// Failed requests among all requests of the new pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_rate: Option<ErrorRateSpec>,
    /// A quantile of the request duration of the new pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencySpec>,
    /// Failing pods among the new pods. Needs no metrics source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash_rate: Option<CrashRateSpec>,
    /// Requests that the new pods do not get, though their share is due to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_drop: Option<TrafficDropSpec>,
    /// What most of the new pods use of their own limits, while the old pods do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saturation: Option<SaturationSpec>,
    /// How fast the error budget of an SLO burns, by a short and a long window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burn_rate: Option<BurnRateSpec>,
    /// A query of your own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<QuerySpec>,
}

/// What a breach leads to: Critical decides a rollback, Warning asks a person. Default: Critical; of saturation and
/// burnRate: Warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SeverityName {
    /// Decides a rollback.
    Critical,
    /// Asks a person.
    Warning,
}

/// Failed requests among all requests of the new pods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.max) || has(self.maxRatio)", "must set max, maxRatio or both"))]
#[x_kube(validation = ("!has(self.floor) || has(self.maxRatio)", "must set floor only with maxRatio"))]
pub struct ErrorRateSpec {
    /// Largest share that is still fine, as a percentage ("5%") or a fraction ("0.05").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = ("self.matches('^[0-9]+([.][0-9]+)?%?$')", "must be a percentage such as \"5%\" or a fraction such as \"0.05\""))]
    #[x_kube(validation = ("!self.matches('^[0-9]+([.][0-9]+)?%?$') || (self.endsWith('%') ? double(self.substring(0, size(self) - 1)) < 100.0 : double(self) < 1.0)", "must be under \"100%\": nothing can be over all of it; for one percent write \"1%\""))]
    pub max: Option<String>,
    /// Largest multiple of the baseline that is still fine, such as "2". The baseline is the old revision's pods while
    /// they run, else the time before the rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = ("self.matches('^[0-9]+([.][0-9]+)?$')", "must be a number such as \"2\" or \"1.5\""))]
    pub max_ratio: Option<String>,
    /// Smallest share at which maxRatio matters: twice as many of next to nothing is still next to nothing. Default:
    /// "0.5%".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = ("self.matches('^[0-9]+([.][0-9]+)?%?$')", "must be a percentage such as \"5%\" or a fraction such as \"0.05\""))]
    #[x_kube(validation = ("!self.matches('^[0-9]+([.][0-9]+)?%?$') || (self.endsWith('%') ? double(self.substring(0, size(self) - 1)) <= 100.0 : double(self) <= 1.0)", "must be at most \"100%\", or 1 as a fraction"))]
    pub floor: Option<String>,
}

/// Requests that ready new pods do not get, though their share is due to them. Judged while old pods serve beside them, if
/// these shared the traffic evenly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct TrafficDropSpec {
    /// Largest part of what is due to the new pods that may be missing, as a percentage ("75%") or a fraction ("0.75").
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = ("self.matches('^[0-9]+([.][0-9]+)?%?$')", "must be a percentage such as \"5%\" or a fraction such as \"0.05\""))]
    #[x_kube(validation = ("!self.matches('^[0-9]+([.][0-9]+)?%?$') || (self.endsWith('%') ? double(self.substring(0, size(self) - 1)) <= 100.0 : double(self) <= 1.0)", "must be at most \"100%\", or 1 as a fraction"))]
    #[x_kube(validation = ("!self.matches('^[0-9]+([.][0-9]+)?%?$') || (self.endsWith('%') ? double(self.substring(0, size(self) - 1)) < 100.0 : double(self) < 1.0)", "must be under \"100%\": nothing can be missing more than all"))]
    pub max: String,
}

/// A quantile of the request duration of the new pods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.max) || has(self.maxRatio)", "must set max, maxRatio or both"))]
pub struct LatencySpec {
    /// Which quantile. Default: P95.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantile: Option<QuantileName>,
    /// Largest duration that is still fine, such as "500ms".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = ("self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$')", "must be a duration such as 30s, 15m or 1h30m (a day is 24h)"))]
    pub max: Option<String>,
    /// Largest multiple of the baseline that is still fine, such as "2". The baseline is the old revision's pods while
    /// they run, else the time before the rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = ("self.matches('^[0-9]+([.][0-9]+)?$')", "must be a number such as \"2\" or \"1.5\""))]
    pub max_ratio: Option<String>,
}

/// Which quantile of the request duration. Default: P95.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum QuantileName {
    /// The median.
    P50,
    /// 90 % of requests are faster.
    P90,
    /// 95 % of requests are faster.
    P95,
    /// 99 % of requests are faster.
    P99,
}

/// Failing pods among the new pods: crash loops, image pull failures, config errors, OOM kills.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct CrashRateSpec {
    /// Largest share that is still fine, as a percentage ("50%") or a fraction ("0.5").
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = ("self.matches('^[0-9]+([.][0-9]+)?%?$')", "must be a percentage such as \"5%\" or a fraction such as \"0.05\""))]
    #[x_kube(validation = ("!self.matches('^[0-9]+([.][0-9]+)?%?$') || (self.endsWith('%') ? double(self.substring(0, size(self) - 1)) < 100.0 : double(self) < 1.0)", "must be under \"100%\": nothing can be over all of it; for one percent write \"1%\""))]
    pub max: String,
}

/// What most of the new pods use of their own limits, while the old pods do not. From the kubelet's counters
/// (container_memory_working_set_bytes, container_cpu_usage_seconds_total, container_cpu_cfs_throttled_periods_total) and
/// the pods' resources.limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "has(self.memory) || has(self.cpu) || has(self.throttling)",
    "must set at least one of memory, cpu and throttling"
))]
pub struct SaturationSpec {
    /// Memory that cannot be taken back, of the memory limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<SaturationLimit>,
    /// CPU, of the CPU limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<SaturationLimit>,
    /// Time in which a container was throttled for its CPU limit, of all time that it wanted to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttling: Option<SaturationLimit>,
}

/// A part of a limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct SaturationLimit {
    /// Largest part that is still fine, as a percentage ("90%") or a fraction ("0.9").
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = ("self.matches('^[0-9]+([.][0-9]+)?%?$')", "must be a percentage such as \"90%\" or a fraction such as \"0.9\""))]
    #[x_kube(validation = ("!self.matches('^[0-9]+([.][0-9]+)?%?$') || (self.endsWith('%') ? double(self.substring(0, size(self) - 1)) < 100.0 : double(self) < 1.0)", "must be under \"100%\": nothing can be over all of it"))]
    pub max: String,
}

/// How fast the error budget of an SLO burns, by a short and a long window. An SLO is the whole service's: what burned before
/// the rollout is not the release's, and what begins to burn with it may be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "has(self.errorRatio) ? !has(self.errors) && !has(self.total) : has(self.errors) && has(self.total)",
    "must set either errors and total, or errorRatio"
))]
pub struct BurnRateSpec {
    /// The share of requests that must be good, such as "99.9%". The rest is the budget.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = ("self.matches('^[0-9]+([.][0-9]+)?%?$')", "must be a percentage such as \"99.9%\" or a fraction such as \"0.999\""))]
    #[x_kube(validation = ("!self.matches('^[0-9]+([.][0-9]+)?%?$') || (self.endsWith('%') ? double(self.substring(0, size(self) - 1)) < 100.0 : double(self) < 1.0)", "must be under \"100%\": an objective without a budget cannot be kept; a percentage needs its sign"))]
    pub objective: String,
    /// PromQL of the bad requests (or other events), with {{ window }} where a window belongs, as in
    /// sum(rate(http_requests_total{code=~"5.."}[{{ window }}])). No series means none. `{{ namespace }}` and
    /// `{{ target }}` are known, too; `{{ pods }}` is not: pods that have just started have no long window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    #[x_kube(validation = ("self.matches('[{][{] *window *[}][}]')", "must hold {{ window }}, as in rate(...[{{ window }}]): it is asked for several windows"))]
    pub errors: Option<String>,
    /// PromQL of all of them, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    #[x_kube(validation = ("self.matches('[{][{] *window *[}][}]')", "must hold {{ window }}, as in rate(...[{{ window }}]): it is asked for several windows"))]
    pub total: Option<String>,
    /// PromQL of the share of bad ones, 0 to 1, likewise: for recording rules such as Sloth's
    /// slo:sli_error:ratio_rate{{ window }}{sloth_id="..."}.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    #[x_kube(validation = ("self.matches('[{][{] *window *[}][}]')", "must hold {{ window }}, as in rate(...[{{ window }}]): it is asked for several windows"))]
    pub error_ratio: Option<String>,
    /// Breached when the budget burns faster than the factor over both windows of a pair. Default: 14.4 over 5m and 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4))]
    pub windows: Option<Vec<BurnWindowsSpec>>,
}

/// A short and a long window, and how fast the budget may burn over both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "!self.short.matches('^([0-9]{1,5}(h|m|s)){1,3}$') || !self.long.matches('^([0-9]{1,5}(h|m|s)){1,3}$') || duration(self.short) < duration(self.long)",
    "must have a short window that is shorter than the long one"
))]
pub struct BurnWindowsSpec {
    /// Says that it goes on, such as "5m". At most soak.duration.
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = ("self.matches('^([0-9]{1,5}(h|m|s)){1,3}$')", "must be a duration such as 30s, 15m or 1h30m (a day is 24h)"))]
    pub short: String,
    /// Says that it matters, such as "1h"; usually twelve times the short one.
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = ("self.matches('^([0-9]{1,5}(h|m|s)){1,3}$')", "must be a duration such as 30s, 15m or 1h30m (a day is 24h)"))]
    pub long: String,
    /// Times the rate that would spend the budget exactly in the objective's time, such as "14.4".
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = ("self.matches('^[0-9]+([.][0-9]+)?$')", "must be a number such as \"2\" or \"1.5\""))]
    pub factor: String,
}

/// A query of your own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.min) || has(self.max)", "must set min, max or both"))]
#[x_kube(validation = ("!has(self.floor) || has(self.of)", "must set floor only with of: Baseline"))]
#[x_kube(validation = ("!has(self.of) || !has(self.min) || !self.min.matches('^[0-9]+([.][0-9]+)?%?$') || (self.min.endsWith('%') ? double(self.min.substring(0, size(self.min) - 1)) <= 100.0 : double(self.min) <= 1.0)", "must have a min of at most \"100%\" with of: Baseline (or 1 as a fraction): with more, every release is bad"))]
#[x_kube(validation = ("!has(self.of) || !has(self.max) || !self.max.matches('^[0-9]+([.][0-9]+)?$') || double(self.max) <= 20.0", "must have a max of at most 20 times the baseline with of: Baseline: for a percentage write its sign, \"150%\""))]
pub struct QuerySpec {
    /// PromQL that gives one number. `{{ namespace }}` and `{{ target }}` are replaced by the target's, `{{ pods }}` by
    /// a pattern of the new revision's pods for use in pod=~"{{ pods }}".
    #[schemars(length(min = 1, max = 4096))]
    pub promql: String,
    /// Smallest value that is still fine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 17))]
    #[x_kube(validation = ("self.matches('^-?[0-9]+([.][0-9]+)?%?$')", "must be a number such as \"10\" or \"-1.5\", or with of: Baseline a percentage such as \"80%\""))]
    pub min: Option<String>,
    /// Largest value that is still fine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 17))]
    #[x_kube(validation = ("self.matches('^-?[0-9]+([.][0-9]+)?%?$')", "must be a number such as \"10\" or \"-1.5\", or with of: Baseline a percentage such as \"80%\""))]
    pub max: Option<String>,
    /// What min and max are relative to. Absent: they are the limits themselves. Baseline: they are shares ("80%") of
    /// the query's value before the rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Of>,
    /// With of: Baseline, the smallest value at which a share matters: max is at least this, and a baseline under it is
    /// compared with no min. Twice as many of next to nothing is still next to nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = ("self.matches('^[0-9]+([.][0-9]+)?$')", "must be a number such as \"2\" or \"1.5\""))]
    pub floor: Option<String>,
}

/// What min and max are relative to. Absent: they are the limits themselves. Baseline: they are shares ("80%") of the
/// query's value before the rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Of {
    /// The same query before the rollout.
    Baseline,
}
