//! The user's own query.

use jiff::{SignedDuration, Timestamp};

use super::Readings;
use crate::analysis::{Quality, Reading};
use crate::duration;
use crate::policy::{Bound, Relative};
use crate::sample::{Answer, Missing, Point};

/// What a value is held against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) min: Option<Bound>,
    pub(super) max: Option<Bound>,
    pub(super) floor: Option<f64>,
}

/// From when on too little is too little; `None` while that is not known.
///
/// A sum over the new pods is small while they do not have all of the traffic, and so is a rate whose range reaches back
/// into that time. Quotients and means are not concerned, nor is what is asked of the whole service.
pub(super) fn settled(promql: &str, since: Timestamp, completed: Option<Timestamp>) -> Option<Timestamp> {
    let mut placeholders = promql.split("{{").skip(1).filter_map(|part| part.split_once("}}"));
    let is_of_pods = placeholders.any(|(placeholder, _)| placeholder.trim() == "pods");
    if !(is_of_pods && adds_up(promql)) {
        return Some(since);
    }
    completed?.checked_add(longest_range(promql)).ok()
}

/// Whether a query sums or counts, and divides by nothing but numbers. What looks like it and is not is only judged later.
fn adds_up(promql: &str) -> bool {
    let bare = without_words(promql);
    let mut divisors = bare.split('/').skip(1).map(str::trim_start);
    let is_quotient = divisors.any(|divisor| !divisor.starts_with(|c: char| c.is_ascii_digit()));
    !is_quotient && (bare.contains("sum") || bare.contains("count"))
}

/// A query without its strings and comments.
fn without_words(promql: &str) -> String {
    // What ends the present string or comment.
    let mut within = None;
    let mut bare = String::with_capacity(promql.len());
    let mut all = promql.chars();
    while let Some(c) = all.next() {
        match (within, c) {
            (Some(end), _) if end == c => within = None,
            (Some('"' | '\''), '\\') => _ = all.next(),
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => within = Some(c),
            (None, '#') => within = Some('\n'),
            (None, _) => bare.push(c),
        }
    }
    bare
}

/// The longest range in square brackets, subqueries included.
fn longest_range(promql: &str) -> SignedDuration {
    let inside = promql.split('[').skip(1).filter_map(|part| part.split_once(']'));
    let ranges = inside.filter_map(|(range, _)| duration::parse(range.split(':').next()?.trim()).ok());
    ranges.max().unwrap_or_default()
}

