//! Writing a policy's status, with the version that was judged as the precondition.

use kube::api::PostParams;
use kube::{Api, ResourceExt};
use snapback_api::conditions::{Said, set};
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
        let said = |type_, status, reason: &str| (type_, Some(status), reason.to_owned(), message.clone());
        Outline {
            summary: Summary {
                target: policy.spec.target_ref.as_ref().map(|target| target.name.clone()).unwrap_or_default(),
                phase: "Invalid".to_owned(),
                why: "InvalidSpec".to_owned(),
                known_good: String::new(),
                message: message.clone(),
            },
            targets,
            conditions: vec![
                said("Ready", false, "InvalidSpec"),
                said("Stalled", true, "InvalidSpec"),
                said("Accepted", false, "Invalid"),
            ],
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
