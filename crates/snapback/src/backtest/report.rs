//! What a backtest came to, rollout by rollout and check by check. Field names are an interface: `-o json` prints them.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use snapback_core::checks::{CheckResult, Unit, Verdict as OfCheck, format_value};
use snapback_core::policy::{Check, Severity};

use super::given::{Given, Label};
use super::walk::{Ending, Seen, Walked};

/// Time after a rollback would have been decided in which people may have done the same. What nobody replaced within it
/// counts as a false alarm, where nobody says otherwise.
pub(crate) const FOLLOWED: SignedDuration = SignedDuration::from_hours(1);

/// What became of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Verdict {
    /// It would have been rolled back.
    RolledBack,
    /// A person would have been asked: only checks of severity Warning were breached.
    Asked,
    /// It was bad, and there was nothing to go back to.
    Held,
    /// It passed its soak.
    Passed,
    /// The checks could not tell, to the end.
    Inconclusive,
    /// There was nothing to judge by.
    NoData,
    /// The next rollout came before its soak was over.
    Superseded,
}

/// One rollout.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    pub(crate) workload: String,
    /// When its template changed.
    pub(crate) at: Timestamp,
    /// Its ReplicaSet.
    pub(crate) revision: Option<String>,
    /// That of the known good revision.
    pub(crate) known_good: Option<String>,
    /// What people say of it.
    pub(crate) label: Option<Label>,
    /// When all its pods were available.
    pub(crate) completed: Option<Timestamp>,
    /// When another revision took over.
    pub(crate) replaced: Option<Timestamp>,
    pub(crate) verdict: Verdict,
    /// When that was clear.
    pub(crate) decided: Option<Timestamp>,
    /// The same, counted from `at`.
    pub(crate) after_seconds: Option<i64>,
    /// When the fault was first measured.
    pub(crate) first_bad: Option<Timestamp>,
    /// The checks that decided.
    pub(crate) decided_by: Vec<String>,
    /// The first of them, else the first that was not inside its limit.
    pub(crate) check: Option<String>,
    pub(crate) value: Option<f64>,
    pub(crate) limit: Option<f64>,
    /// What `value` and `limit` are: `share`, `seconds` or `plain`.
    pub(crate) unit: Option<&'static str>,
    /// One sentence.
    pub(crate) message: String,
    /// Whether the rollback would have been a false alarm.
    pub(crate) false_alarm: bool,
    /// From the fault to the decision, where the rollback would have been right.
    pub(crate) seconds_to_detect: Option<i64>,
    /// Checks that the history says nothing of.
    pub(crate) not_judged: Vec<String>,
    #[serde(skip)]
    pub(crate) looks: Vec<Seen>,
}

/// What one check did over all rollouts.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OfOne {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) severity: &'static str,
    /// Rollouts in which it was among the checks that decided.
    pub(crate) breaches: usize,
    pub(crate) false_alarms: usize,
    pub(crate) false_alarms_per_30_days: f64,
    pub(crate) median_seconds_to_detect: Option<i64>,
    /// Rollouts whose history says nothing of it.
    pub(crate) not_judged: usize,
}

/// All rollouts together.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    pub(crate) rollouts: usize,
    pub(crate) rolled_back: usize,
    pub(crate) false_alarms: usize,
    pub(crate) false_alarms_per_30_days: f64,
    pub(crate) median_seconds_to_detect: Option<i64>,
    /// Rollouts that are labelled bad, and those of them that would have been rolled back.
    pub(crate) bad: usize,
    pub(crate) bad_rolled_back: usize,
    /// Rollouts that are labelled good, and those of them that would have been rolled back.
    pub(crate) good: usize,
    pub(crate) good_rolled_back: usize,
}

/// A whole backtest.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    pub(crate) policy: String,
    /// From when on the source knows anything, at the earliest `--since` ago.
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    pub(crate) days: f64,
    pub(crate) rollouts: Vec<Row>,
    pub(crate) checks: Vec<OfOne>,
    pub(crate) summary: Summary,
    /// What the figures do not say by themselves.
    pub(crate) notes: Vec<String>,
}

