//! StatefulSets and DaemonSets: when they are rolled out, and what un-wedges them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use crate::support::*;
use snapback_core::checks::{Measured, Why, evaluate};
use snapback_core::ids::PodUid;
use snapback_core::ownership::Owner;
use snapback_core::policy::{Check, Rule, Severity};
use snapback_core::rollback::{Act, Phase, Progress, Step, Stuck, handed_back, step};
use snapback_core::sample::{Counts, PodSeries};
use snapback_core::watch::{Arrival, Decision, Phase as Watched, decide, observe};
use snapback_core::workload::{Incomplete, Kind, PodFacts, Replacing, Workload, rolled_out};

/// A pod of a StatefulSet: its name says nothing of its revision.
fn numbered(name: &str, ordinal: i32) -> PodFacts {
    PodFacts { name: format!("web-{ordinal}"), ..pod(name, ordinal) }
}

fn unready(pod: PodFacts) -> PodFacts {
    PodFacts { ready: false, ..pod }
}

/// A StatefulSet of three whose live template is `live`, with the revisions of its pods.
fn stateful_set(live: &str, pods: Vec<PodFacts>) -> Workload {
    let mut revisions = vec![revision("v1", 1, 0, 0), revision("v2", 2, 0, 0)];
    for one in &mut revisions {
        one.observed = one.fingerprint == version(live);
        one.desired = if one.observed { 3 } else { 0 };
        let mine = || pods.iter().filter(|pod| pod.owner == one.uid && !pod.leaving);
        one.replicas = i32::try_from(mine().count()).unwrap();
        one.available = i32::try_from(mine().filter(|pod| pod.ready).count()).unwrap();
    }
    let ready = i32::try_from(pods.iter().filter(|pod| pod.ready).count()).unwrap();
    Workload {
        kind: Kind::StatefulSet,
        replacing: Replacing { in_order: true, ..Replacing::default() },
        available: ready,
        pods,
        ..workload(live, revisions)
    }
}

fn partitioned(workload: Workload, partition: i32) -> Workload {
    Workload { replacing: Replacing { partition, ..workload.replacing }, ..workload }
}

/// v1 on the first two, v2 on the last one, which crashes.
fn wedged(live: &str) -> Workload {
    stateful_set(live, vec![numbered("v1", 0), numbered("v1", 1), unready(numbered("v2", 2))])
}

fn all(version: &str) -> Vec<PodFacts> {
    (0..3).map(|ordinal| numbered(version, ordinal)).collect()
}

#[test]
fn a_stateful_set_is_rolled_out_when_every_pod_runs_the_revision_and_is_available() {
    assert_eq!(rolled_out(&stateful_set("v2", all("v2")), &version("v2")), Ok(()));
    assert_eq!(rolled_out(&wedged("v2"), &version("v2")), Err(Incomplete::Unavailable { available: 0, wanted: 3 }));
    let mut young = stateful_set("v2", all("v2"));
    young.available = 2;
    // Ready, but not for minReadySeconds yet.
    assert_eq!(rolled_out(&young, &version("v2")), Err(Incomplete::Unavailable { available: 2, wanted: 3 }));
    let mut leaving = stateful_set("v2", all("v2"));
    leaving.pods[1].leaving = true;
    assert_eq!(rolled_out(&leaving, &version("v2")), Err(Incomplete::Unavailable { available: 2, wanted: 3 }));
}

#[test]
fn a_template_that_the_controller_has_not_taken_up_is_not_rolled_out() {
    let mut unseen = stateful_set("v2", all("v2"));
    unseen.observed_generation = 0;
    assert_eq!(rolled_out(&unseen, &version("v2")), Err(Incomplete::NotObserved));
    let mut behind = stateful_set("v2", all("v2"));
    behind.revisions[1].observed = false;
    assert_eq!(rolled_out(&behind, &version("v2")), Err(Incomplete::NotObserved));
}

