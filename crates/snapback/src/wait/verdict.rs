//! What the status of the policies says of one release.

use kube::ResourceExt;
use kube::core::SelectorExt;
use snapback_api::convert;
use snapback_api::v1alpha1::{RollbackPolicy, TargetStatus};
use snapback_controller::status::target_from_status;
use snapback_core::fingerprint::Fingerprint;
use snapback_core::gate::{Answer, Gate, Word};
use snapback_core::watch::{Phase, Target};
use snapback_core::workload::Kind;

use super::named::Named;
use super::release::Release;

/// How the release stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stands {
    /// There is no verdict yet.
    Waiting(Word),
    /// It has passed its soak.
    Good(Word),
    /// It was found bad.
    Bad(Word),
    /// Another one took its place.
    Superseded(Word),
    /// Nobody judges it.
    Unjudged(Word),
}

/// Who is asked about, and what is known of it so far.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) named: Named,
    pub(crate) release: Release,
    /// What it is called, if that was said.
    pub(crate) revision: Option<String>,
    /// The template that is meant and from which generation of the workload on, once it is known.
    meant: Option<(Fingerprint, i64)>,
}

impl Asked {
    /// Without a name, what is live is meant; with one, what is live if it is called that.
    pub(crate) fn new(named: Named, release: Release, revision: Option<String>) -> Self {
        let lives = revision.as_ref().is_none_or(|name| release.called.contains(name));
        let meant = lives.then(|| (release.fingerprint.clone(), release.generation));
        Self { named, release, revision, meant }
    }

    /// How it stands by these policies of its namespace.
    pub(crate) fn stands(&mut self, policies: &[&RollbackPolicy]) -> Stands {
        let mut told: Vec<(&RollbackPolicy, &TargetStatus)> =
            policies.iter().filter_map(|policy| Some((*policy, self.told(policy)?))).collect();
        told.sort_by_key(|(policy, _)| (is_invalid(policy), age(policy)));
        match told.first() {
            Some((policy, known)) if !is_invalid(policy) => self.by_status(policy, known),
            Some((policy, _)) => invalid(policy),
            None => self.untold(policies),
        }
    }

    fn told<'a>(&self, policy: &'a RollbackPolicy) -> Option<&'a TargetStatus> {
        let mut targets = policy.status.iter().flat_map(|status| &status.targets);
        targets.find(|target| target.name == self.named.name && Kind::from(target.kind) == self.named.kind)
    }

    /// No status speaks of it: whose it will be, if anybody's.
    fn untold(&self, policies: &[&RollbackPolicy]) -> Stands {
        let chosen = policies.iter().filter(|policy| self.is_chosen(policy));
        let Some(policy) = chosen.min_by_key(|policy| (is_invalid(policy), age(policy))) else {
            return Stands::Unjudged(Word::new("NoPolicy", "no RollbackPolicy of its namespace covers it"));
        };
        if is_invalid(policy) {
            return invalid(policy);
        }
        if policy.spec.suspend == Some(true) {
            return suspended(policy);
        }
        let message = format!("the operator has not looked at it yet for RollbackPolicy {}", policy.name_any());
        Stands::Waiting(Word::new("NotSeen", message))
    }

    fn is_chosen(&self, policy: &RollbackPolicy) -> bool {
        match (&policy.spec.target_ref, &policy.spec.selector) {
            (Some(target), _) => target.name == self.named.name && Kind::from(target.kind) == self.named.kind,
            (None, Some(selector)) => {
                self.named.kind == Kind::Deployment && convert::selector(selector).matches(&self.release.labels)
            }
            (None, None) => false,
        }
    }

    fn by_status(&mut self, policy: &RollbackPolicy, known: &TargetStatus) -> Stands {
        let stands = self.judged(policy, known);
        // What waits for one that is suspended would wait for ever.
        let is_stuck = policy.spec.suspend == Some(true) && matches!(stands, Stands::Waiting(_));
        if is_stuck { suspended(policy) } else { stands }
    }

    fn judged(&mut self, policy: &RollbackPolicy, known: &TargetStatus) -> Stands {
        let target = target_from_status(known);
        let not_seen = || {
            let message = format!("the operator has not seen it yet for RollbackPolicy {}", policy.name_any());
            Stands::Waiting(Word::new("NotSeen", message))
        };
        if known.uid != self.release.uid {
            return not_seen();
        }
        let Some((meant, since)) = self.meant.clone() else { return self.by_name(&target, known) };
        if target.current.fingerprint == meant {
            return self.answered(&target);
        }
        if let Some(bad) = target.quarantined.iter().find(|bad| bad.fingerprint == meant) {
            return Stands::Bad(Word::new("RolledBack", rolled_back(&target, &bad.rollback)));
        }
        // An undo is under way, and it is for what is meant: the status still speaks of what is undone.
        if target.rollback.is_some() && is_good(&target, &meant) {
            return self.answered(&target);
        }
        if known.observed_generation.unwrap_or_default() < since {
            return not_seen();
        }
        let message = format!("{} took its place before there was a verdict on it", target.current.name());
        Stands::Superseded(Word::new("Superseded", message))
    }

    /// Nothing was live by that name when the wait began.
    fn by_name(&mut self, target: &Target, known: &TargetStatus) -> Stands {
        let is_meant = self.revision.as_ref().is_some_and(|name| target.current.called.contains(name));
        if is_meant {
            let since = known.observed_generation.unwrap_or_default();
            self.meant = Some((target.current.fingerprint.clone(), since));
        }
        self.answered(target)
    }

    fn answered(&self, target: &Target) -> Stands {
        let gate = Gate { expected: self.revision.clone() };
        match gate.answer(target, None) {
            Answer::Passed => Stands::Good(Word::new(&target.standing.reason, &target.standing.message)),
            Answer::Waiting(word) => Stands::Waiting(phased(target, word)),
            Answer::Failed(word) => Stands::Bad(word),
        }
    }
}

