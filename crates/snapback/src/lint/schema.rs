//! What the API server would refuse, by the schema of the CustomResourceDefinition.
//!
//! A definition's schema is structural: no references, no alternatives, two dozen keywords. A library for all of JSON Schema
//! would be larger than this binary's operator, and name neither the field as Kubernetes does nor the one that was meant.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use kube_cel::{ValidationError, Validator};
use regex::Regex;
use serde_json::{Map, Value};

use super::Said;

/// A field that the schema does not have.
const UNKNOWN: &str = "UnknownField";
/// A value that the schema, or one of its rules, does not take.
const INVALID: &str = "InvalidField";

/// What the API server would say of a whole policy. CEL rules are asked once the rest is right, as it does.
pub(super) fn refusals(object: &Value) -> Vec<Said> {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let Some(schema) = schema(version) else {
        let problem = format!("must be snapback.dev/v1alpha1, but is {version}");
        return vec![Said::error(INVALID, "apiVersion", problem, "")];
    };
    let mut found = Vec::new();
    if let Some(metadata) = object.get("metadata") {
        let has_name =
            ["name", "generateName"].iter().any(|key| metadata[*key].as_str().is_some_and(|n| !n.is_empty()));
        if !has_name {
            found.push(Said::error(INVALID, "metadata.name", "is required", ""));
        }
    } else {
        found.push(Said::error(INVALID, "metadata", "is required", ""));
    }
    value(schema, object, "", &mut found);
    if found.is_empty()
        && let Err(errors) = Validator::new().validate(schema, object, None)
    {
        let said = |error: &ValidationError| Said::error(INVALID, &error.field_path, &error.message, "");
        found.extend(errors.iter().map(said));
    }
    found
}

/// The schema of this version of the policy.
fn schema(version: &str) -> Option<&'static Value> {
    static DEFINITION: OnceLock<Option<Value>> = OnceLock::new();
    let all = || snapback_api::crd::all().into_iter().map(|(_, crd)| crd);
    let definition = DEFINITION.get_or_init(|| all().find(|crd| crd["spec"]["names"]["kind"] == "RollbackPolicy"));
    let versions = definition.as_ref()?["spec"]["versions"].as_array()?;
    let known = versions.iter().find(|known| version.rsplit('/').next() == known["name"].as_str())?;
    known.pointer("/schema/openAPIV3Schema")
}

fn value(schema: &Value, value: &Value, path: &str, found: &mut Vec<Said>) {
    let wanted = schema["type"].as_str().unwrap_or_default();
    let fits = match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        _ => true,
    };
    let mut wrong = |problem: String, fix: String| found.push(Said::error(INVALID, path, problem, fix));
    if !fits {
        let article = if ["object", "array", "integer"].contains(&wanted) { "an" } else { "a" };
        let fix = if wanted == "string" { as_text(schema, value) } else { None };
        return wrong(format!("must be {article} {wanted}, but is {}", shown(value)), fix.unwrap_or_default());
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        let names: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        let meant = value.as_str().and_then(|text| closest(text, &names)).map(|meant| format!("did you mean {meant}?"));
        wrong(format!("must be one of {}, but is {}", names.join(", "), shown(value)), meant.unwrap_or_default());
    }
    if let Some(text) = value.as_str() {
        if let Some(problem) = length(schema, "minLength", "maxLength", text.chars().count(), "characters") {
            wrong(problem, String::new());
        }
        if let Some(pattern) = schema["pattern"].as_str()
            && Regex::new(pattern).is_ok_and(|pattern| !pattern.is_match(text))
        {
            wrong(format!("must match {pattern}, but is {}", shown(value)), String::new());
        }
    }
    if let Some(number) = value.as_f64() {
        let (least, most) = range(schema);
        if least.is_some_and(|least| number < least) || most.is_some_and(|most| number > most) {
            let (least, most) = (least.map(|l| format!("at least {l}")), most.map(|m| format!("at most {m}")));
            let bounds: Vec<String> = [least, most].into_iter().flatten().collect();
            wrong(format!("must be {}, but is {value}", bounds.join(" and ")), String::new());
        }
    }
    if let Some(items) = value.as_array() {
        if let Some(problem) = length(schema, "minItems", "maxItems", items.len(), "items") {
            wrong(problem, String::new());
        }
        for (index, item) in items.iter().enumerate() {
            self::value(&schema["items"], item, &format!("{path}[{index}]"), found);
        }
        duplicates(schema, items, path, found);
    }
    if let Some(map) = value.as_object() {
        fields(schema, map, path, found);
    }
}

