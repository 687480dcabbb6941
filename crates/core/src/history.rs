//! Which records may go.
//!
//! A `Rollback` stays as the record of what happened; for ever would be too long. A few for each target, and none that is
//! older than anybody asks about.

use jiff::{SignedDuration, Timestamp};

use crate::ids::WorkloadUid;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// Records of one target.
    pub per_target: u32,
    /// The age at which a record goes in any case.
    pub max_age: SignedDuration,
    /// Younger ones stay in any case: they are what limits are counted by.
    pub min_age: SignedDuration,
}

impl Default for History {
    fn default() -> Self {
        Self { per_target: 20, max_age: SignedDuration::from_hours(90 * 24), min_age: SignedDuration::from_hours(1) }
    }
}

/// A record that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its name.
    pub name: String,
    /// Its target.
    pub uid: WorkloadUid,
    /// When it ended.
    pub ended: Timestamp,
}

/// The records of one target that may go, of all that have ended.
pub fn surplus<'a>(records: &'a [Record], uid: &WorkloadUid, history: &History, now: Timestamp) -> Vec<&'a Record> {
    let mut of_target: Vec<&Record> = records.iter().filter(|record| record.uid == *uid).collect();
    of_target.sort_by_key(|record| std::cmp::Reverse(record.ended));
    let kept = usize::try_from(history.per_target).unwrap_or(usize::MAX);
    let ranked = of_target.into_iter().enumerate();
    let may_go = ranked.filter(|(rank, record)| {
        let age = now.duration_since(record.ended);
        age > history.min_age && (*rank >= kept || age > history.max_age)
    });
    may_go.map(|(_, record)| record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, uid: &str, hours_ago: i64) -> Record {
        Record { name: name.into(), uid: WorkloadUid::new(uid), ended: now() - SignedDuration::from_hours(hours_ago) }
    }

    fn now() -> Timestamp {
        Timestamp::from_second(2_000_000_000).unwrap()
    }

    fn gone(records: &[Record], history: &History) -> Vec<String> {
        let mut names: Vec<String> = surplus(records, &WorkloadUid::new("me"), history, now())
            .iter()
            .map(|record| record.name.clone())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_newest_of_a_target_stay() {
        let records =
            [record("old", "me", 9), record("new", "me", 3), record("middle", "me", 5), record("x", "other", 99)];
        assert_eq!(gone(&records, &History { per_target: 2, ..History::default() }), ["old"]);
        assert!(gone(&records, &History::default()).is_empty());
    }

    #[test]
    fn what_is_too_old_goes_in_any_case() {
        let records = [record("old", "me", 24 * 91), record("new", "me", 24 * 89)];
        assert_eq!(gone(&records, &History::default()), ["old"]);
    }

    #[test]
    fn what_limits_are_counted_by_stays() {
        let records = [record("a", "me", 0), record("b", "me", 1), record("c", "me", 2)];
        assert_eq!(gone(&records, &History { per_target: 0, ..History::default() }), ["c"]);
    }

    #[test]
    fn what_is_just_as_old_as_is_kept_stays() {
        let max_age = SignedDuration::from_hours(90 * 24);
        assert!(gone(&[record("old", "me", 24 * 90)], &History { max_age, ..History::default() }).is_empty());
    }
}
