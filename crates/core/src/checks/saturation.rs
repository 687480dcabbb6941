//! What the new pods use of their own limits: memory, CPU, and the time in which they were throttled.
//!
//! Usage is a gauge: nothing is counted, so nothing can be proven. A pod is saturated while it is over the limit that the
//! policy sets, and the release is bad while most of its pods are and the old pods are not: a surge of traffic saturates
//! both. It must last, for a pod that warms up is as busy as one that is stuck.

use jiff::Timestamp;

use super::result::{blank, from_readings, worst};
use super::sequential::IN_A_ROW;
use super::{CheckResult, Measured, Readings, Unit, Verdict, Why, format_value};
use crate::analysis::{Quality, Reading};
use crate::policy::{Check, Resource};
use crate::sample::{Answer, Missing, Point, Side};

/// The share of the pods that are most of them: with one pod it, with two both, with three two.
const MOST: f64 = 0.5;

/// Looks in a row that are enough at any rate: five minutes of looks every 30 s.
const LASTING: u32 = 10;

/// Where the answer of a query stands in [`Measured::queries`]: the share of the pods of a side that are over the limit of
/// a resource.
pub fn key(check: &str, resource: Resource, side: Side) -> String {
    let side = match side {
        Side::New => "new",
        Side::Old => "old",
    };
    format!("{check}/{}/{side}", resource.name())
}

/// How many looks in a row it must last: a third of the soak, up to [`LASTING`].
pub(super) fn in_a_row(looks: u32) -> u32 {
    (looks / 3).clamp(IN_A_ROW, LASTING)
}

/// Judges each resource; the worst of them speaks.
pub(super) fn evaluate(check: &Check, max: &[(Resource, f64)], failures: u32, measured: &Measured<'_>) -> CheckResult {
    let results = max.iter().map(|(resource, max)| one(check, *resource, *max, failures, measured));
    worst(results).unwrap_or_else(|| blank(check, Unit::Share))
}

fn one(check: &Check, resource: Resource, max: f64, failures: u32, measured: &Measured<'_>) -> CheckResult {
    let of = |side| measured.queries.get(&key(&check.name, resource, side));
    let Some(new) = of(Side::New) else {
        return unlimited(check, resource, measured);
    };
    let readings = readings(new, of(Side::Old), measured.since);
    let result = from_readings(check, Unit::Share, failures, measured, readings);
    let message = match &result.why {
        Why::WithinLimit | Why::OutsideLimit | Why::CountingUp | Why::ExternalCause => {
            tell(&result, resource, max, failures)
        }
        _ => format!("{}: {}", resource.name(), result.message),
    };
    CheckResult { message, ..result }
}

/// Nobody asked: without a limit there is nothing to ask for.
fn unlimited(check: &Check, resource: Resource, measured: &Measured<'_>) -> CheckResult {
    if measured.workload.pods_of(measured.revision).next().is_none() {
        let message = "no pod of this revision yet".to_owned();
        return CheckResult { why: Why::NoPods, message, ..blank(check, Unit::Share) };
    }
    let limit = if resource == Resource::Memory { "memory" } else { "cpu" };
    let message = format!(
        "{}: no container of the new pods has a limit; set resources.limits.{limit}, or leave it out",
        resource.name()
    );
    CheckResult { verdict: Verdict::Inconclusive, why: Why::NoLimits, message, ..blank(check, Unit::Share) }
}

/// One reading per look at the new pods since the rollout began. They are compared with the old pods at the same time,
/// else with their mean before the rollout.
fn readings(new: &Answer<Vec<Point>>, old: Option<&Answer<Vec<Point>>>, since: Timestamp) -> Answer<Readings> {
    let new = new.as_ref().map_err(Clone::clone)?;
    let old: &[Point] = match old {
        Some(Ok(points)) => points,
        None | Some(Err(Missing::Empty | Missing::NotANumber)) => &[],
        // Whom a surge saturates too, cannot be told then.
        Some(Err(missing)) => return Err(missing.clone()),
    };
    let before = super::query::mean(old.iter().filter(|point| point.at <= since));
    let mut from = since;
    let closed = new.iter().filter(|point| point.at > since).map(|point| {
        let beside = old.iter().find(|other| other.at == point.at).map(|other| other.value);
        let baseline = beside.or(before);
        let quality = match baseline {
            _ if point.value <= MOST => Quality::Fine,
            Some(baseline) if baseline > MOST => Quality::Common,
            _ => Quality::Bad,
        };
        let reading = Reading {
            from,
            to: point.at,
            value: point.value,
            limit: MOST,
            baseline,
            requests: None,
            bad: None,
            quality,
        };
        from = point.at;
        reading
    });
    Ok(Readings { closed: closed.collect(), open_requests: None })
}

