//! What a verdict was reached by, as text: enough to reach it again, bit for bit.
//!
//! ```text
//! needed=7.6009 found=9.1234
//! rate weight=1 max=0.05 ratio=2 floor=0.005 looks=30 pods=1.12 time=1.5 spare=4.6051
//! 75,1 74,0/150,0o 80,3 70,2/149,1o
//! ```
//! First what a breach took and what was found (natural logarithms of odds). Then, for each limit of the check, what is
//! held against what, and the looks: `all,bad` of each new pod (or group of pods), a slash, and the same of what they are
//! compared with: `o` the old pods, `b` the time before, `n` nothing; for silence `@` and the share that is due.
//! Numbers are written as Rust writes an `f64`: as short as can be and exactly read back.

use std::fmt::Write;

use thiserror::Error;

use super::look::{Against, Look, Tally};
use super::test::{Evidence, Limits, Plan, mean, regression, silence};

/// One limit of a check, with the looks that it was tested by.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Its weight among the check's limits.
    pub weight: f64,
    /// What is held against what.
    pub rule: PartRule,
    /// What was known before.
    pub plan: Plan,
    /// What was counted.
    pub looks: Vec<Look>,
}

/// What is held against what.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PartRule {
    /// A rate of bad ones.
    Rate(Limits),
    /// Requests that do not come: less than `1/least` of what is due.
    Silence {
        /// That number.
        least: f64,
    },
}

impl Part {
    /// The evidence after each look.
    pub fn evidence(&self) -> Evidence {
        match &self.rule {
            PartRule::Rate(limits) => regression(&self.looks, limits, &self.plan),
            PartRule::Silence { least } => silence(&self.looks, *least, &self.plan),
        }
    }
}

/// A verdict with all that it rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// What a breach took, `ln`.
    pub needed: f64,
    /// What was found, `ln`.
    pub found: f64,
    /// The check's limits.
    pub parts: Vec<Part>,
}

impl Recorded {
    /// The evidence of all limits together.
    pub fn evidence(&self) -> Evidence {
        evidence(&self.parts)
    }

    /// What is found when it is worked out again, after the last look of the record: the one that decided.
    pub fn recomputed(&self) -> f64 {
        self.evidence().now()
    }
}

/// The evidence of several limits of one check.
pub fn evidence(parts: &[Part]) -> Evidence {
    mean(&parts.iter().map(|part| (part.weight, part.evidence())).collect::<Vec<_>>())
}

impl std::fmt::Display for Recorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "needed={} found={}", self.needed, self.found)?;
        for part in &self.parts {
            match &part.rule {
                PartRule::Rate(limits) => {
                    write!(f, "\nrate weight={}", part.weight)?;
                    for (key, limit) in [("max", limits.max), ("ratio", limits.ratio)] {
                        if let Some(limit) = limit {
                            write!(f, " {key}={limit}")?;
                        }
                    }
                    write!(f, " floor={}", limits.floor)?;
                }
                PartRule::Silence { least } => write!(f, "\nsilence weight={} least={least}", part.weight)?,
            }
            let Plan { looks, among_pods, over_time, spare } = part.plan;
            write!(f, " looks={looks} pods={among_pods} time={over_time} spare={spare}\n{}", look_text(&part.looks))?;
        }
        Ok(())
    }
}

fn look_text(looks: &[Look]) -> String {
    let mut text = String::new();
    for look in looks {
        let tally = |one: &Tally| format!("{},{}", one.all, one.bad);
        let new: Vec<String> = look.new.iter().map(tally).collect();
        let against = match look.against {
            Against::OldPods => 'o',
            Against::TheTimeBefore => 'b',
            Against::Nothing => 'n',
        };
        if !text.is_empty() {
            text.push(';');
        }
        // Writing to a string cannot fail.
        _ = write!(text, "{}/{}{against}", new.join(" "), tally(&look.old));
        if let Some(due) = look.due {
            _ = write!(text, "@{due}");
        }
    }
    text
}

/// Why a text is no record.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordError {
    /// A line is missing.
    #[error("the record ends before its {0}")]
    Ends(&'static str),
    /// A word or number is not what it should be.
    #[error("the record has {found:?} where {wanted} should be")]
    Word {
        /// What should be there.
        wanted: &'static str,
        /// What is there, cut short.
        found: String,
    },
}

impl std::str::FromStr for Recorded {
    type Err = RecordError;

    fn from_str(text: &str) -> Result<Self, RecordError> {
        let mut lines = text.lines();
        let head = Words::of(lines.next().ok_or(RecordError::Ends("first line"))?);
        let mut parts = Vec::new();
        while let Some(line) = lines.next() {
            let words = Words::of(line);
            let rule = match words.kind {
                "rate" => PartRule::Rate(Limits {
                    max: words.maybe("max")?,
                    ratio: words.maybe("ratio")?,
                    floor: words.number("floor")?,
                }),
                "silence" => PartRule::Silence { least: words.number("least")? },
                other => return Err(word("rate or silence", other)),
            };
            let looks = words.number("looks")?;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked in the line above it")]
            let plan = Plan {
                looks: if (1.0..=1e6).contains(&looks) { looks as u32 } else { return Err(word("looks", line)) },
                among_pods: words.number("pods")?,
                over_time: words.number("time")?,
                spare: words.number("spare")?,
            };
            let looks = lines.next().ok_or(RecordError::Ends("looks"))?;
            let looks: Result<Vec<Look>, RecordError> =
                looks.split(';').filter(|look| !look.is_empty()).map(read_look).collect();
            parts.push(Part { weight: words.number("weight")?, rule, plan, looks: looks? });
        }
        Ok(Self { needed: head.number("needed")?, found: head.number("found")?, parts })
    }
}

