//! A time in which we may, or may not, act alone.

use jiff::{SignedDuration, Timestamp};

use super::Schedule;

/// Openings in a row, each before the last one is over, that are followed to find the end of them: a day of minutes.
const MOST_OPENINGS: usize = 24 * 60;

/// A window: open from each time of its schedule for its duration, the start included and the end not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// What people call it.
    pub name: Option<String>,
    /// What it means that it is open.
    pub kind: WindowKind,
    /// When it opens.
    pub schedule: Schedule,
    /// How long it stays open; time that passes, whatever the clock shows. Positive.
    pub duration: SignedDuration,
}

/// What it means that a window is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowKind {
    /// We may act alone in it, and only in it or another one of this kind.
    Allow,
    /// We may not act alone in it, whatever else is open.
    Deny,
}

/// Where a window stands; what is open longer is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WindowState {
    /// It is closed.
    Closed,
    /// It is open, and closes then.
    Until(Timestamp),
    /// It is open, and opens again before it closes, for longer than is looked.
    Unending,
}

impl Window {
    /// Where it stands at this time.
    pub fn state(&self, now: Timestamp) -> WindowState {
        let Some(mut start) = now.checked_sub(self.duration).ok().and_then(|before| self.schedule.next(before)) else {
            return WindowState::Closed;
        };
        if start > now {
            return WindowState::Closed;
        }
        for _ in 0..MOST_OPENINGS {
            let Ok(end) = start.checked_add(self.duration) else { return WindowState::Unending };
            match self.schedule.next(start) {
                Some(again) if again <= end => start = again,
                _ => return WindowState::Until(end),
            }
        }
        WindowState::Unending
    }

    /// How people know it: by its name, else by its schedule.
    pub fn title(&self) -> String {
        format!("{:?}", self.name.as_deref().unwrap_or(self.schedule.text()))
    }

    /// A time as its own clock shows it.
    pub fn local(&self, at: Timestamp) -> String {
        let zone = self.schedule.zone();
        let shown = at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string();
        format!("{shown} {}", zone.iana_name().unwrap_or("UTC"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::schedule::zone;

    fn window(schedule: &str, hours: i64, name: &str) -> Window {
        Window {
            name: None,
            kind: WindowKind::Deny,
            schedule: Schedule::parse(schedule, zone(name).unwrap()).unwrap(),
            duration: SignedDuration::from_hours(hours),
        }
    }

    fn state(window: &Window, now: &str) -> String {
        match window.state(now.parse().unwrap()) {
            WindowState::Closed => "closed".to_owned(),
            WindowState::Until(end) => window.local(end),
            WindowState::Unending => "unending".to_owned(),
        }
    }

    #[test]
    fn it_is_open_at_its_start_and_closed_at_its_end() {
        let window = window("0 9 * * 1-5", 8, "Etc/UTC");
        assert_eq!(state(&window, "2026-01-05T08:59:59Z"), "closed");
        assert_eq!(state(&window, "2026-01-05T09:00:00Z"), "2026-01-05 17:00 Etc/UTC");
        assert_eq!(state(&window, "2026-01-05T16:59:59Z"), "2026-01-05 17:00 Etc/UTC");
        assert_eq!(state(&window, "2026-01-05T17:00:00Z"), "closed");
        assert_eq!(state(&window, "2026-01-10T12:00:00Z"), "closed", "a Saturday");
    }

    #[test]
    fn it_may_span_midnight_and_the_end_of_the_year() {
        let night = window("0 22 * * 5", 10, "Europe/Berlin");
        assert_eq!(state(&night, "2026-01-02T20:59:00Z"), "closed");
        assert_eq!(state(&night, "2026-01-03T06:30:00Z"), "2026-01-03 08:00 Europe/Berlin");
        let freeze = window("0 18 18 12 *", 16 * 24, "Europe/Berlin");
        assert_eq!(state(&freeze, "2026-12-31T23:30:00Z"), "2027-01-03 18:00 Europe/Berlin");
        assert_eq!(state(&freeze, "2027-01-03T17:00:00Z"), "closed");
    }

    #[test]
    fn one_that_opens_again_before_it_closes_stays_open() {
        let weekend = window("0 0 * * 6,0", 24, "Etc/UTC");
        assert_eq!(state(&weekend, "2026-01-03T12:00:00Z"), "2026-01-05 00:00 Etc/UTC");
        let longer_than_its_period = window("0 0 * * *", 36, "Etc/UTC");
        assert_eq!(state(&longer_than_its_period, "2026-01-03T12:00:00Z"), "unending");
    }

    #[test]
    fn the_hour_that_is_shown_twice_leaves_no_hole() {
        let always = window("0 * * * *", 1, "Europe/Berlin");
        assert_eq!(state(&always, "2026-10-25T01:30:00Z"), "unending");
        let night = window("0 2 * * *", 1, "Europe/Berlin");
        assert_eq!(state(&night, "2026-10-25T00:30:00Z"), "2026-10-25 03:00 Europe/Berlin");
        assert_eq!(state(&night, "2026-10-25T01:59:59Z"), "2026-10-25 03:00 Europe/Berlin");
        assert_eq!(state(&night, "2026-10-25T02:00:00Z"), "closed");
    }

    #[test]
    fn the_hour_that_is_left_out_opens_it_at_the_jump() {
        let night = window("30 2 * * *", 1, "Europe/Berlin");
        assert_eq!(state(&night, "2026-03-29T00:59:59Z"), "closed");
        assert_eq!(state(&night, "2026-03-29T01:00:00Z"), "2026-03-29 04:00 Europe/Berlin");
        assert_eq!(state(&night, "2026-03-29T02:00:00Z"), "closed");
    }
}
