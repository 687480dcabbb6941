//! The picture: a row per rollout, its looks by what they found, and where it would have been rolled back.

use jiff::{SignedDuration, Timestamp};
use snapback_core::checks::Verdict as OfCheck;
use snapback_core::duration;

use super::report::{Report, Row, Verdict};

const WIDTH: i64 = 1000;
/// Where the bars begin and end.
const LEFT: i64 = 250;
const RIGHT: i64 = 760;
const TOP: i64 = 70;
const ROW: i64 = 34;
const BAR: i64 = 14;

/// Shortest time that a picture shows, in seconds.
const LEAST: i64 = 60;

/// The whole document. The same report gives the same bytes.
pub(crate) fn svg(report: &Report) -> String {
    let rows = i64::try_from(report.rollouts.len()).unwrap_or(i64::MAX / ROW / 2);
    let height = TOP + ROW * rows + 50;
    let ends = report.rollouts.iter().filter_map(|row| Some((row.at, last(row)?)));
    let span = ends.map(|(from, to)| to.duration_since(from).as_secs()).max().unwrap_or(LEAST).max(LEAST);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>{0}</title>\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"26\" font-size=\"16\">{0}</text>\n",
        escaped(&format!("Backtest of {}", report.policy))
    );
    out.push_str(&legend());
    for (index, row) in (0..).zip(&report.rollouts) {
        out.push_str(&rollout(row, TOP + ROW * index, span));
    }
    out.push_str(&axis(TOP + ROW * rows, span));
    out.push_str("</svg>\n");
    out
}

fn rollout(row: &Row, y: i64, span: i64) -> String {
    let x = |at: Timestamp| LEFT + at.duration_since(row.at).as_secs().clamp(0, span) * (RIGHT - LEFT) / span;
    let label = format!("{} {}", row.at.strftime("%Y-%m-%d %H:%M"), short(&row.workload, 16));
    let told = match &row.check {
        Some(check) => format!("{} ({})", row.title(), short(check, 12)),
        None => row.title(),
    };
    let mut out = format!("<g class=\"rollout\">\n<title>{}</title>\n", escaped(&row.message));
    out.push_str(&text(16, y + 12, &label));
    let mut from = row.at;
    for look in &row.looks {
        let (left, right) = (x(from), x(look.at));
        out.push_str(&format!(
            "<rect class=\"look {:?}\" x=\"{left}\" y=\"{y}\" width=\"{}\" height=\"{BAR}\" fill=\"{}\"/>\n",
            look.worst,
            (right - left).max(1),
            colour(look.worst)
        ));
        from = look.at;
    }
    if let Some(completed) = row.completed {
        out.push_str(&tick("completed", x(completed), y, "#444444"));
    }
    if let (Verdict::RolledBack | Verdict::Asked | Verdict::Held, Some(decided)) = (row.verdict, row.decided) {
        let (at, top) = (x(decided), y - 2);
        out.push_str(&format!(
            "<path class=\"breach\" d=\"M{at} {top} l-5 -8 h10 z\" fill=\"{}\"/>\n",
            colour(OfCheck::Breached)
        ));
    }
    out.push_str(&text(RIGHT + 12, y + 12, &told));
    out.push_str("</g>\n");
    out
}

fn tick(class: &str, x: i64, y: i64, colour: &str) -> String {
    let (top, bottom) = (y - 3, y + BAR + 3);
    format!("<line class=\"{class}\" x1=\"{x}\" y1=\"{top}\" x2=\"{x}\" y2=\"{bottom}\" stroke=\"{colour}\"/>\n")
}

