//! Jobs around an undo: what a policy asks for, what a record orders, what became of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Keeping Helm's own record up to date after an undo, by a Job of yours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct HelmSpec {
    /// Name of a suspended CronJob or Job in the policy's namespace, of which a Job is made after the undo of a
    /// workload that Helm 3 applied: it runs `helm rollback` under its own ServiceAccount. It must carry the annotation
    /// snapback.dev/allow-rollback-jobs: "true".
    #[schemars(length(min = 1, max = 253), extend("pattern" = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub job: String,
}

/// The CronJobs or Jobs, in the record's namespace, of which Jobs are made around the undo.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
pub struct RollbackJobs {
    /// Takes the change of data back. Only when its Job succeeded the undo is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), extend("pattern" = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub migration: Option<String>,
    /// Runs `helm rollback` after the undo, where Helm 3 applied the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), extend("pattern" = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub helm: Option<String>,
}

/// A Job of a Rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobStatus {
    /// Its name.
    #[schemars(length(max = 63))]
    pub job: String,
    /// It was about to be created.
    pub requested_at: Time,
    /// It was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
    /// Why it is not there yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub refusal: Option<String>,
    /// It had ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// Why it failed. Absent when it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub failure: Option<String>,
}
