//! The scenarios, end to end: real pods, a real Prometheus, the operator installed from its chart as a pod.
//!
//! One cluster serves them all. The scenarios of the first group run side by side, each in a namespace of its own; those
//! of the second group stop Prometheus or kill the operator, and run alone.
#![allow(clippy::print_stderr, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test suite")]

mod acting;
mod chart;
mod data;
mod faults;
mod judging;
mod kinds;
mod scenario;
mod source_stub;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use libtest_mimic::{Arguments, Failed, Trial};
use scenario::Bed;
use snapback_tests::cluster::is_root;

type Test = (&'static str, fn(&Bed) -> anyhow::Result<()>);

fn main() -> ExitCode {
    rustls::crypto::ring::default_provider().install_default().expect("the first provider");
    let mut arguments = Arguments::from_args();
    if arguments.list || !is_root() {
        if !is_root() {
            eprintln!("the scenarios need root for real pods: skipped");
        }
        let trials = all().into_iter().map(|(name, _)| Trial::test(name, || Ok(())).with_ignored_flag(true)).collect();
        return libtest_mimic::run(&arguments, trials).exit_code();
    }
    let before = traces();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let bed = runtime.block_on(async {
        tokio::select! {
            bed = Bed::start() => Some(bed),
            () = snapback_tests::stopped() => None,
        }
    });
    let bed = match bed {
        Some(Ok(bed)) => Arc::new(bed),
        Some(Err(error)) => {
            eprintln!("the test bed could not be started: {error:#}");
            return ExitCode::FAILURE;
        }
        None => return ExitCode::FAILURE,
    };
    // Ctrl-C: the trials run on threads that cannot be cancelled, so the bed is taken down under them.
    let on_stop = Arc::clone(&bed);
    runtime.spawn(async move {
        snapback_tests::stopped().await;
        on_stop.tear_down();
        #[allow(clippy::exit, reason = "everything is taken down")]
        std::process::exit(130);
    });
    arguments.test_threads = Some(arguments.test_threads.unwrap_or(3));
    let failed: Arc<Mutex<Vec<String>>> = Arc::default();
    let trials = |tests: Vec<Test>| -> Vec<Trial> {
        let trial = |(name, test): Test| {
            let (bed, failed) = (Arc::clone(&bed), Arc::clone(&failed));
            Trial::test(name, move || {
                let note = |error: anyhow::Error| {
                    let told = format!("{error:#}\n{}", bed.not_running());
                    failed.lock().unwrap().push(format!("{name}: {told}"));
                    Failed::from(told)
                };
                test(&bed).map_err(note)
            })
        };
        tests.into_iter().map(trial).collect()
    };
    let together = libtest_mimic::run(&arguments, trials(side_by_side()));
    arguments.test_threads = Some(1);
    let alone = libtest_mimic::run(&arguments, trials(alone()));
    if together.has_failed() || alone.has_failed() {
        bed.tell_logs();
    }
    bed.tear_down();
    let left: Vec<String> = traces().difference(&before).cloned().collect();
    if !left.is_empty() {
        eprintln!("the test bed left behind: {left:#?}");
    }
    // Last, where whoever sees only the end of a long output looks.
    for one in failed.lock().unwrap().iter() {
        eprintln!("failed: {one}");
    }
    if together.has_failed() || alone.has_failed() || !left.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Everything that a test bed with real pods makes outside of its folder.
fn traces() -> BTreeSet<String> {
    let lines = |program: &str, arguments: &[&str]| -> Vec<String> {
        let output = std::process::Command::new(program).args(arguments).output().expect(program);
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    };
    let names = |folder: &str| -> Vec<String> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path().display().to_string()).collect()
    };
    let links = lines("ip", &["-o", "link"]).into_iter().filter_map(|line| {
        let name = line.split(':').nth(1)?.trim().split('@').next()?.to_owned();
        Some(format!("link {name}"))
    });
    let rules = lines("iptables-save", &[]).into_iter().filter(|line| line.starts_with("-A") || line.starts_with(':'));
    // Counters of packets are no rules.
    let rules = rules.map(|line| format!("iptables {}", line.split(" [").next().unwrap_or(&line)));
    let mounts = lines("cat", &["/proc/self/mounts"])
        .into_iter()
        .filter_map(|line| line.split_whitespace().nth(1).map(|mount| format!("mount {mount}")));
    let cgroups = snapback_tests::run_dir::pod_cgroups().into_iter().map(|path| path.display().to_string());
    let beds = names("/tmp").into_iter().filter(|path| path.contains("snapback-bed-"));
    let all = links.chain(rules).chain(mounts).chain(cgroups).chain(beds);
    all.chain(names("/run/netns")).chain(names("/var/lib/cni/results")).collect()
}

