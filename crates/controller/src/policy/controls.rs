//! Sampling the controls of a target: each is one more watch beside it, which the same queries serve.

use jiff::Timestamp;
use snapback_core::checks::Control;
use snapback_core::policy::Policy;
use snapback_core::workload::{Kind, Workload};
use snapback_prometheus::deployment_pattern;

use crate::sampler::{Sampler, Wanted, WatchKey};

/// What is wanted of each control while a target is judged: what its own checks count. A target that a selector chose is no
/// control of itself.
pub(super) fn wanted(policy: &Policy, target: &Workload, of_target: &Wanted) -> Vec<Wanted> {
    let is_target = |name: &String| target.kind == Kind::Deployment && *name == target.name;
    let controls = policy.controls.iter().filter(|name| !is_target(name));
    controls
        .map(|name| Wanted {
            key: WatchKey { revision: format!("{}/control/{name}", of_target.key.revision), ..of_target.key.clone() },
            target: name.clone(),
            all_pods: Some(deployment_pattern(name)),
            new_sets: Vec::new(),
            old_sets: Vec::new(),
            // Its own time before, as far as it is asked for anyway, says how much it scatters.
            past: false,
            queries: std::collections::BTreeMap::new(),
            ..of_target.clone()
        })
        .collect()
}

/// What the controls counted.
pub(super) async fn sample(sampler: &Sampler, wanted: &[Wanted], now: Timestamp) -> Vec<Control> {
    let mut controls = Vec::with_capacity(wanted.len());
    for one in wanted {
        let samples = sampler.sample(one, now).await;
        controls.push(Control::new(&one.target, samples.requests, samples.latencies));
    }
    controls
}