/// What to write instead of a number: in quotes, and with the unit that was probably meant.
fn as_text(schema: &Value, value: &Value) -> Option<String> {
    if !value.is_number() && !value.is_boolean() {
        return None;
    }
    if let Some(allowed) = schema["enum"].as_array() {
        let names: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        return Some(format!("write one of {}", names.join(", ")));
    }
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    let must_be =
        |what: &str| rules.clone().any(|rule| rule["message"].as_str().is_some_and(|text| text.starts_with(what)));
    let is_fraction = value.as_f64().is_some_and(|number| number < 1.0);
    Some(if must_be("must be a percentage") && !is_fraction {
        format!("write \"{value}%\"")
    } else if must_be("must be a duration") {
        format!("write \"{value}s\"")
    } else {
        format!("write it in quotes: \"{value}\"")
    })
}

fn fields(schema: &Value, map: &Map<String, Value>, path: &str, found: &mut Vec<Said>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !map.contains_key(name) {
            found.push(Said::error(INVALID, &below(name), "is required", ""));
        }
    }
    if let Some(problem) = length(schema, "minProperties", "maxProperties", map.len(), "entries") {
        found.push(Said::error(INVALID, path, problem, ""));
    }
    let Some(properties) = schema["properties"].as_object() else {
        // A map of one kind of value; or metadata, which the API server knows better.
        if schema["additionalProperties"].is_object() {
            map.iter().for_each(|(name, one)| value(&schema["additionalProperties"], one, &below(name), found));
        }
        return;
    };
    // What every object has, the schema leaves out.
    let of_all = if path.is_empty() { ["apiVersion", "kind", "metadata"].as_slice() } else { &[] };
    for (name, one) in map {
        if let Some(known) = properties.get(name) {
            value(known, one, &below(name), found);
        } else if !of_all.contains(&name.as_str()) {
            let known: Vec<&str> = properties.keys().map(String::as_str).filter(|known| *known != "status").collect();
            let fix = closest(name, &known)
                .map_or_else(|| format!("known are {}", known.join(", ")), |meant| format!("did you mean {meant}?"));
            found.push(Said::error(UNKNOWN, &below(name), "there is no such field", fix));
        }
    }
}

/// Items of a list that is a map by some of their fields.
fn duplicates(schema: &Value, items: &[Value], path: &str, found: &mut Vec<Said>) {
    let keys: Vec<&str> =
        schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate().filter(|_| !keys.is_empty()) {
        let of_item: Vec<String> = keys.iter().map(|key| item[*key].to_string()).collect();
        if !seen.insert(of_item.clone()) {
            let problem = format!("must be unique, but {} is used twice", of_item.join(", "));
            found.push(Said::error(INVALID, &format!("{path}[{index}].{}", keys.join("/")), problem, ""));
        }
    }
}

fn length(schema: &Value, least: &str, most: &str, is: usize, what: &str) -> Option<String> {
    let bound = |key: &str| schema[key].as_u64().and_then(|bound| usize::try_from(bound).ok());
    match (bound(least), bound(most)) {
        (Some(least), _) if is < least => Some(format!("must have at least {least} {what}, but has {is}")),
        (_, Some(most)) if is > most => Some(format!("must have at most {most} {what}, but has {is}")),
        _ => None,
    }
}

fn range(schema: &Value) -> (Option<f64>, Option<f64>) {
    let (least, most) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
    match schema["format"].as_str() {
        Some("int32") => (least.or(Some(f64::from(i32::MIN))), most.or(Some(f64::from(i32::MAX)))),
        _ => (least, most),
    }
}

/// The known name that was most likely meant: a third of its letters may be wrong, in any case.
fn closest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.to_lowercase();
    let distance = |known: &str| strsim::damerau_levenshtein(&name, &known.to_lowercase());
    let best = known.iter().min_by_key(|known| distance(known))?;
    (distance(best) <= best.chars().count().div_ceil(3)).then_some(best)
}

