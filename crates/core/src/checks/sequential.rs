//! The checks of a policy under the sequential test: one rate of false alarms for all of them together.

use jiff::SignedDuration;

use super::counted::{self, Counted, windows_after};
use super::error_rate::whole;
use super::result::{Odds, blank};
use super::{After, CheckResult, Measured, Unit, Verdict, Why, evaluate as by_run, multiple, saturation, traffic};
use crate::analysis::sequential::{
    Against, Evidence, Limits, Look, Part, PartRule, Plan, Recorded, Tally, evidence, keeps_limit, keeps_ratio,
    keeps_share, needed, regression, together,
};
use crate::policy::{Check, Rule, Severity};
use crate::sample::{Answer, Histogram, Increase, Missing, Window};

/// How sure it must be that a limit is kept, and from when on a check is suspicious: 20 to 1.
pub(super) const SURE: f64 = 20.0;

/// Bad requests that a breach needs, whatever they prove.
const LEAST_BAD: f64 = 5.0;

/// Bad windows in a row that are a breach where nothing is counted: a user's own query, a burn rate.
pub(crate) const IN_A_ROW: u32 = 3;

/// How long silence must last.
const SILENT: SignedDuration = SignedDuration::from_mins(2);

/// How much smaller than a multiple of an estimated quantile a histogram's bound may be, as a part of it.
const NEAR: f64 = 0.2;

/// Requests of old pods that give a quantile to compare with.
const ENOUGH_FOR_A_QUANTILE: f64 = 100.0;

/// What a kind of check weighs: the share of the rate of false alarms that it may use, of the policy's checks of the same
/// severity. Errors are where most bad releases show, and need the most requests to be proven.
pub fn weight(rule: &Rule) -> f64 {
    match rule {
        Rule::ErrorRate { .. } => 5.0,
        Rule::Latency { .. } | Rule::TrafficDrop { .. } => 2.0,
        Rule::CrashRate { .. } => 1.0,
        Rule::Saturation { .. } | Rule::BurnRate { .. } | Rule::Query { .. } => 0.0,
    }
}

/// A check whose counts were tested.
pub(super) struct Tested {
    unit: Unit,
    pub(super) counted: Counted,
    parts: Vec<Part>,
    pub(super) evidence: Evidence,
    /// `ln` of the evidence that every limit is kept.
    pub(super) kept: f64,
    /// The maximum as a share of bad ones, if the new pods are over it for sure, whoever's fault that is.
    over: Option<f64>,
    limit: Option<f64>,
    value: Shown,
}

impl Tested {
    /// What is shown of all looks: the new pods' value, and what it is compared with.
    pub(super) fn shown(&self) -> (Option<f64>, Option<f64>) {
        let rate = |tally: Tally| Some(tally.rate()).filter(|_| tally.all > 0.0);
        match &self.value {
            Shown::Rate => (rate(self.counted.total().0), rate(self.counted.total().1)),
            Shown::Quantile(value, baseline) => (*value, *baseline),
            Shown::Missing => (None, None),
        }
    }
}

/// How the value of a stretch of looks is shown.
enum Shown {
    /// The share of bad ones.
    Rate,
    /// The share of what is due that is missing.
    Missing,
    /// A quantile: the new one, and the old one.
    Quantile(Option<f64>, Option<f64>),
}

/// Judges all checks.
pub(super) fn evaluate(checks: &[Check], alpha: f64, measured: &Measured<'_>, after: &[After]) -> Vec<CheckResult> {
    let tested: Vec<Option<Answer<Tested>>> =
        checks.iter().zip(after).map(|(check, after)| test(check, alpha, measured, *after)).collect();
    let share = |check: &Check| {
        let same = checks.iter().filter(|other| other.severity == check.severity);
        let all: f64 = same.map(|other| weight(&other.rule)).sum();
        if all > 0.0 { weight(&check.rule) / all } else { 0.0 }
    };
    let mut results: Vec<CheckResult> = checks
        .iter()
        .zip(&tested)
        .map(|(check, tested)| match tested {
            Some(Ok(tested)) => judge(check, tested, needed(alpha * share(check)), measured),
            Some(Err(missing)) => CheckResult {
                message: missing.to_string(),
                why: Why::Missing(missing.clone()),
                ..blank(check, Unit::Share)
            },
            None => match &check.rule {
                Rule::Saturation { .. } => by_run(check, saturation::in_a_row(measured.looks), measured),
                _ => by_run(check, IN_A_ROW, measured),
            },
        })
        .collect();
    for severity in [Severity::Critical, Severity::Warning] {
        all_together(checks, &tested, severity, &share, alpha, &mut results);
    }
    results
}

