//! Walking over the soak of a rollout, look by look: what the operator would have seen, and what it would have decided.
//!
//! Nothing is judged here: each look is the core's own, with the time of the look as its `now`, and with what the source
//! knew by then. It is an operator in mode Observe that had watched since the history began.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use snapback_core::checks::{CheckResult, Measured, Verdict, evaluate_all};
use snapback_core::fingerprint::Fingerprint;
use snapback_core::ids::{ReplicaSetUid, WorkloadUid};
use snapback_core::notice::Reason;
use snapback_core::policy::{Policy, Rule, Severity};
use snapback_core::sample::{Answer, Missing, PodSeries, Point};
use snapback_core::watch::{Phase, RevisionRef, Rollout, Standing, Target, decide};
use snapback_core::workload::{DEFAULT_HISTORY, Kind, PodFacts, Replacing, Revision, Said, Workload};

use super::ask::History;

/// All that is known of one rollout.
pub(crate) struct Story<'a> {
    pub(crate) workload: &'a str,
    /// When its template changed, in whole seconds: the grid stands on it.
    pub(crate) since: Timestamp,
    /// Where the walk ends at the latest.
    pub(crate) end: Timestamp,
    /// Whether it ends there because the next revision took over.
    pub(crate) is_replaced: bool,
    pub(crate) completed: Option<Timestamp>,
    pub(crate) new: Fingerprint,
    pub(crate) known_good: Option<Fingerprint>,
    pub(crate) revisions: Vec<Revision>,
    pub(crate) history: History,
    /// Whether anything is known of the pods.
    pub(crate) knows_pods: bool,
}

/// What a walk came to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Walked {
    pub(crate) looks: Vec<Seen>,
    pub(crate) ending: Ending,
    /// When.
    pub(crate) at: Timestamp,
    /// The results at that look.
    pub(crate) results: Vec<CheckResult>,
    /// Names of the checks that decided.
    pub(crate) decided_by: Vec<String>,
    /// When the fault was first measured.
    pub(crate) first_bad: Option<Timestamp>,
}

/// How one look found the checks: the worst of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) at: Timestamp,
    pub(crate) worst: Verdict,
}

/// How a walk ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It would have been rolled back.
    RolledBack,
    /// A person would have been asked, for this reason.
    Asked(String),
    /// It was bad, and nothing would have been done, for this reason.
    Held(String),
    /// It passed its soak.
    Passed,
    /// It was accepted at the end of the longest soak, though not proven good.
    Accepted(String),
    /// The next revision took over before.
    Superseded,
    /// The history ended, or there was too little to judge by.
    Open(String),
}

/// The checks that history says nothing of: the limits of pods that are gone are in no metric, and without the pods' states
/// nobody knows of crashes and readiness either.
pub(crate) fn untold(policy: &Policy, knows_pods: bool) -> Vec<String> {
    let is_untold = |rule: &Rule| match rule {
        Rule::Saturation { .. } => true,
        Rule::CrashRate { .. } | Rule::TrafficDrop { .. } => !knows_pods,
        _ => false,
    };
    policy.checks.iter().filter(|check| is_untold(&check.rule)).map(|check| check.name.clone()).collect()
}

