//! Between the model's small states and the core: every decision here is the core's own.
//!
//! The core is pure, so what it said once is remembered: a model asks the same questions millions of times.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};
use snapback_core::checks::{CheckResult, Measured, Verdict, evaluate_all};
use snapback_core::fingerprint::Fingerprint;
use snapback_core::ids::{ReplicaSetUid, WorkloadUid};
use snapback_core::policy::{
    Analysis, Bound, Check, ConfigMode, Mode, OnInconclusive, OnNoData, Policy, Relative, RollbackRules, Rule,
    Severity, Soak,
};
use snapback_core::rollback::{self, Acting, Limit, PlannedJobs, Verification, verify};
use snapback_core::sample::{Answer, Missing, Point};
use snapback_core::watch::{self, Arrival, RevisionRef, Standing};
use snapback_core::workload::{DEFAULT_HISTORY, Kind, Replacing, Revision, Said, Workload};

use crate::mutant::Mutant;
use crate::world::{Deployment, Order, Progress, RecordId, Rev, Rollout, Target, Tick};

/// Bad windows in a row that are a breach.
const FAILURES: u32 = 2;

/// Seconds of a tick.
const INTERVAL: i64 = 10;

/// What the source says at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source {
    /// Whether it answers.
    pub data: bool,
    /// What it has; see [`crate::world::World::points`].
    pub points: u128,
}

/// What a record says of itself to the policy controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Heard {
    phase: rollback::Phase,
    bad: Rev,
    contended: bool,
}

/// A decision: the state to commit, and the order.
pub type Decided = (Target, Option<Order>);

/// A step: the status to commit, whether to send the undo, and whether there is something to tell.
pub type Stepped = (Progress, bool, bool);

type Observing = (Option<Target>, Deployment, Tick);
type Deciding = (Target, Deployment, Source, Option<Heard>, bool, Tick, Option<Mutant>);
type Stepping = (Rev, Rev, Progress, Deployment, Source, Tick, Tick);

#[derive(Default)]
struct Memo {
    observed: HashMap<Observing, Target>,
    decided: HashMap<Deciding, Decided>,
    stepped: HashMap<Stepping, Stepped>,
}

thread_local! {
    static MEMO: RefCell<Memo> = RefCell::default();
}

/// The time of a tick.
pub fn at(tick: Tick) -> Timestamp {
    Timestamp::from_second(1_000_000 + i64::from(tick) * INTERVAL).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn tick(at: Timestamp) -> Tick {
    Tick::try_from((at.as_second() - 1_000_000) / INTERVAL).unwrap_or_default()
}

fn ticks(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count * INTERVAL)
}

fn fingerprint(revision: Rev) -> Fingerprint {
    Fingerprint::recorded(format!("v{revision}"))
}

fn rev(fingerprint: &Fingerprint) -> Rev {
    fingerprint.as_str().trim_start_matches('v').parse().unwrap_or_default()
}

fn name(record: RecordId) -> String {
    record.to_string()
}

fn record(name: &str) -> RecordId {
    name.parse().unwrap_or_default()
}

/// The same text, for ever: there are a few words.
fn word(text: &str) -> &'static str {
    static WORDS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut words = WORDS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(known) = words.get(text) {
        return known;
    }
    let word: &'static str = text.to_owned().leak();
    words.insert(word);
    word
}

fn reference(revision: Rev) -> RevisionRef {
    RevisionRef {
        fingerprint: fingerprint(revision),
        replica_set: format!("web-v{revision}"),
        replica_set_uid: ReplicaSetUid::new(format!("uid-{revision}")),
        images: vec![format!("web:v{revision}")],
        called: Vec::new(),
        snapshot: String::new(),
        config: None,
    }
}

