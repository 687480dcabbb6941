//! The pace of looks. A rollout of many pods changes its workload many times a second, and each look reads all of its
//! pods: without a pace, we would slow down the very undo that we watch.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Shortest time between the starts of two looks at one object. The first of a burst is not held back; the others are
/// one look together.
const APART: Duration = Duration::from_secs(1);

/// Number of objects from which those at rest are forgotten.
const MANY: usize = 1024;

/// When each object was looked at last.
#[derive(Debug)]
pub(crate) struct Pace<K>(Mutex<HashMap<K, Instant>>);

impl<K> Default for Pace<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Pace<K> {
    /// Begins a look at `now`, or gives how long it has to wait.
    pub(crate) fn begin(&self, object: K, now: Instant) -> Result<(), Duration> {
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = begun.get(&object).map(|at| now.saturating_duration_since(*at));
        if let Some(left) = since.and_then(|since| APART.checked_sub(since)).filter(|left| !left.is_zero()) {
            return Err(left);
        }
        if begun.len() >= MANY {
            begun.retain(|_, at| now.saturating_duration_since(*at) < APART);
        }
        begun.insert(object, now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_first_of_a_burst_is_not_held_back_and_the_others_are_one_look() {
        let (pace, start) = (Pace::default(), Instant::now());
        assert_eq!(pace.begin("a", start), Ok(()));
        assert_eq!(pace.begin("a", start + 300 * MS), Err(700 * MS));
        assert_eq!(pace.begin("a", start + 999 * MS), Err(MS));
        assert_eq!(pace.begin("a", start + APART), Ok(()));
        assert_eq!(pace.begin("a", start + APART + MS), Err(999 * MS));
    }

    #[test]
    fn objects_do_not_hold_each_other_back() {
        let (pace, start) = (Pace::default(), Instant::now());
        assert_eq!(pace.begin("a", start), Ok(()));
        assert_eq!(pace.begin("b", start + MS), Ok(()));
    }

    #[test]
    fn objects_at_rest_are_forgotten() {
        let (pace, start) = (Pace::default(), Instant::now());
        for object in 0..MANY {
            assert_eq!(pace.begin(object, start), Ok(()));
        }
        assert_eq!(pace.begin(MANY, start + APART), Ok(()));
        assert_eq!(pace.0.lock().unwrap().len(), 1);
    }
}
