//! How the service behaves, decided request by request without chance: a ratio of 4 % is 4 in any 100 in a row.

/// Spreads a ratio evenly: true for that share of the calls.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    ratio: f64,
    owed: f64,
}

impl Share {
    /// A share between 0 and 1.
    pub(crate) fn new(ratio: f64) -> Self {
        Self { ratio: ratio.clamp(0.0, 1.0), owed: 0.0 }
    }

    /// The next call's turn.
    pub(crate) fn next(&mut self) -> bool {
        self.owed += self.ratio;
        let due = self.owed >= 1.0 - 1e-9;
        if due {
            self.owed -= 1.0;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::Share;

    #[test]
    fn a_share_is_exact_in_every_stretch() {
        for (ratio, of, expected) in [(0.04, 100, 4), (0.2, 50, 10), (1.0, 7, 7), (0.0, 100, 0)] {
            let mut share = Share::new(ratio);
            let hits = (0..of).filter(|_| share.next()).count();
            assert_eq!(hits, expected, "{ratio}");
        }
    }
}