/// A live look.
fn workload(deployment: &Deployment) -> Workload {
    let Deployment { live, generation, observed, numbers, serving } = deployment.clone();
    let is_rolling = observed && serving != live;
    let revisions = (1..).zip(numbers).filter(|(_, number)| *number > 0).map(|(revision, number)| {
        let is_new = observed && revision == live;
        let has_pod = revision == serving || is_new;
        Revision {
            fingerprint: fingerprint(revision),
            name: format!("web-v{revision}"),
            uid: ReplicaSetUid::new(format!("uid-{revision}")),
            images: vec![format!("web:v{revision}")],
            called: Vec::new(),
            number: i64::from(number),
            created: at(0),
            desired: i32::from(has_pod),
            replicas: i32::from(has_pod),
            available: i32::from(revision == serving),
            observed: true,
        }
    });
    Workload {
        kind: Kind::Deployment,
        name: "web".into(),
        uid: WorkloadUid::new("uid"),
        created: at(0),
        generation: i64::from(generation),
        observed_generation: i64::from(generation) - i64::from(!observed),
        live: fingerprint(live),
        images: vec![format!("web:v{live}")],
        called: Vec::new(),
        replicas: 1,
        paused: false,
        pause_is_applied: false,
        frozen: None,
        updated: 1,
        available: 1,
        total: 1 + i32::from(is_rolling),
        revision_history_limit: DEFAULT_HISTORY,
        progress_deadline_exceeded: None,
        revisions: revisions.collect(),
        pods: Vec::new(),
        owners: Vec::new(),
        helm_release: None,
        delivery: snapback_core::gitops::Delivery::default(),
        rolling: None,
        replacing: Replacing::default(),
        said: Said::default(),
    }
}

/// Two bad windows in a row are a breach, two clean ones a soak.
fn policy(suspend: bool) -> Policy {
    Policy {
        mode: Mode::Automatic,
        suspend,
        soak: Soak { duration: ticks(2), interval: ticks(1), longest: ticks(4), progress_deadline: ticks(60) },
        analysis: Analysis::Consecutive { failures: FAILURES },
        minimum_requests: 1,
        on_no_data: OnNoData::Hold,
        on_inconclusive: OnInconclusive::Hold,
        controls: Vec::new(),
        in_front: false,
        checks: vec![Check { name: "errors".into(), severity: Severity::Critical, rule: rule() }],
        rollback: RollbackRules {
            deadline: ticks(60),
            verify: ticks(1) / 2,
            config: ConfigMode::Ignore,
            probes: Vec::new(),
            fast: false,
            cooldown: SignedDuration::ZERO,
            approval_timeout: ticks(60),
        },
        windows: Vec::new(),
        gate: None,
    }
}

fn rule() -> Rule {
    let max = Some(Bound { value: 0.5, of: Relative::Absolute });
    Rule::Query { promql: "errors".into(), min: None, max, floor: None }
}

/// What the source answers about a revision's pods since a time: of the bad one 1, of the good ones 0.
fn answer(source: Source, revision: Option<Rev>, since: Tick) -> BTreeMap<String, Answer<Vec<Point>>> {
    let measured = |tick: Tick| Rev::try_from(source.points >> (2 * u32::from(tick)) & 3).unwrap_or_default();
    let points = (since..64).filter(|tick| measured(*tick) != 0).filter_map(|tick| {
        let of = measured(tick);
        let value = if of == 2 { 1.0 } else { 0.0 };
        revision.is_none_or(|revision| revision == of).then_some(Point { at: at(tick + 1), value })
    });
    let answer = if source.data { Ok(points.collect()) } else { Err(Missing::Unavailable("down".into())) };
    BTreeMap::from([("errors".to_owned(), answer)])
}

fn measured<'a>(
    workload: &'a Workload,
    revision: &'a Fingerprint,
    queries: &'a BTreeMap<String, Answer<Vec<Point>>>,
    since: Timestamp,
    completed: Option<Timestamp>,
) -> Measured<'a> {
    const NONE: &Answer<Vec<snapback_core::sample::PodSeries>> = &Err(Missing::Empty);
    Measured {
        revision,
        known_good: None,
        since,
        completed,
        workload,
        requests: NONE,
        latencies: NONE,
        past: None,
        looks: 2,
        queries,
        minimum_requests: 1,
    }
}

fn target(known: &Target) -> watch::Target {
    watch::Target {
        uid: WorkloadUid::new("uid"),
        phase: known.phase,
        standing: Standing::new(known.reason, ""),
        current: reference(known.current),
        known_good: known.known_good.map(reference),
        rollout: known.rollout.as_ref().map(|rollout| watch::Rollout {
            started: at(rollout.started),
            completed: rollout.completed.map(at),
            returned: rollout.returned.map(name),
            freeze: None,
        }),
        rollback: known.rollback.map(name),
        quarantined: known
            .quarantined
            .iter()
            .map(|(bad, by)| watch::Quarantined {
                fingerprint: fingerprint(*bad),
                rollback: name(*by),
                called: Vec::new(),
                at: at(0),
            })
            .collect(),
    }
}

