//! What a Flux Kustomization says.

use serde_json::Value;

use super::hold::Mark;
use crate::workload::Kind;

/// The label that keeps kustomize-controller from one object. A label, never an annotation: kustomize-controller reads
/// both, and only a label is sure to have siblings.
pub const RECONCILE: &str = "kustomize.toolkit.fluxcd.io/reconcile";

/// The annotation that asks for a reconcile at once.
pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";

/// One look at a Kustomization.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kustomization {
    /// Whether it delivers to another cluster: then it is another one of the same name that delivers here.
    pub remote: bool,
    /// Whether this workload is in its inventory.
    pub delivers: bool,
    /// The request that was last made of it.
    pub requested: Option<String>,
    /// The revision that it tried last.
    pub attempted: Option<String>,
    /// The revision that it applied last.
    pub applied: Option<String>,
    /// The digest of what it last built from the source.
    pub digest: Option<String>,
    /// Whether a reconcile is under way, so that the rest may be about the one before.
    pub busy: bool,
    /// Whether it may be about to write: it has begun, and does not yet wait for what it has applied to become healthy.
    pub applies: bool,
    /// Whether the last reconcile applied everything, and something of it did not become healthy (`wait: true`).
    pub unhealthy: bool,
    /// Whether the last reconcile did all that it should.
    pub ready: bool,
    /// The last request that it has answered.
    pub handled: Option<String>,
}

impl Kustomization {
    /// Reads one. `workload` is what it may deliver: kind, namespace and name.
    pub fn read(raw: &Value, (kind, namespace, name): (Kind, &str, &str)) -> Self {
        let id = format!("{namespace}_{name}_apps_{}", kind.as_str());
        let mut inventory = raw["status"]["inventory"]["entries"].as_array().into_iter().flatten();
        let status = &raw["status"];
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let is_so = |type_: &str, field: &str, said: &str| {
            let conditions = status["conditions"].as_array().into_iter().flatten();
            conditions.filter(|one| one["type"] == type_).any(|one| one[field] == said)
        };
        let is = |type_: &str, said: &str| is_so(type_, "status", said);
        // What failed stays `Reconciling` until the next try.
        let unhealthy = is("Ready", "False") && is_so("Ready", "reason", "HealthCheckFailed");
        let begun = is("Reconciling", "True") && is_so("Reconciling", "reason", "Progressing");
        Self {
            remote: raw["spec"]["kubeConfig"].is_object(),
            delivers: inventory.any(|entry| entry["id"] == id.as_str()),
            requested: text(&raw["metadata"]["annotations"][REQUESTED_AT]),
            attempted: text(&status["lastAttemptedRevision"]),
            applied: text(&status["lastAppliedRevision"]),
            digest: text(&status["history"][0]["digest"]),
            busy: !unhealthy && is("Reconciling", "True") || is("Ready", "Unknown"),
            applies: begun && !is("Healthy", "Unknown"),
            unhealthy,
            ready: is("Ready", "True"),
            handled: text(&status["lastHandledReconcileAt"]),
        }
    }

    /// What it had last brought. While a reconcile is under way nobody can tell: then any next one counts as newer.
    pub fn mark(&self) -> Mark {
        if self.busy {
            return Mark::default();
        }
        Mark { revision: self.attempted.clone().or_else(|| self.applied.clone()), digest: self.digest.clone() }
    }

    /// What it has brought, and waits for. Until it is known what was built, any other revision counts as newer.
    pub fn attempt(&self) -> Mark {
        if self.busy { Mark { revision: self.attempted.clone(), digest: None } } else { self.mark() }
    }

