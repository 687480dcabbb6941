//! The decision tree: each leaf is one early return, and one test.

use jiff::{SignedDuration, Timestamp};

use super::freeze::{self, FreezeAct};
use super::observe::arrive;
use super::{FreezeState, MAX_QUARANTINED, Phase, Quarantined, RevisionRef, Rollout, Soaked, Standing, Target, soaked};
use crate::checks::{CheckResult, IN_A_ROW, Verdict, Why};
use crate::fingerprint::Fingerprint;
use crate::gate::{NOT_CAUSED, ROLLED_BACK};
use crate::notice::{Notice, Reason};
use crate::permission::windows;
use crate::policy::{Analysis, Mode, Policy, Severity};
use crate::readiness::known_good_fails;
use crate::rollback;
use crate::workload::{Kind, MIGRATION, MIGRATION_JOB, MODE, Migration, Said, Workload, rolled_out};

/// What is to be done, and what is remembered.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The state to commit.
    pub state: Target,
    /// The rollback to order, if one was decided.
    pub order: Option<Order>,
    /// What is to be done about a freeze.
    pub freeze: Option<FreezeAct>,
    /// What to tell.
    pub notices: Vec<Notice>,
    /// When to look again; `None` means at the next change.
    pub next_look: Option<SignedDuration>,
}

/// A decided rollback.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// The bad revision.
    pub from: RevisionRef,
    /// The known good one.
    pub to: RevisionRef,
    /// Why a person has to approve it; `None` when nobody has to.
    pub ask: Option<String>,
    /// The template of the Job that takes the change of data back, before the undo.
    pub migration_job: Option<String>,
    /// Names of the checks that decided.
    pub breached: Vec<String>,
    /// The record of its undo before, when a quarantined revision is back.
    pub returned: Option<String>,
    /// Every check's result at this instant.
    pub evidence: Vec<CheckResult>,
    /// When the rollout was first seen.
    pub started: Timestamp,
    /// When the fault was first measured.
    pub first_bad: Option<Timestamp>,
    /// Now.
    pub decided: Timestamp,
}

/// Judges a target.
///
/// `acting` is the `Rollback` that the state names, as it is now. `checks` are the results at this instant.
pub fn decide(
    policy: &Policy,
    mut state: Target,
    workload: &Workload,
    checks: &[CheckResult],
    acting: Option<&rollback::Acting>,
    now: Timestamp,
) -> Decision {
    let mut told = Vec::new();
    let end = freeze::follow(policy, &mut state, workload, &mut told);
    let mut decision = judge(policy, state, workload, checks, acting, end, now);
    // What ends comes before what begins: the next look sees whether there is anything to freeze.
    decision.freeze = end.or(decision.freeze);
    told.append(&mut decision.notices);
    decision.notices = told;
    decision
}