impl Row {
    /// A rollout that could not be walked over.
    pub(crate) fn unknown(given: &Given, message: String) -> Self {
        Self {
            workload: given.workload.clone(),
            at: given.at,
            revision: given.replica_set.clone(),
            known_good: None,
            label: given.label,
            completed: given.completed,
            replaced: None,
            verdict: Verdict::NoData,
            decided: None,
            after_seconds: None,
            first_bad: None,
            decided_by: Vec::new(),
            check: None,
            value: None,
            limit: None,
            unit: None,
            message,
            false_alarm: false,
            seconds_to_detect: None,
            not_judged: Vec::new(),
            looks: Vec::new(),
        }
    }

    /// A rollout that was walked over. `next` is when the next one of its workload took over, whenever that was.
    pub(crate) fn walked(given: &Given, walked: Walked, next: Option<Timestamp>) -> Self {
        let Walked { looks, ending, at, results, decided_by, first_bad } = walked;
        let has_no_data = looks.last().is_none_or(|look| look.worst == OfCheck::NoData);
        let shown = shown(&results, &decided_by);
        let told = shown.map(|result| format!("{}: {}", result.name, result.message)).unwrap_or_default();
        let (verdict, message) = match ending {
            Ending::RolledBack => (Verdict::RolledBack, told),
            Ending::Asked(why) => (Verdict::Asked, format!("{told}; a person would be asked: {why}")),
            Ending::Held(why) => (Verdict::Held, why),
            Ending::Passed => (Verdict::Passed, "every check stayed inside its limit".to_owned()),
            Ending::Superseded => {
                (Verdict::Superseded, "another revision took over before its soak was over".to_owned())
            }
            Ending::Open(why) if has_no_data => (Verdict::NoData, why),
            Ending::Accepted(why) | Ending::Open(why) => (Verdict::Inconclusive, why),
        };
        let is_shown = !matches!(verdict, Verdict::Passed | Verdict::Superseded);
        let shown = shown.filter(|_| is_shown);
        let is_decided = verdict != Verdict::NoData;
        let is_followed = next.is_some_and(|next| next > at && next.duration_since(at) <= FOLLOWED);
        let fault = given.fault_from.unwrap_or(given.at);
        let is_false = verdict == Verdict::RolledBack
            && match given.label {
                Some(Label::Good) => true,
                Some(Label::Bad) => at < fault,
                None => !is_followed,
            };
        let is_right = verdict == Verdict::RolledBack && !is_false;
        Self {
            verdict,
            decided: is_decided.then_some(at),
            after_seconds: is_decided.then(|| at.duration_since(given.at).as_secs()),
            first_bad,
            decided_by,
            check: shown.map(|result| result.name.clone()),
            value: shown.and_then(|result| result.value),
            limit: shown.and_then(|result| result.limit),
            unit: shown.map(|result| unit(result.unit)),
            false_alarm: is_false,
            seconds_to_detect: is_right.then(|| at.duration_since(fault).as_secs()),
            looks,
            ..Self::unknown(given, message)
        }
    }

    /// A number of the row in its unit.
    pub(crate) fn shown(&self, value: Option<f64>) -> String {
        let unit = match self.unit {
            Some("share") => Unit::Share,
            Some("seconds") => Unit::Seconds,
            _ => Unit::Plain,
        };
        value.map_or_else(|| "-".to_owned(), |value| format_value(unit, value))
    }

    /// The verdict, with the time for those that stop a rollout.
    pub(crate) fn title(&self) -> String {
        let after = SignedDuration::from_secs(self.after_seconds.unwrap_or_default());
        match self.verdict {
            Verdict::RolledBack | Verdict::Asked | Verdict::Held => {
                format!("{:?} at +{}", self.verdict, snapback_core::duration::format(after))
            }
            _ => format!("{:?}", self.verdict),
        }
    }
}

/// The check that a row is about.
fn shown<'a>(results: &'a [CheckResult], decided_by: &[String]) -> Option<&'a CheckResult> {
    let decided = results.iter().find(|result| decided_by.contains(&result.name));
    let is_open = |result: &&CheckResult| result.severity == Severity::Critical && result.verdict != OfCheck::Passing;
    decided.or_else(|| results.iter().find(is_open))
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Share => "share",
        Unit::Seconds => "seconds",
        Unit::Plain => "plain",
    }
}

