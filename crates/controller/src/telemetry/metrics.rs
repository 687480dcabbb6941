//! `snapback_*`.

use std::fmt::Error;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64};

use jiff::{SignedDuration, Timestamp};
use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use snapback_api::v1alpha1::RollbackPolicy;
use snapback_core::rollback::Phase;

use super::phases;
use crate::rights::Right;

/// Which controller, and how it went.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Reconciled {
    /// `policy` or `rollback`.
    pub controller: &'static str,
    /// `Ok`, or the error's reason.
    pub outcome: &'static str,
}

/// A right that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Refused {
    /// Such as `list`.
    pub verb: String,
    /// Such as `deployments.apps`.
    pub resource: String,
}

/// How a rollback ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Ended {
    /// The final phase.
    pub outcome: &'static str,
}

/// Where a target stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Stands {
    /// The phase of its status.
    pub phase: &'static str,
}

/// How a rollback may end.
const ENDS: [Phase; 5] = [Phase::Succeeded, Phase::Failed, Phase::Superseded, Phase::Escalated, Phase::Rejected];

/// The operator's metrics. Labels are few and fixed: no object names.
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Reconciled, Counter<u64, AtomicU64>>,
    refused: Family<Refused, Counter<u64, AtomicU64>>,
    rollbacks: Family<Ended, Counter<u64, AtomicU64>>,
    decided: Counter<u64, AtomicU64>,
    returned: Counter<u64, AtomicU64>,
    judged: Gauge<i64, AtomicI64>,
    targets: Family<Stands, Gauge<i64, AtomicI64>>,
    /// What those are counted by: the policies that this replica watches, once it does.
    policies: OnceLock<Store<DeserializeGuard<RollbackPolicy>>>,
    leads: Gauge<i64, AtomicI64>,
    detect: Histogram,
    undo: Histogram,
    recover: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("snapback");
        let seconds = || Histogram::new([1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0]);
        let metrics = Self {
            reconciles: Family::default(),
            refused: Family::default(),
            rollbacks: Family::default(),
            decided: Counter::default(),
            returned: Counter::default(),
            judged: Gauge::default(),
            targets: Family::default(),
            policies: OnceLock::new(),
            leads: Gauge::default(),
            detect: seconds(),
            undo: seconds(),
            recover: seconds(),
            registry: Registry::default(),
        };
        registry.register("reconciles", "Reconciles by controller and outcome", metrics.reconciles.clone());
        let refused = "Requests that the API server refused since the operator's role does not hold the right";
        registry.register("rights_refused", refused, metrics.refused.clone());
        registry.register("rollbacks", "Rollbacks that ended, by outcome", metrics.rollbacks.clone());
        // From the start, at zero: the first end of a kind is no increase of a series that was not there before.
        for end in ENDS {
            drop(metrics.rollbacks.get_or_create(&Ended { outcome: end.as_str() }));
        }
        registry.register("rollbacks_decided", "Rollbacks that were decided", metrics.decided.clone());
        let returned = "Quarantined revisions that came back and were undone again: oscillation";
        registry.register("returns", returned, metrics.returned.clone());
        registry.register("judged_targets", "Targets that are judged now", metrics.judged.clone());
        registry.register("targets", "Targets of all policies, by phase", metrics.targets.clone());
        registry.register("leader", "1 on the replica that does the work", metrics.leads.clone());
        let detect = "From the first sight of a bad rollout to the decision, in seconds";
        registry.register("time_to_detect_seconds", detect, metrics.detect.clone());
        let undo = "From the decision to the API server's acceptance of the undo, in seconds";
        registry.register("time_to_undo_seconds", undo, metrics.undo.clone());
        let recover = "From the acceptance of the undo to the good revision's last pod, in seconds";
        registry.register("time_to_recover_seconds", recover, metrics.recover.clone());
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// Whether this replica does the work.
    pub fn leads(&self, leads: bool) {
        self.leads.set(i64::from(leads));
    }

    /// Counts a reconcile.
    pub fn reconciled(&self, controller: &'static str, outcome: &'static str) {
        self.reconciles.get_or_create(&Reconciled { controller, outcome }).inc();
    }

    /// Counts a right that was refused. There are no more of them than kinds of requests.
    pub fn refused(&self, right: &Right) {
        let Right { verb, resource } = right.clone();
        self.refused.get_or_create(&Refused { verb, resource }).inc();
    }

    /// Counts a revision that came back.
    pub fn returned(&self) {
        self.returned.inc();
    }

    /// Counts a decision.
    pub fn decided(&self, started: Timestamp, now: Timestamp) {
        self.decided.inc();
        self.detect.observe(seconds(started, now));
    }

    /// Counts an end.
    pub fn ended(&self, outcome: &'static str) {
        self.rollbacks.get_or_create(&Ended { outcome }).inc();
    }

    /// Notes an accepted undo.
    pub fn undone(&self, decided: Timestamp, accepted: Timestamp) {
        self.undo.observe(seconds(decided, accepted));
    }

    /// Notes a recovery.
    pub fn recovered(&self, accepted: Timestamp, rolled_out: Timestamp) {
        self.recover.observe(seconds(accepted, rolled_out));
    }

    /// Notes how many targets are judged now.
    pub fn judged(&self, targets: usize) {
        self.judged.set(i64::try_from(targets).unwrap_or(i64::MAX));
    }

    /// The policies whose targets are counted by phase from now on.
    pub(crate) fn watches(&self, policies: Store<DeserializeGuard<RollbackPolicy>>) {
        // There is one set of controllers a process.
        _ = self.policies.set(policies);
    }

    /// The text that Prometheus reads.
    pub fn encode(&self) -> Result<String, Error> {
        let stand = self.policies.get().map(phases::all).unwrap_or_default();
        for phase in phases::PHASES {
            let count = stand.iter().filter(|one| **one == phase).count();
            let gauge = self.targets.get_or_create(&Stands { phase: phases::word(phase) });
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).max(SignedDuration::ZERO).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use kube::runtime::{reflector, watcher};
    use serde_json::json;

    use super::*;

    /// Nothing is added up: what is deleted is gone, and a process that starts anew knows what its first list says.
    #[test]
    fn targets_are_counted_by_the_policies_that_there_are() {
        let metrics = Metrics::default();
        let held = |count: u8| format!("snapback_targets{{phase=\"Held\"}} {count}\n");
        assert!(metrics.encode().unwrap().contains(&held(0)), "before the first list");
        let (store, mut writer) = reflector::store();
        metrics.watches(store);
        let policy: DeserializeGuard<RollbackPolicy> = serde_json::from_value(json!({
            "apiVersion": "snapback.dev/v1alpha1", "kind": "RollbackPolicy", "metadata": {"name": "a", "namespace": "shop"},
            "spec": {}, "status": {"targets": [{"kind": "Deployment", "name": "a", "uid": "u", "phase": "Held",
                "reason": "ObservedOnly", "message": "", "current": {"fingerprint": "f", "images": []}}]}
        }))
        .unwrap();
        writer.apply_watcher_event(&watcher::Event::Apply(policy.clone()));
        let text = metrics.encode().unwrap();
        assert!(text.contains(&held(1)), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("snapback_targets{")).count(), phases::PHASES.len());
        writer.apply_watcher_event(&watcher::Event::Delete(policy));
        assert!(metrics.encode().unwrap().contains(&held(0)), "once it is deleted");
    }

    #[test]
    fn every_end_of_a_rollback_is_counted_from_zero() {
        let all = [Phase::AwaitingApproval, Phase::Running, Phase::Verifying].into_iter().chain(ENDS);
        let text = Metrics::default().encode().unwrap();
        for phase in all {
            let at_zero = text.contains(&format!("snapback_rollbacks_total{{outcome=\"{}\"}} 0\n", phase.as_str()));
            assert_eq!(at_zero, phase.is_terminal(), "{phase:?}:\n{text}");
        }
    }
}
