//! What the API server would say of an object, by the schema of our definitions: the lengths, patterns and lists that it
//! checks, and the CEL rules.

use std::sync::OnceLock;

use kube_cel::{CompiledSchema, ErrorKind, Validator, compile_schema};
use regex::Regex;
use serde_json::Value;

/// What is wrong with `value` at `pointer` of a kind's schema, such as `/properties/spec`.
pub(crate) fn misshapen(kind: &str, pointer: &str, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(of(kind).pointer(pointer).unwrap(), value, pointer.rsplit('/').next().unwrap(), &mut found);
    found
}

/// The messages of the CEL rules that a whole object breaks.
pub(crate) fn broken_rules(kind: &str, object: &Value) -> Vec<String> {
    thread_local! {
        static RULES: [(&'static str, CompiledSchema); 2] =
            ["RollbackPolicy", "Rollback"].map(|kind| (kind, compile_schema(of(kind))));
        static VALIDATOR: Validator = Validator::new();
    }
    let broken = RULES.with(|all| {
        let (_, rules) = all.iter().find(|(known, _)| *known == kind).unwrap();
        VALIDATOR.with(|validator| validator.validate_compiled(rules, object, None))
    });
    let errors = broken.err().into_iter().flatten();
    let refused = errors.filter(|error| error.kind == ErrorKind::ValidationFailure);
    refused.map(|error| format!("{} {}", error.field_path, error.message)).collect()
}

fn of(kind: &str) -> &'static Value {
    static ALL: OnceLock<Vec<(String, Value)>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let schema = |crd: &Value| crd.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap().clone();
        let kind = |crd: &Value| crd["spec"]["names"]["kind"].as_str().unwrap().to_owned();
        snapback_api::crd::all().iter().map(|(_, crd)| (kind(crd), schema(crd))).collect()
    });
    &all.iter().find(|(known, _)| known == kind).unwrap().1
}

fn check(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let fits = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64(),
        Some("boolean") => value.is_boolean(),
        _ => true,
    };
    let mut wrong = |what: String| found.push(format!("{path}: {what}"));
    if !fits {
        return wrong(format!("is no {}", schema["type"]));
    }
    if schema["enum"].as_array().is_some_and(|allowed| !allowed.contains(value)) {
        wrong(format!("is none of {}", schema["enum"]));
    }
    let length = match value {
        Value::String(text) => Some((text.chars().count(), "minLength", "maxLength")),
        Value::Array(items) => Some((items.len(), "minItems", "maxItems")),
        Value::Object(map) => Some((map.len(), "minProperties", "maxProperties")),
        _ => None,
    };
    if let Some((length, least, most)) = length {
        let bound = |key: &str| schema[key].as_u64().and_then(|bound| usize::try_from(bound).ok());
        if bound(least).is_some_and(|least| length < least) || bound(most).is_some_and(|most| length > most) {
            wrong(format!("has a length of {length}"));
        }
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
        && !Regex::new(pattern).unwrap().is_match(text)
    {
        wrong(format!("does not match {pattern}"));
    }
    if let (Some("date-time"), Some(text)) = (schema["format"].as_str(), value.as_str())
        && !is_time(text)
    {
        wrong("is no time".to_owned());
    }
    if let Some(number) = value.as_f64() {
        let is_32 = schema["format"] == "int32";
        let least = schema["minimum"].as_f64().or(is_32.then_some(i32::MIN.into()));
        let most = schema["maximum"].as_f64().or(is_32.then_some(i32::MAX.into()));
        if least.is_some_and(|least| number < least) || most.is_some_and(|most| number > most) {
            wrong(format!("is {number}"));
        }
    }
    for item in value.as_array().into_iter().flatten() {
        check(&schema["items"], item, &format!("{path}[]"), found);
    }
    if let Some(map) = value.as_object() {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !map.contains_key(name) {
                found.push(format!("{path}.{name}: is missing"));
            }
        }
        for (name, below) in map {
            let known = schema["properties"].get(name).or_else(|| schema.get("additionalProperties"));
            if let Some(known) = known {
                check(known, below, &format!("{path}.{name}"), found);
            }
        }
    }
}

/// As RFC 3339 and our objects write it: years of four digits.
fn is_time(text: &str) -> bool {
    static TIME: OnceLock<Regex> = OnceLock::new();
    TIME.get_or_init(|| Regex::new(r"^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$").unwrap())
        .is_match(text)
}
