//! A hold: what keeps a GitOps tool from bringing an undone revision back.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is held, since when, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HoldStatus {
    /// The kind of what is held.
    pub kind: HeldKind,
    /// Its namespace. Absent: Argo CD's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub namespace: Option<String>,
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// It was about to be placed.
    pub requested_at: Time,
    /// It was in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placed_at: Option<Time>,
    /// How far the source was: what is newer ends the hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub revision: Option<String>,
    /// The digest of what was built from that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub digest: Option<String>,
    /// The tool was last let at the workload, to see what it brings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried_at: Option<Time>,
    /// Why it ended, is to end, or could not be placed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub because: Option<String>,
    /// It had ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
}

/// What can be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HeldKind {
    /// Argo CD's: it does not heal by itself.
    Application,
    /// Flux's: it leaves the workload alone.
    Kustomization,
    /// Flux's: it does not correct drift of the workload.
    HelmRelease,
}
