//! The table, for a terminal of 100 columns.

use jiff::SignedDuration;
use snapback_core::duration;

use super::report::{Report, Row, Summary, Verdict};

/// Columns of a line.
const WIDTH: usize = 100;

/// The whole text.
pub(crate) fn table(report: &Report) -> String {
    let mut text = String::new();
    if report.rollouts.is_empty() {
        text.push_str("there was no rollout in this time\n");
    } else {
        text.push_str(&aligned(&rollouts(report), &[16, 22, 21, 5, 16, 9, 9]));
        let told = report.rollouts.iter().filter(|row| row.verdict != Verdict::Passed);
        for row in told {
            text.push('\n');
            text.push_str(&wrapped(&format!("{} {}: {}", minute(row), row.workload, row.message)));
        }
        text.push('\n');
        text.push_str(&aligned(&checks(report), &[22, 11, 8, 8, 12, 11, 11]));
    }
    text.push('\n');
    text.push_str(&wrapped(&summary(report)));
    for note in &report.notes {
        text.push_str(&wrapped(&format!("note: {note}")));
    }
    text
}

fn rollouts(report: &Report) -> Vec<Vec<String>> {
    let head = ["ROLLOUT (UTC)", "WORKLOAD", "VERDICT", "LABEL", "CHECK", "VALUE", "LIMIT"];
    let rows = report.rollouts.iter().map(|row| {
        vec![
            minute(row),
            row.workload.clone(),
            row.title(),
            row.label.map_or_else(|| "-".to_owned(), |label| format!("{label:?}").to_lowercase()),
            row.check.clone().unwrap_or_else(|| "-".to_owned()),
            row.shown(row.value),
            row.shown(row.limit),
        ]
    });
    std::iter::once(head.map(str::to_owned).to_vec()).chain(rows).collect()
}

fn checks(report: &Report) -> Vec<Vec<String>> {
    let head = ["CHECK", "KIND", "SEVERITY", "BREACHES", "FALSE ALARMS", "PER 30 DAYS", "DETECTED IN"];
    let rows = report.checks.iter().map(|check| {
        let is_judged = check.not_judged < report.rollouts.len();
        let counted = |text: String| if is_judged { text } else { "not judged".to_owned() };
        vec![
            check.name.clone(),
            check.kind.to_owned(),
            check.severity.to_owned(),
            counted(check.breaches.to_string()),
            if is_judged { check.false_alarms.to_string() } else { "-".to_owned() },
            if is_judged { check.false_alarms_per_30_days.to_string() } else { "-".to_owned() },
            seconds(check.median_seconds_to_detect),
        ]
    });
    std::iter::once(head.map(str::to_owned).to_vec()).chain(rows).collect()
}

fn summary(report: &Report) -> String {
    let Summary { rollouts, rolled_back, false_alarms, false_alarms_per_30_days, .. } = report.summary;
    let mut text = format!(
        "{rollouts} rollouts in {} days: {rolled_back} would have been rolled back, {false_alarms} of them as false \
         alarms ({false_alarms_per_30_days} per 30 days).",
        report.days
    );
    let Summary { bad, bad_rolled_back, good, good_rolled_back, .. } = report.summary;
    if bad + good > 0 {
        text.push_str(&format!(
            " Of {bad} labelled bad {bad_rolled_back} would have been rolled back; of {good} labelled good \
             {good_rolled_back}."
        ));
    }
    if let Some(median) = report.summary.median_seconds_to_detect {
        text.push_str(&format!(" Median time to detect: {}.", seconds(Some(median))));
    }
    text
}

fn minute(row: &Row) -> String {
    row.at.strftime("%Y-%m-%d %H:%M").to_string()
}

fn seconds(seconds: Option<i64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), |seconds| duration::format(SignedDuration::from_secs(seconds)))
}

/// Columns as wide as their longest cell, at most as wide as given.
fn aligned(rows: &[Vec<String>], most: &[usize]) -> String {
    let width = |column: usize, most: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0).min(most)
    };
    let widths: Vec<usize> = most.iter().enumerate().map(|(column, most)| width(column, *most)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{:width$}", cut(cell, *width)));
        cells.collect::<Vec<_>>().join(" ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// A text of at most so many characters.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(std::iter::once('…')).collect()
}

/// A paragraph in lines, the second and later ones indented.
fn wrapped(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
            Some(_) => lines.push(format!("  {word}")),
        }
    }
    lines.iter().map(|line| format!("{}\n", cut(line, WIDTH))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::given::Label;
    use super::super::report::tests::{at, given, report, walked};
    use super::super::walk::Ending;
    use super::*;

    #[test]
    fn the_table_says_when_what_and_why() {
        let rows = vec![
            Row::walked(&given(Some(Label::Bad), None), walked(Ending::RolledBack), None),
            Row::walked(&given(None, None), walked(Ending::Passed), None),
            Row::unknown(&given(None, None), "no pod of it was scraped at that time".to_owned()),
        ];
        assert_eq!(
            table(&report(rows)),
            "\
ROLLOUT (UTC)    WORKLOAD VERDICT          LABEL CHECK  VALUE LIMIT
2026-01-05 12:00 checkout RolledBack at +3m bad   errors 12.4% 5%
2026-01-05 12:00 checkout Passed            -     -      -     -
2026-01-05 12:00 checkout NoData            -     -      -     -

2026-01-05 12:00 checkout: errors: 12.4% against a limit of 5%

2026-01-05 12:00 checkout: no pod of it was scraped at that time

CHECK   KIND      SEVERITY BREACHES FALSE ALARMS PER 30 DAYS DETECTED IN
errors  errorRate Critical 1        0            0           3m
latency errorRate Critical 0        0            0           -

3 rollouts in 10 days: 1 would have been rolled back, 0 of them as false alarms (0 per 30 days). Of
  1 labelled bad 1 would have been rolled back; of 0 labelled good 0. Median time to detect: 3m.
note: crashes and traffic were not judged
"
            .replace("VERDICT          LABEL", "VERDICT           LABEL")
        );
    }

    #[test]
    fn it_fits_100_columns_whatever_the_names_are() {
        let mut long = Row::walked(&given(Some(Label::Good), None), walked(Ending::RolledBack), None);
        long.workload = "a-very-long-name-of-a-deployment-that-somebody-chose".to_owned();
        long.check = Some("a-very-long-name-of-a-check-that-somebody-chose".to_owned());
        long.message = "word ".repeat(60) + &"x".repeat(300);
        long.value = Some(123_456_789.123);
        long.unit = Some("plain");
        long.after_seconds = Some(90_061);
        long.at = at(0);
        let mut report = report(vec![long]);
        report.checks[0].name = "a-very-long-name-of-a-check-that-somebody-chose".to_owned();
        report.checks[0].median_seconds_to_detect = Some(90_061);
        report.checks[0].false_alarms_per_30_days = 12_345.67;
        let text = table(&report);
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(WIDTH), "{widest:?}\n{text}");
    }
}
