//! The policy controller, request by request: `policy/{mod,judge,order,commit}.rs` of the shell.

use std::sync::Arc;

use snapback_core::permission::{Limits, may_undo_again};
use snapback_core::rollback::{self, CONTENDED};
use snapback_core::watch::Phase;
use snapback_invariants::{Cause, Fact};

use crate::bridge;
use crate::model::Undoing;
use crate::mutant::Mutant;
use crate::world::{Deployment, Judge, Order, Patch, Policy, Progress, Record, RecordId, Spec, TARGET, Target, World};

/// Times that a revision is undone again when it comes back.
const RETURNS: u32 = 1;

impl Undoing {
    /// The look: the policy as a cache shows it, the workload and the record as they live. `None` when there is nothing
    /// to do.
    pub(crate) fn look(&self, world: &mut World, process: usize, lag: usize) -> Option<()> {
        // With that seeded bug it is the workload that is late.
        let (lag, is_late) = if self.has(Mutant::StaleLook) { (0, lag > 0) } else { (lag, false) };
        let view = Arc::clone(world.policy.get(lag)?);
        let is_suspended = view.spec == Spec::Suspended && !self.has(Mutant::IgnoresSuspend);
        if view.spec == Spec::Deleted {
            return None;
        }
        let known = view.target.as_ref();
        if is_suspended && known.is_none_or(|known| known.rollback.is_none()) {
            return None;
        }
        if known.is_some_and(|known| is_settled(world, &view, known, lag)) {
            return None;
        }
        let live = seen(world, is_late);
        let mut state = bridge::observe(known, &live, world.now);
        if state.rollback.is_none() {
            state.rollback = unknown(world, lag, &state);
        }
        let acting = state.rollback.and_then(|record| world.records.get(usize::from(record)));
        let acting = acting.map(|record| bridge::heard(record.bad, record.newest()));
        let (now, mutant) = (world.now, self.mutant);
        let (target, order) = bridge::decide(&state, &live, world.source(), acting, is_suspended, now, mutant);
        let next = match order {
            Some(order) => Judge::Placing { is_fresh: lag == 0, target, order },
            None if known == Some(&target) && view.is_observed => return None,
            None => Judge::Writing { is_fresh: lag == 0, target, told: None },
        };
        world.processes[process].judge = Some(next);
        Some(())
    }

    /// Its next request.
    pub(crate) fn next_judge(&self, world: &mut World, process: usize) -> Option<()> {
        let next = match world.processes[process].judge.take()? {
            Judge::Placing { is_fresh, target, order } if self.has(Mutant::NoRecord) => {
                let patch = Patch {
                    record: None,
                    tests: Some(order.bad),
                    generation: Some(world.deployment.generation),
                    to: order.good,
                    awaited: None,
                };
                world.send(patch);
                Some(Judge::Writing { is_fresh, target, told: None })
            }
            Judge::Placing { is_fresh, target, order } => {
                let is_blind = self.has(Mutant::NoLastLook) || self.has(Mutant::IgnoresSuspend);
                if !is_blind {
                    world.tell(&Fact::Looked { look: id(process), target: TARGET });
                }
                (is_fresh || is_blind).then_some(Judge::Naming { is_fresh, target, order })
            }
            Judge::Naming { is_fresh, target, order } => self.name(world, is_fresh, target, order),
            Judge::Creating { is_fresh, target, order, episode } => {
                self.create(world, process, is_fresh, target, &order, episode)
            }
            Judge::Writing { is_fresh, target, told } => {
                let newest = &world.policy[0];
                if is_fresh && newest.spec != Spec::Deleted {
                    let spec = newest.spec;
                    self.write_policy(world, Policy { spec, is_observed: true, target: Some(target) });
                    if let Some(record) = told.filter(|_| !self.has(Mutant::ForgetsEvents)) {
                        world.tell(&Fact::Told { record, reason: 0 });
                    }
                }
                None
            }
        };
        world.processes[process].judge = next;
        Some(())
    }

    /// Which record is it? That of the first name that is free, unless an earlier one speaks against it.
    fn name(&self, world: &World, is_fresh: bool, mut target: Target, order: Order) -> Option<Judge> {
        if self.has(Mutant::RandomName) {
            let episode = id(world.records.len());
            return Some(Judge::Creating { is_fresh, target, order, episode });
        }
        let mut undone = 0_usize;
        for episode in 0.. {
            let named = |record: &&Record| record.bad == order.bad && record.episode == episode;
            let Some((index, existing)) = (0..).zip(&world.records).find(|(_, record)| named(record)) else {
                let is_outdated = episode > 0 && seen(world, self.has(Mutant::StaleLook)).live != order.bad;
                if is_outdated && !self.has(Mutant::NoLookBeforeAgain) {
                    return None;
                }
                if undone > 0 {
                    let again = vec![bridge::at(0); undone - 1];
                    if !may_undo_again(&again, &Limits { returns: RETURNS, ..Limits::default() }, bridge::at(0)) {
                        end(&mut target, Phase::Escalated, "Contended");
                        break;
                    }
                }
                return Some(Judge::Creating { is_fresh, target, order, episode });
            };
            match earlier(existing.newest()) {
                Earlier::Void => undone = 0,
                Earlier::Undone => undone += 1,
                Earlier::Acting => {
                    target.rollback = Some(index);
                    break;
                }
                Earlier::Useless => {
                    end(&mut target, Phase::Held, "Quarantined");
                    break;
                }
            }
        }
        Some(Judge::Writing { is_fresh, target, told: None })
    }

