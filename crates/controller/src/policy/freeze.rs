//! Carrying out what was decided about a freeze.

use jiff::SignedDuration;
use kube::ResourceExt;
use snapback_api::v1alpha1::RollbackPolicy;
use snapback_core::watch::{Decision, FreezeAct, Phase, not_frozen};

use super::order;
use crate::context::Context;
use crate::error::{Error, report};
use crate::workload::{Live, disown, freeze, refusal};

/// The next look, when what we did is to be seen.
const SOON: SignedDuration = SignedDuration::from_secs(1);

/// Sends the patch, if there is one to send; `before` is the phase before the decision. That a rollout is frozen is told by
/// the next look, which finds the mark: so it is told once, wherever the process dies.
///
/// # Errors
/// The look ends here when the Deployment is not what was judged, or nobody knows what became of the patch.
pub(super) async fn carry_out(
    shared: &Context,
    policy: &RollbackPolicy,
    name: &str,
    live: &Live,
    mut decision: Decision,
    before: Phase,
) -> Result<Decision, Error> {
    let (client, namespace) = (&shared.client, policy.namespace().unwrap_or_default());
    let Some(act) = decision.freeze else {
        if live.disowned.is_some() {
            match disown(client, &namespace, name, live).await {
                Ok(()) => decision.next_look = Some(decision.next_look.map_or(SOON, |next| next.min(SOON))),
                Err(error) => {
                    tracing::warn!(namespace, name, "the fields of a freeze are still ours: {}", report(&error));
                }
            }
        }
        return Ok(decision);
    };
    if act == FreezeAct::Begin {
        // Nobody would end it.
        order::is_newest(shared, policy).await?;
    }
    match freeze(client, &namespace, name, live, act).await {
        Ok(()) => {
            decision.next_look = Some(decision.next_look.map_or(SOON, |next| next.min(SOON)));
            Ok(decision)
        }
        Err(error) => match refusal(&error).filter(|_| act == FreezeAct::Begin) {
            Some(why) => Ok(not_frozen(decision, before, &why)),
            None => Err(error),
        },
    }
}
