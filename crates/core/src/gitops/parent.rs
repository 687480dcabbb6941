//! What an `ApplicationSet`, or an Application that delivers another one, leaves alone of it.

use serde_json::Value;

use super::{HELD_BY, SELF_HEAL};

/// The sync option without which a difference is ignored until the next sync, and then put back.
const RESPECTED: &str = "RespectIgnoreDifferences=true";

/// Whether an `ApplicationSet` leaves both alone that a hold changes: the field that it switches off, and the annotation that
/// says who did. Of annotations a set keeps what it is told to, and takes off the rest.
pub fn set_leaves_alone(set: &Value) -> bool {
    let spec = &set["spec"];
    let rules = spec["ignoreApplicationDifferences"].as_array();
    let ignores = |place: &str| {
        let is_so = |rule: &Value| {
            // One for a single Application may be for another.
            rule["name"].as_str().is_none_or(str::is_empty)
                && rule["jsonPointers"].as_array().is_some_and(|all| all.iter().any(|one| covers(one, place)))
        };
        rules.is_some_and(|rules| rules.iter().any(is_so))
    };
    let kept = spec["preservedFields"]["annotations"].as_array();
    let keeps_note = kept.is_some_and(|kept| kept.iter().any(|one| one == HELD_BY));
    let note = format!("/metadata/annotations/{}", HELD_BY.replace('/', "~1"));
    let never_updates =
        matches!(spec["syncPolicy"]["applicationsSync"].as_str(), Some("create-only" | "create-delete"));
    never_updates || ignores(SELF_HEAL) && (keeps_note || ignores(&note))
}

/// Whether the Application `above` leaves the field alone that a hold switches off, of the Application of this namespace and name.
pub fn leaves_alone(above: &Value, (namespace, name): (&str, &str)) -> bool {
    let is_meant = |rule: &Value| {
        let any = |key: &str, own: &str| rule[key].as_str().is_none_or(|one| one.is_empty() || one == own);
        let like = |key: &str, own: &str| rule[key] == own || rule[key] == "*";
        like("group", "argoproj.io") && like("kind", "Application") && any("name", name) && any("namespace", namespace)
    };
    let ignores =
        |rule: &Value| rule["jsonPointers"].as_array().is_some_and(|all| all.iter().any(|one| covers(one, SELF_HEAL)));
    let spec = &above["spec"];
    let options = spec["syncPolicy"]["syncOptions"].as_array();
    let rules = spec["ignoreDifferences"].as_array();
    options.is_some_and(|options| options.iter().any(|one| one == RESPECTED))
        && rules.is_some_and(|rules| rules.iter().any(|rule| is_meant(rule) && ignores(rule)))
}

/// Whether this pointer is to that place, or to what it is in.
fn covers(pointer: &Value, place: &str) -> bool {
    pointer.as_str().is_some_and(|pointer| place == pointer || place.starts_with(&format!("{pointer}/")))
}