#[test]
fn a_partition_spares_the_ordinals_below_it() {
    let canary = stateful_set("v2", vec![numbered("v1", 0), numbered("v1", 1), numbered("v2", 2)]);
    assert_eq!(rolled_out(&canary, &version("v2")), Err(Incomplete::Unavailable { available: 1, wanted: 3 }));
    assert_eq!(rolled_out(&partitioned(canary.clone(), 2), &version("v2")), Ok(()));
    assert_eq!(
        rolled_out(&partitioned(canary, 1), &version("v2")),
        Err(Incomplete::Unavailable { available: 1, wanted: 2 })
    );
    let staged = partitioned(stateful_set("v2", all("v1")), 3);
    assert_eq!(rolled_out(&staged, &version("v2")), Err(Incomplete::Partitioned), "no pod runs it");
    let mut late = stateful_set("v2", vec![numbered("v1", 4), numbered("v1", 5), numbered("v2", 6)]);
    late.replacing = Replacing { first: 4, partition: 2, ..late.replacing };
    assert_eq!(rolled_out(&late, &version("v2")), Ok(()), "the partition counts from the first ordinal");
}

#[test]
fn a_daemon_set_is_rolled_out_when_every_node_runs_the_revision_and_no_old_pod_is_left() {
    let daemon_set =
        |pods| Workload { kind: Kind::DaemonSet, replacing: Replacing::default(), ..stateful_set("v2", pods) };
    let nodes = |versions: [&str; 3]| (0..).zip(versions).map(|(node, version)| pod(version, node)).collect::<Vec<_>>();
    assert_eq!(rolled_out(&daemon_set(nodes(["v2", "v2", "v2"])), &version("v2")), Ok(()));
    assert_eq!(
        rolled_out(&daemon_set(nodes(["v2", "v2", "v1"])), &version("v2")),
        Err(Incomplete::Unavailable { available: 2, wanted: 3 })
    );
    let mut surged = nodes(["v2", "v2", "v2"]);
    surged.push(pod("v1", 3));
    assert_eq!(rolled_out(&daemon_set(surged), &version("v2")), Err(Incomplete::OldPods { remaining: 1 }));
}

fn undone() -> Progress {
    Progress {
        phase: Some(Phase::Running),
        undo_requested: Some(at(1)),
        undo_accepted: Some(at(2)),
        ..Progress::default()
    }
}

fn look(progress: &Progress, workload: &Workload, second: i64) -> Step {
    step(&order(), progress, Some(workload), None, at(second))
}

fn deleted(step: &Step) -> Vec<&str> {
    step.progress.deleted.iter().map(|pod| pod.name.as_str()).collect()
}

#[test]
fn the_pod_that_a_stateful_set_waits_for_is_noted_and_deleted() {
    let next = look(&undone(), &wedged("v1"), 5);
    assert_eq!((next.act, deleted(&next)), (Act::DeletePod, vec!["web-2"]));
    assert_eq!(next.notices.len(), 1);
    // Died before it was deleted: it is deleted by the next look, and told once.
    let again = look(&next.progress, &wedged("v1"), 6);
    assert_eq!((again.act, deleted(&again), again.notices.len()), (Act::DeletePod, vec!["web-2"], 0));
}

#[test]
fn nothing_is_deleted_before_the_controller_has_taken_the_good_revision_up() {
    let mut unseen = wedged("v1");
    unseen.observed_generation = 0;
    assert_eq!(look(&undone(), &unseen, 5).act, Act::Nothing);
    let mut behind = wedged("v1");
    behind.revisions[0].observed = false;
    assert_eq!(look(&undone(), &behind, 5).act, Act::Nothing, "it would make the bad pod again");
}

#[test]
fn a_ready_pod_and_a_pod_of_the_good_revision_are_never_deleted() {
    let ready = stateful_set("v1", vec![numbered("v1", 0), numbered("v2", 1), numbered("v2", 2)]);
    assert_eq!(look(&undone(), &ready, 5).act, Act::Nothing);
    let good = stateful_set("v1", vec![numbered("v1", 0), numbered("v1", 1), unready(numbered("v1", 2))]);
    assert_eq!(look(&undone(), &good, 5).act, Act::Nothing);
}

