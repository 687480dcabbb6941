//! Small builders: a cluster of three pods, and time that tests move by hand.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "every suite uses its own part")]

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::ProptestConfig;
use snapback_core::checks::{CheckResult, Unit, Verdict, Why};
use snapback_core::fingerprint::Fingerprint;
use snapback_core::ids::{PodUid, ReplicaSetUid, WorkloadUid};
use snapback_core::policy::{
    Analysis, Check, ConfigMode, Mode, OnInconclusive, OnNoData, Policy, RollbackRules, Rule, Schedule, Severity, Soak,
    Window, WindowKind, zone,
};
use snapback_core::rollback::{Order, PlannedJobs};
use snapback_core::watch::RevisionRef;
use snapback_core::workload::{DEFAULT_HISTORY, Failure, Kind, PodFacts, Replacing, Revision, Said, Workload};

/// Seconds since the start of the story.
pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

/// The fingerprint of a version.
pub fn version(name: &str) -> Fingerprint {
    Fingerprint::recorded(name)
}

/// Soak 60 s, every 10 s, three bad windows in a row.
pub fn policy() -> Policy {
    Policy {
        mode: Mode::Automatic,
        suspend: false,
        soak: Soak {
            duration: SignedDuration::from_secs(60),
            interval: SignedDuration::from_secs(10),
            longest: SignedDuration::from_secs(240),
            progress_deadline: SignedDuration::from_mins(10),
        },
        analysis: Analysis::Consecutive { failures: 3 },
        minimum_requests: 50,
        on_no_data: OnNoData::Hold,
        on_inconclusive: OnInconclusive::Accept,
        controls: Vec::new(),
        in_front: false,
        checks: vec![Check { name: "errors".into(), severity: Severity::Critical, rule: Rule::error_rate(0.05) }],
        rollback: RollbackRules {
            deadline: SignedDuration::from_mins(10),
            verify: SignedDuration::from_secs(30),
            config: ConfigMode::Warn,
            probes: Vec::new(),
            fast: false,
            cooldown: SignedDuration::from_mins(30),
            approval_timeout: SignedDuration::from_hours(1),
        },
        windows: Vec::new(),
        gate: None,
    }
}

/// The same, with a window that denies on the day of the stories, 12 January 1970.
pub fn frozen() -> Policy {
    let freeze = Window {
        name: Some("freeze".into()),
        kind: WindowKind::Deny,
        schedule: Schedule::parse("0 0 12 1 *", zone("Etc/UTC").unwrap()).unwrap(),
        duration: SignedDuration::from_hours(24),
    };
    Policy { windows: vec![freeze], ..policy() }
}

/// One revision with its pods.
pub fn revision(name: &str, number: i64, desired: i32, available: i32) -> Revision {
    Revision {
        fingerprint: version(name),
        name: format!("web-{name}"),
        uid: ReplicaSetUid::new(format!("uid-{name}")),
        images: vec![format!("registry.example/web:{name}")],
        called: vec![name.to_owned()],
        number,
        created: at(number),
        desired,
        replicas: desired,
        available,
        observed: true,
    }
}

/// A healthy pod of a version.
pub fn pod(name: &str, index: i32) -> PodFacts {
    PodFacts {
        name: format!("web-{name}-abcd{index}"),
        uid: PodUid::new(format!("{name}/{index}")),
        owner: ReplicaSetUid::new(format!("uid-{name}")),
        ip: None,
        version: "7".into(),
        created: at(0),
        ready: true,
        ready_since: Some(at(0)),
        hanging_since: None,
        leaving: false,
        unschedulable: false,
        failure: None,
        limits: Vec::new(),
    }
}

/// A pod that crashes.
pub fn crashing(name: &str, index: i32) -> PodFacts {
    let failure = Failure::CrashLoop { container: "web".into(), exit_code: Some(1), restarts: 3 };
    PodFacts { ready: false, failure: Some(failure), ..pod(name, index) }
}

