//! Placing the order: creating the `Rollback`. This is the commit of a decision; nothing is changed before it.

use std::collections::BTreeMap;

use kube::api::{ObjectMeta, PostParams};
use kube::{Api, ResourceExt};
use snapback_api::conditions::cut;
use snapback_api::v1alpha1::{
    CheckStatus, LimitSpec, POLICY_LABEL, QuantileName, Rollback, RollbackPhase, RollbackPolicy, RollbackSpec,
    RollbackTarget, RollbackVerify, SpeedName, TARGET_LABEL, TargetKind, TriggerSpec, TriggerType,
};
use snapback_core::checks::{CheckResult, Verdict};
use snapback_core::duration;
use snapback_core::fingerprint::Fingerprint;
use snapback_core::policy::{Quantile, Rule};
use snapback_core::rollback::Acting;
use snapback_core::watch::Order;

use super::guard::Guarded;
use super::judge::first_name;
use crate::context::Context;
use crate::error::Error;
use crate::status::{check_status, revision_status, stored};
use crate::workload::Live;

/// Decisions on one revision that led to nothing (superseded, refused) before we stop counting.
const MOST_EPISODES: u32 = 20;

/// What became of an order.
pub(super) enum Ordered {
    /// The `Rollback` is new.
    Placed(String),
    /// Somebody (we, before a crash; another leader) placed the same one already.
    Adopted(String),
    /// The revision was undone before: at most once per bad revision.
    UndoneBefore(String),
}

/// Creates the `Rollback`, after a last look at the policy: a deleted, changed or suspended one decides nothing.
pub(super) async fn place(
    shared: &Context,
    policy: &RollbackPolicy,
    guarded: &Guarded,
    target: &str,
    live: &Live,
    order: &Order,
    asked: &BTreeMap<String, String>,
) -> Result<Ordered, Error> {
    let namespace = policy.namespace().unwrap_or_default();
    let policies: Api<RollbackPolicy> = Api::namespaced(shared.client.clone(), &namespace);
    let newest = crate::timed("the policy", policies.get_opt(&policy.name_any())).await?;
    if newest.and_then(|newest| newest.resource_version()) != policy.resource_version() {
        return Err(Error::Conflict("the policy"));
    }
    let rollbacks: Api<Rollback> = Api::namespaced(shared.client.clone(), &namespace);
    let uid = live.workload.uid.as_str();
    for episode in 0..MOST_EPISODES {
        let name = first_name(target, uid, order.from.fingerprint.as_str(), episode);
        let rollback = rollback(policy, guarded, target, uid, order, asked, &name);
        match crate::timed("the Rollback", rollbacks.create(&PostParams::default(), &rollback)).await {
            Ok(_) => return Ok(Ordered::Placed(name)),
            Err(Error::Conflict(_)) => {}
            Err(error) => return Err(error),
        }
        let Some(existing) = crate::timed("the Rollback", rollbacks.get_opt(&name)).await? else {
            return Err(Error::Conflict("the Rollback"));
        };
        match existing.status.and_then(|status| status.phase) {
            Some(RollbackPhase::Superseded | RollbackPhase::Rejected) => {}
            Some(RollbackPhase::Succeeded | RollbackPhase::Failed | RollbackPhase::Escalated) => {
                return Ok(Ordered::UndoneBefore(name));
            }
            None | Some(RollbackPhase::AwaitingApproval | RollbackPhase::Running | RollbackPhase::Verifying) => {
                return Ok(Ordered::Adopted(name));
            }
        }
    }
    Ok(Ordered::UndoneBefore(first_name(target, uid, order.from.fingerprint.as_str(), MOST_EPISODES - 1)))
}

/// What the `Rollback` of that name says of itself; `None` when somebody deleted it, or before its first step.
pub(super) async fn acting(shared: &Context, namespace: &str, name: &str) -> Result<Option<Acting>, Error> {
    let rollbacks: Api<Rollback> = Api::namespaced(shared.client.clone(), namespace);
    let Some(rollback) = crate::timed("the Rollback", rollbacks.get_opt(name)).await? else {
        // A deleted record: the decision is withdrawn, by a person.
        return Ok(Some(Acting {
            phase: snapback_core::rollback::Phase::Rejected,
            message: format!("Rollback {name} was deleted; nothing more is done for this revision"),
            bad: Fingerprint::recorded(""),
        }));
    };
    let status = rollback.status.clone().unwrap_or_default();
    let phase = status.phase.map_or(snapback_core::rollback::Phase::Running, crate::rollback::phase);
    Ok(Some(Acting { phase, message: status.message, bad: Fingerprint::recorded(rollback.spec.from.fingerprint) }))
}

