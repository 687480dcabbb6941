//! The policy that is replayed, read from a file as the operator reads it from the API server.

use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Deserialize as _;
use serde_json::Value;
use snapback_api::convert;
use snapback_api::v1alpha1::{LabelSelectorSpec, RollbackPolicy, TargetKind};
use snapback_controller::sampler::{metric_names, validate_queries};
use snapback_core::policy::{Mode, Policy};
use snapback_prometheus::CompiledNames;

/// A policy that means something.
pub(crate) struct Subject {
    /// `metadata.name`.
    pub(crate) name: String,
    /// The namespace of its targets.
    pub(crate) namespace: Option<String>,
    /// Its rules, as one that may act at any time and without asking.
    pub(crate) policy: Policy,
    /// What its metrics are called.
    pub(crate) names: CompiledNames,
    /// The source that it names.
    pub(crate) source: Option<String>,
    /// Its one target, if it names one.
    pub(crate) target: Option<String>,
    /// The labels of its targets, if it chooses by these.
    pub(crate) selector: Option<LabelSelectorSpec>,
}

/// Reads the one policy of a file.
///
/// # Errors
/// What is no policy, or one that the operator would refuse; the text names the field.
pub(crate) fn load(path: &Path) -> anyhow::Result<Subject> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    read(&text).with_context(|| path.display().to_string())
}

pub(crate) fn read(text: &str) -> anyhow::Result<Subject> {
    let mut policies = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let object = Value::deserialize(document).context("this is neither YAML nor JSON")?;
        if object["kind"] == "RollbackPolicy" {
            policies.push(object);
        }
    }
    let [object] = <[Value; 1]>::try_from(policies)
        .map_err(|all| anyhow::anyhow!("this must hold exactly one RollbackPolicy, but holds {}", all.len()))?;
    let policy: RollbackPolicy = serde_json::from_value(object).context("this is no RollbackPolicy of v1alpha1")?;
    understood(policy)
}

/// What the operator would make of it, and of its targets.
fn understood(object: RollbackPolicy) -> anyhow::Result<Subject> {
    let spec = object.spec;
    let policy = convert::policy(&spec)?;
    let names = metric_names(spec.metrics.as_ref()).context("spec.metrics must hold names that can be asked for")?;
    validate_queries(&spec)?;
    if let Some(target) = spec.target_ref.as_ref().filter(|target| target.kind != TargetKind::Deployment) {
        bail!(
            "spec.targetRef.kind is {:?}: only Deployments can be replayed, for the names of other pods do not tell \
             their revision, and no history does",
            target.kind
        );
    }
    Ok(Subject {
        name: object.metadata.name.unwrap_or_default(),
        namespace: object.metadata.namespace,
        // When would it have judged so? Who may act then is another question.
        policy: Policy { mode: Mode::Automatic, suspend: false, windows: Vec::new(), ..policy },
        names,
        source: spec.metrics.and_then(|metrics| metrics.source),
        target: spec.target_ref.map(|target| target.name),
        selector: spec.selector,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(spec: &str) -> String {
        format!(
            "apiVersion: snapback.dev/v1alpha1\nkind: RollbackPolicy\nmetadata: {{name: checkout, namespace: shop}}\n\
             spec: {spec}\n"
        )
    }

    fn refused(text: &str) -> String {
        format!("{:#}", read(text).err().unwrap())
    }

    #[test]
    fn the_policy_of_a_file_with_other_objects_is_found_and_may_act() {
        let text = format!("kind: Service\n---\n{}", policy("{mode: Observe, targetRef: {kind: Deployment, name: a}}"));
        let subject = read(&text).unwrap();
        assert_eq!((subject.policy.mode, subject.target.as_deref()), (Mode::Automatic, Some("a")));
        assert_eq!((subject.policy.checks.len(), subject.namespace.as_deref()), (4, Some("shop")));
    }

    #[test]
    fn what_the_operator_would_refuse_is_refused_with_the_field() {
        let target = "targetRef: {kind: Deployment, name: a}";
        for (text, words) in [
            ("kind: Service".to_owned(), "exactly one RollbackPolicy, but holds 0"),
            (policy("{}"), "exactly one of targetRef and selector"),
            (policy(&format!("{{{target}, soak: {{duration: soon}}}}")), "spec.soak.duration must be a duration"),
            (
                policy(&format!("{{{target}, checks: [{{name: a, query: {{promql: 'sum(', max: \"1\"}}}}]}}")),
                "spec.checks[0].query.promql",
            ),
            (
                policy(&format!("{{{target}, checks: [{{name: a, burnRate: {{objective: 99%, errorRatio: 'a'}}}}]}}")),
                "spec.checks[0].burnRate.errorRatio nothing in it is {{ window }}",
            ),
            (policy("{targetRef: {kind: StatefulSet, name: a}}"), "only Deployments can be replayed"),
        ] {
            let error = refused(&text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
