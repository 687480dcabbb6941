//! Bad revisions that come back.

use super::*;
use crate::support::*;
use snapback_core::notice::Reason;
use snapback_core::policy::{Mode, Policy};
use snapback_core::rollback::{Acting, Phase as Act};
use snapback_core::watch::{Arrival, Phase, Quarantined, Target, decide, observe, release};

#[test]
fn a_quarantined_revision_that_comes_back_is_undone_again_without_metrics() {
    let bad = Quarantined { fingerprint: version("v2"), rollback: "r".into(), called: Vec::new(), at: at(5) };
    let (v1, _) = observe(None, &complete_v1(), &Arrival::Before, at(0));
    let (target, notices) =
        observe(Some(&Target { quarantined: vec![bad], ..v1 }), &rolling_v2(), &Arrival::Before, at(30));
    assert_eq!((target.phase, target.standing.reason.as_str()), (Phase::Progressing, "Quarantined"));
    assert_eq!(notices.iter().map(|notice| notice.reason).collect::<Vec<_>>(), [Reason::RevisionReturned]);
    // The same look again tells nothing new, and its pods do not start a soak.
    let (again, told) = observe(Some(&target), &complete_v2(), &Arrival::Before, at(31));
    assert_eq!((again.rollout.clone(), told), (target.rollout, vec![]));

    let decision = decide(&policy(), again, &complete_v2(), &[], None, at(31));
    let order = decision.order.unwrap();
    assert_eq!((order.to.fingerprint, order.returned.as_deref(), order.ask), (version("v1"), Some("r"), None));
    assert_eq!(order.breached, ["quarantine"]);
    assert!(decision.state.standing.message.contains("Rollback r undid it"), "{:?}", decision.state.standing);
}

#[test]
fn whoever_has_to_be_asked_is_asked_about_a_returned_revision_too() {
    let approve = Policy { mode: Mode::Approve, ..policy() };
    let decision = decide(&approve, returned(), &rolling_v2(), &[], None, at(31));
    assert_eq!(decision.state.phase, Phase::AwaitingApproval);
    let observe_only = Policy { mode: Mode::Observe, ..policy() };
    let decision = decide(&observe_only, returned(), &rolling_v2(), &[], None, at(31));
    assert_eq!((decision.order, decision.state.standing.reason.as_str()), (None, "ObservedOnly"));
    let suspended = Policy { suspend: true, ..policy() };
    assert_eq!(decide(&suspended, returned(), &rolling_v2(), &[], None, at(31)).order, None);
}

#[test]
fn a_released_revision_is_judged_like_a_new_one() {
    let mut live = returned();
    let notices = release(&mut live, &["r".to_owned()], at(40));
    assert_eq!(notices.iter().map(|notice| notice.reason).collect::<Vec<_>>(), [Reason::RolloutDetected]);
    assert_eq!((live.quarantined.len(), live.rollout.clone().unwrap().returned), (0, None));
    assert_eq!(decide(&policy(), live, &rolling_v2(), &[], None, at(41)).order, None);

    let mut absent =
        Target { quarantined: returned().quarantined, ..observe(None, &complete_v1(), &Arrival::Before, at(0)).0 };
    assert_eq!(release(&mut absent, &["other".to_owned()], at(40)), vec![]);
    assert_eq!(absent.quarantined.len(), 1);
    assert_eq!(release(&mut absent, &["r".to_owned()], at(40)), vec![]);
    assert_eq!((absent.quarantined.len(), absent.phase), (0, Phase::Idle));
}

#[test]
fn a_revision_that_is_put_back_while_a_rollback_acts_has_come_back() {
    let acting = Acting { phase: Act::Failed, message: "told".into(), bad: version("v2"), contended: true };
    let state = Target { rollback: Some("r".into()), ..soaking() };
    let decision = decide(&policy(), state, &complete_v2(), &[], Some(&acting), at(50));
    assert_eq!(decision.state.rollout.as_ref().and_then(|rollout| rollout.returned.as_deref()), Some("r"));
    assert_eq!(decision.state.rollback, None);
    let order = decide(&policy(), decision.state, &complete_v2(), &[], None, at(51)).order;
    assert_eq!(order.map(|order| order.from.fingerprint), Some(version("v2")));
}

/// While the undo was at work, the policy had no reason to note the good revision as the live one.
#[test]
fn a_revision_that_comes_back_before_its_rollback_is_seen_to_have_succeeded_has_come_back() {
    let acting = Acting { phase: Act::Succeeded, message: "told".into(), bad: version("v2"), contended: false };
    let state = Target { rollback: Some("r".into()), phase: Phase::Verifying, ..soaking() };
    let decision = decide(&policy(), state, &complete_v2(), &[], Some(&acting), at(50));
    assert_eq!(decision.state.rollout.as_ref().and_then(|rollout| rollout.returned.as_deref()), Some("r"));
    assert_eq!(decision.notices[0].reason, Reason::RevisionReturned);
    let order = decide(&policy(), decision.state, &complete_v2(), &[], None, at(51)).order;
    assert_eq!(order.map(|order| order.from.fingerprint), Some(version("v2")));
}

/// A newer template ended the rollback, and was gone before the policy looked.
#[test]
fn a_bad_revision_that_outlived_the_newer_one_is_judged_anew() {
    let acting = Acting { phase: Act::Superseded, message: "told".into(), bad: version("v2"), contended: false };
    let state = Target { rollback: Some("r".into()), phase: Phase::RollingBack, ..soaking() };
    let decision = decide(&policy(), state, &complete_v2(), &[], Some(&acting), at(50));
    assert_eq!((decision.state.phase, decision.state.rollback.as_ref()), (Phase::Progressing, None));
    assert_eq!(decision.state.rollout.as_ref().map(|rollout| rollout.started), Some(at(50)));
    let (seen, _) = observe(Some(&decision.state), &complete_v2(), &Arrival::Before, at(51));
    let order = decide(&policy(), seen, &complete_v2(), &[breached()], None, at(51)).order;
    assert_eq!(order.map(|order| order.from.fingerprint), Some(version("v2")));
}
