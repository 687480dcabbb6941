//! How long a watch that failed waits until it is tried again: each by itself, and not for long.

use std::time::Duration;

use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;

/// The longest wait of a watch. kube's own goes up to a minute, in which nobody would know what is released after an outage.
const LONGEST: Duration = Duration::from_secs(10);

/// The waits of one watch.
#[derive(Default)]
pub(crate) struct OfAWatch(DefaultBackoff);

impl Iterator for OfAWatch {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|wait| wait.min(LONGEST))
    }
}

impl Backoff for OfAWatch {
    fn reset(&mut self) {
        self.0.reset();
    }
}

/// The wait of a controller for all of its watches together: none, since each waits by itself.
///
/// While a controller waits, none of its watches is polled: a request that is under way then runs out of its time, which is
/// the next failure, and so on after the outage is over.
pub(crate) struct OfAll;

impl Iterator for OfAll {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}

impl Backoff for OfAll {
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_waits_longer_and_longer_up_to_ten_seconds() {
        let mut waits = OfAWatch::default();
        let first = waits.next().unwrap();
        assert!(first < Duration::from_secs(2), "{first:?}");
        let all: Vec<Duration> = waits.by_ref().take(50).collect();
        assert!(all.iter().all(|wait| *wait <= LONGEST) && all[10..].iter().all(|wait| *wait == LONGEST), "{all:?}");
        waits.reset();
        assert!(waits.next().unwrap() < Duration::from_secs(2));
    }
}
