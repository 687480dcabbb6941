//! The nine, by name.

use std::fmt;

/// An invariant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// At most one undo for each decision, and one decision for each coming of a revision.
    I1,
    /// Only templates that existed are put back.
    I2,
    /// No undo without a persisted decision that says exactly this.
    I3,
    /// Each undo ends in exactly one terminal record, and is told of.
    I4,
    /// A revision that was not judged is never undone.
    I5,
    /// A breach ends at the last good template, in a terminal status, and stays there.
    I6,
    /// A window is counted once.
    I7,
    /// No data is no reason.
    I8,
    /// A deleted or suspended policy decides nothing.
    I9,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 9] =
        [Self::I1, Self::I2, Self::I3, Self::I4, Self::I5, Self::I6, Self::I7, Self::I8, Self::I9];

    /// In a few words.
    pub fn title(self) -> &'static str {
        match self {
            Self::I1 => "one undo for each decision",
            Self::I2 => "only templates that existed",
            Self::I3 => "no undo without a persisted decision",
            Self::I4 => "each undo ends once, and is told of",
            Self::I5 => "what was not judged is not undone",
            Self::I6 => "it ends at the good template, and stays",
            Self::I7 => "a window is counted once",
            Self::I8 => "no data is no reason",
            Self::I9 => "a policy that is off decides nothing",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// An invariant that a history breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// The index of the fact that breaks it.
    pub at: usize,
    /// How.
    pub why: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}), at fact {}: {}", self.invariant, self.invariant.title(), self.at, self.why)
    }
}