    /// Whether it has applied something newer, that is built otherwise. One that waits until all is healthy says so only then,
    /// and perhaps never: what it is kept from may be what it waits for.
    pub fn has_moved(&self, mark: &Mark) -> bool {
        let is_same = self.digest.is_some() && self.digest == mark.digest;
        let is_applied = self.unhealthy || self.applied == self.attempted;
        !self.busy && is_applied && self.attempted.is_some() && self.attempted != mark.revision && !is_same
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(raw: &Value) -> Kustomization {
        Kustomization::read(raw, (Kind::Deployment, "shop", "checkout"))
    }

    fn applied(revision: &str, digest: &str) -> Kustomization {
        read(&json!({"status": {
            "lastAttemptedRevision": revision, "lastAppliedRevision": revision, "history": [{"digest": digest}],
            "conditions": [{"type": "Ready", "status": "True"}],
            "inventory": {"entries": [{"id": "shop_checkout_apps_Deployment", "v": "v1"}]}
        }}))
    }

    #[test]
    fn it_has_moved_when_another_build_of_another_revision_is_applied() {
        let mark = applied("main@sha1:b4d", "d2").mark();
        assert!(!applied("main@sha1:b4d", "d2").has_moved(&mark));
        assert!(applied("main@sha1:f1x", "d3").has_moved(&mark));
        // A commit elsewhere in the repository.
        assert!(!applied("main@sha1:els", "d2").has_moved(&mark));
    }

    #[test]
    fn a_bad_revision_that_is_applied_only_after_the_hold_is_no_newer_one() {
        // With `wait: true` the bad one was tried and never became healthy; skipped by the hold it passes.
        let waiting = Kustomization { applied: Some("v1".into()), ..applied("v2", "d2") };
        assert!(!applied("v2", "d2").has_moved(&waiting.mark()));
    }

    #[test]
    fn what_is_not_applied_yet_is_waited_for() {
        let mark = applied("v2", "d2").mark();
        assert!(!Kustomization { applied: Some("v2".into()), ..applied("v3", "d3") }.has_moved(&mark));
        assert!(!Kustomization { busy: true, ..applied("v3", "d3") }.has_moved(&mark));
    }

    #[test]
    fn a_look_in_mid_reconcile_marks_nothing() {
        let mark = Kustomization { busy: true, ..applied("v3", "d3") }.mark();
        assert!(applied("v3", "d3").has_moved(&mark), "v3 would wait for v4");
    }

    #[test]
    fn what_is_applied_and_does_not_become_healthy_is_newer_all_the_same() {
        let failed = |reason: &str| {
            read(&json!({"status": {
                "lastAttemptedRevision": "v3", "lastAppliedRevision": "v1", "history": [{"digest": "d3"}],
                "conditions": [
                    {"type": "Reconciling", "status": "True", "reason": "ProgressingWithRetry"},
                    {"type": "Ready", "status": "False", "reason": reason}
                ]
            }}))
        };
        let mark = applied("v2", "d2").mark();
        assert!(failed("HealthCheckFailed").has_moved(&mark), "who waits for the gate would be held for ever");
        assert!(!failed("HealthCheckFailed").has_moved(&failed("HealthCheckFailed").mark()), "the same again");
        for reason in ["BuildFailed", "ReconciliationFailed", "PruneFailed"] {
            assert!(!failed(reason).has_moved(&mark), "{reason}: not all was applied");
        }
    }

    #[test]
    fn it_may_write_from_its_beginning_until_it_waits_for_health() {
        let read_with = |conditions: Value| read(&json!({"status": {"conditions": conditions}})).applies;
        let reconciling = |reason: &str| json!({"type": "Reconciling", "status": "True", "reason": reason});
        assert!(read_with(json!([reconciling("Progressing"), {"type": "Ready", "status": "Unknown"}])));
        assert!(read_with(json!([reconciling("Progressing"), {"type": "Healthy", "status": "False"}])));
        assert!(!read_with(json!([reconciling("Progressing"), {"type": "Healthy", "status": "Unknown"}])), "it waits");
        assert!(!read_with(json!([reconciling("ProgressingWithRetry"), {"type": "Ready", "status": "False"}])));
        assert!(!read_with(json!([{"type": "Ready", "status": "True"}])));
    }

    #[test]
    fn one_for_another_cluster_is_told() {
        assert!(read(&json!({"spec": {"kubeConfig": {"secretRef": {"name": "x"}}}})).remote);
        assert!(!applied("v1", "d1").remote);
    }

    #[test]
    fn it_delivers_what_is_in_its_inventory() {
        assert!(applied("v1", "d1").delivers);
        assert!(!read(&json!({"status": {"inventory": {"entries": [{"id": "shop_cart_apps_Deployment"}]}}})).delivers);
    }

    #[test]
    fn it_is_busy_while_it_reconciles_or_does_not_know_yet() {
        let with = |type_: &str, status: &str| {
            read(&json!({"status": {"conditions": [{"type": type_, "status": status, "reason": "Progressing"}]}})).busy
        };
        assert!(with("Reconciling", "True") && with("Ready", "Unknown"));
        assert!(!with("Ready", "True") && !with("Reconciling", "False"));
    }
}
