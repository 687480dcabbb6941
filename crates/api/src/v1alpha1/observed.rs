//! What both kinds report of revisions and checks.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::SeverityName;

/// One pod template of a target.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionStatus {
    /// Identity of the template: a hash of what it says, without what changes by itself (restarts, the hash label).
    #[schemars(length(max = 64))]
    pub fingerprint: String,
    /// The ReplicaSet that runs it; of a StatefulSet or DaemonSet its ControllerRevision.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub replica_set: String,
    /// The UID of that object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub replica_set_uid: String,
    /// Its images, in container order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 512)))]
    pub images: Vec<String>,
    /// What those who deploy it call it: its pod template's annotation `snapback.dev/revision` and label
    /// `app.kubernetes.io/version`, the tags and digests of its images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 34), inner(length(max = 192)))]
    pub called: Vec<String>,
    /// The ControllerRevision of ours that keeps a copy of its template, so that it can be put back when the workload's
    /// own object of it is gone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub snapshot: String,
    /// The ConfigMaps that it ran with when it became known good, and the Secrets where the administrator allows that.
    /// Absent: not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub config: Option<Vec<ConfigStatus>>,
}

/// A ConfigMap or Secret that a revision ran with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ConfigStatus {
    /// Its kind. Default: ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ConfigKindName>,
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Digest of its content. Of a Secret: of its UID and resource version, so that nothing about the content can be found
    /// out by it.
    #[schemars(length(max = 64))]
    pub digest: String,
    /// The object of the same kind that keeps a copy of the content.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub copy: String,
    /// Its content changed before a copy was made: there is nothing left to copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<bool>,
}

/// The kind of an object that holds configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConfigKindName {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

/// The verdict of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VerdictName {
    /// Inside its limit.
    Passing,
    /// Outside its limit.
    Breached,
    /// There is data, and it does not tell (yet).
    Inconclusive,
    /// There is no data. Never a breach.
    NoData,
}

/// What a check says, and by what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckStatus {
    /// The check.
    #[schemars(length(max = 63))]
    pub name: String,
    /// What its breach leads to.
    pub severity: SeverityName,
    /// What it says.
    pub verdict: VerdictName,
    /// Why, in one word.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// What was measured in the new pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub value: Option<String>,
    /// What it was compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub limit: Option<String>,
    /// The baseline's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub baseline: Option<String>,
    /// Requests in the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<i64>,
    /// Bad ones among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad: Option<i64>,
    /// Start of the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_start: Option<Time>,
    /// End of the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_end: Option<Time>,
    /// The query that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8192))]
    pub query: Option<String>,
    /// What was counted, look by look, in the record of a breach: `snapback verify-record` recomputes the verdict from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8192))]
    pub counts: Option<String>,
    /// One sentence.
    #[schemars(length(max = 1024))]
    pub message: String,
}
