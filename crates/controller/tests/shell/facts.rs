//! What the fake API server accepted, as facts for the nine invariants.

use std::collections::BTreeMap;

use serde_json::Value;
use snapback_api::v1alpha1::{Rollback, TriggerType, VerdictName};
use snapback_controller::FIELD_MANAGER;
use snapback_core::fingerprint::Fingerprint;
use snapback_fake_api::Change;
use snapback_invariants::{Cause, Fact, Writer};

use crate::world::{NAMESPACE, is_over};

/// Turns changes into facts, one by one.
#[derive(Default)]
pub(crate) struct Facts {
    pub(crate) all: Vec<Fact>,
    /// What the live template of each Deployment says.
    templates: BTreeMap<String, String>,
    /// Whether the policy of each target judges.
    judges: BTreeMap<String, bool>,
    /// The records that were decided, and whether they have ended.
    records: BTreeMap<String, bool>,
}

impl Facts {
    pub(crate) fn see(&mut self, change: &Change) {
        // What a test puts beside ours is no history.
        if change.object["metadata"]["namespace"] != NAMESPACE {
            return;
        }
        let is_gone = change.kind == "DELETED";
        match change.resource.as_str() {
            "deployments" => self.deployment(change, is_gone),
            "rollbackpolicies" => self.policy(&change.object, is_gone),
            "rollbacks" => self.record(&change.object, is_gone),
            "events" => self.event(&change.object),
            _ => {}
        }
    }

    fn deployment(&mut self, change: &Change, is_gone: bool) {
        let target = text(&change.object["metadata"]["name"]);
        let revision = Fingerprint::of_template(&change.object["spec"]["template"]).as_str().to_owned();
        if is_gone || self.templates.insert(target.clone(), revision.clone()).as_ref() == Some(&revision) {
            return;
        }
        let by = if change.manager == FIELD_MANAGER { Writer::Operator { record: None } } else { Writer::Person };
        self.all.push(Fact::Template { target, revision, by });
    }

    fn policy(&mut self, object: &Value, is_gone: bool) {
        let target = text(&object["spec"]["targetRef"]["name"]);
        let judges = !is_gone && object["spec"]["suspend"] != true;
        if !target.is_empty() && self.judges.insert(target.clone(), judges) != Some(judges) {
            self.all.push(Fact::Policy { target, judges });
        }
    }

    fn record(&mut self, object: &Value, is_gone: bool) {
        let Ok(rollback) = serde_json::from_value::<Rollback>(object.clone()) else { return };
        let record = name(&object["metadata"]);
        let Some(ordered) = rollback.ordered() else { return };
        if is_gone {
            self.all.push(Fact::Withdrawn { record });
            return;
        }
        if !self.records.contains_key(&record) {
            let (bad, good) = (ordered.from.fingerprint.clone(), ordered.to.fingerprint.clone());
            let cause = cause(&rollback, &bad);
            self.records.insert(record.clone(), false);
            let target = rollback.spec.target.name.clone();
            self.all.push(Fact::Decided { record: record.clone(), target, bad, good, cause, look: None });
        }
        let phase = rollback.status.as_ref().and_then(|status| status.phase);
        let ended = is_over(phase);
        if ended && self.records.insert(record.clone(), true) == Some(false) {
            self.all.push(Fact::Ended { record, phase: format!("{phase:?}") });
        }
    }

    fn event(&mut self, event: &Value) {
        for object in [&event["regarding"], &event["related"]] {
            if object["kind"] == "Rollback" {
                self.all.push(Fact::Told { record: name(object), reason: text(&event["reason"]) });
            }
        }
    }
}

fn cause(rollback: &Rollback, bad: &str) -> Cause {
    let judged = bad.to_owned();
    match rollback.spec.trigger.type_ {
        TriggerType::Manual => Cause::Person,
        TriggerType::Quarantine => Cause::Return { judged },
        TriggerType::Policy => {
            let breached = rollback.spec.evidence.iter().filter(|check| check.verdict == VerdictName::Breached);
            // That Kubernetes gave a rollout up is data without a number.
            let has_data = breached.into_iter().any(|check| check.value.is_some() || check.name == "progress");
            Cause::Breach { judged, has_data, windows: None }
        }
    }
}

/// A record of the same name may be another one.
fn name(metadata: &Value) -> String {
    format!("{}/{}", text(&metadata["name"]), text(&metadata["uid"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
