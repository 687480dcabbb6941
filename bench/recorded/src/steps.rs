//! A row of numbers as short text.
//!
//! Each word is the difference to the number before (of the first, to 0), or `-` where there is none; `x20` after it says
//! that it comes twenty times: `-x3 12 4 0x20` is three gaps, 12, 16, and 16 twenty times.

use std::fmt::Write;

use crate::RecordedError;

/// Writes a row.
pub(crate) fn write(values: &[Option<i64>]) -> String {
    let mut last = 0;
    let words: Vec<Option<i64>> = values
        .iter()
        .map(|value| {
            value.map(|value| {
                let step = value - last;
                last = value;
                step
            })
        })
        .collect();
    let mut text = String::new();
    for run in words.chunk_by(|one, other| one == other) {
        if !text.is_empty() {
            text.push(' ');
        }
        // Writing to a string cannot fail.
        _ = match run.first() {
            Some(Some(step)) => write!(text, "{step}"),
            _ => write!(text, "-"),
        };
        if run.len() > 1 {
            _ = write!(text, "x{}", run.len());
        }
    }
    text
}

/// Longest row that is read: a day of seconds.
const MOST: usize = 86_400;

/// Reads it back.
pub(crate) fn read(text: &str) -> Result<Vec<Option<i64>>, RecordedError> {
    let mut values = Vec::new();
    let mut last = 0_i64;
    for word in text.split_whitespace() {
        let wrong = || RecordedError::Step(word.to_owned());
        let (step, times) = match word.split_once('x') {
            Some((step, times)) => (step, times.parse::<usize>().map_err(|_| wrong())?),
            None => (word, 1),
        };
        let step = if step == "-" { None } else { Some(step.parse::<i64>().map_err(|_| wrong())?) };
        if values.len().saturating_add(times) > MOST {
            return Err(wrong());
        }
        for _ in 0..times {
            if let Some(step) = step {
                last = last.checked_add(step).ok_or_else(wrong)?;
            }
            values.push(step.map(|_| last));
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_short_and_is_read_back() {
        let mut row = vec![None, None, Some(12), Some(16)];
        row.extend([Some(16); 20]);
        row.extend([None, Some(9)]);
        assert_eq!(write(&row), "-x2 12 4 0x20 - -7");
        assert_eq!(read(&write(&row)).unwrap(), row);
        assert_eq!(read("").unwrap(), []);
    }

    #[test]
    fn what_is_no_row_is_quoted() {
        for text in ["3 x", "a", "1x", "2x-1", "1x999999999", "9223372036854775807x2"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read("7 1y2").unwrap_err().to_string().starts_with("\"1y2\" is neither"));
    }
}
