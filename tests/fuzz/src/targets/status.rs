//! Status that is read back after a restart, whoever wrote it, and the one decision that follows: JSON with `policy` (a
//! spec), `target` (as a policy's status has it), `rollback` (an object), `live` (the workload), `checks` and `now`.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use snapback_api::convert;
use snapback_api::v1alpha1::{ReadinessStatus, Rollback, RollbackStatus, TargetStatus};
use snapback_controller::rollback::{guard, next_status};
use snapback_controller::status::{target_from_status, target_status};
use snapback_core::checks::{CheckResult, Unit, Verdict, Why};
use snapback_core::fingerprint::Fingerprint;
use snapback_core::ids::{PodUid, ReplicaSetUid, WorkloadUid};
use snapback_core::notice::Notice;
use snapback_core::policy::{Mode, Policy, Severity};
use snapback_core::rollback::{Act, Acting, Approval, Phase, Step, Verification, step};
use snapback_core::sample::Missing;
use snapback_core::watch::{Arrival, FreezeAct, Target, decide, observe};
use snapback_core::workload::{Kind, PodFacts, Replacing, Revision, Said, Workload};

use crate::schema::misshapen;

const TARGET: &str = "/properties/status/properties/targets/items";
const STATUS: &str = "/properties/status";

pub(crate) fn target(data: &[u8]) {
    let Ok(story) = serde_json::from_slice::<Value>(data) else { return };
    let Some(policy) = policy(&story["policy"]) else { return };
    let workload = workload(&story["live"]);
    // Clocks are set to years such as ours.
    let now = Timestamp::from_second(story["now"].as_i64().unwrap_or(0).clamp(0, 4_000_000_000)).unwrap();
    if let Ok(status) = serde_json::from_value::<TargetStatus>(story["target"].clone()) {
        a_target(&story, &policy, &status, &workload, now);
    }
    if let Ok(rollback) = serde_json::from_value::<Rollback>(story["rollback"].clone()) {
        a_rollback(&story["rollback"], &rollback, &workload, now);
    }
}

fn policy(spec: &Value) -> Option<Policy> {
    let default = json!({"targetRef": {"kind": "Deployment", "name": "web"}});
    let spec = if spec.is_null() { &default } else { spec };
    convert::policy(&serde_json::from_value(spec.clone()).ok()?).ok()
}

fn a_target(story: &Value, policy: &Policy, status: &TargetStatus, workload: &Workload, now: Timestamp) {
    let is_taken = misshapen("RollbackPolicy", TARGET, &serde_json::to_value(status).unwrap()).is_empty();
    let write = |state: &Target| {
        let readiness = ReadinessStatus { ready: true, reason: "Ready".into(), message: "it would work".into() };
        let named = (Kind::Deployment, status.name.as_str());
        target_status(named, state, policy, workload.generation, status.checks.clone(), readiness)
    };
    let can_be_written = |state: &Target| {
        let written = write(state);
        let wrong = misshapen("RollbackPolicy", TARGET, &serde_json::to_value(&written).unwrap());
        assert!(!is_taken || wrong.is_empty(), "the API server would not take what follows: {wrong:?}");
        // What is read back is what was written.
        assert_eq!(write(&target_from_status(&written)), written);
    };
    let known = target_from_status(status);
    can_be_written(&known);

    let arrival = Arrival::of(workload, Timestamp::UNIX_EPOCH, &policy.soak, None, now);
    let (seen, _) = observe(Some(&known), workload, &arrival, now);
    assert_eq!(
        observe(Some(&seen), workload, &arrival, now),
        (seen.clone(), Vec::<Notice>::new()),
        "a look changes what it saw"
    );
    can_be_written(&seen);

    let acting = seen.rollback.as_ref().map(|_| acting(&story["rollback"]["status"], &seen));
    let results = results(policy, &story["checks"], now);
    let decision = decide(policy, seen.clone(), workload, &results, acting.as_ref(), now);
    can_be_written(&decision.state);
    assert!(decision.next_look.is_none_or(|next| !next.is_negative()), "{:?}", decision.next_look);
    if let Some(order) = decision.order {
        let mode = workload.said.mode.clone().and_then(Result::ok).unwrap_or(policy.mode);
        // Our own pause of another revision ends in the same look.
        let is_paused = workload.paused && decision.freeze != Some(FreezeAct::End);
        assert!(mode != Mode::Observe && !policy.suspend && !is_paused, "{order:?}");
        assert!(acting.is_none(), "a second rollback beside the first");
        assert_eq!(order.from.fingerprint, workload.live);
        assert_eq!(Some(&order.to), seen.known_good.as_ref());
        assert!(mode != Mode::Approve || order.ask.is_some(), "nobody was asked");
        let is_breached = results.iter().any(|result| result.verdict == Verdict::Breached);
        let is_back = seen.rollout.as_ref().is_some_and(|rollout| rollout.returned.is_some());
        assert!(is_breached || is_back || workload.progress_deadline_exceeded.is_some(), "nothing is wrong: {order:?}");
    }
}

