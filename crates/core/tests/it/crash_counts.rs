//! Why crashes are a plain rule and not a test of counts (docs/detection.md): what the test would take, and what it would
//! believe.
#![allow(clippy::unwrap_used, reason = "tests")]

use snapback_core::analysis::sequential::{Against, Limits, Look, Plan, Tally, needed, regression, spare};

/// The share of the rate of false alarms that crashes have in the default policy.
const ALPHA: f64 = 0.001 * 0.1;

/// Whether the counts prove that so many of the new pods crash by the release, where pods are the trials: spread over the
/// first looks, as evenly and independently as could be hoped for.
fn is_proven(new: f64, crashed: f64, old: f64, limits: Limits) -> bool {
    const LOOKS: f64 = 4.0;
    let against = if old > 0.0 { Against::OldPods } else { Against::Nothing };
    let look = Look {
        new: vec![Tally::new(new / LOOKS, crashed / LOOKS)],
        old: Tally::new(old / LOOKS, 0.0),
        against,
        due: None,
    };
    let plan = Plan { looks: 30, among_pods: 1.0, over_time: 1.0, spare: spare(ALPHA) };
    regression(&vec![look; 4], &limits, &plan).now() >= needed(ALPHA)
}

/// The fewest crashed pods of so many new ones that are proof.
fn least(new: u32, old: u32, limits: Limits) -> Option<u32> {
    (1..=new).find(|crashed| is_proven(f64::from(new), f64::from(*crashed), f64::from(old), limits))
}

const WORSE: Limits = Limits { max: None, ratio: Some(2.0), floor: 0.0 };
const HALF: Limits = Limits { max: Some(0.5), ratio: None, floor: 0.0 };

/// What the rule takes: two, and more than half.
fn by_rule(new: u32) -> u32 {
    (new / 2 + 1).max(2)
}

#[test]
fn the_rule_is_no_later_than_proof_unless_there_are_dozens_of_pods() {
    // The most new pods for which that holds, beside as many old ones and beside so many times as many.
    for (times, most) in [(1, 35), (4, 15), (9, 11)] {
        let is_later = |new: &u32| least(*new, times * new, WORSE).is_some_and(|proof| proof < by_rule(*new));
        assert_eq!((1..60).find(is_later), Some(most + 1), "{times} times as many old pods");
    }
    for (new, old, proof) in [(10, 10, None), (20, 20, Some(18)), (100, 100, Some(18)), (10, 90, Some(6))] {
        assert_eq!(least(new, old, WORSE), proof, "{new} new and {old} old pods; the rule takes {}", by_rule(new));
    }
    assert_eq!(least(10, 0, HALF), None, "without old pods ten of ten are no proof of more than half");
    assert_eq!(least(20, 0, HALF), Some(19));
}

#[test]
fn pods_that_start_while_a_dependency_is_down_would_be_proof_against_the_release() {
    // Of 50 new pods those 20 crash that start in an outage; none of the 50 old pods has to start.
    assert!(is_proven(50.0, 20.0, 50.0, WORSE));
    assert!(by_rule(50) > 20, "the rule waits");
}
