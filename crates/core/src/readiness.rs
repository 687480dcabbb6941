//! Would going back work? Facts are gathered by the shell; here they become one word and one sentence.

use crate::watch::RevisionRef;
use crate::workload::{Kind, Reference};

/// Whether there is somewhere to go back to, and whether the way is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Whether a rollback would be let in and find all that it needs.
    pub ready: bool,
    /// One CamelCase word.
    pub reason: String,
    /// One sentence, with what to do.
    pub message: String,
}

impl Readiness {
    /// All is there.
    pub fn ready(good: &RevisionRef) -> Self {
        Self::new(true, "KnownGood", format!("{} can be put back", good.name()))
    }

    /// No revision has passed a soak yet.
    pub fn nothing() -> Self {
        let message = "there is no known good revision yet: the first one to pass its soak will be it";
        Self::new(false, "NothingToGoBackTo", message.to_owned())
    }

    /// The template of the known good revision is lost.
    pub fn gone(good: &RevisionRef, kind: Kind) -> Self {
        let object = kind.revisions();
        let message = format!("the known good revision {} has no {object} and no copy any more", good.name());
        Self::new(false, "KnownGoodIsGone", message)
    }

    /// Its pods would not start.
    pub fn missing(good: &RevisionRef, missing: &[Reference]) -> Self {
        let names: Vec<String> = missing.iter().map(|one| format!("{} {}", one.kind.as_str(), one.name)).collect();
        let names = names.join(", ");
        let message = format!("the known good revision {} needs what is gone: {names}; create it again", good.name());
        Self::new(false, "ReferenceMissing", message)
    }

    /// The API server would refuse it.
    pub fn refused(good: &RevisionRef, why: &str) -> Self {
        let message = format!("the API server would refuse to put {} back: {why}", good.name());
        Self::new(false, "UndoWouldBeRefused", message)
    }

    /// Its template can be put back, but not its configuration, though the policy asks for that.
    pub fn configuration_is_not_kept(good: &RevisionRef, why: &str) -> Self {
        let message = format!(
            "the ConfigMaps of {} could not be kept, so a rollback would run it with their present content: {why} (the \
             operator needs the right to create ConfigMaps: restore.configMaps in its chart)",
            good.name()
        );
        Self::new(false, "ConfigNotKept", message)
    }

    /// The change of data could not be taken back before.
    pub fn no_job(why: &str) -> Self {
        let message = format!("the change of data cannot be taken back before the undo: {why}");
        Self::new(false, "MigrationJobNotReady", message)
    }

    fn new(ready: bool, reason: &str, message: String) -> Self {
        Self { ready, reason: reason.to_owned(), message }
    }
}
