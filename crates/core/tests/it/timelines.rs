//! Whole rollouts, look by look, against timelines that were read and agreed on once.
//!
//! A story says what pods run and what they answer; the judge is the real one, from raw counters to the decision. After
//! a wanted change, `INSTA_UPDATE=always cargo test -p snapback-core --test it timelines` writes the new timelines: read
//! the difference before committing it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::support::*;
use snapback_core::checks::{Measured, Verdict, evaluate_all};
use snapback_core::policy::{Check, Policy, Rule, Severity};
use snapback_core::sample::{Answer, Counts, Missing, PodSeries};
use snapback_core::watch::{Arrival, Decision, Target, decide, observe};
use snapback_core::workload::Workload;

/// One look, every ten seconds.
struct Look {
    workload: Workload,
    /// Requests and failures since the last look of every pod, by version; or why nobody knows.
    traffic: Answer<Vec<(&'static str, u32, u32)>>,
}

fn look(workload: Workload, traffic: &[(&'static str, u32, u32)]) -> Look {
    Look { workload, traffic: Ok(traffic.to_vec()) }
}

fn blind(workload: Workload) -> Look {
    Look { workload, traffic: Err(Missing::Unavailable("connection refused".into())) }
}

/// Tells a story until its end, or until an order is placed.
fn tell(policy: &Policy, looks: &[Look]) -> String {
    let mut told = String::new();
    let mut state: Option<Target> = None;
    let mut totals: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    let mut history: BTreeMap<String, PodSeries> = BTreeMap::new();
    for (index, look) in looks.iter().enumerate() {
        let second = i64::try_from(index).unwrap() * 10;
        let now = at(second);
        if let Ok(traffic) = &look.traffic {
            for pod in &look.workload.pods {
                let version = pod.owner.as_str().trim_start_matches("uid-").to_owned();
                let Some((_, requests, failures)) = traffic.iter().find(|(of, ..)| *of == version) else { continue };
                let total = totals.entry(pod.name.clone()).or_default();
                total.0 += f64::from(requests - failures);
                total.1 += f64::from(*failures);
                for (counts, key, value) in [(Counts::Good, "200", total.0), (Counts::Bad, "500", total.1)] {
                    let id = format!("{} {key}", pod.name);
                    let fresh = || PodSeries { pod: pod.name.clone(), counts, key: key.to_owned(), points: Vec::new() };
                    history.entry(id).or_insert_with(fresh).points.push((now, value));
                }
            }
        }
        let (target, mut notices) = observe(state.as_ref(), &look.workload, &Arrival::Before, now);
        let requests: Answer<Vec<PodSeries>> = match &look.traffic {
            Ok(_) => Ok(history.values().cloned().collect()),
            Err(missing) => Err(missing.clone()),
        };
        let checks: Vec<_> = match &target.rollout {
            None => Vec::new(),
            Some(rollout) => {
                let measured = Measured {
                    revision: &target.current.fingerprint,
                    known_good: None,
                    since: rollout.started,
                    completed: rollout.completed,
                    workload: &look.workload,
                    requests: &requests,
                    latencies: &Err(Missing::Empty),
                    queries: &BTreeMap::new(),
                    past: None,
                    looks: policy.soak.looks(),
                    minimum_requests: policy.minimum_requests,
                };
                evaluate_all(&policy.checks, policy.analysis, &measured)
            }
        };
        let Decision { state: next, order, notices: decided, .. } =
            decide(policy, target, &look.workload, &checks, None, now);
        notices.extend(decided);
        writeln!(
            told,
            "{second:>4} s  {:<12} {:<20} {}",
            next.phase.as_str(),
            next.standing.reason,
            next.standing.message
        )
        .unwrap();
        for check in &checks {
            let verdict = match check.verdict {
                Verdict::Passing => "Passing",
                Verdict::Breached => "Breached",
                Verdict::Inconclusive => "Inconclusive",
                Verdict::NoData => "NoData",
            };
            writeln!(told, "          {}: {verdict}, {}", check.name, check.message).unwrap();
        }
        for notice in notices {
            writeln!(told, "          ! {}: {}", notice.reason.as_str(), notice.message).unwrap();
        }
        state = Some(next);
        if let Some(order) = order {
            let approval = if order.ask.is_some() { ", if a person agrees" } else { "" };
            writeln!(told, "          => from {} to {}{approval}", order.from.name(), order.to.name()).unwrap();
            break;
        }
    }
    told
}

fn story(name: &str, policy: &Policy, looks: &[Look]) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("timelines");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, tell(policy, looks)));
}

