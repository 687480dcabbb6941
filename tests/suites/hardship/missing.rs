//! Each right of the chart taken away in turn: the operator says which one is missing.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::bed::Bed;
use crate::operator::Operator;
use crate::story::{ALL, Story, Told};

/// A test of its own.
pub(crate) type Test = Box<dyn FnOnce(&Bed) -> Result<()> + Send>;

/// `list pods`, `update rollbacks/status.snapback.dev`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    group: String,
    resource: String,
    verb: String,
}

impl Right {
    fn said(&self) -> String {
        let Self { group, resource, verb } = self;
        if group.is_empty() { format!("{verb} {resource}") } else { format!("{verb} {resource}.{group}") }
    }

    /// Where it is needed.
    fn story(&self) -> Story {
        match (self.group.as_str(), self.resource.as_str(), self.verb.as_str()) {
            (_, "statefulsets", _) | (_, "pods", "delete") => Story::Undo("StatefulSet"),
            (_, "daemonsets", _) | (_, "controllerrevisions", "get") => Story::Undo("DaemonSet"),
            (_, "rollbacks", "delete") => Story::OldRecord,
            // Copies of what is older; and what is told a second time.
            (_, "controllerrevisions" | "configmaps" | "secrets", "delete" | "list") | (_, "events", "patch") => {
                Story::Newer
            }
            ("batch", ..) => Story::Job,
            ("coordination.k8s.io", ..) => Story::Lease,
            _ => Story::Undo("Deployment"),
        }
    }
}

fn rights(rules: &[PolicyRule]) -> BTreeSet<Right> {
    let mut all = BTreeSet::new();
    for rule in rules {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                all.extend(rule.verbs.iter().map(|verb| Right {
                    group: group.clone(),
                    resource: resource.clone(),
                    verb: verb.clone(),
                }));
            }
        }
    }
    all
}

/// All the rest.
fn without(rules: &[PolicyRule], right: &Right) -> Vec<PolicyRule> {
    let mut left = Vec::new();
    for rule in rules {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                let is_it = *group == right.group && *resource == right.resource;
                let verbs: Vec<String> =
                    rule.verbs.iter().filter(|verb| !is_it || **verb != right.verb).cloned().collect();
                let (groups, resources) = (Some(vec![group.clone()]), Some(vec![resource.clone()]));
                let one = PolicyRule { api_groups: groups, resources, verbs, ..rule.clone() };
                left.extend(Some(one).filter(|one| !one.verbs.is_empty()));
            }
        }
    }
    left
}

/// The whole stories first: each comes to its end when nothing is missing, and nothing is refused.
pub(crate) fn tests(bed: &Bed) -> Vec<(String, Test)> {
    let all = rights(&bed.rules);
    let chosen = std::env::var("RIGHTS").unwrap_or_default();
    let today = usize::try_from(jiff::Timestamp::now().as_second() / 86_400).unwrap_or_default() % 3;
    let third = chosen.parse().unwrap_or(today);
    let is_chosen = |at: usize| chosen == "all" || at % 3 == third;
    println!(
        "{} rights, {}",
        all.len(),
        if chosen == "all" { "all of them".to_owned() } else { format!("third {third}") }
    );
    let mut tests: Vec<(String, Test)> = Vec::new();
    for story in ALL {
        tests.push((format!("with_all_rights_{}", story.name()), Box::new(move |bed| whole(bed, story))));
    }
    for (at, right) in all.into_iter().enumerate().filter(|(at, _)| is_chosen(*at)) {
        let name = format!("without_{}", right.said().replace([' ', '/', '.'], "_"));
        tests.push((name, Box::new(move |bed| missing(bed, &right, at))));
    }
    tests
}

fn whole(bed: &Bed, story: Story) -> Result<()> {
    let namespace = format!("all-{}", story.name());
    bed.namespace(&namespace, &bed.rules)?;
    let told = Told { bed, namespace: &namespace, story };
    told.prepare()?;
    let operator = Operator::start(bed, bed.as_operator()?, &namespace, story == Story::Lease)?;
    told.go(&|| Ok(false))?;
    let refused = operator.refused()?;
    ensure!(refused.is_empty(), "{story:?}: it lacks {refused:?}");
    let ready = operator.ready()?;
    ensure!(ready == (true, "ok".to_owned()), "{story:?}: {ready:?}");
    operator.stop()
}

fn missing(bed: &Bed, right: &Right, at: usize) -> Result<()> {
    let namespace = format!("without-{at}");
    bed.namespace(&namespace, &without(&bed.rules, right))?;
    let told = Told { bed, namespace: &namespace, story: right.story() };
    told.prepare()?;
    let operator = Operator::start(bed, bed.as_operator()?, &namespace, right.story() == Story::Lease)?;
    told.go(&|| Ok(operator.refused()?.contains(&right.said())))?;
    let refused = operator.refused()?;
    ensure!(refused == BTreeSet::from([right.said()]), "{right:?} is missing, and refused is {refused:?}");
    let (is_ready, text) = operator.ready()?;
    ensure!(text.contains(&format!("; without the right to {}", right.said())), "{right:?}: {text}");
    // Without its first lists it does nothing, and without the Lease it must not.
    let is_vital = right.verb == "list"
        && ["rollbackpolicies", "rollbacks", "deployments", "statefulsets", "daemonsets"]
            .contains(&right.resource.as_str());
    let is_vital = is_vital || right.group == "coordination.k8s.io" && right.verb != "update";
    ensure!(!is_vital || !is_ready, "{right:?} is missing, and it is ready: {text}");
    operator.stop()
}
