//! What every reconcile may use.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use snapback_api::v1alpha1::Rollback;
use snapback_core::history::History;
use snapback_core::ids::WorkloadUid;
use snapback_core::permission::{Limits, Past};
use snapback_core::policy::ConfigMode;
use tokio::time::Instant;

use crate::announce::Announcer;
use crate::config::{FeaturesConfig, GitOpsConfig};
use crate::lists::Lists;
use crate::pod_watch::PodWatches;
use crate::policy::{Away, Retries};
use crate::rollback::probe::Prober;
use crate::sampler::Sampler;
use crate::telemetry::Metrics;
use crate::watched::Watched;
use crate::workload::ConfigRules;

/// The clock. Injected, so that tests can hold it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The shell's tools.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// Metadata of all workloads, from one watch a kind.
    pub workloads: Watched,
    /// Which first lists are in.
    pub(crate) lists: Lists,
    /// The metrics sources.
    pub sampler: Sampler,
    /// Asks pods after an undo.
    pub prober: Prober,
    /// Pod watches of the targets that are judged now.
    pub pod_watches: PodWatches,
    /// Events.
    pub announcer: Announcer,
    /// Our own metrics.
    pub metrics: Arc<Metrics>,
    /// The time.
    pub clock: Clock,
    /// How often we may act alone.
    pub limits: Limits,
    /// How long records are kept.
    pub history: History,
    /// What the administrator turned on.
    pub features: FeaturesConfig,
    /// The GitOps tools that may be held.
    pub gitops: GitOpsConfig,
    /// Whether all holds are to end, since the operator is being uninstalled.
    pub ends_holds: bool,
    /// Targets that look bad now.
    pub bad_now: BadNow,
    /// When what stands in the way of a rollback was last looked at.
    pub retries: Retries,
    /// Sources that were away when targets at rest were looked at.
    pub away: Away,
    /// All records, for the question what was decided lately.
    pub records: Store<DeserializeGuard<Rollback>>,
    /// When this process began to work.
    pub started: Timestamp,
    /// Records that ended before that, whose end was told again.
    pub retold: Mutex<BTreeSet<String>>,
    /// Failures in a row, by object: kube's controller keeps no backoff per object.
    pub failures: Failures,
}

impl Context {
    /// The time, in whole seconds: what is stored and read back is the same.
    pub fn now(&self) -> Timestamp {
        let now = (self.clock)();
        Timestamp::from_second(now.as_second()).unwrap_or(now)
    }
}

impl Context {
    /// Whether the end of this record is told again for the first time.
    pub(crate) fn retold(&self, record: &str) -> bool {
        self.retold.lock().unwrap_or_else(PoisonError::into_inner).insert(record.to_owned())
    }

    /// What becomes of the configuration under a policy: what that wants, as far as the administrator allows it.
    pub fn config_rules(&self, mode: ConfigMode) -> ConfigRules {
        ConfigRules { mode, secrets: self.features.secrets_in_config_restore }
    }

    /// What policies decided within the longest time that anybody asks about. What people undo by hand neither uses up nor
    /// brakes what may be done without them.
    pub fn past(&self) -> Vec<Past> {
        let records = self.records.state();
        let readable = records.iter().filter_map(|record| record.0.as_ref().ok());
        let decided = readable.filter(|record| !record.is_by_hand()).filter_map(|record| {
            Some(Past {
                namespace: record.metadata.namespace.clone().unwrap_or_default(),
                uid: WorkloadUid::new(record.ordered()?.uid),
                decided: record.decided_at().0,
                automatic: record.spec.require_approval != Some(true),
            })
        });
        decided.collect()
    }
}

/// Targets that look bad now, and since which look. In memory only: a restart fills it again within one look at each.
#[derive(Debug, Default)]
pub struct BadNow(Mutex<HashMap<WorkloadUid, Timestamp>>);

impl BadNow {
    /// Notes how a target looks. Those that did not look bad within this time are forgotten: they may be deleted, and then
    /// nobody would ever note that they are well.
    pub fn note(&self, uid: &WorkloadUid, bad: bool, window: SignedDuration, now: Timestamp) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.retain(|_, at| now.duration_since(*at) < window);
        if bad {
            map.insert(uid.clone(), now);
        } else {
            map.remove(uid);
        }
    }

    /// Those that looked bad within this time.
    pub fn within(&self, window: SignedDuration, now: Timestamp) -> BTreeSet<WorkloadUid> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.retain(|_, at| now.duration_since(*at) < window);
        map.keys().cloned().collect()
    }
}

/// Failures in a row, by object, and when the last one was.
#[derive(Debug, Default)]
pub struct Failures(Mutex<HashMap<String, (u32, Instant)>>);

/// Whatever has not failed for so long is not tried any more: it was deleted. The longest wait for the next try is a third.
const FORGOTTEN: Duration = Duration::from_mins(15);

impl Failures {
    /// One more; how many now.
    pub fn failed(&self, object: &str, now: Instant) -> u32 {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.retain(|_, (_, last)| now.saturating_duration_since(*last) < FORGOTTEN);
        let (count, last) = map.entry(object.to_owned()).or_insert((0, now));
        (*count, *last) = (count.saturating_add(1), now);
        *count
    }

    /// All is well again.
    pub fn reset(&self, object: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_that_were_deleted_while_they_looked_bad_are_forgotten() {
        let (bad_now, window) = (BadNow::default(), SignedDuration::from_mins(5));
        let at = |minute: i64| Timestamp::from_second(60 * minute).unwrap();
        for target in 0..100 {
            bad_now.note(&WorkloadUid::new(format!("uid-{target}")), true, window, at(target));
        }
        assert_eq!(bad_now.0.lock().unwrap().len(), 5, "those of the last five minutes");
        bad_now.note(&WorkloadUid::new("uid-99"), false, window, at(99));
        assert_eq!(bad_now.within(window, at(99)).len(), 4, "one is well again");
    }

    #[test]
    fn objects_that_were_deleted_while_they_failed_are_forgotten() {
        let (failures, start) = (Failures::default(), Instant::now());
        for minute in 0..100 {
            failures.failed(&format!("shop/{minute}"), start + Duration::from_secs(60 * minute));
        }
        assert_eq!(failures.0.lock().unwrap().len(), 15, "those of the last quarter of an hour");
    }

    #[test]
    fn what_fails_on_is_not_forgotten_however_long_it_waits() {
        let (failures, mut now) = (Failures::default(), Instant::now());
        for count in 1..=20 {
            assert_eq!(failures.failed("shop/checkout", now), count);
            now += Duration::from_mins(5);
        }
        failures.reset("shop/checkout");
        assert_eq!(failures.failed("shop/checkout", now), 1);
    }
}
