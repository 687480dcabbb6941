//! What people are told, at transitions only.

/// One thing worth an Event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The Event's reason.
    pub reason: Reason,
    /// One or two sentences; no secrets, no URLs.
    pub message: String,
}

impl Notice {
    /// A notice.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// The reasons of our Events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A complete revision was found when the policy first saw the target.
    RevisionAdopted,
    /// A new revision began to roll out.
    RolloutDetected,
    /// All pods of the new revision are available; the soak's clock runs.
    SoakStarted,
    /// The soak ended well; the revision is known good.
    SoakPassed,
    /// The longest soak ended, and the checks could not tell; the policy accepts the revision.
    Inconclusive,
    /// A revision that was rolled back is live again.
    RevisionReturned,
    /// What the known good revision runs with is not what it was judged with.
    ConfigDrifted,
    /// A newer revision replaced the one that was judged.
    RolloutSuperseded,
    /// A check left its limit for good.
    CheckBreached,
    /// A rollback was decided.
    RollbackDecided,
    /// Somebody keeps putting a bad revision back: a person is needed.
    Contended,
    /// Something is wrong and nothing is done about it; the message says why.
    Held,
    /// The rollout of a revision that cannot be undone was stopped: a person is needed.
    RolloutFrozen,
    /// A rollout that was stopped goes on.
    RolloutResumed,
    /// A person is asked.
    ApprovalRequested,
    /// The undo was accepted by the API server.
    RollbackStarted,
    /// A GitOps tool is kept from bringing the bad revision back.
    HoldPlaced,
    /// It cannot be.
    HoldRefused,
    /// It was let at the workload, and still brings the bad revision.
    HoldKept,
    /// It is not kept from the workload any more.
    HoldEnded,
    /// A pod that kept the good revision away is deleted.
    StuckPodDeleted,
    /// The good revision runs and is verified.
    RollbackSucceeded,
    /// The undo could not be carried out.
    RollbackFailed,
    /// The undo did not cure it: a person is needed.
    RollbackEscalated,
    /// A newer revision made the rollback needless.
    RollbackSuperseded,
    /// A person refused.
    RollbackRejected,
    /// A person released a revision by a record that does not keep it in quarantine any more: a newer one does.
    ReleaseWithoutEffect,
    /// A policy cannot be meant: it watches nothing.
    InvalidSpec,
    /// A policy's workload is not there.
    TargetNotFound,
    /// An older policy has all that a policy chooses.
    Overridden,
}

impl Reason {
    /// The CamelCase word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RevisionAdopted => "RevisionAdopted",
            Self::RolloutDetected => "RolloutDetected",
            Self::SoakStarted => "SoakStarted",
            Self::SoakPassed => "SoakPassed",
            Self::Inconclusive => "Inconclusive",
            Self::RevisionReturned => "RevisionReturned",
            Self::ConfigDrifted => "ConfigDrifted",
            Self::RolloutSuperseded => "RolloutSuperseded",
            Self::CheckBreached => "CheckBreached",
            Self::RollbackDecided => "RollbackDecided",
            Self::Contended => "Contended",
            Self::Held => "Held",
            Self::RolloutFrozen => "RolloutFrozen",
            Self::RolloutResumed => "RolloutResumed",
            Self::ApprovalRequested => "ApprovalRequested",
            Self::RollbackStarted => "RollbackStarted",
            Self::HoldPlaced => "HoldPlaced",
            Self::HoldRefused => "HoldRefused",
            Self::HoldKept => "HoldKept",
            Self::HoldEnded => "HoldEnded",
            Self::StuckPodDeleted => "StuckPodDeleted",
            Self::RollbackSucceeded => "RollbackSucceeded",
            Self::RollbackFailed => "RollbackFailed",
            Self::RollbackEscalated => "RollbackEscalated",
            Self::RollbackSuperseded => "RollbackSuperseded",
            Self::RollbackRejected => "RollbackRejected",
            Self::ReleaseWithoutEffect => "ReleaseWithoutEffect",
            Self::InvalidSpec => "InvalidSpec",
            Self::TargetNotFound => "TargetNotFound",
            Self::Overridden => "Overridden",
        }
    }

    /// Whether a person should look.
    pub fn is_warning(self) -> bool {
        matches!(
            self,
            Self::RevisionReturned
                | Self::Inconclusive
                | Self::Contended
                | Self::ConfigDrifted
                | Self::CheckBreached
                | Self::RollbackDecided
                | Self::Held
                | Self::RolloutFrozen
                | Self::ApprovalRequested
                | Self::RollbackStarted
                | Self::HoldRefused
                | Self::StuckPodDeleted
                | Self::RollbackFailed
                | Self::RollbackEscalated
                | Self::ReleaseWithoutEffect
                | Self::InvalidSpec
                | Self::TargetNotFound
                | Self::Overridden
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn a_person_is_warned_of_what_needs_one_and_of_nothing_that_went_well() {
        for well in [Reason::RevisionAdopted, Reason::SoakPassed, Reason::RollbackSucceeded, Reason::RollbackRejected] {
            assert!(!well.is_warning(), "{well:?}");
        }
        for ill in [Reason::CheckBreached, Reason::RollbackDecided, Reason::Held, Reason::RollbackEscalated] {
            assert!(ill.is_warning(), "{ill:?}");
        }
    }
}
