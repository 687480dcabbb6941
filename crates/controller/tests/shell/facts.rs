//! What the fake API server accepted, as facts for the nine invariants.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::Value;
use snapback_api::v1alpha1::{Rollback, TriggerType, VerdictName};
use snapback_controller::FIELD_MANAGER;
use snapback_core::fingerprint::Fingerprint;
use snapback_fake_api::Change;
use snapback_invariants::{Cause, Fact, Writer};
use tokio::time::Instant;

use crate::world::{NAMESPACE, is_over};

/// Turns changes into facts, one by one.
#[derive(Default)]
pub(crate) struct Facts {
    pub(crate) all: Vec<Fact>,
    /// Statuses that break the contract of conditions, however short they stood.
    pub(crate) contradictions: Vec<String>,
    /// What the live template of each Deployment says, and since when.
    templates: BTreeMap<String, (String, Instant)>,
    /// When the first one came: windows are told in seconds from then.
    began: Option<Instant>,
    /// Until when the windows of each revision of a target are told: several decisions may be about one.
    counted: BTreeMap<(String, String), i64>,
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
        self.contradictions.extend(contradictions(change));
        match change.resource.as_str() {
            "deployments" => self.deployment(change, is_gone),
            "rollbackpolicies" => self.policy(&change.object, is_gone),
            "rollbacks" => self.record(change, is_gone),
            "events" => self.event(&change.object),
            _ => {}
        }
    }

    fn deployment(&mut self, change: &Change, is_gone: bool) {
        let target = text(&change.object["metadata"]["name"]);
        let revision = Fingerprint::of_template(&change.object["spec"]["template"]).as_str().to_owned();
        if is_gone || self.templates.get(&target).is_some_and(|(live, _)| *live == revision) {
            return;
        }
        self.templates.insert(target.clone(), (revision.clone(), change.at));
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

    fn record(&mut self, change: &Change, is_gone: bool) {
        let object = &change.object;
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
            let interval = rollback.spec.verify.as_ref().map(|verify| verify.interval.as_str());
            self.windows(&target, &bad, interval.unwrap_or_default(), change.at);
            self.all.push(Fact::Decided { record: record.clone(), target, bad, good, cause, look: None });
        }
        let phase = rollback.status.as_ref().and_then(|status| status.phase);
        let ended = is_over(phase);
        if ended && self.records.insert(record.clone(), true) == Some(false) {
            self.all.push(Fact::Ended { record, phase: format!("{phase:?}") });
        }
    }

    /// The windows that the bad revision has been live in: no more of them can have been bad. They end with the clock's
    /// seconds, not with the rollout's: the first one is cut.
    fn windows(&mut self, target: &str, bad: &str, interval: &str, decided: Instant) {
        let Some((live, since)) = self.templates.get(target) else { return };
        let lived = decided.saturating_duration_since(*since);
        let interval = snapback_core::duration::parse(interval).ok().and_then(|read| Duration::try_from(read).ok());
        let Some(interval) = interval.filter(|interval| live == bad && !interval.is_zero()) else { return };
        let since = since.saturating_duration_since(*self.began.get_or_insert(*since)).as_secs();
        let (since, interval) = (i64::try_from(since).unwrap(), i64::try_from(interval.as_secs()).unwrap());
        for window in 0..=i64::try_from(lived.as_secs()).unwrap() / interval {
            let from = since + window * interval;
            let (target, revision, until) = (target.to_owned(), bad.to_owned(), from + interval);
            let counted = self.counted.entry((target.clone(), revision.clone())).or_default();
            if from >= *counted {
                *counted = until;
                self.all.push(Fact::Window { target, revision, check: String::new(), from, until });
            }
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
            let windows = rollback.spec.evidence.iter().filter_map(|check| in_a_row(&check.message)).max();
            Cause::Breach { judged, has_data, windows }
        }
    }
}

/// How many bad windows a check counted, if that is how it decides.
fn in_a_row(message: &str) -> Option<u32> {
    let (before, _) = message.split_once(" windows in a row")?;
    before.rsplit(' ').next()?.parse().ok()
}

/// What a status of ours says against itself.
fn contradictions(change: &Change) -> Vec<String> {
    let conditions = &change.object["status"]["conditions"];
    if !matches!(change.resource.as_str(), "rollbackpolicies" | "rollbacks") || conditions.is_null() {
        return Vec::new();
    }
    let told = match serde_json::from_value::<Vec<Condition>>(conditions.clone()) {
        Ok(conditions) => snapback_api::conditions::violations(&conditions),
        Err(error) => vec![format!("conditions that cannot be read: {error}")],
    };
    told.into_iter().map(|told| format!("{} {}: {told}", change.resource, change.object["metadata"]["name"])).collect()
}

/// A record of the same name may be another one.
fn name(metadata: &Value) -> String {
    format!("{}/{}", text(&metadata["name"]), text(&metadata["uid"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
