//! Controls: workloads that share dependencies with the target and do not call it, as their owner says.
//!
//! Once the old pods are gone, an outage of something that all of them need looks like a bad release. It does not look like
//! one in a workload that was not released: so when a breach stands on looks without old pods beside, each control is
//! tested in the same looks, by the same limits, against its own time before the rollout.

use jiff::Timestamp;

use super::counted::{looks, windows_of};
use super::sequential::{SURE, Tested, test_windows};
use super::{After, CheckResult, Measured, Verdict};
use crate::analysis::sequential::{Against, Tally};
use crate::policy::{Check, Rule};
use crate::sample::{Answer, Increase, PodSeries, Window};

/// How strongly a control must show that it has got worse to hold a rollback back: 3 to 1. Far less than a breach takes, for
/// to wait costs less than to undo a good release.
const SUSPECT: f64 = 3.0;

/// What the scatter of a control's counts, and the leaving out of one of its pods, is worked out for. No rate of false
/// alarms rests on it.
const ALPHA: f64 = 0.001;

/// What a control counted.
#[derive(Debug, Clone)]
pub struct Control {
    name: String,
    requests: Answer<Vec<PodSeries>>,
    latencies: Answer<Vec<PodSeries>>,
}

impl Control {
    /// A Deployment, with the counters of all its pods.
    ///
    /// They are before and after, as a proxy's are, whatever their names: see [`PodSeries::of_proxy`].
    pub fn new(name: &str, requests: Answer<Vec<PodSeries>>, latencies: Answer<Vec<PodSeries>>) -> Self {
        let all = |answer: Answer<Vec<PodSeries>>| {
            let rename = |one: PodSeries| PodSeries { pod: PodSeries::of_proxy(&one.pod), ..one };
            answer.map(|series| series.into_iter().map(rename).collect())
        };
        Self { name: name.to_owned(), requests: all(requests), latencies: all(latencies) }
    }

    fn answer(&self, rule: &Rule) -> Option<&Answer<Vec<PodSeries>>> {
        match rule {
            Rule::ErrorRate { .. } => Some(&self.requests),
            Rule::Latency { .. } => Some(&self.latencies),
            _ => None,
        }
    }
}

/// That a control has got worse.
struct Worse {
    /// The control.
    name: String,
    value: Option<f64>,
    before: Option<f64>,
    /// When that was over; `None` while it is not.
    over: Option<Timestamp>,
}

/// Asks the controls about every breach that they can say something of, and turns those that are not the release's into
/// results that say so. Gives whether there is to be judged again, with less: some of them are over.
pub(super) fn ask(
    checks: &[Check],
    measured: &Measured<'_>,
    controls: &[Control],
    results: &mut [CheckResult],
    after: &mut [After],
) -> bool {
    let mut again = false;
    for ((check, result), after) in checks.iter().zip(results).zip(after) {
        let Some((from, to)) = result.first_bad.zip(result.window.map(|window| window.1)) else { continue };
        if result.verdict != Verdict::Breached || has_old_pods(check, measured, from, to) {
            continue;
        }
        let mut worse: Vec<Worse> =
            controls.iter().filter_map(|control| worse(check, measured, control, from, to)).collect();
        // The one that lasts, else the one that ended last.
        worse.sort_by_key(|one| one.over.unwrap_or(Timestamp::MAX));
        match worse.pop() {
            // Later than what is left out already: each turn leaves out more, so there is a last one.
            Some(Worse { over, .. }) if over > *after => (*after, again) = (over, true),
            Some(Worse { name, value, before, .. }) => result.hold(&name, value, before),
            None => {}
        }
    }
    again
}

