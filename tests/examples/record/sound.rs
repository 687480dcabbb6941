//! Whether what was played is what was planned. Nothing here asks what a rule would make of it: a recording is refused for
//! what the machine did, never for what it shows of the release.

use anyhow::{Result, ensure};
use jiff::{SignedDuration, Timestamp};
use snapback_core::sample::{Counts, PodSeries, Side, Window, windows};
use snapback_core::workload::{Workload, rolled_out};
use snapback_recorded::Planned;

/// Longest time without a look.
const BLIND: SignedDuration = SignedDuration::from_secs(3);

/// The most of the scrapes before the rollout that may be late, and from when on one is.
const LATE: (f64, f64) = (0.05, 2.5);

/// Parts of the planned requests before the rollout that are too few, and too many.
const LOAD: (f64, f64) = (1.0 / 3.0, 2.0);

/// Failed requests before the rollout that may come on top of the planned share: a part of all, and so many.
const STRAY: (f64, f64) = (0.05, 3.0);

/// Checks a rollout that began at `start`.
///
/// # Errors
/// What is not as it was planned.
pub(crate) fn check(
    planned: &Planned,
    looks: &[(Timestamp, Workload)],
    series: &[PodSeries],
    start: Timestamp,
) -> Result<()> {
    let gaps = looks.iter().zip(looks.iter().skip(1)).map(|((one, _), (next, _))| next.duration_since(*one));
    let longest = gaps.max().unwrap_or_default();
    ensure!(longest <= BLIND, "nobody looked for {} s: the machine is too busy", longest.as_secs());

    let late = late_scrapes(series, start);
    ensure!(late <= LATE.0, "{:.0} % of the scrapes were late: the machine is too busy", 100.0 * late);

    let before: Vec<Window> =
        windows(series, |_, _| Some(Side::Old)).into_iter().filter(|window| window.to <= start).collect();
    let seconds: f64 = before.iter().map(|window| window.length().as_secs_f64()).sum();
    let requests: f64 = before.iter().map(|window| window.old.requests()).sum();
    let (found, wanted) = (requests / seconds, f64::from(planned.load.rps));
    ensure!(
        found >= wanted * LOAD.0 && found <= wanted * LOAD.1,
        "{found:.1} requests a second before the rollout, not {wanted:.0}"
    );
    let bad: f64 = before.iter().map(|window| window.old.bad).sum();
    let most = planned.normal.burst.as_ref().map_or(0.0, |burst| burst.errors).max(planned.normal.errors) + STRAY.0;
    ensure!(bad <= most * requests + STRAY.1, "{bad} of {requests} requests failed before the rollout");

    let stays_behind = planned.fault.as_ref().is_some_and(snapback_recorded::Fault::is_at_start);
    let last = looks.last().map(|(_, workload)| rolled_out(workload, &workload.live));
    ensure!(stays_behind || matches!(last, Some(Ok(()))), "its rollout is not complete at the end: {last:?}");
    Ok(())
}

/// The part of the instants before the rollout at which the last scrape of a pod was long ago.
#[allow(clippy::cast_precision_loss, reason = "thousands of instants, and seconds since 1970")]
fn late_scrapes(series: &[PodSeries], start: Timestamp) -> f64 {
    let scraped = series.iter().filter(|one| one.counts == Counts::Scraped).flat_map(|one| &one.points);
    let before: Vec<f64> =
        scraped.filter(|(at, _)| *at <= start).map(|(at, reached)| at.as_second() as f64 - reached).collect();
    before.iter().filter(|age| **age > LATE.1).count() as f64 / before.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use snapback_recorded::Clock;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(10_000 + second).unwrap()
    }

    fn planned(fault: &Value) -> Planned {
        let load = json!({"rps": 10});
        let text = json!({"id": "a", "scenario": "a", "label": "bad", "seed": 1, "load": load, "fault": fault});
        serde_json::from_value(text).unwrap()
    }

    fn workload(available: i32) -> Workload {
        let state = json!({
            "live": "f1", "generation": 1, "observed": 1, "replicas": 2, "updated": 2, "available": available, "total": 2,
        });
        let set = json!({"desired": 2, "replicas": 2, "available": available, "observed": true});
        let sets = json!([{"name": "web-1", "fingerprint": "f1", "number": 1, "created": 0, "states": [[0, set]]}]);
        let facts = json!({"deployment": [[0, state]], "sets": sets, "pods": []});
        let facts: snapback_recorded::Facts = serde_json::from_value(facts).unwrap();
        facts.at(0, &Clock::new(at(0), 1)).unwrap()
    }

    /// A look each second, 40 of them before the rollout.
    fn looks() -> Vec<(Timestamp, Workload)> {
        (-40..=60).map(|second| (at(second), workload(2))).collect()
    }

    /// So many good and bad requests a second; each scrape is so old.
    fn series(good: f64, bad: f64, age: f64) -> Vec<PodSeries> {
        let of = |counts: Counts, value: &dyn Fn(i64) -> f64| PodSeries {
            pod: "web-1-aaaaa".to_owned(),
            counts,
            key: String::new(),
            points: (-40..=60).map(|second| (at(second), value(second))).collect(),
        };
        let since = |second: i64| f64::from(i32::try_from(second + 40).unwrap());
        vec![
            of(Counts::Good, &|second| good * since(second)),
            of(Counts::Bad, &|second| bad * since(second)),
            of(Counts::Scraped, &|second| 9960.0 + since(second) - age),
        ]
    }

    fn problem(looks: &[(Timestamp, Workload)], series: &[PodSeries], fault: &Value) -> String {
        check(&planned(fault), looks, series, at(0)).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn what_was_planned_is_recorded() {
        assert_eq!(problem(&looks(), &series(9.9, 0.1, 0.5), &json!({})), "");
    }

    #[test]
    fn what_the_machine_did_is_told() {
        let mut blind = looks();
        blind.drain(50..54);
        assert_eq!(
            problem(&blind, &series(10.0, 0.0, 0.5), &json!({})),
            "nobody looked for 5 s: the machine is too busy"
        );
        let late = problem(&looks(), &series(10.0, 0.0, 3.0), &json!({}));
        assert_eq!(late, "100 % of the scrapes were late: the machine is too busy");
        for requests in [2.0, 30.0] {
            assert!(problem(&looks(), &series(requests, 0.0, 0.5), &json!({})).contains("requests a second before"));
        }
        assert!(problem(&looks(), &[], &json!({})).contains("requests a second before"), "none at all");
        assert!(problem(&looks(), &series(8.0, 2.0, 0.5), &json!({})).contains("80 of 400 requests failed before"));
    }

    #[test]
    fn a_rollout_ends_unless_its_fault_is_that_it_does_not() {
        let mut looks = looks();
        looks.push((at(61), workload(1)));
        assert!(problem(&looks, &series(10.0, 0.0, 0.5), &json!({"errors": 0.5})).contains("not complete"));
        assert_eq!(problem(&looks, &series(10.0, 0.0, 0.5), &json!({"broken": "notReady"})), "");
    }
}
