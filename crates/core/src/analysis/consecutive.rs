//! Breached after n bad readings in a row.

use super::{Quality, Reading};

/// What the end of a series of readings looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streak {
    /// The last `n` readings in a row are all bad (at least one).
    Bad(u32),
    /// The last `n` readings in a row are as bad as the baseline, or bad, with the last one common.
    Common(u32),
    /// The last reading is fine.
    Fine,
    /// The last reading cannot be told.
    Unclear(Quality),
    /// There is none.
    None,
}

/// Looks at the newest readings, which stand last.
pub fn streak(readings: &[Reading]) -> Streak {
    let run = |of: Quality| {
        let length = readings.iter().rev().take_while(|reading| reading.quality == of).count();
        u32::try_from(length).unwrap_or(u32::MAX)
    };
    match readings.last().map(|reading| reading.quality) {
        None => Streak::None,
        Some(Quality::Fine) => Streak::Fine,
        Some(Quality::Bad) => Streak::Bad(run(Quality::Bad)),
        Some(Quality::Common) => Streak::Common(run(Quality::Common)),
        Some(unclear) => Streak::Unclear(unclear),
    }
}

/// When the present run of bad readings began.
pub fn first_bad(readings: &[Reading]) -> Option<jiff::Timestamp> {
    readings.iter().rev().take_while(|reading| reading.quality == Quality::Bad).last().map(|reading| reading.from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn readings(qualities: &[Quality]) -> Vec<Reading> {
        (0i64..)
            .zip(qualities)
            .map(|(index, quality)| Reading {
                from: Timestamp::from_second(index * 30).unwrap(),
                to: Timestamp::from_second(index * 30 + 30).unwrap(),
                value: 0.0,
                limit: 0.0,
                baseline: None,
                requests: None,
                bad: None,
                quality: *quality,
            })
            .collect()
    }

    #[test]
    fn only_an_unbroken_run_at_the_end_counts() {
        use Quality::{Bad, Common, Fine};
        assert_eq!(streak(&readings(&[Bad, Bad, Fine, Bad, Bad])), Streak::Bad(2));
        assert_eq!(streak(&readings(&[Bad, Bad, Bad])), Streak::Bad(3));
        assert_eq!(streak(&readings(&[Bad, Bad, Fine])), Streak::Fine);
        assert_eq!(streak(&readings(&[Bad, Common, Common])), Streak::Common(2));
        assert_eq!(streak(&[]), Streak::None);
    }

    #[test]
    fn the_fault_began_with_the_first_reading_of_the_run() {
        use Quality::{Bad, Fine};
        let found = first_bad(&readings(&[Bad, Fine, Bad, Bad]));
        assert_eq!(found, Some(Timestamp::from_second(60).unwrap()));
    }
}