fn judge(
    policy: &Policy,
    mut state: Target,
    workload: &Workload,
    checks: &[CheckResult],
    acting: Option<&rollback::Acting>,
    end: Option<FreezeAct>,
    now: Timestamp,
) -> Decision {
    let mut notices = Vec::new();
    if let (Some(name), Some(acting)) = (state.rollback.clone(), acting) {
        return follow_rollback(state, &name, acting, workload, now);
    }
    let Some(rollout) = state.rollout.clone() else {
        if state.standing.reason.is_empty() {
            state.standing = known_good(&state);
        }
        return Decision { state, order: None, freeze: None, notices, next_look: None };
    };
    if policy.suspend {
        return done(state, Standing::new("Suspended", "the policy is suspended; nothing is judged"), notices);
    }
    if end.is_none() && freeze::is_frozen(workload) {
        state.phase = Phase::Held;
        state.standing = Standing::new("ForwardFixOnly", freeze::frozen(&state.current.name(), workload));
        return Decision { state, order: None, freeze: None, notices, next_look: Some(policy.soak.interval) };
    }
    if workload.paused && end != Some(FreezeAct::End) {
        return done(state, Standing::new("Paused", "the Deployment is paused; nothing is judged"), notices);
    }
    if workload.replicas == 0 {
        let message = match workload.kind {
            Kind::DaemonSet => "the DaemonSet has no node to run on; nothing is judged".to_owned(),
            kind => format!("the {} is scaled to zero; nothing is judged", kind.as_str()),
        };
        return done(state, Standing::new("ScaledToZero", message), notices);
    }

    if let Some(rollback) = &rollout.returned {
        let cause = Cause::returned(rollback);
        return on_cause(policy, state, workload, cause, &rollout, now);
    }

    let mut results = checks.to_vec();
    results.extend(super::progress::evaluate(workload, &rollout, policy.soak.progress_deadline, now));
    if let Some(cause) = Cause::breached(policy, &results) {
        return on_cause(policy, state, workload, cause, &rollout, now);
    }

    let interval = Some(policy.soak.interval);
    // A warning holds nothing up.
    let mut critical = results.iter().filter(|check| check.severity == Severity::Critical);
    if let Some(common) = critical.find(|check| check.why == Why::ExternalCause && is_lasting(policy, check)) {
        let message = format!("{}: {}", common.name, common.message);
        hold(&mut state, &mut notices, &message);
        state.standing = Standing::new(NOT_CAUSED, message);
        return Decision { state, order: None, freeze: None, notices, next_look: interval };
    }

    // The hold of an earlier look is over when its cause is.
    state.phase = if rollout.completed.is_some() { Phase::Soaking } else { Phase::Progressing };
    let soaked = soaked(policy, &rollout, &results, now);
    state.standing = match soaked {
        Soaked::Passed | Soaked::Accepted(_) => {
            let name = state.current.name();
            state.phase = Phase::Idle;
            state.rollout = None;
            state.known_good = Some(state.current.clone());
            let standing = if let Soaked::Accepted(why) = &soaked {
                let message = format!(
                    "{name} is accepted as known good at the end of its longest soak, though not proven good: {why}"
                );
                notices.push(Notice::new(Reason::Inconclusive, message.clone()));
                Standing::new("Unproven", message)
            } else {
                notices.push(Notice::new(Reason::SoakPassed, format!("{name} passed its soak and is known good")));
                known_good(&state)
            };
            return done(state, standing, notices);
        }
        Soaked::WaitingForData(why) => Standing::new("WaitingForData", format!("the soak waits for data: {why}")),
        Soaked::Undecided(why) => Standing::new("Undecided", why),
        Soaked::Running => running(workload, &results),
    };
    let until_soak_end = rollout
        .completed
        .map(|completed| policy.soak.duration - now.duration_since(completed))
        .filter(SignedDuration::is_positive);
    let next_look = Some(until_soak_end.map_or(policy.soak.interval, |left| left.min(policy.soak.interval)));
    Decision { state, order: None, freeze: None, notices, next_look }
}

/// An external cause is a finding only once it lasted as long as a breach would have to.
fn is_lasting(policy: &Policy, check: &CheckResult) -> bool {
    match policy.analysis {
        Analysis::Consecutive { failures } => check.window.is_none() || check.in_a_row >= failures,
        // What was counted and tested lasts; a query has nothing to count.
        Analysis::Sequential { .. } => check.odds.is_some() || check.window.is_none() || check.in_a_row >= IN_A_ROW,
    }
}

fn running(workload: &Workload, results: &[CheckResult]) -> Standing {
    let open = |check: &&CheckResult| check.verdict != Verdict::Passing && check.severity == Severity::Critical;
    let told = |check: &CheckResult| format!("{}: {}", check.name, check.message);
    let missing = results.iter().filter(open).find(|check| check.verdict == Verdict::NoData);
    let unclear = missing.or_else(|| results.iter().find(open)).map(told);
    match rolled_out(workload, &workload.live) {
        Err(incomplete) if unclear.is_none() => Standing::new("RollingOut", incomplete.describe()),
        Err(incomplete) => {
            Standing::new("RollingOut", format!("{}; {}", incomplete.describe(), unclear.unwrap_or_default()))
        }
        Ok(()) => match (missing, unclear) {
            (Some(_), Some(why)) => Standing::new("NoData", why),
            (None, Some(why)) => Standing::new("Judging", why),
            _ => Standing::new("WithinLimits", "every check is inside its limit"),
        },
    }
}

fn known_good(state: &Target) -> Standing {
    match &state.known_good {
        Some(good) if good.fingerprint == state.current.fingerprint => {
            Standing::new("KnownGood", format!("{} is known good", good.name()))
        }
        _ => Standing::new("Idle", "nothing is judged"),
    }
}

