//! Placing the order: creating the `Rollback`. This is the commit of a decision; nothing is changed before it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, ResourceExt};
use snapback_api::conditions::cut;
use snapback_api::convert::probe_specs;
use snapback_api::v1alpha1::{
    CheckStatus, ConfigModeName, LimitSpec, POLICY_LABEL, QuantileName, RevisionTo, Rollback, RollbackJobs,
    RollbackPhase, RollbackPolicy, RollbackSpec, RollbackTarget, RollbackVerify, SpeedName, TARGET_LABEL, TriggerSpec,
    TriggerType, label_value,
};
use snapback_core::checks::{CheckResult, Verdict};
use snapback_core::duration;
use snapback_core::fingerprint::Fingerprint;
use snapback_core::jobs::is_name;
use snapback_core::number;
use snapback_core::permission::may_undo_again;
use snapback_core::policy::{ConfigMode, Quantile, Rule};
use snapback_core::rollback::{Acting, CONTENDED};
use snapback_core::watch::Order;
use snapback_core::workload::Kind;

use super::guard::Guarded;
use crate::context::Context;
use crate::error::Error;
use crate::status::{self, revision_status, stored};
use crate::workload::{Live, Observed, observe};

/// Decisions on one revision before we stop counting.
const MOST_EPISODES: u32 = 20;

/// What became of an order.
pub(super) enum Ordered {
    /// The `Rollback` is new.
    Placed(String),
    /// Somebody (we, before a crash; another leader) placed the same one already.
    Adopted(String),
    /// The undo of this revision did not help before, or could not be done.
    NotAgain(String),
    /// The revision was undone as often as it may be, and came back each time.
    Contended(String),
}

/// What an earlier record says about deciding on the same revision anew.
enum Earlier {
    /// It acts, or waits for a person.
    Acting,
    /// It led to nothing, or a person released the revision.
    Void,
    /// It undid the revision, and somebody put that back.
    Undone,
    /// It did not help, or could not be carried out.
    Useless,
}

fn earlier(record: &Rollback) -> Earlier {
    let status = record.status.as_ref();
    let was_contended = status.is_some_and(|status| status.reason == CONTENDED);
    match status.and_then(|status| status.phase) {
        None | Some(RollbackPhase::AwaitingApproval | RollbackPhase::Running | RollbackPhase::Verifying) => {
            Earlier::Acting
        }
        _ if record.spec.released.is_some() => Earlier::Void,
        Some(RollbackPhase::Superseded | RollbackPhase::Rejected) => Earlier::Void,
        Some(RollbackPhase::Succeeded) => Earlier::Undone,
        Some(RollbackPhase::Failed) if was_contended => Earlier::Undone,
        Some(RollbackPhase::Failed | RollbackPhase::Escalated) => Earlier::Useless,
    }
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
    is_newest(shared, policy).await?;
    let rollbacks: Api<Rollback> = Api::namespaced(shared.client.clone(), &namespace);
    let uid = live.workload.uid.as_str();
    let mut undone: Vec<Rollback> = Vec::new();
    for episode in 0..MOST_EPISODES {
        let name = Rollback::name_for(target, uid, order.from.fingerprint.as_str(), episode);
        if let Some(existing) = crate::timed("the Rollback", rollbacks.get_opt(&name)).await? {
            // A person's own, under a name of ours: it says nothing about what a policy decides.
            if existing.is_by_hand() {
                continue;
            }
            match earlier(&existing) {
                Earlier::Acting => return Ok(Ordered::Adopted(name)),
                Earlier::Useless => return Ok(Ordered::NotAgain(name)),
                Earlier::Void => undone.clear(),
                Earlier::Undone => undone.push(existing),
            }
            continue;
        }
        if episode > 0 {
            // That record ended after our look: what we saw may have been undone by it, or replaced by a newer one.
            is_still_live(shared, &namespace, guarded.kind, target, order).await?;
        }
        if let Some(last) = undone.last() {
            // The first of them was the decision, the others were for its coming back.
            let again: Vec<Timestamp> = undone.iter().skip(1).map(|record| record.decided_at().0).collect();
            if !may_undo_again(&again, &shared.limits, order.decided) {
                return Ok(Ordered::Contended(last.name_any()));
            }
        }
        let on = RollbackTarget { kind: guarded.kind.into(), name: target.to_owned(), uid: Some(uid.to_owned()) };
        let rollback = rollback(policy, guarded, on, order, undone.last(), asked, &name);
        // Somebody else's of that name is a conflict: the next look adopts it.
        crate::timed("the Rollback", rollbacks.create(&PostParams::default(), &rollback)).await?;
        return Ok(Ordered::Placed(name));
    }
    Ok(Ordered::Contended(Rollback::name_for(target, uid, order.from.fingerprint.as_str(), MOST_EPISODES - 1)))
}

/// A deleted, changed or suspended policy decides nothing.
pub(super) async fn is_newest(shared: &Context, policy: &RollbackPolicy) -> Result<(), Error> {
    let policies: Api<RollbackPolicy> = Api::namespaced(shared.client.clone(), &policy.namespace().unwrap_or_default());
    let newest = crate::timed("the policy", policies.get_opt(&policy.name_any())).await?;
    if newest.and_then(|newest| newest.resource_version()) != policy.resource_version() {
        return Err(Error::Conflict("the policy"));
    }
    Ok(())
}

async fn is_still_live(
    shared: &Context,
    namespace: &str,
    kind: Kind,
    target: &str,
    order: &Order,
) -> Result<(), Error> {
    match observe(&shared.client, namespace, kind, target).await? {
        Observed::Live(live) if live.workload.live == order.from.fingerprint => Ok(()),
        _ => Err(Error::Conflict("the workload")),
    }
}

