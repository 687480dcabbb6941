//! `RollbackPolicy`: which workloads are watched, and by what rules.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::CheckSpec;
use super::jobs::HelmSpec;
use super::metrics::MetricsSpec;
use super::policy_status::RollbackPolicyStatus;
use super::probe::HttpProbeSpec;
use super::windows::WindowSpec;

/// Watches every rollout of the chosen workloads, and puts the last known good revision back when the new one is bad.
/// Only a target is required: the defaults are an error rate over 5 %, or over twice that of the old pods (and 0.5 %), a
/// p95 over twice what it was, more than half of the new pods crashing, or ready new pods with less than a quarter of their
/// share of the traffic; looked at every 30 s until 15 min after the rollout completed, or up to an hour while undecided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "snapback.dev",
    version = "v1alpha1",
    kind = "RollbackPolicy",
    plural = "rollbackpolicies",
    shortname = "rbp",
    category = "snapback",
    namespaced,
    status = "RollbackPolicyStatus",
    derive = "PartialEq",
    doc = "Watches the rollouts of workloads and rolls bad ones back.",
    selectable = ".spec.targetRef.kind",
    selectable = ".spec.targetRef.name",
    selectable = ".spec.mode",
    selectable = ".status.summary.phase",
    printcolumn(json_path = ".status.summary.target", name = "Target", type_ = "string"),
    printcolumn(json_path = ".status.summary.phase", name = "Phase", type_ = "string"),
    printcolumn(json_path = ".status.summary.why", name = "Why", type_ = "string"),
    printcolumn(json_path = ".status.summary.knownGood", name = "Known good", type_ = "string"),
    printcolumn(json_path = ".status.conditions[?(@.type==\"Ready\")].status", name = "Ready", type_ = "string"),
    printcolumn(json_path = ".spec.mode", name = "Mode", type_ = "string", priority = 1),
    printcolumn(json_path = ".status.summary.message", name = "Message", type_ = "string", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.expectedRevision) || (has(self.gate) && self.gate == 'Soak')").message("must set expectedRevision only with gate: Soak"))]
#[x_kube(validation = Rule::new("has(self.targetRef) != has(self.selector)").message("must set exactly one of targetRef and selector"))]
#[x_kube(validation = Rule::new("!has(self.controls) || !has(self.targetRef) || self.targetRef.kind != 'Deployment' || !self.controls.exists(control, control.name == self.targetRef.name)").message("must not name the target in controls: what is judged cannot say whether it is to blame"))]
pub struct RollbackPolicySpec {
    /// The one workload that is watched, in the policy's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// All Deployments of the policy's namespace with these labels are watched. StatefulSets and DaemonSets are watched
    /// by name only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelectorSpec>,
    /// Who acts: Automatic (Snapback), Approve (a person approves each rollback), Observe (nothing is changed, only
    /// reported). Default: Automatic.
    // In the schema, so that the column and `--field-selector spec.mode=Automatic` show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Automatic"))]
    pub mode: Option<ModeName>,
    /// Stops judging at once. A rollback that has begun is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// How long and how often a rollout is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<SoakSpec>,
    /// Where the numbers come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MetricsSpec>,
    /// How what was counted becomes a verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<AnalysisSpec>,
    /// Requests that it takes to find a release good. With method Consecutive: requests that a window must hold; thinner ones
    /// are joined. Default: 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub minimum_requests: Option<i64>,
    /// What the end of a soak means when there was nothing to judge by: Hold waits for data, Pass accepts. Never a
    /// breach. Default: Hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_no_data: Option<OnNoDataName>,
    /// What the end of the longest soak means when the checks could not tell good from bad: Accept (with a warning) or
    /// Hold. Default: Accept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_inconclusive: Option<OnInconclusiveName>,
    /// Deployments that need the same things as the target (a database, a queue, the network) and do not call it. Once the
    /// old pods are gone, a breach of an error rate or latency is no breach while one of them, which was not released, has got
    /// worse as well. What calls the target must not be named: it goes bad with a bad release.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["kind".into(), "name".into()]))]
    pub controls: Vec<ControlRef>,
    /// The rules. Absent: the defaults. Given: these and no others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["name".into()]))]
    pub checks: Option<Vec<CheckSpec>>,
    /// How an undo is carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackRulesSpec>,
    /// When Snapback may roll back by itself; at other times a person is asked, as in mode Approve. Absent: at any
    /// time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub windows: Vec<WindowSpec>,
    /// What those who wait for a release are told by `Ready`, `Reconciling` and `Stalled`. None: how the policy is. Soak: how the
    /// release is: it is in progress until its soak has passed, and failed when it is found bad, until a newer one comes.
    /// Default: None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateName>,
    /// With gate Soak: what the release is called that is waited for, as a chart or a pipeline writes it at each deploy: a tag
    /// or digest of an image, or the pod template's label `app.kubernetes.io/version` or annotation `snapback.dev/revision`.
    /// The release is in progress until every target is that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 192))]
    #[x_kube(validation = ("self.matches('^[!-~]+$')", "must be a name without spaces, such as v2, sha256:... or a commit"))]
    pub expected_revision: Option<String>,
}