/// Walks over a rollout. `pods` are the pods as they were at an instant.
pub(crate) fn walk(policy: &Policy, story: &Story<'_>, pods: impl Fn(Timestamp) -> Vec<PodFacts>) -> Walked {
    let mut state = target(story);
    let untold = untold(policy, story.knows_pods);
    let mut looks = Vec::new();
    let mut held: Option<Walked> = None;
    let mut results = Vec::new();
    let mut now = story.since;
    while let Some(next) = now.checked_add(policy.soak.interval).ok().filter(|next| *next <= story.end) {
        now = next;
        let completed = story.completed.filter(|completed| *completed <= now);
        if let Some(rollout) = state.rollout.as_mut() {
            rollout.completed = completed;
        }
        let workload = workload(story, pods(now));
        // All checks share one rate of false alarms, so all are evaluated, and what is not known is left out after that.
        results = evaluate(policy, story, &state, &workload, now, looks.is_empty());
        results.retain(|result| !untold.contains(&result.name));
        looks.push(Seen { at: now, worst: worst(&results) });
        let decision = decide(policy, state, &workload, &results, None, now);
        let ended = |ending, decided_by, first_bad| Walked {
            looks: Vec::new(),
            ending,
            at: now,
            results: results.clone(),
            decided_by,
            first_bad,
        };
        if let Some(order) = decision.order {
            let ending = order.ask.map_or(Ending::RolledBack, Ending::Asked);
            return Walked { looks, ..ended(ending, order.breached, order.first_bad) };
        }
        state = decision.state;
        let breached: Vec<String> = names_of(&results, Verdict::Breached);
        if state.phase == Phase::Held && !breached.is_empty() && held.is_none() {
            let first_bad = results.iter().filter(|one| one.verdict == Verdict::Breached).find_map(|one| one.first_bad);
            held = Some(ended(Ending::Held(state.standing.message.clone()), breached, first_bad));
        }
        if state.rollout.is_none() {
            let accepted = decision.notices.into_iter().find(|notice| notice.reason == Reason::Inconclusive);
            let ending = accepted.map_or(Ending::Passed, |notice| Ending::Accepted(notice.message));
            return Walked { looks, ..ended(ending, Vec::new(), None) };
        }
    }
    if let Some(held) = held {
        return Walked { looks, ..held };
    }
    let ending = match story.is_replaced {
        true => Ending::Superseded,
        false if looks.is_empty() => Ending::Open("the history ends before its first look".to_owned()),
        false => Ending::Open(open(&state, story)),
    };
    Walked { looks, ending, at: now, results, decided_by: Vec::new(), first_bad: None }
}

fn open(state: &Target, story: &Story<'_>) -> String {
    match story.completed {
        Some(_) => state.standing.message.clone(),
        None => format!("it was not seen to complete; {}", state.standing.message),
    }
}

fn names_of(results: &[CheckResult], verdict: Verdict) -> Vec<String> {
    results.iter().filter(|result| result.verdict == verdict).map(|result| result.name.clone()).collect()
}

fn worst(results: &[CheckResult]) -> Verdict {
    let rank = |verdict: Verdict| match verdict {
        Verdict::Passing => 0,
        Verdict::Inconclusive => 1,
        Verdict::NoData => 2,
        Verdict::Breached => 3,
    };
    let critical = results.iter().filter(|result| result.severity == Severity::Critical);
    let worst = critical.map(|result| result.verdict).max_by_key(|verdict| rank(*verdict));
    let breached = results.iter().any(|result| result.verdict == Verdict::Breached);
    if breached { Verdict::Breached } else { worst.unwrap_or(Verdict::NoData) }
}

fn evaluate(
    policy: &Policy,
    story: &Story<'_>,
    state: &Target,
    workload: &Workload,
    now: Timestamp,
    is_first: bool,
) -> Vec<CheckResult> {
    let History { requests, latencies, scraped, past, queries } = &story.history;
    let mut requests = known(requests, now, is_first);
    if let Ok(series) = &mut requests {
        series.extend(until(scraped, now));
    }
    let latencies = known(latencies, now, is_first);
    let queries: BTreeMap<String, Answer<Vec<Point>>> =
        queries.iter().map(|(check, points)| (check.clone(), known_points(points, now, is_first))).collect();
    let measured = Measured {
        revision: &story.new,
        known_good: story.known_good.as_ref(),
        since: story.since,
        completed: state.rollout.as_ref().and_then(|rollout| rollout.completed),
        workload,
        requests: &requests,
        latencies: &latencies,
        past: Some(past),
        looks: policy.soak.looks(),
        queries: &queries,
        minimum_requests: policy.minimum_requests,
    };
    evaluate_all(&policy.checks, policy.analysis, &measured)
}

/// What was known at `now`. The operator asks for each instant when it comes: one without an answer is no data then,
/// whatever was known before.
fn known(answer: &Answer<Vec<PodSeries>>, now: Timestamp, is_first: bool) -> Answer<Vec<PodSeries>> {
    let found = until(answer.as_ref().map_err(Clone::clone)?, now);
    let mut last = found.iter().filter_map(|one| one.points.last());
    if last.any(|(at, _)| is_first || *at == now) { Ok(found) } else { Err(Missing::Empty) }
}

fn until(series: &[PodSeries], now: Timestamp) -> Vec<PodSeries> {
    let cut = |one: &PodSeries| {
        let points: Vec<(Timestamp, f64)> = one.points.iter().take_while(|(at, _)| *at <= now).copied().collect();
        (!points.is_empty()).then(|| PodSeries { points, ..without_points(one) })
    };
    series.iter().filter_map(cut).collect()
}

