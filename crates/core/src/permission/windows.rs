//! May we act alone at this time? The policy's windows say.

use jiff::Timestamp;

use crate::policy::{Window, WindowKind, WindowState};

/// Why a person has to be asked at this time; `None` when nobody has to. An open window that denies wins over all
/// others; where some allow, one of them must be open. Only fixed times are named, so that the text stays the same
/// from look to look.
pub fn outside(windows: &[Window], now: Timestamp) -> Option<String> {
    let of = |kind| windows.iter().filter(move |window: &&Window| window.kind == kind);

    // The one that is open longest: until then a person is needed in any case.
    let denying = of(WindowKind::Deny).map(|window| (window.state(now), window)).max_by_key(|(state, _)| *state);
    match denying {
        Some((WindowState::Until(end), window)) => {
            let (title, end) = (window.title(), window.local(end));
            return Some(format!("the window {title} denies automatic rollbacks until {end}"));
        }
        Some((WindowState::Unending, window)) => {
            return Some(format!("the window {} denies automatic rollbacks", window.title()));
        }
        Some((WindowState::Closed, _)) | None => {}
    }

    let mut allowing = of(WindowKind::Allow).peekable();
    allowing.peek()?;
    if of(WindowKind::Allow).any(|window| window.state(now) != WindowState::Closed) {
        return None;
    }
    let next = allowing.filter_map(|window| Some((window.schedule.next(now)?, window))).min_by_key(|(at, _)| *at);
    let when = next.map(|(at, window)| format!(": the next one, {}, opens at {}", window.title(), window.local(at)));
    Some(format!("no window that allows automatic rollbacks is open{}", when.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::policy::{Schedule, zone};

    fn window(kind: WindowKind, name: &str, schedule: &str, hours: i64) -> Window {
        Window {
            name: Some(name.to_owned()).filter(|name| !name.is_empty()),
            kind,
            schedule: Schedule::parse(schedule, zone("Europe/Berlin").unwrap()).unwrap(),
            duration: SignedDuration::from_hours(hours),
        }
    }

    fn said(windows: &[Window], now: &str) -> String {
        outside(windows, now.parse().unwrap()).unwrap_or_else(|| "alone".to_owned())
    }

    #[test]
    fn without_windows_we_may() {
        assert_eq!(said(&[], "2026-01-05T12:00:00Z"), "alone");
    }

    #[test]
    fn a_window_that_denies_asks_until_it_closes() {
        let freeze = [window(WindowKind::Deny, "freeze", "0 0 20 12 *", 7 * 24)];
        assert_eq!(said(&freeze, "2026-12-19T22:59:59Z"), "alone");
        let asked = "the window \"freeze\" denies automatic rollbacks until 2026-12-27 00:00 Europe/Berlin";
        assert_eq!(said(&freeze, "2026-12-19T23:00:00Z"), asked);
        assert_eq!(said(&freeze, "2026-12-26T22:59:59Z"), asked, "it says the same at each look");
        assert_eq!(said(&freeze, "2026-12-26T23:00:00Z"), "alone");
    }

    #[test]
    fn outside_of_all_windows_that_allow_a_person_is_asked() {
        let hours =
            [window(WindowKind::Allow, "", "0 9 * * 1-5", 8), window(WindowKind::Allow, "saturday", "0 10 * * 6", 2)];
        assert_eq!(said(&hours, "2026-01-05T12:00:00Z"), "alone");
        assert_eq!(said(&hours, "2026-01-03T09:30:00Z"), "alone");
        let asked = "no window that allows automatic rollbacks is open: the next one, \"saturday\", opens at 2026-01-10 10:00 Europe/Berlin";
        assert_eq!(said(&hours, "2026-01-09T17:00:00Z"), asked);
        let asked = "no window that allows automatic rollbacks is open: the next one, \"0 9 * * 1-5\", opens at 2026-01-05 09:00 Europe/Berlin";
        assert_eq!(said(&hours, "2026-01-04T12:00:00Z"), asked);
    }

    #[test]
    fn one_that_denies_wins_over_one_that_allows() {
        let windows = [
            window(WindowKind::Allow, "hours", "0 9 * * 1-5", 8),
            window(WindowKind::Deny, "lunch", "0 12 * * *", 1),
            window(WindowKind::Deny, "long-lunch", "30 11 * * *", 2),
        ];
        let asked = "the window \"long-lunch\" denies automatic rollbacks until 2026-01-05 13:30 Europe/Berlin";
        assert_eq!(said(&windows, "2026-01-05T11:00:00Z"), asked, "the one that is open longest is named");
        assert_eq!(said(&windows, "2026-01-05T13:00:00Z"), "alone");
    }

    #[test]
    fn one_that_never_closes_names_no_end() {
        let always = [
            window(WindowKind::Deny, "always", "0 0 * * *", 25),
            window(WindowKind::Deny, "freeze", "0 0 20 12 *", 7 * 24),
        ];
        assert_eq!(said(&always, "2026-12-21T00:00:00Z"), "the window \"always\" denies automatic rollbacks");
    }
}
