//! Who may lead, from what the Lease says and the monotonic clock of this process.
//!
//! The semantics of client-go's `leaderelection`, less its comparison of clocks: the times in a Lease are those of another
//! node. They are never read; all that counts is how long ago, by our own clock, the Lease was last seen to change.

use std::time::Duration;

use tokio::time::Instant;

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// A Lease that has not changed for this long may be taken.
    pub lasts: Duration,
    /// A leader that could not renew for this long writes nothing any more. Shorter than `lasts`: what it sent last has that
    /// much time to arrive.
    pub deadline: Duration,
    /// Time between two looks.
    pub retry: Duration,
}

impl Default for Terms {
    /// A dead leader is replaced within 14 s and the time of the first lists.
    fn default() -> Self {
        Self { lasts: Duration::from_secs(12), deadline: Duration::from_secs(8), retry: Duration::from_secs(2) }
    }
}

/// What the Lease says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    /// Who holds it; empty when it was released.
    pub(super) holder: String,
    /// The object's version: another one means that somebody renewed or took it.
    pub(super) version: String,
    /// How long its holder says that it lasts.
    pub(super) lasts: Duration,
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bid {
    /// There is none: create it.
    Create,
    /// Write our name into this very version.
    Take,
    /// Somebody else leads. Look again then.
    Wait(Duration),
}

/// Somebody who would lead.
#[derive(Debug)]
pub(super) struct Candidate {
    identity: String,
    terms: Terms,
    seen: Option<(Claim, Instant)>,
}

impl Candidate {
    pub(super) fn new(identity: String, terms: Terms) -> Self {
        Self { identity, terms, seen: None }
    }

    /// One look at the Lease.
    ///
    /// A Lease in our own name is that of a process before us in the same pod, which is dead, or our own.
    pub(super) fn look(&mut self, found: Option<Claim>, now: Instant) -> Bid {
        let Some(claim) = found else { return Bid::Create };
        if claim.holder.is_empty() || claim.holder == self.identity {
            return Bid::Take;
        }
        let since = match &self.seen {
            Some((known, since)) if *known == claim => *since,
            _ => now,
        };
        let left = claim.lasts.max(self.terms.lasts).saturating_sub(now.saturating_duration_since(since));
        self.seen = Some((claim, since));
        if left.is_zero() { Bid::Take } else { Bid::Wait(left.min(self.terms.retry)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn claim(holder: &str, version: &str) -> Claim {
        Claim { holder: holder.to_owned(), version: version.to_owned(), lasts: 12 * SECOND }
    }

    fn candidate() -> (Candidate, Instant) {
        (Candidate::new("a".to_owned(), Terms::default()), Instant::now())
    }

    #[test]
    fn what_nobody_holds_is_taken_at_once() {
        let (mut a, now) = candidate();
        assert_eq!(a.look(None, now), Bid::Create);
        assert_eq!(a.look(Some(claim("", "1")), now), Bid::Take);
        assert_eq!(a.look(Some(claim("a", "1")), now), Bid::Take, "of the process before us in this pod");
    }

    #[test]
    fn a_lease_that_is_renewed_is_never_taken() {
        let (mut a, start) = candidate();
        for second in 0..100 {
            let bid = a.look(Some(claim("b", &second.to_string())), start + second * SECOND);
            assert_eq!(bid, Bid::Wait(2 * SECOND), "after {second} s");
        }
    }

    #[test]
    fn a_lease_that_stays_as_it_is_is_taken_once_its_time_is_over_by_our_own_clock() {
        let (mut a, start) = candidate();
        assert_eq!(a.look(Some(claim("b", "1")), start), Bid::Wait(2 * SECOND));
        assert_eq!(a.look(Some(claim("b", "1")), start + 11 * SECOND), Bid::Wait(SECOND), "not later than it ends");
        assert_eq!(a.look(Some(claim("b", "1")), start + 12 * SECOND), Bid::Take);
    }

    #[test]
    fn one_renewal_begins_the_time_anew() {
        let (mut a, start) = candidate();
        a.look(Some(claim("b", "1")), start);
        assert_eq!(a.look(Some(claim("b", "2")), start + 11 * SECOND), Bid::Wait(2 * SECOND));
        assert_eq!(a.look(Some(claim("b", "2")), start + 22 * SECOND), Bid::Wait(SECOND));
        assert_eq!(a.look(Some(claim("b", "2")), start + 23 * SECOND), Bid::Take);
    }

    #[test]
    fn a_holder_that_asks_for_more_time_gets_it() {
        let (mut a, start) = candidate();
        let long = || Claim { lasts: 30 * SECOND, ..claim("b", "1") };
        a.look(Some(long()), start);
        assert_eq!(a.look(Some(long()), start + 29 * SECOND), Bid::Wait(SECOND));
        assert_eq!(a.look(Some(long()), start + 30 * SECOND), Bid::Take);
    }

    #[test]
    fn what_is_sent_by_a_leader_that_cannot_renew_arrives_before_another_one_leads() {
        let terms = Terms::default();
        assert!(terms.deadline + 2 * terms.retry <= terms.lasts);
    }
}
