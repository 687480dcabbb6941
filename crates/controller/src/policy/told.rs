//! The Event of a policy that has come to watch nothing.

use snapback_api::v1alpha1::Summary;
use snapback_core::notice::{Notice, Reason};

/// What is to be told of how the policy is now: once for each change of it.
pub(super) fn notice(before: Option<&Summary>, now: &Summary) -> Option<Notice> {
    let reason = match (now.phase.as_str(), now.why.as_str()) {
        ("Invalid", _) => Reason::InvalidSpec,
        ("Waiting", "TargetNotFound") => Reason::TargetNotFound,
        ("Overridden", _) => Reason::Overridden,
        _ => return None,
    };
    let is_told = before.is_some_and(|before| before.phase == now.phase && before.message == now.message);
    (!is_told).then(|| Notice::new(reason, now.message.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(phase: &str, why: &str, message: &str) -> Summary {
        Summary { phase: phase.to_owned(), why: why.to_owned(), message: message.to_owned(), ..Summary::default() }
    }

    #[test]
    fn each_change_is_told_once() {
        let invalid = summary("Invalid", "InvalidSpec", "spec.soak.duration must be at most 24h");
        let told = notice(None, &invalid).unwrap();
        assert_eq!((told.reason, told.message), (Reason::InvalidSpec, invalid.message.clone()));
        assert_eq!(notice(Some(&invalid), &invalid), None);
        let other = summary("Invalid", "InvalidSpec", "spec.soak.interval must be at least 1s");
        assert!(notice(Some(&invalid), &other).is_some());
        let absent = summary("Waiting", "TargetNotFound", "there is no Deployment");
        assert_eq!(notice(Some(&invalid), &absent).unwrap().reason, Reason::TargetNotFound);
        let overridden = summary("Overridden", "Overridden", "policy a is older");
        assert_eq!(notice(Some(&absent), &overridden).unwrap().reason, Reason::Overridden);
    }

    #[test]
    fn of_a_policy_that_watches_or_may_come_to_nothing_is_told() {
        for (phase, why) in
            [("Waiting", "NoTargets"), ("Idle", "KnownGood"), ("Suspended", "Suspended"), ("Held", "Paused")]
        {
            assert_eq!(notice(None, &summary(phase, why, "")), None, "{phase}");
        }
    }
}
