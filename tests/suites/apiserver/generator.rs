//! Objects by chance, from the schema that the API server validates by: mostly valid ones, and what lies at their edges.

use std::collections::BTreeMap;

use regex_syntax::hir::{Class, Hir, HirKind};
use serde_json::{Map, Value, json};

use crate::words;

/// Numbers by chance, the same ones from the same seed (SplitMix64).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn of(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below `below`.
    pub(crate) fn below(&mut self, below: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(below.max(1)).unwrap_or(1)).unwrap_or_default()
    }

    /// So often of a hundred times.
    pub(crate) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }
}

/// Makes values of schemas.
pub(crate) struct Generator<'a> {
    pub(crate) chance: &'a mut Chance,
    /// Texts that the cluster really holds, by the name of their field: a status that names a real fingerprint is worth more
    /// than a hundred that name none.
    pub(crate) seen: &'a BTreeMap<String, Vec<String>>,
    /// Whether it keeps to what the schema says.
    pub(crate) careful: bool,
}

impl Generator<'_> {
    /// A value of this schema; `field` is the name of the field that it is for.
    pub(crate) fn value(&mut self, schema: &Value, field: &str) -> Value {
        if let Some(words) = schema["enum"].as_array() {
            return self.chance.one(words).cloned().unwrap_or_default();
        }
        match schema["type"].as_str().unwrap_or_default() {
            "object" => self.object(schema, field),
            "array" => self.array(schema, field),
            "integer" => json!(self.integer(schema)),
            "boolean" => json!(self.chance.percent(50)),
            _ => json!(self.text(schema, field)),
        }
    }

    fn object(&mut self, schema: &Value, field: &str) -> Value {
        let mut made = Map::new();
        if let Some(inner) = schema["additionalProperties"].as_object() {
            for _ in 0..self.chance.below(3) {
                let (key, value) = if self.chance.percent(60) {
                    ("app".to_owned(), "checkout".to_owned())
                } else {
                    (words::label_key(self.chance, self.careful), self.text(&Value::Object(inner.clone()), "label"))
                };
                made.insert(key, json!(value));
            }
        }
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            if required.contains(&name.as_str()) || self.chance.percent(40) {
                made.insert(name.clone(), self.value(inner, name));
            }
        }
        let mut made = Value::Object(made);
        if self.careful || !self.chance.percent(10) {
            mend(&mut made, field, self.chance);
        }
        made
    }

    fn array(&mut self, schema: &Value, field: &str) -> Value {
        let bound = |key: &str| schema[key].as_u64().and_then(|bound| usize::try_from(bound).ok());
        let (least, most) = (bound("minItems").unwrap_or(0), bound("maxItems").unwrap_or(8));
        let count = match self.chance.below(40) {
            0 => most,
            1 if !self.careful => most + 1,
            2 if !self.careful => 0,
            3 => least,
            _ => (least + self.chance.below(3)).min(most),
        };
        let mut items: Vec<Value> = (0..count).map(|_| self.value(&schema["items"], field)).collect();
        // The same key twice would be refused every time.
        if let Some(keys) =
            schema["x-kubernetes-list-map-keys"].as_array().filter(|_| self.careful || !self.chance.percent(10))
        {
            let mut known = Vec::new();
            items.retain(|item| {
                let key: Vec<Value> = keys.iter().filter_map(Value::as_str).map(|key| item[key].clone()).collect();
                let is_new = !known.contains(&key);
                known.push(key);
                is_new
            });
        }
        Value::Array(items)
    }

    fn integer(&mut self, schema: &Value) -> i64 {
        #[allow(clippy::cast_possible_truncation, reason = "the bounds of the schema are whole")]
        let bound = |key: &str| schema[key].as_f64().map(|bound| bound as i64);
        let widest =
            if schema["format"] == "int32" { (i32::MIN.into(), i32::MAX.into()) } else { (i64::MIN, i64::MAX) };
        let (least, most) = (bound("minimum").unwrap_or(widest.0), bound("maximum").unwrap_or(widest.1));
        match self.chance.below(16) {
            0 => least,
            1 => most,
            2 if !self.careful => least.saturating_sub(1),
            3 if !self.careful => most.saturating_add(1),
            4 if !self.careful => 0,
            5 if !self.careful => -1,
            6 => most / 2,
            _ => {
                let room = usize::try_from(most.saturating_sub(least.max(0)).max(1)).unwrap_or(usize::MAX);
                let some = i64::try_from(self.chance.below(room.min(20_000))).unwrap_or_default();
                least.max(0).saturating_add(some)
            }
        }
    }

    fn text(&mut self, schema: &Value, field: &str) -> String {
        if schema["format"] == "date-time" {
            return words::time(self.chance, self.careful);
        }
        let bound = |key: &str| schema[key].as_u64().and_then(|bound| usize::try_from(bound).ok());
        let (least, most) = (bound("minLength").unwrap_or(0), bound("maxLength").unwrap_or(64));
        let pattern = pattern(schema);
        let matcher = pattern.as_deref().and_then(|pattern| regex::Regex::new(pattern).ok());
        let careful = self.careful;
        let fits = |text: &String| {
            let is_short = (least..=most).contains(&text.len());
            !careful || is_short && matcher.as_ref().is_none_or(|matcher| matcher.is_match(text))
        };
        let seen = self.seen.get(field).filter(|_| self.chance.percent(60));
        if let Some(real) = seen.and_then(|seen| self.chance.one(seen)).filter(|real| fits(real)) {
            return real.clone();
        }
        if self.chance.percent(85) {
            let known = (0..4).find_map(|_| words::known(field, self.chance, careful).filter(&fits));
            if let Some(known) = known {
                return known;
            }
        }
        if let Some(pattern) = pattern.as_deref().filter(|_| careful || self.chance.percent(90))
            && let Ok(shape) = regex_syntax::parse(pattern)
        {
            for _ in 0..16 {
                let text = self.shaped(&shape);
                if fits(&text) {
                    return text;
                }
            }
        }
        words::free(self.chance, least, most, careful)
    }

    /// A text of this shape.
    fn shaped(&mut self, shape: &Hir) -> String {
        match shape.kind() {
            HirKind::Empty | HirKind::Look(_) | HirKind::Class(Class::Bytes(_)) => String::new(),
            HirKind::Literal(literal) => String::from_utf8_lossy(&literal.0).into_owned(),
            HirKind::Class(Class::Unicode(class)) => {
                let ranges: Vec<_> =
                    class.iter().map(|range| (u32::from(range.start()), u32::from(range.end()))).collect();
                let Some((start, end)) = self.chance.one(&ranges).copied() else { return String::new() };
                let within = usize::try_from(end - start + 1).unwrap_or(1);
                let letter = start + u32::try_from(self.chance.below(within)).unwrap_or_default();
                char::from_u32(letter).map(String::from).unwrap_or_default()
            }
            HirKind::Repetition(repetition) => {
                let most = repetition.max.unwrap_or(repetition.min + 6);
                let room = usize::try_from(most - repetition.min + 1).unwrap_or(1);
                let times = usize::try_from(repetition.min).unwrap_or_default() + self.chance.below(room);
                (0..times).map(|_| self.shaped(&repetition.sub)).collect()
            }
            HirKind::Capture(capture) => self.shaped(&capture.sub),
            HirKind::Concat(parts) => parts.iter().map(|part| self.shaped(part)).collect(),
            HirKind::Alternation(parts) => {
                let index = self.chance.below(parts.len());
                parts.get(index).map(|part| self.shaped(part)).unwrap_or_default()
            }
        }
    }
}

