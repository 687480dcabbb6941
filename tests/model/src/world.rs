//! The state of the model: what the API server holds, what is on its way, and where each process stands.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use snapback_core::rollback;
use snapback_core::watch::Phase;
use snapback_invariants::{Check, Fact, Invariant};

/// Time, in intervals of the policy.
pub type Tick = u8;

/// A revision: 1 and 3 are good, 2 is bad.
pub type Rev = u8;

/// A record, by the order of creation.
pub type RecordId = u8;

/// The only target.
pub const TARGET: u8 = 0;

/// A template that nobody ever applied.
pub const INVENTED: Rev = 9;

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    /// Now.
    pub now: Tick,
    /// The workload.
    pub deployment: Deployment,
    /// The workload before the last write of its spec; only a seeded bug looks at it.
    pub before: Option<Deployment>,
    /// Versions of the policy, newest first; as many as a cache may be behind, and one.
    pub policy: Vec<Arc<Policy>>,
    /// The records.
    pub records: Vec<Record>,
    /// Undo patches on their way.
    pub net: Vec<Patch>,
    /// The operator's processes.
    pub processes: Vec<Process>,
    /// Whether the source of metrics answers.
    pub data: bool,
    /// What the source has: two bits for each tick, the revision whose pods were measured in it, or none.
    pub points: u128,
    /// What the environment may still do.
    pub left: Budget,
    /// What the history says so far, for the invariants.
    pub history: History,
    /// The invariants that are broken, a bit each.
    pub broken: u16,
}

/// The check of the invariants, with its hash: it is asked for far more often than it changes.
#[derive(Debug, Clone, Default)]
pub struct History {
    check: Arc<Check<u8>>,
    hash: u64,
}

impl History {
    /// Takes one more fact in, and gives the invariants that it breaks.
    pub fn see(&mut self, fact: &Fact<u8>) -> Vec<Invariant> {
        let check = Arc::make_mut(&mut self.check);
        let broken = check.see(fact).into_iter().map(|(invariant, _)| invariant).collect();
        let mut hasher = DefaultHasher::new();
        check.hash(&mut hasher);
        self.hash = hasher.finish();
        broken
    }
}

impl PartialEq for History {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && (Arc::ptr_eq(&self.check, &other.check) || self.check == other.check)
    }
}

impl Eq for History {}

impl Hash for History {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

/// What the environment may still do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Templates that people apply.
    pub applies: u8,
    /// Changes of the replicas.
    pub scales: u8,
    /// Crashes of a process.
    pub crashes: u8,
    /// Times the source goes down or comes back.
    pub outages: u8,
    /// Suspensions, resumptions and deletions of the policy.
    pub policies: u8,
}

/// The Deployment, and what its controller made of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Deployment {
    /// The live template.
    pub live: Rev,
    /// `metadata.generation`.
    pub generation: u8,
    /// Whether its controller has seen that generation.
    pub observed: bool,
    /// The revision number of each revision's ReplicaSet; 0 where there is none.
    pub numbers: [u8; 3],
    /// The revision whose pods serve.
    pub serving: Rev,
}

impl Deployment {
    /// A write of the spec.
    pub fn write(&mut self, live: Rev) {
        self.live = live;
        self.generation += 1;
        self.observed = false;
    }

    /// The controller takes the newest spec up: an old ReplicaSet that is used again gets a new number.
    pub fn roll(&mut self) {
        self.observed = true;
        let newest = self.numbers.iter().copied().max().unwrap_or_default();
        if let Some(number) = self.numbers.get_mut(usize::from(self.live).wrapping_sub(1))
            && (*number == 0 || *number < newest)
        {
            *number = newest + 1;
        }
    }
}

/// One version of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Policy {
    /// What people want of it.
    pub spec: Spec,
    /// Whether the status speaks of this spec.
    pub is_observed: bool,
    /// What is remembered of the target.
    pub target: Option<Target>,
}

/// What people want of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Spec {
    /// It judges.
    On,
    /// It is suspended.
    Suspended,
    /// It is deleted.
    Deleted,
}

/// `watch::Target` as its status holds it, less texts and names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Where it stands.
    pub phase: Phase,
    /// Why.
    pub reason: &'static str,
    /// The live revision.
    pub current: Rev,
    /// The one to go back to.
    pub known_good: Option<Rev>,
    /// The rollout that is judged.
    pub rollout: Option<Rollout>,
    /// The record that acts.
    pub rollback: Option<RecordId>,
    /// What was rolled back, with its record.
    pub quarantined: Vec<(Rev, RecordId)>,
    /// The generation of the workload that it speaks of.
    pub generation: u8,
    /// Only a seeded bug counts bad windows up.
    pub tally: u8,
}

