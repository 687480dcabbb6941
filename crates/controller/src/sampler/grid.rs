//! The instants at which a rollout is looked at.

use jiff::{SignedDuration, Timestamp};

/// Most steps that are asked for at once; back ends refuse 11,000.
const MOST_STEPS: i64 = 2_000;

/// The steps before `since`, `since`, `since + 1 step`, ..., in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    since: i64,
    step: i64,
    before: i64,
    now: i64,
}

impl Grid {
    /// The grid of a watch that began at `since`, with `before` steps before that, as far as `now`.
    pub fn new(since: Timestamp, interval: SignedDuration, before: u32, now: Timestamp) -> Self {
        Self { since: since.as_second(), step: interval.as_secs().max(1), before: before.into(), now: now.as_second() }
    }

    /// The newest instant that has come; `None` when the clock stands before the watch.
    pub fn newest(&self) -> Option<Timestamp> {
        let steps = (self.now - self.since).div_euclid(self.step);
        (steps >= 0).then(|| self.at(steps))
    }

    /// The first instant of the baseline.
    pub fn first(&self) -> Timestamp {
        let newest = (self.now - self.since).div_euclid(self.step);
        self.at((-self.before).max(newest - MOST_STEPS))
    }

    /// The instant after `known`.
    pub fn after(&self, known: Timestamp) -> Timestamp {
        self.at((known.as_second() - self.since).div_euclid(self.step) + 1)
    }

    /// Time until the next instant.
    pub fn until_next(&self) -> SignedDuration {
        let past = (self.now - self.since).rem_euclid(self.step);
        SignedDuration::from_secs(self.step - past)
    }

    fn at(&self, steps: i64) -> Timestamp {
        Timestamp::from_second(self.since.saturating_add(steps.saturating_mul(self.step))).unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_grid_stands_on_the_start_of_the_watch() {
        let grid = Grid::new(at(1000), SignedDuration::from_secs(30), 10, at(1075));
        assert_eq!(grid.newest(), Some(at(1060)));
        assert_eq!(grid.first(), at(700));
        assert_eq!(grid.after(at(1030)), at(1060));
        assert_eq!(grid.until_next(), SignedDuration::from_secs(15));
    }

    #[test]
    fn a_clock_before_the_watch_gives_nothing_to_ask() {
        assert_eq!(Grid::new(at(1000), SignedDuration::from_secs(30), 10, at(990)).newest(), None);
    }

    #[test]
    fn a_long_watch_is_not_asked_for_whole() {
        let grid = Grid::new(at(0), SignedDuration::from_secs(1), 10, at(100_000));
        assert_eq!(grid.first(), at(98_000));
    }
}