fn stored(state: &watch::Target, generation: u8, tally: u8) -> Target {
    Target {
        phase: state.phase,
        reason: word(&state.standing.reason),
        current: rev(&state.current.fingerprint),
        known_good: state.known_good.as_ref().map(|good| rev(&good.fingerprint)),
        rollout: state.rollout.as_ref().map(|rollout| Rollout {
            started: tick(rollout.started),
            completed: rollout.completed.map(tick),
            returned: rollout.returned.as_deref().map(record),
        }),
        rollback: state.rollback.as_deref().map(record),
        quarantined: state.quarantined.iter().map(|bad| (rev(&bad.fingerprint), record(&bad.rollback))).collect(),
        generation,
        tally,
    }
}

/// `watch::observe`.
pub fn observe(known: Option<&Target>, deployment: &Deployment, now: Tick) -> Target {
    let key = (known.cloned(), deployment.clone(), now);
    MEMO.with_borrow_mut(|memo| {
        let fresh = |(known, deployment, now): &Observing| {
            let before = known.as_ref().map(target);
            let (state, _) = watch::observe(before.as_ref(), &workload(deployment), &Arrival::Before, at(*now));
            stored(&state, deployment.generation, known.as_ref().map_or(0, |known| known.tally))
        };
        memo.observed.entry(key).or_insert_with_key(fresh).clone()
    })
}

/// What the policy controller reads of a record; `None` before its first step is `Running`, as the shell says it.
pub fn heard(bad: Rev, progress: &Progress) -> Heard {
    Heard {
        phase: progress.phase.unwrap_or(rollback::Phase::Running),
        bad,
        contended: progress.reason == rollback::CONTENDED,
    }
}

/// Measuring, and `watch::decide`.
pub fn decide(
    state: &Target,
    deployment: &Deployment,
    source: Source,
    acting: Option<Heard>,
    suspend: bool,
    now: Tick,
    mutant: Option<Mutant>,
) -> Decided {
    let key = (state.clone(), deployment.clone(), source, acting, suspend, now, mutant);
    MEMO.with_borrow_mut(|memo| memo.decided.entry(key).or_insert_with_key(decided).clone())
}

fn decided((state, deployment, source, acting, suspend, now, mutant): &Deciding) -> Decided {
    let policy = policy(*suspend);
    let live = workload(deployment);
    let is_judged = |rollout: &&Rollout| state.rollback.is_none() && !suspend && rollout.returned.is_none();
    let mut tally = state.tally;
    let mut checks = Vec::new();
    let mut judged = state.current;
    if let Some(rollout) = state.rollout.as_ref().filter(is_judged) {
        let judges_another = *mutant == Some(Mutant::JudgesAnother);
        let since = if judges_another { 0 } else { rollout.started };
        let queries = answer(*source, Some(state.current).filter(|_| !judges_another), since);
        let revision = fingerprint(state.current);
        let asked = measured(&live, &revision, &queries, at(since), rollout.completed.map(at));
        checks = evaluate_all(&policy.checks, policy.analysis, &asked);
        if judges_another && checks.iter().any(|check| check.verdict == Verdict::Breached) {
            judged = 2;
        }
    }
    for check in &mut checks {
        spoil(check, *mutant, &mut tally);
    }
    let acting = acting.map(|said| Acting {
        phase: said.phase,
        message: String::new(),
        bad: fingerprint(said.bad),
        contended: said.contended,
    });
    let decision = watch::decide(&policy, target(state), &live, &checks, acting.as_ref(), at(*now));
    let order = decision.order.map(|order| {
        let breached = || order.evidence.iter().filter(|check| check.verdict == Verdict::Breached);
        Order {
            bad: rev(&order.from.fingerprint),
            good: rev(&order.to.fingerprint),
            returned: order.returned.is_some(),
            judged,
            has_data: breached().any(|check| check.value.is_some()),
            windows: breached().map(|check| u8::try_from(check.in_a_row).unwrap_or(u8::MAX)).max().unwrap_or_default(),
        }
    });
    (stored(&decision.state, deployment.generation, tally), order)
}

