//! The model: what may happen next, and what then is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use snapback_core::rollback::CONTENDED;
use snapback_invariants::{Fact, Invariant, Writer};
use stateright::{Model, Property};

use crate::bridge::Source;
use crate::mutant::Mutant;
use crate::world::{
    Act, Budget, Deployment, History, Patch, Policy, Process, RecordId, Rev, Spec, TARGET, Tick, World,
};

/// How much of everything there is: what makes the space finite.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Processes of the operator that all believe to lead.
    pub processes: usize,
    /// Versions that a cache may be behind.
    pub lag: usize,
    /// The time at which the environment stops.
    pub ticks: Tick,
    /// The deadline of a rollback.
    pub deadline: Tick,
    /// Revisions that people apply.
    pub revisions: &'static [Rev],
    /// What the environment may do.
    pub budget: Budget,
}

/// The protocol of an undo, with a seeded bug or without.
#[derive(Debug, Clone)]
pub struct Undoing {
    /// How much of everything there is.
    pub bounds: Bounds,
    /// The seeded bug.
    pub mutant: Option<Mutant>,
    /// The situations that were met.
    pub seen: Seen,
}

/// Which of the [`SITUATIONS`] were met.
pub type Seen = Arc<[AtomicBool; SITUATIONS.len()]>;

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A person or a tool applies a revision.
    Apply(Rev),
    /// Somebody changes the replicas: the generation rises, the template stays.
    Scale,
    /// The workload's controller sees the newest spec.
    Roll,
    /// The pods of the live revision are ready, the others gone.
    Ready,
    /// The source of metrics goes down, or comes back.
    Outage,
    /// A person suspends the policy, resumes it or deletes it.
    Spec(Spec),
    /// An interval passes.
    Tick,
    /// A process reconciles the policy, with caches that are so many versions behind.
    Look(usize, usize),
    /// The next request of that.
    Judge(usize),
    /// A process reconciles a record.
    Step(usize, RecordId, usize),
    /// The next request of that.
    Act(usize),
    /// A patch arrives at the API server.
    Deliver(usize),
    /// A process waits no longer for an answer. The patch may still arrive.
    GiveUp(usize),
    /// A process dies and starts again.
    Crash(usize),
}

impl Undoing {
    pub(crate) fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Whether the deadline of a rollback can be reached.
    pub(crate) fn has_deadline(&self) -> bool {
        self.bounds.deadline <= self.bounds.ticks
    }

    pub(crate) fn write_spec(&self, world: &mut World, live: Rev) {
        if self.has(Mutant::StaleLook) {
            world.before = Some(world.deployment.clone());
        }
        world.deployment.write(live);
    }

    fn spec(&self, world: &mut World, spec: Spec) -> Option<()> {
        let newest = Arc::clone(&world.policy[0]);
        if newest.spec == spec || newest.spec == Spec::Deleted {
            return None;
        }
        world.left.policies = world.left.policies.checked_sub(1)?;
        self.write_policy(world, Policy { spec, is_observed: false, target: newest.target.clone() });
        world.tell(&Fact::Policy { target: TARGET, judges: spec == Spec::On });
        Some(())
    }

    fn crash(&self, world: &mut World, process: usize) -> Option<()> {
        let dead = &mut world.processes[process];
        if *dead == Process::default() {
            return None;
        }
        *dead = Process::default();
        world.left.crashes = world.left.crashes.checked_sub(1)?;
        for patch in &mut world.net {
            patch.awaited = patch.awaited.filter(|awaited| usize::from(*awaited) != process);
        }
        if self.has(Mutant::DropsRecords) {
            world.records.iter_mut().for_each(|record| record.is_dropped = true);
        }
        Some(())
    }

