//! The gate: what those who wait for a release are told (`helm upgrade --wait`, Flux `wait`, `snapback wait`).
//!
//! A workload that was undone is healthy, and so the deploy that brought the bad revision would succeed. The gate answers
//! for the release instead: it waits for the soak's verdict, and a release that was found bad stays failed until a newer
//! one comes, whatever became of its undo.

use crate::watch::{Phase, Target};

/// That those who wait for a release wait for its verdict.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gate {
    /// What the release is called that is waited for; `None` for whatever is live.
    pub expected: Option<String>,
}

/// The answer about one target, or about all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The release is good, or nobody judges it.
    Passed,
    /// There is no verdict yet.
    Waiting(Word),
    /// It was found bad.
    Failed(Word),
}

/// Why, in one CamelCase word and one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The word.
    pub reason: String,
    /// The sentence.
    pub message: String,
}

impl Word {
    /// A word and its sentence.
    pub fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into() }
    }

    fn of(target: &Target) -> Self {
        let reason = Some(&target.standing.reason).filter(|reason| !reason.is_empty());
        Self::new(reason.map_or(target.phase.as_str(), String::as_str), &target.standing.message)
    }
}

impl Gate {
    /// The answer about a target. `kept_away` names the tool that is held off the workload, so that nothing newer comes by
    /// itself.
    pub fn answer(&self, target: &Target, kept_away: Option<&str>) -> Answer {
        let Some(expected) = &self.expected else { return of_the_live(target) };
        let is_meant = |called: &[String]| called.contains(expected);
        let undone = target.quarantined.iter().rev().find(|bad| is_meant(&bad.called));
        match (is_meant(&target.current.called), undone) {
            // Back by an undo is what was expected, unless that goes by the same name as what was undone.
            (true, None) if is_back(target) => Answer::Passed,
            (true, _) => of_the_live(target),
            (false, Some(bad)) => {
                let message = format!("{expected} is expected, and was rolled back (Rollback {})", bad.rollback);
                Answer::Failed(Word::new("RolledBack", message))
            }
            (false, None) => not_there(expected, target, kept_away),
        }
    }

    /// The answer about all targets, by their names: the worst one is told.
    pub fn answer_all<'a>(&self, targets: impl IntoIterator<Item = (&'a str, &'a Target, Option<String>)>) -> Answer {
        let mut waiting = None;
        for (name, target, kept_away) in targets {
            let told = |word: Word| Word { message: format!("{name}: {}", word.message), ..word };
            match self.answer(target, kept_away.as_deref()) {
                Answer::Passed => {}
                Answer::Waiting(word) => _ = waiting.get_or_insert_with(|| told(word)),
                Answer::Failed(word) => return Answer::Failed(told(word)),
            }
        }
        waiting.map_or(Answer::Passed, Answer::Waiting)
    }
}

/// The answer about what is live, or was until it was undone.
fn of_the_live(target: &Target) -> Answer {
    let word = || Word::of(target);
    match target.phase {
        Phase::Idle if is_back(target) && !target.quarantined.is_empty() => Answer::Failed(word()),
        Phase::Idle if is_good(target) => Answer::Passed,
        // What was undone before is undone again, without another look.
        Phase::Progressing | Phase::Soaking
            if target.rollout.as_ref().is_some_and(|rollout| rollout.returned.is_some()) =>
        {
            Answer::Failed(word())
        }
        Phase::Idle | Phase::Progressing | Phase::Soaking => Answer::Waiting(word()),
        // Nothing was found wrong with the release itself, and it is judged on.
        Phase::Held if target.standing.reason == NOT_CAUSED => Answer::Waiting(word()),
        // Nobody finds it good any more: a person who keeps it has the last word, and not the soak.
        Phase::AwaitingApproval | Phase::RollingBack | Phase::Verifying | Phase::Held | Phase::Escalated => {
            Answer::Failed(word())
        }
    }
}

/// The standing of a target whose checks speak of something else than the release.
pub(crate) const NOT_CAUSED: &str = "NotCausedByRelease";

/// The standing of a target whose known good revision is back.
pub(crate) const ROLLED_BACK: &str = "RolledBack";

fn is_good(target: &Target) -> bool {
    target.known_good.as_ref().is_some_and(|good| good.fingerprint == target.current.fingerprint)
}

/// Whether what is live came back by an undo.
fn is_back(target: &Target) -> bool {
    target.phase == Phase::Idle && target.standing.reason == ROLLED_BACK && is_good(target)
}

fn not_there(expected: &str, target: &Target, kept_away: Option<&str>) -> Answer {
    let called = match target.current.called.as_slice() {
        [] => "which nobody gave a name".to_owned(),
        called => format!("which is called {}", called.join(", ")),
    };
    let message = format!("{expected} is expected, and {} is there, {called}", target.current.name());
    match kept_away {
        None => Answer::Waiting(Word::new("AwaitingRevision", message)),
        // Whoever waits may be the very one that is kept away: it must come to an end to be let at the workload again.
        Some(tool) => {
            let message = format!("{message}; {tool} is held, and let at it again once it has something newer");
            Answer::Failed(Word::new("KeptAway", message))
        }
    }
}