#[test]
fn stuck_pods_are_deleted_one_at_a_time_and_the_lowest_first() {
    let mut pods = vec![numbered("v1", 0), unready(numbered("v2", 1)), unready(numbered("v2", 2))];
    let first = look(&undone(), &stateful_set("v1", pods.clone()), 5);
    assert_eq!(deleted(&first), ["web-1"], "the controller waits for the lowest");
    pods[1].leaving = true;
    assert_eq!(look(&first.progress, &stateful_set("v1", pods.clone()), 6).act, Act::Nothing, "it is going");
    let gone = vec![pods[0].clone(), pods[2].clone()];
    assert_eq!(look(&first.progress, &stateful_set("v1", gone), 7).act, Act::Nothing, "it is not there again");
    pods[1] = unready(numbered("v1", 1));
    assert_eq!(look(&first.progress, &stateful_set("v1", pods.clone()), 8).act, Act::Nothing, "it is not ready");
    pods[1] = numbered("v1", 1);
    let second = look(&first.progress, &stateful_set("v1", pods), 9);
    assert_eq!((second.act, deleted(&second)), (Act::DeletePod, vec!["web-1", "web-2"]));
}

#[test]
fn a_workload_that_does_not_wait_is_left_to_its_controller() {
    for kind in [Kind::StatefulSet, Kind::DaemonSet, Kind::Deployment] {
        let parallel = Workload { kind, replacing: Replacing::default(), ..wedged("v1") };
        assert_eq!(look(&undone(), &parallel, 5).act, Act::Nothing, "{kind:?}");
    }
}

#[test]
fn at_most_so_many_pods_are_deleted() {
    let many = (0..64).map(|index| Stuck { name: "web-2".into(), uid: PodUid::new(format!("{index}")) });
    let progress = Progress { deleted: many.collect(), ..undone() };
    assert_eq!(look(&progress, &wedged("v1"), 5).act, Act::Nothing);
}

#[test]
fn with_on_delete_stuck_pods_are_deleted_and_ready_ones_are_named_to_a_person() {
    let pods = vec![numbered("v1", 0), numbered("v2", 1), unready(numbered("v2", 2))];
    let on_delete = |pods| Workload {
        replacing: Replacing { on_delete: true, ..Replacing::default() },
        ..stateful_set("v1", pods)
    };
    let next = look(&undone(), &on_delete(pods), 5);
    assert_eq!((next.act, deleted(&next)), (Act::DeletePod, vec!["web-2"]));
    let left = on_delete(vec![numbered("v1", 0), numbered("v2", 1), numbered("v1", 2)]);
    let waiting = look(&next.progress, &left, 6);
    assert_eq!(waiting.act, Act::Nothing);
    assert!(waiting.message.contains("delete them: web-1"), "{}", waiting.message);
    let late = look(&next.progress, &left, 700);
    assert_eq!((late.progress.phase, late.reason), (Some(Phase::Escalated), "DeadlineExceeded"));
    assert!(late.message.contains("delete them: web-1"), "{}", late.message);
}

#[test]
fn pods_that_a_partition_keeps_at_the_bad_revision_are_told_of_and_not_deleted() {
    let raised =
        partitioned(stateful_set("v1", vec![unready(numbered("v2", 0)), numbered("v1", 1), numbered("v1", 2)]), 1);
    let next = look(&undone(), &raised, 5);
    assert_eq!((next.act, next.progress.phase), (Act::Nothing, Some(Phase::Running)), "it would come back bad");
    let ready = partitioned(stateful_set("v1", vec![numbered("v2", 0), numbered("v1", 1), numbered("v1", 2)]), 1);
    let next = look(&undone(), &ready, 5);
    assert_eq!(next.progress.rolled_out, None);
    assert!(next.message.contains("lower it to reach them: web-0"), "{}", next.message);
}