fn legend() -> String {
    let words = [
        (OfCheck::Passing, "inside every limit"),
        (OfCheck::Inconclusive, "cannot tell yet"),
        (OfCheck::NoData, "no data"),
        (OfCheck::Breached, "breached (triangle: decided)"),
    ];
    let mut out = String::new();
    for (x, (verdict, word)) in (0..).map(|index| LEFT + 150 * index).zip(words) {
        let fill = colour(verdict);
        out.push_str(&format!("<rect x=\"{x}\" y=\"38\" width=\"10\" height=\"10\" fill=\"{fill}\"/>\n"));
        out.push_str(&text(x + 15, 47, word));
    }
    out
}

/// The time since each rollout began, in quarters.
fn axis(y: i64, span: i64) -> String {
    let mut out = String::new();
    for quarter in 0..=4 {
        let x = LEFT + (RIGHT - LEFT) * quarter / 4;
        let after = SignedDuration::from_secs(span * quarter / 4);
        out.push_str(&tick("axis", x, y, "#999999"));
        out.push_str(&text(x - 8, y + 34, &format!("+{}", duration::format(after))));
    }
    out
}

fn last(row: &Row) -> Option<Timestamp> {
    row.looks.last().map(|look| look.at)
}

fn colour(verdict: OfCheck) -> &'static str {
    match verdict {
        OfCheck::Passing => "#2e8b57",
        OfCheck::Inconclusive => "#e0b040",
        OfCheck::NoData => "#b8b8b8",
        OfCheck::Breached => "#c0392b",
    }
}

fn text(x: i64, y: i64, words: &str) -> String {
    format!("<text x=\"{x}\" y=\"{y}\">{}</text>\n", escaped(words))
}

fn short(text: &str, width: usize) -> String {
    if text.chars().count() <= width { text.to_owned() } else { text.chars().take(width - 1).chain(['…']).collect() }
}

/// Text that means itself in XML; what XML cannot hold is left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().filter(|c| !c.is_control()) {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{given, report, walked};
    use super::super::walk::Ending;
    use super::*;

    fn picture() -> String {
        let mut strange = Row::walked(&given(None, None), walked(Ending::Passed), None);
        strange.message = "a < b && c > \"d\" \u{1}".to_owned();
        let back = Row::walked(&given(None, None), walked(Ending::RolledBack), None);
        svg(&report(vec![back, strange]))
    }

    #[test]
    fn looks_are_coloured_and_what_is_rolled_back_is_marked() {
        let picture = picture();
        let count = |what: &str| picture.matches(what).count();
        assert_eq!(count("<g class=\"rollout\">"), 2);
        assert_eq!((count("class=\"look NoData\""), count("class=\"look Inconclusive\"")), (2, 2));
        assert_eq!((count("class=\"look Breached\""), count("class=\"look Passing\"")), (1, 1));
        assert_eq!((count("class=\"breach\""), count("class=\"completed\"")), (1, 2));
        assert!(picture.contains("RolledBack at +3m (errors)"), "{picture}");
        assert_eq!(picture, self::picture(), "the same report, the same bytes");
    }

    #[test]
    fn it_is_well_formed_whatever_the_texts_are() {
        well_formed(&picture());
        well_formed(&svg(&report(Vec::new())));
    }

    /// Every tag is closed in order, every attribute quoted, and no text holds markup.
    fn well_formed(xml: &str) {
        let mut open: Vec<&str> = Vec::new();
        let mut rest = xml;
        while let Some((before, after)) = rest.split_once('<') {
            assert!(!before.contains('>') && entities_only(before), "{before}");
            let (tag, next) = after.split_once('>').expect("an end of the tag");
            rest = next;
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name));
                continue;
            }
            assert!(tag.matches('"').count() % 2 == 0 && entities_only(tag), "{tag}");
            let name = tag.split([' ', '/']).next().unwrap();
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
        assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
    }

    fn entities_only(text: &str) -> bool {
        let known = ["&amp;", "&lt;", "&gt;", "&quot;"];
        text.split('&').skip(1).all(|after| known.iter().any(|one| format!("&{after}").starts_with(one)))
            && !text.contains(|c: char| c.is_control() && c != '\n')
    }
}
