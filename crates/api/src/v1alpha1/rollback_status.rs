//! What a `Rollback` reports.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hold::HoldStatus;
use super::jobs::{JobStatus, RollbackJobs};
use super::observed::{CheckStatus, RevisionStatus};

/// How far a Rollback is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(oldSelf.resolved) || (has(self.resolved) && self.resolved == oldSelf.resolved)").message("must not change: what the order means was already found out"))]
pub struct RollbackStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<RollbackPhase>,
    /// Why, in one word.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub reason: String,
    /// Why, in one sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// The revision that is left, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub from: String,
    /// The revision that is gone back to, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub to: String,
    /// What a person's order means, when it leaves out what a policy spells out. Found out once, before anything is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<ResolvedStatus>,
    /// Ready, Reconciling and Stalled as kstatus defines them; Verified (the checks confirmed the cure).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// When what happened.
    #[serde(default)]
    pub timeline: Timeline,
    /// The good revision's number when the undo was requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision_at_request: Option<i64>,
    /// The workload's generation when the undo was requested, or was last about to be sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation_at_request: Option<i64>,
    /// Who applied the template before the undo, the main one first; their fields are given back to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub owners: Vec<FieldOwner>,
    /// The workload's own maxSurge, when it was raised for a fast undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub original_max_surge: Option<String>,
    /// What of the good revision's configuration has changed since it was known good, such as "ConfigMap settings". Absent:
    /// nothing has, or it was not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<RestorationStatus>,
    /// Stuck pods that were deleted after the undo, so that the good revision's could come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub deleted_pods: Vec<DeletedPod>,
    /// What the API server said when it last refused the undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub refusal: Option<String>,
    /// The Job that takes the change of data back, before the undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<JobStatus>,
    /// The Job that brings Helm's own record up to date, after the undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helm: Option<JobStatus>,
    /// What keeps a GitOps tool from bringing the bad revision back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldStatus>,
    /// What was done, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub actions: Vec<ActionStatus>,
    /// The breached checks, measured on the good revision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub checks: Vec<CheckStatus>,
}

/// What a person's order means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ResolvedStatus {
    /// UID of the workload.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// The revision that was live.
    pub from: RevisionStatus,
    /// The revision that was chosen.
    pub to: RevisionStatus,
    /// Jobs around the undo: the one that the release names to take its change of data back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<RollbackJobs>,
}

/// What became of the good revision's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
pub struct RestorationStatus {
    /// Of these the content of then is read, from copies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 263)))]
    pub restored: Vec<String>,
    /// Of these the present content is read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 263)))]
    pub drifted: Vec<String>,
    /// Of these nobody knows whether the content has changed: the operator could not read them. The present one is read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 263)))]
    pub unread: Vec<String>,
}

/// A pod that was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct DeletedPod {
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its UID.
    #[schemars(length(max = 64))]
    pub uid: String,
}

/// Where a Rollback stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RollbackPhase {
    /// Waits for a person to set spec.approval.
    AwaitingApproval,
    /// The undo is under way.
    Running,
    /// The good revision runs; its checks are watched.
    Verifying,
    /// The good revision runs and the fault is gone.
    Succeeded,
    /// The undo could not be carried out.
    Failed,
    /// Somebody applied a newer revision meanwhile.
    Superseded,
    /// The undo did not cure the fault, or not in time: a person is needed.
    Escalated,
    /// A person refused.
    Rejected,
}

/// When what happened.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    /// The bad revision's rollout was first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployed_at: Option<Time>,
    /// The fault was first measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_bad_at: Option<Time>,
    /// The rollback was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<Time>,
    /// A person approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_at: Option<Time>,
    /// The undo was about to be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo_requested_at: Option<Time>,
    /// The API server had accepted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo_accepted_at: Option<Time>,
    /// The workload's own maxSurge was back after a fast undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surge_restored_at: Option<Time>,
    /// The template's fields belonged to those who applied them again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handed_back_at: Option<Time>,
    /// All pods of the good revision were back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_out_at: Option<Time>,
    /// The checks were back inside their limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered_at: Option<Time>,
    /// It ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
}

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ActionStatus {
    /// When.
    pub at: Time,
    /// What, in one word.
    #[schemars(length(max = 64))]
    pub action: String,
    /// What, in one sentence.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// A manager that owned fields of the template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldOwner {
    /// Its name in the managed fields.
    #[schemars(length(max = 128))]
    pub manager: String,
    /// Apply or Update.
    #[schemars(length(max = 16))]
    pub operation: String,
    /// The version in which it wrote.
    #[schemars(length(max = 64))]
    pub api_version: String,
    /// What it owned of the template, as FieldsV1. Absent when that is very long: it then goes to the main owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8192))]
    pub fields: Option<String>,
}