#[test]
fn a_stuck_pod_goes_before_the_fields_do() {
    let owner = Owner {
        manager: "helm".into(),
        operation: "Apply".into(),
        api_version: "apps/v1".into(),
        fields: serde_json::json!({"f:spec": {"f:template": {}}}),
    };
    let owed = Progress { owners: vec![owner], ..undone() };
    assert_eq!(look(&owed, &wedged("v1"), 5).act, Act::DeletePod, "a hand-back that fails must not keep it wedged");
    let parted = stateful_set("v1", vec![numbered("v1", 0), numbered("v1", 1)]);
    let next = look(&owed, &parted, 5);
    assert_eq!(next.act, Act::HandBack);
    assert_eq!(look(&handed_back(next, at(6)).progress, &parted, 7).act, Act::Nothing);
}

#[test]
fn numbers_of_a_name_that_stays_belong_to_the_revision_that_had_it_then() {
    let mut now = wedged("v2");
    now.pods[2].created = at(60);
    let series = |pod: &str, counts, points: &[(i64, f64)]| PodSeries {
        pod: pod.into(),
        counts,
        key: String::new(),
        points: points.iter().map(|(second, value)| (at(*second), *value)).collect(),
    };
    // The old web-2 answered well for long; the new one fails all that it gets. web-0 stays fine.
    let requests = Ok(vec![
        series("web-2", Counts::Good, &[(0, 900.0), (30, 1800.0)]),
        series("web-2", Counts::Bad, &[(70, 0.0), (100, 60.0), (130, 120.0)]),
        series("web-0", Counts::Good, &[(0, 900.0), (30, 1800.0), (70, 2700.0), (100, 3600.0), (130, 4500.0)]),
    ]);
    let measured = Measured {
        revision: &version("v2"),
        known_good: None,
        since: at(40),
        completed: None,
        workload: &now,
        requests: &requests,
        latencies: &Ok(Vec::new()),
        queries: &std::collections::BTreeMap::new(),
        past: None,
        looks: 6,
        minimum_requests: 50,
    };
    let check = Check { name: "errors".into(), severity: Severity::Critical, rule: Rule::error_rate(0.05) };
    let result = evaluate(&check, 2, &measured);
    assert_eq!((result.value, result.baseline, result.in_a_row), (Some(1.0), Some(0.0), 2), "{result:?}");
}

/// A node is gone, and with it its pod: what that counted before the rollout is the baseline. What comes and goes while it
/// lasts is nobody's.
#[test]
fn numbers_of_a_pod_that_is_gone_are_old_ones_before_the_rollout_and_nobodys_since() {
    let mut now = stateful_set("v2", all("v2"));
    now.pods.iter_mut().for_each(|pod| pod.created = at(60));
    let series = |pod: &str, counts, points: &[(i64, f64)]| PodSeries {
        pod: pod.into(),
        counts,
        key: String::new(),
        points: points.iter().map(|(second, value)| (at(*second), *value)).collect(),
    };
    let requests = Ok(vec![
        series("web-9", Counts::Good, &[(0, 900.0), (30, 1800.0)]),
        series("web-9", Counts::Bad, &[(0, 0.0), (30, 900.0)]),
        series("web-8", Counts::Good, &[(70, 0.0), (100, 6000.0), (130, 12000.0)]),
        series("web-2", Counts::Bad, &[(70, 0.0), (100, 60.0), (130, 120.0)]),
    ]);
    let measured = Measured {
        revision: &version("v2"),
        known_good: None,
        since: at(40),
        completed: None,
        workload: &now,
        requests: &requests,
        latencies: &Ok(Vec::new()),
        queries: &std::collections::BTreeMap::new(),
        past: None,
        looks: 6,
        minimum_requests: 50,
    };
    let check = Check { name: "errors".into(), severity: Severity::Critical, rule: Rule::error_rate(0.05) };
    let result = evaluate(&check, 2, &measured);
    assert_eq!((result.value, result.baseline), (Some(1.0), Some(0.5)), "{result:?}");
}

