//! How each pod behaves at each second, by the plan.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::{Fault, Planned};

/// What a pod is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Behaviour {
    /// Share of failed requests.
    pub errors: f64,
    /// Time that a request takes, in milliseconds.
    pub latency: u32,
}

impl Planned {
    /// Of a pod at its start: what its template says.
    pub fn at_start(&self, is_new: bool) -> Behaviour {
        let everywhere = self.fault.as_ref().filter(|fault| is_new && fault.from.is_none() && fault.pods.is_none());
        self.with(everywhere, 1.0)
    }

    /// Of a pod that lives. `second` counts from the start of the rollout, before which there is no new pod; `new` is the
    /// place of a new pod among them, in the order in which they became ready.
    pub fn at(&self, pod: &str, new: Option<usize>, second: i64) -> Behaviour {
        let fault = self.fault.as_ref().filter(|fault| {
            let is_one = new.is_some_and(|place| fault.pods.is_none_or(|pods| place < pods));
            is_one && fault.from.is_none_or(|from| second >= from)
        });
        let behaviour = self.with(fault, fault.map_or(1.0, |fault| grown(fault, second)));
        match &self.normal.burst {
            Some(burst) if is_bursting(self.seed, pod, second, burst.every, burst.lasting) => {
                Behaviour { errors: behaviour.errors.max(burst.errors), ..behaviour }
            }
            _ => behaviour,
        }
    }

    /// The share of its requests that the dependency fails.
    pub fn outage(&self, second: i64) -> f64 {
        let outages = self.dependency.iter().flat_map(|dependency| &dependency.outages);
        let now = outages.filter(|(from, to, _)| (*from..*to).contains(&second)).map(|(_, _, share)| *share);
        now.fold(0.0, f64::max)
    }

    fn with(&self, fault: Option<&Fault>, grown: f64) -> Behaviour {
        let normal = &self.normal;
        let errors = fault.and_then(|fault| fault.errors).unwrap_or(normal.errors);
        Behaviour {
            errors: normal.errors + (errors - normal.errors) * grown,
            latency: fault.and_then(|fault| fault.latency).unwrap_or(normal.latency),
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "a minute of seconds")]
fn grown(fault: &Fault, second: i64) -> f64 {
    let since = second - fault.from.unwrap_or(0);
    fault.ramp.map_or(1.0, |ramp| (since as f64 / ramp.max(1) as f64).clamp(0.0, 1.0))
}

/// A burst begins in one of `every` seconds, by chance.
fn is_bursting(seed: u64, pod: &str, second: i64, every: u32, lasting: u32) -> bool {
    (0..i64::from(lasting)).any(|ago| {
        let mut hasher = DefaultHasher::new();
        (seed, pod, second - ago).hash(&mut hasher);
        hasher.finish().is_multiple_of(u64::from(every.max(1)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(text: &str) -> Planned {
        let head = "id: a, scenario: a, label: bad, seed: 1, load: {rps: 1}, normal: {errors: 0.01}";
        serde_yaml_ng::from_str(&format!("{{{head}, {text}}}")).unwrap()
    }

    fn errors(planned: &Planned, new: Option<usize>, seconds: &[i64]) -> Vec<f64> {
        seconds.iter().map(|second| planned.at("web-1-abcde", new, *second).errors).collect()
    }

    #[test]
    fn a_fault_is_the_new_pods_from_their_start_or_from_when_it_says() {
        let always = planned("fault: {errors: 0.5}");
        assert_eq!((always.at_start(true).errors, always.at_start(false).errors), (0.5, 0.01));
        assert_eq!(errors(&always, None, &[0, 9]), [0.01, 0.01], "an old pod");
        let late = planned("fault: {errors: 0.5, from: 9}");
        assert_eq!(late.at_start(true).errors, 0.01);
        assert_eq!(errors(&late, Some(3), &[8, 9]), [0.01, 0.5]);
    }

    #[test]
    fn a_fault_grows_evenly() {
        let planned = planned("fault: {errors: 0.21, from: 10, ramp: 20}");
        let found = errors(&planned, Some(0), &[9, 10, 20, 30, 99]);
        let expected = [0.01, 0.01, 0.11, 0.21, 0.21];
        assert!(found.iter().zip(expected).all(|(one, other)| (one - other).abs() < 1e-12), "{found:?}");
    }

    #[test]
    fn one_pod_is_the_first_that_was_ready() {
        let planned = planned("fault: {errors: 1, pods: 1}");
        assert_eq!(planned.at_start(true).errors, 0.01, "its template does not know");
        assert_eq!((errors(&planned, Some(0), &[5]), errors(&planned, Some(1), &[5])), (vec![1.0], vec![0.01]));
    }

    #[test]
    fn outages_come_and_go() {
        let planned = planned("dependency: {outages: [[3, 5, 0.5], [4, 6, 1]]}");
        let found: Vec<f64> = (2..7).map(|second| planned.outage(second)).collect();
        assert_eq!(found, [0.0, 0.5, 1.0, 1.0, 0.0]);
    }

    #[test]
    fn bursts_last_and_are_about_as_many_as_asked_for() {
        let text = "id: a, scenario: a, label: good, seed: 1, load: {rps: 1}, normal: {burst: {errors: 1, lasting: 2, every: 10}}";
        let planned: Planned = serde_yaml_ng::from_str(&format!("{{{text}}}")).unwrap();
        let all: Vec<i64> = (0..1000).collect();
        let bursting = errors(&planned, None, &all);
        let bad = bursting.iter().filter(|errors| **errors == 1.0).count();
        assert!((150..250).contains(&bad), "{bad}");
        let alone = bursting.windows(3).filter(|three| **three == [0.002, 1.0, 0.002]).count();
        assert_eq!(alone, 0, "each lasts two seconds");
    }
}