fn tell(result: &CheckResult, resource: Resource, max: f64, failures: u32) -> String {
    let share = |value: Option<f64>| format_value(Unit::Share, value.unwrap_or_default());
    let beside = result.baseline.map(|old| format!(", and {} of the old ones", share(Some(old)))).unwrap_or_default();
    let max = format_value(Unit::Share, max);
    let over = match resource {
        Resource::Memory => format!("use over {max} of their memory limit"),
        Resource::Cpu => format!("use over {max} of their CPU limit"),
        Resource::Throttling => format!("are throttled for over {max} of their time"),
    };
    let told = format!("{} of the new pods {over}{beside}", share(result.value));
    match &result.why {
        Why::OutsideLimit => format!("{told}, {} looks in a row", result.in_a_row),
        Why::CountingUp => format!("{told}, {} of {failures} looks in a row", result.in_a_row),
        Why::ExternalCause => format!("{told}: not caused by this release"),
        _ => told,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(values: &[(i64, f64)]) -> Vec<Point> {
        values.iter().map(|(at, value)| Point { at: Timestamp::from_second(*at).unwrap(), value: *value }).collect()
    }

    fn qualities(new: &[(i64, f64)], old: Option<&[(i64, f64)]>) -> Vec<Quality> {
        let old = old.map(|old| Ok(points(old)));
        let found = readings(&Ok(points(new)), old.as_ref(), Timestamp::from_second(30).unwrap()).unwrap();
        found.closed.iter().map(|reading| reading.quality).collect()
    }

    #[test]
    fn half_of_the_pods_are_not_most_of_them() {
        assert_eq!(qualities(&[(60, 0.5), (90, 0.67)], None), [Quality::Fine, Quality::Bad]);
    }

    #[test]
    fn what_saturates_the_old_pods_at_the_same_time_is_not_the_releases() {
        let old: &[(i64, f64)] = &[(0, 1.0), (30, 1.0), (60, 0.0), (90, 1.0)];
        assert_eq!(qualities(&[(60, 1.0), (90, 1.0)], Some(old)), [Quality::Bad, Quality::Common]);
    }

    #[test]
    fn once_the_old_pods_are_gone_the_time_before_the_rollout_is_compared_with() {
        assert_eq!(qualities(&[(60, 1.0)], Some(&[(0, 1.0), (30, 0.4)])), [Quality::Common]);
        assert_eq!(qualities(&[(60, 1.0)], Some(&[(0, 0.0), (30, 0.4)])), [Quality::Bad]);
    }

    #[test]
    fn while_nothing_is_known_of_the_old_pods_nothing_is_said() {
        let new = Ok(points(&[(60, 1.0)]));
        let since = Timestamp::UNIX_EPOCH;
        let down = Missing::Unavailable("down".to_owned());
        assert_eq!(readings(&new, Some(&Err(down.clone())), since).map(drop), Err(down));
        assert!(readings(&new, Some(&Err(Missing::Empty)), since).is_ok(), "no old pod had any limit");
    }

    #[test]
    fn it_must_last_a_third_of_the_soak() {
        for (looks, expected) in [(1, 3), (12, 4), (30, 10), (120, 10)] {
            assert_eq!(in_a_row(looks), expected, "{looks}");
        }
    }

    #[test]
    fn a_look_at_the_very_beginning_is_of_the_time_before() {
        assert_eq!(qualities(&[(30, 1.0), (60, 1.0)], None), [Quality::Bad]);
        assert_eq!(qualities(&[(60, 1.0)], Some(&[(60, 0.5)])), [Quality::Bad], "half of the old ones are not most");
    }
}
