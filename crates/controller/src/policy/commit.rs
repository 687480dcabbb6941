//! Writing a policy's status, with the version that was judged as the precondition.

use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use snapback_api::conditions::{Said, cut, set};
use snapback_api::convert::InvalidSpec;
use snapback_api::v1alpha1::{RollbackPolicy, RollbackPolicyStatus, Summary, TargetStatus};

use super::guard::Guarded;
use crate::context::Context;
use crate::error::Error;

/// What a reconcile found, before it is put into words.
pub(super) struct Committed<'a> {
    pub(super) targets: Vec<TargetStatus>,
    pub(super) guarded: &'a Guarded,
    pub(super) failure: Option<String>,
}

/// A status without times of transition: those are filled in when it is written.
pub(super) struct Outline {
    pub(super) targets: Vec<TargetStatus>,
    pub(super) summary: Summary,
    pub(super) conditions: Vec<(&'static str, Option<bool>, String, String)>,
}

impl Committed<'_> {
    /// A spec that means nothing. Targets keep their memory: nothing is lost by a typo.
    pub(super) fn invalid(policy: &RollbackPolicy, invalid: &InvalidSpec) -> Outline {
        let message = invalid.to_string();
        let targets = policy.status.as_ref().map(|status| status.targets.clone()).unwrap_or_default();
        let said = |type_, status| (type_, Some(status), "InvalidSpec".to_owned(), message.clone());
        Outline {
            summary: Summary {
                target: policy.spec.target_ref.as_ref().map(|target| target.name.clone()).unwrap_or_default(),
                phase: "Invalid".to_owned(),
                why: "InvalidSpec".to_owned(),
                known_good: String::new(),
                message: message.clone(),
            },
            targets,
            conditions: vec![said("Ready", false), said("Stalled", true), said("Accepted", false)],
        }
    }
}

/// Writes the status if it says anything new.
pub(super) async fn status(shared: &Context, policy: &RollbackPolicy, outline: &Outline) -> Result<(), Error> {
    let known = policy.status.clone().unwrap_or_default();
    let generation = policy.metadata.generation;
    let mut conditions = known.conditions.clone();
    conditions.retain(|condition| outline.conditions.iter().any(|(type_, ..)| *type_ == condition.type_));
    for (type_, status, reason, message) in &outline.conditions {
        set(&mut conditions, &Said { type_, status: *status, reason, message }, generation, shared.now());
    }
    let next = RollbackPolicyStatus {
        observed_generation: generation,
        conditions,
        summary: Some(outline.summary.clone()),
        targets: outline.targets.clone(),
    };
    if next == known {
        return Ok(());
    }
    let mut object = policy.clone();
    object.status = Some(next);
    let policies: Api<RollbackPolicy> = Api::namespaced(shared.client.clone(), &policy.namespace().unwrap_or_default());
    let params = PostParams { field_manager: Some(crate::FIELD_MANAGER.to_owned()), ..PostParams::default() };
    crate::timed("the policy's status", policies.replace_status(&policy.name_any(), &params, &object)).await?;
    Ok(())
}

/// Says so in the status of an object that cannot be read at all (an older schema let it in).
pub(super) async fn undecodable(shared: &Context, meta: &ObjectMeta, problem: &str) -> Result<(), Error> {
    let (Some(namespace), Some(name)) = (&meta.namespace, &meta.name) else { return Ok(()) };
    let policies: Api<RollbackPolicy> = Api::namespaced(shared.client.clone(), namespace);
    let mut conditions = Vec::new();
    let message = cut(&format!("the object cannot be read: {problem}"), 1024);
    for (type_, status) in [("Ready", false), ("Stalled", true), ("Accepted", false)] {
        let said = Said { type_, status: Some(status), reason: "InvalidSpec", message: &message };
        set(&mut conditions, &said, meta.generation, shared.now());
    }
    let patch = json!({"status": {"conditions": conditions, "observedGeneration": meta.generation}});
    tracing::warn!(namespace, name, "{message}");
    let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
    let written = policies.patch_status(name, &params, &patch);
    match crate::timed("the policy's status", written).await {
        // The answer is the object that cannot be read; the write has happened.
        Err(Error::Write { source, .. }) if matches!(*source, kube::Error::SerdeError(_)) => Ok(()),
        other => other.map(drop),
    }
}