impl Report {
    /// Counts.
    pub(crate) fn new(
        policy: String,
        checks: &[Check],
        (from, to): (Timestamp, Timestamp),
        rollouts: Vec<Row>,
        notes: Vec<String>,
    ) -> Self {
        let days = to.duration_since(from).as_secs_f64() / 86_400.0;
        let checks = checks.iter().map(|check| of_one(check, &rollouts, days)).collect();
        let count = |wanted: &dyn Fn(&Row) -> bool| rollouts.iter().filter(|row| wanted(row)).count();
        let is_back = |row: &Row| row.verdict == Verdict::RolledBack;
        let false_alarms = count(&|row| row.false_alarm);
        let labelled = |label| move |row: &Row| row.label == Some(label);
        let (bad, good) = (labelled(Label::Bad), labelled(Label::Good));
        let summary = Summary {
            rollouts: rollouts.len(),
            rolled_back: count(&is_back),
            false_alarms,
            false_alarms_per_30_days: per_30_days(false_alarms, days),
            median_seconds_to_detect: median(rollouts.iter().filter_map(|row| row.seconds_to_detect)),
            bad: count(&bad),
            bad_rolled_back: count(&|row| bad(row) && is_back(row) && !row.false_alarm),
            good: count(&good),
            good_rolled_back: count(&|row| good(row) && is_back(row)),
        };
        Self { policy, from, to, days: (days * 100.0).round() / 100.0, rollouts, checks, summary, notes }
    }
}

fn of_one(check: &Check, rollouts: &[Row], days: f64) -> OfOne {
    let mine = || rollouts.iter().filter(|row| row.decided_by.contains(&check.name));
    let false_alarms = mine().filter(|row| row.false_alarm).count();
    OfOne {
        name: check.name.clone(),
        kind: check.rule.kind(),
        severity: match check.severity {
            Severity::Critical => "Critical",
            Severity::Warning => "Warning",
        },
        breaches: mine().count(),
        false_alarms,
        false_alarms_per_30_days: per_30_days(false_alarms, days),
        median_seconds_to_detect: median(mine().filter_map(|row| row.seconds_to_detect)),
        not_judged: rollouts.iter().filter(|row| row.not_judged.contains(&check.name)).count(),
    }
}

/// To one hundredth: what is rarer shows in the count beside it.
fn per_30_days(count: usize, days: f64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a number of rollouts")]
    let count = count as f64;
    if days > 0.0 { (count * 30.0 / days * 100.0).round() / 100.0 } else { 0.0 }
}

