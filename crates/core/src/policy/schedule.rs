//! Times by the wall clock: a cron schedule in a time zone.
//!
//! Where the clock jumps ahead over a time of the schedule, that time is the jump itself; where it goes back and shows a
//! time twice, it counts twice. So nothing that a schedule starts is ever left out, and what it starts each hour has no
//! hole.

use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::civil::{DateTime, date};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use thiserror::Error;

/// Changes of a zone's clock that a search goes over before it gives up: more than any zone has in the eight years
/// between two leap days.
const MOST_CHANGES: usize = 100;

/// Why something is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ScheduleError {
    /// No cron.
    #[error("must be a cron schedule of five fields such as \"0 9 * * 1-5\", but is {text:?}: {problem}")]
    Cron {
        /// What was written.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A day that no calendar has.
    #[error("must be a time that comes, but no year has the day of {0:?}")]
    Never(String),
    /// No zone.
    #[error("must be a time zone of the IANA database such as Europe/Berlin, but is {0:?}")]
    Zone(String),
}

/// A cron schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    cron: Cron,
    text: String,
    zone: TimeZone,
}

/// Reads the name of a time zone. The zones are part of the program: what a machine has installed does not matter.
pub fn zone(name: &str) -> Result<TimeZone, ScheduleError> {
    let known = TimeZoneDatabase::bundled().get(name).ok().filter(|zone| !zone.is_unknown());
    known.ok_or_else(|| ScheduleError::Zone(name.chars().take(64).collect()))
}

impl Schedule {
    /// Reads a schedule: minute, hour, day of the month, month and day of the week, in the time of `zone`.
    pub fn parse(text: &str, zone: TimeZone) -> Result<Self, ScheduleError> {
        let shown: String = text.chars().take(100).collect();
        let wrong = |problem: &str| ScheduleError::Cron { text: shown.clone(), problem: problem.to_owned() };
        let fields = text.split_whitespace().count();
        if fields != 5 {
            return Err(wrong(&format!("these are {fields} fields")));
        }
        if text.contains('@') {
            return Err(wrong("write the fields out instead of a name"));
        }
        if let Some(other) = text.chars().find(|c| !c.is_ascii_alphanumeric() && !" *,/#+-".contains(*c)) {
            return Err(wrong(&format!("{other:?} means nothing here")));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(text).map_err(|error| wrong(&problem(error)))?;
        let schedule = Self { cron, text: text.to_owned(), zone };
        schedule.shown_after(date(2000, 1, 1).into(), true).ok_or(ScheduleError::Never(shown))?;
        Ok(schedule)
    }

    /// What was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its time zone.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The first time after this one.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let mut at = after;
        for _ in 0..MOST_CHANGES {
            let offset = self.zone.to_offset(at);
            let found = offset.to_timestamp(self.shown_after(offset.to_datetime(at), false)?).ok()?;
            let change = self.zone.following(at).next().map(|change| change.timestamp());
            let Some(change) = change.filter(|change| *change <= found) else { return Some(found) };
            // At the change the clock shows one time, or jumps over all from the one to the other.
            let (before, behind) = (offset.to_datetime(change), self.zone.to_offset(change).to_datetime(change));
            if self.shown_after(before.min(behind), true)? <= behind {
                return Some(change);
            }
            at = change;
        }
        None
    }

    /// The next time of the schedule on the clock's face, whatever happens to the clock.
    fn shown_after(&self, face: DateTime, inclusive: bool) -> Option<DateTime> {
        self.cron.find_next_occurrence(&face, inclusive).ok()
    }
}

fn problem(error: CronError) -> String {
    let text = match error {
        CronError::InvalidPattern(text) | CronError::IllegalCharacters(text) | CronError::ComponentError(text) => text,
        other => other.to_string(),
    };
    text.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schedule(text: &str, name: &str) -> Schedule {
        Schedule::parse(text, zone(name).unwrap()).unwrap()
    }

    /// The next times, as RFC 3339 in UTC.
    fn times(text: &str, name: &str, after: &str, count: usize) -> Vec<String> {
        let schedule = schedule(text, name);
        let first = schedule.next(after.parse().unwrap());
        std::iter::successors(first, |at| schedule.next(*at)).take(count).map(|at| at.to_string()).collect()
    }

    #[test]
    fn the_time_is_that_of_the_zone_in_summer_and_winter() {
        let berlin = times("0 9 * * 1-5", "Europe/Berlin", "2026-03-26T12:00:00Z", 3);
        assert_eq!(berlin, ["2026-03-27T08:00:00Z", "2026-03-30T07:00:00Z", "2026-03-31T07:00:00Z"]);
    }

    #[test]
    fn a_time_that_the_clock_jumps_over_is_the_jump() {
        // 02:00 to 03:00 on the last Sunday of March, in Berlin.
        let at = times("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2);
        assert_eq!(at, ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
        // Midnight itself is what Cairo's clock jumps over.
        let at = times("0 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00Z", 2);
        assert_eq!(at, ["2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"]);
        // The time behind the jump is not counted twice.
        let at = times("0 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 2);
        assert_eq!(at, ["2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"]);
    }

    #[test]
    fn a_time_that_the_clock_shows_twice_counts_twice() {
        let at = times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 3);
        assert_eq!(at, ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"]);
        let at = times("0 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", 3);
        assert_eq!(at, ["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"]);
    }

    #[test]
    fn the_last_day_of_the_year_and_leap_days_are_found() {
        assert_eq!(times("0 0 L 12 *", "Etc/UTC", "2026-12-02T00:00:00Z", 1), ["2026-12-31T00:00:00Z"]);
        assert_eq!(times("0 0 29 2 *", "Africa/Casablanca", "2096-03-01T00:00:00Z", 1).len(), 1);
    }

    #[test]
    fn what_is_no_schedule_is_refused_and_quoted() {
        for text in
            ["", "* * * *", "0 0 9 * * 1-5", "@daily", "@daily * * * *", "0 25 * * *", "0 9 * * 1-8", "a b c d e"]
        {
            let error = Schedule::parse(text, TimeZone::UTC).unwrap_err().to_string();
            assert!(error.starts_with("must be a cron schedule of five fields such as"), "{text}: {error}");
            assert!(error.contains(&format!("{text:?}")), "{text}: {error}");
        }
        let error = Schedule::parse("0 0 30 2 *", TimeZone::UTC).unwrap_err().to_string();
        assert_eq!(error, "must be a time that comes, but no year has the day of \"0 0 30 2 *\"");
    }

    #[test]
    fn what_is_no_zone_is_refused_and_quoted() {
        for name in ["", "Europe/Berln", "Etc/Unknown", "+02:00", "../etc/passwd"] {
            let error = zone(name).unwrap_err().to_string();
            assert!(error.starts_with("must be a time zone of the IANA database"), "{name}: {error}");
        }
        assert_eq!(zone("europe/berlin").unwrap().iana_name(), Some("Europe/Berlin"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}", fields in "([0-9*,/#+LWlw-]{1,4} ){4}[0-9*,/#+LWA-Z-]{1,4}") {
            let after = "2026-01-01T00:00:00Z".parse().unwrap();
            for text in [text, fields] {
                if let Ok(schedule) = Schedule::parse(&text, TimeZone::UTC) {
                    prop_assert!(schedule.next(after).is_none_or(|at| at > after));
                }
            }
        }
    }
}