/// A workload in the policy's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct TargetRef {
    /// Its kind.
    pub kind: TargetKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253), extend("pattern" = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// A control, in the policy's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ControlRef {
    /// Its kind.
    pub kind: ControlKind,
    /// Its name: with at most 46 characters, since the names of its pods must tell which ReplicaSet they are of.
    #[schemars(length(min = 1, max = 46), extend("pattern" = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// Kinds of workloads that can be controls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ControlKind {
    /// apps/v1 Deployment.
    Deployment,
}

/// Kinds of workloads that can be rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TargetKind {
    /// apps/v1 Deployment.
    Deployment,
    /// apps/v1 StatefulSet.
    StatefulSet,
    /// apps/v1 DaemonSet.
    DaemonSet,
}

/// Labels that choose workloads.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)",
    "must name at least one label: an empty selector would cover every Deployment of the namespace"
))]
pub struct LabelSelectorSpec {
    /// Labels with the very values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 20))]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements on labels; all must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub match_expressions: Vec<Requirement>,
}

/// A requirement on one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0",
    "must have values with the operators In and NotIn, and none with Exists and DoesNotExist"
))]
pub struct Requirement {
    /// The label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// How it is compared.
    pub operator: SelectorOperator,
    /// The values for In and NotIn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(max = 63)))]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SelectorOperator {
    /// One of the values.
    In,
    /// None of the values.
    NotIn,
    /// Present.
    Exists,
    /// Absent.
    DoesNotExist,
}

/// Who acts: Automatic (Snapback), Approve (a person approves each rollback), Observe (nothing is changed, only
/// reported). Default: Automatic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ModeName {
    /// Snapback rolls back by itself.
    Automatic,
    /// A person approves each rollback.
    Approve,
    /// Nothing is changed, only reported.
    Observe,
}

/// What those who wait for a release are told by `Ready`, `Reconciling` and `Stalled`. None: how the policy is. Soak: how the
/// release is: it is in progress until its soak has passed, and failed when it is found bad, until a newer one comes.
/// Default: None.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GateName {
    /// How the policy is.
    None,
    /// How the release is.
    Soak,
}

/// How long and how often a rollout is judged.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "(has(self.duration) && !self.duration.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$')) || (has(self.interval) && !self.interval.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$')) || duration(has(self.interval) ? self.interval : '30s') <= duration(has(self.duration) ? self.duration : '15m')",
    "must not have an interval (30s if absent) longer than the duration (15m if absent)"
))]
#[serde(rename_all = "camelCase")]
pub struct SoakSpec {
    /// Time after the completed rollout in which it is judged, such as "15m". Default: 15m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = ("self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$')", "must be a duration such as 30s, 15m or 1h30m (a day is 24h)"))]
    pub duration: Option<String>,
    /// Time between two looks, such as "30s". Default: 30s. Take at least the scrape interval of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = ("self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$')", "must be a duration such as 30s, 15m or 1h30m (a day is 24h)"))]
    pub interval: Option<String>,
    /// The longest that the soak is extended to while the checks cannot tell good from bad, such as "1h". Default: four
    /// times the duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = ("self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$')", "must be a duration such as 30s, 15m or 1h30m (a day is 24h)"))]
    pub max_duration: Option<String>,
    /// StatefulSets and DaemonSets: the longest that a new pod may take to become ready, from when all its containers run
    /// and have passed their startup probes, such as "30m". Past it, the release is found bad. Default: 10m. Deployments
    /// have their own, `spec.progressDeadlineSeconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = ("self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$')", "must be a duration such as 30s, 15m or 1h30m (a day is 24h)"))]
    pub progress_deadline: Option<String>,
}

