//! What came of all stories, in one table.

use std::time::Duration;

use crate::matrix::Pattern;

/// What came of one story.
pub(crate) enum Outcome {
    /// As it should be; how long the undo took, in virtual time.
    Right(Option<Duration>),
    /// What was asserted.
    Wrong(String),
    /// The fault never came about: there was no such write.
    NotMet,
}

impl Outcome {
    /// A right outcome of what never came about says nothing.
    pub(crate) fn or_not_met(self) -> Self {
        if matches!(self, Self::Right(_)) { Self::NotMet } else { self }
    }
}

/// One kind of fault.
pub(crate) struct Row {
    name: String,
    pattern: Pattern,
    tried: usize,
    slowest: Option<Duration>,
    wrong: usize,
}

impl Row {
    pub(crate) fn new(name: &str, pattern: Pattern) -> Self {
        Self { name: name.to_owned(), pattern, tried: 0, slowest: None, wrong: 0 }
    }

    pub(crate) fn note(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::NotMet => return,
            Outcome::Right(took) => self.slowest = self.slowest.max(took),
            Outcome::Wrong(said) => {
                eprintln!("WRONG: {}: {}\n", self.name, said.chars().take(LONGEST).collect::<String>());
                self.wrong += 1;
            }
        }
        self.tried += 1;
    }

    pub(crate) fn is_wrong(&self) -> bool {
        self.wrong > 0 || self.tried == 0
    }
}

/// The longest text that is told of a wrong outcome.
const LONGEST: usize = 1500;

pub(crate) fn print(rows: &[Row], notes: &[String], requests: usize, took: Duration) {
    println!("| Kind | Pattern | Tried | Right | Slowest undo |");
    println!("|---|---|---:|---:|---:|");
    for row in rows {
        let pattern = format!("{:?}", row.pattern).to_lowercase();
        let slowest = row.slowest.map_or_else(String::new, |slowest| format!("{} s", slowest.as_secs_f64().ceil()));
        println!("| {} | {pattern} | {} | {} | {slowest} |", row.name, row.tried, row.tried - row.wrong);
    }
    let sum = |of: fn(&Row) -> usize| rows.iter().map(of).sum::<usize>();
    let (tried, wrong) = (sum(|row| row.tried), sum(|row| row.wrong));
    println!("| **{} kinds** | | **{tried}** | **{}** | |", rows.len(), tried - wrong);
    println!("\nAnother outcome is right:");
    notes.iter().for_each(|note| println!("- {note}"));
    println!("\nA rollback is {requests} requests. {tried} stories in {:.0} s.", took.as_secs_f64());
}
