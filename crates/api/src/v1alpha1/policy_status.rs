//! What a policy reports.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::observed::{CheckStatus, RevisionStatus};
use super::policy::TargetKind;

/// What is known of a policy and its targets.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollbackPolicyStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling and Stalled as kstatus defines them; Accepted (the spec can be understood, and has its target
    /// for itself) and Enforced (the targets are watched) as GEP-713 does; RollbackReady (there is somewhere to go back
    /// to) and, only where it is so, ConfigDrifted (a known good revision reads what it was not judged with) and
    /// ChecksDoubtful (a check probably does not say what is meant; it is judged as it is written).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The policy in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// The targets, by name. At most 64 are shown; all are watched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["kind".into(), "name".into()]))]
    pub targets: Vec<TargetStatus>,
}

/// The policy in one line, for `kubectl get`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The target, or how many there are.
    #[schemars(length(max = 253))]
    pub target: String,
    /// The phase of the target that needs attention most.
    #[schemars(length(max = 32))]
    pub phase: String,
    /// Why, in one word.
    #[schemars(length(max = 64))]
    pub why: String,
    /// The revision to go back to.
    #[schemars(length(max = 512))]
    pub known_good: String,
    /// Why, in one sentence.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// Where a target stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PhaseName {
    /// Nothing is judged.
    Idle,
    /// A rollout is under way and watched.
    Progressing,
    /// The rollout is complete and its soak runs.
    Soaking,
    /// A Rollback waits for a person.
    AwaitingApproval,
    /// A Rollback acts.
    RollingBack,
    /// A Rollback checks that it cured the fault.
    Verifying,
    /// Something is wrong and nothing is done about it; the message says why.
    Held,
    /// A rollback did not cure the fault: a person is needed.
    Escalated,
}

/// One target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// Its kind.
    pub kind: TargetKind,
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its UID.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// Where it stands.
    pub phase: PhaseName,
    /// Why, in one word.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// Why, in one sentence.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// The workload's generation when it was last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What delivers it: an Argo CD Application, a Flux Kustomization or HelmRelease, a Helm release, another operator. Absent:
    /// nothing that can be told by its labels and annotations. As it was when the target was last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 600))]
    pub delivered_by: Option<String>,
    /// The revision of the live template.
    pub current: RevisionStatus,
    /// The revision to go back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_good: Option<RevisionStatus>,
    /// Whether a rollback would work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<ReadinessStatus>,
    /// What the known good revision reads that changed while it runs, such as "ConfigMap settings". Looked at when the target
    /// is looked at and at rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 263)))]
    pub drifted: Vec<String>,
    /// The rollout that is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// The checks at the last transition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 17))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["name".into()]))]
    pub checks: Vec<CheckStatus>,
    /// The Rollback that acts now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub rollback: Option<String>,
    /// Revisions that were rolled back, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub quarantined: Vec<QuarantinedStatus>,
}

/// Whether a rollback would work: looked at after each rollout, while something is in the way, and right before one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ReadinessStatus {
    /// Whether it would be let in, find all that it needs, and be seen to help.
    pub ready: bool,
    /// Why, in one word.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// Why, in one sentence.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// A rollout that is judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// When it was first seen.
    pub started_at: Time,
    /// When all its pods were available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
    /// The Rollback that undid this revision before: it came back, and is undone again without waiting for metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub returned: Option<String>,
    /// What became of it, if Snapback froze it: a bad revision that cannot be undone, while old pods still served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze: Option<FreezeName>,
    /// When its soak is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak_ends_at: Option<Time>,
}

/// What became of a rollout that Snapback froze.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FreezeName {
    /// The Deployment is paused, and its old pods serve.
    Frozen,
    /// A person resumed it. It is not frozen again.
    Resumed,
}

/// A revision that was rolled back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct QuarantinedStatus {
    /// Identity of its template.
    #[schemars(length(max = 64))]
    pub fingerprint: String,
    /// The record.
    #[schemars(length(max = 253))]
    pub rollback: String,
    /// What those who deploy it call it, as of the current revision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 34), inner(length(max = 192)))]
    pub called: Vec<String>,
    /// When.
    pub at: Time,
}