    fn create(
        &self,
        world: &mut World,
        process: usize,
        is_fresh: bool,
        mut target: Target,
        order: &Order,
        episode: u8,
    ) -> Option<Judge> {
        let is_taken = |record: &Record| record.bad == order.bad && record.episode == episode;
        if world.records.iter().any(is_taken) && !self.has(Mutant::RandomName) {
            return None;
        }
        let record = id(world.records.len());
        let Order { bad, good, judged, has_data, windows, .. } = *order;
        let cause = if order.returned {
            Cause::Return { judged }
        } else {
            Cause::Breach { judged, has_data, windows: Some(u32::from(windows)) }
        };
        let look = Some(id(process));
        world.records.push(Record {
            episode,
            bad,
            good,
            is_dropped: false,
            versions: vec![Arc::new(Progress::default())],
        });
        world.tell(&Fact::Decided { record, target: TARGET, bad, good, cause, look });
        target.rollback = Some(record);
        Some(Judge::Writing { is_fresh, target, told: Some(record) })
    }

    /// A new version of the policy: who read another one has lost.
    pub(crate) fn write_policy(&self, world: &mut World, policy: Policy) {
        world.policy.insert(0, Arc::new(policy));
        world.policy.truncate(self.bounds.lag + 1);
        for judge in world.processes.iter_mut().filter_map(|process| process.judge.as_mut()) {
            match judge {
                Judge::Placing { is_fresh, .. }
                | Judge::Naming { is_fresh, .. }
                | Judge::Creating { is_fresh, .. }
                | Judge::Writing { is_fresh, .. } => *is_fresh = false,
            }
        }
    }
}

/// What an earlier record says about deciding anew; `policy/order.rs` has the same.
enum Earlier {
    Acting,
    Void,
    Undone,
    Useless,
}

fn earlier(status: &Progress) -> Earlier {
    use rollback::Phase;
    match status.phase {
        None | Some(Phase::AwaitingApproval | Phase::Running | Phase::Verifying) => Earlier::Acting,
        Some(Phase::Superseded | Phase::Rejected) => Earlier::Void,
        Some(Phase::Succeeded) => Earlier::Undone,
        Some(Phase::Failed) if status.reason == CONTENDED => Earlier::Undone,
        Some(Phase::Failed | Phase::Escalated) => Earlier::Useless,
    }
}

/// The workload as the judge sees it.
fn seen(world: &World, is_late: bool) -> Deployment {
    let late = world.before.clone().filter(|_| is_late);
    late.unwrap_or_else(|| world.deployment.clone())
}

fn id(index: usize) -> u8 {
    u8::try_from(index).unwrap_or(u8::MAX)
}

/// Whether nothing can have changed, as the caches show it.
fn is_settled(world: &World, view: &Policy, known: &Target, lag: usize) -> bool {
    let seen = world.deployment.generation.saturating_sub(id(lag)).max(1);
    known.rollout.is_none()
        && known.rollback.is_none()
        && unknown(world, lag, known).is_none()
        && view.is_observed
        && seen == known.generation
}

/// The newest record, when its undo put the known good revision back, and the target does not know of it.
fn unknown(world: &World, lag: usize, state: &Target) -> Option<RecordId> {
    let newest = (0..).zip(&world.records).filter(|(_, record)| record.versions.len() > lag).last();
    let (index, record): (RecordId, &Record) = newest?;
    let status = record.versions.get(lag)?;
    let has_put_back =
        state.known_good == Some(state.current) && record.good == state.current && status.accepted.is_some();
    let is_void = matches!(status.phase, Some(rollback::Phase::Superseded | rollback::Phase::Rejected));
    let is_known = state.quarantined.iter().any(|(_, by)| *by == index);
    (has_put_back && !is_void && !is_known).then_some(index)
}

/// As `policy/quarantine.rs` ends it.
fn end(target: &mut Target, phase: Phase, reason: &'static str) {
    target.phase = phase;
    target.rollout = None;
    target.reason = reason;
}
