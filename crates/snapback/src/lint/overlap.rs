//! Two policies for one target: only the older one would judge it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Said;
use super::documents::Written;

/// What the policies so far choose, by namespace and target: the first that does, and where it stands.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<(String, String), (String, String)>);

impl Seen {
    /// Notes one more policy. Something is wrong with it if another one before it chooses the same by the same words. Whether
    /// a selector chooses what is named elsewhere, only the cluster knows.
    pub(super) fn note(&mut self, file: &str, policy: &Written, namespace: Option<&str>) -> Option<Said> {
        let (field, target) = chosen(&policy.object["spec"])?;
        let own = policy.object.pointer("/metadata/namespace").and_then(Value::as_str);
        let key = (own.or(namespace).unwrap_or_default().to_owned(), target.clone());
        let name = policy.name();
        let Some((other, place)) = self.0.get(&key) else {
            self.0.insert(key, (name, format!("{file}:{}", policy.line(field))));
            return None;
        };
        // The same policy again: the last one is what is applied.
        let short = |name: &str| name.rsplit('/').next().map(str::to_owned);
        if short(other) == short(&name) {
            return None;
        }
        let problem = format!(
            "RollbackPolicy {other} ({place}) chooses {target} as well, and only the older of the two would judge it"
        );
        Some(Said::error("Conflicted", field, problem, "delete one of the two"))
    }
}

/// The field that chooses, and what it does.
fn chosen(spec: &Value) -> Option<(&'static str, String)> {
    let target = &spec["targetRef"];
    if let (Some(kind), Some(name)) = (target["kind"].as_str(), target["name"].as_str()) {
        return Some(("spec.targetRef", format!("{kind} {name}")));
    }
    spec["selector"].is_object().then(|| ("spec.selector", format!("the Deployments of {}", spec["selector"])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::documents::policies;

    /// What is said of each policy: name, namespace, what it chooses.
    fn said(all: &[(&str, &str, &str)]) -> Vec<Option<String>> {
        let mut seen = Seen::default();
        let mut one = |(name, namespace, chooses): &(&str, &str, &str)| {
            let text = format!(
                "apiVersion: snapback.dev/v1alpha1\nkind: RollbackPolicy\nmetadata: {{name: {name}{namespace}}}\nspec:\n  {chooses}"
            );
            let policy = policies(&text).unwrap().remove(0);
            seen.note(&format!("{name}.yaml"), &policy, Some("shop")).map(|said| said.problem)
        };
        all.iter().map(&mut one).collect()
    }

    const WEB: &str = "targetRef: {kind: Deployment, name: web}";

    #[test]
    fn the_second_policy_of_a_deployment_is_told_with_the_first() {
        let found = said(&[("a", "", WEB), ("b", ", namespace: shop", WEB)]);
        let problem =
            "RollbackPolicy a (a.yaml:5) chooses Deployment web as well, and only the older of the two would judge it";
        assert_eq!(found, [None, Some(problem.to_owned())]);
    }

    #[test]
    fn another_namespace_kind_or_name_is_another_target_and_the_same_policy_again_is_none() {
        let kind = "targetRef: {kind: StatefulSet, name: web}";
        let name = "targetRef: {kind: Deployment, name: cart}";
        let all = [("a", "", WEB), ("b", ", namespace: other", WEB), ("c", "", kind), ("d", "", name), ("a", "", WEB)];
        assert_eq!(said(&all), vec![None; 5]);
    }

    #[test]
    fn of_selectors_the_same_one_is_told() {
        let one = "selector: {matchLabels: {team: a, tier: web}}";
        let same = "selector: {matchLabels: {tier: web, team: a}}";
        let found =
            said(&[("a", "", one), ("b", "", same), ("c", "", "selector: {matchLabels: {team: b}}"), ("d", "", WEB)]);
        let told: Vec<bool> = found.iter().map(Option::is_some).collect();
        assert_eq!(told, [false, true, false, false]);
    }
}