/// All three were old ones when the rollout began, and are new ones by now. That all of them failed together while it went
/// on is no fault of the release.
#[test]
fn numbers_of_old_pods_stay_theirs_when_the_last_of_them_is_gone() {
    let mut now = stateful_set("v2", all("v2"));
    for (pod, created) in now.pods.iter_mut().zip([160, 100, 50]) {
        pod.created = at(created);
    }
    let series = |pod: &str, counts, points: &[(i64, f64)]| PodSeries {
        pod: pod.into(),
        counts,
        key: String::new(),
        points: points.iter().map(|(second, value)| (at(*second), *value)).collect(),
    };
    let failing = [(30, 0.0), (70, 50.0), (100, 100.0), (130, 150.0), (160, 200.0)];
    let requests = Ok(vec![
        series(
            "web-0",
            Counts::Good,
            &[(0, 900.0), (30, 1800.0), (70, 1850.0), (100, 1900.0), (130, 1950.0), (160, 2000.0)],
        ),
        series("web-0", Counts::Bad, &failing),
        series(
            "web-2",
            Counts::Good,
            &[(0, 900.0), (30, 1800.0), (70, 50.0), (100, 100.0), (130, 150.0), (160, 200.0)],
        ),
        series("web-2", Counts::Bad, &failing.map(|(second, value)| (second, if second == 30 { 0.0 } else { value }))),
    ]);
    let measured = Measured {
        revision: &version("v2"),
        known_good: None,
        since: at(40),
        completed: None,
        workload: &now,
        requests: &requests,
        latencies: &Ok(Vec::new()),
        queries: &std::collections::BTreeMap::new(),
        past: None,
        looks: 6,
        minimum_requests: 50,
    };
    let check = Check { name: "errors".into(), severity: Severity::Critical, rule: Rule::error_rate(0.05) };
    let result = evaluate(&check, 2, &measured);
    assert_eq!((result.baseline, &result.why), (Some(0.5), &Why::ExternalCause), "{result:?}");
}

/// Runs since `second`, and is not ready.
fn hanging(pod: PodFacts, second: i64) -> PodFacts {
    PodFacts { hanging_since: Some(at(second)), ..unready(pod) }
}

/// What is decided at second 700 about a rollout of v2 with these pods, with a progress deadline of 10 minutes.
fn stuck_with(kind: Kind, pods: Vec<PodFacts>) -> Decision {
    let of_kind = |workload| Workload { kind, ..workload };
    let (v1, _) = observe(None, &of_kind(stateful_set("v1", all("v1"))), &Arrival::Before, at(0));
    let rolling = of_kind(stateful_set("v2", pods));
    let (state, _) = observe(Some(&v1), &rolling, &Arrival::Before, at(10));
    decide(&policy(), state, &rolling, &[passing()], None, at(700))
}

#[test]
fn a_new_pod_that_hangs_longer_than_the_deadline_is_a_breach() {
    for kind in [Kind::StatefulSet, Kind::DaemonSet] {
        let pods = |since| vec![numbered("v1", 0), numbered("v1", 1), hanging(numbered("v2", 2), since)];
        assert!(stuck_with(kind, pods(101)).order.is_none(), "it has a second left");
        let order = stuck_with(kind, pods(100)).order.expect("an order");
        assert_eq!(order.breached, ["progress"]);
        assert_eq!(order.first_bad, Some(at(100)));
        let told = &order.evidence.last().unwrap().message;
        assert_eq!(told, "1 of 1 new pods run, but were not ready within 10m (web-2)");
    }
}

#[test]
fn a_new_pod_that_is_not_started_is_not_held_against_the_release() {
    let slow = stuck_with(Kind::StatefulSet, vec![numbered("v1", 0), numbered("v1", 1), unready(numbered("v2", 2))]);
    assert!(slow.order.is_none());
    let hangs = PodFacts { leaving: true, ..hanging(numbered("v2", 2), 20) };
    assert!(stuck_with(Kind::StatefulSet, vec![numbered("v1", 0), numbered("v1", 1), hangs]).order.is_none());
}

