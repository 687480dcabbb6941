//! `Rollback`: one undo, from its order to its end, and the record of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::jobs::RollbackJobs;
use super::metrics::MetricsSpec;
use super::observed::{CheckStatus, RevisionStatus};
use super::policy::{ConfigModeName, SpeedName, TargetKind};
use super::probe::HttpProbeSpec;
use super::rollback_status::RollbackStatus;

/// Puts one earlier revision of one workload back, once, and checks that this cured the fault. A policy creates it, or a
/// person; it stays as the record. Everything but the approval and the release is fixed at creation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "snapback.dev",
    version = "v1alpha1",
    kind = "Rollback",
    plural = "rollbacks",
    shortname = "rb",
    category = "snapback",
    namespaced,
    status = "RollbackStatus",
    derive = "PartialEq",
    doc = "One undo: order, progress and record.",
    selectable = ".spec.target.kind",
    selectable = ".spec.target.name",
    selectable = ".spec.trigger.type",
    selectable = ".spec.trigger.policy",
    selectable = ".status.phase",
    printcolumn(json_path = ".spec.target.name", name = "Target", type_ = "string"),
    printcolumn(json_path = ".status.phase", name = "Phase", type_ = "string"),
    printcolumn(json_path = ".spec.trigger.checks[0]", name = "Check", type_ = "string"),
    printcolumn(json_path = ".status.reason", name = "Why", type_ = "string"),
    printcolumn(json_path = ".metadata.creationTimestamp", name = "Age", type_ = "date"),
    printcolumn(json_path = ".status.from", name = "From", type_ = "string", priority = 1),
    printcolumn(json_path = ".status.to", name = "To", type_ = "string", priority = 1),
    printcolumn(json_path = ".status.message", name = "Message", type_ = "string", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.target == oldSelf.target && has(self.from) == has(oldSelf.from) && (!has(self.from) || self.from == oldSelf.from) && has(self.to) == has(oldSelf.to) && (!has(self.to) || self.to == oldSelf.to) && self.trigger == oldSelf.trigger").message("must not change: a Rollback is a record; only spec.approval and spec.released may be set"))]
#[x_kube(validation = Rule::new("has(self.decidedAt) == has(oldSelf.decidedAt) && (!has(self.decidedAt) || self.decidedAt == oldSelf.decidedAt) && has(self.deadline) == has(oldSelf.deadline) && (!has(self.deadline) || self.deadline == oldSelf.deadline) && has(self.verify) == has(oldSelf.verify) && (!has(self.verify) || self.verify == oldSelf.verify) && has(self.config) == has(oldSelf.config) && (!has(self.config) || self.config == oldSelf.config) && has(self.speed) == has(oldSelf.speed) && (!has(self.speed) || self.speed == oldSelf.speed) && has(self.approvalTimeout) == has(oldSelf.approvalTimeout) && (!has(self.approvalTimeout) || self.approvalTimeout == oldSelf.approvalTimeout) && has(self.requireApproval) == has(oldSelf.requireApproval) && (!has(self.requireApproval) || self.requireApproval == oldSelf.requireApproval)").message("must not change: a Rollback is a record; only spec.approval and spec.released may be set"))]
#[x_kube(validation = Rule::new("has(self.approvalReason) == has(oldSelf.approvalReason) && (!has(self.approvalReason) || self.approvalReason == oldSelf.approvalReason) && has(self.startedAt) == has(oldSelf.startedAt) && (!has(self.startedAt) || self.startedAt == oldSelf.startedAt) && has(self.firstBadAt) == has(oldSelf.firstBadAt) && (!has(self.firstBadAt) || self.firstBadAt == oldSelf.firstBadAt) && has(self.evidence) == has(oldSelf.evidence) && (!has(self.evidence) || self.evidence == oldSelf.evidence)").message("must not change: a Rollback is a record; only spec.approval and spec.released may be set"))]
#[x_kube(validation = Rule::new("has(self.jobs) == has(oldSelf.jobs) && (!has(self.jobs) || self.jobs == oldSelf.jobs)").message("must not change: a Rollback is a record; only spec.approval and spec.released may be set"))]
#[x_kube(validation = Rule::new("!has(oldSelf.approval) || (has(self.approval) && self.approval == oldSelf.approval)").message("must not change: the approval was already given"))]
#[x_kube(validation = Rule::new("!has(oldSelf.released) || (has(self.released) && self.released == oldSelf.released)").message("must not change: the revision was already released"))]
#[x_kube(validation = Rule::new("self.trigger.type == 'Manual' || (has(self.target.uid) && has(self.from) && has(self.to) && has(self.to.fingerprint) && has(self.decidedAt) && has(self.deadline) && has(self.verify))").message("must have target.uid, from, to.fingerprint, decidedAt, deadline and verify; only with trigger.type Manual they may be left out"))]
#[x_kube(validation = Rule::new("has(self.target.uid) == has(self.from) && has(self.from) == (has(self.to) && has(self.to.fingerprint))").message("must have all of target.uid, from and to.fingerprint, or none of them: what is left out is found out"))]
#[x_kube(validation = Rule::new("(!has(self.decidedAt) || self.decidedAt < timestamp('9000-01-01T00:00:00Z')) && (!has(self.startedAt) || self.startedAt < timestamp('9000-01-01T00:00:00Z')) && (!has(self.firstBadAt) || self.firstBadAt < timestamp('9000-01-01T00:00:00Z'))").message("decidedAt, startedAt and firstBadAt must be times such as 2026-01-02T03:04:05Z, before the year 9000"))]
pub struct RollbackSpec {
    /// The workload.
    pub target: RollbackTarget,
    /// The revision to leave. Absent: the one that is live when the Rollback is first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<RevisionStatus>,
    /// The revision to go back to. Absent: the known good one that a policy remembers; without one the newest that still
    /// serves, else the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<RevisionTo>,
    /// What led to it.
    pub trigger: TriggerSpec,
    /// Whether a person must approve first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_approval: Option<bool>,
    /// Why one must.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub approval_reason: Option<String>,
    /// Time after which an approval is no longer waited for. Absent: it is waited for without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 17), extend("pattern" = "^([0-9]{1,5}(h|m|s|ms)){1,4}$"))]
    pub approval_timeout: Option<String>,
    /// What becomes of the ConfigMaps that the good revision ran with, and of the Secrets where the administrator allows
    /// that. Absent: Ignore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ConfigModeName>,
    /// How quickly the undo goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<SpeedName>,
    /// What the person says. Set it once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalSpec>,
    /// Lets the revision that was undone come back: it is judged like a new one. Set it once, with the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<ReleaseSpec>,
    /// When it was decided. Absent: when it was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<Time>,
    /// When the rollout of the bad revision was first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When the fault was first measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_bad_at: Option<Time>,
    /// Time for the good revision's pods to be back before a person is called. Absent: 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 17), extend("pattern" = "^([0-9]{1,5}(h|m|s|ms)){1,4}$"))]
    pub deadline: Option<String>,
    /// Jobs around the undo. Absent, by hand: the one that the release names to take its change of data back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<RollbackJobs>,
    /// How the cure is verified. Absent: by the pods, for 2m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<RollbackVerify>,
    /// Every check as it was at the decision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 17))]
    pub evidence: Vec<CheckStatus>,
}

/// The workload that a Rollback acts on, in its own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct RollbackTarget {
    /// Its kind.
    pub kind: TargetKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253), extend("pattern" = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Its UID: a workload of the same name that was made later is another one. Absent: that of the one that is there when
    /// the Rollback is first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub uid: Option<String>,
}