/// The pattern that a text must match, by the schema or by its first rule.
fn pattern(schema: &Value) -> Option<String> {
    if let Some(pattern) = schema["pattern"].as_str() {
        return Some(pattern.to_owned());
    }
    let rule = schema["x-kubernetes-validations"][0]["rule"].as_str()?;
    Some(rule.strip_prefix("self.matches('")?.strip_suffix("')")?.to_owned())
}

/// Keeps of what excludes one another only one, and adds what the rest asks for: without it next to nothing would be let in.
fn mend(made: &mut Value, field: &str, chance: &mut Chance) {
    let Some(map) = made.as_object_mut() else { return };
    let keep_one = |map: &mut Map<String, Value>, keys: &[&str], chance: &mut Chance| {
        let there: Vec<&str> = keys.iter().copied().filter(|key| map.contains_key(*key)).collect();
        let kept = chance.one(&there).copied();
        map.retain(|key, _| !keys.contains(&key.as_str()) || Some(key.as_str()) == kept);
        kept.is_some()
    };
    let is_there = |map: &Map<String, Value>, keys: &[&str]| keys.iter().any(|key| map.contains_key(*key));
    match field {
        "policy" => {
            if chance.percent(65) {
                map.remove("selector");
            }
            if !keep_one(map, &["targetRef", "selector"], chance) {
                let target = chance.one(&words::TARGETS).copied().unwrap_or(("Deployment", "checkout"));
                map.insert("targetRef".to_owned(), json!({"kind": target.0, "name": target.1}));
            }
        }
        "checks" if map.contains_key("name") && !map.contains_key("verdict") => {
            let kinds = ["errorRate", "latency", "crashRate", "trafficDrop", "saturation", "burnRate", "query"];
            if !keep_one(map, &kinds, chance) {
                map.insert("crashRate".to_owned(), json!({"max": "50%"}));
            }
        }
        "errorRate" if !is_there(map, &["max", "maxRatio"]) => {
            map.remove("floor");
            map.insert("max".to_owned(), json!("5%"));
        }
        "errorRate" if !map.contains_key("maxRatio") => _ = map.remove("floor"),
        "latency" if map.contains_key("quantile") && !is_there(map, &["max", "maxRatio", "metric"]) => {
            map.insert("max".to_owned(), json!("250ms"));
        }
        "query" if map.contains_key("promql") => {
            if !is_there(map, &["min", "max"]) {
                map.insert("max".to_owned(), json!("3"));
            }
            if !map.contains_key("of") {
                map.remove("floor");
            }
        }
        "saturation" if map.is_empty() => _ = map.insert("memory".to_owned(), json!({"max": "90%"})),
        "soak" if chance.percent(90) => {
            map.insert("interval".to_owned(), json!("1s"));
        }
        "burnRate" => {
            if chance.percent(50) {
                map.retain(|key, _| key != "errors" && key != "total");
                map.entry("errorRatio").or_insert_with(|| json!(words::WINDOWED));
            } else {
                map.remove("errorRatio");
                map.entry("errors").or_insert_with(|| json!(words::WINDOWED));
                map.entry("total").or_insert_with(|| json!(words::WINDOWED));
            }
        }
        "windows" if map.contains_key("factor") => {
            let (short, long) = chance
                .one(&[("5m", "1h"), ("30m", "6h"), ("1s", "2s"), ("1h", "72h")])
                .copied()
                .unwrap_or(("5m", "1h"));
            map.insert("short".to_owned(), json!(short));
            map.insert("long".to_owned(), json!(long));
        }
        "analysis" => match map.get("method").and_then(Value::as_str) {
            Some("Consecutive") => _ = map.remove("falseAlarmRate"),
            _ => _ = map.remove("failures"),
        },
        "matchExpressions" => match map.get("operator").and_then(Value::as_str) {
            Some("In" | "NotIn") => _ = map.insert("values".to_owned(), json!(["checkout", ""])),
            _ => _ = map.remove("values"),
        },
        "selector" if !is_there(map, &["matchLabels", "matchExpressions"]) || map.values().all(is_empty) => {
            map.insert("matchLabels".to_owned(), json!({"app": "checkout"}));
        }
        "rollback-by-hand" => {
            // A person may create none but these; and says either all or next to nothing.
            map.insert("trigger".to_owned(), json!({"type": "Manual"}));
            map.retain(|key, _| !["approval", "released"].contains(&key.as_str()));
            if chance.percent(50) {
                map.remove("from");
                map.remove("to");
                if let Some(target) = map.get_mut("target").and_then(Value::as_object_mut) {
                    target.remove("uid");
                }
            } else if let Some(target) = map.get_mut("target").and_then(Value::as_object_mut) {
                target.entry("uid").or_insert_with(|| json!("0a1b2c"));
                map.entry("from").or_insert_with(|| json!({"fingerprint": "aaaa"}));
                map.entry("to").or_insert_with(|| json!({"fingerprint": "bbbb"}));
            }
        }
        "to" if !keep_one(map, &["revision", "fingerprint"], chance) => {
            map.insert("fingerprint".to_owned(), json!("bbbb"));
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}