/// Seeded bugs of measuring.
fn spoil(check: &mut CheckResult, mutant: Option<Mutant>, tally: &mut u8) {
    match mutant {
        Some(Mutant::NoDataIsBad) if check.verdict == Verdict::NoData => check.verdict = Verdict::Breached,
        Some(Mutant::CountsLooks) => {
            *tally = if check.in_a_row > 0 { (*tally + 1).min(4) } else { 0 };
            if u32::from(*tally) >= FAILURES {
                (check.verdict, check.in_a_row) = (Verdict::Breached, u32::from(*tally));
            }
        }
        _ => {}
    }
}

fn order(bad: Rev, good: Rev, deadline: Tick) -> rollback::Order {
    rollback::Order {
        uid: WorkloadUid::new("uid"),
        from: reference(bad),
        to: reference(good),
        needs_approval: false,
        ask: None,
        cause: None,
        withdrawn: None,
        rival: None,
        handle: String::new(),
        approval: None,
        decided: at(0),
        approval_timeout: None,
        config: ConfigMode::Ignore,
        fast: false,
        deadline: ticks(i64::from(deadline)),
        verify: ticks(1) / 2,
        probes: Vec::new(),
        jobs: PlannedJobs::default(),
    }
}

fn progress(known: &Progress) -> rollback::Progress {
    rollback::Progress {
        phase: known.phase,
        undo_requested: known.requested.map(at),
        number_at_request: known.number.map(i64::from),
        generation_at_request: known.generation.map(i64::from),
        undo_accepted: known.accepted.map(at),
        rolled_out: known.rolled_out.map(at),
        recovered: known.recovered.map(at),
        ended: known.ended.then_some(at(0)),
        ..rollback::Progress::default()
    }
}

fn written(step: &rollback::Step) -> Progress {
    let next = &step.progress;
    let small = |number: Option<i64>| number.and_then(|number| u8::try_from(number).ok());
    let ended = next.ended.is_some();
    // A time that is not asked for any more must not tell two states apart.
    let is_open = !ended && next.undo_accepted.is_none();
    let past = |time: Option<Timestamp>, is_past: bool| time.map(|time| if is_past { 0 } else { tick(time) });
    Progress {
        phase: next.phase,
        reason: step.reason,
        requested: past(next.undo_requested, !is_open),
        number: small(next.number_at_request).filter(|_| is_open),
        generation: small(next.generation_at_request).filter(|_| is_open),
        accepted: past(next.undo_accepted, ended || next.rolled_out.is_some()),
        rolled_out: past(next.rolled_out, ended),
        recovered: past(next.recovered, ended),
        ended,
    }
}

/// Measuring the good revision, and `rollback::step`.
pub fn step(
    (bad, good): (Rev, Rev),
    known: &Progress,
    deployment: &Deployment,
    source: Source,
    now: Tick,
    deadline: Tick,
) -> Stepped {
    let key = (bad, good, known.clone(), deployment.clone(), source, now, deadline);
    MEMO.with_borrow_mut(|memo| memo.stepped.entry(key).or_insert_with_key(stepped).clone())
}

fn stepped((bad, good, known, deployment, source, now, deadline): &Stepping) -> Stepped {
    let live = workload(deployment);
    let is_verifying = known.phase == Some(rollback::Phase::Verifying);
    let verification: Option<Verification> = known.rolled_out.filter(|_| is_verifying).map(|since| {
        let (queries, revision) = (answer(*source, Some(*good), since), fingerprint(*good));
        let limits = [Limit { name: "errors".into(), rule: rule() }];
        verify(&limits, &measured(&live, &revision, &queries, at(since), Some(at(since)))).0
    });
    let order = order(*bad, *good, *deadline);
    let next = rollback::step(&order, &progress(known), Some(&live), verification.as_ref(), at(*now));
    (written(&next), next.act == rollback::Act::Undo, !next.notices.is_empty())
}

/// `rollback::undo_accepted`.
pub fn undo_accepted((bad, good): (Rev, Rev), committed: &Progress, now: Tick, deadline: Tick) -> Progress {
    let committed = rollback::Step {
        progress: progress(committed),
        reason: "Undoing",
        message: String::new(),
        act: rollback::Act::Undo,
        notices: Vec::new(),
        verified: None,
        residue: None,
        next_look: None,
    };
    written(&rollback::undo_accepted(committed, &order(bad, good, deadline), at(now)))
}
