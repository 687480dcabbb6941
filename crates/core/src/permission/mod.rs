//! May we act alone? What happened lately says, and [`windows`] by the time.
//!
//! A decided rollback is a bet that the release is at fault. Many at once, or one after the other on the same target,
//! say that it probably is not: then a person is asked, or nothing is done.

pub mod windows;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::ids::WorkloadUid;
use crate::watch::Standing;

/// What the administrator allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Automatic rollbacks of one target within `window`.
    pub per_target: u32,
    /// Automatic rollbacks in one namespace within `window`.
    pub per_namespace: u32,
    /// Automatic rollbacks in the cluster within `window`.
    pub per_cluster: u32,
    /// Times within `window` that a revision is undone again at once when it comes back.
    pub returns: u32,
    /// The time in which they are counted.
    pub window: SignedDuration,
    /// The fleet brake: with more bad targets than this within `brake_window`, nothing is undone.
    pub brake_targets: u32,
    /// The time in which targets count as bad together.
    pub brake_window: SignedDuration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_target: 3,
            per_namespace: 10,
            per_cluster: 20,
            returns: 2,
            window: SignedDuration::from_hours(1),
            brake_targets: 5,
            brake_window: SignedDuration::from_mins(5),
        }
    }
}

/// A decision of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// The target's namespace.
    pub namespace: String,
    /// The target.
    pub uid: WorkloadUid,
    /// When it was decided.
    pub decided: Timestamp,
    /// Whether nobody was asked.
    pub automatic: bool,
}

/// What is about to be done.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The target's namespace.
    pub namespace: &'a str,
    /// The target.
    pub uid: &'a WorkloadUid,
    /// The policy's own pause between two automatic rollbacks of a target.
    pub cooldown: SignedDuration,
    /// What the administrator allows.
    pub limits: &'a Limits,
    /// Now.
    pub now: Timestamp,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    /// Act.
    Act,
    /// Ask a person; why.
    Ask(Standing),
    /// Do nothing; why.
    Hold(Standing),
}

/// Whether an automatic rollback may be placed. `past` are the decisions on record, in any order; `bad_now` the targets
/// that look bad at this time, whatever was decided on them.
pub fn permission(request: &Request<'_>, past: &[Past], bad_now: &BTreeSet<WorkloadUid>) -> Permission {
    let Request { namespace, uid, cooldown, limits, now } = *request;
    let within = |window: SignedDuration| past.iter().filter(move |one| now.duration_since(one.decided) < window);

    let mut together: BTreeSet<&WorkloadUid> = within(limits.brake_window).map(|one| &one.uid).collect();
    together.extend(bad_now);
    together.insert(uid);
    if exceeds(together.len(), limits.brake_targets) {
        let message = format!(
            "more than {} targets are bad at once: probably something that they share, not a release; nothing is undone",
            limits.brake_targets
        );
        return Permission::Hold(Standing::new("FleetBrake", message));
    }

    let automatic = || within(limits.window).filter(|one| one.automatic);
    let ask = |reason: &str, message: String| Permission::Ask(Standing::new(reason, message));
    let last = past.iter().filter(|one| one.automatic && one.uid == *uid).map(|one| one.decided).max();
    if let Some(last) = last.filter(|last| now.duration_since(*last) < cooldown) {
        let message = format!("its last automatic rollback was at {last}, within the cooldown of {cooldown:#}");
        return ask("Cooldown", message);
    }
    for (reason, count, limit, of) in [
        ("TargetLimit", automatic().filter(|one| one.uid == *uid).count(), limits.per_target, "of this target"),
        (
            "NamespaceLimit",
            automatic().filter(|one| one.namespace == namespace).count(),
            limits.per_namespace,
            "in this namespace",
        ),
        ("ClusterLimit", automatic().count(), limits.per_cluster, "in this cluster"),
    ] {
        if exceeds(count + 1, limit) {
            let message =
                format!("the limit of {limit} automatic rollbacks {of} within {:#} is reached", limits.window);
            return ask(reason, message);
        }
    }
    Permission::Act
}

/// Whether a revision that came back may be undone once more. `undone` are the times of the decisions to undo it because
/// it had come back.
pub fn may_undo_again(undone: &[Timestamp], limits: &Limits, now: Timestamp) -> bool {
    let lately = undone.iter().filter(|at| now.duration_since(**at) < limits.window).count();
    !exceeds(lately + 1, limits.returns)
}