/// How single windows become a verdict.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "!has(self.failures) || (has(self.method) && self.method == 'Consecutive')",
    "must set failures only with method: Consecutive"
))]
#[x_kube(validation = (
    "!has(self.falseAlarmRate) || !has(self.method) || self.method == 'Sequential'",
    "must set falseAlarmRate only with method: Sequential"
))]
pub struct AnalysisSpec {
    /// The method. Default: Sequential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<MethodName>,
    /// Sequential: the probability that a release that is no worse than the one before is found bad, over its whole soak.
    /// Default: "0.001".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = ("self.matches('^[0-9]+([.][0-9]+)?%?$')", "must be a percentage such as \"0.1%\" or a fraction such as \"0.001\""))]
    pub false_alarm_rate: Option<String>,
    /// Consecutive: bad windows in a row that are a breach. Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub failures: Option<i32>,
}

/// How counts become a verdict. Sequential: when they prove it, at a chosen rate of false alarms. Consecutive: after a
/// number of bad windows in a row. Default: Sequential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MethodName {
    /// A breach is proven by the counts.
    Sequential,
    /// A breach is a number of bad windows in a row.
    Consecutive,
}

/// What the end of a soak means when there was nothing to judge by: Hold waits for data, Pass accepts. Never a
/// breach. Default: Hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnNoDataName {
    /// The revision stays unjudged until there is data.
    Hold,
    /// The revision is accepted.
    Pass,
}

/// What the end of the longest soak means when the checks could not tell good from bad: Accept (with a warning) or Hold.
/// Default: Accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnInconclusiveName {
    /// The revision is accepted, with a warning.
    Accept,
    /// The revision stays unjudged.
    Hold,
}

/// How an undo is carried out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollbackRulesSpec {
    /// Fast raises maxSurge for the undo only, where that saves rounds, and puts it back: the good revision's pods come
    /// all at once. Needs room for twice the pods. For Deployments only. Default: Normal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<SpeedName>,
    /// What becomes of the ConfigMaps that the good revision ran with, and of the Secrets where the administrator allows
    /// that: Ignore, Warn (that they changed is told), Restore (their content comes back, by copies that the good revision's
    /// pods read). Default: Warn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ConfigModeName>,
    /// Time for the good revision's pods to be back before a person is called. Default: 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = ("self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$')", "must be a duration such as 30s, 15m or 1h30m (a day is 24h)"))]
    pub deadline: Option<String>,
    /// How the cure is verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<VerifySpec>,
    /// Time after an automatic rollback in which the next one of the same target is a person's to approve, such as
    /// "30m". Default: none; the administrator's limits hold in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = ("self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$')", "must be a duration such as 30s, 15m or 1h30m (a day is 24h)"))]
    pub cooldown: Option<String>,
    /// Time after which an approval that nobody gave is no longer waited for. Default: 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = ("self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$')", "must be a duration such as 30s, 15m or 1h30m (a day is 24h)"))]
    pub approval_timeout: Option<String>,
    /// Keeping Helm's own record up to date after an undo. Absent: a condition names the command to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helm: Option<HelmSpec>,
}

/// What becomes of the ConfigMaps that the good revision ran with, and of the Secrets where the administrator allows
/// that: Ignore, Warn (that they changed is told), Restore (their content comes back, by copies that the good revision's
/// pods read). Default: Warn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConfigModeName {
    /// They are not looked at.
    Ignore,
    /// That they changed is told.
    Warn,
    /// Their content comes back.
    Restore,
}

/// How quickly an undo goes. Normal: at the workload's own pace. Fast: maxSurge is raised for the undo only, where that
/// saves rounds, and put back; needs room for twice the pods. Default: Normal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SpeedName {
    /// At the workload's own pace.
    Normal,
    /// All at once.
    Fast,
}

/// How the cure is verified.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
pub struct VerifySpec {
    /// Time that the breached checks must be back inside their limits. Default: 2m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = ("self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$')", "must be a duration such as 30s, 15m or 1h30m (a day is 24h)"))]
    pub duration: Option<String>,
    /// What the good revision's ready pods (of more than ten the first ten by name) must answer well meanwhile. The
    /// operator asks them itself, so it must be able to reach them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub http: Vec<HttpProbeSpec>,
}
