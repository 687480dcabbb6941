//! The real Flux and the real Argo CD, on a real control plane with a simulated node. Needs no root.
//!
//! What they do with an undo that nobody told them of, and with the holds that keep them from reverting it, are facts
//! here before Snapback relies on them.
#![allow(clippy::print_stderr, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test suite")]

mod argocd;
mod argocd_facts;
mod bed;
mod examples;
mod flux;
mod flux_facts;
mod git;
mod helm;
#[path = "../shared/operator.rs"]
mod in_process;
mod many;
mod pages;
mod parents;
mod sets;
mod transcript;
mod undone;
mod uninstall;
mod waves;

use std::process::ExitCode;
use std::sync::Arc;

use argocd::Applies;
use bed::Bed;
use helm::Helm;
use libtest_mimic::{Arguments, Failed, Trial};
use snapback_tests::suite::{self, Bed as _};
use snapback_tests::tools;

type Test = (&'static str, fn(&Bed) -> anyhow::Result<()>);

/// A test is named after the tool that it needs.
const TESTS: [Test; 56] = [
    ("flux_applies_what_is_in_git_as_its_own", flux_facts::applies),
    ("flux_reverts_an_undo_within_an_interval", flux_facts::fights),
    ("flux_leaves_what_is_held_alone", flux_facts::held_is_left_alone),
    ("flux_applies_a_fix_only_once_the_hold_is_off", flux_facts::a_fix_waits_for_the_hold),
    ("flux_changes_no_pod_after_a_revert_in_git", flux_facts::a_revert_changes_no_pod),
    ("flux_tells_another_commit_by_the_digest", flux_facts::another_commit_is_told_by_the_digest),
    ("flux_does_not_prune_what_is_held", flux_facts::held_is_not_pruned),
    ("argocd_applies_what_is_in_git_as_its_own", |bed| argocd_facts::applies(bed, Applies::ClientSide)),
    ("argocd_applies_server_side_as_its_own", |bed| argocd_facts::applies(bed, Applies::ServerSide)),
    ("argocd_reverts_an_undo_at_once", |bed| argocd_facts::fights(bed, Applies::ClientSide)),
    ("argocd_reverts_an_undo_at_once_server_side", |bed| argocd_facts::fights(bed, Applies::ServerSide)),
    ("argocd_syncs_a_fix_under_the_hold", |bed| argocd_facts::a_fix_is_synced_under_the_hold(bed, Applies::ClientSide)),
    ("argocd_syncs_a_fix_under_the_hold_server_side", |bed| {
        argocd_facts::a_fix_is_synced_under_the_hold(bed, Applies::ServerSide)
    }),
    ("argocd_is_synced_by_a_revert_in_git", |bed| argocd_facts::a_revert_is_synced(bed, Applies::ClientSide, true)),
    ("argocd_is_synced_by_a_revert_in_git_server_side", |bed| {
        argocd_facts::a_revert_is_synced(bed, Applies::ServerSide, true)
    }),
    ("argocd_is_synced_by_a_revert_in_git_without_a_hand_back", |bed| {
        argocd_facts::a_revert_is_synced(bed, Applies::ClientSide, false)
    }),
    ("argocd_is_synced_by_a_revert_in_git_without_a_hand_back_server_side", |bed| {
        argocd_facts::a_revert_is_synced(bed, Applies::ServerSide, false)
    }),
    ("argocd_breaks_the_hold_for_another_commit", argocd_facts::another_commit_breaks_the_hold),
    ("argocd_keeps_the_hold_for_a_commit_outside_of_its_paths", argocd_facts::another_commit_and_the_paths),
    ("argocd_puts_v2_back_when_the_hold_is_off_too_early", argocd_facts::taken_off_too_early),
    ("argocd_undoes_the_hold_in_an_application_set_unless_told_not_to", sets::puts_back),
    ("argocd_undoes_the_hold_in_an_application_of_applications_unless_told_not_to", parents::puts_back),
    ("flux_undone_from_commit_to_commit", undone::flux_from_commit_to_commit),
    ("flux_undone_a_commit_elsewhere_starts_no_bad_pod", undone::flux_a_commit_elsewhere),
    ("flux_undone_a_revert_in_git_ends_the_hold", undone::flux_a_revert),
    ("flux_undone_a_deleted_policy_ends_the_hold", undone::flux_a_deleted_policy),
    ("flux_undone_a_released_revision_comes_back", undone::flux_a_release),
    ("flux_undone_who_waits_for_the_gate_is_told_and_gets_the_fix", undone::flux_waits_for_the_gate),
    ("flux_helm_corrects_drift_unless_the_label_is_there", helm::corrects_drift),
    ("flux_helm_undone_from_release_to_release", |bed| helm::from_release_to_release(bed, Helm::Four)),
    ("flux_helm_undone_while_its_upgrade_waits", helm::while_the_upgrade_waits),
    ("flux_helm_undone_a_deleted_policy_ends_the_hold", helm::a_deleted_policy),
    ("flux_helm_undone_from_release_to_release_by_helm_3", |bed| helm::from_release_to_release(bed, Helm::Three)),
    ("argocd_undone_from_commit_to_commit", |bed| undone::argo_from_commit_to_commit(bed, Applies::ClientSide)),
    ("argocd_undone_from_commit_to_commit_server_side", |bed| {
        undone::argo_from_commit_to_commit(bed, Applies::ServerSide)
    }),
    ("argocd_undone_a_revert_in_git_ends_the_hold", undone::argo_a_revert),
    ("argocd_undone_a_deleted_policy_ends_the_hold", undone::argo_a_deleted_policy),
    ("argocd_undone_a_commit_elsewhere_is_undone_again", undone::argo_a_commit_elsewhere),
    ("argocd_undone_and_flux_the_operator_can_do_nothing_but_hold", undone::confined),
    ("argocd_undone_and_flux_uninstalling_ends_all_holds", uninstall::ends_all_holds),
    ("argocd_undone_what_its_set_keeps_ends_its_fight", sets::kept_by_its_set),
    ("argocd_undone_what_its_set_leaves_alone_is_held", sets::left_alone_by_its_set),
    ("argocd_undone_a_child_that_its_parent_keeps_ends_its_fight", parents::kept_by_its_parent),
    ("argocd_undone_a_child_that_its_parent_leaves_alone_is_held", parents::left_alone_by_its_parent),
    ("argocd_undone_between_two_waves_the_later_one_comes_all_the_same", waves::between_two_waves),
    ("argocd_undone_behind_a_gate_the_later_wave_does_not_come", waves::behind_a_gate),
    ("argocd_undone_behind_a_gate_each_retry_brings_it_back", waves::behind_a_gate_with_retries),
    ("argocd_undone_without_self_heal_stays_without_a_hold", waves::without_self_heal),
    ("argocd_undone_a_sync_by_hand_under_the_hold_is_undone_again", waves::a_sync_by_hand),
    ("argocd_undone_while_a_sync_by_hand_is_under_way", waves::during_a_sync_by_hand),
    ("argocd_tells_the_health_of_a_policy", examples::argocd_health),
    ("flux_docs_print_what_they_say", pages::with_flux),
    ("argocd_docs_print_what_they_say", pages::with_argocd),
    ("helm_docs_print_what_they_say", pages::with_helm),
    ("argocd_examples_are_taken", examples::argocd),
    ("flux_examples_are_taken", examples::flux),
];

fn main() -> ExitCode {
    rustls::crypto::ring::default_provider().install_default().expect("the first provider");
    let mut arguments = Arguments::from_args();
    // Most of a test is waiting.
    arguments.test_threads = Some(arguments.test_threads.unwrap_or(6));
    if arguments.list {
        let trials = TESTS.into_iter().map(|(name, _)| Trial::test(name, || Ok(()))).collect();
        return libtest_mimic::run(&arguments, trials).exit_code();
    }
    // Before anything waits for anything: a build leaves little of the machine to others.
    let is_wanted = |tool: &str| {
        let is_meant = |name: &str| arguments.filter.as_ref().is_none_or(|filter| name.contains(filter));
        TESTS.iter().any(|(name, _)| name.starts_with(tool) && is_meant(name))
    };
    let wanted =
        [("flux", "kustomize-controller"), ("argocd", "argocd")].into_iter().filter(|(tool, _)| is_wanted(tool));
    if let Err(error) = tools::ensure(&wanted.map(|(_, program)| program).collect::<Vec<_>>()) {
        eprintln!("{error:#}");
        return ExitCode::FAILURE;
    }
    let (_runtime, bed) = match suite::start(Bed::start()) {
        Ok(started) => started,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
    };
    let trial = |(name, test): Test| {
        let bed = Arc::clone(&bed);
        Trial::test(name, move || test(&bed).map_err(|error| Failed::from(format!("{error:#}"))))
    };
    let ended = libtest_mimic::run(&arguments, TESTS.into_iter().map(trial).collect());
    if ended.has_failed()
        && let Err(error) = bed.keep_logs()
    {
        eprintln!("the logs could not be kept: {error:#}");
    }
    let left = bed.tear_down();
    if !left.is_empty() {
        eprintln!("the test bed left behind: {left:?}");
        return ExitCode::FAILURE;
    }
    ended.exit_code()
}