fn without_points(one: &PodSeries) -> PodSeries {
    PodSeries { pod: one.pod.clone(), counts: one.counts, key: one.key.clone(), points: Vec::new() }
}

fn known_points(answer: &Answer<Vec<Point>>, now: Timestamp, is_first: bool) -> Answer<Vec<Point>> {
    let points = answer.as_ref().map_err(Clone::clone)?;
    let found: Vec<Point> = points.iter().take_while(|point| point.at <= now).copied().collect();
    let is_answered = found.last().is_some_and(|last| is_first || last.at == now);
    if is_answered { Ok(found) } else { Err(Missing::Empty) }
}

fn target(story: &Story<'_>) -> Target {
    Target {
        uid: WorkloadUid::new(story.workload),
        phase: Phase::Progressing,
        standing: Standing::default(),
        current: reference(story, &story.new),
        known_good: story.known_good.as_ref().map(|good| reference(story, good)),
        rollout: Some(Rollout { started: story.since, completed: None, returned: None, freeze: None }),
        rollback: None,
        quarantined: Vec::new(),
    }
}

fn reference(story: &Story<'_>, fingerprint: &Fingerprint) -> RevisionRef {
    let set = story.revisions.iter().find(|one| one.fingerprint == *fingerprint).map(|one| one.name.clone());
    RevisionRef {
        fingerprint: fingerprint.clone(),
        replica_set: set.clone().unwrap_or_default(),
        replica_set_uid: ReplicaSetUid::new(set.unwrap_or_default()),
        images: Vec::new(),
        called: Vec::new(),
        // Whether there still is an object to go back to is not the question.
        snapshot: "history".to_owned(),
        config: None,
    }
}

/// The workload as far as the judgement looks at it: its revisions, and what is known of its pods.
fn workload(story: &Story<'_>, pods: Vec<PodFacts>) -> Workload {
    let replicas = i32::try_from(pods.len()).unwrap_or(i32::MAX).max(1);
    Workload {
        kind: Kind::Deployment,
        name: story.workload.to_owned(),
        uid: WorkloadUid::new(story.workload),
        created: Timestamp::UNIX_EPOCH,
        generation: 1,
        observed_generation: 1,
        live: story.new.clone(),
        images: Vec::new(),
        called: Vec::new(),
        replicas,
        paused: false,
        pause_is_applied: false,
        frozen: None,
        updated: replicas,
        available: replicas,
        total: replicas,
        revision_history_limit: DEFAULT_HISTORY,
        progress_deadline_exceeded: None,
        revisions: story.revisions.clone(),
        pods,
        owners: Vec::new(),
        helm_release: None,
        delivery: snapback_core::gitops::Delivery::default(),
        rolling: None,
        replacing: Replacing::default(),
        said: Said::default(),
    }
}

/// The longest that a rollout is waited for to complete.
pub(crate) const ROLLING_OUT: SignedDuration = SignedDuration::from_hours(1);

#[cfg(test)]
mod tests {
    use snapback_core::policy::{Check, Resource};
    use snapback_core::sample::Counts;

    use super::super::report::tests::{at, check};
    use super::*;

    const OLD: &str = "checkout-7d9f8c6b5";
    const NEW: &str = "checkout-5c4b9d7f6";

    fn policy(checks: Vec<Check>) -> Policy {
        let spec = serde_json::json!({"targetRef": {"kind": "Deployment", "name": "checkout"}});
        let spec = serde_json::from_value(spec).unwrap();
        Policy { checks, ..snapback_api::convert::policy(&spec).unwrap() }
    }

    /// Counters of three pods of a set: 10 requests a second each, of which a share fails, between two minutes.
    fn counters(set: &str, bad: f64, minutes: std::ops::RangeInclusive<i64>) -> Vec<PodSeries> {
        let pods = ["aaaaa", "bbbbb", "ccccc"];
        let codes = [(Counts::Good, "200", 1.0 - bad), (Counts::Bad, "500", bad)];
        let series = pods.iter().flat_map(|pod| codes.map(|code| (pod, code)));
        let series = series.map(|(pod, (counts, key, share))| PodSeries {
            pod: format!("{set}-{pod}"),
            counts,
            key: key.to_owned(),
            points: (minutes.start() * 2..=minutes.end() * 2)
                .map(|half| {
                    #[allow(clippy::cast_precision_loss, reason = "a small number")]
                    let since = (half - minutes.start() * 2) as f64 * 300.0;
                    (at(0) + SignedDuration::from_secs(half * 30), (since * share).round())
                })
                .collect(),
        });
        series.collect()
    }

