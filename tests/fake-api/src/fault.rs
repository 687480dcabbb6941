//! What can go wrong with a request.

use crate::route::Call;

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The server answers with this code, and does nothing.
    Status(u16),
    /// The connection breaks before the request arrives.
    Lost,
    /// The request is carried out, and the connection breaks before the answer.
    AnswerLost,
    /// The client dies before the request: this one and all later ones never get an answer.
    DiesBefore,
    /// The client dies after the request: it is carried out, and nobody hears of it.
    DiesAfter,
}

type Matches = Box<dyn Fn(&Call) -> bool + Send>;

/// Faults to come, each for the first request that it matches.
#[derive(Default)]
pub(crate) struct Faults(Vec<(Matches, Fault)>);

impl Faults {
    pub(crate) fn add(&mut self, matches: Matches, fault: Fault) {
        self.0.push((matches, fault));
    }

    pub(crate) fn take(&mut self, call: &Call) -> Option<Fault> {
        let index = self.0.iter().position(|(matches, _)| matches(call))?;
        Some(self.0.remove(index).1)
    }

    /// How many have not happened.
    pub(crate) fn left(&self) -> usize {
        self.0.len()
    }
}
