//! What was counted between two looks.

/// Bad ones among all.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Tally {
    /// All requests (or whatever is counted).
    pub all: f64,
    /// Bad ones among them.
    pub bad: f64,
}

impl Tally {
    /// A tally.
    pub fn new(all: f64, bad: f64) -> Self {
        Self { all, bad }
    }

    /// The share of bad ones, 0 to 1; 0 of nothing.
    pub fn rate(self) -> f64 {
        if self.all > 0.0 { self.bad / self.all } else { 0.0 }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { all: self.all + other.all, bad: self.bad + other.bad }
    }
}

impl std::iter::Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), Self::plus)
    }
}

/// What the new pods are compared with in one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Against {
    /// The old pods, at the same time: whatever hits both is not the release's.
    OldPods,
    /// The old revision before the rollout: another time, with another load and other neighbours.
    TheTimeBefore,
    /// Nothing: no old pod served, and nothing is known of before.
    Nothing,
}

/// The counts since the look before.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// In each new pod, in the same order at every look.
    pub new: Vec<Tally>,
    /// In what they are compared with.
    pub old: Tally,
    /// What that is.
    pub against: Against,
    /// The share of all requests that the new pods would get if every ready pod got the same, 0 to 1; `None` where
    /// that cannot be told.
    pub due: Option<f64>,
}

impl Look {
    /// Requests of all new pods.
    pub fn total_requests(&self) -> f64 {
        self.total(None).all
    }

    /// All new pods together, without one of them.
    pub(super) fn total(&self, without: Option<usize>) -> Tally {
        let others = self.new.iter().enumerate().filter(|(index, _)| Some(*index) != without);
        others.map(|(_, one)| *one).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn of_nothing_none_is_bad() {
        assert_eq!(Tally::default().rate(), 0.0);
        assert_eq!(Tally::new(4.0, 1.0).rate(), 0.25);
    }
}