/// What the `Rollback` of that name says of itself; `None` when somebody deleted it, or before its first step.
pub(super) async fn acting(shared: &Context, namespace: &str, name: &str) -> Result<Option<Acting>, Error> {
    let rollbacks: Api<Rollback> = Api::namespaced(shared.client.clone(), namespace);
    let found = if is_name(name) { crate::timed("the Rollback", rollbacks.get_opt(name)).await? } else { None };
    let Some(rollback) = found else {
        // A deleted record: the decision is withdrawn, by a person.
        return Ok(Some(Acting {
            phase: snapback_core::rollback::Phase::Rejected,
            message: format!("Rollback {name} was deleted; nothing more is done for this revision"),
            bad: Fingerprint::recorded(""),
            contended: false,
        }));
    };
    let status = rollback.status.clone().unwrap_or_default();
    let phase = status.phase.map_or(snapback_core::rollback::Phase::Running, crate::rollback::phase);
    let contended = status.reason == CONTENDED;
    let bad = rollback.ordered().map_or("", |ordered| ordered.from.fingerprint.as_str());
    Ok(Some(Acting { phase, message: status.message, bad: Fingerprint::recorded(bad), contended }))
}

fn rollback(
    policy: &RollbackPolicy,
    guarded: &Guarded,
    target: RollbackTarget,
    order: &Order,
    previous: Option<&Rollback>,
    asked: &BTreeMap<String, String>,
    name: &str,
) -> Rollback {
    let rules = &guarded.policy;
    let labels = [(POLICY_LABEL, policy.name_any()), (TARGET_LABEL, target.name.clone())];
    let mut rollback = Rollback::new(
        name,
        RollbackSpec {
            target,
            from: Some(revision_status(&order.from)),
            to: Some(RevisionTo { revision: None, known: Some(revision_status(&order.to)) }),
            trigger: TriggerSpec {
                type_: if order.returned.is_some() { TriggerType::Quarantine } else { TriggerType::Policy },
                policy: Some(policy.name_any()),
                checks: order.breached.clone(),
                previous: previous.map(ResourceExt::name_any),
            },
            require_approval: order.ask.is_some().then_some(true),
            approval_reason: order.ask.as_deref().map(|ask| cut(ask, 512)),
            approval_timeout: order.ask.is_some().then(|| duration::format(rules.rollback.approval_timeout)),
            config: match rules.rollback.config {
                ConfigMode::Ignore => None,
                ConfigMode::Warn => Some(ConfigModeName::Warn),
                ConfigMode::Restore => Some(ConfigModeName::Restore),
            },
            speed: rules.rollback.fast.then_some(SpeedName::Fast),
            approval: None,
            released: None,
            decided_at: Some(stored(order.decided)),
            started_at: Some(stored(order.started)),
            first_bad_at: order.first_bad.map(stored),
            deadline: Some(duration::format(rules.rollback.deadline)),
            jobs: jobs(policy, order),
            verify: Some(RollbackVerify {
                duration: duration::format(rules.rollback.verify),
                interval: duration::format(rules.soak.interval),
                minimum_requests: i64::try_from(rules.minimum_requests).unwrap_or(1),
                metrics: policy.spec.metrics.clone(),
                http: probe_specs(&rules.rollback.probes),
                // What came back was not measured again: it is cured when the limits hold that it broke before.
                limits: match previous.filter(|_| order.returned.is_some()) {
                    Some(previous) => previous.verify().limits.clone(),
                    None => order.evidence.iter().filter_map(|result| limit(guarded, result)).collect(),
                },
            }),
            evidence: match previous.filter(|_| order.returned.is_some()) {
                Some(previous) => previous.spec.evidence.clone(),
                None => evidence(&order.evidence, asked),
            },
        },
    );
    rollback.metadata = ObjectMeta {
        name: Some(name.to_owned()),
        namespace: policy.namespace(),
        labels: Some(labels.into_iter().map(|(key, value)| (key.to_owned(), label_value(&value))).collect()),
        ..ObjectMeta::default()
    };
    rollback
}

fn jobs(policy: &RollbackPolicy, order: &Order) -> Option<RollbackJobs> {
    let helm = policy.spec.rollback.as_ref().and_then(|rules| rules.helm.as_ref());
    let jobs = RollbackJobs { migration: order.migration_job.clone(), helm: helm.map(|helm| helm.job.clone()) };
    (jobs != RollbackJobs::default()).then_some(jobs)
}

/// Every check, those that decided first.
fn evidence(results: &[CheckResult], asked: &BTreeMap<String, String>) -> Vec<CheckStatus> {
    let mut results: Vec<&CheckResult> = results.iter().collect();
    results.sort_by_key(|result| result.verdict != Verdict::Breached);
    results.into_iter().map(|result| status::evidence(result, asked)).collect()
}

/// A breached check as a plain limit: what was relative to a baseline is a number now.
fn limit(guarded: &Guarded, result: &CheckResult) -> Option<LimitSpec> {
    if result.verdict != Verdict::Breached {
        return None;
    }
    let check = guarded.policy.checks.iter().find(|check| check.name == result.name)?;
    let limit = result.limit?;
    let over = result.value? > limit;
    let number = Some(number::record(limit));
    let spec = LimitSpec {
        name: check.name.clone(),
        kind: check.rule.kind().to_owned(),
        quantile: None,
        promql: None,
        min: None,
        max: None,
    };
    match &check.rule {
        // None is a limit of a metric that the good revision's pods could be held to: the pods themselves tell of crashes,
        // nothing is due beside nobody, pods that start are busy, and a window still holds the errors that it was undone for.
        Rule::CrashRate { .. } | Rule::TrafficDrop { .. } | Rule::Saturation { .. } | Rule::BurnRate { .. } => None,
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