/// `watch::Rollout`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rollout {
    /// When it was first seen.
    pub started: Tick,
    /// When its pods were there.
    pub completed: Option<Tick>,
    /// The record of its undo, when it is back.
    pub returned: Option<RecordId>,
}

/// A `Rollback`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Record {
    /// Which of the decisions on its bad revision it is: its name.
    pub episode: u8,
    /// The revision to leave.
    pub bad: Rev,
    /// The one to go back to.
    pub good: Rev,
    /// Only a seeded bug drops records.
    pub is_dropped: bool,
    /// Versions of its status, newest first.
    pub versions: Vec<Arc<Progress>>,
}

impl Record {
    /// As it is now.
    pub fn newest(&self) -> &Arc<Progress> {
        &self.versions[0]
    }
}

/// `rollback::Progress` as its status holds it, with the reason. A time that nobody asks for any more is 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Progress {
    /// Where it stands.
    pub phase: Option<rollback::Phase>,
    /// Why.
    pub reason: &'static str,
    /// When the undo was about to be sent.
    pub requested: Option<Tick>,
    /// The good revision's number then.
    pub number: Option<u8>,
    /// The workload's generation then.
    pub generation: Option<u8>,
    /// When it was accepted.
    pub accepted: Option<Tick>,
    /// When the good revision was rolled out.
    pub rolled_out: Option<Tick>,
    /// Since when the checks are inside their limits.
    pub recovered: Option<Tick>,
    /// Whether it has ended.
    pub ended: bool,
}

impl Progress {
    /// Whether nothing follows.
    pub fn is_over(&self) -> bool {
        self.phase.is_some_and(rollback::Phase::is_terminal)
    }
}

/// An undo patch on its way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Patch {
    /// The record that it carries out; what the API server does not know.
    pub record: Option<RecordId>,
    /// The template that it tests; none with a seeded bug.
    pub tests: Option<Rev>,
    /// The generation that it tests; none with a seeded bug.
    pub generation: Option<u8>,
    /// The template that it sets.
    pub to: Rev,
    /// The process that waits for the answer.
    pub awaited: Option<u8>,
}

/// One process of the operator: each of its two controllers does one thing at a time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Process {
    /// The policy controller.
    pub judge: Option<Judge>,
    /// The rollback controller.
    pub act: Option<Act>,
}

/// What a decision is placed with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Order {
    /// The revision to leave.
    pub bad: Rev,
    /// The one to go back to.
    pub good: Rev,
    /// Whether it came back.
    pub returned: bool,
    /// The revision that the evidence is about.
    pub judged: Rev,
    /// Whether a breached check had data.
    pub has_data: bool,
    /// Bad windows in a row.
    pub windows: u8,
}

/// A reconcile of the policy, after its look: what the next request is. `is_fresh` says whether the version that it read
/// is still the newest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Judge {
    /// The last look at the policy.
    Placing {
        /// As above.
        is_fresh: bool,
        /// The state to commit.
        target: Target,
        /// The order to place.
        order: Order,
    },
    /// Reading the records of that name.
    Naming {
        /// As above.
        is_fresh: bool,
        /// The state to commit.
        target: Target,
        /// The order to place.
        order: Order,
    },
    /// Creating the record.
    Creating {
        /// As above.
        is_fresh: bool,
        /// The state to commit.
        target: Target,
        /// The order to place.
        order: Order,
        /// Its name.
        episode: u8,
    },
    /// Writing the status.
    Writing {
        /// As above.
        is_fresh: bool,
        /// The state to commit.
        target: Target,
        /// The record that there is to tell of.
        told: Option<RecordId>,
    },
}

/// A reconcile of a record, after its step.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Act {
    /// Writing the status.
    Writing {
        /// The record.
        record: RecordId,
        /// Whether the version that was read is still the newest.
        is_fresh: bool,
        /// The status.
        next: Arc<Progress>,
        /// The undo to send then.
        undo: Option<Patch>,
        /// Whether there is something to tell.
        tells: bool,
    },
    /// Sending the undo.
    Sending {
        /// The record.
        record: RecordId,
        /// Whether the version that was read or written is still the newest.
        is_fresh: bool,
        /// The status as it is.
        committed: Arc<Progress>,
        /// The undo.
        undo: Patch,
    },
    /// Waiting for the answer.
    Waiting {
        /// The record.
        record: RecordId,
        /// Whether the version that was read or written is still the newest.
        is_fresh: bool,
        /// The status as it is.
        committed: Arc<Progress>,
    },
}