/// Several checks that are suspicious prove together what none of them proves alone: the one with the most evidence is
/// breached then.
fn all_together(
    checks: &[Check],
    tested: &[Option<Answer<Tested>>],
    severity: Severity,
    share: &impl Fn(&Check) -> f64,
    alpha: f64,
    results: &mut [CheckResult],
) {
    let same = |index: &usize| checks.get(*index).is_some_and(|check| check.severity == severity);
    let indices: Vec<usize> = (0..checks.len()).filter(same).collect();
    if indices.iter().any(|index| results[*index].verdict == Verdict::Breached) {
        return;
    }
    // What is proven but held back, by too few bad requests or for too short a time, is so together with others, too.
    let suspicious = |index: &usize| {
        let odds = results[*index].odds;
        results[*index].why == Why::CountingUp && odds.is_some_and(|odds| odds.found < odds.needed)
    };
    let weights: Vec<f64> = indices.iter().map(|index| share(&checks[*index])).collect();
    let values: Vec<f64> = indices
        .iter()
        .map(|index| match &tested[*index] {
            Some(Ok(tested)) if suspicious(index) => tested.evidence.now(),
            _ => 0.0,
        })
        .collect();
    let proof = together(&weights, &values);
    if !indices.iter().any(suspicious) || proof.is_nan() || proof < needed(alpha) {
        return;
    }
    let most = indices
        .iter()
        .zip(weights.iter().zip(&values))
        .max_by(|(_, one), (_, other)| (one.1 + libm::log(*one.0)).total_cmp(&(other.1 + libm::log(*other.0))));
    if let Some((index, _)) = most {
        let result = &mut results[*index];
        (result.verdict, result.why) = (Verdict::Breached, Why::OutsideLimit);
        result.message.push_str("; together with the other checks that is proof");
    }
}

fn test(check: &Check, alpha: f64, measured: &Measured<'_>, after: After) -> Option<Answer<Tested>> {
    let windows = match &check.rule {
        Rule::ErrorRate { .. } | Rule::TrafficDrop { .. } => windows_after(measured.requests, measured, after),
        Rule::Latency { .. } => windows_after(measured.latencies, measured, after),
        Rule::CrashRate { .. } | Rule::Saturation { .. } | Rule::BurnRate { .. } | Rule::Query { .. } => return None,
    };
    windows.map(|windows| test_windows(&check.rule, &windows, alpha, measured)).transpose()
}

/// Tests what was counted in some windows; `None` for a rule that counts nothing.
pub(super) fn test_windows(rule: &Rule, windows: &[Window], alpha: f64, measured: &Measured<'_>) -> Option<Tested> {
    match rule {
        Rule::ErrorRate { max, max_ratio, floor } => {
            Some(errors(&Limits { max: *max, ratio: *max_ratio, floor: *floor }, windows, alpha, measured))
        }
        Rule::Latency { quantile, max, max_ratio } => {
            Some(latency(quantile.share(), (*max, *max_ratio), windows, alpha, measured))
        }
        Rule::TrafficDrop { max } => Some(quiet(*max, windows, alpha, measured)),
        Rule::CrashRate { .. } | Rule::Saturation { .. } | Rule::BurnRate { .. } | Rule::Query { .. } => None,
    }
}

fn errors(limits: &Limits, windows: &[Window], alpha: f64, measured: &Measured<'_>) -> Tested {
    let tally = |increase: &Increase| Tally::new(increase.requests(), increase.bad);
    let counted = counted::looks(windows, measured.since, tally);
    let plan = counted::plan(measured, alpha, tally);
    let (new, old) = counted.total();
    let ratio_kept =
        |ratio: f64| keeps_limit(new, limits.floor, plan.among_pods).max(keeps_ratio(new, old, ratio, plan.among_pods));
    let kept = match (limits.max, limits.ratio) {
        (Some(max), _) => keeps_limit(new, max, plan.among_pods),
        (None, Some(ratio)) => ratio_kept(ratio),
        (None, None) => 0.0,
    };
    let parts = vec![Part { weight: 1.0, rule: PartRule::Rate(*limits), plan, looks: counted.looks.clone() }];
    let evidence = evidence(&parts);
    let began = evidence.began.last().copied().unwrap_or(0);
    let (new, old) = counted.between(began, counted.looks.len().saturating_sub(1));
    let relative = limits.ratio.map(|ratio| (old.rate() * ratio).max(limits.floor));
    let limit = match (limits.max, relative) {
        (Some(max), Some(relative)) if new.rate() <= max && new.rate() > relative => Some(relative),
        (Some(max), _) => Some(max),
        (None, relative) => relative,
    };
    let over = limits.max.filter(|max| is_over(&counted.looks, *max, &plan));
    Tested { unit: Unit::Share, counted, parts, evidence, kept, over, limit, value: Shown::Rate }
}