    fn happen(&self, world: &mut World, action: Action) -> Option<()> {
        match action {
            Action::Apply(revision) => {
                if revision == world.deployment.live {
                    return None;
                }
                world.left.applies = world.left.applies.checked_sub(1)?;
                self.write_spec(world, revision);
                world.tell(&Fact::Template { target: TARGET, revision, by: Writer::Person });
            }
            Action::Scale => {
                world.left.scales = world.left.scales.checked_sub(1)?;
                world.deployment.write(world.deployment.live);
            }
            Action::Roll => {
                if world.deployment.observed {
                    return None;
                }
                world.deployment.roll();
            }
            Action::Ready => world.ready()?,
            Action::Outage => {
                world.left.outages = world.left.outages.checked_sub(1)?;
                world.data = !world.data;
            }
            Action::Spec(spec) => self.spec(world, spec)?,
            Action::Tick => {
                if world.now >= self.bounds.ticks {
                    return None;
                }
                world.tick();
                // Where the deadline matters, neither a request nor a process hangs for as long: one that did, and
                // arrived after the record had ended, could not be told from one that is in time.
                if self.has_deadline() {
                    world.net.clear();
                    world.processes.iter_mut().for_each(|process| process.act = None);
                }
            }
            Action::Look(process, lag) => self.look(world, process, lag)?,
            Action::Judge(process) => self.next_judge(world, process)?,
            Action::Step(process, record, lag) => self.step(world, process, record, lag)?,
            Action::Act(process) => self.next_act(world, process)?,
            Action::Deliver(index) => self.deliver(world, index)?,
            Action::GiveUp(process) => {
                let act = &mut world.processes[process].act;
                if !matches!(act, Some(Act::Waiting { .. })) {
                    return None;
                }
                *act = None;
                for patch in &mut world.net {
                    patch.awaited = patch.awaited.filter(|awaited| usize::from(*awaited) != process);
                }
            }
            Action::Crash(process) => self.crash(world, process)?,
        }
        Some(())
    }
}

