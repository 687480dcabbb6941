//! Who played in a rollout: which pods were new, which were old, when it was complete, and when the next one took over.
//!
//! History has no ReplicaSets, but pods carry their names: `checkout-7d9f8c6b5-x2x4z` is one of `checkout-7d9f8c6b5`. What
//! had no pod before a rollout and has some after it is new.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use jiff::Timestamp;
use snapback_core::fingerprint::Fingerprint;
use snapback_core::ids::ReplicaSetUid;
use snapback_core::sample::PodSeries;
use snapback_core::workload::Revision;

use super::given::Given;

/// The letters of a template's hash and of a pod's random suffix (`k8s.io/apimachinery` `util/rand`).
const LETTERS: &str = "[bcdfghjklmnpqrstvwxz2456789]";

/// Random characters of a pod's name.
const SUFFIX: usize = 5;

/// The longest name of a Deployment whose pods show the whole name of their ReplicaSet: 58 characters, without a dash, ten
/// of the hash, and a dash.
const LONGEST: usize = 46;

/// A pattern of all pods of a Deployment, of whatever ReplicaSet.
///
/// # Errors
/// The names of its pods do not show their ReplicaSet.
pub(crate) fn pods_of(deployment: &str) -> anyhow::Result<String> {
    if deployment.len() > LONGEST {
        bail!("its name is longer than {LONGEST} characters, so its pods' names do not show their ReplicaSet");
    }
    let name = deployment.replace('.', "[.]");
    Ok(format!("{name}-{LETTERS}{{1,10}}-{LETTERS}{{{SUFFIX}}}"))
}

/// When each pod was there.
#[derive(Debug, Default)]
pub(crate) struct Presence(BTreeMap<String, BTreeSet<Timestamp>>);

impl Presence {
    /// From any series of the pods.
    pub(crate) fn of(series: &[PodSeries]) -> Self {
        let mut pods: BTreeMap<String, BTreeSet<Timestamp>> = BTreeMap::new();
        for one in series {
            pods.entry(one.pod.clone()).or_default().extend(one.points.iter().map(|(at, _)| *at));
        }
        Self(pods)
    }

    fn instants(&self) -> BTreeSet<Timestamp> {
        self.0.values().flatten().copied().collect()
    }

    /// The pods that were there at an instant.
    fn at(&self, instant: Timestamp) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(_, times)| times.contains(&instant)).map(|(pod, _)| pod.as_str())
    }

    /// All ReplicaSets that ever had a pod.
    fn sets(&self) -> BTreeSet<&str> {
        self.0.keys().filter_map(|pod| set_of(pod)).collect()
    }
}

/// The ReplicaSet of a pod, by its name.
fn set_of(pod: &str) -> Option<&str> {
    let (set, suffix) = pod.rsplit_once('-')?;
    (suffix.len() == SUFFIX).then_some(set)
}

/// The players of one rollout.
#[derive(Debug, Clone)]
pub(crate) struct Cast {
    /// The revision that was rolled out.
    pub(crate) new: Fingerprint,
    /// The one that had the most pods when it began.
    pub(crate) before: Option<Fingerprint>,
    /// All of them.
    pub(crate) revisions: Vec<Revision>,
    /// When only new pods were left.
    pub(crate) completed: Option<Timestamp>,
    /// When the next revision took over, or an old one again.
    pub(crate) replaced: Option<Timestamp>,
}

impl Cast {
    /// The ReplicaSets of a revision.
    pub(crate) fn sets(&self, revision: &Fingerprint) -> Vec<String> {
        self.revisions.iter().filter(|one| one.fingerprint == *revision).map(|one| one.name.clone()).collect()
    }

    /// The revision as people know it: the last part of its ReplicaSet's name.
    pub(crate) fn name(&self, revision: &Fingerprint) -> String {
        let set = self.revisions.iter().find(|one| one.fingerprint == *revision).map(|one| one.name.as_str());
        set.unwrap_or_else(|| revision.short()).to_owned()
    }

    fn revision_of(&self, pod: &str) -> Option<&Fingerprint> {
        let set = set_of(pod)?;
        self.revisions.iter().find(|one| one.name == set).map(|one| &one.fingerprint)
    }
}

