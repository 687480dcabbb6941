//! A person's order is looked through before anything is done by it.
//!
//! What a policy decides is looked through before there is a record. A person is to be told at once as well, and does not
//! expect an order to act by itself an hour later: one that cannot work ends, and nothing was changed.

use jiff::Timestamp;

use super::step::end;
use super::{Order, Phase, Progress, Step};
use crate::readiness::Readiness;

/// Whether the order is to be looked through now: at its first look, so that who asks hears of it at once, and when it
/// was approved, for that may be long after.
pub fn is_to_be_looked_through(progress: &Progress, next: &Step) -> bool {
    let is_over = next.progress.phase.is_some_and(Phase::is_terminal);
    let was_approved = progress.approved.is_none() && next.progress.approved.is_some();
    let is_done = next.progress.undo_accepted.is_some();
    !is_over && !is_done && (progress.phase.is_none() || was_approved)
}

/// The end of an order that cannot work. Nothing of the step that would have been is done or noted.
pub fn cannot_work(order: &Order, progress: &Progress, next: Step, found: &Readiness, now: Timestamp) -> Step {
    let message = format!(
        "{} stays, and nothing was changed: {}. When that is mended, create a new Rollback",
        order.from.name(),
        found.message
    );
    let progress = Progress { approved: next.progress.approved, ..progress.clone() };
    let next = Step { progress, notices: Vec::new(), residue: None, ..next };
    end(next, Phase::Failed, found.reason, message, now)
}
