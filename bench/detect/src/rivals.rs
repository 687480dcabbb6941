//! The rules that the field uses, by poll, as their code has them.
//!
//! Sources: fluxcd/flagger `pkg/controller/scheduler.go`, argoproj/argo-rollouts `analysis/analysis.go`
//! (`assessMetricStatus`), spinnaker/kayenta `MannWhitneyClassifier.scala`. Their mistakes are theirs: that no data is a
//! failure, that failures add up for ever, that repeated looks are free.

use snapback_core::analysis::sequential::Tally;

/// What a poll showed: the new pods, and the old ones. `None`: the source was down.
pub(crate) type Poll = Option<(Tally, Tally)>;

/// A rule: at which poll (counted from 0) it would act.
pub(crate) trait Rule: Sync {
    /// Its name in the table.
    fn name(&self) -> String;
    /// The poll at whose end it acts.
    fn acts(&self, polls: &[Poll]) -> Option<usize>;
}

/// Flagger: `threshold` failed polls in total, no data is a failure, and the next poll acts.
pub(crate) struct Flagger {
    /// Failed polls that it takes.
    pub(crate) threshold: usize,
    /// The least share of successes.
    pub(crate) least_success: f64,
}

impl Rule for Flagger {
    fn name(&self) -> String {
        format!("Flagger, threshold {}", self.threshold)
    }

    fn acts(&self, polls: &[Poll]) -> Option<usize> {
        let failed = |poll: &Poll| poll.is_none_or(|(new, _)| new.all <= 0.0 || 1.0 - new.rate() < self.least_success);
        let at = polls.iter().enumerate().filter(|(_, poll)| failed(poll)).nth(self.threshold.checked_sub(1)?)?.0;
        // The tick that counts the last failure only counts; the one after it acts.
        (at + 1 < polls.len()).then_some(at + 1)
    }
}

/// Argo Rollouts: more than `limit` failures in total, or more than four errors in a row.
pub(crate) struct Argo {
    /// Failures that are tolerated.
    pub(crate) limit: usize,
    /// The least share of successes.
    pub(crate) least_success: f64,
    /// Whether no requests are an error (an empty vector is, for `result[0]` fails).
    pub(crate) empty_is_error: bool,
}

impl Rule for Argo {
    fn name(&self) -> String {
        format!("Argo Rollouts, failureLimit {}", self.limit)
    }

    fn acts(&self, polls: &[Poll]) -> Option<usize> {
        let (mut failures, mut errors) = (0, 0);
        for (index, poll) in polls.iter().enumerate() {
            match poll {
                None => errors += 1,
                Some((new, _)) if new.all <= 0.0 && self.empty_is_error => errors += 1,
                Some((new, _)) => {
                    errors = 0;
                    failures += usize::from(new.all > 0.0 && 1.0 - new.rate() < self.least_success);
                }
            }
            if failures > self.limit || errors > 4 {
                return Some(index);
            }
        }
        None
    }
}

/// Kayenta's classifier on the rates per poll, run again every `every` polls: the 98 % interval of the Hodges-Lehmann
/// shift lies as a whole over a quarter of the shift.
pub(crate) struct Kayenta {
    /// Polls between two judgements.
    pub(crate) every: usize,
}

impl Rule for Kayenta {
    fn name(&self) -> String {
        format!("Kayenta (Mann-Whitney), every {}", self.every)
    }

    fn acts(&self, polls: &[Poll]) -> Option<usize> {
        let (mut new, mut old) = (Vec::new(), Vec::new());
        for (index, poll) in polls.iter().enumerate() {
            if let Some((n, o)) = poll {
                new.extend((n.all > 0.0).then(|| n.rate()));
                old.extend((o.all > 0.0).then(|| o.rate()));
            }
            if new.len() >= 5 && old.len() >= 5 && (index + 1) % self.every == 0 && is_high(&new, &old) {
                return Some(index);
            }
        }
        None
    }
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few polls")]
fn is_high(new: &[f64], old: &[f64]) -> bool {
    let mut differences: Vec<f64> = new.iter().flat_map(|x| old.iter().map(move |y| x - y)).collect();
    differences.sort_by(f64::total_cmp);
    let pairs = differences.len();
    let (n, m) = (new.len() as f64, old.len() as f64);
    let spread = 2.326 * (n * m * (n + m + 1.0) / 12.0).sqrt();
    let low = ((n * m / 2.0 - spread).floor().max(0.0) as usize).min(pairs - 1);
    let shift = if pairs % 2 == 1 {
        differences[pairs / 2]
    } else {
        f64::midpoint(differences[pairs / 2 - 1], differences[pairs / 2])
    };
    differences[low] > 0.25 * shift.abs() && differences[low] > 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn polls(bad: &[f64]) -> Vec<Poll> {
        bad.iter().map(|bad| Some((Tally::new(100.0, *bad), Tally::new(100.0, 0.0)))).collect()
    }

    #[test]
    fn flagger_counts_for_ever_and_acts_one_poll_later() {
        let rule = Flagger { threshold: 2, least_success: 0.99 };
        assert_eq!(rule.acts(&polls(&[5.0, 0.0, 0.0, 5.0, 0.0])), Some(4));
        assert_eq!(rule.acts(&[None, None, Some((Tally::new(1.0, 0.0), Tally::default()))]), Some(2));
        assert_eq!(rule.acts(&polls(&[5.0, 0.0, 0.0, 5.0])), None);
    }

    #[test]
    fn argo_acts_on_one_failure_more_than_its_limit_and_on_five_errors_in_a_row() {
        let rule = Argo { limit: 1, least_success: 0.95, empty_is_error: true };
        assert_eq!(rule.acts(&polls(&[9.0, 0.0, 9.0])), Some(2));
        assert_eq!(rule.acts(&[None; 5]), Some(4));
        assert_eq!(rule.acts(&[None, None, None, None, polls(&[0.0])[0], None]), None);
    }

    #[test]
    fn kayenta_sees_a_clear_shift_and_no_shift() {
        let rule = Kayenta { every: 1 };
        assert!(rule.acts(&polls(&[20.0, 21.0, 19.0, 22.0, 20.0, 21.0])).is_some());
        assert_eq!(rule.acts(&polls(&[0.0; 12])), None);
    }
}