/// A Deployment of three replicas whose live template is `live`.
pub fn workload(live: &str, revisions: Vec<Revision>) -> Workload {
    let pods = revisions.iter().flat_map(|one| (0..one.replicas).map(|index| pod(one.fingerprint.as_str(), index)));
    Workload {
        kind: Kind::Deployment,
        name: "web".into(),
        uid: WorkloadUid::new("uid"),
        created: at(0),
        generation: 1,
        observed_generation: 1,
        live: version(live),
        images: vec![format!("registry.example/web:{live}")],
        called: vec![live.to_owned()],
        replicas: 3,
        paused: false,
        pause_is_applied: false,
        frozen: None,
        updated: 3,
        available: 3,
        total: 3,
        revision_history_limit: DEFAULT_HISTORY,
        progress_deadline_exceeded: None,
        pods: pods.collect(),
        revisions,
        owners: Vec::new(),
        helm_release: None,
        delivery: snapback_core::gitops::Delivery::default(),
        rolling: None,
        replacing: Replacing::default(),
        said: Said::default(),
    }
}

/// `v1` runs, complete.
pub fn complete_v1() -> Workload {
    workload("v1", vec![revision("v1", 1, 3, 3)])
}

/// `v2` is being rolled out: one new pod beside three old ones.
pub fn rolling_v2() -> Workload {
    workload("v2", vec![revision("v1", 1, 3, 3), revision("v2", 2, 1, 0)])
}

/// `v2` is rolled out.
pub fn complete_v2() -> Workload {
    workload("v2", vec![revision("v1", 1, 0, 0), revision("v2", 2, 3, 3)])
}

/// A result of the check `errors`.
pub fn errors(verdict: Verdict, why: Why) -> CheckResult {
    CheckResult {
        name: "errors".into(),
        severity: Severity::Critical,
        verdict,
        why,
        unit: Unit::Share,
        value: Some(0.2),
        limit: Some(0.05),
        baseline: None,
        requests: Some(100),
        bad: Some(20),
        in_a_row: 3,
        window: Some((at(0), at(10))),
        first_bad: Some(at(0)),
        covered: SignedDuration::from_secs(60),
        odds: None,
        record: String::new(),
        message: "told".into(),
    }
}

/// All is well.
pub fn passing() -> CheckResult {
    errors(Verdict::Passing, Why::WithinLimit)
}

/// A breach.
pub fn breached() -> CheckResult {
    errors(Verdict::Breached, Why::OutsideLimit)
}

/// A revision as it is remembered.
pub fn reference(name: &str) -> RevisionRef {
    RevisionRef {
        fingerprint: version(name),
        replica_set: format!("web-{name}"),
        replica_set_uid: ReplicaSetUid::new(format!("uid-{name}")),
        images: vec![format!("registry.example/web:{name}")],
        called: vec![name.to_owned()],
        snapshot: String::new(),
        config: None,
    }
}

/// To go back from `v2` to `v1`, decided at second 0.
pub fn order() -> Order {
    Order {
        uid: WorkloadUid::new("uid"),
        from: reference("v2"),
        to: reference("v1"),
        needs_approval: false,
        ask: None,
        cause: None,
        handle: "-n shop rollback web-1".into(),
        approval: None,
        withdrawn: None,
        rival: None,
        decided: at(0),
        approval_timeout: Some(SignedDuration::from_hours(1)),
        config: ConfigMode::Ignore,
        fast: false,
        deadline: SignedDuration::from_secs(600),
        verify: SignedDuration::from_secs(30),
        probes: Vec::new(),
        jobs: PlannedJobs::default(),
    }
}

/// How a property is tried: by this many cases, of which PROPTEST_CASES takes a share. The crate's own 256 stand for all.
pub fn tried(cases: u32) -> ProptestConfig {
    let asked = ProptestConfig::default();
    ProptestConfig { cases: (cases * asked.cases / 256).max(1), failure_persistence: None, ..asked }
}