/// Whether old pods served beside the new ones in all looks of a stretch: then the comparison with them has said already
/// what is the release's. What is not counted by requests has no looks, and no control can speak of it.
fn has_old_pods(check: &Check, measured: &Measured<'_>, from: Timestamp, to: Timestamp) -> bool {
    let (answer, tally): (_, fn(&Increase) -> Tally) = match &check.rule {
        Rule::ErrorRate { .. } => (measured.requests, |increase| Tally::new(increase.requests(), 0.0)),
        Rule::Latency { .. } => (measured.latencies, |increase| Tally::new(increase.durations.requests(), 0.0)),
        _ => return true,
    };
    let Ok(mut windows) = windows_of(answer, measured) else { return true };
    windows.retain(|window| is_within(window, from, to));
    let looks = looks(&windows, measured.since, tally).looks;
    looks.iter().filter(|look| look.total_requests() > 0.0).all(|look| look.against == Against::OldPods)
}

/// Whether a control has got worse in a stretch of looks; `None` as well where there is nothing to tell it by.
fn worse(check: &Check, measured: &Measured<'_>, control: &Control, from: Timestamp, to: Timestamp) -> Option<Worse> {
    let series = control.answer(&check.rule)?.as_ref().ok()?;
    let released = released(series, measured.since);
    if released.is_some_and(|released| released <= to) {
        return None;
    }
    let own = Measured { past: Some(series), ..measured.clone() };
    let windows = windows_of(control.answer(&check.rule)?, &own).ok()?;
    let test = |from: Timestamp, to: Timestamp| {
        let (before, since): (Vec<&Window>, Vec<&Window>) =
            windows.iter().partition(|window| window.to <= measured.since);
        let within: Vec<&Window> = since.into_iter().filter(|window| is_within(window, from, to)).collect();
        let mut windows = shared_out(&before, within.len());
        windows.extend(within.into_iter().cloned());
        test_windows(&check.rule, &windows, ALPHA, &own)
    };
    let tested = test(from, to)?;
    let strongest = tested.evidence.log_values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if strongest < libm::log(SUSPECT) {
        return None;
    }
    let (value, before) = tested.shown();
    // What its own next release does says nothing any more.
    let last = released.unwrap_or(Timestamp::MAX);
    let over = over(&test(from, last)?, test).or(released);
    Some(Worse { name: control.name.clone(), value, before, over })
}

/// The whole time before, as so many windows: each look is compared with a part of all of it. The stretch is short, and
/// many a control serves few requests.
fn shared_out(before: &[&Window], parts: usize) -> Vec<Window> {
    let (first, rest) = before.split_at(parts.max(1).min(before.len()));
    let mut windows: Vec<Window> = first.iter().copied().cloned().collect();
    let turns = (0..windows.len()).cycle();
    for (window, turn) in rest.iter().zip(turns) {
        if let Some(sum) = windows.get_mut(turn) {
            sum.old.add(&window.old);
        }
    }
    windows
}

/// When it was proven that a control keeps its limits again, since it was worst.
fn over(tested: &Tested, test: impl Fn(Timestamp, Timestamp) -> Option<Tested>) -> Option<Timestamp> {
    let (values, times) = (&tested.evidence.log_values, &tested.counted.times);
    let worst = values.iter().enumerate().max_by(|(_, one), (_, other)| one.total_cmp(other))?.0;
    let (_, since) = times.get(worst)?;
    let is_proven = |to: &Timestamp| test(*since, *to).is_some_and(|after| after.kept >= libm::log(SURE));
    times.iter().skip(worst).map(|(_, to)| *to).find(is_proven)
}

/// When the first pod of a new ReplicaSet was seen since the rollout began: a control that is released itself is none from
/// then on.
fn released(series: &[PodSeries], since: Timestamp) -> Option<Timestamp> {
    let set = |one: &PodSeries| one.pod.rsplit_once('-').map(|(set, _)| set.to_owned());
    let first = |one: &PodSeries| one.points.first().map(|(at, _)| *at);
    let known: std::collections::BTreeSet<Option<String>> =
        series.iter().filter(|one| first(one).is_some_and(|first| first <= since)).map(set).collect();
    series.iter().filter(|one| !known.contains(&set(one))).filter_map(first).min()
}

/// Whether a window ends in a stretch: where an answer was missing it is longer, and may begin before.
fn is_within(window: &Window, from: Timestamp, to: Timestamp) -> bool {
    window.to > from && window.to <= to
}
