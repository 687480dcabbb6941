//! What holds for every story, not only for those that somebody thought of.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;

use crate::support::*;
use jiff::SignedDuration;
use proptest::prelude::*;
use snapback_core::checks::{CheckResult, Measured, Verdict, Why, evaluate};
use snapback_core::fingerprint::Fingerprint;
use snapback_core::policy::{Mode, OnNoData, Policy};
use snapback_core::rollback::{Acting, Phase as Act};
use snapback_core::sample::{Answer, Counts, Missing, PodSeries};
use snapback_core::watch::{Arrival, FreezeAct, MAX_QUARANTINED, Phase, Target, decide, observe};
use snapback_core::workload::{Kind, Migration, Said, Workload};
use snapback_core::{duration, number};

const VERSIONS: [&str; 4] = ["v1", "v2", "v3", "v4"];

/// A look at a workload in any state.
fn any_workload() -> impl Strategy<Value = Workload> {
    let sets = prop::collection::vec((0..4i32, 0..4i32), 1..=4);
    let kind = prop::sample::select(vec![Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet]);
    let marks = (prop::bool::weighted(0.2), prop::option::weighted(0.2, 0..4usize));
    let looks = (0..4usize, sets, 0..4i32, any::<bool>(), any::<bool>(), marks, kind);
    looks.prop_map(|(live, sets, replicas, paused, observed, (irreversible, frozen), kind)| {
        let revisions = sets.into_iter().enumerate().map(|(index, (desired, available))| {
            revision(VERSIONS[index], i64::try_from(index).unwrap() + 1, desired, available.min(desired))
        });
        let mut found = workload(VERSIONS[live], revisions.collect());
        (found.replicas, found.paused) = (replicas, paused && (live == 0 || frozen.is_some()));
        found.frozen = frozen.map(|frozen| version(VERSIONS[frozen])).filter(|_| kind == Kind::Deployment);
        found.said = Said::read(None, irreversible.then_some("Irreversible"));
        found.observed_generation = i64::from(observed);
        found.kind = kind;
        found
    })
}

fn any_result() -> impl Strategy<Value = CheckResult> {
    prop_oneof![
        3 => Just(passing()),
        2 => Just(breached()),
        1 => Just(errors(Verdict::NoData, Why::Missing(Missing::Empty))),
        1 => Just(errors(Verdict::Inconclusive, Why::ExternalCause)),
    ]
}

/// What became of a `Rollback`, if one was ordered.
fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        Just(Act::Running),
        Just(Act::Verifying),
        Just(Act::Succeeded),
        Just(Act::Failed),
        Just(Act::Superseded),
        Just(Act::Escalated),
        Just(Act::Rejected),
    ]
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let mode = prop_oneof![4 => Just(Mode::Automatic), 1 => Just(Mode::Approve), 1 => Just(Mode::Observe)];
    let on_no_data = prop_oneof![Just(OnNoData::Hold), Just(OnNoData::Pass)];
    (mode, on_no_data, prop::bool::weighted(0.1)).prop_map(|(mode, on_no_data, suspend)| Policy {
        mode,
        on_no_data,
        suspend,
        ..policy()
    })
}