/// What a person does so that this one (`ApplicationSet stores`) leaves that field alone, if anything.
pub(super) fn how_to_leave_alone(parent: &str) -> String {
    if parent.starts_with("ApplicationSet ") {
        format!(
            "; let that leave {SELF_HEAL} alone (spec.ignoreApplicationDifferences) and keep the annotation {HELD_BY} \
             (spec.preservedFields.annotations)"
        )
    } else if parent.starts_with("Application ") {
        format!("; let that leave {SELF_HEAL} alone: spec.ignoreDifferences, with the sync option {RESPECTED}")
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const STORE: (&str, &str) = ("argocd", "store");

    fn above(rule: &Value) -> Value {
        json!({"spec": {"ignoreDifferences": [rule], "syncPolicy": {"syncOptions": ["Prune=false", RESPECTED]}}})
    }

    fn rule(more: &Value) -> Value {
        let mut rule = json!({"group": "argoproj.io", "kind": "Application", "jsonPointers": ["/metadata/labels", "/spec/syncPolicy"]});
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rule
    }

    #[test]
    fn a_set_leaves_alone_what_it_says() {
        let ignores = |pointer: &str| {
            json!({"spec": {
                "ignoreApplicationDifferences": [{"jsonPointers": [pointer]}],
                "preservedFields": {"annotations": ["example.com/kept", HELD_BY]}
            }})
        };
        for pointer in ["/spec/syncPolicy", "/spec/syncPolicy/automated", SELF_HEAL] {
            assert!(set_leaves_alone(&ignores(pointer)), "{pointer}");
        }
        assert!(!set_leaves_alone(&ignores("/spec/syncPolicy/automated/prune")));
        assert!(!set_leaves_alone(&ignores("/spec/sync")));
        assert!(!set_leaves_alone(&json!({})));
        let mut named = ignores("/spec/syncPolicy");
        named["spec"]["ignoreApplicationDifferences"][0]["name"] = json!("b");
        assert!(!set_leaves_alone(&named));
        let policy = |policy: &str| json!({"spec": {"syncPolicy": {"applicationsSync": policy}}});
        assert!(set_leaves_alone(&policy("create-only")));
        assert!(!set_leaves_alone(&policy("create-update")));
    }

    #[test]
    fn a_set_that_takes_our_note_off_does_not_leave_it_alone() {
        let set = |pointers: &[&str], kept: &Value| {
            json!({"spec": {
                "ignoreApplicationDifferences": [{"jsonPointers": pointers}], "preservedFields": {"annotations": kept}
            }})
        };
        assert!(!set_leaves_alone(&set(&["/spec/syncPolicy"], &Value::Null)));
        assert!(!set_leaves_alone(&set(&["/spec/syncPolicy"], &json!(["example.com/kept"]))));
        for note in ["/metadata/annotations/snapback.dev~1held-by", "/metadata/annotations"] {
            assert!(set_leaves_alone(&set(&["/spec/syncPolicy", note], &Value::Null)), "{note}");
        }
    }

    #[test]
    fn what_the_documentation_says_is_enough() {
        assert!(leaves_alone(&above(&rule(&json!({}))), STORE));
        assert!(leaves_alone(&above(&rule(&json!({"name": "store", "namespace": "argocd"}))), STORE));
        assert!(leaves_alone(&above(&rule(&json!({"group": "*", "kind": "*", "name": ""}))), STORE));
    }

    #[test]
    fn a_rule_for_something_else_is_not() {
        for other in [
            json!({"group": "apps"}),
            json!({"kind": "ApplicationSet"}),
            json!({"name": "cart"}),
            json!({"namespace": "team-a"}),
            json!({"jsonPointers": ["/spec/source"]}),
            json!({"jsonPointers": null}),
        ] {
            assert!(!leaves_alone(&above(&rule(&other)), STORE), "{other}");
        }
        assert!(!leaves_alone(&json!({}), STORE));
    }

    #[test]
    fn what_is_ignored_and_not_respected_comes_back_with_the_next_sync() {
        let mut above = above(&rule(&json!({})));
        above["spec"]["syncPolicy"]["syncOptions"] = json!(["RespectIgnoreDifferences=false"]);
        assert!(!leaves_alone(&above, STORE));
        above["spec"]["syncPolicy"] = json!({});
        assert!(!leaves_alone(&above, STORE));
    }

    /// Nothing of a Kustomization can leave one field alone.
    #[test]
    fn a_person_is_told_what_leaves_it_alone() {
        let set = how_to_leave_alone("ApplicationSet stores");
        for word in [SELF_HEAL, "spec.ignoreApplicationDifferences", HELD_BY, "spec.preservedFields.annotations"] {
            assert!(set.contains(word), "{set}");
        }
        let above = how_to_leave_alone("Application root");
        assert!(
            above.contains(SELF_HEAL) && above.contains("spec.ignoreDifferences") && above.contains(RESPECTED),
            "{above}"
        );
        assert_eq!(how_to_leave_alone("Kustomization infra"), "");
    }
}
