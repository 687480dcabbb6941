//! A decided rollback whose way is not open, or that we may not take alone.

use super::{Decision, Phase, Standing};
use crate::notice::{Notice, Reason};
use crate::permission::Permission;
use crate::readiness::Readiness;

/// Takes an order back that could not work: putting the good revision back would make an outage of a degradation.
/// Nothing is changed, a person is told exactly why, and the next look decides anew. `before` is the phase before the
/// decision: what is held already is not told again.
pub fn blocked(decision: Decision, before: Phase, readiness: &Readiness) -> Decision {
    held(decision, before, readiness.reason, &readiness.message)
}

/// Carries a permission out: an order that may not be placed without a person asks one, one that may not be placed at
/// all is held like a blocked one.
pub fn permitted(mut decision: Decision, before: Phase, permission: Permission) -> Decision {
    match permission {
        Permission::Act => decision,
        Permission::Ask(why) => {
            if let Some(order) = &mut decision.order {
                let (bad, back) = (order.from.name(), order.to.name());
                let why = order.ask.get_or_insert(why.message);
                let message = format!("{bad} is bad; going back to {back} needs a person's approval ({why})");
                for notice in &mut decision.notices {
                    if notice.reason == Reason::RollbackDecided {
                        notice.message.clone_from(&message);
                    }
                }
                decision.state.phase = Phase::AwaitingApproval;
                decision.state.standing.message = message;
            }
            decision
        }
        Permission::Hold(why) => held(decision, before, &why.reason, &why.message),
    }
}

fn held(mut decision: Decision, before: Phase, reason: &str, why: &str) -> Decision {
    let Some(order) = decision.order.take() else { return decision };
    let message = format!("{} is bad ({}), and {why}", order.from.name(), order.breached.join(", "));
    decision.notices.retain(|notice| notice.reason == Reason::CheckBreached && before != Phase::Held);
    if before != Phase::Held {
        decision.notices.push(Notice::new(Reason::Held, message.clone()));
    }
    decision.state.phase = Phase::Held;
    decision.state.standing = Standing::new(reason, message);
    decision
}