    fn revision(set: &str) -> Revision {
        Revision {
            fingerprint: Fingerprint::recorded(set),
            name: set.to_owned(),
            uid: ReplicaSetUid::new(set),
            images: Vec::new(),
            called: Vec::new(),
            number: 0,
            created: at(-100),
            desired: 3,
            replicas: 3,
            available: 3,
            observed: true,
        }
    }

    /// A rollout at minute 0 whose old pods served for another two minutes.
    fn story(bad: f64) -> Story<'static> {
        let mut requests = counters(OLD, 0.001, -15..=2);
        requests.extend(counters(NEW, bad, 1..=75));
        Story {
            workload: "checkout",
            since: at(0),
            end: at(75),
            is_replaced: false,
            completed: Some(at(2)),
            new: Fingerprint::recorded(NEW),
            known_good: Some(Fingerprint::recorded(OLD)),
            revisions: vec![revision(OLD), revision(NEW)],
            history: History {
                requests: Ok(requests),
                latencies: Err(Missing::Empty),
                scraped: Vec::new(),
                past: Vec::new(),
                queries: BTreeMap::new(),
            },
            knows_pods: false,
        }
    }

    fn walked(story: &Story<'_>) -> Walked {
        walk(&policy(vec![check("errors")]), story, |_| Vec::new())
    }

    #[test]
    fn a_bad_rollout_is_rolled_back_in_its_first_minutes() {
        let found = walked(&story(0.4));
        assert_eq!((found.ending, found.decided_by), (Ending::RolledBack, vec!["errors".to_owned()]));
        // The first new pods are seen at minute 1; two looks at what they did since are enough.
        assert_eq!((found.at, found.looks.len()), (at(2), 4));
        assert_eq!(found.looks.last().unwrap().worst, Verdict::Breached);
        assert_eq!(found.results[0].value.map(|value| (value * 100.0).round()), Some(40.0));
    }

    #[test]
    fn a_good_rollout_passes_when_its_soak_is_over_and_no_later_look_is_taken() {
        let found = walked(&story(0.001));
        assert_eq!((found.ending, found.at), (Ending::Passed, at(17)));
        assert_eq!(found.looks.len(), 34);
    }

    #[test]
    fn what_comes_later_changes_nothing_that_was_decided() {
        let (mut early, late) = (story(0.4), story(0.4));
        let Ok(requests) = &mut early.history.requests else { panic!("answered") };
        for one in requests.iter_mut() {
            one.points.retain(|(time, _)| *time <= at(2));
        }
        assert_eq!(walked(&early), walked(&late));
    }

    #[test]
    fn without_an_answer_there_is_no_verdict() {
        let mut story = story(0.4);
        story.history.requests = Err(Missing::Unavailable("refused the connection".to_owned()));
        let found = walked(&story);
        assert!(matches!(&found.ending, Ending::Open(why) if why.contains("refused the connection")), "{found:?}");
        assert!(found.looks.iter().all(|look| look.worst == Verdict::NoData));
    }

    #[test]
    fn a_stretch_without_answers_is_no_data_while_it_lasts() {
        let mut story = story(0.001);
        let Ok(requests) = &mut story.history.requests else { panic!("answered") };
        for one in requests.iter_mut() {
            one.points.retain(|(time, _)| !(at(5)..at(10)).contains(time));
        }
        let found = walked(&story);
        let seen = |minute| found.looks.iter().find(|look| look.at == at(minute)).unwrap().worst;
        assert_eq!([4, 5, 9, 11].map(seen), [Verdict::Passing, Verdict::NoData, Verdict::NoData, Verdict::Passing]);
    }

    #[test]
    fn the_next_revision_ends_the_walk() {
        let story = Story { end: at(5), is_replaced: true, ..story(0.001) };
        assert_eq!(walked(&story).ending, Ending::Superseded);
    }

    #[test]
    fn where_there_is_nothing_to_go_back_to_it_is_held() {
        let story = Story { known_good: None, ..story(0.4) };
        let found = walked(&story);
        assert!(matches!(&found.ending, Ending::Held(why) if why.contains("no known good revision")), "{found:?}");
        assert_eq!((found.at, found.decided_by), (at(2), vec!["errors".to_owned()]));
    }

    #[test]
    fn a_warning_asks_a_person() {
        let warning = Check { severity: Severity::Warning, ..check("errors") };
        let found = walk(&policy(vec![warning]), &story(0.4), |_| Vec::new());
        assert!(matches!(found.ending, Ending::Asked(_)), "{found:?}");
    }

    #[test]
    fn a_budget_that_burns_since_the_rollout_asks_a_person_and_one_without_data_nobody() {
        let spec = serde_json::json!({
            "targetRef": {"kind": "Deployment", "name": "checkout"},
            "checks": [{"name": "slo", "burnRate": {"objective": "99.9%", "errorRatio": "slo:errors:ratio{{ window }}"}}]
        });
        let warning = snapback_api::convert::policy(&serde_json::from_value(spec).unwrap()).unwrap();
        let critical = Check { severity: Severity::Critical, ..warning.checks[0].clone() };
        let critical = Policy { checks: vec![critical], ..warning.clone() };
        let shares = |after: f64| -> Answer<Vec<Point>> {
            let looks = -30..=150;
            Ok(looks
                .map(|half| Point {
                    at: at(0) + SignedDuration::from_secs(half * 30),
                    value: if half > 0 { after } else { 0.0 },
                })
                .collect())
        };
        let slo = |policy: &Policy, short, long| {
            let mut story = story(0.0);
            story.history.queries = BTreeMap::from([("slo/5m".to_owned(), short), ("slo/1h".to_owned(), long)]);
            walk(policy, &story, |_| Vec::new())
        };
        let burned = slo(&warning, shares(0.5), shares(0.02));
        assert!(matches!(burned.ending, Ending::Asked(_)), "{burned:?}");
        assert_eq!((burned.at.duration_since(at(0)).as_secs(), burned.decided_by), (90, vec!["slo".to_owned()]));
        assert_eq!(slo(&critical, shares(0.0), shares(0.0)).ending, Ending::Passed);
        let away = || Err(Missing::Unavailable("refused the connection".to_owned()));
        let untold = slo(&critical, shares(0.5), away());
        assert!(matches!(&untold.ending, Ending::Open(why) if why.contains("refused the connection")), "{untold:?}");
    }

    #[test]
    fn saturation_is_not_judged_and_holds_nothing_up() {
        let full = Check { rule: Rule::Saturation { max: vec![(Resource::Memory, 0.9)] }, ..check("full") };
        let policy = policy(vec![check("errors"), full]);
        assert_eq!(untold(&policy, true), ["full"]);
        assert_eq!(walk(&policy, &Story { knows_pods: true, ..story(0.001) }, |_| Vec::new()).ending, Ending::Passed);
    }

    #[test]
    fn pods_of_which_nothing_is_known_are_not_judged_and_crashing_ones_are() {
        let crashes = Check { rule: Rule::CrashRate { max: 0.5 }, ..check("crashes") };
        let policy = policy(vec![check("errors"), crashes]);
        assert_eq!(walk(&policy, &story(0.001), |_| Vec::new()).ending, Ending::Passed);
        assert_eq!(untold(&policy, false), ["crashes"]);

        let crashing = |now: Timestamp| {
            let failure =
                (now >= at(4)).then(|| snapback_core::workload::Failure::OutOfMemory { container: "app".into() });
            let pod = |name: &str| PodFacts {
                name: format!("{NEW}-{name}"),
                uid: snapback_core::ids::PodUid::new(name),
                owner: ReplicaSetUid::new(NEW),
                ip: None,
                version: String::new(),
                created: at(0),
                ready: true,
                ready_since: Some(at(1)),
                hanging_since: None,
                leaving: false,
                unschedulable: false,
                failure: failure.clone(),
                limits: Vec::new(),
            };
            vec![pod("aaaaa"), pod("bbbbb")]
        };
        let found = walk(&policy, &Story { knows_pods: true, ..story(0.001) }, crashing);
        assert_eq!((found.ending, found.at), (Ending::RolledBack, at(4)));
        assert_eq!(found.decided_by, ["crashes"]);
    }
}