impl Model for Undoing {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let mut world = World {
            now: 0,
            deployment: Deployment { live: 1, generation: 1, observed: true, numbers: [1, 0, 0], serving: 1 },
            before: None,
            policy: vec![Arc::new(Policy { spec: Spec::On, is_observed: false, target: None })],
            records: Vec::new(),
            net: Vec::new(),
            processes: vec![Process::default(); self.bounds.processes],
            data: true,
            points: 0,
            left: self.bounds.budget,
            history: History::default(),
            broken: 0,
        };
        world.tell(&Fact::Policy { target: TARGET, judges: true });
        world.tell(&Fact::Template { target: TARGET, revision: 1, by: Writer::Person });
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.broken != 0 {
            return;
        }
        let left = &world.left;
        if left.applies > 0 {
            actions.extend(self.bounds.revisions.iter().map(|revision| Action::Apply(*revision)));
        }
        if left.scales > 0 {
            actions.push(Action::Scale);
        }
        if left.outages > 0 {
            actions.push(Action::Outage);
        }
        if left.policies > 0 {
            actions.extend([Spec::On, Spec::Suspended, Spec::Deleted].map(Action::Spec));
        }
        actions.extend([Action::Roll, Action::Ready, Action::Tick]);
        actions.extend((0..world.net.len()).map(Action::Deliver));
        for (index, process) in world.processes.iter().enumerate() {
            match process.judge {
                Some(_) => actions.push(Action::Judge(index)),
                None => actions.extend((0..=self.bounds.lag).map(|lag| Action::Look(index, lag))),
            }
            match process.act {
                Some(Act::Waiting { .. }) => actions.push(Action::GiveUp(index)),
                Some(_) => actions.push(Action::Act(index)),
                None => {
                    let records = (0..).zip(&world.records).map(|(record, _)| record);
                    let lags = records.flat_map(|record| (0..=self.bounds.lag).map(move |lag| (record, lag)));
                    actions.extend(lags.map(|(record, lag)| Action::Step(index, record, lag)));
                }
            }
            if left.crashes > 0 {
                actions.push(Action::Crash(index));
            }
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        self.happen(&mut next, action)?;
        next.forget();
        if next == *world {
            return None;
        }
        if next.broken == 0 && next.is_calm() {
            next.broken = self.comes_to_rest(&next);
        }
        // A seeded bug may break more; it is asked for one.
        next.broken &= self.mutant.map_or(u16::MAX, |mutant| bit(mutant.breaks()));
        for ((_, is_so), seen) in SITUATIONS.iter().zip(self.seen.iter()) {
            if is_so(&next) {
                seen.store(true, Ordering::Relaxed);
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let holds = |invariant: Invariant| -> Property<Self> {
            match invariant {
                Invariant::I1 => Property::always("I1", |_, world: &World| world.holds(Invariant::I1)),
                Invariant::I2 => Property::always("I2", |_, world: &World| world.holds(Invariant::I2)),
                Invariant::I3 => Property::always("I3", |_, world: &World| world.holds(Invariant::I3)),
                Invariant::I4 => Property::always("I4", |_, world: &World| world.holds(Invariant::I4)),
                Invariant::I5 => Property::always("I5", |_, world: &World| world.holds(Invariant::I5)),
                Invariant::I6 => Property::always("I6", |_, world: &World| world.holds(Invariant::I6)),
                Invariant::I7 => Property::always("I7", |_, world: &World| world.holds(Invariant::I7)),
                Invariant::I8 => Property::always("I8", |_, world: &World| world.holds(Invariant::I8)),
                Invariant::I9 => Property::always("I9", |_, world: &World| world.holds(Invariant::I9)),
            }
        };
        Invariant::ALL.map(holds).into()
    }
}

/// A situation: its name, and whether a state shows it.
pub type Situation = (&'static str, fn(&World) -> bool);

/// Situations that have to be among the states, or the model would show nothing.
pub const SITUATIONS: [Situation; 8] = [
    ("a rollback succeeds", |world| ended(world, "Verified")),
    ("a rollback is superseded", |world| ended(world, "Superseded")),
    ("the bad one is put back while it acts", |world| ended(world, CONTENDED)),
    ("the bad one comes back after it", |world| world.records.len() > 1),
    ("nobody can confirm the cure", |world| ended(world, "NotMeasured")),
    ("a patch is late", |world| world.net.iter().any(|patch| patch.awaited.is_none())),
    ("somebody is called", |world| stands(world, "Contended")),
    ("the newest passes its soak", |world| {
        world.policy[0].target.as_ref().is_some_and(|target| target.known_good == Some(3))
    }),
];

fn ended(world: &World, reason: &str) -> bool {
    world.records.iter().any(|record| record.newest().reason == reason)
}

fn stands(world: &World, reason: &str) -> bool {
    world.policy[0].target.as_ref().is_some_and(|target| target.reason == reason)
}

impl World {
    /// What the source says now.
    pub(crate) fn source(&self) -> Source {
        Source { data: self.data, points: self.points }
    }

    /// Whether an invariant holds so far.
    pub fn holds(&self, invariant: Invariant) -> bool {
        self.broken & bit(invariant) == 0
    }

    pub(crate) fn tell(&mut self, fact: &Fact<u8>) {
        for invariant in self.history.see(fact) {
            self.broken |= bit(invariant);
        }
    }

    /// Two equal patches that nobody waits for are as good as one: the second finds another generation.
    pub(crate) fn send(&mut self, patch: Patch) {
        if !self.net.contains(&patch) {
            self.net.push(patch);
        }
    }

    pub(crate) fn tick(&mut self) {
        if self.data {
            let serving = self.deployment.serving;
            self.points |= u128::from(serving & 3) << (2 * u32::from(self.now));
            if serving == 2 {
                let (from, until) = (i64::from(self.now), i64::from(self.now) + 1);
                self.tell(&Fact::Window { target: TARGET, revision: serving, check: 0, from, until });
            }
        }
        self.now += 1;
    }

    pub(crate) fn ready(&mut self) -> Option<()> {
        let Deployment { live, observed, serving, .. } = self.deployment;
        (observed && serving != live).then(|| self.deployment.serving = live)
    }

    /// Lets go what nobody can ever tell the difference of.
    fn forget(&mut self) {
        let generation = self.deployment.generation;
        self.net.retain(|patch| patch.awaited.is_some() || patch.generation.is_none_or(|tested| tested == generation));
        for index in (0..self.net.len()).rev() {
            if self.net[index].awaited.is_none() && self.net[..index].contains(&self.net[index]) {
                self.net.remove(index);
            }
        }
        let soaks = self.policy.iter().filter_map(|policy| Some(policy.target.as_ref()?.rollout.as_ref()?.started));
        let verified = self.records.iter().flat_map(|record| &record.versions);
        let verified = verified.filter(|known| !known.ended).filter_map(|known| known.rolled_out);
        let since = soaks.chain(verified).min().unwrap_or(self.now);
        self.points = self.points >> (2 * u32::from(since)) << (2 * u32::from(since));
    }
}

/// The bit of an invariant.
pub(crate) fn bit(invariant: Invariant) -> u16 {
    let index = Invariant::ALL.iter().position(|one| *one == invariant).unwrap_or_default();
    1 << index
}