/// Finds the players of a rollout. `known` are the fingerprints of ReplicaSets that still exist: two of them may be of one
/// template, after a restart. `is_ready` tells whether a pod was ready at an instant, if that is known.
///
/// # Errors
/// No new pod appeared, or what is called new was there before.
pub(crate) fn cast(
    given: &Given,
    presence: &Presence,
    known: &BTreeMap<String, Fingerprint>,
    is_ready: impl Fn(&str, Timestamp) -> Option<bool>,
) -> anyhow::Result<Cast> {
    let fingerprint = |set: &str| known.get(set).cloned().unwrap_or_else(|| Fingerprint::recorded(set));
    let instants = presence.instants();
    let before = before(given, presence, &instants, &fingerprint);
    let old: BTreeSet<Fingerprint> = instants
        .range(..=given.at)
        .flat_map(|at| presence.at(*at))
        .filter_map(set_of)
        .map(fingerprint)
        .filter(|one| given.replica_set.as_deref().map(fingerprint).as_ref() != Some(one))
        .collect();
    let new = match given.replica_set.as_deref().map(fingerprint) {
        Some(new) => new,
        None => first_new(given, presence, &instants, &old, &fingerprint)?,
    };
    if before.as_ref() == Some(&new) {
        bail!("its template is that of the pods before: there is nothing new to judge");
    }
    let revisions = presence.sets().into_iter().map(|set| revision(set, fingerprint(set)));
    let mut cast = Cast { new, before, revisions: revisions.collect(), completed: None, replaced: None };
    if !cast.revisions.iter().any(|one| one.fingerprint == cast.new) {
        bail!("no pod of its ReplicaSet was ever scraped");
    }

    let is_new = |pod: &&str| cast.revision_of(pod) == Some(&cast.new);
    let (mut completed, mut replaced, mut was_there) = (None, None, false);
    for at in instants.range(given.at..).skip_while(|at| **at <= given.at) {
        let (new, others): (Vec<&str>, Vec<&str>) = presence.at(*at).partition(is_new);
        was_there |= !new.is_empty();
        let third = others.iter().any(|pod| cast.revision_of(pod).is_some_and(|one| !old.contains(one)));
        if was_there && (third || (new.is_empty() && !others.is_empty())) {
            replaced = Some(*at);
            break;
        }
        let all_ready = new.iter().all(|pod| is_ready(pod, *at).unwrap_or(true));
        if completed.is_none() && !new.is_empty() && others.is_empty() && all_ready {
            completed = Some(*at);
        }
    }
    cast.completed = given.completed.or(completed);
    cast.replaced = replaced;
    Ok(cast)
}

/// The revision with the most pods at the last instant before the rollout.
fn before(
    given: &Given,
    presence: &Presence,
    instants: &BTreeSet<Timestamp>,
    fingerprint: &impl Fn(&str) -> Fingerprint,
) -> Option<Fingerprint> {
    let mut pods: BTreeMap<Fingerprint, usize> = BTreeMap::new();
    for set in presence.at(*instants.range(..=given.at).next_back()?).filter_map(set_of) {
        *pods.entry(fingerprint(set)).or_default() += 1;
    }
    pods.into_iter().max_by_key(|(_, count)| *count).map(|(one, _)| one)
}

/// The first revision to appear that was not there before.
fn first_new(
    given: &Given,
    presence: &Presence,
    instants: &BTreeSet<Timestamp>,
    old: &BTreeSet<Fingerprint>,
    fingerprint: &impl Fn(&str) -> Fingerprint,
) -> anyhow::Result<Fingerprint> {
    let after = instants.range(given.at..);
    let mut appeared = after.flat_map(|at| presence.at(*at)).filter_map(set_of).map(fingerprint);
    match appeared.find(|one| !old.contains(one)) {
        Some(new) => Ok(new),
        None if presence.0.is_empty() => bail!("no pod of it was scraped at that time"),
        None => bail!("no pod of a new ReplicaSet appeared: `at` must be before the first of them"),
    }
}

fn revision(set: &str, fingerprint: Fingerprint) -> Revision {
    Revision {
        fingerprint,
        name: set.to_owned(),
        uid: ReplicaSetUid::new(set),
        images: Vec::new(),
        called: Vec::new(),
        number: 0,
        created: Timestamp::UNIX_EPOCH,
        desired: 1,
        replicas: 1,
        available: 1,
        observed: true,
    }
}

#[cfg(test)]
mod tests {
    use snapback_core::sample::Counts;

    use super::*;