fn all() -> Vec<Test> {
    [side_by_side(), alone()].concat()
}

fn side_by_side() -> Vec<Test> {
    vec![
        ("s01_errors_in_v2_are_undone_verified_and_recorded", judging::errors),
        ("s02_p95_three_times_the_baseline_is_undone", judging::latency),
        ("s03_a_crash_loop_is_undone_in_seconds", judging::crash_loop),
        ("s04_a_missing_image_is_undone", judging::missing_image),
        ("s05_a_query_under_80_percent_of_its_baseline_is_undone", judging::query),
        ("s06_a_good_v2_passes_and_nothing_is_touched", judging::good),
        ("s07_an_empty_source_never_undoes", faults::source_empty),
        ("s07_a_source_of_nan_never_undoes", faults::source_nan),
        ("s07_a_source_that_fails_never_undoes", faults::source_500),
        ("s07_a_slow_source_never_undoes", faults::source_slow),
        ("s08_v3_supersedes_v2", acting::superseded),
        ("s09_two_bad_ones_in_a_row_go_back_to_the_good_one", acting::two_bad),
        ("s10_errors_in_old_and_new_pods_alike_are_not_the_releases", judging::external_cause),
        ("s12_without_requests_there_is_no_verdict", judging::no_traffic),
        ("s13_the_first_rollout_has_nothing_to_go_back_to", acting::first_rollout),
        ("s14_a_paused_deployment_is_left_alone", acting::paused),
        ("s14_scaled_to_zero_is_no_breach", acting::scaled_to_zero),
        ("s14_scaling_in_the_soak_keeps_the_replicas", acting::scaling),
        ("s15_four_percent_under_a_limit_of_five_passes", judging::under_the_limit),
        ("approve_waits_for_a_person", acting::approve),
        ("observe_changes_nothing", acting::observe),
        ("a_query_of_many_series_is_told_and_stops_nothing_else", judging::many_series),
        ("open_telemetry_names_are_understood", |bed| judging::preset(bed, "otel", "OpenTelemetry")),
        ("what_istios_sidecars_count_is_understood", |bed| judging::preset(bed, "istio", "Istio")),
        ("what_linkerds_proxies_count_is_understood", |bed| judging::preset(bed, "linkerd", "Linkerd")),
        ("a_selector_covers_every_deployment_with_its_labels", acting::selector),
        ("an_undone_revision_that_comes_back_is_undone_again", acting::comes_back),
        ("an_undo_is_verified_by_what_its_pods_answer", acting::probed),
        ("an_undo_whose_pods_answer_badly_calls_a_person", acting::probed_badly),
        ("a_stateful_set_that_waits_for_its_bad_pod_is_unwedged", kinds::wedged),
        ("a_daemon_set_that_crashes_is_undone", kinds::daemon_set),
        ("errors_in_a_stateful_set_are_undone", kinds::errors),
        ("a_stateful_set_whose_new_pod_never_gets_ready_is_undone", kinds::hanging),
        ("a_change_of_data_is_taken_back_by_a_real_job_before_the_undo", data::taken_back),
        ("when_the_real_job_fails_nothing_is_undone", data::not_taken_back),
        ("an_irreversible_release_is_frozen_while_old_pods_serve", data::frozen),
        ("helm_test_passes_and_leaves_nothing", chart::helm_test),
    ]
}

fn alone() -> Vec<Test> {
    vec![
        ("s03_a_crash_loop_is_undone_with_prometheus_stopped", faults::crash_without_prometheus),
        ("s07_prometheus_down_never_undoes_and_is_judged_when_back", faults::prometheus_down),
        ("s11_the_operator_is_killed_in_mid_soak", faults::killed_in_soak),
        ("s11_the_operator_is_killed_in_mid_rollback", faults::killed_in_rollback),
        ("idle_targets_cost_no_requests", faults::idle_traffic),
    ]
}