fn exceeds(count: usize, limit: u32) -> bool {
    u32::try_from(count).map_or(true, |count| count > limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + minute * 60).unwrap()
    }

    fn past(namespace: &str, uid: &str, minute: i64) -> Past {
        Past { namespace: namespace.into(), uid: WorkloadUid::new(uid), decided: at(minute), automatic: true }
    }

    fn asked(past: &[Past], bad_now: &[&str]) -> Permission {
        let (limits, uid) = (Limits::default(), WorkloadUid::new("me"));
        let request = Request {
            namespace: "shop",
            uid: &uid,
            cooldown: SignedDuration::from_mins(30),
            limits: &limits,
            now: at(600),
        };
        permission(&request, past, &bad_now.iter().map(|uid| WorkloadUid::new(*uid)).collect())
    }

    fn reason(permission: Permission) -> String {
        match permission {
            Permission::Act => "Act".to_owned(),
            Permission::Ask(why) => format!("Ask {}", why.reason),
            Permission::Hold(why) => format!("Hold {}", why.reason),
        }
    }

    #[test]
    fn without_a_past_we_may() {
        assert_eq!(asked(&[], &[]), Permission::Act);
        assert_eq!(asked(&[past("shop", "me", 0), past("shop", "other", 0)], &["me"]), Permission::Act);
    }

    #[test]
    fn within_the_cooldown_a_person_is_asked() {
        assert_eq!(reason(asked(&[past("shop", "me", 580)], &[])), "Ask Cooldown");
        assert_eq!(reason(asked(&[past("shop", "me", 569)], &[])), "Act");
        let by_a_person = Past { automatic: false, ..past("shop", "me", 580) };
        assert_eq!(reason(asked(&[by_a_person], &[])), "Act");
    }

    #[test]
    fn the_limits_count_automatic_rollbacks_within_the_window() {
        let of_me: Vec<Past> = (0..3).map(|index| past("shop", "me", 545 + index)).collect();
        assert_eq!(reason(asked(&of_me, &[])), "Ask TargetLimit");
        assert_eq!(reason(asked(&of_me[1..], &[])), "Act");
        let here: Vec<Past> = (0..10).map(|index| past("shop", &format!("t{index}"), 550)).collect();
        assert_eq!(reason(asked(&here, &[])), "Ask NamespaceLimit");
        let elsewhere: Vec<Past> = (0..20).map(|index| past("other", &format!("t{index}"), 550)).collect();
        assert_eq!(reason(asked(&elsewhere, &[])), "Ask ClusterLimit");
        assert_eq!(reason(asked(&elsewhere[1..], &[])), "Act");
    }

    #[test]
    fn what_comes_back_is_undone_again_so_many_times_and_not_for_ever() {
        let limits = Limits::default();
        assert!(may_undo_again(&[], &limits, at(600)));
        assert!(may_undo_again(&[at(550)], &limits, at(600)));
        assert!(!may_undo_again(&[at(550), at(590)], &limits, at(600)));
        assert!(may_undo_again(&[at(530), at(590)], &limits, at(600)), "an hour ago does not count");
        assert!(!may_undo_again(&[], &Limits { returns: 0, ..limits }, at(600)), "switched off");
    }

    #[test]
    fn many_bad_targets_at_once_are_not_their_releases() {
        let decided: Vec<Past> = (0..3).map(|index| past("shop", &format!("t{index}"), 597)).collect();
        assert_eq!(reason(asked(&decided, &["a", "me"])), "Act");
        assert_eq!(reason(asked(&decided, &["a", "b"])), "Hold FleetBrake");
        // The same target twice is one target.
        assert_eq!(reason(asked(&decided, &["t1", "t2"])), "Act");
        assert_eq!(reason(asked(&[], &["a", "b", "c", "d", "e"])), "Hold FleetBrake");
    }

    #[test]
    fn what_is_just_as_long_ago_as_is_counted_does_not_count() {
        assert_eq!(reason(asked(&[past("shop", "me", 570)], &[])), "Act", "the cooldown is over");
        let an_hour_ago: Vec<Past> = (0..3).map(|_| past("shop", "me", 540)).collect();
        assert_eq!(reason(asked(&an_hour_ago, &[])), "Act");
        assert!(may_undo_again(&[at(540), at(590)], &Limits::default(), at(600)));
        let decided: Vec<Past> = (0..5).map(|index| past("other", &format!("t{index}"), 595)).collect();
        assert_eq!(reason(asked(&decided, &[])), "Act");
    }
}