/// The middle one; of an even number the smaller of the two in the middle.
fn median(values: impl Iterator<Item = i64>) -> Option<i64> {
    let mut values: Vec<i64> = values.collect();
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
pub(super) mod tests {
    use snapback_core::policy::Rule;

    use super::*;

    pub(crate) fn at(minute: i64) -> Timestamp {
        let start: Timestamp = "2026-01-05T12:00:00Z".parse().unwrap();
        start + SignedDuration::from_mins(minute)
    }

    pub(crate) fn check(name: &str) -> Check {
        Check { name: name.to_owned(), severity: Severity::Critical, rule: Rule::error_rate(0.05) }
    }

    pub(crate) fn given(label: Option<Label>, fault_from: Option<Timestamp>) -> Given {
        Given {
            workload: "checkout".to_owned(),
            at: at(0),
            until: None,
            completed: Some(at(1)),
            replica_set: Some("checkout-5c4b9d7f6".to_owned()),
            label,
            fault_from,
        }
    }

    /// A rollout that is looked at each minute, and that decided in the third.
    pub(crate) fn walked(ending: Ending) -> Walked {
        let is_bad = !matches!(ending, Ending::Passed | Ending::Superseded);
        let result: CheckResult = CheckResult {
            name: "errors".to_owned(),
            severity: Severity::Critical,
            verdict: if is_bad { OfCheck::Breached } else { OfCheck::Passing },
            why: snapback_core::checks::Why::OutsideLimit,
            unit: Unit::Share,
            value: Some(0.124),
            limit: Some(0.05),
            baseline: None,
            requests: Some(500),
            bad: Some(62),
            in_a_row: 0,
            window: None,
            first_bad: None,
            covered: SignedDuration::MAX,
            odds: None,
            record: String::new(),
            message: "12.4% against a limit of 5%".to_owned(),
        };
        let worst = [OfCheck::NoData, OfCheck::Inconclusive, result.verdict];
        Walked {
            looks: (1..).zip(worst).map(|(minute, worst)| Seen { at: at(minute), worst }).collect(),
            ending,
            at: at(3),
            results: vec![result],
            decided_by: if is_bad { vec!["errors".to_owned()] } else { Vec::new() },
            first_bad: is_bad.then(|| at(1)),
        }
    }

    pub(crate) fn report(rows: Vec<Row>) -> Report {
        Report::new(
            "shop/checkout".to_owned(),
            &[check("errors"), check("latency")],
            (at(-10 * 24 * 60), at(0)),
            rows,
            vec!["crashes and traffic were not judged".to_owned()],
        )
    }

    fn back(label: Option<Label>, fault_from: Option<Timestamp>, next: Option<Timestamp>) -> Row {
        Row::walked(&given(label, fault_from), walked(Ending::RolledBack), next)
    }

    #[test]
    fn an_unlabelled_rollback_is_a_false_alarm_unless_the_revision_was_replaced_within_the_hour() {
        assert!(back(None, None, None).false_alarm);
        assert!(back(None, None, Some(at(64))).false_alarm);
        let right = back(None, None, Some(at(63)));
        assert_eq!((right.false_alarm, right.seconds_to_detect), (false, Some(180)));
    }

    #[test]
    fn labels_go_over_what_happened_next() {
        assert!(back(Some(Label::Good), None, Some(at(10))).false_alarm);
        assert!(!back(Some(Label::Bad), None, None).false_alarm);
        let late = back(Some(Label::Bad), Some(at(2)), None);
        assert_eq!((late.false_alarm, late.seconds_to_detect), (false, Some(60)));
        assert!(back(Some(Label::Bad), Some(at(4)), None).false_alarm, "it was not bad yet");
    }

    #[test]
    fn false_alarms_are_scaled_to_thirty_days_and_counted_for_each_check_that_decided() {
        let rows = vec![
            back(Some(Label::Good), None, None),
            back(Some(Label::Bad), None, None),
            Row::walked(&given(Some(Label::Bad), None), walked(Ending::Passed), None),
            Row::walked(&given(Some(Label::Good), None), walked(Ending::Passed), None),
        ];
        let report = report(rows);
        let Summary { rolled_back, false_alarms, false_alarms_per_30_days, .. } = report.summary;
        assert_eq!((rolled_back, false_alarms, false_alarms_per_30_days), (2, 1, 3.0));
        let Summary { bad, bad_rolled_back, good, good_rolled_back, .. } = report.summary;
        assert_eq!((bad, bad_rolled_back, good, good_rolled_back), (2, 1, 2, 1));
        let [errors, latency] = <[OfOne; 2]>::try_from(report.checks).unwrap();
        assert_eq!((errors.breaches, errors.false_alarms, errors.median_seconds_to_detect), (2, 1, Some(180)));
        assert_eq!((latency.breaches, latency.false_alarms_per_30_days), (0, 0.0));
    }

    #[test]
    fn the_names_of_the_json_are_stable() {
        let json = serde_json::to_value(report(vec![back(Some(Label::Bad), None, None)])).unwrap();
        let keys = |value: &serde_json::Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
        assert_eq!(keys(&json), ["checks", "days", "from", "notes", "policy", "rollouts", "summary", "to"]);
        let row = &json["rollouts"][0];
        assert_eq!(
            keys(row).join(" "),
            "afterSeconds at check completed decided decidedBy falseAlarm firstBad knownGood label limit message \
             notJudged replaced revision secondsToDetect unit value verdict workload"
        );
        assert_eq!(row["verdict"], "RolledBack");
        assert_eq!((&row["label"], &row["afterSeconds"], &row["unit"]), (&"bad".into(), &180.into(), &"share".into()));
        assert_eq!(
            keys(&json["checks"][0]).join(" "),
            "breaches falseAlarms falseAlarmsPer30Days kind medianSecondsToDetect name notJudged severity"
        );
        assert_eq!(
            keys(&json["summary"]).join(" "),
            "bad badRolledBack falseAlarms falseAlarmsPer30Days good goodRolledBack medianSecondsToDetect rolledBack \
             rollouts"
        );
    }

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(median([5, 1, 3].into_iter()), Some(3));
        assert_eq!(median([4, 1, 3, 2].into_iter()), Some(2));
        assert_eq!(median(std::iter::empty()), None);
    }
}