fn acting(status: &Value, seen: &Target) -> Acting {
    let phase = match status["phase"].as_str() {
        Some("AwaitingApproval") => Phase::AwaitingApproval,
        Some("Verifying") => Phase::Verifying,
        Some("Succeeded") => Phase::Succeeded,
        Some("Failed") => Phase::Failed,
        Some("Superseded") => Phase::Superseded,
        Some("Escalated") => Phase::Escalated,
        Some("Rejected") => Phase::Rejected,
        _ => Phase::Running,
    };
    let message = status["message"].as_str().unwrap_or_default().to_owned();
    let contended = status["reason"] == "Contended";
    Acting { phase, message, bad: seen.current.fingerprint.clone(), contended }
}

/// A result of each check, by the words of a list.
fn results(policy: &Policy, words: &Value, now: Timestamp) -> Vec<CheckResult> {
    let word = |index: usize| words[index].as_str().unwrap_or("passing");
    let results = policy.checks.iter().enumerate().map(|(index, check)| {
        let (verdict, why) = match word(index) {
            "breached" => (Verdict::Breached, Why::OutsideLimit),
            "common" => (Verdict::Inconclusive, Why::ExternalCause),
            "unclear" => (Verdict::Inconclusive, Why::TooFewRequests),
            "nothing" => (Verdict::NoData, Why::Missing(Missing::Empty)),
            _ => (Verdict::Passing, Why::WithinLimit),
        };
        CheckResult {
            name: check.name.clone(),
            severity: if word(index).is_empty() { Severity::Warning } else { check.severity },
            verdict,
            why,
            unit: Unit::Share,
            value: Some(0.2),
            limit: Some(0.05),
            baseline: None,
            requests: Some(100),
            bad: Some(20),
            in_a_row: 3,
            window: Some((now, now)),
            first_bad: Some(now),
            covered: SignedDuration::from_hours(1),
            odds: None,
            record: String::new(),
            message: "it is so".to_owned(),
        }
    });
    results.collect()
}

fn a_rollback(given: &Value, rollback: &Rollback, workload: &Workload, now: Timestamp) {
    let known = rollback.status.clone().unwrap_or_default();
    let Ok((order, progress)) = guard(rollback) else { return };
    // What has ended is not stepped any more.
    if progress.phase.is_some_and(Phase::is_terminal) {
        return;
    }
    let is_taken = misshapen("Rollback", STATUS, &serde_json::to_value(&known).unwrap()).is_empty()
        && misshapen("Rollback", "/properties/spec", &given["spec"]).is_empty();
    let verification = match given["verification"].as_str() {
        Some("within") => Verification::Within,
        Some("outside") => Verification::Outside("errors".to_owned()),
        _ => Verification::Unknown("nothing is known".to_owned()),
    };
    let workload = (given["workload"] != "gone").then_some(workload);
    let next = step(&order, &progress, workload, Some(&verification), now);

    let is_over = next.progress.phase.is_some_and(Phase::is_terminal);
    assert_eq!(is_over, next.progress.ended.is_some() && is_over, "an end without a time");
    if next.act == Act::Undo {
        let live = workload.map(|workload| &workload.live);
        assert!(live == Some(&order.from.fingerprint), "an undo of what is not live");
        let noted = &next.progress;
        assert!(noted.undo_requested.is_some() && noted.generation_at_request.is_some(), "not noted before it is sent");
        assert!(progress.undo_accepted.is_none() && !is_over, "a second undo");
        let may = !order.needs_approval || progress.approved.is_some() || order.approval == Some(Approval::Approved);
        assert!(may, "nobody approved");
    }

    let write = |rollback: &Rollback, step: &_| next_status(rollback, &known, step, &[], now);
    let written = write(rollback, &next);
    let wrong = misshapen("Rollback", STATUS, &serde_json::to_value(&written).unwrap());
    assert!(!is_taken || wrong.is_empty(), "the API server would not take what follows: {wrong:?}");
    // Who comes after a crash reads what was written, and would write the same.
    let after = |written: &RollbackStatus| {
        let mut after = rollback.clone();
        after.status = Some(written.clone());
        let (_, progress) = guard(&after).unwrap();
        write(rollback, &Step { progress, ..next.clone() })
    };
    let again = after(&written);
    // What the API server would never have held is cut when it is first written.
    assert!(!is_taken || again == written, "not what was written: {again:#?}\n{written:#?}");
    assert_eq!(after(&again), again, "it never settles");
}

