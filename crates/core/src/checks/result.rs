//! What a check says, with everything that it says it by.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Measured, Readings};
use crate::analysis::Quality;
use crate::analysis::consecutive::{Streak, first_bad, streak};
use crate::policy::{Check, Severity};
use crate::sample::{Answer, Missing};

/// The verdict of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Inside its limit.
    Passing,
    /// Outside its limit, by the policy's method.
    Breached,
    /// There is data, and it does not tell (yet).
    Inconclusive,
    /// There is no data.
    NoData,
}

/// The reason behind a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Inside the limit.
    WithinLimit,
    /// Outside the limit.
    OutsideLimit,
    /// Outside the limit, but not often enough in a row, or in too few pods.
    CountingUp,
    /// Outside the limit, and the baseline just as much.
    ExternalCause,
    /// Some requests, but fewer than a window needs.
    TooFewRequests,
    /// No request at all.
    NoRequests,
    /// Relative to a baseline that has no data.
    NoBaseline,
    /// The limit lies above the histogram's highest finite bound.
    NoBucketAbove,
    /// The new pods have no limit that they could reach.
    NoLimits,
    /// Too little, but the new pods do not have all of the traffic yet.
    RollingOut,
    /// The source gave no usable answer.
    Missing(Missing),
    /// The revision has no pod.
    NoPods,
    /// One pod alone is outside the limit: its own bad luck, or its node's.
    OnePod,
    /// There are requests enough, and they prove neither that the limit is kept nor that it is exceeded.
    TooCloseToSay,
}

impl Why {
    /// One CamelCase word, for status and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::WithinLimit => "WithinLimit",
            Self::OutsideLimit => "OutsideLimit",
            Self::CountingUp => "CountingUp",
            Self::ExternalCause => "ExternalCause",
            Self::TooFewRequests => "TooFewRequests",
            Self::NoRequests => "NoRequests",
            Self::NoBaseline => "NoBaseline",
            Self::NoBucketAbove => "LatencyBucketMissing",
            Self::NoLimits => "NoResourceLimits",
            Self::RollingOut => "RollingOut",
            Self::NoPods => "NoPods",
            Self::OnePod => "OnePodOnly",
            Self::TooCloseToSay => "TooCloseToSay",
            Self::Missing(missing) => match missing {
                Missing::Unavailable(_) => "SourceUnavailable",
                Missing::TooLarge(_) => "ReplyTooLarge",
                Missing::Empty => "NoSeries",
                Missing::NotANumber => "NotANumber",
                Missing::ManySeries(_) => "ManySeries",
                Missing::Partial(_) => "PartialResult",
                Missing::BadQuery(_) => "BadQuery",
                Missing::UnknownSource(_) => "UnknownSource",
            },
        }
    }
}

/// What a value is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A share of the whole, shown in percent.
    Share,
    /// Seconds.
    Seconds,
    /// A bare number.
    Plain,
}

/// A verdict with its evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckResult {
    /// The check.
    pub name: String,
    /// What its breach leads to.
    pub severity: Severity,
    /// What it says.
    pub verdict: Verdict,
    /// Why.
    pub why: Why,
    /// The unit of value, limit and baseline.
    pub unit: Unit,
    /// What the last window measured.
    pub value: Option<f64>,
    /// What it was compared with.
    pub limit: Option<f64>,
    /// The baseline's value.
    pub baseline: Option<f64>,
    /// Requests in the last window.
    pub requests: Option<u64>,
    /// Bad ones among them.
    pub bad: Option<u64>,
    /// Bad windows in a row, up to now.
    pub in_a_row: u32,
    /// The last window.
    pub window: Option<(Timestamp, Timestamp)>,
    /// When the present run of bad windows began.
    pub first_bad: Option<Timestamp>,
    /// Time since the completed rollout that closed windows cover.
    pub covered: SignedDuration,
    /// How strong the evidence is, where counts are tested.
    pub odds: Option<Odds>,
    /// All that the verdict rests on, where counts are tested: see [`crate::analysis::sequential::Recorded`].
    pub record: String,
    /// One sentence for people; holds no clock and no age, so that it stays the same while nothing changes.
    pub message: String,
}

