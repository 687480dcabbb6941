//! How the service behaves: evenly, a ratio of 4 % is 4 in any 100 in a row; or, with a seed, by chance.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Gives a ratio of the calls their turn.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    ratio: f64,
    owed: f64,
    chance: Option<SmallRng>,
}

impl Share {
    /// A share between 0 and 1, spread evenly unless there is a seed.
    pub(crate) fn new(ratio: f64, seed: Option<u64>) -> Self {
        Self { ratio: ratio.clamp(0.0, 1.0), owed: 0.0, chance: seed.map(SmallRng::seed_from_u64) }
    }

    /// Another share from now on.
    pub(crate) fn set(&mut self, ratio: f64) {
        self.ratio = ratio.clamp(0.0, 1.0);
    }

    /// The next call's turn.
    pub(crate) fn next(&mut self) -> bool {
        if let Some(chance) = &mut self.chance {
            return chance.random_bool(self.ratio);
        }
        self.owed += self.ratio;
        let due = self.owed >= 1.0 - 1e-9;
        if due {
            self.owed -= 1.0;
        }
        due
    }
}

/// The time that requests take.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    usual: Duration,
    chance: Option<SmallRng>,
}

impl Pace {
    /// Always the same, or with a seed between half of it and one and a half times as much.
    pub(crate) fn new(usual: Duration, seed: Option<u64>) -> Self {
        Self { usual, chance: seed.map(SmallRng::seed_from_u64) }
    }

    /// Another one from now on.
    pub(crate) fn set(&mut self, usual: Duration) {
        self.usual = usual;
    }

    /// The next call's.
    pub(crate) fn next(&mut self) -> Duration {
        match &mut self.chance {
            Some(chance) => self.usual.mul_f64(chance.random_range(0.5..1.5)),
            None => self.usual,
        }
    }
}

/// A seed of its own for each pod.
pub(crate) fn own_seed(seed: u64, pod: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, pod).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_exact_in_every_stretch() {
        for (ratio, of, expected) in [(0.04, 100, 4), (0.2, 50, 10), (1.0, 7, 7), (0.0, 100, 0)] {
            let mut share = Share::new(ratio, None);
            let hits = (0..of).filter(|_| share.next()).count();
            assert_eq!(hits, expected, "{ratio}");
        }
    }

    #[test]
    fn by_chance_it_is_about_the_share_and_the_same_again() {
        let hits = |seed| {
            let mut share = Share::new(0.2, Some(seed));
            (0..1000).map(|_| share.next()).collect::<Vec<bool>>()
        };
        let count = hits(7).iter().filter(|hit| **hit).count();
        assert!((150..250).contains(&count), "{count}");
        assert_eq!(hits(7), hits(7));
        assert_ne!(hits(7), hits(8));
    }

    #[test]
    fn requests_take_about_the_usual_time() {
        let usual = Duration::from_millis(100);
        assert_eq!(Pace::new(usual, None).next(), usual);
        let mut pace = Pace::new(usual, Some(1));
        for _ in 0..100 {
            let taken = pace.next();
            assert!(taken >= usual / 2 && taken < usual * 3 / 2, "{taken:?}");
        }
    }
}