fn done(mut state: Target, standing: Standing, notices: Vec<Notice>) -> Decision {
    state.standing = standing;
    Decision { state, order: None, freeze: None, notices, next_look: None }
}

/// Goes to `Held`, telling it once.
fn hold(state: &mut Target, notices: &mut Vec<Notice>, message: &str) {
    if state.phase != Phase::Held {
        notices.push(Notice::new(Reason::Held, message.to_owned()));
    }
    state.phase = Phase::Held;
}

/// Why a revision is to be undone.
struct Cause {
    /// For people.
    story: String,
    /// The checks that say so.
    checks: Vec<String>,
    /// Why that is not enough to act without asking, if it is not.
    doubt: Option<&'static str>,
    first_bad: Option<Timestamp>,
    evidence: Vec<CheckResult>,
}

impl Cause {
    /// Checks are breached.
    fn breached(policy: &Policy, results: &[CheckResult]) -> Option<Self> {
        let breached: Vec<&CheckResult> = results.iter().filter(|check| check.verdict == Verdict::Breached).collect();
        let story = breached.iter().map(|check| format!("{}: {}", check.name, check.message)).collect::<Vec<_>>();
        (!breached.is_empty()).then(|| Self {
            story: story.join("; "),
            checks: breached.iter().map(|check| check.name.clone()).collect(),
            doubt: doubt(policy, &breached),
            first_bad: breached.iter().filter_map(|check| check.first_bad).min(),
            evidence: results.to_vec(),
        })
    }

    /// A quarantined revision is back: nothing is measured, it was found bad before.
    fn returned(rollback: &str) -> Self {
        Self {
            story: format!("it is back, though Rollback {rollback} undid it"),
            checks: vec!["quarantine".to_owned()],
            doubt: None,
            first_bad: None,
            evidence: Vec::new(),
        }
    }
}

/// Why breached checks are not enough to act without asking, if they are not.
fn doubt(policy: &Policy, breached: &[&CheckResult]) -> Option<&'static str> {
    let mut critical = breached.iter().filter(|check| check.severity == Severity::Critical).peekable();
    if critical.peek().is_none() {
        return Some("only checks of severity Warning are breached");
    }
    critical.all(|check| policy.is_without_control(&check.name)).then_some(
        "it was counted in front of old and new pods alike (metrics.preset), where an outage of something else looks the same",
    )
}

fn on_cause(
    policy: &Policy,
    mut state: Target,
    workload: &Workload,
    cause: Cause,
    rollout: &Rollout,
    now: Timestamp,
) -> Decision {
    let mode = freeze::mode(policy, workload);
    if workload.said.migration == Some(Ok(Migration::Irreversible)) && mode != Mode::Observe {
        return forward_only(policy, state, workload, &cause, rollout, now);
    }
    let Cause { story, doubt, .. } = &cause;
    let said = &workload.said;
    let mut notices = Vec::new();

    let held = |mut state: Target, mut notices: Vec<Notice>, reason: &'static str, message: String| {
        hold(&mut state, &mut notices, &message);
        state.standing = Standing::new(reason, message);
        Decision { state, order: None, freeze: None, notices, next_look: Some(policy.soak.interval) }
    };

    let Some(good) = state.known_good.clone() else {
        let message = format!(
            "{story}. There is no known good revision to go back to: none has passed its soak under this policy yet"
        );
        return held(state, notices, "NothingToGoBackTo", message);
    };
    if workload.revision(&good.fingerprint).is_none() && good.snapshot.is_empty() {
        let object = workload.kind.revisions();
        let message = format!("{story}. The known good revision {} has no {object} and no copy any more", good.name());
        return held(state, notices, "KnownGoodIsGone", message);
    }
    if let Some(fails) = known_good_fails(&good, workload) {
        let message = format!("{} is bad ({story}), and {}", state.current.name(), fails.message);
        return held(state, notices, fails.reason, message);
    }

    if rollout.returned.is_none() {
        notices.push(Notice::new(Reason::CheckBreached, story.clone()));
    }
    let ask = ask(policy, said, mode, *doubt, now);
    let (bad, mut back) = (state.current.name(), good.name());
    if let Some(job) = said.job_before_undo() {
        back = format!("{back}, once a Job of {job} took the change of data back");
    }
    let outcome = match (mode, &ask) {
        (Mode::Observe, _) => format!("{bad} is bad ({story}); it would go back to {back}"),
        (_, Some(why)) => format!("{bad} is bad ({story}); going back to {back} needs a person's approval ({why})"),
        (_, None) => format!("{bad} is bad ({story}); going back to {back}"),
    };
    if mode == Mode::Observe {
        let message = format!("observed only, nothing was changed: {outcome}");
        notices.push(Notice::new(Reason::RollbackDecided, message.clone()));
        state.phase = Phase::Held;
        state.rollout = None;
        return done(state, Standing::new("ObservedOnly", message), notices);
    }
    let order = Order {
        from: state.current.clone(),
        to: good,
        ask,
        migration_job: said.job_before_undo().map(str::to_owned),
        breached: cause.checks,
        first_bad: cause.first_bad,
        evidence: cause.evidence,
        returned: rollout.returned.clone(),
        started: rollout.started,
        decided: now,
    };
    notices.push(Notice::new(Reason::RollbackDecided, outcome.clone()));
    state.phase = if order.ask.is_some() { Phase::AwaitingApproval } else { Phase::RollingBack };
    state.standing = Standing::new("RollbackDecided", outcome);
    Decision { state, order: Some(order), freeze: None, notices, next_look: Some(policy.soak.interval) }
}