#[test]
fn pods_that_hang_beside_old_ones_that_hang_are_not_the_release_s_fault() {
    let pods = vec![numbered("v1", 0), hanging(numbered("v1", 1), 650), hanging(numbered("v2", 2), 20)];
    let decision = stuck_with(Kind::StatefulSet, pods);
    assert!(decision.order.is_none());
    assert_eq!(decision.state.phase, Watched::Held);
    assert!(
        decision.state.standing.message.contains("nor is web-1, which is not new"),
        "{:?}",
        decision.state.standing
    );
}

#[test]
fn one_new_pod_of_many_that_hangs_is_not_the_release_s_fault() {
    let pods = vec![hanging(numbered("v2", 0), 20), numbered("v2", 1), numbered("v2", 2)];
    let decision = stuck_with(Kind::DaemonSet, pods);
    assert!(decision.order.is_none());
    assert_eq!(decision.state.standing.reason, "NotCausedByRelease");
    let two = vec![hanging(numbered("v2", 0), 20), hanging(numbered("v2", 1), 20), numbered("v2", 2)];
    assert!(stuck_with(Kind::DaemonSet, two).order.is_some());
}

/// What a StatefulSet's pod has counted, all of it after the rollout began.
#[test]
fn a_pod_that_is_still_an_old_one_is_compared_with() {
    let mut now = stateful_set("v2", vec![numbered("v1", 0), numbered("v2", 2)]);
    now.pods[1].created = at(50);
    let counter = |pod: &str, counts, each: f64| PodSeries {
        pod: pod.into(),
        counts,
        key: String::new(),
        points: (0..6).map(|look| (at(60 + look * 30), f64::from(i32::try_from(look).unwrap()) * each)).collect(),
    };
    let requests = Ok(vec![
        counter("web-0", Counts::Good, 100.0),
        counter("web-0", Counts::Bad, 1.0),
        counter("web-2", Counts::Good, 60.0),
        counter("web-2", Counts::Bad, 40.0),
        counter("web-9", Counts::Good, 1.0),
        counter("web-9", Counts::Bad, 99.0),
    ]);
    let measured = Measured {
        revision: &version("v2"),
        known_good: None,
        since: at(40),
        completed: None,
        workload: &now,
        requests: &requests,
        latencies: &Ok(Vec::new()),
        queries: &std::collections::BTreeMap::new(),
        past: None,
        looks: 6,
        minimum_requests: 50,
    };
    let check = Check { name: "errors".into(), severity: Severity::Critical, rule: Rule::error_rate(0.05) };
    let result = evaluate(&check, 2, &measured);
    let baseline = result.baseline.unwrap();
    assert!((baseline - 1.0 / 101.0).abs() < 1e-9, "web-9 is nobody's: {result:?}");
}

#[test]
fn a_deployment_is_rolled_out_by_the_facts_of_its_replica_sets() {
    let of = |change: fn(&mut Workload)| {
        let mut workload = complete_v2();
        change(&mut workload);
        rolled_out(&workload, &version("v2"))
    };
    assert_eq!(of(|_| ()), Ok(()));
    let unavailable = |available| Err(Incomplete::Unavailable { available, wanted: 3 });
    assert_eq!(of(|one| one.revisions[1].observed = false), unavailable(3), "its status is of another spec");
    assert_eq!(of(|one| one.revisions[1].desired = 2), unavailable(3));
    assert_eq!(of(|one| one.revisions[1].replicas = 4), unavailable(3));
    assert_eq!(of(|one| one.revisions[1].available = 2), unavailable(2));
    assert_eq!(of(|one| one.revisions[0].replicas = 1), Err(Incomplete::OldPods { remaining: 1 }));
    assert_eq!(of(|one| one.generation = 2), Err(Incomplete::NotObserved));
}

