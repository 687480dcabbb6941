//! What happened, one thing at a time.

use std::fmt::Debug;
use std::hash::Hash;

/// What names targets, revisions, records and checks: text, or something smaller where there are millions of states.
pub trait Id: Clone + Ord + Hash + Debug {}

impl<T: Clone + Ord + Hash + Debug> Id for T {}

/// One thing that happened.
///
/// A history begins with what was there before: each revision that has an object, as a template of a person, the live
/// one last; and each policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Fact<I = String> {
    /// The API server accepted a template for the target. Writes that leave the template as it is are none.
    Template {
        /// The target; its UID, where a test makes it anew.
        target: I,
        /// What the template says.
        revision: I,
        /// Who wrote it.
        by: Writer<I>,
    },
    /// A policy of the target was created or changed, suspended or deleted.
    Policy {
        /// The target.
        target: I,
        /// Whether it judges now: it is there, and not suspended.
        judges: bool,
    },
    /// The API server answered the last look at the policy that comes before placing an order.
    ///
    /// Two objects cannot be written in one transaction: between this answer and the record there is a gap that nobody
    /// can close. The answer is what counts. Who does not record looks is held to the stricter rule: the policy judges
    /// when the record is created.
    Looked {
        /// Names the look; may be used again for the next look of the same process.
        look: I,
        /// The target.
        target: I,
    },
    /// A `Rollback` was created; of a person's, its meaning was written. From here on its decision is persisted.
    Decided {
        /// The record: name and UID, where a test deletes records.
        record: I,
        /// The target.
        target: I,
        /// The revision to leave.
        bad: I,
        /// The one to go back to.
        good: I,
        /// Why.
        cause: Cause<I>,
        /// The last look at the policy before it; see [`Fact::Looked`].
        look: Option<I>,
    },
    /// A person deleted a record: nothing more is expected of it.
    Withdrawn {
        /// The record.
        record: I,
    },
    /// An Event about a record, on whatever object.
    Told {
        /// The record.
        record: I,
        /// The Event's reason.
        reason: I,
    },
    /// The status of a record became terminal.
    Ended {
        /// The record.
        record: I,
        /// The terminal phase.
        phase: I,
    },
    /// A window of a check was counted as bad. Looking at a window again is not counting it again.
    Window {
        /// The target.
        target: I,
        /// The revision that was measured.
        revision: I,
        /// The check.
        check: I,
        /// Its first second.
        from: i64,
        /// The second after its last.
        until: i64,
    },
    /// The API is healthy, and nothing moves any more: what was owed has been done.
    Rest {
        /// The target.
        target: I,
        /// The revision that should live; `None` where either would do.
        expected: Option<I>,
        /// Whether the target and all of its records stand in a phase that waits for nothing but a person.
        terminal: bool,
    },
}

/// Who wrote a template.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Writer<I = String> {
    /// A person, a pipeline, a GitOps tool.
    Person,
    /// We.
    Operator {
        /// The record that is carried out; `None` where the observer cannot tell: the newest open one that says this.
        record: Option<I>,
    },
}

/// Why a rollback was decided.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Cause<I = String> {
    /// Checks were breached.
    Breach {
        /// The revision that they judged.
        judged: I,
        /// Whether one of the breached checks had data, or the pods said it themselves.
        has_data: bool,
        /// How many bad windows it was decided on; `None` where no window was counted.
        windows: Option<u32>,
    },
    /// A revision that was decided on before is back.
    Return {
        /// The revision that is back.
        judged: I,
    },
    /// A person ordered it.
    Person,
}