/// The release changed data irreversibly: nothing is undone. While old pods still serve, and we may act alone, they are
/// kept by freezing the rollout.
fn forward_only(
    policy: &Policy,
    mut state: Target,
    workload: &Workload,
    cause: &Cause,
    rollout: &Rollout,
    now: Timestamp,
) -> Decision {
    let mut notices = Vec::new();
    let Cause { story, doubt, .. } = cause;
    let said = &workload.said;
    let mut message = format!(
        "{story}. {} changed data irreversibly ({MIGRATION}), so it can only be fixed forward: nothing is undone",
        state.current.name()
    );
    let serving = freeze::still_serving(workload);
    let ask = ask(policy, said, freeze::mode(policy, workload), *doubt, now);
    let was_resumed = rollout.freeze == Some(FreezeState::Resumed);
    let mut act = None;
    if was_resumed {
        message.push_str("; a person resumed its rollout, so it is not frozen again");
    } else if serving > 0 && workload.kind == Kind::Deployment {
        let deployment = &workload.name;
        match ask {
            None => act = Some(FreezeAct::Begin),
            Some(why) => message.push_str(&format!(
                ". {serving} pods of other revisions still serve; a person may keep them ({why}): kubectl rollout pause \
                 deploy/{deployment}"
            )),
        }
    }
    if act.is_some() {
        // The page follows once it is frozen.
        if state.phase != Phase::Held && rollout.returned.is_none() {
            notices.push(Notice::new(Reason::CheckBreached, story.clone()));
        }
        state.phase = Phase::Held;
    } else if was_resumed {
        // Whoever resumed it knows.
        state.phase = Phase::Held;
    } else {
        hold(&mut state, &mut notices, &message);
    }
    state.standing = Standing::new("ForwardFixOnly", message);
    Decision { state, order: None, freeze: act, notices, next_look: Some(policy.soak.interval) }
}

/// Why a person has to agree, if one has to.
fn ask(policy: &Policy, said: &Said, mode: Mode, doubt: Option<&str>, now: Timestamp) -> Option<String> {
    if let Some(Err(word)) = &said.mode {
        return Some(format!("{MODE} says {word:?}, which is none of Automatic, Approve and Observe"));
    }
    if let Some(Err(word)) = &said.migration_job {
        return Some(format!("{MIGRATION_JOB} says {word:?}, which cannot be the name of a CronJob or Job"));
    }
    match &said.migration {
        None if said.migration_job.is_some() => {
            return Some(format!("there is {MIGRATION_JOB}, but no {MIGRATION} that says Reversible"));
        }
        Some(Ok(Migration::Reversible)) if said.job_before_undo().is_none() => {
            return Some(format!("{MIGRATION} says Reversible: take the change of data back first, then approve"));
        }
        Some(Err(word)) => {
            return Some(format!("{MIGRATION} says {word:?}, which is none of None, Reversible and Irreversible"));
        }
        Some(Ok(_)) | None => {}
    }
    if mode == Mode::Approve {
        let whose = if policy.mode == Mode::Approve { "the policy's mode" } else { MODE };
        return Some(format!("{whose} is Approve"));
    }
    // Automatic on the workload is an emergency's word: it goes over the windows too.
    if said.mode.is_none()
        && let Some(closed) = windows::outside(&policy.windows, now)
    {
        return Some(closed);
    }
    doubt.map(str::to_owned)
}

