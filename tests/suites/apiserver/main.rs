//! What an API server decides: schemas, admission, manifests, the YAML of the documentation; and what the operator says
//! of policies that cannot be meant. A real control plane with a simulated node; needs no root.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test suite"
)]

mod access;
mod admission;
mod alerts;
mod bed;
mod chance;
mod chart;
mod confinement;
mod documents;
mod freezing;
mod gate;
mod generator;
mod handing_back;
mod hostile;
#[path = "../shared/operator.rs"]
mod in_process;
mod jobs;
mod kinds;
mod manifests;
mod numbers;
mod operator;
mod readiness;
mod rights;
mod upgrade;
mod words;
mod workloads;

use std::process::ExitCode;
use std::sync::Arc;

use bed::Bed;
use handing_back::{Tool, matrix, restored};
use libtest_mimic::{Arguments, Failed, Trial};
use snapback_tests::suite::{self, Bed as _};

type Test = (&'static str, fn(&Bed) -> anyhow::Result<()>);

const TESTS: [Test; 87] = [
    ("a_policy_with_only_a_target_is_accepted", admission::minimal),
    ("every_kind_of_check_is_accepted", admission::checks),
    ("bad_policies_are_refused_with_the_field_and_what_to_write", admission::refused),
    ("unknown_fields_are_told_to_the_author", admission::unknown_field),
    ("a_rollback_is_a_record_and_approved_once", admission::record),
    ("a_rollback_by_hand_may_leave_out_what_a_policy_spells_out", admission::by_hand),
    ("an_approval_names_the_user_who_gives_it", access::approval),
    ("the_operator_approves_nothing", access::operator_approves_nothing),
    ("only_the_operator_decides_in_the_name_of_a_policy", access::policy_decides),
    ("the_admission_policy_of_a_confined_operator_is_confined", access::confined),
    ("the_admission_policy_has_no_type_warnings", access::type_checked),
    ("the_operator_changes_nothing_of_a_workload_but_what_an_undo_needs", confinement::workloads),
    ("the_operator_makes_and_deletes_only_its_own", confinement::own),
    ("an_operator_with_one_namespace_changes_nothing_elsewhere", confinement::elsewhere),
    ("each_role_may_do_its_part_and_no_more", access::roles),
    ("the_built_in_roles_hold_ours", access::aggregated),
    ("the_printed_command_approves", access::printed_command),
    ("secrets_are_the_operators_only_where_that_is_allowed", access::secrets),
    ("the_kinds_are_established_and_structural", kinds::established),
    ("every_field_is_explained", kinds::explained),
    ("get_tells_the_story_in_80_columns", kinds::columns),
    ("what_is_looked_for_can_be_asked_for", kinds::selected),
    ("before_the_first_look_nothing_seems_ready", kinds::unseen),
    ("the_chart_passes_lint_and_its_objects_are_accepted", manifests::chart),
    ("the_chart_can_be_confined_to_a_namespace", manifests::confined),
    ("the_kustomize_base_is_the_chart", manifests::base),
    ("each_overlay_is_the_chart_with_the_values_of_its_name", manifests::overlays),
    ("what_values_change_is_kept_and_the_api_server_takes_it", chart::cases),
    ("values_that_cannot_be_meant_are_refused_in_words", chart::refused),
    ("dashboards_are_taken_as_they_are", chart::dashboards),
    ("what_helm_test_makes_is_accepted", chart::hooks),
    ("the_kinds_of_the_prometheus_operator_are_checked", chart::monitors_are_checked),
    ("alerts_ask_for_what_the_operator_tells", alerts::expressions),
    ("every_alert_is_documented_and_can_be_left_out", alerts::documented),
    ("a_release_with_its_kinds_in_crds_is_upgraded_and_nothing_is_lost", upgrade::from_crds),
    ("the_published_kinds_are_the_types", manifests::published),
    ("every_yaml_of_the_documentation_works", documents::all),
    ("an_absent_target_is_said_and_found_when_it_comes", operator::absent_target),
    ("an_unknown_source_is_said_with_the_known_ones", operator::unknown_source),
    ("a_window_that_cannot_be_meant_is_said_with_what_to_write", operator::bad_window),
    ("promql_that_does_not_parse_is_said_with_its_place", operator::bad_promql),
    ("a_bad_policy_stops_no_other", operator::bad_beside_good),
    ("the_older_of_two_policies_wins", operator::overlap),
    ("a_spec_that_is_corrected_is_taken_up", operator::corrected),
    ("handing_back_to_kubectl_apply", |bed| matrix(bed, "Deployment", Tool::KubectlClientSide)),
    ("handing_back_to_kubectl_apply_server_side", |bed| matrix(bed, "Deployment", Tool::KubectlServerSide)),
    ("handing_back_to_helm_3", |bed| matrix(bed, "Deployment", Tool::Helm3)),
    ("handing_back_to_helm_4", |bed| matrix(bed, "Deployment", Tool::Helm4)),
    ("handing_back_a_stateful_set_to_kubectl_apply", |bed| matrix(bed, "StatefulSet", Tool::KubectlClientSide)),
    ("handing_back_a_stateful_set_to_server_side_apply", |bed| matrix(bed, "StatefulSet", Tool::KubectlServerSide)),
    ("handing_back_a_stateful_set_to_helm_3", |bed| matrix(bed, "StatefulSet", Tool::Helm3)),
    ("handing_back_a_stateful_set_to_helm_4", |bed| matrix(bed, "StatefulSet", Tool::Helm4)),
    ("handing_back_a_daemon_set_to_kubectl_apply", |bed| matrix(bed, "DaemonSet", Tool::KubectlClientSide)),
    ("handing_back_a_daemon_set_to_server_side_apply", |bed| matrix(bed, "DaemonSet", Tool::KubectlServerSide)),
    ("handing_back_a_daemon_set_to_helm_3", |bed| matrix(bed, "DaemonSet", Tool::Helm3)),
    ("handing_back_a_daemon_set_to_helm_4", |bed| matrix(bed, "DaemonSet", Tool::Helm4)),
    ("a_configuration_comes_back_under_kubectl_apply", |bed| restored(bed, Tool::KubectlClientSide)),
    ("a_configuration_comes_back_under_server_side_apply", |bed| restored(bed, Tool::KubectlServerSide)),
    ("a_configuration_comes_back_under_helm_3", |bed| restored(bed, Tool::Helm3)),
    ("a_configuration_comes_back_under_helm_4", |bed| restored(bed, Tool::Helm4)),
    ("helm_3_is_rolled_back_by_a_job_to_the_good_release", handing_back::helm3_by_a_job),
    ("a_change_of_data_is_taken_back_by_a_job_before_the_undo", jobs::taken_back),
    ("when_the_job_before_the_undo_fails_nothing_is_undone", jobs::not_taken_back),
    ("without_the_right_to_create_jobs_it_is_said_how_to_get_it", jobs::no_right),
    ("an_irreversible_release_is_frozen_under_kubectl_apply", freezing::kubectl_client_side),
    ("an_irreversible_release_is_frozen_under_server_side_apply", freezing::kubectl_server_side),
    ("a_crash_loop_is_undone_without_any_metrics_source", operator::crash_loop),
    ("a_wedged_stateful_set_is_undone_and_unwedged", workloads::stateful_set),
    ("stuck_pods_go_in_the_order_in_which_they_are_waited_for", workloads::many_stuck),
    ("a_daemon_set_is_undone_from_the_copy", workloads::daemon_set),
    ("numbers_of_a_stateful_sets_pods_are_told_apart_by_their_life", workloads::numbers),
    ("a_partition_is_kept", workloads::partition),
    ("with_on_delete_only_the_stuck_pod_is_replaced", workloads::on_delete),
    ("the_controllers_leave_our_copies_alone", workloads::copies),
    ("one_name_of_two_kinds_is_two_targets", workloads::kinds_apart),
    ("a_rollback_by_hand_goes_back_and_get_tells_it", operator::by_hand),
    ("a_rollback_by_hand_that_admission_would_refuse_ends_at_once", readiness::by_hand),
    ("what_the_known_good_template_refers_to_is_looked_for", readiness::references),
    ("a_record_of_long_ago_goes_once_it_has_ended", readiness::old_record),
    ("no_forged_address_of_a_pod_is_asked", hostile::forged_pods),
    ("no_name_leads_to_another_object", hostile::names),
    ("objects_by_chance_are_looked_at_and_do_no_harm", chance::objects),
    ("a_template_that_is_about_to_be_pruned_is_told_before_it_is", readiness::history),
    ("helm_4_waits_for_the_verdict_and_fails_for_what_is_undone", gate::helm),
    ("a_release_behind_a_gate_that_is_remediated_is_undone_again_and_the_next_one_comes", gate::remediated),
    ("no_wait_is_answered_with_the_verdict_on_the_release_before", gate::late),
    ("each_end_of_a_wait_has_its_exit_code", gate::wait),
];

/// After all others, one after the other.
const LAST: [Test; 2] = [
    ("an_object_that_an_older_schema_let_in_is_said_to_be_unreadable", readiness::undecodable),
    ("every_right_is_used_and_no_other_is_asked_for", rights::all_used_and_no_other),
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
    let (_runtime, bed) = match suite::start(Bed::start()) {
        Ok(started) => started,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
    };
    let is_whole = arguments.filter.is_none() && arguments.skip.is_empty();
    let trial = |(name, test): Test| {
        let bed = Arc::clone(&bed);
        Trial::test(name, move || test(&bed).map_err(|error| Failed::from(format!("{error:#}"))))
    };
    let mut ended = libtest_mimic::run(&arguments, TESTS.into_iter().map(trial).collect());
    // What all of them together used can only be told after all of them.
    if is_whole && !ended.has_failed() {
        arguments.test_threads = Some(1);
        ended = libtest_mimic::run(&arguments, LAST.into_iter().map(trial).collect());
    }
    let left = bed.tear_down();
    if !left.is_empty() {
        eprintln!("the test bed left behind: {left:?}");
        return ExitCode::FAILURE;
    }
    ended.exit_code()
}
