//! One client: whether it lives, which server it talks to, and what happened to its watches.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::fault::Trouble;
use crate::store::Store;

/// A client of its own.
#[derive(Default)]
pub(crate) struct Connection {
    dead: AtomicBool,
    /// How far its server is behind, and until when.
    behind: Mutex<Option<(Duration, Option<Instant>)>>,
    troubles: Mutex<Vec<Trouble>>,
}

impl Connection {
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    pub(crate) fn dies(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    /// Its server is behind from now on; for ever, if it is not said how long.
    pub(crate) fn falls_behind(&self, by: Duration, lasting: Option<Duration>) {
        let until = lasting.map(|lasting| Instant::now() + lasting);
        *self.behind.lock().unwrap_or_else(PoisonError::into_inner) = Some((by, until));
    }

    /// What its caches get to see: the newest version that its server knows.
    pub(crate) fn visible(&self, store: &Store) -> u64 {
        self.lag().map_or(store.version(), |lag| store.version_at(Instant::now() - lag))
    }

    /// How far its server is behind now.
    pub(crate) fn lag(&self) -> Option<Duration> {
        let behind = *self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        behind.filter(|(_, until)| until.is_none_or(|until| Instant::now() < until)).map(|(by, _)| by)
    }

    /// When its server has caught up.
    pub(crate) fn caught_up(&self) -> Option<Instant> {
        let behind = *self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        behind.and_then(|(_, until)| until).filter(|until| Instant::now() < *until)
    }

    /// All its open watches fare so.
    pub(crate) fn trouble(&self, trouble: Trouble) {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).push(trouble);
    }

    /// How many troubles there were.
    pub(crate) fn troubles(&self) -> usize {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The trouble after so many.
    pub(crate) fn trouble_after(&self, heard: usize) -> Option<Trouble> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).get(heard).copied()
    }
}