/// While a `Rollback` acts, the target mirrors it; when it ends, the target takes the outcome over.
fn follow_rollback(
    mut state: Target,
    name: &str,
    acting: &rollback::Acting,
    workload: &Workload,
    now: Timestamp,
) -> Decision {
    use rollback::Phase as Act;
    let quarantine = |state: &mut Target| {
        let fingerprint = acting.bad.clone();
        let called = called(state, workload, &fingerprint);
        state.quarantined.retain(|bad| bad.fingerprint != fingerprint);
        state.quarantined.push(Quarantined { fingerprint, rollback: name.to_owned(), called, at: now });
        let surplus = state.quarantined.len().saturating_sub(MAX_QUARANTINED);
        state.quarantined.drain(..surplus);
        state.rollback = None;
        state.rollout = None;
        state.current = RevisionRef::live(workload);
    };
    let has_put_back = acting.phase == Act::Succeeded || acting.phase == Act::Failed && acting.contended;
    let (phase, reason) = match acting.phase {
        Act::AwaitingApproval => (Phase::AwaitingApproval, "AwaitingApproval"),
        Act::Running => (Phase::RollingBack, "RollingBack"),
        Act::Verifying => (Phase::Verifying, "Verifying"),
        // Somebody put the bad one back, while we acted or since: that is a return like any other.
        _ if has_put_back && workload.live == acting.bad => {
            quarantine(&mut state);
            let mut notices = Vec::new();
            super::quarantine::returned(&mut state, name.to_owned(), now, &mut notices);
            return at_once(state, notices);
        }
        _ if has_put_back => {
            quarantine(&mut state);
            (Phase::Idle, ROLLED_BACK)
        }
        // What is live from here on is what was left behind: until somebody applies something else, a person is needed.
        Act::Succeeded | Act::Failed => {
            quarantine(&mut state);
            (Phase::Escalated, "RollbackFailed")
        }
        Act::Escalated => {
            quarantine(&mut state);
            (Phase::Escalated, "RollbackEscalated")
        }
        Act::Rejected => {
            state.rollback = None;
            state.rollout = None;
            (Phase::Held, "RollbackRejected")
        }
        // The newer template came and went between two looks: what is live was not undone by this record.
        Act::Superseded if workload.live == acting.bad => {
            state.rollback = None;
            state.current = RevisionRef::live(workload);
            let mut notices = Vec::new();
            arrive(&mut state, now, &mut notices);
            if state.rollout.as_ref().is_some_and(|rollout| rollout.returned.is_none()) {
                let message = format!("{} is back, and is judged anew", state.current.name());
                state.standing = Standing::new("RollingOut", message);
            }
            return at_once(state, notices);
        }
        Act::Superseded => {
            state.rollback = None;
            state.rollout = None;
            state.current = RevisionRef::live(workload);
            (Phase::Idle, "RollbackSuperseded")
        }
    };
    state.phase = phase;
    state.standing = Standing::new(reason, acting.message.clone());
    Decision { state, order: None, freeze: None, notices: Vec::new(), next_look: None }
}

/// What those who deployed a revision called it, as far as anybody remembers.
fn called(state: &Target, workload: &Workload, fingerprint: &Fingerprint) -> Vec<String> {
    let current = Some(&state.current).filter(|current| current.fingerprint == *fingerprint);
    let current = current.map(|current| &current.called);
    let live = || workload.revision(fingerprint).map(|revision| &revision.called);
    let before = || state.quarantined.iter().find(|bad| bad.fingerprint == *fingerprint).map(|bad| &bad.called);
    current.or_else(live).or_else(before).cloned().unwrap_or_default()
}

/// What is live is to be looked at again at once.
fn at_once(state: Target, notices: Vec<Notice>) -> Decision {
    Decision { state, order: None, freeze: None, notices, next_look: Some(SignedDuration::from_secs(1)) }
}
