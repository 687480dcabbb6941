//! What happened, as facts for the nine invariants.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use snapback_api::v1alpha1::{Rollback, TriggerType, VerdictName};
use snapback_invariants::{Cause, Fact, Writer};

use crate::proxy::Asked;
use crate::seen::{Change, from, to};

/// An undo of this image.
pub(crate) type Undone = BTreeMap<String, usize>;

/// The history in the order of the versions, and how often each image was undone.
pub(crate) fn facts(history: &BTreeMap<u64, Change>, asked: &Asked) -> (Vec<Fact>, Undone) {
    let (mut story, mut read) = (Story::default(), looks(history, asked));
    for (version, change) in history {
        story.see(change, asked.deployments.contains(version));
        let looks = read.remove(version).unwrap_or_default();
        for (record, key) in looks {
            // The look is at what this version said.
            story.looked(&record, &key);
        }
    }
    (story.facts, story.undone)
}

/// The last look at a policy before each record, by the change of the policy that it saw.
fn looks(history: &BTreeMap<u64, Change>, asked: &Asked) -> BTreeMap<u64, Vec<(String, String)>> {
    let mut looks: BTreeMap<u64, Vec<(String, String)>> = BTreeMap::new();
    for change in history.values() {
        let Change::Decided(record) = change else { continue };
        let uid = record.uid().unwrap_or_default();
        let key = key(record);
        let is_its = |(_, change): &(&u64, &Change)| matches!(change, Change::Policy { key: of, .. } if *of == key);
        let seen = asked.looks.get(&uid).and_then(|read| history.range(..=read).rev().find(is_its));
        if let Some((version, _)) = seen {
            looks.entry(*version).or_default().push((uid, key));
        }
    }
    looks
}

fn key(record: &Rollback) -> String {
    format!("{}/{}", record.namespace().unwrap_or_default(), record.spec.target.name)
}

#[derive(Default)]
struct Story {
    facts: Vec<Fact>,
    undone: Undone,
    /// The UID and the image of each Deployment.
    live: BTreeMap<String, (String, String)>,
    judges: BTreeMap<String, bool>,
    /// Records whose look is among the facts.
    looked: BTreeSet<String>,
}

impl Story {
    fn see(&mut self, change: &Change, by_us: bool) {
        match change {
            Change::Template { key, uid, image } => {
                let before = self.live.insert(key.clone(), (uid.clone(), image.clone()));
                let is_new = before.as_ref().is_none_or(|(known, _)| known != uid);
                if is_new && let Some(judges) = self.judges.get(key) {
                    self.facts.push(Fact::Policy { target: uid.clone(), judges: *judges });
                }
                let by = if by_us { Writer::Operator { record: None } } else { Writer::Person };
                if by_us && let Some((_, bad)) = before {
                    *self.undone.entry(bad).or_default() += 1;
                }
                self.facts.push(Fact::Template { target: uid.clone(), revision: image.clone(), by });
            }
            Change::Gone { key } => _ = self.live.remove(key),
            Change::Policy { key, judges } => {
                self.judges.insert(key.clone(), *judges);
                if let Some((uid, _)) = self.live.get(key) {
                    self.facts.push(Fact::Policy { target: uid.clone(), judges: *judges });
                }
            }
            Change::Decided(record) => self.decided(record),
            Change::Ended { record, phase } => {
                self.facts.push(Fact::Ended { record: record.clone(), phase: format!("{phase:?}") });
            }
            Change::Told { record, reason } => {
                self.facts.push(Fact::Told { record: record.clone(), reason: reason.clone() });
            }
        }
    }

    fn looked(&mut self, record: &str, key: &str) {
        if let Some((uid, _)) = self.live.get(key) {
            self.facts.push(Fact::Looked { look: record.to_owned(), target: uid.clone() });
            self.looked.insert(record.to_owned());
        }
    }

    fn decided(&mut self, record: &Rollback) {
        let (uid, bad) = (record.uid().unwrap_or_default(), from(record).to_owned());
        let judged = bad.clone();
        let cause = match record.spec.trigger.type_ {
            TriggerType::Manual => Cause::Person,
            TriggerType::Quarantine => Cause::Return { judged },
            TriggerType::Policy => {
                let breached = record.spec.evidence.iter().filter(|check| check.verdict == VerdictName::Breached);
                let has_data = breached.into_iter().any(|check| check.value.is_some());
                Cause::Breach { judged, has_data, windows: None }
            }
        };
        let look = self.looked.contains(&uid).then(|| uid.clone());
        self.facts.push(Fact::Decided {
            record: uid,
            target: record.spec.target.uid.clone().unwrap_or_default(),
            bad,
            good: to(record).to_owned(),
            cause,
            look,
        });
    }
}

/// At the end all of them rest.
pub(crate) fn rest(history: &BTreeMap<u64, Change>) -> Vec<Fact> {
    let mut live: BTreeMap<&str, &str> = BTreeMap::new();
    for change in history.values() {
        match change {
            Change::Template { key, uid, .. } => _ = live.insert(key, uid),
            Change::Gone { key } => _ = live.remove(key.as_str()),
            _ => {}
        }
    }
    let rest = |target: &&str| Fact::Rest { target: (*target).to_owned(), expected: None, terminal: true };
    live.values().map(rest).collect()
}
