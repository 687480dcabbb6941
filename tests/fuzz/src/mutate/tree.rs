//! Changes of JSON, which stays JSON.

use serde_json::{Number, Value};

use super::{Random, Sources, bytes, start_of_tree};

/// One to three changes.
pub(super) fn mutate(mut tree: Value, sources: Sources<'_>, random: &mut Random) -> Value {
    for _ in 0..=random.below(3) {
        change(&mut tree, sources, random);
    }
    tree
}

fn change(tree: &mut Value, sources: Sources<'_>, random: &mut Random) {
    let paths = paths(tree);
    let Some(path) = random.of(&paths).cloned() else { return };
    match random.below(6) {
        0 => remove(tree, &path),
        1 => repeat(tree, &path, random),
        // What stands at a field of that name elsewhere fits in most cases.
        2 | 3 => {
            if let Some(given) = from_another(&path, sources, random)
                && let Some(value) = tree.pointer_mut(&path)
            {
                *value = given;
            }
        }
        4 => insert(tree, &path, sources, random),
        _ => {
            if let Some(value) = tree.pointer_mut(&path) {
                *value = changed(value, sources, random);
            }
        }
    }
}

/// Where everything below is, the root left out.
fn paths(tree: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(tree, String::new(), &mut found);
    found
}

fn collect(value: &Value, path: String, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, below) in map {
                collect(below, format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(items) => {
            for (index, below) in items.iter().enumerate() {
                collect(below, format!("{path}/{index}"), found);
            }
        }
        _ => {}
    }
    if !path.is_empty() {
        found.push(path);
    }
}

fn remove(tree: &mut Value, path: &str) {
    let (parent, key) = path.rsplit_once('/').unwrap_or_default();
    match tree.pointer_mut(parent) {
        Some(Value::Object(map)) => _ = map.remove(key),
        Some(Value::Array(items)) => {
            if let Some(index) = key.parse().ok().filter(|index| *index < items.len()) {
                items.remove(index);
            }
        }
        _ => {}
    }
}

/// The item of a list once more; a text twice as long.
fn repeat(tree: &mut Value, path: &str, random: &mut Random) {
    let (parent, key) = path.rsplit_once('/').unwrap_or_default();
    if let Some(Value::Array(items)) = tree.pointer_mut(parent) {
        let index: Option<usize> = key.parse().ok();
        if let Some(item) = index.and_then(|index| items.get(index)).cloned() {
            items.extend(std::iter::repeat_n(item, 1 + random.below(3) * 16));
        }
    } else if let Some(Value::String(text)) = tree.pointer_mut(path) {
        *text = text.repeat(2 + random.below(40));
    }
}

fn from_another(path: &str, sources: Sources<'_>, random: &mut Random) -> Option<Value> {
    let key = path.rsplit('/').next()?;
    let other = other(sources, random)?;
    let alike: Vec<String> = paths(&other).into_iter().filter(|path| path.rsplit('/').next() == Some(key)).collect();
    other.pointer(random.of(&alike)?).cloned()
}

/// A field that another input has.
fn insert(tree: &mut Value, path: &str, sources: Sources<'_>, random: &mut Random) {
    let Some(other) = other(sources, random) else { return };
    let paths = paths(&other);
    let Some(from) = random.of(&paths) else { return };
    let (parent, key) = from.rsplit_once('/').unwrap_or_default();
    let given = other.pointer(from).cloned().unwrap_or_default();
    // At its own place, or at any.
    let place = if random.below(3) > 0 { parent } else { path };
    match tree.pointer_mut(place) {
        Some(Value::Object(map)) => _ = map.insert(key.to_owned(), given),
        Some(Value::Array(items)) => items.push(given),
        _ => {}
    }
}

fn other(sources: Sources<'_>, random: &mut Random) -> Option<Value> {
    let other = random.of(sources.others)?;
    serde_json::from_slice(&other[start_of_tree(other)..]).ok()
}

fn changed(value: &Value, sources: Sources<'_>, random: &mut Random) -> Value {
    match value {
        Value::String(text) => {
            let word = random.of(sources.words).map(|word| String::from_utf8_lossy(word).into_owned());
            match random.below(4) {
                0 | 1 => Value::String(word.unwrap_or_default()),
                2 => {
                    let changed = bytes::mutate(text.clone().into_bytes(), sources, random);
                    Value::String(String::from_utf8_lossy(&changed).into_owned())
                }
                _ => scalar(random),
            }
        }
        Value::Number(number) => match (random.below(3), number.as_i64(), number.as_f64()) {
            (0, Some(number), _) => Value::from(number.wrapping_add(1)),
            (1, Some(number), _) => Value::from(number.wrapping_neg()),
            (0 | 1, None, Some(number)) => Number::from_f64(number * -1.5).map_or(Value::Null, Value::Number),
            _ => scalar(random),
        },
        Value::Bool(is) => Value::Bool(!is),
        _ => scalar(random),
    }
}

/// Something at an edge.
fn scalar(random: &mut Random) -> Value {
    let all = [
        Value::Null,
        Value::Bool(true),
        Value::from(0),
        Value::from(-1),
        Value::from(1),
        Value::from(i64::MAX),
        Value::from(i64::MIN),
        Value::from(i32::MAX),
        Value::from(0.5),
        Value::from(1e300),
        Value::from(""),
        Value::from("x".repeat(300)),
        Value::from("\u{fc}".repeat(64)),
        Value::Array(Vec::new()),
        Value::Object(serde_json::Map::new()),
    ];
    all[random.below(all.len())].clone()
}
