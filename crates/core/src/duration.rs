//! Durations as Gateway API writes them (GEP-2257): `15m`, `1h30m`, `500ms`.

use jiff::SignedDuration;
use thiserror::Error;

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("must be a duration such as 30s, 15m or 1h30m (a day is 24h), but is {0:?}")]
pub struct DurationError(String);

/// Reads a GEP-2257 duration: one to four parts of up to five digits, each with one of the units h, m, s, ms.
///
/// The arithmetic cannot overflow: four parts of 99,999 hours fit.
pub fn parse(text: &str) -> Result<SignedDuration, DurationError> {
    let wrong = || DurationError(text.chars().take(32).collect());
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

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(millis in 0i64..360_000_000) {
            let duration = SignedDuration::from_millis(millis);
            prop_assert_eq!(parse(&format(duration)).unwrap(), duration);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = parse(&text);
        }
    }
}