/// Whether a maximum is exceeded for sure, whoever's fault that is.
fn is_over(looks: &[Look], max: f64, plan: &Plan) -> bool {
    let alone: Vec<Look> =
        looks.iter().map(|look| Look { old: Tally::default(), against: Against::Nothing, ..look.clone() }).collect();
    regression(&alone, &Limits { max: Some(max), ratio: None, floor: 0.0 }, plan).now() >= libm::log(SURE)
}

/// A quantile is over a duration when more than its complement of the requests are slower than that.
fn latency(
    share: f64,
    (max, max_ratio): (Option<f64>, Option<f64>),
    windows: &[Window],
    alpha: f64,
    measured: &Measured<'_>,
) -> Tested {
    let old = baseline(windows, measured);
    let baseline = old.as_ref().and_then(|old| old.quantile(share)).map(crate::sample::Quantiled::estimate);
    let mut new = Histogram::default();
    for window in windows.iter().filter(|window| window.to > measured.since) {
        new.add(&window.new.durations);
    }
    let value = new.quantile(share).map(crate::sample::Quantiled::estimate);
    let multiple = max_ratio.zip(baseline).map(|(ratio, baseline)| ratio * baseline);
    let bounds = [max.map(|max| (max, new.bound_at(max))), multiple.map(|limit| (limit, near(&new, limit)))];
    let mut parts: Vec<Part> = Vec::new();
    let (mut counted, mut kept, mut over) = (Counted::default(), f64::INFINITY, None);
    for bound in bounds.into_iter().flatten().filter_map(|(_, bound)| bound) {
        let tally =
            |increase: &Increase| Tally::new(increase.durations.requests(), increase.durations.slower_than(bound));
        counted = counted::looks(windows, measured.since, tally);
        let plan = counted::plan(measured, alpha, tally);
        let slow = Limits { max: Some(1.0 - share), ratio: None, floor: 0.0 };
        parts.push(Part { weight: 1.0, rule: PartRule::Rate(slow), plan, looks: counted.looks.clone() });
        kept = kept.min(keeps_limit(counted.total().0, 1.0 - share, plan.among_pods));
        over = over.or_else(|| Some(1.0 - share).filter(|max| is_over(&counted.looks, *max, &plan)));
    }
    if let Some((old, ratio)) = old.as_ref().zip(max_ratio)
        && let Some(at) = multiple::bounds(old, &new, share, ratio, bounds[1].and_then(|(_, bound)| bound))
    {
        parts.push(as_slow(&at, share, windows, alpha, measured));
    }
    let tightest = bounds.into_iter().flatten().map(|(limit, _)| limit).reduce(f64::min);
    if counted.looks.is_empty() {
        counted = counted::looks(windows, measured.since, |increase| Tally::new(increase.durations.requests(), 0.0));
        kept = f64::NEG_INFINITY;
    }
    let evidence = evidence(&parts);
    Tested {
        unit: Unit::Seconds,
        counted,
        parts,
        evidence,
        kept,
        over,
        limit: tightest,
        value: Shown::Quantile(value, baseline),
    }
}

/// More of the new requests are over one bound than old ones over another, which is at most a `ratio`th of it.
fn as_slow(at: &multiple::Bounds, share: f64, windows: &[Window], alpha: f64, measured: &Measured<'_>) -> Part {
    let over = |bound: f64| {
        move |increase: &Increase| Tally::new(increase.durations.requests(), increase.durations.slower_than(bound))
    };
    let rule = PartRule::Rate(Limits { max: None, ratio: Some(1.0), floor: 1.0 - share });
    let looks = counted::looks_by(windows, measured.since, over(at.new), over(at.old)).looks;
    Part { weight: 1.0, rule, plan: counted::plan(measured, alpha, over(at.old)), looks }
}

