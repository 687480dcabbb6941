//! Whether the checks have data, asked at rest: before a release depends on them, and now and then while they have none.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use snapback_core::checks::Verdict;
use snapback_core::readiness::{Data, data};
use snapback_core::sample::Missing;
use snapback_core::watch::{Rollout, Target};

use super::checklist::RETRY;
use super::judge::Look;
use super::measure::{results, wanted};
use crate::sampler::{Samples, Wanted};

/// What the checks would have said of the live revision, had its soak ended now. Nothing new where that was asked before and
/// they had data.
pub(super) async fn ask(look: &Look<'_>, state: &Target, now: Timestamp) -> Data {
    let policy = &look.guarded.policy;
    let before = look.readiness_before().map(|told| told.reason.as_str());
    let is_at_rest = state.rollout.is_none() && state.rollback.is_none() && state.known_good.is_some();
    let has_pods = look.live.workload.replicas > 0;
    let is_due = is_at_rest && has_pods && !policy.suspend && before.is_none_or(|before| before == Data::REASON);
    let since = now.checked_sub(policy.soak.duration).ok().filter(|_| is_due);
    let Some(since) = since else { return data(policy, None, &[], now) };

    let rollout = Rollout { started: since, completed: Some(since), returned: None, freeze: None };
    let state = Target { rollout: Some(rollout.clone()), ..state.clone() };
    let wanted = wanted(look, &state, since);
    // Nothing is compared with the time before: whether there was anything is not asked.
    let wanted = Wanted { before: 0, past: false, ..wanted };
    let samples = sample(look, &wanted, now).await;
    let checks = results(policy, &state, &look.live.workload, &samples, &[]);
    let heard = data(policy, Some(&rollout), &checks, now);
    // What was found under traffic is not taken back by silence.
    let is_silent = checks.iter().any(|check| check.verdict == Verdict::NoData);
    if heard == Data::Fine && is_silent && before == Some(Data::REASON) { Data::Unknown } else { heard }
}

/// Asks the source, unless it was found to be away just now: each of many targets would wait for it as long again, while others
/// are to be judged.
async fn sample(look: &Look<'_>, wanted: &Wanted, now: Timestamp) -> Samples {
    let (shared, source) = (look.shared, wanted.source.clone().unwrap_or_default());
    if let Some(away) = shared.away.since(&source, now) {
        return Samples {
            requests: Err(away.clone()),
            latencies: Err(away.clone()),
            past: Vec::new(),
            queries: wanted.queries.keys().map(|check| (check.clone(), Err(away.clone()))).collect(),
            asked: std::collections::BTreeMap::new(),
        };
    }
    let samples = shared.sampler.sample(wanted, now).await;
    shared.sampler.forget(&wanted.key.watcher, &wanted.key.revision, &[]);
    let failures = [samples.requests.as_ref().err(), samples.latencies.as_ref().err()].into_iter().flatten();
    let failures = failures.chain(samples.queries.values().filter_map(|answer| answer.as_ref().err()));
    shared.away.note(&source, failures, now);
    samples
}

/// Sources that were away when they were last asked at rest, and what they failed with.
#[derive(Debug, Default)]
pub struct Away(Mutex<HashMap<String, (Timestamp, Missing)>>);

impl Away {
    fn note<'a>(&self, source: &str, mut failures: impl Iterator<Item = &'a Missing>, now: Timestamp) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match failures.find(|missing| matches!(missing, Missing::Unavailable(_))) {
            Some(away) => _ = map.insert(source.to_owned(), (now, away.clone())),
            None => _ = map.remove(source),
        }
    }

    /// What it failed with, if that is less than half of the time ago after which its targets are looked at again.
    fn since(&self, source: &str, now: Timestamp) -> Option<Missing> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, away) = map.get(source)?;
        (now.duration_since(*at) < RETRY / 2).then(|| away.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_is_away_is_not_asked_for_each_target() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let (away, down) = (Away::default(), Missing::Unavailable("refused".to_owned()));
        assert_eq!(away.since("main", at(0)), None);
        away.note("main", [&Missing::Empty, &down].into_iter(), at(0));
        assert_eq!(away.since("main", at(149)), Some(down.clone()));
        assert_eq!(away.since("other", at(1)), None);
        assert_eq!(away.since("main", at(150)), None, "the next look asks it again");
        away.note("main", [&Missing::Empty].into_iter(), at(150));
        assert_eq!(away.since("main", at(151)), None, "it is there, and has nothing");
    }
}