/// A stranger's value, short.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => "nothing".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        other => other.to_string(),
    };
    if text.chars().count() <= 60 { text } else { format!("{}...", text.chars().take(60).collect::<String>()) }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;

    use super::*;

    fn of(spec: &str) -> Vec<String> {
        let spec = Value::deserialize(serde_yaml_ng::Deserializer::from_str(spec)).unwrap();
        let object = serde_json::json!({
            "apiVersion": "snapback.dev/v1alpha1", "kind": "RollbackPolicy", "metadata": {"name": "a"}, "spec": spec
        });
        refusals(&object).into_iter().map(|said| format!("{}: {}; {}", said.field, said.problem, said.fix)).collect()
    }

    /// A spec that is fine, and one that is refused with these words.
    fn refused(spec: &str, words: &str) {
        let found = of(&format!("targetRef: {{kind: Deployment, name: a}}\n{spec}"));
        assert!(found.len() == 1 && found[0].starts_with(words), "{spec}: {found:#?}");
    }

    #[test]
    fn a_spec_with_everything_in_it_is_fine() {
        let spec = r#"targetRef: {kind: Deployment, name: checkout}
mode: Approve
soak: {duration: 1h30m, interval: 15s, maxDuration: 6h}
minimumRequests: 200
metrics:
  preset: OpenTelemetry
  requests: {metric: "http:requests_total", codeLabel: status, errorCodes: "5..|429"}
checks:
- {name: errors, errorRate: {max: "0.5%"}}
- {name: slow, severity: Warning, latency: {quantile: P99, max: 750ms, maxRatio: "1.5"}}
- {name: orders, query: {promql: "sum(rate(orders_total[1m]))", min: "80%", of: Baseline}}
rollback: {helm: {job: helm}, verify: {http: [{path: "/ready?full=1&name=%20", port: 65535, scheme: HTTPS}]}}
windows:
- {kind: Allow, schedule: "0 9 * * 1-5", duration: 8h, timeZone: Europe/Berlin}
- {kind: Deny, schedule: "0  0 20,L DEC *", duration: 744h}"#;
        assert_eq!(of(spec), [""; 0]);
        assert_eq!(of("selector: {matchLabels: {app.kubernetes.io/part-of: shop}}"), [""; 0]);
    }

    #[test]
    fn an_unknown_field_is_named_with_the_closest_known_one() {
        refused("sook: {duration: 5m}", "spec.sook: there is no such field; did you mean soak?");
        refused(
            "checks: [{name: a, crashRate: {Max: '1%', max: '1%'}}]",
            "spec.checks[0].crashRate.Max: there is no such",
        );
        refused("mood: Observe", "spec.mood: there is no such field; did you mean mode?");
        refused("rollback: {zebra: 1}", "spec.rollback.zebra: there is no such field; known are approvalTimeout, ");
    }

    #[test]
    fn each_keyword_of_the_schema_refuses() {
        for (spec, words) in [
            ("suspend: maybe", "spec.suspend: must be a boolean, but is \"maybe\""),
            ("minimumRequests: 0", "spec.minimumRequests: must be at least 1 and at most 1000000, but is 0"),
            ("mode: Auto", "spec.mode: must be one of Automatic, Approve, Observe, but is \"Auto\""),
            ("onNoData: hold", "spec.onNoData: must be one of Hold, Pass, but is \"hold\"; did you mean Hold?"),
            ("checks: []", "spec.checks: must have at least 1 items, but has 0"),
            ("checks: [{crashRate: {max: '1%'}}]", "spec.checks[0].name: is required"),
            ("checks: [{name: A, crashRate: {max: '1%'}}]", "spec.checks[0].name: must match ^[a-z0-9]"),
            ("checks: [{name: '', crashRate: {max: '1%'}}]", "spec.checks[0].name: must have at least 1 characters"),
            (
                "checks: [{name: a, crashRate: {max: 0.5}}]",
                "spec.checks[0].crashRate.max: must be a string, but is 0.5; write it in quotes: \"0.5\"",
            ),
            (
                "checks: [{name: a, errorRate: {max: 1}}]",
                "spec.checks[0].errorRate.max: must be a string, but is 1; write \"1%\"",
            ),
            ("soak: {duration: 900}", "spec.soak.duration: must be a string, but is 900; write \"900s\""),
            (
                "checks: [{name: a, latency: {quantile: 0.99, maxRatio: '2'}}]",
                "spec.checks[0].latency.quantile: must be a string, but is 0.99; write one of P50, P90, P95, P99",
            ),
            (
                "checks: [{name: a, crashRate: {max: '1%'}}, {name: a, crashRate: {max: '2%'}}]",
                "spec.checks[1].name: must be unique, but \"a\" is used twice",
            ),
            (
                "rollback: {verify: {http: [{path: /, port: 65536}]}}",
                "spec.rollback.verify.http[0].port: must be at least 1",
            ),
            ("soak: [1]", "spec.soak: must be an object, but is a list"),
            ("analysis: {failures: 3000000000}", "spec.analysis.failures: must be at least 1 and at most 100"),
        ] {
            let found = of(&format!("targetRef: {{kind: Deployment, name: a}}\n{spec}"));
            assert!(found.first().is_some_and(|first| first.starts_with(words)), "{spec}: {found:#?}");
        }
    }

    #[test]
    fn each_rule_in_cel_refuses_once_the_schema_is_kept() {
        for (spec, words) in [
            ("analysis: {failures: 3}", "spec.analysis: must set failures only with method: Consecutive"),
            ("checks: [{name: e, errorRate: {max: '250%'}}]", "spec.checks[0].errorRate.max: must be under \"100%\""),
            (
                "checks: [{name: e, errorRate: {max: five}}]",
                "spec.checks[0].errorRate.max: must be a percentage such as",
            ),
            ("checks: [{name: e}]", "spec.checks[0]: must set exactly one of errorRate"),
            (
                "soak: {duration: 10s, interval: 30s}",
                "spec.soak: must not have an interval (30s if absent) longer than",
            ),
            ("selector: {matchLabels: {a: b}}", "spec: must set exactly one of targetRef and selector"),
            ("windows: [{kind: Deny, schedule: '0 9 * *', duration: 8h}]", "spec.windows[0].schedule: must be a cron"),
            (
                "windows: [{kind: Deny, schedule: '0 9 * * *', duration: 8h, timeZone: UTC +2}]",
                "spec.windows[0].timeZone: must be a time zone of the IANA database",
            ),
            (
                "rollback: {verify: {http: [{path: /a b, port: 80}]}}",
                "spec.rollback.verify.http[0].path: must begin with /",
            ),
        ] {
            refused(spec, words);
        }
    }

    #[test]
    fn an_object_needs_a_name_and_a_known_version() {
        let found = refusals(&serde_json::json!({"apiVersion": "snapback.dev/v2", "kind": "RollbackPolicy"}));
        assert_eq!(found[0].field, "apiVersion");
        let found = refusals(&serde_json::json!({"apiVersion": "snapback.dev/v1alpha1", "kind": "RollbackPolicy"}));
        let fields: Vec<&str> = found.iter().map(|said| said.field.as_str()).collect();
        assert_eq!(fields, ["metadata", "spec"]);
    }

    /// The schema must not say what is not looked at here.
    #[test]
    fn no_keyword_of_the_schema_is_left_out() {
        const KNOWN: [&str; 22] = [
            "additionalProperties",
            "default",
            "description",
            "enum",
            "format",
            "items",
            "maxItems",
            "maxLength",
            "maxProperties",
            "maximum",
            "minItems",
            "minLength",
            "minProperties",
            "minimum",
            "pattern",
            "properties",
            "required",
            "title",
            "type",
            "x-kubernetes-list-map-keys",
            "x-kubernetes-list-type",
            "x-kubernetes-validations",
        ];
        fn keywords(schema: &Value, path: &str) {
            for key in schema.as_object().unwrap().keys() {
                assert!(KNOWN.contains(&key.as_str()), "{path}: {key}");
            }
            assert!(["int32", "int64", ""].contains(&schema["format"].as_str().unwrap_or_default()), "{path}");
            for (name, below) in schema["properties"].as_object().into_iter().flatten() {
                keywords(below, &format!("{path}.{name}"));
            }
            for below in ["items", "additionalProperties"].iter().filter_map(|key| schema.get(key)) {
                keywords(below, path);
            }
        }
        keywords(&schema("snapback.dev/v1alpha1").unwrap()["properties"]["spec"], "spec");
    }
}