proptest! {
    #![proptest_config(tried(2000))]

    /// Over any sequence of looks: an order has a reason, a way back, and leaves the live revision; what is quarantined
    /// is bounded; what is known good was earned.
    #[test]
    fn a_decision_is_never_without_reason(
        policy in any_policy(),
        looks in prop::collection::vec((any_workload(), any_result(), any_act(), 1..40i64), 1..30),
    ) {
        let mut state: Option<Target> = None;
        let mut second = 0;
        let mut bad = version("v2");
        for (workload, result, act, wait) in looks {
            second += wait;
            let before = state.clone();
            let (seen, _) = observe(before.as_ref(), &workload, &Arrival::Before, at(second));
            let adopted = before.is_none().then(|| seen.known_good.clone()).flatten();
            let checks: Vec<CheckResult> = seen.rollout.iter().map(|_| result.clone()).collect();
            let acting = seen.rollback.as_ref().map(|_| Acting { phase: act, message: "m".into(), bad: bad.clone(), contended: wait % 2 == 0 });
            let decision = decide(&policy, seen.clone(), &workload, &checks, acting.as_ref(), at(second));

            if let Some(order) = &decision.order {
                prop_assert!(seen.rollout.is_some(), "decided outside of a soak");
                let was_undone = seen.quarantined.iter().any(|bad| bad.fingerprint == workload.live);
                prop_assert_eq!(order.returned.is_some(), was_undone);
                let breached = order.evidence.iter().any(|check| check.verdict == Verdict::Breached);
                prop_assert!(breached || was_undone, "decided without a breach");
                prop_assert!(policy.mode != Mode::Observe && !policy.suspend, "decided without the right to");
                prop_assert_eq!(order.ask.is_some() || policy.mode == Mode::Automatic, true);
                prop_assert_eq!(&order.from.fingerprint, &workload.live);
                prop_assert_eq!(Some(&order.to), seen.known_good.as_ref());
                prop_assert_ne!(&order.to.fingerprint, &order.from.fingerprint);
                prop_assert!(workload.revision(&order.to.fingerprint).is_some(), "decided on what is gone");
                let goes_on = decision.freeze == Some(FreezeAct::End);
                prop_assert!(workload.replicas > 0 && (!workload.paused || goes_on));
                prop_assert_ne!(&workload.said.migration, &Some(Ok(Migration::Irreversible)));
            }
            match decision.freeze {
                Some(FreezeAct::Begin) => {
                    prop_assert!(policy.mode == Mode::Automatic && !policy.suspend, "frozen without the right to");
                    prop_assert!(!workload.paused && workload.frozen.is_none(), "frozen over another pause");
                    prop_assert_eq!(&workload.said.migration, &Some(Ok(Migration::Irreversible)));
                    let others = workload.revisions.iter().filter(|one| one.fingerprint != workload.live);
                    prop_assert!(others.map(|one| one.available).sum::<i32>() > 0, "there is nothing to keep");
                    let was = seen.rollout.as_ref().and_then(|rollout| rollout.freeze);
                    prop_assert_eq!(was, None, "a person resumed it");
                }
                Some(FreezeAct::End) => prop_assert!(workload.paused && workload.frozen.is_some(), "not our pause"),
                Some(FreezeAct::Unmark) => prop_assert!(workload.frozen.is_some()),
                None => {
                    // When its rollout ends in this very look, the mark goes with the next one.
                    let is_live = workload.frozen.as_ref() == Some(&workload.live) && seen.rollout.is_some();
                    prop_assert!(workload.frozen.is_none() || is_live, "a stale mark stays");
                }
            }
            let (was, is) = (seen.known_good.as_ref().or(adopted.as_ref()), decision.state.known_good.as_ref());
            if was != is {
                prop_assert_eq!(is.map(|good| &good.fingerprint), Some(&workload.live), "known good is not what runs");
                let judged = seen.rollout.is_some() && decision.state.phase == Phase::Idle;
                prop_assert!(judged && decision.order.is_none(), "known good was not earned");
                prop_assert_ne!(result.verdict, Verdict::Breached);
            }
            prop_assert!(decision.state.quarantined.len() <= MAX_QUARANTINED);
            // The same look again tells nothing new, unless a rollback has just ended: then it is followed again.
            let (again, notices) = observe(Some(&decision.state), &workload, &Arrival::Before, at(second));
            prop_assert!(seen.rollback.is_some() || notices.is_empty() && again == decision.state, "the same look changed something: {notices:?}\n{:#?}\n{again:#?}", decision.state);

            let mut next = decision.state;
            if let Some(order) = decision.order {
                bad = order.from.fingerprint;
                next.rollback = Some("checkout-1".to_owned());
            }
            state = Some(next);
        }
    }

    /// Missing numbers are never a breach, whatever is missing and however long.
    #[test]
    fn no_data_is_never_a_breach(kind in 0..6usize, since in 0..1000i64) {
        let missing = [
            Missing::Unavailable("down".into()), Missing::Empty, Missing::NotANumber, Missing::ManySeries(3),
            Missing::Partial("p".into()), Missing::BadQuery("q".into()),
        ];
        let answer: Answer<Vec<PodSeries>> = Err(missing[kind].clone());
        let result = judged(&answer, since);
        prop_assert_eq!(result.verdict, Verdict::NoData);
    }

    /// Counters of any shape (resets, gaps, births, deaths) are judged without a panic; a breach has enough requests,
    /// and more failures than the limit allows.
    #[test]
    fn a_breach_is_backed_by_counts(
        steps in prop::collection::vec((0..400u32, 0..400u32, prop::bool::weighted(0.1), prop::bool::weighted(0.1)), 0..40),
    ) {
        let mut series = [(Counts::Good, "200"), (Counts::Bad, "500")].map(|(counts, key)| PodSeries {
            pod: "web-v2-abcd0".into(), counts, key: key.into(), points: Vec::new(),
        });
        let mut totals = [0.0, 0.0];
        for (index, (good, bad, reset, gap)) in steps.into_iter().enumerate() {
            if reset {
                totals = [0.0, 0.0];
            }
            totals[0] += f64::from(good);
            totals[1] += f64::from(bad);
            if !gap {
                for (one, total) in series.iter_mut().zip(totals) {
                    one.points.push((at(i64::try_from(index).unwrap() * 10), total));
                }
            }
        }
        let result = judged(&Ok(series.to_vec()), 0);
        if result.verdict == Verdict::Breached {
            let (requests, bad) = (result.requests.unwrap(), result.bad.unwrap());
            prop_assert!(requests >= 50 && bad <= requests, "{result:?}");
            #[allow(clippy::cast_precision_loss, reason = "small counts")]
            let share = bad as f64 / requests as f64;
            prop_assert!(share > 0.05, "{result:?}");
            prop_assert!(result.in_a_row >= 3, "{result:?}");
        }
    }

    /// A duration that is written is read back as the same.
    #[test]
    fn durations_survive_being_written(seconds in 1..86_400i64) {
        let given = SignedDuration::from_secs(seconds);
        prop_assert_eq!(duration::parse(&duration::format(given)).unwrap(), given);
    }

    /// Parsers take any text without a panic, and a share is a share.
    #[test]
    fn parsers_refuse_or_understand(text in "\\PC{0,24}") {
        _ = duration::parse(&text);
        _ = number::signed(&text);
        _ = number::of_baseline(&text);
        if let Ok(share) = number::share(&text) {
            prop_assert!((0.0..=1.0).contains(&share));
        }
    }

    /// The fingerprint does not depend on the order of keys, nor on what changes by itself.
    #[test]
    fn a_restart_is_the_same_revision(image in "[a-z]{1,8}", time in "[0-9]{4}") {
        let plain = serde_json::json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": image}]}});
        let mut restarted = plain.clone();
        restarted["metadata"]["annotations"] = serde_json::json!({"kubectl.kubernetes.io/restartedAt": time});
        restarted["metadata"]["labels"]["pod-template-hash"] = serde_json::json!(time);
        prop_assert_eq!(Fingerprint::of_template(&plain), Fingerprint::of_template(&restarted));
        let mut other = plain.clone();
        other["spec"]["containers"][0]["image"] = serde_json::json!(format!("{image}x"));
        prop_assert_ne!(Fingerprint::of_template(&plain), Fingerprint::of_template(&other));
    }
}

fn judged(requests: &Answer<Vec<PodSeries>>, since: i64) -> CheckResult {
    let (workload, revision) = (complete_v2(), version("v2"));
    let measured = Measured {
        revision: &revision,
        known_good: None,
        since: at(since),
        completed: Some(at(since)),
        workload: &workload,
        requests,
        latencies: &Err(Missing::Empty),
        queries: &BTreeMap::new(),
        past: None,
        looks: 6,
        minimum_requests: 50,
    };
    evaluate(&policy().checks[0], 3, &measured)
}
