//! Failing pods among the new pods. From the pods themselves: no metrics source, no waiting.

use jiff::SignedDuration;

use super::{CheckResult, Measured, Unit, Verdict, Why};
use crate::policy::Check;
use crate::workload::PodFacts;

/// Judges the pods as they are now.
///
/// Breached when the failing share of the new pods is over `max` and it is more than one pod's bad luck: at least two
/// pods, or every new pod. When the old pods fail just as much, it is not the release.
pub(super) fn evaluate(check: &Check, max: f64, measured: &Measured<'_>) -> CheckResult {
    let Failing { pods: failing, of: pods } = Failing::among(measured.workload.pods_of(measured.revision));
    let Failing { pods: old_failing, of: old_pods } = Failing::among(measured.workload.pods_not_of(measured.revision));
    let old_share = Failing::share(old_failing.len(), old_pods);
    let value = Failing::share(failing.len(), pods);
    let over = value.is_some_and(|value| value > max);
    let luck = failing.len() < 2 && failing.len() < pods;

    let (verdict, why, message) = if pods == 0 {
        (Verdict::NoData, Why::NoPods, "no pod of this revision yet".to_owned())
    } else if over && luck {
        (Verdict::Inconclusive, Why::CountingUp, describe(&failing, pods))
    } else if over && old_share.is_some_and(|share| share > max) {
        let message = format!("{}; {} of {old_pods} old pods fail too", describe(&failing, pods), old_failing.len());
        (Verdict::Inconclusive, Why::ExternalCause, message)
    } else if over {
        (Verdict::Breached, Why::OutsideLimit, describe(&failing, pods))
    } else if failing.is_empty() {
        (Verdict::Passing, Why::WithinLimit, format!("0 of {pods} pods fail"))
    } else {
        (Verdict::Passing, Why::WithinLimit, describe(&failing, pods))
    };
    CheckResult {
        name: check.name.clone(),
        severity: check.severity,
        verdict,
        why,
        unit: Unit::Share,
        value,
        limit: Some(max),
        baseline: old_share,
        requests: None,
        bad: None,
        in_a_row: 0,
        window: None,
        first_bad: None,
        covered: SignedDuration::MAX,
        odds: None,
        record: String::new(),
        message,
    }
}

/// Those of some pods that fail. What leaves is no evidence.
pub(crate) struct Failing<'a> {
    /// They.
    pub(crate) pods: Vec<&'a PodFacts>,
    /// How many pods there are.
    pub(crate) of: usize,
}

impl<'a> Failing<'a> {
    /// Counts them.
    pub(crate) fn among(pods: impl Iterator<Item = &'a PodFacts>) -> Self {
        let all: Vec<&PodFacts> = pods.filter(|pod| !pod.leaving).collect();
        let of = all.len();
        Self { pods: all.into_iter().filter(|pod| pod.failure.is_some()).collect(), of }
    }

    /// A part of the whole, from 0 to 1; `None` of nothing.
    pub(crate) fn share(part: usize, whole: usize) -> Option<f64> {
        #[allow(clippy::cast_precision_loss, reason = "numbers of pods")]
        (whole > 0).then(|| part as f64 / whole as f64)
    }
}

fn describe(failing: &[&PodFacts], pods: usize) -> String {
    let first = failing.first().and_then(|pod| pod.failure.as_ref()).map(super::super::workload::Failure::describe);
    format!("{} of {pods} new pods fail: {}", failing.len(), first.unwrap_or_default())
}
