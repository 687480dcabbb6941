//! Failed requests among all requests of the new pods.

use super::Readings;
use super::span::{Spans, TOLERANCE};
use crate::analysis::{Quality, Reading};
use crate::sample::Increase;

/// One reading per closed span.
pub(super) fn readings(max: f64, spans: &Spans) -> Readings {
    let closed = spans.closed.iter().map(|span| {
        let value = rate(&span.new);
        let baseline = spans.baseline(span, Increase::requests).map(rate);
        let quality = match baseline {
            _ if value <= max => Quality::Fine,
            Some(baseline) if baseline > max && value <= baseline * TOLERANCE => Quality::Common,
            _ => Quality::Bad,
        };
        Reading {
            from: span.from,
            to: span.to,
            value,
            limit: max,
            baseline,
            requests: Some(whole(span.new.requests())),
            bad: Some(whole(span.new.bad)),
            quality,
        }
    });
    Readings {
        closed: closed.collect(),
        open_requests: Some(spans.open.as_ref().map_or(0, |span| whole(span.new.requests()))),
    }
}

fn rate(increase: &Increase) -> f64 {
    let requests = increase.requests();
    if requests > 0.0 { increase.bad / requests } else { 0.0 }
}

/// A count as a whole number; back ends that extrapolate may answer in fractions.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are finite and not negative")]
pub(super) fn whole(count: f64) -> u64 {
    count.round().max(0.0) as u64
}