/// One reading per point after the rollout began; the points before it are the baseline (their mean). A minimum counts
/// from `settled` on.
pub(super) fn readings(
    limits: Limits,
    points: Option<&Answer<Vec<Point>>>,
    since: Timestamp,
    settled: Option<Timestamp>,
) -> Answer<Readings> {
    let points = points.ok_or(Missing::Empty)?.as_ref().map_err(Clone::clone)?;
    let (before, after): (Vec<&Point>, Vec<&Point>) = points.iter().partition(|point| point.at <= since);
    let baseline = mean(before.into_iter());
    let mut from = since;
    let closed = after
        .into_iter()
        .map(|point| {
            let is_settled = settled.is_some_and(|settled| point.at >= settled);
            let (limit, quality) = limits.compare(point.value, baseline, is_settled);
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

impl Limits {
    /// The bound that decided, and what it says.
    fn compare(&self, value: f64, baseline: Option<f64>, is_settled: bool) -> (f64, Quality) {
        let floor = self.floor.unwrap_or(f64::NEG_INFINITY);
        let judge = |bound: Bound, limit: f64, outside: fn(f64, f64) -> bool| {
            let common = bound.of == Relative::Absolute && baseline.is_some_and(|baseline| outside(baseline, limit));
            let quality = match outside(value, limit) {
                false => Quality::Fine,
                true if common => Quality::Common,
                true => Quality::Bad,
            };
            (limit, quality)
        };
        let no_baseline = (f64::NAN, Quality::NoBaseline);
        let below = self.min.map(|bound| match (bound.of, baseline) {
            (Relative::Absolute, _) => judge(bound, bound.value, |value, limit| value < limit),
            // A part of next to nothing says nothing.
            (Relative::Baseline, Some(baseline)) if baseline >= floor => {
                judge(bound, bound.value * baseline, |value, limit| value < limit)
            }
            (Relative::Baseline, _) => no_baseline,
        });
        let above = self.max.map(|bound| match (bound.of, baseline) {
            (Relative::Absolute, _) => judge(bound, bound.value, |value, limit| value > limit),
            (Relative::Baseline, Some(baseline)) => {
                judge(bound, (bound.value * baseline).max(floor), |value, limit| value > limit)
            }
            (Relative::Baseline, None) => no_baseline,
        });
        let below = below.map(|(limit, quality)| match quality {
            Quality::Bad | Quality::Common if !is_settled => (limit, Quality::RollingOut),
            _ => (limit, quality),
        });
        let both = [below, above];
        let first = |wanted: Quality| both.iter().flatten().find(|(_, quality)| *quality == wanted).copied();
        let order = [Quality::Bad, Quality::Common, Quality::RollingOut, Quality::NoBaseline, Quality::Fine];
        order.into_iter().find_map(first).unwrap_or(no_baseline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(value: f64, of: Relative) -> Bound {
        Bound { value, of }
    }

    fn limits(min: impl Into<Option<Bound>>, max: impl Into<Option<Bound>>) -> Limits {
        Limits { min: min.into(), max: max.into(), floor: None }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn under_its_share_of_the_baseline_is_bad() {
        let least = limits(bound(0.8, Relative::Baseline), None);
        assert_eq!(least.compare(79.0, Some(100.0), true), (80.0, Quality::Bad));
        assert_eq!(least.compare(81.0, Some(100.0), true).1, Quality::Fine);
        assert_eq!(least.compare(81.0, None, true).1, Quality::NoBaseline);
    }

    #[test]
    fn outside_either_bound_is_bad() {
        let both = limits(bound(1.0, Relative::Absolute), bound(5.0, Relative::Absolute));
        assert_eq!(both.compare(0.5, None, true), (1.0, Quality::Bad));
        assert_eq!(both.compare(6.0, None, true), (5.0, Quality::Bad));
        assert_eq!(both.compare(3.0, None, true).1, Quality::Fine);
    }

    #[test]
    fn what_was_outside_before_the_rollout_is_not_the_releases() {
        let least = limits(bound(1.0, Relative::Absolute), None);
        assert_eq!(least.compare(0.5, Some(0.4), true).1, Quality::Common);
    }

    #[test]
    fn what_is_relative_to_next_to_nothing_does_not_matter_under_the_floor() {
        let least = Limits { floor: Some(10.0), ..limits(bound(0.8, Relative::Baseline), None) };
        assert_eq!(least.compare(0.0, Some(9.0), true).1, Quality::NoBaseline);
        assert_eq!(least.compare(0.0, Some(10.0), true), (8.0, Quality::Bad));
        let most = Limits { floor: Some(10.0), ..limits(None, bound(2.0, Relative::Baseline)) };
        assert_eq!(most.compare(9.0, Some(0.0), true), (10.0, Quality::Fine));
        assert_eq!(most.compare(11.0, Some(0.0), true), (10.0, Quality::Bad));
        assert_eq!(most.compare(11.0, Some(6.0), true), (12.0, Quality::Fine));
    }

    #[test]
    fn too_little_counts_once_the_new_pods_have_all_of_the_traffic() {
        let both = limits(bound(0.8, Relative::Baseline), bound(1.5, Relative::Baseline));
        assert_eq!(both.compare(25.0, Some(100.0), false), (80.0, Quality::RollingOut));
        assert_eq!(both.compare(100.0, Some(100.0), false).1, Quality::Fine);
        assert_eq!(both.compare(160.0, Some(100.0), false), (150.0, Quality::Bad), "too much is too much at any time");

        let of_pods = r#"sum(rate(orders_total{pod=~"{{pods}}",code=~"[0-9]"}[2m]))"#;
        assert_eq!(settled(of_pods, at(0), None), None);
        for sum in [format!("60 * {of_pods}"), format!("{of_pods} / 1024"), format!("{of_pods} # of /x")] {
            assert_eq!(settled(&sum, at(0), None), None, "{sum}");
        }
        assert_eq!(settled(of_pods, at(0), Some(at(100))), Some(at(220)));
        assert_eq!(
            settled("count(max_over_time(x{pod=~\"{{ pods }}\",path='/'}[5m:30s]) + rate(x[1m]))", at(0), Some(at(0))),
            Some(at(300))
        );
        let of_all = r#"sum(rate(orders_total{namespace="{{ namespace }}"}[2m]))"#;
        assert_eq!(settled(of_all, at(0), None), Some(at(0)), "the service has its traffic all the time");
        for whole in [r#"avg(hits{pod=~"{{ pods }}"})"#, r#"sum(a{pod=~"{{ pods }}"}) / sum(b{pod=~"{{ pods }}"})"#] {
            assert_eq!(settled(whole, at(0), None), Some(at(0)), "{whole}");
        }
    }

    #[test]
    fn the_mean_before_the_rollout_is_the_baseline() {
        let points = [(0, 90.0), (30, 110.0), (60, 50.0)].map(|(second, value)| Point { at: at(second), value });
        let least = limits(bound(0.8, Relative::Baseline), None);
        let found = readings(least, Some(&Ok(points.to_vec())), at(30), Some(at(30))).unwrap();
        assert_eq!(found.closed.len(), 1);
        assert_eq!((found.closed[0].baseline, found.closed[0].limit), (Some(100.0), 80.0));
        assert_eq!(found.closed[0].quality, Quality::Bad);
    }

    #[test]
    fn what_lies_on_a_bound_keeps_it() {
        let absolute = limits(bound(1.0, Relative::Absolute), bound(5.0, Relative::Absolute));
        assert_eq!(absolute.compare(1.0, None, true).1, Quality::Fine);
        assert_eq!(absolute.compare(5.0, None, true).1, Quality::Fine);
        let relative = limits(bound(0.5, Relative::Baseline), bound(2.0, Relative::Baseline));
        assert_eq!(relative.compare(50.0, Some(100.0), true).1, Quality::Fine);
        assert_eq!(relative.compare(200.0, Some(100.0), true).1, Quality::Fine);
    }
}
