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

/// Takes these fields out of an object, and what is empty then, where the object or list itself is among them. A list's item
/// keeps the keys that tell it from others for as long as anything else of it is left.
pub(super) fn take_out(value: &mut Value, fields: &Fields) {
    for (key, inner) in fields {
        let inner = children(inner);
        if let Some(name) = key.strip_prefix("f:") {
            let Some(object) = value.as_object_mut() else { continue };
            let is_empty = object.get_mut(name).is_some_and(|child| {
                take_out(child, &inner);
                inner.contains_key(".") && is_hollow(child)
            });
            if inner.is_empty() || is_empty {
                object.remove(name);
            }
        } else if let Some(keys) = key.strip_prefix("k:").and_then(|keys| serde_json::from_str::<Fields>(keys).ok()) {
            let Some(list) = value.as_array_mut() else { continue };
            let is_it = |item: &Value| keys.iter().all(|(key, value)| item[key] == *value);
            let Some(index) = list.iter().position(is_it) else { continue };
            let rest: Fields = inner
                .iter()
                .filter(|(field, _)| field.strip_prefix("f:").is_none_or(|name| !keys.contains_key(name)))
                .map(|(field, below)| (field.clone(), below.clone()))
                .collect();
            take_out(&mut list[index], &rest);
            let has_keys_only =
                list[index].as_object().is_some_and(|item| item.keys().all(|key| keys.contains_key(key)));
            if inner.contains_key(".") && has_keys_only {
                list.remove(index);
            }
        } else if let Some(item) = key.strip_prefix("v:").and_then(|item| serde_json::from_str::<Value>(item).ok())
            && let Some(list) = value.as_array_mut()
        {
            list.retain(|one| *one != item);
        }
    }
}

fn is_hollow(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
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
    fn what_is_taken_out_leaves_the_rest_as_it_was() {
        let taken = |mut value: Value, what: &Value| {
            take_out(&mut value, &fields(what));
            value
        };
        let item = json!({"containers": [{"name": "app", "image": "v1", "tty": true}]});
        let key = "k:{\"name\":\"app\"}";
        assert_eq!(
            taken(item.clone(), &json!({"f:containers": {key: {"f:name": {}, "f:tty": {}}}})),
            json!({"containers": [{"name": "app", "image": "v1"}]}),
            "kubectl cannot read an item without its key"
        );
        let whole = json!({".": {}, "f:name": {}, "f:image": {}, "f:tty": {}});
        assert_eq!(taken(item.clone(), &json!({"f:containers": {key: whole}})), json!({"containers": []}));
        assert_eq!(taken(item.clone(), &json!({"f:containers": {".": {}, key: whole}})), json!({}));
        assert_eq!(taken(item.clone(), &json!({"f:other": {}, "f:containers": {"k:{\"name\":\"b\"}": whole}})), item);
        assert_eq!(taken(json!({"set": ["a", "b"]}), &json!({"f:set": {"v:\"a\"": {}}})), json!({"set": ["b"]}));
        assert_eq!(taken(json!({"a": 1, "b": {"c": 1}}), &json!({"f:b": {"f:c": {}}})), json!({"a": 1, "b": {}}));
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
