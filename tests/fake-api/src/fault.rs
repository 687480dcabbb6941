//! What can go wrong with a request, and with the watches that are open when it comes.

use std::time::Duration;

use crate::route::Call;

/// A fault of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The server answers with this code, and does nothing.
    Status(u16),
    /// The same, and the answer says after how many seconds to come again.
    Busy(u16, u32),
    /// Admission refuses, with these words.
    Denied(&'static str),
    /// The connection breaks before the request arrives.
    Lost,
    /// The request is carried out, and the connection breaks before the answer.
    AnswerLost,
    /// Nobody answers. The request is carried out so much later; at once, if that is nothing.
    NoAnswer(Duration),
    /// The request is carried out, and the answer comes so much later.
    Slow(Duration),
    /// The client dies before the request: this one and all later ones never get an answer.
    DiesBefore,
    /// The client dies after the request: it is carried out, and nobody hears of it.
    DiesAfter,
    /// The request is carried out and answered, and so fare all the watches that its client has open.
    Watches(Trouble),
    /// From this request on, and for this long, the client talks to a server that is behind.
    OlderServer {
        /// How far it is behind.
        behind: Duration,
        /// How long that lasts.
        lasting: Duration,
    },
}

/// What can go wrong with an open watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It ends, as each does after some minutes.
    Ends,
    /// It is told that its version is too old (410), and ends: its client has to list again.
    Expires,
    /// What happens in this time is not told; then it expires. What changed twice is seen once.
    Drops(Duration),
    /// Nothing is told any more on this connection, which stays open: its client finds out by itself.
    Silent,
    /// Each event of this time comes twice.
    Repeats(Duration),
    /// The events of this time come at its end, those of one object together, the newest object first.
    Reorders(Duration),
    /// The events of this time come at its end.
    Late(Duration),
}

/// How long a client that waits for ever is left waiting: as long as TCP tries again, and then the connection breaks.
pub(crate) const HANGS: Duration = Duration::from_mins(15);

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
