//! Where a query stops being PromQL.
//!
//! The parser says only that a text does not parse. The place is found by asking it about ever longer beginnings:
//! one that some ending makes whole is fine so far.

use std::ops::Range;

use promql_parser::parser::{lexer, parse};

/// What the parser says when its grammar, rather than one of its checks, refuses a text.
const NO_GRAMMAR: &str = "invalid promql query";

/// What could follow a beginning that is fine so far. Each starts with a space, so as not to change the last word.
const ENDINGS: [&str; 9] = ["", " x", " 1", " \"x\"", " =\"x\"", " x=\"x\"", " (x)", " 5m", " [5m]"];

/// The most operators, signs and brackets of a query. Each may put all that follows one level deeper, and queries are
/// walked over, and dropped, by recursion: thousands of them would be the end of the stack, and of the process.
const MOST_LEVELS: usize = 500;

/// Where a query gets too deep to be parsed, in bytes, and what is wrong there.
pub(crate) fn too_deep(text: &str) -> Option<(usize, String)> {
    let adds_a_level = |token: &&Range<usize>| {
        let token = text.get((*token).clone()).unwrap_or_default();
        token.starts_with(|c: char| "+-*/%^<>=!([".contains(c))
            || ["and", "or", "unless", "atan2"].iter().any(|word| token.eq_ignore_ascii_case(word))
    };
    let tokens = Scan::of(text).tokens;
    let first = tokens.iter().filter(adds_a_level).nth(MOST_LEVELS)?;
    Some((first.start, format!("it has more than {MOST_LEVELS} operators and brackets")))
}

/// Where a text that does not parse goes wrong, in bytes, and what is wrong there, in one line.
pub(crate) fn explain(text: &str, message: &str) -> (usize, String) {
    let scan = Scan::of(text);
    if text.trim().is_empty() || scan.tokens.is_empty() {
        return (0, "there is no query".to_owned());
    }
    if let Some((at, problem)) = scan.unbalanced {
        return (at, problem);
    }
    if message != NO_GRAMMAR {
        return (first_with(text, &scan.tokens, message), one_line(message));
    }
    let fine = scan.tokens.partition_point(|token| can_continue(text.get(..token.end).unwrap_or_default()));
    match scan.tokens.get(fine) {
        Some(token) => {
            let word: String = text.get(token.clone()).unwrap_or_default().chars().take(40).collect();
            (token.start, one_line(&format!("{word} cannot stand here")))
        }
        None => (text.trim_end().len(), "the query ends too early".to_owned()),
    }
}

/// The last token of the shortest beginning that fails in the same way, or the one before it that the message names.
fn first_with(text: &str, tokens: &[Range<usize>], message: &str) -> usize {
    let same = |token: &Range<usize>| {
        let start = text.get(..token.end).unwrap_or_default();
        parse(&format!("{start}{}", closers(start))).is_err_and(|error| error == message)
    };
    let named =
        |token: &&Range<usize>| message.contains(&format!("'{}'", text.get((*token).clone()).unwrap_or_default()));
    let upto = tokens.iter().position(same).and_then(|last| tokens.get(..=last)).unwrap_or_default();
    upto.iter().rfind(named).or(upto.last()).map_or(0, |token| token.start)
}

/// Whether some ending makes the text one that the grammar takes.
fn can_continue(start: &str) -> bool {
    let closers = closers(start);
    let split = closers.chars().next().map_or(0, char::len_utf8);
    let (first, rest) = closers.split_at(split);
    ENDINGS.iter().any(|ending| {
        // The second form is for groupings, which need an operand after their parenthesis.
        [format!("{start}{ending}{closers}"), format!("{start}{ending}{first} (x){rest}")]
            .iter()
            .any(|whole| lexer(whole).is_ok() && parse(whole).err().is_none_or(|error| error != NO_GRAMMAR))
    })
}

/// What closes everything that is open, innermost first.
fn closers(start: &str) -> String {
    let open = Scan::of(start).open;
    open.iter().rev().map(|(_, bracket)| closing(*bracket)).collect()
}

fn closing(bracket: char) -> char {
    match bracket {
        '(' => ')',
        '[' => ']',
        _ => '}',
    }
}

/// In one line, without what a terminal would obey.
fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// The words and brackets of a text.
struct Scan {
    tokens: Vec<Range<usize>>,
    open: Vec<(usize, char)>,
    unbalanced: Option<(usize, String)>,
}

impl Scan {
    fn of(text: &str) -> Self {
        let mut scan = Self { tokens: Vec::new(), open: Vec::new(), unbalanced: None };
        let mut at = 0;
        while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
            let rest = text.get(at..).unwrap_or_default();
            let length = match c {
                '#' => rest.find('\n').unwrap_or(rest.len()),
                '"' | '\'' | '`' => scan.string(at, rest, c),
                c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                c => c.len_utf8(),
            };
            if c != '#' && !c.is_whitespace() {
                scan.tokens.push(at..at + length);
            }
            match c {
                '(' | '[' | '{' => scan.open.push((at, c)),
                ')' | ']' | '}' => scan.close(at, c),
                _ => {}
            }
            at += length;
        }
        if let (None, Some((at, bracket))) = (&scan.unbalanced, scan.open.last()) {
            scan.unbalanced = Some((*at, format!("{bracket} is never closed")));
        }
        scan
    }

    /// The length of a string.
    fn string(&mut self, at: usize, rest: &str, quote: char) -> usize {
        let mut escaped = false;
        for (index, c) in rest.char_indices().skip(1) {
            if c == quote && !escaped {
                return index + c.len_utf8();
            }
            escaped = c == '\\' && !escaped && quote != '`';
        }
        self.unbalanced.get_or_insert((at, format!("the string that starts with {quote} never ends")));
        rest.len()
    }

    fn close(&mut self, at: usize, bracket: char) {
        match self.open.pop() {
            Some((_, open)) if closing(open) == bracket => {}
            Some((_, open)) => {
                self.unbalanced.get_or_insert((at, format!("{bracket} cannot close {open}")));
            }
            None => {
                self.unbalanced.get_or_insert((at, format!("{bracket} closes nothing")));
            }
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == ':' || c == '.'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_where_the_grammar_gives_up() {
        for (text, token, problem) in [
            ("sum by (pod (up)", "(pod", "never closed"),
            ("sum(rate(up[5m]) by pod)", "by pod)", "by cannot stand here"),
            ("up{a=b}", "b}", ""),
            ("up > > 1", "> 1", "> cannot stand here"),
            ("up and * up", "* up", "* cannot stand here"),
            ("(up]", "]", "] cannot close ("),
            ("up{a=\"b}", "\"b}", "never ends"),
            ("sum(up) / # comment", "", "too early"),
        ] {
            let message = parse(text).unwrap_err();
            let (at, found) = explain(text, &message);
            let rest = text.get(at..).unwrap();
            assert!(rest.starts_with(token) && found.contains(problem), "{text}: {at} {rest:?} {found} ({message})");
        }
    }

    #[test]
    fn what_is_quoted_of_a_query_is_one_plain_line() {
        let text = "99h99\u{7f}9";
        let (_, problem) = explain(text, &parse(text).unwrap_err());
        assert!(!problem.contains(char::is_control), "{problem:?}");
    }

    #[test]
    fn brackets_in_strings_and_comments_are_not_brackets() {
        assert!(Scan::of("up{a=\"\\\"(\", b='[', c=`\\`} # (").unbalanced.is_none());
    }
}