/// The bound to count slow requests at, for a limit that is itself an estimate: one that is a little smaller will do.
fn near(histogram: &Histogram, limit: f64) -> Option<f64> {
    histogram.bound_at(limit * (1.0 - NEAR)).filter(|bound| *bound <= limit).or_else(|| histogram.bound_at(limit))
}

/// The old revision's requests: of the time before the rollout, else the first ones beside it; `None` if they are too few
/// to give a quantile.
fn baseline(windows: &[Window], measured: &Measured<'_>) -> Option<Histogram> {
    let mut old = Histogram::default();
    let (before, beside): (Vec<&Window>, Vec<&Window>) = windows.iter().partition(|window| window.to <= measured.since);
    for window in before {
        old.add(&window.old.durations);
    }
    for window in beside {
        if old.requests() >= ENOUGH_FOR_A_QUANTILE {
            break;
        }
        old.add(&window.old.durations);
    }
    let enough = ENOUGH_FOR_A_QUANTILE.min(f64::from(u32::try_from(measured.minimum_requests).unwrap_or(u32::MAX)));
    (old.requests() >= enough).then_some(old)
}

fn quiet(max: f64, windows: &[Window], alpha: f64, measured: &Measured<'_>) -> Tested {
    let counted = if traffic::is_balanced(measured) { traffic::looks(windows, measured) } else { Counted::default() };
    // How unevenly requests fall on pods: each pod is due the same.
    let plan = counted::plan(measured, alpha, |increase| Tally::new(1.0, increase.requests()));
    let least = 1.0 / (1.0 - max).max(f64::EPSILON);
    let parts = vec![Part { weight: 1.0, rule: PartRule::Silence { least }, plan, looks: counted.looks.clone() }];
    let evidence = evidence(&parts);
    let kept = keeps_share(&counted.looks, least, plan.among_pods);
    Tested { unit: Unit::Share, counted, parts, evidence, kept, over: None, limit: Some(max), value: Shown::Missing }
}

fn judge(check: &Check, tested: &Tested, needed_alone: f64, measured: &Measured<'_>) -> CheckResult {
    let Tested { counted, evidence, .. } = tested;
    let is_traffic = matches!(tested.value, Shown::Missing);
    let reached = decided(tested, needed_alone);
    let last = reached.unwrap_or_else(|| counted.looks.len().saturating_sub(1));
    let began = evidence.began.get(last).copied().unwrap_or(0);
    let suspicious = evidence.now() >= libm::log(SURE);
    let first = if reached.is_some() || suspicious { began } else { 0 };
    let (new, old) = counted.between(first, last);
    let (value, baseline) = match &tested.value {
        Shown::Rate => (Some(new.rate()).filter(|_| new.all > 0.0), Some(old.rate()).filter(|_| old.all > 0.0)),
        Shown::Quantile(value, baseline) => (*value, *baseline),
        Shown::Missing => (missing(counted, first, last), None),
    };
    let one_pod = evidence.all_pods.last().is_some_and(|all| *all >= needed_alone) && evidence.now() < needed_alone;
    let is_common = tested.over.is_some_and(|max| old.rate() > max);
    let enough = counted.total().0.all >= exact(measured.minimum_requests);
    let nothing_due = is_traffic && counted.looks.iter().all(|look| look.due.is_none());
    let (verdict, why) = match reached {
        Some(_) => (Verdict::Breached, Why::OutsideLimit),
        _ if nothing_due => (Verdict::Inconclusive, Why::NoBaseline),
        _ if counted.looks.is_empty() => (Verdict::NoData, Why::Missing(Missing::Empty)),
        _ if tested.unit == Unit::Seconds && tested.limit.is_none() => (Verdict::Inconclusive, Why::NoBaseline),
        _ if one_pod => (Verdict::Inconclusive, Why::OnePod),
        _ if suspicious => (Verdict::Inconclusive, Why::CountingUp),
        _ if is_common => (Verdict::Inconclusive, Why::ExternalCause),
        // Over it for sure, but not worse for sure than what it is compared with.
        _ if tested.over.is_some() => (Verdict::Inconclusive, Why::CountingUp),
        _ if tested.unit == Unit::Seconds && tested.kept == f64::NEG_INFINITY => {
            (Verdict::Inconclusive, Why::NoBucketAbove)
        }
        _ if new.all <= 0.0 && !is_traffic => (Verdict::NoData, Why::NoRequests),
        _ if !enough && !is_traffic => (Verdict::Inconclusive, Why::TooFewRequests),
        // It may be over the limit, inside of a bucket that is too wide to tell.
        _ if tested.unit == Unit::Seconds && value.zip(tested.limit).is_some_and(|(value, limit)| value > limit) => {
            (Verdict::Inconclusive, Why::TooCloseToSay)
        }
        _ if tested.kept >= libm::log(SURE) => (Verdict::Passing, Why::WithinLimit),
        // Once the old pods are gone, no more will come.
        _ if is_traffic => (Verdict::Inconclusive, Why::NoBaseline),
        _ => (Verdict::Inconclusive, Why::TooCloseToSay),
    };
    let span = counted.times.get(first).zip(counted.times.get(last)).map(|(from, to)| (from.0, to.1));
    let mut result = CheckResult {
        verdict,
        value,
        limit: tested.limit,
        baseline,
        requests: Some(whole(new.all)),
        bad: (!is_traffic).then(|| whole(tested.parts.iter().map(|part| bad(part, first, last)).fold(0.0, f64::max))),
        window: span,
        first_bad: (verdict == Verdict::Breached || why == Why::CountingUp)
            .then(|| counted.times.get(began).map(|(from, _)| *from))
            .flatten(),
        covered: if is_traffic { SignedDuration::MAX } else { counted.covered(measured.completed) },
        odds: Some(Odds { found: evidence.log_values.get(last).copied().unwrap_or(0.0), needed: needed_alone }),
        // Only what is, or together with other checks becomes, a breach is recorded.
        record: match why {
            Why::OutsideLimit | Why::CountingUp => recorded(tested, last, needed_alone),
            _ => String::new(),
        },
        why,
        ..blank(check, tested.unit)
    };
    let is_beside = counted.looks.iter().any(|look| look.against == Against::OldPods);
    let beside = if is_beside { "in the old pods" } else { "before the rollout" };
    result.message = result.tell(measured.minimum_requests, beside);
    result
}

