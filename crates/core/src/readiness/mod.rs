//! Would going back work? Facts are gathered by the shell; here they become one word and one sentence.

mod data;
mod history;
mod known_good;

pub use data::{Data, data};
pub use history::history_is_too_short;
pub use known_good::known_good_fails;

use crate::rollback::Verification;
use crate::watch::RevisionRef;
use crate::workload::{Kind, Reference};

/// What a pod answers badly to.
const PROBE_FAILS: &str = "ProbeFails";

/// The Job that `rollback.helm` names.
const HELM_JOB: &str = "HelmJobNotReady";

/// Whether there is somewhere to go back to, and whether the way is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Whether a rollback would be let in, find all that it needs, and be seen to cure.
    pub ready: bool,
    /// One CamelCase word.
    pub reason: &'static str,
    /// One sentence, with what to do.
    pub message: String,
}

impl Readiness {
    /// All is there.
    pub fn ready(good: &RevisionRef) -> Self {
        Self { ready: true, reason: "KnownGood", message: format!("{} can be put back", good.name()) }
    }

    /// No revision has passed a soak yet.
    pub fn nothing() -> Self {
        let message = "there is no known good revision yet: the first one to pass its soak will be it";
        Self::not("NothingToGoBackTo", message.to_owned())
    }

    /// The template of the revision to go back to is lost.
    pub fn gone(good: &RevisionRef, kind: Kind) -> Self {
        let object = kind.revisions();
        let message = format!("{}, the revision to go back to, has no {object} and no copy any more", good.name());
        Self::not("KnownGoodIsGone", message)
    }

    /// Another operator writes the template again as its own object says: an undo would last for a moment.
    pub fn controlled(good: &RevisionRef, controller: &str) -> Self {
        let message = format!(
            "{} cannot be put back: {controller} controls the workload, and would write it again as it was; roll {controller} \
             back instead",
            good.name()
        );
        Self::not("ControlledElsewhere", message)
    }

    /// Its pods would not start.
    pub fn missing(good: &RevisionRef, missing: &[Reference]) -> Self {
        let names: Vec<String> = missing.iter().map(|one| format!("{} {}", one.kind.as_str(), one.name)).collect();
        let names = names.join(", ");
        let message =
            format!("{}, the revision to go back to, needs what is gone: {names}; create it again", good.name());
        Self::not("ReferenceMissing", message)
    }

    /// The API server would refuse it.
    pub fn refused(good: &RevisionRef, why: &str) -> Self {
        let message = format!("the API server would refuse to put {} back: {why}", good.name());
        Self::not("UndoWouldBeRefused", message)
    }

    /// The change of data could not be taken back before.
    pub fn no_job(why: &str) -> Self {
        let message = format!("the change of data cannot be taken back before the undo: {why}");
        Self::not("MigrationJobNotReady", message)
    }

    /// Its template can be put back, but not all of its configuration, though the policy asks for that: `why` copies could not
    /// be made that are tried again, and what is `lost`, since there is nothing left to copy.
    pub fn configuration_is_not_kept(good: &RevisionRef, why: Option<&str>, lost: &[String]) -> Self {
        let good = good.name();
        let mut problems = Vec::new();
        if let Some(why) = why {
            problems.push(format!(
                "the configuration of {good} could not be kept, so a rollback would run it with what there is then: {why} (the \
                 operator needs the right to create copies: restore.configMaps, and for Secrets restore.secrets, in its chart)"
            ));
        }
        if !lost.is_empty() {
            problems.push(format!(
                "{} changed before a copy of what {good} ran with was made, so a rollback would run it with what there is \
                 then: put the old content back, or restart {good} to make what there is now its configuration",
                lost.join(", ")
            ));
        }
        // Only what is tried again may go away by itself.
        Self::not(if why.is_some() { "ConfigNotKept" } else { "ConfigLost" }, problems.join("; "))
    }

    /// What a pod of the known good revision answered to the policy's probes, unless all is well: after an undo it would
    /// answer the same.
    pub fn probed(good: &RevisionRef, said: &Verification) -> Option<Self> {
        let (what, then) = match said {
            Verification::Within => return None,
            Verification::Outside(what) => (what, "every undo would look as if it had not helped"),
            Verification::Unknown(what) => (what, "no undo could be seen to have helped"),
        };
        let message = format!(
            "a probe of rollback.verify.http fails in {}, which is known good: {what}. While it does, {then}",
            good.name()
        );
        Some(Self::not(PROBE_FAILS, message))
    }

    /// What was said before of what comes after an undo, while it cannot be looked at.
    pub fn still(reason: &str, message: &str) -> Option<Self> {
        let reason = [PROBE_FAILS, HELM_JOB].into_iter().find(|known| *known == reason)?;
        Some(Self::not(reason, message.to_owned()))
    }

    /// Whether it is about a probe.
    pub fn is_of_a_probe(&self) -> bool {
        self.reason == PROBE_FAILS
    }

    /// Helm's own record could not be rolled back after the undo.
    pub fn no_helm_job(why: &str) -> Self {
        let message = format!(
            "an undo would work, but Helm's own record could not be rolled back after it (rollback.helm): {why}"
        );
        Self::not(HELM_JOB, message)
    }

    /// What stands in the way; `None` if it is open.
    pub fn obstacle(self) -> Option<Self> {
        (!self.ready).then_some(self)
    }

    /// Whether a reason may cease while nothing is judged and nobody touches the workload: then it is worth another look
    /// now and again.
    pub fn may_cease(reason: &str) -> bool {
        let requests = ["ReferenceMissing", "UndoWouldBeRefused", "MigrationJobNotReady", PROBE_FAILS, HELM_JOB];
        let facts = ["KnownGoodFails", "HistoryTooShort", "ConfigNotKept", Data::REASON];
        requests.contains(&reason) || facts.contains(&reason)
    }

    fn not(reason: &'static str, message: String) -> Self {
        Self { ready: false, reason, message }
    }
}