fn word(wanted: &'static str, found: &str) -> RecordError {
    RecordError::Word { wanted, found: found.chars().take(40).collect() }
}

fn number(wanted: &'static str, text: &str) -> Result<f64, RecordError> {
    text.parse::<f64>().ok().filter(|number| !number.is_nan()).ok_or_else(|| word(wanted, text))
}

fn read_look(text: &str) -> Result<Look, RecordError> {
    let tally = |text: &str| -> Result<Tally, RecordError> {
        let (all, bad) = text.split_once(',').ok_or_else(|| word("all,bad", text))?;
        Ok(Tally::new(number("a count", all)?, number("a count", bad)?))
    };
    let (new, old) = text.split_once('/').ok_or_else(|| word("a look", text))?;
    let (old, due) = match old.split_once('@') {
        Some((old, due)) => (old, Some(number("a share", due)?)),
        None => (old, None),
    };
    let against = match old.chars().last() {
        Some('o') => Against::OldPods,
        Some('b') => Against::TheTimeBefore,
        Some('n') => Against::Nothing,
        _ => return Err(word("o, b or n", old)),
    };
    let new = new.split(' ').filter(|one| !one.is_empty()).map(tally).collect::<Result<Vec<_>, _>>()?;
    Ok(Look { new, old: tally(&old[..old.len() - 1])?, against, due })
}

/// The `key=value` words of a line, after its kind.
struct Words<'a> {
    kind: &'a str,
    words: Vec<(&'a str, &'a str)>,
}

impl<'a> Words<'a> {
    fn of(line: &'a str) -> Self {
        let kind = line.split(' ').next().unwrap_or_default();
        Self { kind, words: line.split(' ').filter_map(|word| word.split_once('=')).collect() }
    }

    fn maybe(&self, key: &'static str) -> Result<Option<f64>, RecordError> {
        let found = self.words.iter().find(|(known, _)| *known == key);
        found.map(|(_, value)| number(key, value)).transpose()
    }

    fn number(&self, key: &'static str) -> Result<f64, RecordError> {
        self.maybe(key)?.ok_or(RecordError::Ends(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(counts: &[(f64, f64, f64)]) -> Recorded {
        let looks = counts.iter().map(|(all, bad, old)| Look {
            new: vec![Tally::new(*all, *bad), Tally::new(*all, 0.0)],
            old: Tally::new(*old, 1.0),
            against: match *old {
                ..1e5 => Against::Nothing,
                1e5..5e5 => Against::TheTimeBefore,
                _ => Against::OldPods,
            },
            due: (*old > 80.0).then_some(1.0 / 3.0),
        });
        let plan = Plan { looks: 30, among_pods: 1.1, over_time: 4.0 / 3.0, spare: 4.6 };
        let rate = PartRule::Rate(Limits { max: Some(0.05), ratio: None, floor: 0.0 });
        let looks: Vec<Look> = looks.collect();
        let parts = vec![
            Part { weight: 1.0, rule: PartRule::Silence { least: 4.0 }, plan, looks: looks.clone() },
            Part { weight: 0.5, rule: rate, plan, looks },
        ];
        let found = evidence(&parts).now();
        Recorded { needed: 1e6, found, parts }
    }

    proptest::proptest! {
        #[test]
        fn a_record_is_read_back_exactly_and_gives_the_same_verdict(
            counts in proptest::collection::vec((0.0f64..1e6, 0.0f64..1e3, 0.0f64..1e6), 1..20)
        ) {
            let record = recorded(&counts);
            let read: Recorded = record.to_string().parse().unwrap();
            proptest::prop_assert_eq!(&read, &record);
            proptest::prop_assert_eq!(read.recomputed().to_bits(), record.found.to_bits());
        }

        #[test]
        fn no_text_panics(text in "[a-z=0-9 ,/;@onb.\n-]{0,80}") {
            _ = text.parse::<Recorded>();
        }
    }

    #[test]
    fn what_is_no_record_is_told_with_what_is_wrong() {
        let wrong = |text: &str| text.parse::<Recorded>().unwrap_err().to_string();
        assert_eq!(wrong("needed=1"), "the record ends before its found");
        assert_eq!(wrong("needed=1 found=x"), "the record has \"x\" where found should be");
        assert_eq!(
            wrong("needed=1 found=1\nmagic weight=1\n"),
            "the record has \"magic\" where rate or silence should be"
        );
        let rate = "needed=1 found=1\nrate weight=1 floor=0 looks=3 pods=1 time=1 spare=1";
        assert_eq!(wrong(rate), "the record ends before its looks");
        assert_eq!(wrong(&format!("{rate}\n1,2/3,4x")), "the record has \"3,4x\" where o, b or n should be");
    }
}