#[test]
fn of_two_replica_sets_of_one_template_the_one_that_runs_is_meant_else_the_oldest() {
    let named = |name: &str, created: i64, desired| {
        let uid = snapback_core::ids::ReplicaSetUid::new(name);
        snapback_core::workload::Revision { uid, created: at(created), ..revision("v1", created, desired, desired) }
    };
    let meant = |sets: Vec<snapback_core::workload::Revision>| {
        workload("v1", sets).revision(&version("v1")).map(|one| one.uid.as_str().to_owned()).unwrap()
    };
    assert_eq!(meant(vec![named("old", 1, 0), named("new", 2, 3)]), "new");
    assert_eq!(meant(vec![named("old", 1, 3), named("new", 2, 0)]), "old");
    assert_eq!(meant(vec![named("new", 2, 0), named("old", 1, 0)]), "old");
}

#[test]
fn without_a_partition_no_pod_is_spared() {
    let started_at_four = Replacing { first: 4, ..Replacing::default() };
    assert!(!started_at_four.spares(&numbered("v1", 2)));
}

#[test]
fn half_of_the_new_pods_that_hang_are_the_releases_fault() {
    let pods = vec![hanging(numbered("v2", 0), 20), numbered("v2", 1)];
    assert!(stuck_with(Kind::DaemonSet, pods).order.is_some());
}

#[test]
fn a_rollout_that_was_complete_does_not_get_stuck() {
    let of_kind = |workload| Workload { kind: Kind::DaemonSet, ..workload };
    let (v1, _) = observe(None, &of_kind(stateful_set("v1", all("v1"))), &Arrival::Before, at(0));
    let (rolling, _) = observe(Some(&v1), &of_kind(stateful_set("v2", all("v2"))), &Arrival::Before, at(10));
    assert!(rolling.rollout.as_ref().is_some_and(|rollout| rollout.completed.is_some()));
    let later = of_kind(stateful_set("v2", (0..3).map(|index| hanging(numbered("v2", index), 20)).collect()));
    assert!(decide(&policy(), rolling, &later, &[passing()], None, at(700)).order.is_none(), "its checks judge it");
}

#[test]
fn of_ready_pods_that_stay_only_those_are_named_that_a_person_has_to_delete() {
    let pods = vec![
        numbered("v1", 0),
        numbered("v2", 1),
        PodFacts { leaving: true, ..numbered("v2", 2) },
        PodFacts { leaving: true, ..unready(numbered("v2", 3)) },
    ];
    let on_delete = Replacing { on_delete: true, ..Replacing::default() };
    let waiting = look(&undone(), &Workload { replacing: on_delete, ..stateful_set("v1", pods) }, 5);
    assert!(waiting.message.ends_with("delete them: web-1"), "{}", waiting.message);
    let leaving = PodFacts { leaving: true, ..numbered("v2", 0) };
    let raised = partitioned(stateful_set("v1", vec![leaving, numbered("v1", 1), numbered("v1", 2)]), 1);
    let next = look(&undone(), &Workload { available: 3, ..raised }, 5);
    assert!(next.progress.rolled_out.is_some(), "the partition keeps nothing that leaves anyway: {}", next.message);
}

#[test]
fn the_next_stuck_pod_of_a_daemon_set_goes_when_the_one_before_is_replaced() {
    let on_delete = |pods| Workload {
        kind: Kind::DaemonSet,
        replacing: Replacing { on_delete: true, ..Replacing::default() },
        ..stateful_set("v1", pods)
    };
    let (good, bad) = (|index| numbered("v1", index), |index| unready(numbered("v2", index)));
    let first = look(&undone(), &on_delete(vec![good(0), bad(1), bad(2)]), 5);
    assert_eq!((first.act, deleted(&first)), (Act::DeletePod, vec!["web-1"]));
    assert_eq!(look(&first.progress, &on_delete(vec![good(0), bad(2)]), 6).act, Act::Nothing, "one at a time");
    let next = look(&first.progress, &on_delete(vec![good(0), good(1), bad(2)]), 7);
    assert_eq!((next.act, deleted(&next)), (Act::DeletePod, vec!["web-1", "web-2"]));
}
