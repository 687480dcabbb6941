//! One rollout after the other: who played in it, what was known good when it began, and what the walk over it came to.

use std::collections::BTreeMap;

use anyhow::bail;
use jiff::Timestamp;
use snapback_core::fingerprint::Fingerprint;

use super::ask::{Asker, Sets, Stretch};
use super::cast::{Cast, Presence, cast, pods_of};
use super::given::Given;
use super::pods::KubeState;
use super::report::{FOLLOWED, Row};
use super::subject::Subject;
use super::walk::{self, Ending, ROLLING_OUT, Story, walk};

/// What is remembered of a workload between two of its rollouts.
#[derive(Debug, Clone, Default)]
struct Memory {
    known_good: Option<Fingerprint>,
    last: Option<Fingerprint>,
}

/// What is replayed, and from where.
pub(crate) struct Replay<'a> {
    pub(crate) asker: Asker<'a>,
    pub(crate) subject: &'a Subject,
    /// The fingerprints of the ReplicaSets that still exist, by workload.
    pub(crate) known: &'a BTreeMap<String, BTreeMap<String, Fingerprint>>,
    /// Where the source's history begins.
    pub(crate) begins: Timestamp,
    /// Where it ends.
    pub(crate) to: Timestamp,
}

impl Replay<'_> {
    /// Plays all rollouts, oldest first.
    pub(crate) async fn all(&self, rollouts: &[Given]) -> Vec<Row> {
        let mut memories: BTreeMap<&str, Memory> = BTreeMap::new();
        let mut rows = Vec::new();
        for (index, one) in rollouts.iter().enumerate() {
            let later = rollouts.iter().skip(index + 1).find(|later| later.workload == one.workload);
            let memory = memories.entry(one.workload.as_str()).or_default();
            let played = self.one(one, later.map(|later| later.at), memory).await;
            rows.push(played.unwrap_or_else(|error| Row::unknown(one, format!("{error:#}"))));
        }
        rows
    }

    /// Plays one. `next` is when the next one of its workload began.
    async fn one(&self, given: &Given, next: Option<Timestamp>, memory: &mut Memory) -> anyhow::Result<Row> {
        let Subject { policy, .. } = self.subject;
        if given.at < self.begins {
            bail!("the source's history begins only at {}", self.begins);
        }
        let step = policy.soak.interval;
        let since = Timestamp::from_second(given.at.as_second())?;
        let given = &Given { at: since, ..given.clone() };
        let before = since.checked_sub(step * i32::try_from(policy.soak.looks())?)?;
        let longest = ROLLING_OUT + policy.soak.longest;
        let pattern = pods_of(&given.workload)?;
        let seen = Stretch { from: before, to: self.to.min(since.checked_add(longest + FOLLOWED)?), step };
        let there = Presence::of(&self.asker.presence(&pattern, seen).await?);
        let kept = KubeState::ask(&self.asker, &pattern, seen).await?;
        let known = self.known.get(&given.workload).cloned().unwrap_or_default();
        let cast = cast(given, &there, &known, |pod, at| kept.is_ready(pod, at))?;
        let good = memory.good(&cast);
        memory.last = Some(cast.new.clone());
        memory.known_good.clone_from(&good);
        if good.as_ref() == Some(&cast.new) {
            bail!("it went back to the known good revision: nothing is judged");
        }

        let completed = cast.completed;
        let took_over = [cast.replaced, next, given.until].into_iter().flatten().min();
        let last = completed.unwrap_or(since.checked_add(ROLLING_OUT)?).checked_add(policy.soak.longest)?;
        let replaced = took_over.filter(|at| *at <= last);
        let end = [Some(last), replaced, Some(self.to)].into_iter().flatten().min().unwrap_or(last);
        let sets =
            Sets { old: good.as_ref().map(|good| cast.sets(good)).unwrap_or_default(), new: cast.sets(&cast.new) };
        let stretch = Stretch { from: before, to: end, step };
        let history = self.asker.history(policy, &given.workload, &sets, since, stretch).await;
        let story = Story {
            workload: &given.workload,
            since,
            end,
            is_replaced: replaced.is_some_and(|at| at <= self.to),
            completed,
            new: cast.new.clone(),
            known_good: good.clone(),
            revisions: cast.revisions.clone(),
            history,
            knows_pods: kept.is_there(),
        };
        let walked = walk(policy, &story, |at| kept.pods(&story.revisions, at));
        if matches!(walked.ending, Ending::Passed | Ending::Accepted(_)) {
            memory.known_good = Some(cast.new.clone());
        }
        let row = Row::walked(given, walked, took_over);
        Ok(Row {
            revision: Some(cast.name(&cast.new)),
            known_good: good.map(|good| cast.name(&good)),
            completed,
            replaced: took_over,
            not_judged: walk::untold(policy, story.knows_pods),
            ..row
        })
    }
}

impl Memory {
    /// The known good revision when a rollout begins. What ran before it is adopted, unless it was judged itself and has
    /// not passed.
    fn good(&self, cast: &Cast) -> Option<Fingerprint> {
        let is_followed = cast.before.is_none() || cast.before == self.last || cast.before == self.known_good;
        if is_followed && self.known_good.is_some() { self.known_good.clone() } else { cast.before.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_judged_and_has_not_passed_is_not_adopted() {
        let revision = |name: &str| Some(Fingerprint::recorded(name));
        let cast = |before: &str| Cast {
            new: Fingerprint::recorded("new"),
            before: revision(before),
            revisions: Vec::new(),
            completed: None,
            replaced: None,
        };
        assert_eq!(Memory::default().good(&cast("a")), revision("a"), "what runs when it is first seen");
        let memory = Memory { known_good: revision("a"), last: revision("b") };
        assert_eq!(memory.good(&cast("b")), revision("a"), "b was found bad, or never judged to the end");
        assert_eq!(memory.good(&cast("a")), revision("a"));
        assert_eq!(memory.good(&cast("c")), revision("c"), "a rollout that nobody gave us lies in between");
    }
}