    const OLD: &str = "checkout-7d9f8c6b5";
    const NEW: &str = "checkout-5c4b9d7f6";
    const NEXT: &str = "checkout-9bb8c7dd4";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Pods that were there from one instant to another, each 30 s.
    fn presence(pods: &[(&str, &str, i64, i64)]) -> Presence {
        let series = pods.iter().map(|(set, suffix, from, to)| PodSeries {
            pod: format!("{set}-{suffix}"),
            counts: Counts::Scraped,
            key: "up".to_owned(),
            points: (from / 30..=to / 30).map(|step| (at(step * 30), 1.0)).collect(),
        });
        Presence::of(&series.collect::<Vec<_>>())
    }

    fn given(replica_set: Option<&str>) -> Given {
        Given {
            workload: "checkout".to_owned(),
            at: at(600),
            until: None,
            completed: None,
            replica_set: replica_set.map(str::to_owned),
            label: None,
            fault_from: None,
        }
    }

    fn found(presence: &Presence, given: &Given) -> anyhow::Result<Cast> {
        cast(given, presence, &BTreeMap::new(), |_, _| None)
    }

    #[test]
    fn what_had_no_pod_before_is_new_and_it_is_complete_when_only_new_pods_are_left() {
        let there = presence(&[(OLD, "aaaaa", 0, 720), (OLD, "bbbbb", 0, 660), (NEW, "ccccc", 660, 3000)]);
        let cast = found(&there, &given(None)).unwrap();
        assert_eq!((cast.new.as_str(), cast.before.unwrap().as_str()), (NEW, OLD));
        assert_eq!((cast.completed, cast.replaced), (Some(at(750)), None));
    }

    #[test]
    fn new_pods_that_are_not_ready_do_not_complete_it() {
        let there = presence(&[(OLD, "aaaaa", 0, 720), (NEW, "ccccc", 660, 3000)]);
        let ready = |_: &str, instant: Timestamp| Some(instant >= at(900));
        let cast = cast(&given(None), &there, &BTreeMap::new(), ready).unwrap();
        assert_eq!(cast.completed, Some(at(900)));
    }

    #[test]
    fn the_next_revision_takes_over_and_so_does_an_old_one_that_is_put_back() {
        let next = presence(&[(OLD, "aaaaa", 0, 720), (NEW, "ccccc", 660, 1500), (NEXT, "ddddd", 1200, 3000)]);
        assert_eq!(found(&next, &given(None)).unwrap().replaced, Some(at(1200)));
        let undone = presence(&[(OLD, "aaaaa", 0, 720), (NEW, "ccccc", 660, 1500), (OLD, "ddddd", 1200, 3000)]);
        let cast = found(&undone, &given(None)).unwrap();
        assert_eq!(cast.replaced, Some(at(1530)), "while new pods are left, an old one may only have moved");
    }

    #[test]
    fn a_restart_of_the_new_template_is_the_same_revision() {
        let there = presence(&[(OLD, "aaaaa", 0, 720), (NEW, "ccccc", 660, 1500), (NEXT, "ddddd", 1200, 3000)]);
        let same = Fingerprint::recorded("same");
        let known = BTreeMap::from([(NEW.to_owned(), same.clone()), (NEXT.to_owned(), same.clone())]);
        let cast = cast(&given(Some(NEW)), &there, &known, |_, _| None).unwrap();
        assert_eq!((cast.replaced, cast.sets(&same).len()), (None, 2));
    }

    #[test]
    fn what_cannot_be_split_is_said() {
        let old = presence(&[(OLD, "aaaaa", 0, 3000)]);
        let why = |presence: &Presence, set| found(presence, &given(set)).unwrap_err().to_string();
        assert!(why(&old, None).contains("`at` must be before the first of them"));
        assert!(why(&old, Some(OLD)).contains("nothing new to judge"));
        assert!(why(&old, Some(NEW)).contains("no pod of its ReplicaSet"));
        assert!(why(&Presence::default(), None).contains("no pod of it was scraped"));
    }

    #[test]
    fn the_pods_of_a_neighbour_are_not_asked_for() {
        let pattern = regex::Regex::new(&format!("^(?:{})$", pods_of("checkout").unwrap())).unwrap();
        assert!(pattern.is_match("checkout-7d9f8c6b5-x2x4z"));
        for other in ["checkout-worker-x2x4z", "checkout-api-7d9f8c6b5-x2x4z", "checkout-7d9f8c6b5-x2x4z-b"] {
            assert!(!pattern.is_match(other), "{other}");
        }
        assert!(pods_of(&"a".repeat(47)).unwrap_err().to_string().contains("longer than 46"));
    }
}
