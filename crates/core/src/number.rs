//! Numbers as users write them: strings, since a YAML float loses what was meant.

use thiserror::Error;

/// Why a text is no number.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NumberError {
    /// Neither digits nor digits with a fraction.
    #[error("must be a decimal number such as \"2\" or \"0.5\", but is {0:?}")]
    NotDecimal(String),
    /// Not a share.
    #[error("must be a percentage such as \"5%\" or a fraction such as \"0.05\", but is {0:?}")]
    NotAShare(String),
    /// A share over the whole.
    #[error("must be between 0% and 100%, but is {0:?}")]
    OverTheWhole(String),
}

/// Reads a plain decimal (`12`, `0.5`); no sign, no exponent, at most 16 characters.
pub fn decimal(text: &str) -> Result<f64, NumberError> {
    plain(text).ok_or_else(|| NumberError::NotDecimal(quoted(text)))
}

/// Reads a decimal that may be negative (a user's own metric may be below zero).
pub fn signed(text: &str) -> Result<f64, NumberError> {
    match text.strip_prefix('-') {
        Some(rest) => decimal(rest).map(|value| -value),
        None => decimal(text),
    }
}

/// Reads a share of the whole, `5%` or `0.05`, as a fraction between 0 and 1.
pub fn share(text: &str) -> Result<f64, NumberError> {
    let fraction = of_baseline(text)?;
    if fraction > 1.0 { Err(NumberError::OverTheWhole(quoted(text))) } else { Ok(fraction) }
}

/// Reads a multiple of a baseline, `80%` or `1.2`, as a factor; it may exceed 1.
pub fn of_baseline(text: &str) -> Result<f64, NumberError> {
    let value = match text.strip_suffix('%') {
        Some(percent) => plain(percent).map(|value| value / 100.0),
        None => plain(text),
    };
    value.ok_or_else(|| NumberError::NotAShare(quoted(text)))
}

/// The longest number that a record holds.
const LONGEST_RECORD: usize = 32;

/// Writes a number into a record, so that [`recorded`] reads the same one: what was measured has more digits than people
/// write.
pub fn record(value: f64) -> String {
    let text = value.to_string();
    if text.len() <= LONGEST_RECORD { text } else { format!("{value:e}") }
}

/// Reads a number of a record.
pub fn recorded(text: &str) -> Option<f64> {
    let is_written = text.len() <= LONGEST_RECORD && text.ends_with(|c: char| c.is_ascii_digit());
    text.parse().ok().filter(|value: &f64| is_written && value.is_finite())
}

fn plain(text: &str) -> Option<f64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if text.len() > 16 || !digits(whole) || !digits(fraction) {
        return None;
    }
    text.parse().ok()
}

fn quoted(text: &str) -> String {
    text.chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_and_its_fraction_are_the_same_share() {
        assert!((share("5%").unwrap() - share("0.05").unwrap()).abs() < f64::EPSILON);
        assert!((share("12.5%").unwrap() - 0.125).abs() < f64::EPSILON);
    }

    #[test]
    fn a_share_cannot_exceed_the_whole_but_a_multiple_of_the_baseline_can() {
        assert_eq!((share("100%"), share("1")), (Ok(1.0), Ok(1.0)));
        assert_eq!(share("101%"), Err(NumberError::OverTheWhole("101%".to_owned())));
        assert!((of_baseline("150%").unwrap() - 1.5).abs() < f64::EPSILON);
    }

    #[test]
    fn a_record_is_read_as_it_was_written_however_many_digits_that_takes() {
        for value in [0.05, 0.0, -1.5, 2.0 * 0.1, 0.1 + 0.2, 3.0 / 7.0, 1.0 / 3e9, 1e300, -f64::MIN_POSITIVE, f64::MAX]
        {
            let text = record(value);
            assert!(text.len() <= 32, "{text}");
            assert_eq!(recorded(&text), Some(value), "{text}");
        }
        assert_eq!(record(0.05), "0.05");
        for text in ["", "inf", "NaN", "5%", "1e999", &"0".repeat(33)] {
            assert_eq!(recorded(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "%", "five", "1e3", "NaN", "inf", "-1", "1,5", ".5", "5.", "0x10", "11111111111111111"] {
            assert!(decimal(text).is_err(), "{text}");
            assert!(share(text).is_err(), "{text}");
        }
        assert!((signed("-1.5").unwrap() + 1.5).abs() < f64::EPSILON);
    }

    #[test]
    fn a_number_has_at_most_sixteen_characters() {
        assert_eq!(decimal("1111111111111.25"), Ok(1_111_111_111_111.25));
        assert!(decimal("11111111111111.25").is_err());
    }
}