/// While it is judged, the phase is told as well.
fn phased(target: &Target, word: Word) -> Word {
    match target.phase {
        Phase::Progressing | Phase::Soaking if word.reason == target.standing.reason => {
            Word { message: format!("{}, {}", target.phase.as_str(), word.message), ..word }
        }
        _ => word,
    }
}

/// What there is to tell of an undo: the standing is about the last one, and only until something newer comes.
fn rolled_back(target: &Target, record: &str) -> String {
    match (target.standing.reason.as_str(), target.quarantined.last()) {
        ("RolledBack", Some(last)) if last.rollback == record => {
            format!("{} (Rollback {record})", target.standing.message)
        }
        _ => format!("it was rolled back (Rollback {record})"),
    }
}

fn is_good(target: &Target, fingerprint: &Fingerprint) -> bool {
    target.known_good.as_ref().is_some_and(|good| good.fingerprint == *fingerprint)
}

/// The older one of two judges.
fn age(policy: &RollbackPolicy) -> impl Ord + use<> {
    (policy.creation_timestamp().map(|time| time.0), policy.name_any())
}

fn is_invalid(policy: &RollbackPolicy) -> bool {
    not_understood(policy).is_some()
}

/// Why the newest spec is not understood. One whose target is missing, or an older policy's, is.
fn not_understood(policy: &RollbackPolicy) -> Option<&str> {
    let conditions = policy.status.iter().flat_map(|status| &status.conditions);
    let mut newest = conditions.filter(|condition| condition.observed_generation == policy.metadata.generation);
    let accepted = newest.find(|one| one.type_ == "Accepted" && one.status == "False")?;
    let is_understood = matches!(accepted.reason.as_str(), "TargetNotFound" | "Conflicted");
    (!is_understood).then_some(&accepted.message)
}

fn invalid(policy: &RollbackPolicy) -> Stands {
    let why = not_understood(policy).unwrap_or_default();
    Stands::Unjudged(Word::new("InvalidSpec", format!("RollbackPolicy {} cannot be meant: {why}", policy.name_any())))
}

