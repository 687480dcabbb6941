//! The user's own query.

use jiff::Timestamp;

use super::Readings;
use crate::analysis::{Quality, Reading};
use crate::policy::{Bound, Relative};
use crate::sample::{Answer, Missing, Point};

/// One reading per point after the rollout began; the points before it are the baseline (their mean).
pub(super) fn readings(
    min: Option<Bound>,
    max: Option<Bound>,
    points: Option<&Answer<Vec<Point>>>,
    since: Timestamp,
) -> Answer<Readings> {
    let points = points.ok_or(Missing::Empty)?.as_ref().map_err(Clone::clone)?;
    let (before, after): (Vec<&Point>, Vec<&Point>) = points.iter().partition(|point| point.at <= since);
    let baseline = mean(before.into_iter());
    let mut from = since;
    let closed = after
        .into_iter()
        .map(|point| {
            let (limit, quality) = compare(point.value, min, max, baseline);
            let reading =
                Reading { from, to: point.at, value: point.value, limit, baseline, requests: None, bad: None, quality };
            from = point.at;
            reading
        })
        .collect();
    Ok(Readings { closed, open_requests: None })
}

/// The mean of some points; `None` of none.
pub(super) fn mean<'a>(points: impl Iterator<Item = &'a Point>) -> Option<f64> {
    let (sum, count) = points.fold((0.0, 0.0), |(sum, count), point| (sum + point.value, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

/// The bound that decided, and what it says.
fn compare(value: f64, min: Option<Bound>, max: Option<Bound>, baseline: Option<f64>) -> (f64, Quality) {
    let judge = |bound: Bound, outside: fn(f64, f64) -> bool| {
        let limit = match (bound.of, baseline) {
            (Relative::Absolute, _) => bound.value,
            (Relative::Baseline, Some(baseline)) => bound.value * baseline,
            (Relative::Baseline, None) => return (f64::NAN, Quality::NoBaseline),
        };
        let common = bound.of == Relative::Absolute && baseline.is_some_and(|baseline| outside(baseline, limit));
        let quality = match outside(value, limit) {
            false => Quality::Fine,
            true if common => Quality::Common,
            true => Quality::Bad,
        };
        (limit, quality)
    };
    let below = min.map(|bound| judge(bound, |value, limit| value < limit));
    let above = max.map(|bound| judge(bound, |value, limit| value > limit));
    let both = [below, above];
    let first = |wanted: &[Quality]| both.iter().flatten().find(|(_, quality)| wanted.contains(quality)).copied();
    first(&[Quality::Bad])
        .or_else(|| first(&[Quality::Common]))
        .or_else(|| first(&[Quality::NoBaseline]))
        .or_else(|| first(&[Quality::Fine]))
        .unwrap_or((f64::NAN, Quality::NoBaseline))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(value: f64, of: Relative) -> Bound {
        Bound { value, of }
    }

    #[test]
    fn under_its_share_of_the_baseline_is_bad() {
        let min = Some(bound(0.8, Relative::Baseline));
        assert_eq!(compare(79.0, min, None, Some(100.0)), (80.0, Quality::Bad));
        assert_eq!(compare(81.0, min, None, Some(100.0)).1, Quality::Fine);
        assert_eq!(compare(81.0, min, None, None).1, Quality::NoBaseline);
    }

    #[test]
    fn outside_either_bound_is_bad() {
        let (min, max) = (Some(bound(1.0, Relative::Absolute)), Some(bound(5.0, Relative::Absolute)));
        assert_eq!(compare(0.5, min, max, None), (1.0, Quality::Bad));
        assert_eq!(compare(6.0, min, max, None), (5.0, Quality::Bad));
        assert_eq!(compare(3.0, min, max, None).1, Quality::Fine);
    }

    #[test]
    fn what_was_outside_before_the_rollout_is_not_the_releases() {
        assert_eq!(compare(0.5, Some(bound(1.0, Relative::Absolute)), None, Some(0.4)).1, Quality::Common);
    }

    #[test]
    fn the_mean_before_the_rollout_is_the_baseline() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let points = [(0, 90.0), (30, 110.0), (60, 50.0)].map(|(second, value)| Point { at: at(second), value });
        let found = readings(Some(bound(0.8, Relative::Baseline)), None, Some(&Ok(points.to_vec())), at(30)).unwrap();
        assert_eq!(found.closed.len(), 1);
        assert_eq!((found.closed[0].baseline, found.closed[0].limit), (Some(100.0), 80.0));
        assert_eq!(found.closed[0].quality, Quality::Bad);
    }
}
