//! The policy in words: conditions, and the line of `kubectl get`.

use snapback_api::conditions::cut;
use snapback_api::v1alpha1::{PhaseName, RollbackPolicy, Summary, TargetStatus, VerdictName};

use snapback_core::workload::Kind;

use super::commit::{Committed, Outline};
use super::{accepted, doubts, gate};
use crate::status::revision_ref;

/// Most targets that are shown.
const MOST_TARGETS: usize = 64;

pub(super) fn describe(policy: &RollbackPolicy, found: &Committed<'_>) -> Outline {
    let guarded = found.guarded;
    let worst = worst(found);
    let all: Vec<&String> = guarded.targets.iter().chain(guarded.overridden.keys()).collect();
    let target = match (&policy.spec.target_ref, all.as_slice()) {
        (Some(target), _) => target.name.clone(),
        (None, [only]) => (*only).clone(),
        (None, all) => format!("{} targets", all.len()),
    };
    let suspended = guarded.policy.suspend;
    let (phase, why, message) = if let Some(name) = &guarded.absent {
        ("Waiting".to_owned(), "TargetNotFound".to_owned(), target_not_found(policy, name))
    } else if let (Some((name, other)), true) = (guarded.overridden.first_key_value(), found.targets.is_empty()) {
        (
            "Overridden".to_owned(),
            "Overridden".to_owned(),
            format!("policy {other} is older and already watches {name}"),
        )
    } else if suspended {
        ("Suspended".to_owned(), "Suspended".to_owned(), "spec.suspend is set; nothing is judged".to_owned())
    } else if let Some(worst) = worst {
        let prefix = if found.targets.len() > 1 { format!("{}: ", worst.name) } else { String::new() };
        (phase_word(worst), why(worst), format!("{prefix}{}", worst.message))
    } else {
        let message =
            "the selector matches no Deployment of this namespace; label one, or correct spec.selector".to_owned();
        ("Waiting".to_owned(), "NoTargets".to_owned(), message)
    };
    let known_good = worst.and_then(|worst| worst.known_good.as_ref());
    let current = worst.map(|worst| &worst.current);
    let known_good = known_good.map_or_else(
        || "<none>".to_owned(),
        |good| {
            // The same images with another configuration: only the hash tells them apart.
            let is_alike = current.is_some_and(|now| now.images == good.images && now.fingerprint != good.fingerprint);
            let good = revision_ref(good);
            if is_alike { good.name() } else { good.images() }
        },
    );
    let summary = Summary {
        target: cut(&target, 253),
        phase,
        why,
        known_good: cut(&known_good, 512),
        message: cut(&message, 1024),
    };
    Outline { conditions: conditions(policy, found, &summary), targets: shown(found), summary }
}

/// The target that needs attention most.
fn worst<'a>(found: &'a Committed<'_>) -> Option<&'a TargetStatus> {
    found.targets.iter().max_by_key(|target| (attention(target.phase), std::cmp::Reverse(&target.name)))
}

/// Why, in one word: while a rollback acts, the check that decided it; the phase says the rest.
fn why(target: &TargetStatus) -> String {
    let acts = matches!(target.phase, PhaseName::AwaitingApproval | PhaseName::RollingBack | PhaseName::Verifying);
    let breached = target.checks.iter().find(|check| check.verdict == VerdictName::Breached).filter(|_| acts);
    breached.map_or_else(|| target.reason.clone(), |check| check.name.clone())
}

fn shown(found: &Committed<'_>) -> Vec<TargetStatus> {
    // Those that are judged, held or acted on come first into the bounded list; the list itself is sorted by name.
    let mut targets = found.targets.clone();
    targets.sort_by_key(|target| std::cmp::Reverse(attention(target.phase)));
    targets.truncate(MOST_TARGETS);
    targets.sort_by(|a, b| a.name.cmp(&b.name));
    targets
}