fn suspended(policy: &RollbackPolicy) -> Stands {
    let message = format!("RollbackPolicy {} is suspended (spec.suspend): nothing is judged", policy.name_any());
    Stands::Unjudged(Word::new("Suspended", message))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use snapback_api::v1alpha1::RevisionStatus;

    use super::super::named;
    use super::*;

    /// What is live: v2, since generation 2.
    fn asked(revision: Option<&str>) -> Asked {
        let release = Release {
            uid: "uid".into(),
            labels: [("team".to_owned(), "payments".to_owned())].into(),
            generation: 2,
            fingerprint: Fingerprint::recorded("f2"),
            called: vec!["v2".into()],
        };
        Asked::new(named::parse("deploy/web").unwrap(), release, revision.map(str::to_owned))
    }

    fn policy(name: &str, spec: &Value, status: &Value) -> RollbackPolicy {
        let object = json!({
            "apiVersion": "snapback.dev/v1alpha1", "kind": "RollbackPolicy",
            "metadata": {"name": name, "namespace": "shop", "generation": 1}, "spec": spec, "status": status
        });
        serde_json::from_value(object).unwrap()
    }

    fn by_name() -> Value {
        json!({"targetRef": {"kind": "Deployment", "name": "web"}})
    }

    fn revision(number: i64) -> Value {
        json!({"fingerprint": format!("f{number}"), "images": [format!("web:v{number}")], "called": [format!("v{number}")]})
    }

    /// The target as the status has it: `current` and `good` are numbers of versions, `generation` what was looked at.
    fn status(phase: &str, reason: &str, (current, good): (i64, i64), generation: i64) -> Value {
        let rollout = matches!(phase, "Progressing" | "Soaking").then(|| json!({"startedAt": "2026-01-02T03:04:05Z"}));
        json!({
            "kind": "Deployment", "name": "web", "uid": "uid", "phase": phase, "reason": reason, "message": "told",
            "observedGeneration": generation, "current": revision(current), "knownGood": revision(good), "rollout": rollout
        })
    }

    fn undone() -> Value {
        let mut target = status("Idle", "RolledBack", (1, 1), 3);
        let at = "2026-01-02T03:04:05Z";
        target["quarantined"] = json!([{"fingerprint": "f2", "rollback": "web-1", "called": ["v2"], "at": at}]);
        target
    }

    fn told(asked: &mut Asked, target: &Value) -> String {
        word(asked.stands(&[&policy("web", &by_name(), &json!({"targets": [target]}))]))
    }

    fn word(stands: Stands) -> String {
        let (kind, word) = match stands {
            Stands::Waiting(word) => ("Waiting", word),
            Stands::Good(word) => ("Good", word),
            Stands::Bad(word) => ("Bad", word),
            Stands::Superseded(word) => ("Superseded", word),
            Stands::Unjudged(word) => ("Unjudged", word),
        };
        format!("{kind} {}", word.reason)
    }

    #[test]
    fn a_status_from_before_the_release_is_no_verdict_on_it() {
        for revision in [None, Some("v2")] {
            let stale = status("Idle", "KnownGood", (1, 1), 1);
            assert_eq!(told(&mut asked(revision), &stale), "Waiting NotSeen");
            let other = json!({"uid": "another"});
            let mut recreated = status("Idle", "KnownGood", (2, 2), 9);
            recreated["uid"] = other["uid"].clone();
            assert_eq!(told(&mut asked(revision), &recreated), "Waiting NotSeen");
        }
    }

    #[test]
    fn what_is_live_is_followed_to_its_verdict() {
        for revision in [None, Some("v2")] {
            assert_eq!(
                told(&mut asked(revision), &status("Progressing", "RollingOut", (2, 1), 2)),
                "Waiting RollingOut"
            );
            assert_eq!(told(&mut asked(revision), &status("Soaking", "Judging", (2, 1), 2)), "Waiting Judging");
            assert_eq!(told(&mut asked(revision), &status("Idle", "KnownGood", (2, 2), 2)), "Good KnownGood");
            assert_eq!(
                told(&mut asked(revision), &status("RollingBack", "RollbackDecided", (2, 1), 2)),
                "Bad RollbackDecided"
            );
            assert_eq!(told(&mut asked(revision), &status("Held", "ObservedOnly", (2, 1), 2)), "Bad ObservedOnly");
            assert_eq!(told(&mut asked(revision), &undone()), "Bad RolledBack");
        }
    }

    #[test]
    fn what_took_its_place_is_not_what_was_waited_for() {
        let mut waiting = asked(None);
        assert_eq!(told(&mut waiting, &status("Soaking", "Judging", (2, 1), 2)), "Waiting Judging");
        assert_eq!(told(&mut waiting, &status("Progressing", "RollingOut", (3, 1), 3)), "Superseded Superseded");
        // An operator that saw only the next one.
        assert_eq!(told(&mut asked(None), &status("Idle", "KnownGood", (3, 3), 3)), "Superseded Superseded");
    }

    #[test]
    fn one_that_is_not_there_yet_is_waited_for_by_its_name() {
        let mut waiting = asked(Some("v3"));
        assert_eq!(told(&mut waiting, &status("Idle", "KnownGood", (2, 2), 2)), "Waiting AwaitingRevision");
        assert_eq!(told(&mut waiting, &status("Soaking", "Judging", (3, 2), 3)), "Waiting Judging");
        assert_eq!(told(&mut waiting, &status("Idle", "KnownGood", (3, 3), 3)), "Good KnownGood");
        assert_eq!(told(&mut waiting, &status("Progressing", "RollingOut", (4, 2), 4)), "Superseded Superseded");
    }

    #[test]
    fn one_that_was_undone_before_the_wait_began_is_bad() {
        // v1 is live again.
        let after = |revision: Option<&str>| {
            let release = Release {
                generation: 3,
                fingerprint: Fingerprint::recorded("f1"),
                called: vec!["v1".into()],
                ..asked(None).release
            };
            Asked::new(named::parse("deploy/web").unwrap(), release, revision.map(str::to_owned))
        };
        assert_eq!(told(&mut after(None), &undone()), "Bad RolledBack");
        assert_eq!(told(&mut after(Some("v2")), &undone()), "Bad RolledBack");
        // Whoever reverted in Git asks for v1, and has it.
        assert_eq!(told(&mut after(Some("v1")), &undone()), "Good RolledBack");
        let mut acting = status("RollingBack", "RollingBack", (2, 1), 2);
        acting["rollback"] = json!("web-1");
        assert_eq!(told(&mut after(Some("v1")), &acting), "Waiting AwaitingRevision");
        assert_eq!(told(&mut after(None), &acting), "Bad RollingBack");
    }

    #[test]
    fn without_a_policy_nobody_judges_it() {
        let other = policy("other", &json!({"targetRef": {"kind": "Deployment", "name": "cart"}}), &Value::Null);
        let set = policy("set", &json!({"targetRef": {"kind": "StatefulSet", "name": "web"}}), &Value::Null);
        let labels = policy("labels", &json!({"selector": {"matchLabels": {"team": "search"}}}), &Value::Null);
        assert_eq!(word(asked(None).stands(&[&other, &set, &labels])), "Unjudged NoPolicy");
    }

    #[test]
    fn a_policy_that_the_operator_has_not_seen_yet_is_waited_for() {
        let labels = policy("labels", &json!({"selector": {"matchLabels": {"team": "payments"}}}), &Value::Null);
        for unseen in [policy("web", &by_name(), &json!({"observedGeneration": -1})), labels] {
            assert_eq!(word(asked(None).stands(&[&unseen])), "Waiting NotSeen");
        }
    }

    #[test]
    fn a_policy_that_is_suspended_or_invalid_judges_nothing() {
        let mut spec = by_name();
        spec["suspend"] = json!(true);
        let with = |target: Value| word(asked(None).stands(&[&policy("web", &spec, &json!({"targets": [target]}))]));
        assert_eq!(with(status("Soaking", "Judging", (2, 1), 2)), "Unjudged Suspended");
        assert_eq!(with(status("Idle", "KnownGood", (1, 1), 1)), "Unjudged Suspended");
        assert_eq!(with(undone()), "Bad RolledBack");
        assert_eq!(word(asked(None).stands(&[&policy("web", &spec, &Value::Null)])), "Unjudged Suspended");

        let not_accepted = |reason: &str| {
            json!([{
                "type": "Accepted", "status": "False", "reason": reason, "message": "must be", "observedGeneration": 1,
                "lastTransitionTime": "2026-01-02T03:04:05Z"
            }])
        };
        let told = json!({"conditions": not_accepted("Invalid"), "targets": [status("Idle", "KnownGood", (2, 2), 2)]});
        assert_eq!(word(asked(None).stands(&[&policy("web", &by_name(), &told)])), "Unjudged InvalidSpec");
        // Another one that can be meant judges instead.
        let other = policy("other", &by_name(), &json!({"targets": [status("Soaking", "Judging", (2, 1), 2)]}));
        assert_eq!(word(asked(None).stands(&[&policy("web", &by_name(), &told), &other])), "Waiting Judging");
        // One that is understood may have its target yet.
        for reason in ["TargetNotFound", "Conflicted"] {
            let told = json!({"conditions": not_accepted(reason)});
            assert_eq!(word(asked(None).stands(&[&policy("web", &by_name(), &told)])), "Waiting NotSeen", "{reason}");
        }
    }

    #[test]
    fn a_revision_without_names_is_read() {
        let old: RevisionStatus = serde_json::from_value(json!({"fingerprint": "f2"})).unwrap();
        assert!(old.called.is_empty());
    }
}