/// v1 has run for half a minute, with these failures among a hundred requests.
fn v1_runs(failures: u32) -> Vec<Look> {
    (0..3).map(|_| look(complete_v1(), &[("v1", 100, failures)])).collect()
}

#[test]
fn a_bad_release_is_undone_after_three_bad_windows() {
    let mut looks = v1_runs(0);
    looks.push(look(rolling_v2(), &[("v1", 80, 0), ("v2", 60, 12)]));
    looks.extend((0..6).map(|_| look(complete_v2(), &[("v2", 100, 20)])));
    story("bad_release", &policy(), &looks);
}

#[test]
fn a_good_release_becomes_known_good_when_its_soak_is_over() {
    let mut looks = v1_runs(1);
    looks.push(look(rolling_v2(), &[("v1", 80, 1), ("v2", 60, 1)]));
    looks.extend((0..9).map(|_| look(complete_v2(), &[("v2", 100, 2)])));
    story("good_release", &policy(), &looks);
}

#[test]
fn one_bad_window_is_no_breach() {
    let mut looks = v1_runs(0);
    looks.push(look(rolling_v2(), &[("v1", 80, 0), ("v2", 60, 0)]));
    looks.extend([0, 40, 0, 0, 30, 30, 0, 0, 0].map(|failures| look(complete_v2(), &[("v2", 100, failures)])));
    story("single_bad_windows", &policy(), &looks);
}

#[test]
fn without_traffic_there_is_no_verdict() {
    let mut looks: Vec<Look> = (0..3).map(|_| look(complete_v1(), &[])).collect();
    looks.push(look(rolling_v2(), &[]));
    looks.extend((0..9).map(|_| look(complete_v2(), &[])));
    story("no_traffic", &policy(), &looks);
}

#[test]
fn a_source_that_is_down_undoes_nothing_and_is_judged_when_it_is_back() {
    let mut looks = v1_runs(0);
    looks.push(blind(rolling_v2()));
    looks.extend((0..8).map(|_| blind(complete_v2())));
    looks.extend((0..6).map(|_| look(complete_v2(), &[("v2", 100, 30)])));
    story("source_down", &policy(), &looks);
}

#[test]
fn what_hurts_old_and_new_pods_alike_is_held() {
    let mixed = || workload("v2", vec![revision("v1", 1, 2, 2), revision("v2", 2, 2, 2)]);
    let mut looks = v1_runs(0);
    looks.extend((0..6).map(|_| look(mixed(), &[("v1", 100, 40), ("v2", 100, 40)])));
    looks.extend((0..3).map(|_| look(mixed(), &[("v1", 100, 0), ("v2", 100, 0)])));
    story("dependency_outage", &policy(), &looks);
}

#[test]
fn crashes_are_seen_before_there_is_any_traffic() {
    let crash = || {
        let mut workload = rolling_v2();
        workload.pods.retain(|pod| pod.owner.as_str() != "uid-v2");
        workload.pods.push(crashing("v2", 0));
        workload
    };
    let check = Check { name: "crashes".into(), severity: Severity::Critical, rule: Rule::CrashRate { max: 0.5 } };
    let policy = Policy { checks: vec![check], ..policy() };
    let mut looks = v1_runs(0);
    looks.push(look(rolling_v2(), &[]));
    looks.push(blind(crash()));
    story("crash_loop", &policy, &looks);
}

#[test]
fn a_newer_template_starts_a_new_rollout() {
    let v3 = || workload("v3", vec![revision("v1", 1, 0, 0), revision("v2", 2, 0, 0), revision("v3", 3, 3, 3)]);
    let mut looks = v1_runs(0);
    looks.extend((0..2).map(|_| look(complete_v2(), &[("v2", 100, 20)])));
    looks.extend((0..8).map(|_| look(v3(), &[("v3", 100, 0)])));
    story("superseded", &policy(), &looks);
}
