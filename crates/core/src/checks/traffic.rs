//! Requests that ready new pods do not get, though their share is due to them: a port that is not the Service's, a label
//! that its selector does not match, a pod that nobody calls.

use std::collections::BTreeSet;

use super::counted::{Counted, past_by_pod};
use super::error_rate::whole;
use super::{CheckResult, Measured, Readings, Verdict, Why};
use crate::analysis::sequential::{Against, Look, Tally};
use crate::analysis::{Quality, Reading};
use crate::sample::{Counts, Missing, Side, Window};

/// How many times the requests of the idlest old pod the busiest may have had. Over it, traffic does not spread over pods
/// (callers that keep their connections), and nothing is due to anybody.
const BALANCED: f64 = 4.0;

/// The share of the requests that new pods would get if every ready pod got the same, by window.
///
/// Only new pods that were ready and scraped for the whole window count: a pod without series and without a scrape may get
/// all the traffic of the world.
pub(super) fn looks(windows: &[Window], measured: &Measured<'_>) -> Counted {
    let mut counted = Counted::default();
    for window in windows.iter().filter(|window| window.to > measured.since) {
        let ready: BTreeSet<&str> = measured
            .workload
            .pods_of(measured.revision)
            .filter(|pod| pod.ready && !pod.leaving && pod.ready_since.is_some_and(|since| since <= window.from))
            .map(|pod| pod.name.as_str())
            .filter(|name| is_scraped(measured, name, window))
            .collect();
        let of = |name: &str| window.pods.get(name).map_or(0.0, |(_, increase)| increase.requests());
        let mut old: BTreeSet<&str> = measured
            .workload
            .pods_not_of(measured.revision)
            .filter(|pod| pod.ready && !pod.leaving && pod.ready_since.is_some_and(|since| since <= window.from))
            .map(|pod| pod.name.as_str())
            .collect();
        let served = window.pods.iter().filter(|(_, (side, increase))| *side == Side::Old && increase.requests() > 0.0);
        old.extend(served.map(|(name, _)| name.as_str()));
        #[allow(clippy::cast_precision_loss, reason = "numbers of pods")]
        let due = (!ready.is_empty() && !old.is_empty()).then(|| ready.len() as f64 / (ready.len() + old.len()) as f64);
        counted.looks.push(Look {
            new: vec![Tally::new(ready.iter().map(|name| of(name)).sum(), 0.0)],
            old: Tally::new(window.old.requests(), 0.0),
            against: if due.is_some() { Against::OldPods } else { Against::Nothing },
            due,
        });
        counted.times.push((window.from, window.to));
    }
    counted
}

/// Whether the source reached the pod before the window and again within it: what it shows may be old.
fn is_scraped(measured: &Measured<'_>, pod: &str, window: &Window) -> bool {
    let Ok(series) = measured.requests else { return false };
    let mut found =
        series.iter().filter(|one| one.pod == pod && one.counts == Counts::Scraped).flat_map(|one| &one.points);
    let mut reached = |wanted| found.find(|(at, _)| *at == wanted).map_or(0.0, |(_, reached)| *reached);
    let (before, within) = (reached(window.from), reached(window.to));
    before > 0.0 && within > before
}

/// Whether the old pods shared the traffic, before the rollout: at least two of them.
pub(super) fn is_balanced(measured: &Measured<'_>) -> bool {
    let rows = past_by_pod(measured, |increase| Tally::new(increase.requests(), 0.0));
    // Pods come and go: those that served throughout are compared.
    let pods = rows.first().map_or(0, Vec::len);
    let steady: Vec<f64> = (0..pods)
        .map(|pod| rows.iter().filter_map(|row| row.get(pod)).map(|one| one.all).collect::<Vec<f64>>())
        .filter(|requests| requests.iter().filter(|one| **one > 0.0).count() * 2 > requests.len())
        .map(|requests| requests.iter().sum())
        .collect();
    let (least, most) = steady.iter().fold((f64::MAX, 0.0_f64), |(least, most), one| (least.min(*one), most.max(*one)));
    steady.len() > 1 && most <= BALANCED * least
}

/// One reading per window in which something is due and enough was requested.
pub(super) fn readings(max: f64, windows: &[Window], measured: &Measured<'_>) -> Readings {
    if !is_balanced(measured) {
        return Readings { closed: Vec::new(), open_requests: None };
    }
    let counted = looks(windows, measured);
    let closed = counted.looks.iter().zip(&counted.times).filter_map(|(look, (from, to))| {
        let (due, new) = (look.due?, look.total_requests());
        let all = new + look.old.all;
        let value = if all > 0.0 { (1.0 - new / all / due).max(0.0) } else { return None };
        (whole(all) >= measured.minimum_requests).then(|| Reading {
            from: *from,
            to: *to,
            value,
            limit: max,
            baseline: None,
            requests: Some(whole(new)),
            bad: None,
            quality: if value > max { Quality::Bad } else { Quality::Fine },
        })
    });
    Readings { closed: closed.collect(), open_requests: None }
}

/// Where nothing is due to the new pods, there is nothing to wait for: the old ones are gone, or did not share the traffic.
pub(super) fn at_rest(result: CheckResult) -> CheckResult {
    let result = CheckResult { covered: jiff::SignedDuration::MAX, ..result };
    match result.why {
        Why::Missing(Missing::Empty) => CheckResult {
            verdict: Verdict::Inconclusive,
            why: Why::NoBaseline,
            message: "no baseline to compare with: nothing is due to the new pods".to_owned(),
            ..result
        },
        _ => result,
    }
}
