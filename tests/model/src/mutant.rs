//! Seeded bugs of the shell. Each has to break the invariant that the missing guard is for.

use snapback_invariants::Invariant;

/// A seeded bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// The undo is sent without a record.
    NoRecord,
    /// The undo tests neither template nor generation.
    NoTest,
    /// The undo tests the template alone: one that is late hits the same template when it was applied again.
    NoGenerationTest,
    /// The name of the record is a new one each time.
    RandomName,
    /// The judge reads the workload from a cache.
    StaleLook,
    /// Bad windows are counted up at each look.
    CountsLooks,
    /// Missing data is taken for a breach.
    NoDataIsBad,
    /// A suspended policy decides.
    IgnoresSuspend,
    /// There is no last look at the policy.
    NoLastLook,
    /// The end of a record does not stop its controller.
    EndsAgain,
    /// A record's status is written without a precondition.
    NoStatusTest,
    /// Nobody is told.
    ForgetsEvents,
    /// What the known good revision's pods say is held against the new one.
    JudgesAnother,
    /// The template that is put back is made up.
    InventsTemplate,
    /// That the undo was requested is not written before it is sent.
    ActsBeforeWriting,
    /// The good revision's number is not noted with the request.
    ForgetsNumber,
    /// Records of before a crash are not taken up again.
    DropsRecords,
    /// After a record has ended, the workload is not read again before the next is created.
    NoLookBeforeAgain,
    /// A newer template does not stop the undo, which tests what it finds.
    UndoesAnything,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::NoRecord,
        Self::NoTest,
        Self::NoGenerationTest,
        Self::RandomName,
        Self::StaleLook,
        Self::CountsLooks,
        Self::NoDataIsBad,
        Self::IgnoresSuspend,
        Self::NoLastLook,
        Self::EndsAgain,
        Self::NoStatusTest,
        Self::ForgetsEvents,
        Self::JudgesAnother,
        Self::InventsTemplate,
        Self::ActsBeforeWriting,
        Self::ForgetsNumber,
        Self::DropsRecords,
        Self::NoLookBeforeAgain,
        Self::UndoesAnything,
    ];

    /// The invariant that has to break.
    pub fn breaks(self) -> Invariant {
        match self {
            Self::NoRecord => Invariant::I3,
            Self::NoTest | Self::JudgesAnother | Self::UndoesAnything => Invariant::I5,
            Self::NoGenerationTest
            | Self::RandomName
            | Self::StaleLook
            | Self::ActsBeforeWriting
            | Self::ForgetsNumber
            | Self::NoLookBeforeAgain => Invariant::I1,
            Self::CountsLooks => Invariant::I7,
            Self::NoDataIsBad => Invariant::I8,
            Self::IgnoresSuspend | Self::NoLastLook => Invariant::I9,
            Self::EndsAgain | Self::NoStatusTest | Self::ForgetsEvents => Invariant::I4,
            Self::InventsTemplate => Invariant::I2,
            Self::DropsRecords => Invariant::I6,
        }
    }
}