/// The revision to go back to: by its number, or in full.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.revision) != has(self.fingerprint)").message("must have either revision, a number that `kubectl rollout history` shows, or fingerprint"))]
pub struct RevisionTo {
    /// Its number, as `kubectl rollout history` shows it and `kubectl rollout undo --to-revision` takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub revision: Option<i64>,
    /// In full.
    #[serde(flatten)]
    pub known: Option<RevisionStatus>,
}

/// What led to a Rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct TriggerSpec {
    /// Who decided.
    #[serde(rename = "type")]
    pub type_: TriggerType,
    /// The policy that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub policy: Option<String>,
    /// The checks that were breached; `quarantine` when the revision was undone before and came back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 17), inner(length(max = 63)))]
    pub checks: Vec<String>,
    /// The record of the undo before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub previous: Option<String>,
}

/// Who decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TriggerType {
    /// A policy.
    Policy,
    /// A policy: a revision that was undone before came back.
    Quarantine,
    /// A person.
    Manual,
}

/// A person's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ApprovalSpec {
    /// Approved or Rejected.
    pub decision: ApprovalDecision,
    /// Who says so: the user by the name that `kubectl auth whoami` shows. With the chart's admission policy it must be
    /// set, and be the user who sets it.
    // Twice a name's length: that of a service account holds its namespace too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
}

