//! Sets of fields as Kubernetes writes them down (FieldsV1): a tree whose keys are `f:name`, `k:{...}`, `v:...`, and `.`
//! for the item itself; a leaf is `{}`.

use serde_json::{Map, Value};

/// A set of fields.
pub(super) type Fields = Map<String, Value>;

/// Everything in either one.
pub(super) fn union(one: &Fields, other: &Fields) -> Fields {
    let mut all = one.clone();
    for (key, theirs) in other {
        let merged = match (all.get(key).and_then(Value::as_object), theirs.as_object()) {
            (Some(ours), Some(theirs)) => Value::Object(union(ours, theirs)),
            _ => theirs.clone(),
        };
        all.insert(key.clone(), merged);
    }
    all
}

/// What both have.
pub(super) fn intersection(one: &Fields, other: &Fields) -> Fields {
    let mut both = Fields::new();
    for (key, ours) in one {
        let Some(theirs) = other.get(key) else { continue };
        let (ours, theirs) = (children(ours), children(theirs));
        if ours.is_empty() {
            both.insert(key.clone(), Value::Object(Fields::new()));
            continue;
        }
        let shared = intersection(&ours, &theirs);
        if !shared.is_empty() {
            both.insert(key.clone(), Value::Object(shared));
        }
    }
    both
}

/// What the first one has and the second has not.
pub(super) fn difference(one: &Fields, other: &Fields) -> Fields {
    let mut rest = Fields::new();
    for (key, ours) in one {
        let Some(theirs) = other.get(key) else {
            rest.insert(key.clone(), ours.clone());
            continue;
        };
        let ours = children(ours);
        if ours.is_empty() {
            continue;
        }
        let left = difference(&ours, &children(theirs));
        if !left.is_empty() {
            rest.insert(key.clone(), Value::Object(left));
        }
    }
    rest
}

/// The part of a set below `path`, with the path itself.
pub(super) fn below(fields: &Fields, path: &[&str]) -> Fields {
    let Some((first, rest)) = path.split_first() else { return fields.clone() };
    let Some(inner) = fields.get(*first).and_then(Value::as_object) else { return Fields::new() };
    let inner = below(inner, rest);
    if inner.is_empty() && !rest.is_empty() {
        return Fields::new();
    }
    Fields::from_iter([((*first).to_owned(), Value::Object(inner))])
}

/// How many leaves there are.
pub(super) fn count(fields: &Fields) -> usize {
    fields.values().map(|value| value.as_object().filter(|inner| !inner.is_empty()).map_or(1, count)).sum()
}

fn children(value: &Value) -> Fields {
    value.as_object().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: &Value) -> Fields {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn union_intersection_and_difference_are_those_of_sets() {
        let one = fields(&json!({"f:a": {}, "f:b": {"f:c": {}, "k:{\"name\":\"x\"}": {".": {}, "f:image": {}}}}));
        let other = fields(&json!({"f:b": {"k:{\"name\":\"x\"}": {"f:image": {}, "f:env": {}}}}));
        let both = intersection(&one, &other);
        assert_eq!(Value::Object(both.clone()), json!({"f:b": {"k:{\"name\":\"x\"}": {"f:image": {}}}}));
        let rest = difference(&one, &other);
        assert_eq!(
            Value::Object(rest.clone()),
            json!({"f:a": {}, "f:b": {"f:c": {}, "k:{\"name\":\"x\"}": {".": {}}}})
        );
        assert_eq!(union(&both, &rest), one);
        assert_eq!(count(&one), 4);
        assert!(difference(&one, &one).is_empty());
    }

    #[test]
    fn below_keeps_the_path() {
        let all = fields(
            &json!({"f:metadata": {"f:labels": {}}, "f:spec": {"f:replicas": {}, "f:template": {"f:spec": {}}}}),
        );
        assert_eq!(
            Value::Object(below(&all, &["f:spec", "f:template"])),
            json!({"f:spec": {"f:template": {"f:spec": {}}}})
        );
        assert!(below(&all, &["f:spec", "f:paused"]).is_empty());
    }
}
