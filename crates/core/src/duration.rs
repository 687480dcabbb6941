//! Durations as Gateway API writes them (GEP-2257): `15m`, `1h30m`, `500ms`.

use jiff::SignedDuration;
use thiserror::Error;

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DurationError {
    /// Nothing of the kind.
    #[error("must be a duration such as 30s, 15m or 1h30m (a day is 24h), but is {0:?}")]
    NoDuration(String),
    /// One that could not be written with five digits of hours.
    #[error("must be at most 99999h, but is {0:?}")]
    TooLong(String),
}

/// The shortest that is too long.
const TOO_LONG: SignedDuration = SignedDuration::from_hours(100_000);

/// Reads a GEP-2257 duration: one to four parts of up to five digits, each with one of the units h, m, s, ms. All of them
/// together are under 100,000 hours, which is what [`format`] can write as one.
///
/// The arithmetic cannot overflow: four parts of 99,999 hours fit.
pub fn parse(text: &str) -> Result<SignedDuration, DurationError> {
    let shown = || text.chars().take(32).collect();
    let wrong = || DurationError::NoDuration(shown());
    let mut rest = text;
    let mut total = SignedDuration::ZERO;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let unit_len = after.len() - after.trim_start_matches(|c: char| c.is_ascii_lowercase()).len();
        let (unit, next) = after.split_at(unit_len);
        if digits == 0 || digits > 5 {
            return Err(wrong());
        }
        let count: i64 = number.parse().map_err(|_| wrong())?;
        total += match unit {
            "h" => SignedDuration::from_secs(count * 3600),
            "m" => SignedDuration::from_secs(count * 60),
            "s" => SignedDuration::from_secs(count),
            "ms" => SignedDuration::from_millis(count),
            _ => return Err(wrong()),
        };
        rest = next;
        parts += 1;
    }
    if parts == 0 || parts > 4 {
        return Err(wrong());
    }
    if total >= TOO_LONG {
        return Err(DurationError::TooLong(shown()));
    }
    Ok(total)
}

/// Writes a duration so that [`parse`] reads the same one, cut to whole milliseconds.
pub fn format(duration: SignedDuration) -> String {
    let millis = duration.as_millis().max(0);
    if millis == 0 {
        return "0s".to_owned();
    }
    let parts =
        [(millis / 3_600_000, "h"), (millis / 60_000 % 60, "m"), (millis / 1000 % 60, "s"), (millis % 1000, "ms")];
    parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_units_add_up() {
        assert_eq!(parse("1h30m10s500ms").unwrap(), SignedDuration::from_millis(5_410_500));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_and_quoted() {
        for text in ["", "15", "m", "-5m", "1.5h", "15 m", "100000s", "1h1h1h1h1h", "5d", "5M", "99999999999999999999h"]
        {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with("must be a duration such as"), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_too_long_to_be_written_is_refused() {
        assert_eq!(format(parse("99999h59m59s999ms").unwrap()), "99999h59m59s999ms");
        for text in ["99999h60m", "99999h3600s", "99999h99999h99999h99999h", "99999h59m59s1000ms"] {
            assert_eq!(parse(text).unwrap_err().to_string(), format!("must be at most 99999h, but is {text:?}"));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(millis in 0i64..360_000_000_000) {
            let duration = SignedDuration::from_millis(millis);
            prop_assert_eq!(parse(&format(duration)).unwrap(), duration);
        }

        #[test]
        fn whatever_is_read_is_written_so_that_it_is_read_again(text in "([0-9]{1,5}(h|m|s|ms)){1,4}") {
            if let Ok(duration) = parse(&text) {
                prop_assert_eq!(parse(&format(duration)), Ok(duration));
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = parse(&text);
        }
    }
}