pub(super) type Said = (&'static str, Option<bool>, String, String);

fn conditions(policy: &RollbackPolicy, found: &Committed<'_>, summary: &Summary) -> Vec<Said> {
    let guarded = found.guarded;
    let said =
        |type_, status, reason: &str, message: &str| (type_, Some(status), reason.to_owned(), message.to_owned());
    let mut all = accepted::conditions(policy, guarded, summary);

    let worst = worst(found);
    let reason = match (worst.map(|worst| worst.reason.as_str()), summary.why.as_str()) {
        (Some(reason), _) if !reason.is_empty() && !guarded.policy.suspend => reason,
        (_, "") => "Watching",
        (_, why) => why,
    };
    if let Some(gate) = &guarded.policy.gate {
        all.extend(gate::conditions(gate, found, reason, summary));
    } else if let Some(failure) = &found.failure {
        all.push(said("Ready", false, "ReadFailed", failure));
    } else if let Some(name) = &guarded.absent {
        all.push(said("Ready", false, "TargetNotFound", &target_not_found(policy, name)));
    } else if let Some(target) = stuck(found) {
        let message = format!("{}: {}", target.name, target.message);
        all.push(said("Ready", false, &target.reason, &message));
        all.push(said("Stalled", true, &target.reason, &message));
    } else if found.targets.is_empty() && !guarded.overridden.is_empty() {
        all.push(said("Ready", false, "Overridden", &summary.message));
        all.push(said("Stalled", true, "Overridden", &summary.message));
    } else if found.targets.is_empty() && !guarded.policy.suspend {
        all.push(said("Ready", false, "NoTargets", &summary.message));
    } else {
        // While a release is judged or undone as well: those who wait for their deploy did not ask for the soak.
        all.push(said("Ready", true, reason, &summary.message));
    }

    if let Some(target) = found.targets.iter().find(|target| !target.drifted.is_empty()) {
        let good = target.known_good.as_ref().map_or_else(String::new, |good| revision_ref(good).name());
        let message = format!(
            "{}: {} changed since {good} became known good, and its pods may read what is there now; put the old content \
             back, or restart {} to make what is there now its configuration",
            target.name,
            target.drifted.join(", "),
            target.name
        );
        all.push(said("ConfigDrifted", true, "Drifted", &message));
    }

    if let Some((reason, message)) = doubts::told(&doubts::doubts(guarded, &found.targets)) {
        all.push(said("ChecksDoubtful", true, reason, &message));
    }

    let unready = |target: &&TargetStatus| target.readiness.as_ref().is_none_or(|readiness| !readiness.ready);
    match found.targets.iter().find(unready) {
        _ if found.targets.is_empty() => {
            all.push(("RollbackReady", None, "NoTargets".to_owned(), "there is no target yet".to_owned()));
        }
        Some(target) => match &target.readiness {
            Some(readiness) => {
                let message = format!("{}: {}", target.name, readiness.message);
                all.push(said("RollbackReady", false, &readiness.reason, &message));
            }
            None => all.push((
                "RollbackReady",
                None,
                "NotLooked".to_owned(),
                format!("{} was not looked at yet", target.name),
            )),
        },
        None => all.push(said(
            "RollbackReady",
            true,
            "KnownGood",
            "every target has a known good revision that can be put back",
        )),
    }
    all
}

/// The target that something is wrong with while nothing is done about it.
fn stuck<'a>(found: &'a Committed<'_>) -> Option<&'a TargetStatus> {
    let first = |phase| found.targets.iter().find(|target| target.phase == phase);
    first(PhaseName::Escalated).or_else(|| first(PhaseName::Held))
}

pub(super) fn target_not_found(policy: &RollbackPolicy, name: &str) -> String {
    let namespace = policy.metadata.namespace.clone().unwrap_or_default();
    let kind = policy.spec.target_ref.as_ref().map_or("workload", |target| Kind::from(target.kind).as_str());
    format!("there is no {kind} {name:?} in namespace {namespace:?}; create it, or correct spec.targetRef.name")
}

fn phase_word(target: &TargetStatus) -> String {
    serde_json::to_value(target.phase).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

/// What a person should see first.
fn attention(phase: PhaseName) -> u8 {
    match phase {
        PhaseName::Escalated => 7,
        PhaseName::AwaitingApproval => 6,
        PhaseName::RollingBack => 5,
        PhaseName::Verifying => 4,
        PhaseName::Held => 3,
        PhaseName::Progressing => 2,
        PhaseName::Soaking => 1,
        PhaseName::Idle => 0,
    }
}
