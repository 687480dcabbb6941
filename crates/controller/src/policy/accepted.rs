//! Whether the policy is accepted, and whether it is in force: the two conditions of GEP-713, in its words.
//!
//! What is not accepted says nothing of being in force.

use std::collections::BTreeMap;

use snapback_api::v1alpha1::{RollbackPolicy, Summary};

use super::guard::Guarded;
use super::summary::{Said, target_not_found};

/// `Accepted`, and `Enforced` where it is. `summary` says how the policy is.
pub(super) fn conditions(policy: &RollbackPolicy, guarded: &Guarded, summary: &Summary) -> Vec<Said> {
    let said =
        |type_, status, reason: &str, message: &str| (type_, Some(status), reason.to_owned(), message.to_owned());
    if let Some(name) = &guarded.absent {
        return vec![said("Accepted", false, "TargetNotFound", &target_not_found(policy, name))];
    }
    let overridden = &guarded.overridden;
    // By its name there is only one, and it cannot be shared.
    if let (Some(_), Some((name, older))) = (&policy.spec.target_ref, overridden.first_key_value()) {
        return vec![said("Accepted", false, "Conflicted", &conflicted(name, older))];
    }
    let (status, reason, message) = match (guarded.targets.len(), overridden.len()) {
        (0, 1..) => (false, "Overridden", format!("{}; delete those, or this one", older_ones(overridden))),
        (0, _) => (false, summary.why.as_str(), summary.message.clone()),
        _ if guarded.policy.suspend => (false, "Suspended", summary.message.clone()),
        (_, 0) => (true, "Enforced", "the targets are watched".to_owned()),
        (own, others) => {
            let message = format!("{own} of {} targets are watched; {}", own + others, older_ones(overridden));
            (true, "PartiallyEnforced", message)
        }
    };
    vec![said("Accepted", true, "Accepted", "the policy is understood"), said("Enforced", status, reason, &message)]
}

fn conflicted(name: &str, older: &str) -> String {
    format!("policy {older} is older and already watches {name}; delete one of the two")
}

fn older_ones(overridden: &BTreeMap<String, String>) -> String {
    let each: Vec<String> = overridden.iter().map(|(name, older)| format!("{name} (policy {older})")).collect();
    format!("older policies watch {}", each.join(", "))
}
