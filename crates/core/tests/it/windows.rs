//! Windows against a walk over the clock's face, minute by minute.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;

use crate::support::tried;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use proptest::prelude::*;
use snapback_core::policy::{Schedule, Window, WindowKind, WindowState, zone};

/// Zones whose clocks change by an hour, by half an hour, at midnight, and not at all; each with days on which they do.
const DAYS: [(&str, &str); 9] = [
    ("Europe/Berlin", "2026-03-28T00:00:00Z"),
    ("Europe/Berlin", "2026-10-24T00:00:00Z"),
    ("America/New_York", "2026-03-07T12:00:00Z"),
    ("America/New_York", "2026-10-31T12:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-03T12:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-02T12:00:00Z"),
    ("Africa/Cairo", "2026-04-23T00:00:00Z"),
    ("Africa/Cairo", "2026-10-28T12:00:00Z"),
    ("Etc/UTC", "2026-12-30T12:00:00Z"),
];

/// A cron field: its text, and the values that it names.
type Field = (&'static str, fn(i8) -> bool);

const MINUTES: [Field; 5] = [
    ("*", |_| true),
    ("0", |value| value == 0),
    ("30", |value| value == 30),
    ("*/20", |value| value % 20 == 0),
    ("5-8,59", |value| (5..=8).contains(&value) || value == 59),
];
const HOURS: [Field; 5] = [
    ("*", |_| true),
    ("0", |value| value == 0),
    ("1-2", |value| value == 1 || value == 2),
    ("2", |value| value == 2),
    ("9-17/4", |value| matches!(value, 9 | 13 | 17)),
];
/// Days of the week, Sunday is 0.
const WEEKDAYS: [Field; 3] = [("*", |_| true), ("SUN", |value| value == 0), ("1-5", |value| (1..=5).contains(&value))];

/// A schedule and, told apart from it, what it means on the clock's face.
#[derive(Debug)]
struct Plan {
    fields: [Field; 3],
}

impl Plan {
    fn text(&self) -> String {
        let [minute, hour, weekday] = self.fields.map(|(text, _)| text);
        format!("{minute} {hour} * * {weekday}")
    }

    fn names(&self, face: DateTime) -> bool {
        let [minute, hour, weekday] = self.fields.map(|(_, holds)| holds);
        minute(face.minute()) && hour(face.hour()) && weekday(face.weekday().to_sunday_zero_offset())
    }

    /// Whether it starts something in the minute that begins here: the clock shows a time of it, or has just jumped
    /// over one.
    fn starts(&self, zone: &TimeZone, minute: Timestamp) -> bool {
        let (now, before) = (zone.to_datetime(minute), zone.to_datetime(minute - SignedDuration::from_mins(1)));
        let first = if now < before { now } else { before + 1.minute() };
        std::iter::successors(Some(first), |face| Some(*face + 1.minute()))
            .take_while(|face| *face <= now)
            .any(|face| self.names(face))
    }
}

fn plan() -> impl Strategy<Value = Plan> {
    (0..MINUTES.len(), 0..HOURS.len(), 0..WEEKDAYS.len())
        .prop_map(|(minute, hour, weekday)| Plan { fields: [MINUTES[minute], HOURS[hour], WEEKDAYS[weekday]] })
}

fn minute(index: i64) -> SignedDuration {
    SignedDuration::from_mins(index)
}

proptest! {
    #![proptest_config(tried(48))]

    /// A window is open when, and only when, its schedule had a time within the duration before; and it closes when it
    /// says that it does.
    #[test]
    fn a_window_is_open_as_a_walk_over_the_clock_says(
        plan in plan(),
        day in 0..DAYS.len(),
        length in prop_oneof![1..90i64, 1..3000i64],
        seconds in 0..60i64,
    ) {
        let (name, from) = DAYS[day];
        let (zone, from): (TimeZone, Timestamp) = (zone(name).unwrap(), from.parse().unwrap());
        let window = Window {
            name: None,
            kind: WindowKind::Deny,
            schedule: Schedule::parse(&plan.text(), zone.clone()).unwrap(),
            duration: minute(length),
        };
        let walked = 2 * 24 * 60;
        let starts: BTreeSet<i64> =
            (-length..walked).filter(|index| plan.starts(&zone, from + minute(*index))).collect();
        let is_open = |index: i64| starts.range(index - length + 1..=index).next().is_some();

        // Around each change, and now and then.
        let changes = |index: i64| is_open(index - 1) != is_open(index);
        for index in (0..walked).filter(|index| index % 97 == 0 || changes(*index) || changes(index + 1)) {
            let at = from + minute(index) + SignedDuration::from_secs(seconds);
            let state = window.state(at);
            prop_assert_eq!(state != WindowState::Closed, is_open(index), "{} {} at {}", plan.text(), name, at);
            if let WindowState::Until(end) = state {
                prop_assert!(end > at);
                let last = end.duration_since(from).as_mins();
                let is_whole = (index..last.min(walked)).all(is_open);
                prop_assert!(is_whole, "{} {} has a hole before {}", plan.text(), name, end);
                prop_assert!(last >= walked || !is_open(last), "{} {} is open at {}", plan.text(), name, end);
            }
        }
    }
}
