//! Parsing the policy, and finding its targets. No requests: names and labels come from the metadata watch.

use std::collections::BTreeMap;

use kube::core::SelectorExt;
use kube::{Resource, ResourceExt};
use snapback_api::convert::{self, InvalidSpec};
use snapback_api::v1alpha1::RollbackPolicy;
use snapback_core::policy::Policy;
use snapback_core::workload::{FROZEN, Kind};
use snapback_prometheus::CompiledNames;

use super::PolicyContext;
use super::quarantine::Records;
use crate::sampler::{confined, metric_names, validate_queries};

/// A policy that means something.
pub(super) struct Guarded {
    /// The validated policy.
    pub(super) policy: Policy,
    /// The kind of its targets.
    pub(super) kind: Kind,
    /// What its metrics are called.
    pub(super) names: CompiledNames,
    /// Names of the targets that this policy judges, sorted.
    pub(super) targets: Vec<String>,
    /// Targets that an older policy judges, with its name.
    pub(super) overridden: BTreeMap<String, String>,
    /// The target that is named and does not exist.
    pub(super) absent: Option<String>,
    /// The controls that are named and do not exist, with their fields.
    pub(super) absent_controls: Vec<(String, String)>,
    /// What the metadata watch shows of each target.
    pub(super) seen: BTreeMap<String, Seen>,
    /// What was undone in its namespace.
    pub(super) records: Records,
}

/// What the metadata watch shows of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) uid: String,
    pub(super) generation: i64,
    /// Whether a rollout of it is frozen by us, or was.
    pub(super) marked: bool,
}

pub(super) fn guard(policy: &RollbackPolicy, ctx: &PolicyContext) -> Result<Guarded, InvalidSpec> {
    let (validated, names) = understood(policy, ctx)?;
    let kind = kind(policy);
    let seen = seen(policy, kind, ctx);
    let wanted = chosen(policy, &seen);
    let mut targets = Vec::new();
    let mut overridden = BTreeMap::new();
    for name in wanted {
        match older_policy(policy, &name, ctx, &seen) {
            Some(other) => _ = overridden.insert(name, other),
            None => targets.push(name),
        }
    }
    let absent = policy.spec.target_ref.as_ref().map(|target| target.name.clone());
    let absent = absent.filter(|name| !seen.contains_key(name));
    let absent_controls = absent_controls(policy, &validated, ctx);
    let seen = seen.into_iter().map(|(name, (seen, _))| (name, seen)).collect();
    let records = Records::of(&ctx.shared, policy.metadata.namespace.as_deref().unwrap_or_default());
    Ok(Guarded { policy: validated, kind, names, targets, overridden, absent, absent_controls, seen, records })
}

fn absent_controls(policy: &RollbackPolicy, validated: &Policy, ctx: &PolicyContext) -> Vec<(String, String)> {
    let deployments = ctx.shared.workloads.of(Kind::Deployment, policy.metadata.namespace.as_deref());
    let is_there = |name: &String| deployments.iter().any(|one| one.name.as_ref() == Some(name));
    let controls = validated.controls.iter().enumerate().filter(|(_, name)| !is_there(name));
    controls.map(|(index, name)| (format!("spec.controls[{index}]"), name.clone())).collect()
}

/// Reads the spec as the schema cannot: relations between fields, names of sources, PromQL.
fn understood(policy: &RollbackPolicy, ctx: &PolicyContext) -> Result<(Policy, CompiledNames), InvalidSpec> {
    let validated = convert::policy(&policy.spec)?;
    let invalid = |field: String, problem: String| InvalidSpec { field, problem };
    let names = metric_names(policy.spec.metrics.as_ref()).map_err(|error| {
        invalid("spec.metrics".to_owned(), format!("must hold names that can be asked for: {error}"))
    })?;
    validate_queries(&policy.spec)?;
    let wanted = policy.spec.metrics.as_ref().and_then(|metrics| metrics.source.as_deref());
    match ctx.shared.sampler.source(wanted) {
        Ok(source) => {
            if let Some(label) = source.confined_by() {
                confined(&validated, &names, label, policy.metadata.namespace.as_deref().unwrap_or_default())?;
            }
        }
        Err(missing) if wanted.is_some() => {
            let text = missing.to_string();
            let problem = text.strip_prefix("spec.metrics.source ").unwrap_or(&text).to_owned();
            return Err(invalid("spec.metrics.source".to_owned(), problem));
        }
        // Who names none may need none.
        Err(_) => {}
    }
    Ok((validated, names))
}

type Labelled = BTreeMap<String, (Seen, BTreeMap<String, String>)>;

/// A policy without a name chooses Deployments by their labels.
fn kind(policy: &RollbackPolicy) -> Kind {
    policy.spec.target_ref.as_ref().map_or(Kind::Deployment, |target| target.kind.into())
}

fn seen(policy: &RollbackPolicy, kind: Kind, ctx: &PolicyContext) -> Labelled {
    let in_namespace = ctx.shared.workloads.of(kind, policy.metadata.namespace.as_deref());
    in_namespace
        .into_iter()
        .map(|one| {
            let seen = Seen {
                uid: one.uid.unwrap_or_default(),
                generation: one.generation.unwrap_or_default(),
                marked: one.annotations.is_some_and(|annotations| annotations.contains_key(FROZEN)),
            };
            (one.name.unwrap_or_default(), (seen, one.labels.unwrap_or_default()))
        })
        .collect()
}

/// The names that a policy's spec chooses, sorted.
fn chosen(policy: &RollbackPolicy, seen: &Labelled) -> Vec<String> {
    if let Some(target) = &policy.spec.target_ref {
        return vec![target.name.clone()];
    }
    let Some(selector) = policy.spec.selector.as_ref().map(convert::selector) else { return Vec::new() };
    seen.iter().filter(|(_, (_, labels))| selector.matches(labels)).map(|(name, _)| name.clone()).collect()
}

/// The oldest other policy that chooses the same target, if it is older than this one. One that means nothing claims
/// nothing.
fn older_policy(policy: &RollbackPolicy, target: &str, ctx: &PolicyContext, seen: &Labelled) -> Option<String> {
    let age = |policy: &RollbackPolicy| (policy.creation_timestamp().map(|time| time.0), policy.name_any());
    let own = age(policy);
    let others = ctx.policies.state_filter(|other| other.meta().namespace == policy.metadata.namespace);
    others
        .iter()
        .filter_map(|other| other.0.as_ref().ok())
        .filter(|other| other.uid() != policy.uid() && age(other) < own && kind(other) == kind(policy))
        .filter(|other| chosen(other, seen).iter().any(|name| name == target) && understood(other, ctx).is_ok())
        .min_by_key(|other| age(other))
        .map(ResourceExt::name_any)
}