fn rollback(
    policy: &RollbackPolicy,
    guarded: &Guarded,
    target: &str,
    uid: &str,
    order: &Order,
    asked: &BTreeMap<String, String>,
    name: &str,
) -> Rollback {
    let rules = &guarded.policy;
    let label = |text: &str| text.chars().take(63).collect::<String>();
    let labels = [(POLICY_LABEL, policy.name_any()), (TARGET_LABEL, target.to_owned())];
    let mut rollback = Rollback::new(
        name,
        RollbackSpec {
            target: RollbackTarget { kind: TargetKind::Deployment, name: target.to_owned(), uid: uid.to_owned() },
            from: revision_status(&order.from),
            to: revision_status(&order.to),
            trigger: TriggerSpec {
                type_: TriggerType::Policy,
                policy: Some(policy.name_any()),
                checks: order.breached.clone(),
            },
            require_approval: order.ask.is_some().then_some(true),
            approval_reason: order.ask.as_deref().map(|ask| cut(ask, 512)),
            approval_timeout: order.ask.is_some().then(|| duration::format(rules.rollback.approval_timeout)),
            speed: rules.rollback.fast.then_some(SpeedName::Fast),
            approval: None,
            decided_at: stored(order.decided),
            started_at: Some(stored(order.started)),
            first_bad_at: order.first_bad.map(stored),
            deadline: duration::format(rules.rollback.deadline),
            verify: RollbackVerify {
                duration: duration::format(rules.rollback.verify),
                interval: duration::format(rules.soak.interval),
                minimum_requests: i64::try_from(rules.minimum_requests).unwrap_or(1),
                metrics: policy.spec.metrics.clone(),
                limits: order.evidence.iter().filter_map(|result| limit(guarded, result)).collect(),
            },
            evidence: evidence(&order.evidence, asked),
        },
    );
    rollback.metadata = ObjectMeta {
        name: Some(name.to_owned()),
        namespace: policy.namespace(),
        labels: Some(labels.into_iter().map(|(key, value)| (key.to_owned(), label(&value))).collect()),
        ..ObjectMeta::default()
    };
    rollback
}

/// Every check, those that decided first.
fn evidence(results: &[CheckResult], asked: &BTreeMap<String, String>) -> Vec<CheckStatus> {
    let mut results: Vec<&CheckResult> = results.iter().collect();
    results.sort_by_key(|result| result.verdict != Verdict::Breached);
    results.into_iter().map(|result| check_status(result, asked)).collect()
}

/// A breached check as a plain limit: what was relative to a baseline is a number now.
fn limit(guarded: &Guarded, result: &CheckResult) -> Option<LimitSpec> {
    if result.verdict != Verdict::Breached {
        return None;
    }
    let check = guarded.policy.checks.iter().find(|check| check.name == result.name)?;
    let limit = result.limit?;
    let over = result.value? > limit;
    let number = Some(format!("{limit}"));
    let spec = LimitSpec {
        name: check.name.clone(),
        kind: check.rule.kind().to_owned(),
        quantile: None,
        promql: None,
        min: None,
        max: None,
    };
    match &check.rule {
        Rule::CrashRate { .. } => None,
        Rule::ErrorRate { .. } => Some(LimitSpec { max: number, ..spec }),
        Rule::Latency { quantile, .. } => {
            let quantile = match quantile {
                Quantile::P50 => QuantileName::P50,
                Quantile::P90 => QuantileName::P90,
                Quantile::P95 => QuantileName::P95,
                Quantile::P99 => QuantileName::P99,
            };
            Some(LimitSpec { quantile: Some(quantile), max: number, ..spec })
        }
        Rule::Query { promql, .. } => {
            let (min, max) = if over { (None, number) } else { (number, None) };
            Some(LimitSpec { promql: Some(promql.clone()), min, max, ..spec })
        }
    }
}