/// The first look at which a breach is proven and worth the name: by enough bad requests, or by silence that lasted, for
/// callers that keep their connections find new pods only after a while.
fn decided(tested: &Tested, needed: f64) -> Option<usize> {
    let Tested { counted, evidence, .. } = tested;
    (0..evidence.log_values.len()).filter(|look| evidence.log_values[*look] >= needed).find(|look| {
        let began = evidence.began.get(*look).copied().unwrap_or(0);
        if !matches!(tested.value, Shown::Missing) {
            return tested.parts.iter().any(|part| bad(part, began, *look) >= LEAST_BAD);
        }
        let times = counted.times.get(began).zip(counted.times.get(*look));
        times.is_some_and(|(from, to)| to.1.duration_since(from.0) >= SILENT)
    })
}

/// Bad requests of the new pods from one look to another, both included.
fn bad(part: &Part, first: usize, last: usize) -> f64 {
    let looks = part.looks.get(first..=last.max(first)).unwrap_or_default();
    looks.iter().flat_map(|look| &look.new).map(|one| one.bad).sum()
}

/// All that the verdict rests on, as text: the looks up to the one that decided.
fn recorded(tested: &Tested, last: usize, needed: f64) -> String {
    let Some(found) = tested.evidence.log_values.get(last).copied() else { return String::new() };
    let upto = |part: &Part| Part { looks: part.looks.iter().take(last + 1).cloned().collect(), ..part.clone() };
    Recorded { needed, found, parts: tested.parts.iter().map(upto).collect() }.to_string()
}

/// The share of what is due to the new pods that they do not get.
fn missing(counted: &Counted, first: usize, last: usize) -> Option<f64> {
    let looks = counted.looks.get(first..=last)?;
    let (got, due) = looks.iter().fold((0.0, 0.0), |(got, due), look| match look.due {
        Some(share) => (got + look.total_requests(), due + share * (look.total_requests() + look.old.all)),
        None => (got, due),
    });
    (due > 0.0).then(|| (1.0 - got / due).max(0.0))
}

#[allow(clippy::cast_precision_loss, reason = "request counts stay far below 2^52")]
fn exact(count: u64) -> f64 {
    count as f64
}
