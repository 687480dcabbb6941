//! Every leaf of the decision tree, by name.

mod arrival;
mod former;
mod freezing;
mod ordering;
mod outcome;
mod quarantine;
mod said;
mod soak;

use crate::support::*;
use snapback_core::checks::CheckResult;
use snapback_core::notice::Reason;
use snapback_core::policy::Policy;
use snapback_core::watch::{Arrival, Decision, Quarantined, Target, decide, observe};
use snapback_core::workload::{Said, Workload};

/// `v1` is known good, `v2` is rolled out since second 10 and complete since second 20.
fn soaking() -> Target {
    let (v1, _) = observe(None, &complete_v1(), &Arrival::Before, at(0));
    let (rolling, _) = observe(Some(&v1), &rolling_v2(), &Arrival::Before, at(10));
    observe(Some(&rolling), &complete_v2(), &Arrival::Before, at(20)).0
}

fn decided(policy: &Policy, workload: &Workload, checks: &[CheckResult], second: i64) -> Decision {
    decide(policy, soaking(), workload, checks, None, at(second))
}

fn returned() -> Target {
    let bad = Quarantined { fingerprint: version("v2"), rollback: "r".into(), called: Vec::new(), at: at(5) };
    let (v1, _) = observe(None, &complete_v1(), &Arrival::Before, at(0));
    observe(Some(&Target { quarantined: vec![bad], ..v1 }), &rolling_v2(), &Arrival::Before, at(30)).0
}

fn said(mode: Option<&str>, migration: Option<&str>) -> Workload {
    Workload { said: Said::read(mode, migration), ..complete_v2() }
}

fn rolling() -> Target {
    let (v1, _) = observe(None, &complete_v1(), &Arrival::Before, at(0));
    observe(Some(&v1), &rolling_v2(), &Arrival::Before, at(10)).0
}

fn told(decision: &Decision) -> Vec<Reason> {
    decision.notices.iter().map(|notice| notice.reason).collect()
}
