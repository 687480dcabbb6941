//! What it comes to in the end: from any state, when the environment does no more harm, everything comes to rest, and rests
//! where it should.

use snapback_core::watch::Phase;
use snapback_invariants::{Fact, Invariant};

use crate::model::{Undoing, bit};
use crate::world::{Budget, Process, Spec, TARGET, World};

/// Intervals without a change that are rest: longer than anything is waited for.
const QUIET: usize = 6;

/// Intervals after which it should rest.
const LONG: usize = 40;

impl Undoing {
    /// What is broken at rest. A state in which a request is under way, or pods are, leads to one in which none is.
    pub(crate) fn comes_to_rest(&self, world: &World) -> u16 {
        let mut world = world.clone();
        world.left = Budget { applies: 0, scales: 0, crashes: 0, outages: 0, policies: 0 };
        let mut quiet = 0;
        for _ in 0..LONG {
            let before = world.clone();
            self.work(&mut world);
            let is_same = before.deployment == world.deployment
                && before.policy[0] == world.policy[0]
                && before.records.len() == world.records.len()
                && before.records.iter().zip(&world.records).all(|(a, b)| a.newest() == b.newest());
            quiet = if is_same { quiet + 1 } else { 0 };
            if quiet == QUIET {
                break;
            }
            world.tick();
        }
        if quiet < QUIET {
            return world.broken | bit(Invariant::I6);
        }
        let (expected, terminal) = self.expected(&world);
        world.tell(&Fact::Rest { target: TARGET, expected, terminal });
        for _ in 0..2 {
            self.work(&mut world);
        }
        world.broken
    }

    /// Everybody does what there is to do, with caches that are up to date.
    fn work(&self, world: &mut World) {
        if !world.deployment.observed {
            world.deployment.roll();
        }
        _ = world.ready();
        for process in 0..world.processes.len() {
            _ = self.look(world, process, 0);
            while world.processes[process].judge.is_some() {
                _ = self.next_judge(world, process);
            }
            for record in 0..u8::try_from(world.records.len()).unwrap_or_default() {
                _ = self.step(world, process, record, 0);
                while world.processes[process].act.is_some() {
                    if self.next_act(world, process).is_none() {
                        let last = world.net.len() - 1;
                        _ = self.deliver(world, last);
                    }
                }
            }
        }
    }

    /// The revision that should live, and whether nothing waits.
    fn expected(&self, world: &World) -> (Option<u8>, bool) {
        let policy = &world.policy[0];
        let is_over = world.records.iter().all(|record| record.newest().is_over());
        let Some(target) = policy.target.as_ref().filter(|_| policy.spec == Spec::On) else { return (None, is_over) };
        let is_at_rest = matches!(target.phase, Phase::Idle | Phase::Held | Phase::Escalated);
        // A person was called: after as many undos as are allowed, or when the time was over.
        let is_a_persons = match target.reason {
            "Contended" | "Quarantined" => true,
            "RollbackFailed" | "RollbackEscalated" => self.has_deadline(),
            _ => false,
        };
        let expected = match world.deployment.live {
            2 if is_a_persons => None,
            2 => target.known_good,
            live => Some(live),
        };
        (expected, is_over && is_at_rest)
    }
}

impl World {
    /// Whether no request is under way, and all pods are there.
    pub(crate) fn is_calm(&self) -> bool {
        let is_idle = self.processes.iter().all(|process| *process == Process::default());
        let is_rolled_out = self.deployment.observed && self.deployment.serving == self.deployment.live;
        is_idle && is_rolled_out && self.net.is_empty() && self.data
    }
}
