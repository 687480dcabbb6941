//! The check, one fact at a time.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Cause, Fact, Id, Invariant, Writer};

/// What breaks which invariant.
type Broken = Vec<(Invariant, String)>;

/// What a history says so far, as far as the invariants go by it.
///
/// It holds no counts and no clock of its own: two histories that cannot be told apart from here on are the same, so a
/// model may keep it in its states.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Check<I: Id = String> {
    targets: BTreeMap<I, Target<I>>,
    records: BTreeMap<I, Record<I>>,
    /// Whether the policy judged at a look.
    looks: BTreeMap<I, bool>,
    /// The windows that were counted, by target, revision and check.
    windows: BTreeMap<(I, I, I), BTreeSet<(i64, i64)>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Target<I> {
    live: Option<I>,
    existed: BTreeSet<I>,
    judges: bool,
    /// What was undone and was not applied since.
    gone: BTreeSet<I>,
    rests: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Record<I> {
    target: I,
    bad: I,
    good: I,
    by_person: bool,
    stage: Stage,
    undone: bool,
    told: bool,
    /// Which of the records this is, for those who cannot tell whose undo they saw.
    number: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    Open,
    Ended,
    Withdrawn,
}

impl<I: Id> Default for Check<I> {
    fn default() -> Self {
        Self { targets: BTreeMap::new(), records: BTreeMap::new(), looks: BTreeMap::new(), windows: BTreeMap::new() }
    }
}

impl<I: Id> Check<I> {
    /// Takes one more fact in, and gives what it breaks.
    pub fn see(&mut self, fact: &Fact<I>) -> Broken {
        let mut broken = Broken::new();
        match fact {
            Fact::Template { target, revision, by: Writer::Person } => {
                let known = self.target(target);
                known.rests = false;
                known.existed.insert(revision.clone());
                known.gone.remove(revision);
                known.live = Some(revision.clone());
            }
            Fact::Template { target, revision, by: Writer::Operator { record } } => {
                self.undo(target, revision, record.as_ref(), &mut broken);
            }
            Fact::Policy { target, judges } => {
                let known = self.target(target);
                (known.rests, known.judges) = (false, *judges);
            }
            Fact::Looked { look, target } => {
                let judges = self.target(target).judges;
                self.looks.insert(look.clone(), judges);
            }
            Fact::Decided { record, target, bad, good, cause, look } => {
                self.decided(record, (target, bad, good), cause, look.as_ref(), &mut broken);
            }
            Fact::Withdrawn { record } => {
                if let Some(known) = self.records.get_mut(record) {
                    known.stage = Stage::Withdrawn;
                }
            }
            Fact::Told { record, .. } => {
                if let Some(known) = self.records.get_mut(record) {
                    known.told = true;
                }
            }
            Fact::Ended { record, phase } => self.ended(record, phase, &mut broken),
            Fact::Window { target, revision, check, from, until } => {
                self.target(target).rests = false;
                let key = (target.clone(), revision.clone(), check.clone());
                let counted = self.windows.entry(key).or_default();
                if let Some((a, b)) = counted.iter().find(|(a, b)| from < b && a < until) {
                    let why = format!("{from}..{until} of {check:?} was counted though {a}..{b} was");
                    broken.push((Invariant::I7, why));
                }
                counted.insert((*from, *until));
            }
            Fact::Rest { target, expected, terminal } => self.rest(target, expected.as_ref(), *terminal, &mut broken),
        }
        broken
    }

    fn target(&mut self, target: &I) -> &mut Target<I> {
        self.targets.entry(target.clone()).or_insert_with(|| Target {
            live: None,
            existed: BTreeSet::new(),
            judges: false,
            gone: BTreeSet::new(),
            rests: false,
        })
    }

    /// We do something: at rest, there is nothing to do.
    fn moves(&mut self, target: &I, what: &str, broken: &mut Broken) {
        if std::mem::take(&mut self.target(target).rests) {
            broken.push((Invariant::I6, format!("{what}, though nothing had changed since {target:?} rested")));
        }
    }

    fn undo(&mut self, target: &I, revision: &I, record: Option<&I>, broken: &mut Broken) {
        self.moves(target, "a template was written", broken);
        let record = record.cloned().or_else(|| self.carried_out(target, revision));
        let known = self.target(target);
        let before = known.live.replace(revision.clone());
        if !known.existed.contains(revision) {
            broken.push((Invariant::I2, format!("{revision:?} was put back, which {target:?} never ran")));
        }
        known.gone.remove(revision);
        known.gone.extend(before.clone());
        let Some((name, decided)) = record.and_then(|name| self.records.get_mut(&name).map(|found| (name, found)))
        else {
            broken.push((Invariant::I3, format!("{revision:?} was put back, and no record says so")));
            return;
        };
        if decided.target != *target || decided.good != *revision {
            let why = format!("{name:?} goes back to {:?} of {:?}, not to {revision:?}", decided.good, decided.target);
            broken.push((Invariant::I3, why));
        }
        if before.as_ref() != Some(&decided.bad) {
            let why = format!("{name:?} is about {:?}, but undid {before:?}", decided.bad);
            broken.push((Invariant::I5, why));
        }
        if decided.undone {
            broken.push((Invariant::I1, format!("{name:?} undid {:?} again", decided.bad)));
        }
        if decided.stage == Stage::Ended {
            broken.push((Invariant::I4, format!("{name:?} undid {:?} after it had ended", decided.bad)));
        }
        decided.undone = true;
    }

    /// The newest open record that says this; else the newest open one.
    fn carried_out(&self, target: &I, good: &I) -> Option<I> {
        let live = self.targets.get(target).and_then(|known| known.live.as_ref());
        let open = self.records.iter().filter(|(_, known)| known.target == *target && known.stage == Stage::Open);
        let newest = open.max_by_key(|(_, known)| {
            let says_this = known.good == *good && Some(&known.bad) == live;
            (says_this, known.number)
        });
        newest.map(|(name, _)| name.clone())
    }

    fn decided(
        &mut self,
        record: &I,
        (target, bad, good): (&I, &I, &I),
        cause: &Cause<I>,
        look: Option<&I>,
        broken: &mut Broken,
    ) {
        let by_person = *cause == Cause::Person;
        if by_person {
            self.target(target).rests = false;
        } else {
            self.moves(target, "a rollback was decided", broken);
        }
        let known = self.target(target);
        let (judges, is_gone) = (known.judges, known.gone.contains(bad));
        let on_it = |known: &&Record<I>| known.target == *target && known.bad == *bad;
        let was_decided = self.records.values().any(|known| on_it(&known));
        let is_open = self.records.values().filter(on_it).any(|known| known.stage == Stage::Open && !known.by_person);
        match cause {
            Cause::Person => {}
            Cause::Breach { judged, has_data, windows } => {
                if judged != bad {
                    broken.push((Invariant::I5, format!("{record:?} is about {bad:?}, but {judged:?} was judged")));
                }
                if !has_data {
                    broken.push((Invariant::I8, format!("{record:?} was decided without any data")));
                }
                let counted = self.windows.iter().filter(|((of, revision, _), _)| of == target && revision == judged);
                let counted = counted.map(|(_, windows)| windows.len()).max().unwrap_or_default();
                if let Some(windows) = windows.filter(|windows| usize::try_from(*windows).is_ok_and(|n| n > counted)) {
                    let why = format!("{record:?} was decided on {windows} bad windows, but there were {counted}");
                    broken.push((Invariant::I7, why));
                }
            }
            Cause::Return { judged } => {
                if judged != bad {
                    broken.push((Invariant::I5, format!("{record:?} is about {bad:?}, but {judged:?} is back")));
                }
                if !was_decided {
                    broken.push((Invariant::I8, format!("{record:?}: {bad:?} was never found bad before")));
                }
            }
        }
        if !by_person {
            let judged_then = look.and_then(|look| self.looks.get(look).copied()).unwrap_or(judges);
            if !judged_then {
                broken.push((Invariant::I9, format!("{record:?} was decided while no policy judged {target:?}")));
            }
            if is_gone || is_open || self.records.contains_key(record) {
                broken
                    .push((Invariant::I1, format!("{record:?}: {bad:?} was decided on, and did not come back since")));
            }
        }
        let number = self.records.len();
        let (target, bad, good) = (target.clone(), bad.clone(), good.clone());
        let (stage, undone, told) = (Stage::Open, false, false);
        let decided = Record { target, bad, good, by_person, stage, undone, told, number };
        self.records.insert(record.clone(), decided);
    }

    fn ended(&mut self, record: &I, phase: &I, broken: &mut Broken) {
        let Some(known) = self.records.get_mut(record) else { return };
        if std::mem::replace(&mut known.stage, Stage::Ended) == Stage::Ended {
            broken.push((Invariant::I4, format!("{record:?} ended again, {phase:?}")));
        }
        let target = known.target.clone();
        self.moves(&target, "a record ended", broken);
    }

    fn rest(&mut self, target: &I, expected: Option<&I>, terminal: bool, broken: &mut Broken) {
        for (name, known) in self.records.iter().filter(|(_, known)| known.target == *target) {
            if known.undone && known.stage == Stage::Open {
                broken.push((Invariant::I4, format!("{name:?} undid {:?}, and never ended", known.bad)));
            }
            if known.undone && known.stage != Stage::Withdrawn && !known.told {
                broken.push((Invariant::I4, format!("{name:?} undid {:?}, and nobody was told", known.bad)));
            }
        }
        let known = self.target(target);
        if let Some(expected) = expected.filter(|expected| known.live.as_ref() != Some(expected)) {
            broken.push((Invariant::I6, format!("{:?} lives, not {expected:?}", known.live)));
        }
        if !terminal {
            broken.push((Invariant::I6, format!("{target:?} rests, and its status still waits")));
        }
        known.rests = true;
    }
}
