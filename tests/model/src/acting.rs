//! The rollback controller, request by request: `rollback/{mod,commit}.rs` and `workload/undo.rs` of the shell.

use std::sync::Arc;

use snapback_invariants::{Fact, Writer};

use crate::bridge;
use crate::model::Undoing;
use crate::mutant::Mutant;
use crate::world::{Act, INVENTED, Patch, Progress, RecordId, TARGET, World};

impl Undoing {
    /// The step: the record as a cache shows it, the workload as it lives. `None` when there is nothing to do.
    pub(crate) fn step(&self, world: &mut World, process: usize, record: RecordId, lag: usize) -> Option<()> {
        let of = world.records.get(usize::from(record))?;
        let view = Arc::clone(of.versions.get(lag)?);
        if view.is_over() && !self.has(Mutant::EndsAgain) || of.is_dropped {
            return None;
        }
        let revisions = (of.bad, of.good);
        let mut live = world.deployment.clone();
        if self.has(Mutant::UndoesAnything) && live.live != of.good {
            live.live = of.bad;
        }
        let deadline = self.bounds.deadline;
        let (mut next, sends, tells) = bridge::step(revisions, &view, &live, world.source(), world.now, deadline);
        if self.has(Mutant::ForgetsNumber) {
            (next.number, next.generation) = (None, None);
        }
        let undo = sends.then(|| self.patch(world, process, record));
        let ends_again = self.has(Mutant::EndsAgain) && next.is_over();
        let is_fresh = lag == 0;
        let next = match undo {
            Some(undo) if *view == next || self.has(Mutant::ActsBeforeWriting) => {
                Act::Sending { record, is_fresh, committed: view, undo }
            }
            None if *view == next && !ends_again => return None,
            undo => Act::Writing { record, is_fresh, next: Arc::new(next), undo, tells },
        };
        world.processes[process].act = Some(next);
        Some(())
    }

    /// The undo: what is tested is what was read.
    fn patch(&self, world: &World, process: usize, record: RecordId) -> Patch {
        let live = &world.deployment;
        let is_blind = self.has(Mutant::NoTest);
        let good = world.records.get(usize::from(record)).map_or(0, |of| of.good);
        Patch {
            record: Some(record),
            tests: (!is_blind).then_some(live.live),
            generation: (!is_blind && !self.has(Mutant::NoGenerationTest)).then_some(live.generation),
            to: if self.has(Mutant::InventsTemplate) { INVENTED } else { good },
            awaited: u8::try_from(process).ok(),
        }
    }

    /// Its next request, and what it tells then.
    pub(crate) fn next_act(&self, world: &mut World, process: usize) -> Option<()> {
        let next = match world.processes[process].act.take()? {
            Act::Writing { record, is_fresh, next, undo, tells } => {
                if is_fresh || self.has(Mutant::NoStatusTest) {
                    self.write_record(world, record, &next);
                    if tells && !self.has(Mutant::ForgetsEvents) {
                        world.tell(&Fact::Told { record, reason: 1 });
                    }
                    undo.map(|undo| Act::Sending { record, is_fresh: true, committed: next, undo })
                } else {
                    None
                }
            }
            Act::Sending { record, is_fresh, committed, undo } => {
                world.send(undo);
                Some(Act::Waiting { record, is_fresh, committed })
            }
            // The answer comes by `deliver`.
            waiting @ Act::Waiting { .. } => {
                world.processes[process].act = Some(waiting);
                return None;
            }
        };
        world.processes[process].act = next;
        Some(())
    }

    /// A patch arrives. Who waits for it hears of it.
    pub(crate) fn deliver(&self, world: &mut World, index: usize) -> Option<()> {
        if index >= world.net.len() {
            return None;
        }
        let Patch { record, tests, generation, to, awaited } = world.net.remove(index);
        let live = &mut world.deployment;
        let is_accepted =
            tests.is_none_or(|tested| tested == live.live) && generation.is_none_or(|tested| tested == live.generation);
        if is_accepted {
            // A template that is the same is no write.
            if live.live != to {
                self.write_spec(world, to);
                world.tell(&Fact::Template { target: TARGET, revision: to, by: Writer::Operator { record } });
            }
        }
        let Some(process) = awaited.map(usize::from) else { return Some(()) };
        let act = &mut world.processes[process].act;
        let next = match act.take() {
            Some(Act::Waiting { record, is_fresh, committed }) if is_accepted => {
                let of = &world.records[usize::from(record)];
                let revisions = (of.bad, of.good);
                let next = bridge::undo_accepted(revisions, &committed, world.now, self.bounds.deadline);
                Some(Act::Writing { record, is_fresh, next: Arc::new(next), undo: None, tells: true })
            }
            // Outdated: it looks again.
            _ => None,
        };
        world.processes[process].act = next;
        Some(())
    }

    /// A new version of a record: who read another one has lost.
    fn write_record(&self, world: &mut World, record: RecordId, next: &Arc<Progress>) {
        let of = &mut world.records[usize::from(record)];
        of.versions.insert(0, Arc::clone(next));
        of.versions.truncate(self.bounds.lag + 1);
        for act in world.processes.iter_mut().filter_map(|process| process.act.as_mut()) {
            match act {
                Act::Writing { record: of, is_fresh, .. }
                | Act::Sending { record: of, is_fresh, .. }
                | Act::Waiting { record: of, is_fresh, .. }
                    if *of == record =>
                {
                    *is_fresh = false;
                }
                _ => {}
            }
        }
        if next.is_over() {
            world.tell(&Fact::Ended { record, phase: 0 });
        }
    }
}
