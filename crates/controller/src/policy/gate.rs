//! The conditions of a gated policy: how the release is, in the words of kstatus.

use snapback_api::v1alpha1::{Summary, TargetStatus};
use snapback_core::gate::{Answer, Gate, Word};
use snapback_core::watch::Target;

use super::commit::Committed;
use super::guard::Guarded;
use super::summary::Said;
use crate::status::target_from_status;

/// `Ready`, `Reconciling` and `Stalled` of a gated policy. `reason` and `summary` say how it is without a gate.
pub(super) fn conditions(gate: &Gate, found: &Committed<'_>, reason: &str, summary: &Summary) -> Vec<Said> {
    let said = |type_, status, word: &Word| (type_, status, word.reason.clone(), word.message.clone());
    match answer(gate, found, summary) {
        Answer::Passed => vec![said("Ready", Some(true), &Word::new(reason, &summary.message))],
        Answer::Waiting(word) => vec![said("Ready", None, &word), said("Reconciling", Some(true), &word)],
        Answer::Failed(word) => vec![said("Ready", Some(false), &word), said("Stalled", Some(true), &word)],
    }
}

/// What is bad is bad, whatever else could not be read; and nothing has passed that nobody has seen.
fn answer(gate: &Gate, found: &Committed<'_>, summary: &Summary) -> Answer {
    let guarded = found.guarded;
    let told = || Word::new(&summary.why, &summary.message);
    let targets: Vec<(&TargetStatus, Target)> =
        found.targets.iter().map(|target| (target, target_from_status(target))).collect();
    let judged = targets.iter().map(|(known, target)| (known.name.as_str(), target, kept_away(guarded, known)));
    let judged = gate.answer_all(judged);
    if matches!(judged, Answer::Failed(_)) {
        return judged;
    }
    if let Some(failure) = &found.failure {
        return Answer::Waiting(Word::new("ReadFailed", failure));
    }
    if guarded.absent.is_some() {
        return Answer::Waiting(told());
    }
    // Somebody said that nothing is to be judged: then nothing is waited for.
    if guarded.policy.suspend {
        return Answer::Passed;
    }
    match (targets.is_empty(), guarded.overridden.is_empty()) {
        // Until a person deletes one of the two, no verdict will ever be this one's.
        (true, false) => Answer::Failed(told()),
        (true, true) => Answer::Waiting(told()),
        (false, _) => judged,
    }
}

/// The tool that is held off the workload as a whole.
fn kept_away(guarded: &Guarded, known: &TargetStatus) -> Option<String> {
    let undone = known.quarantined.last()?;
    guarded.records.keeps_away(&known.uid, &undone.rollback)
}
