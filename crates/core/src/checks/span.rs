//! Windows joined until they hold enough requests to say something.

use jiff::Timestamp;

use crate::sample::{Increase, Window};

/// How much worse than a baseline that is itself outside the limit the new pods must be for the release to be the
/// cause (λ0 of the detection notes: 1.5).
pub const TOLERANCE: f64 = 1.5;

/// Requests a baseline must hold, unless the policy's own minimum is smaller.
const BASELINE_REQUESTS: u64 = 20;

/// Joined windows with enough requests.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Span {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    pub(crate) new: Increase,
    pub(crate) old: Increase,
}

/// The spans since the rollout began.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spans {
    /// Spans with at least the minimum of requests, oldest first.
    pub(crate) closed: Vec<Span>,
    /// What came after the last of them.
    pub(crate) open: Option<Span>,
    /// All old pods' requests in the window before the rollout.
    pub(crate) before: Increase,
    /// Requests a baseline must hold.
    pub(crate) enough: f64,
}

impl Spans {
    /// What a span is compared with: the old pods in the same time, else the window before the rollout.
    pub(crate) fn baseline<'a>(&'a self, span: &'a Span, requests: impl Fn(&Increase) -> f64) -> Option<&'a Increase> {
        [&span.old, &self.before].into_iter().find(|increase| requests(increase) >= self.enough)
    }
}

/// Joins the windows that end after `since`, oldest first, until each joined span holds `minimum` requests of the
/// new pods.
pub(crate) fn close(windows: &[Window], since: Timestamp, minimum: u64) -> Spans {
    let mut spans = Spans {
        closed: Vec::new(),
        open: None,
        before: Increase::default(),
        #[allow(clippy::cast_precision_loss, reason = "request counts stay far below 2^52")]
        enough: minimum.clamp(1, BASELINE_REQUESTS) as f64,
    };
    #[allow(clippy::cast_precision_loss, reason = "request counts stay far below 2^52")]
    let minimum = minimum.max(1) as f64;
    for window in windows {
        if window.to <= since {
            spans.before.add(&window.old);
            continue;
        }
        let span = spans.open.get_or_insert_with(|| Span {
            from: window.from.max(since),
            to: window.to,
            new: Increase::default(),
            old: Increase::default(),
        });
        span.to = window.to;
        span.new.add(&window.new);
        span.old.add(&window.old);
        if span.new.requests().max(span.new.durations.requests()) >= minimum {
            spans.closed.extend(spans.open.take());
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from: i64, new: f64, old: f64) -> Window {
        let of = |good| Increase { good, ..Increase::default() };
        let at = |second| Timestamp::from_second(second).unwrap();
        Window {
            from: at(from),
            to: at(from + 30),
            new: of(new),
            old: of(old),
            pods: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn thin_windows_are_joined_until_they_hold_enough() {
        let windows = [window(0, 20.0, 0.0), window(30, 20.0, 0.0), window(60, 20.0, 0.0), window(90, 5.0, 0.0)];
        let spans = close(&windows, Timestamp::UNIX_EPOCH, 50);
        assert_eq!(spans.closed.len(), 1);
        assert_eq!(spans.closed[0].new.good, 60.0);
        assert_eq!(spans.open.unwrap().new.good, 5.0);
    }

    #[test]
    fn what_was_before_the_rollout_is_baseline_only() {
        let windows = [window(0, 0.0, 500.0), window(30, 60.0, 5.0)];
        let spans = close(&windows, Timestamp::from_second(30).unwrap(), 50);
        assert_eq!(spans.before.good, 500.0);
        let baseline = spans.baseline(&spans.closed[0], Increase::requests).unwrap();
        assert_eq!(baseline.good, 500.0, "five requests of old pods are too few to compare with");
    }

    #[test]
    fn old_pods_that_run_are_the_better_baseline() {
        let windows = [window(0, 0.0, 500.0), window(30, 60.0, 40.0)];
        let spans = close(&windows, Timestamp::from_second(30).unwrap(), 50);
        assert_eq!(spans.baseline(&spans.closed[0], Increase::requests).unwrap().good, 40.0);
    }
}