/// How strong the evidence of a breach is: natural logarithms of odds against chance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Odds {
    /// What was found.
    pub found: f64,
    /// What a breach takes.
    pub needed: f64,
}

impl Odds {
    /// The odds against chance, as people say them: `12,000 to 1`.
    pub fn describe(self) -> String {
        match libm::exp(self.found) {
            odds if odds >= 1e9 => "over a billion to 1".to_owned(),
            odds if odds >= 1e6 => format!("{} million to 1", trimmed(odds / 1e6, 0)),
            odds if odds >= 1e3 => format!("{},000 to 1", trimmed(odds / 1e3, 0)),
            odds => format!("{} to 1", trimmed(odds, 0)),
        }
    }
}

/// A number in its unit, short enough for a column: `12.4%`, `240ms`, `0.83`.
pub fn format_value(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Share => format!("{}%", trimmed(value * 100.0, 2)),
        Unit::Seconds if value < 1.0 => format!("{}ms", trimmed(value * 1000.0, 1)),
        Unit::Seconds => format!("{}s", trimmed(value, 2)),
        Unit::Plain => trimmed(value, 4),
    }
}

fn trimmed(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// The result of a check that nothing is known of.
pub(super) fn blank(check: &Check, unit: Unit) -> CheckResult {
    CheckResult {
        name: check.name.clone(),
        severity: check.severity,
        verdict: Verdict::NoData,
        why: Why::NoRequests,
        unit,
        value: None,
        limit: None,
        baseline: None,
        requests: None,
        bad: None,
        in_a_row: 0,
        window: None,
        first_bad: None,
        covered: SignedDuration::ZERO,
        odds: None,
        record: String::new(),
        message: String::new(),
    }
}

/// Makes the result of a check that is read window by window.
pub(super) fn from_readings(
    check: &Check,
    unit: Unit,
    failures: u32,
    measured: &Measured<'_>,
    readings: Answer<Readings>,
) -> CheckResult {
    let mut result = blank(check, unit);
    let readings = match readings {
        Ok(readings) => readings,
        Err(missing) => {
            result.message = missing.to_string();
            result.why = Why::Missing(missing);
            return result;
        }
    };
    if let Some(last) = readings.closed.last() {
        result.value = Some(last.value);
        result.limit = Some(last.limit).filter(|limit| limit.is_finite());
        result.baseline = last.baseline;
        result.requests = last.requests;
        result.bad = last.bad;
        result.window = Some((last.from, last.to));
    }
    result.covered = super::covered(&readings.closed, measured.completed);
    let (verdict, why) = match streak(&readings.closed) {
        Streak::Bad(times) if times >= failures => {
            (result.in_a_row, result.first_bad) = (times, first_bad(&readings.closed));
            (Verdict::Breached, Why::OutsideLimit)
        }
        Streak::Bad(times) => {
            (result.in_a_row, result.first_bad) = (times, first_bad(&readings.closed));
            (Verdict::Inconclusive, Why::CountingUp)
        }
        Streak::Common(times) => {
            result.in_a_row = times;
            (Verdict::Inconclusive, Why::ExternalCause)
        }
        Streak::Fine => (Verdict::Passing, Why::WithinLimit),
        Streak::Unclear(Quality::NoBucketAbove) => (Verdict::Inconclusive, Why::NoBucketAbove),
        Streak::Unclear(Quality::RollingOut) => (Verdict::Inconclusive, Why::RollingOut),
        Streak::Unclear(_) => (Verdict::Inconclusive, Why::NoBaseline),
        Streak::None => match readings.open_requests {
            Some(0) => (Verdict::NoData, Why::NoRequests),
            Some(requests) => {
                result.requests = Some(requests);
                (Verdict::Inconclusive, Why::TooFewRequests)
            }
            None => (Verdict::NoData, Why::Missing(Missing::Empty)),
        },
    };
    (result.verdict, result.why) = (verdict, why);
    result.message = describe(&result, failures, measured.minimum_requests);
    result
}

fn describe(result: &CheckResult, failures: u32, minimum: u64) -> String {
    let show = |value: Option<f64>| value.map_or_else(|| "?".to_owned(), |value| format_value(result.unit, value));
    let compared = format!("{} against a limit of {}", show(result.value), show(result.limit));
    match &result.why {
        Why::WithinLimit => compared,
        Why::OutsideLimit => format!("{compared}, {} windows in a row", result.in_a_row),
        Why::CountingUp => format!("{compared}, {} of {failures} windows in a row", result.in_a_row),
        Why::ExternalCause => {
            format!("{compared}, but {} in the baseline too: not caused by this release", show(result.baseline))
        }
        Why::TooFewRequests => {
            format!("{} requests so far, {minimum} are needed (minimumRequests)", result.requests.unwrap_or(0))
        }
        Why::NoRequests => "no requests to the new pods".to_owned(),
        Why::NoBaseline if result.unit == Unit::Plain => {
            "no baseline to compare with: before the rollout the query gave nothing, or less than its floor".to_owned()
        }
        Why::NoBaseline => "no baseline to compare with: the old pods had too few requests".to_owned(),
        Why::NoBucketAbove => {
            format!("no histogram bucket is high enough to show the limit of {}", show(result.limit))
        }
        Why::Missing(missing) => missing.to_string(),
        Why::NoLimits => "the new pods have no limit that they could reach (resources.limits)".to_owned(),
        Why::RollingOut => format!(
            "{} so far: its minimum is judged once the rollout is complete and its range lies behind that",
            show(result.value)
        ),
        Why::NoPods => "no pod of this revision yet".to_owned(),
        Why::OnePod => format!("{compared}, but in one pod only: its own fault, or its node's"),
        Why::TooCloseToSay => format!("{compared}: too close to it to say more yet"),
    }
}

impl CheckResult {
    /// No breach: something that was not released has got worse at the same time. `value` is what it came to, `before` what
    /// it was before the rollout.
    pub(super) fn hold(&mut self, control: &str, value: Option<f64>, before: Option<f64>) {
        (self.verdict, self.why) = (Verdict::Inconclusive, Why::WithinLimit);
        let shown = |value: Option<f64>, when: &str| Some(format!("{}{when}", format_value(self.unit, value?)));
        let values: Vec<String> = [shown(value, ""), shown(before, " before")].into_iter().flatten().collect();
        let values = if values.is_empty() { String::new() } else { format!(" ({})", values.join(", ")) };
        self.message = format!(
            "{}, but {control}, which was not released, has got worse at the same time{values}: not caused by this release",
            self.tell(0, "")
        );
        self.why = Why::ExternalCause;
        (self.first_bad, self.record) = (None, String::new());
    }

    /// The sentence of a check whose counts were tested. `beside` is where the baseline comes from.
    pub(super) fn tell(&self, minimum: u64, beside: &str) -> String {
        let counted = match (self.bad, self.requests) {
            (Some(bad), Some(requests)) if requests > 0 => format!(" ({bad} bad of {requests} requests)"),
            _ => String::new(),
        };
        let beside = self.baseline.map(|value| format!(", {} {beside}", format_value(self.unit, value)));
        let beside = beside.unwrap_or_default();
        let odds = self.odds.map(Odds::describe).unwrap_or_default();
        let compared = describe(&Self { why: Why::WithinLimit, ..self.clone() }, 0, minimum);
        match &self.why {
            Why::OutsideLimit => format!("{compared}{counted}{beside}; the odds against chance are {odds}"),
            Why::CountingUp => format!("{compared}{counted}{beside}; the odds against chance are {odds} so far"),
            Why::WithinLimit => format!("{compared}{counted}"),
            _ => describe(self, 0, minimum),
        }
    }
}

/// The result that speaks for several about one check: the worst, and of passing ones that with the least data. A part
/// that can never be judged speaks only when no other does.
pub(super) fn worst(results: impl Iterator<Item = CheckResult>) -> Option<CheckResult> {
    let rank = |result: &CheckResult| match (result.verdict, &result.why) {
        (Verdict::Breached, _) => 0,
        (Verdict::Inconclusive, Why::CountingUp) => 1,
        (Verdict::Inconclusive, Why::ExternalCause) => 2,
        (_, Why::NoLimits) => 6,
        (Verdict::NoData, _) => 3,
        (Verdict::Inconclusive, _) => 4,
        (Verdict::Passing, _) => 5,
    };
    results.min_by_key(|result| (rank(result), result.covered))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Rule;

    #[test]
    fn values_are_shown_in_their_unit() {
        assert_eq!(format_value(Unit::Share, 0.2), "20%");
        assert_eq!(format_value(Unit::Share, 0.0123), "1.23%");
        assert_eq!(format_value(Unit::Seconds, 0.2425), "242.5ms");
        assert_eq!(format_value(Unit::Seconds, 1.0), "1s");
        assert_eq!(format_value(Unit::Seconds, 1.5), "1.5s");
        assert_eq!(format_value(Unit::Plain, 100.0), "100");
        assert_eq!(format_value(Unit::Share, 0.0), "0%");
    }

    #[test]
    fn odds_are_said_as_people_say_them() {
        let said = |odds: f64| Odds { found: libm::log(odds), needed: 7.0 }.describe();
        assert_eq!(said(20.4), "20 to 1");
        assert_eq!(said(12_000.4), "12,000 to 1");
        assert_eq!(said(2.1e6), "2 million to 1");
        assert_eq!(said(3e12), "over a billion to 1");
    }

    #[test]
    fn each_reason_has_a_word_of_its_own() {
        let causes = [
            Why::WithinLimit,
            Why::OutsideLimit,
            Why::ExternalCause,
            Why::NoBucketAbove,
            Why::Missing(Missing::Empty),
            Why::Missing(Missing::ManySeries(2)),
        ];
        let words = causes.map(|why| why.reason());
        let expected =
            ["WithinLimit", "OutsideLimit", "ExternalCause", "LatencyBucketMissing", "NoSeries", "ManySeries"];
        assert_eq!(words, expected);
    }

    #[test]
    fn what_was_tested_is_told_with_its_counts_and_its_odds() {
        let check = Check { name: "errors".into(), severity: Severity::Critical, rule: Rule::error_rate(0.05) };
        let known = CheckResult {
            value: Some(0.2),
            limit: Some(0.05),
            baseline: Some(0.01),
            requests: Some(100),
            bad: Some(20),
            odds: Some(Odds { found: libm::log(50.0), needed: 7.0 }),
            ..blank(&check, Unit::Share)
        };
        let told = |why: Why, requests: u64| {
            CheckResult { why, requests: Some(requests), ..known.clone() }.tell(50, "in the old pods")
        };
        let values = "20% against a limit of 5% (20 bad of 100 requests)";
        assert_eq!(told(Why::WithinLimit, 100), values);
        assert_eq!(told(Why::WithinLimit, 0), "20% against a limit of 5%");
        let beside = format!("{values}, 1% in the old pods; the odds against chance are 50 to 1");
        assert_eq!(told(Why::OutsideLimit, 100), beside);
        assert_eq!(told(Why::CountingUp, 100), format!("{beside} so far"));
        assert_eq!(told(Why::TooFewRequests, 7), "7 requests so far, 50 are needed (minimumRequests)");
        assert!(told(Why::NoBaseline, 7).ends_with("the old pods had too few requests"));
        let own = CheckResult { why: Why::NoBaseline, unit: Unit::Plain, ..known.clone() };
        assert!(own.tell(50, "").ends_with("the query gave nothing, or less than its floor"));
    }
}
