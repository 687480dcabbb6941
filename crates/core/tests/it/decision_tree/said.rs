//! What the workload itself says of its mode and its data, and windows.

use super::*;
use crate::support::*;
use snapback_core::policy::{Mode, Policy};
use snapback_core::watch::{Phase, decide};
use snapback_core::workload::{Said, Workload};

#[test]
fn a_release_that_changed_data_reversibly_asks_a_person() {
    let decision = decided(&policy(), &said(None, Some("Reversible")), &[breached()], 30);
    assert!(decision.order.expect("an order").ask.expect("a reason").contains("take the change of data back"));
    let nothing = decided(&policy(), &said(None, Some("None")), &[breached()], 30);
    assert_eq!(nothing.order.expect("an order").ask, None);
}

fn with_job(migration: Option<&str>, job: &str) -> Workload {
    Workload { said: Said::read(None, migration).with_migration_job(Some(job)), ..complete_v2() }
}

#[test]
fn a_reversible_change_of_data_with_a_job_asks_nobody_and_orders_the_job() {
    let order = decided(&policy(), &with_job(Some("Reversible"), "down"), &[breached()], 30).order.expect("an order");
    assert_eq!((order.ask, order.migration_job.as_deref()), (None, Some("down")));
    let careful = Policy { mode: Mode::Approve, ..policy() };
    let order = decided(&careful, &with_job(Some("Reversible"), "down"), &[breached()], 30).order.expect("an order");
    assert_eq!((order.ask.is_some(), order.migration_job.as_deref()), (true, Some("down")));
    let never = decided(&policy(), &with_job(Some("Irreversible"), "down"), &[breached()], 30);
    assert_eq!(never.state.standing.reason, "ForwardFixOnly");
    let nothing = decided(&policy(), &with_job(Some("None"), "down"), &[breached()], 30).order.expect("an order");
    assert_eq!((nothing.ask, nothing.migration_job), (None, None));
}

#[test]
fn a_job_that_cannot_be_meant_asks_a_person_and_is_not_run() {
    for (workload, wanted) in [
        (with_job(Some("Reversible"), "../secrets"), "cannot be the name"),
        (with_job(None, "down"), "no snapback.dev/migration"),
    ] {
        let order = decided(&policy(), &workload, &[breached()], 30).order.expect("an order");
        assert_eq!(order.migration_job, None);
        assert!(order.ask.as_deref().is_some_and(|ask| ask.contains(wanted)), "{:?}", order.ask);
    }
}

#[test]
fn a_word_about_data_or_mode_that_nobody_knows_asks_a_person() {
    for workload in [said(None, Some("irreversible")), said(Some("Auto"), None)] {
        let ask = decided(&policy(), &workload, &[breached()], 30).order.expect("an order").ask.expect("a reason");
        assert!(ask.contains("which is none of"), "{ask}");
    }
}

#[test]
fn the_mode_on_the_workload_goes_over_the_policys() {
    let observed = decided(&policy(), &said(Some("Observe"), None), &[breached()], 30);
    assert_eq!((observed.order, observed.state.standing.reason.as_str()), (None, "ObservedOnly"));
    let asked = decided(&policy(), &said(Some("Approve"), None), &[breached()], 30);
    assert_eq!(asked.order.expect("an order").ask.as_deref(), Some("snapback.dev/mode is Approve"));
    let careful = Policy { mode: Mode::Approve, ..policy() };
    let emergency = decided(&careful, &said(Some("Automatic"), None), &[breached()], 30);
    assert_eq!(emergency.order.expect("an order").ask, None);
}

#[test]
fn a_window_that_denies_asks_a_person() {
    let decision = decided(&frozen(), &complete_v2(), &[breached()], 30);
    let why = "the window \"freeze\" denies automatic rollbacks until 1970-01-13 00:00 Etc/UTC";
    assert_eq!(decision.order.expect("an order").ask.as_deref(), Some(why));
    assert_eq!(decision.state.phase, Phase::AwaitingApproval);
    let after_it = decide(&frozen(), soaking(), &complete_v2(), &[breached()], None, at(86_400));
    assert_eq!(after_it.order.expect("an order").ask, None);
}

#[test]
fn observe_and_approve_are_themselves_in_any_window() {
    let observed = decided(&Policy { mode: Mode::Observe, ..frozen() }, &complete_v2(), &[breached()], 30);
    assert_eq!((observed.order, observed.state.standing.reason.as_str()), (None, "ObservedOnly"));
    assert!(!observed.state.standing.message.contains("freeze"), "{}", observed.state.standing.message);
    let asked = decided(&Policy { mode: Mode::Approve, ..frozen() }, &complete_v2(), &[breached()], 30);
    assert_eq!(asked.order.expect("an order").ask.as_deref(), Some("the policy's mode is Approve"));
}

#[test]
fn the_word_automatic_on_the_workload_goes_over_the_windows() {
    let emergency = decided(&frozen(), &said(Some("Automatic"), None), &[breached()], 30);
    assert_eq!(emergency.order.expect("an order").ask, None);
    let careful = decided(&frozen(), &said(Some("Automatic"), Some("Reversible")), &[breached()], 30);
    assert!(careful.order.expect("an order").ask.is_some(), "it goes over the windows only");
}