/// A workload of a few words: `uid`, `kind`, `live`, `replicas`, `available`, `paused`, `generation`, `revisions` (fingerprints,
/// the newest last), `mode` and `migration`.
fn workload(live: &Value) -> Workload {
    // Fingerprints have 20 characters, whatever else is made up.
    let short = |text: &str| text.chars().take(20).collect::<String>();
    let text = |key: &str, default: &str| short(live[key].as_str().unwrap_or(default));
    let number = |key: &str, default: i64| live[key].as_i64().unwrap_or(default);
    let small = |key: &str, default: i64| i32::try_from(number(key, default)).unwrap_or(i32::MAX);
    let newest = text("live", "v2");
    let replicas = small("replicas", 3).max(0);
    let available = small("available", 3);
    let names: Vec<String> = match live["revisions"].as_array() {
        Some(names) => names.iter().take(8).map(|name| short(name.as_str().unwrap_or("v1"))).collect(),
        None => vec!["v1".to_owned(), newest.clone()],
    };
    let revisions: Vec<Revision> =
        (1..).zip(&names).map(|(number, name)| revision(number, name, *name == newest, replicas, available)).collect();
    let pods = revisions.iter().filter(|one| one.desired > 0).map(pod).collect();
    Workload {
        kind: match live["kind"].as_str() {
            Some("StatefulSet") => Kind::StatefulSet,
            Some("DaemonSet") => Kind::DaemonSet,
            _ => Kind::Deployment,
        },
        name: "web".into(),
        uid: WorkloadUid::new(text("uid", "uid")),
        created: Timestamp::UNIX_EPOCH,
        generation: number("generation", 2),
        observed_generation: number("observedGeneration", number("generation", 2)),
        images: vec![format!("registry.example/web:{newest}")],
        called: Vec::new(),
        live: Fingerprint::recorded(newest),
        replicas,
        paused: live["paused"] == true,
        pause_is_applied: false,
        frozen: live["frozen"].as_str().map(Fingerprint::recorded),
        updated: available,
        available,
        total: replicas,
        revision_history_limit: 10,
        progress_deadline_exceeded: live["stuckSince"].as_i64().and_then(|at| Timestamp::from_second(at).ok()),
        revisions,
        pods,
        owners: Vec::new(),
        helm_release: None,
        delivery: snapback_core::gitops::Delivery::default(),
        rolling: None,
        replacing: Replacing::default(),
        said: Said::read(live["mode"].as_str(), live["migration"].as_str())
            .with_migration_job(live["migrationJob"].as_str()),
    }
}

fn revision(number: i64, name: &str, is_live: bool, replicas: i32, available: i32) -> Revision {
    Revision {
        fingerprint: Fingerprint::recorded(name),
        name: format!("web-{name}"),
        uid: ReplicaSetUid::new(format!("uid-{name}")),
        images: vec![format!("registry.example/web:{name}")],
        called: Vec::new(),
        number,
        created: Timestamp::UNIX_EPOCH,
        desired: if is_live { replicas } else { 0 },
        replicas: if is_live { replicas } else { 0 },
        available: if is_live { available } else { 0 },
        observed: true,
    }
}

fn pod(revision: &Revision) -> PodFacts {
    PodFacts {
        name: format!("{}-abcde", revision.name),
        uid: PodUid::new(revision.name.clone()),
        owner: revision.uid.clone(),
        ip: None,
        version: "7".into(),
        created: Timestamp::UNIX_EPOCH,
        ready: revision.available > 0,
        ready_since: None,
        hanging_since: None,
        leaving: false,
        unschedulable: false,
        failure: None,
        limits: Vec::new(),
    }
}