/// Why a revision that was undone may come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ReleaseSpec {
    /// Who says so: the user by the name that `kubectl auth whoami` shows. With the chart's admission policy it must be
    /// set, and be the user who sets it.
    // Twice a name's length: that of a service account holds its namespace too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub by: Option<String>,
    /// What was wrong with it, and why it is not any more.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApprovalDecision {
    /// Do it.
    Approved,
    /// Leave it.
    Rejected,
}

/// How the cure is verified; a copy of what the policy said, since the record outlives it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollbackVerify {
    /// Time that the breached checks must be back inside their limits.
    #[schemars(length(min = 2, max = 17), extend("pattern" = "^([0-9]{1,5}(h|m|s|ms)){1,4}$"))]
    pub duration: String,
    /// Time between two looks.
    #[schemars(length(min = 2, max = 17), extend("pattern" = "^([0-9]{1,5}(h|m|s|ms)){1,4}$"))]
    pub interval: String,
    /// Requests that a window must hold.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub minimum_requests: i64,
    /// Where the numbers come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MetricsSpec>,
    /// The limits that were breached, as plain numbers. Pods are always checked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub limits: Vec<LimitSpec>,
    /// What the good revision's pods must answer well meanwhile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub http: Vec<HttpProbeSpec>,
}

/// One limit, without anything relative.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitSpec {
    /// The check.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Its kind: errorRate, latency or query.
    #[schemars(length(min = 1, max = 16))]
    pub kind: String,
    /// The quantile, for latency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantile: Option<super::check::QuantileName>,
    /// The query, for query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub promql: Option<String>,
    /// Smallest value that is fine; a share, seconds, or a bare number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub min: Option<String>,
    /// Largest value that is fine; a share, seconds, or a bare number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub max: Option<String>,
}

impl Rollback {
    /// The name of the one `Rollback` for a bad revision of a workload: the same for everybody who decides it.
    ///
    /// `episode` is 0, and rises when the same revision is decided on anew after nothing was undone.
    pub fn name_for(target: &str, uid: &str, fingerprint: &str, episode: u32) -> String {
        let uid: String = uid.chars().filter(char::is_ascii_alphanumeric).take(5).collect();
        let bad: String = fingerprint.chars().take(10).collect();
        // 63 characters in all: the name is a label value too.
        let target: String = target.chars().take(40).collect();
        let target = target.trim_end_matches(['-', '.']);
        match episode {
            0 => format!("{target}-{uid}-{bad}"),
            episode => format!("{target}-{uid}-{bad}-{episode}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Rollback;

    #[test]
    fn the_name_is_the_same_for_the_same_badness_and_fits_a_label() {
        let name = || Rollback::name_for(&"checkout-".repeat(9), "0b9b-44aa-11", "0123456789abcdef0123", 0);
        assert_eq!(name(), name());
        assert!(name().len() <= 63, "{}", name());
        assert_ne!(name(), Rollback::name_for("checkout", "0b9b", "0123456789abcdef0123", 1));
        assert_ne!(Rollback::name_for("a", "u", "1", 0), Rollback::name_for("a", "v", "1", 0));
    }
}
