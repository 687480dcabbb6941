//! The instants at which a rollout is looked at.

use jiff::{SignedDuration, Timestamp};

/// Most steps that are asked for at once; back ends refuse 11,000.
const MOST_STEPS: i64 = 2_000;

/// The multiples of a step in Unix time, in whole seconds: the same for all watches of that step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// The last one that is not after the start of the watch.
    start: i64,
    step: i64,
    before: i64,
    now: i64,
}

impl Grid {
    /// The grid of a watch that began at `since`, with `before` steps before that, as far as `now`.
    pub fn new(since: Timestamp, interval: SignedDuration, before: u32, now: Timestamp) -> Self {
        let step = interval.as_secs().max(1);
        let start = since.as_second().div_euclid(step) * step;
        Self { start, step, before: before.into(), now: now.as_second() }
    }

    /// The last instant before the judged part.
    pub fn start(&self) -> Timestamp {
        self.at(0)
    }

    /// The time from one instant to the next.
    pub fn step(&self) -> SignedDuration {
        SignedDuration::from_secs(self.step)
    }

    /// The newest instant that has come; `None` when the clock stands before the watch.
    pub fn newest(&self) -> Option<Timestamp> {
        let steps = (self.now - self.start).div_euclid(self.step);
        (steps >= 0).then(|| self.at(steps))
    }

    /// The first instant of the baseline.
    pub fn first(&self) -> Timestamp {
        let newest = (self.now - self.start).div_euclid(self.step);
        self.at((-self.before).max(newest - MOST_STEPS))
    }

    /// The instant after `known`.
    pub fn after(&self, known: Timestamp) -> Timestamp {
        self.at((known.as_second() - self.start).div_euclid(self.step) + 1)
    }

    /// Time until the next instant.
    pub fn until_next(&self) -> SignedDuration {
        let past = (self.now - self.start).rem_euclid(self.step);
        SignedDuration::from_secs(self.step - past)
    }

    fn at(&self, steps: i64) -> Timestamp {
        Timestamp::from_second(self.start.saturating_add(steps.saturating_mul(self.step))).unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_grid_is_that_of_the_clock_and_the_last_instant_before_the_watch_its_baselines_end() {
        let grid = Grid::new(at(1000), SignedDuration::from_secs(30), 10, at(1075));
        assert_eq!(grid.start(), at(990));
        assert_eq!(grid.newest(), Some(at(1050)));
        assert_eq!(grid.first(), at(690));
        assert_eq!(grid.after(at(1020)), at(1050));
        assert_eq!(grid.until_next(), SignedDuration::from_secs(5));
    }

    #[test]
    fn watches_of_one_interval_share_their_instants() {
        let newest = |since| Grid::new(at(since), SignedDuration::from_secs(30), 10, at(1075)).newest();
        assert_eq!(newest(1000), newest(1049));
    }

    #[test]
    fn a_clock_before_the_watch_gives_nothing_to_ask() {
        assert_eq!(Grid::new(at(1000), SignedDuration::from_secs(30), 10, at(989)).newest(), None);
    }

    #[test]
    fn a_long_watch_is_not_asked_for_whole() {
        let grid = Grid::new(at(0), SignedDuration::from_secs(1), 10, at(100_000));
        assert_eq!(grid.first(), at(98_000));
    }
}
