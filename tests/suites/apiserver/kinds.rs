//! The kinds as the API server and kubectl see them.

use anyhow::{Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use serde_json::Value;

use crate::access::eventually;
use crate::bed::Bed;

const NAMES: [&str; 2] = ["rollbackpolicies.snapback.dev", "rollbacks.snapback.dev"];

pub(crate) fn established(bed: &Bed) -> Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(bed.client.clone());
    for name in NAMES {
        let conditions = bed.wait(crds.get(name))?.status.and_then(|status| status.conditions).unwrap_or_default();
        let is = |type_: &str, status: &str| conditions.iter().any(|one| one.type_ == type_ && one.status == status);
        ensure!(is("Established", "True") && is("NamesAccepted", "True"), "{name}: {conditions:?}");
        ensure!(!is("NonStructuralSchema", "True"), "{name}: {conditions:?}");
    }
    Ok(())
}

/// `kubectl explain` must have words for every field, and no field may be a floating-point number or unbounded.
pub(crate) fn explained(bed: &Bed) -> Result<()> {
    // New kinds are published a moment after they are established, and what kubectl was told before it keeps for hours: the
    // first of these asks anew.
    let told = eventually("the kinds to be published", || {
        bed.tools.kubectl(&["api-resources", "--api-group=snapback.dev"])?;
        bed.tools.kubectl(&["explain", "rbp.spec.soak.duration"])
    })?;
    ensure!(told.contains("Default: 15m"), "{told}");
    for (name, crd) in snapback_api::crd::all() {
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        for part in ["spec", "status"] {
            let mut wrong = Vec::new();
            walk(&format!("{name} {part}"), &schema[part], &mut wrong);
            ensure!(wrong.is_empty(), "{wrong:#?}");
        }
    }
    Ok(())
}

fn walk(path: &str, schema: &Value, wrong: &mut Vec<String>) {
    // Conditions have the schema of Kubernetes itself.
    if path.ends_with(".conditions") {
        return;
    }
    if schema["description"].as_str().is_none_or(str::is_empty) && !path.ends_with("[]") && !path.ends_with("{}") {
        wrong.push(format!("{path}: no description"));
    }
    match schema["type"].as_str() {
        Some("number") => wrong.push(format!("{path}: a number; write a decimal string")),
        Some("array") if schema["maxItems"].is_null() => wrong.push(format!("{path}: an array without maxItems")),
        Some("string")
            if schema["maxLength"].is_null() && schema["enum"].is_null() && schema["format"] != "date-time"
            // Values of bounded maps are labels; the API server bounds them.
            && !path.ends_with("{}") =>
        {
            wrong.push(format!("{path}: a string without maxLength"));
        }
        _ => {}
    }
    if schema["format"].as_str().is_some_and(|format| format.starts_with("uint") || format == "double") {
        wrong.push(format!("{path}: format {} is not one of OpenAPI's", schema["format"]));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, wrong);
    }
    if schema["items"].is_object() {
        walk(&format!("{path}[]"), &schema["items"], wrong);
    }
    if schema["additionalProperties"].is_object() {
        walk(&format!("{path}{{}}"), &schema["additionalProperties"], wrong);
    }
}

pub(crate) fn columns(bed: &Bed) -> Result<()> {
    let namespace = bed.namespace("columns")?;
    bed.policy(&namespace, "checkout", "targetRef: {kind: Deployment, name: checkout}")?;
    bed.until(&namespace, "checkout", "a summary", |policy| {
        policy.status.as_ref().is_some_and(|status| status.summary.is_some())
    })?;
    let table = bed.tools.kubectl(&["-n", &namespace, "get", "rbp"])?;
    for column in ["NAME", "TARGET", "PHASE", "WHY", "KNOWN GOOD", "READY"] {
        ensure!(table.contains(column), "no column {column}:\n{table}");
    }
    ensure!(table.lines().all(|line| line.trim_end().len() <= 80), "wider than 80 columns:\n{table}");
    let all = bed.tools.kubectl(&["-n", &namespace, "get", "snapback"])?;
    ensure!(all.contains("rollbackpolicy.snapback.dev/checkout"), "the category shows nothing:\n{all}");
    Ok(())
}

/// What people look for, they can ask for; each field that can be asked for tells one object from another.
pub(crate) fn selected(bed: &Bed) -> Result<()> {
    let namespace = bed.namespace("selected")?;
    bed.policy(&namespace, "shop", "mode: Observe\ntargetRef: {kind: Deployment, name: checkout}")?;
    bed.policy(&namespace, "broken", "targetRef: {kind: StatefulSet, name: orders}\nsoak: {duration: 25h}")?;
    bed.policy(&namespace, "team", "selector: {matchLabels: {team: payments}}")?;
    for (name, target) in [("one", "checkout"), ("two", "orders")] {
        bed.tools.apply(&format!(
            "apiVersion: snapback.dev/v1alpha1\nkind: Rollback\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
             spec: {{target: {{kind: Deployment, name: {target}}}, trigger: {{type: Manual, policy: of-{target}}}}}\n"
        ))?;
    }
    let mut asked: Vec<String> = Vec::new();
    for (kind, selector, wanted) in [
        ("rbp", "spec.targetRef.name=checkout", "shop"),
        ("rbp", "spec.targetRef.kind=StatefulSet", "broken"),
        // What is not set is empty.
        ("rbp", "spec.targetRef.name=", "team"),
        ("rbp", "spec.mode=Observe", "shop"),
        ("rbp", "status.summary.phase=Invalid", "broken"),
        ("rb", "spec.target.name=orders", "two"),
        ("rb", "spec.target.kind=StatefulSet", ""),
        ("rb", "spec.trigger.type=Manual,spec.trigger.policy=of-checkout", "one"),
        ("rb", "status.phase=Failed", "one two"),
    ] {
        let names = "jsonpath={.items[*].metadata.name}";
        let get = ["-n", &namespace, "get", kind, "--field-selector", selector, "-o", names];
        eventually(selector, || {
            let found = bed.tools.kubectl(&get)?;
            ensure!(found.trim() == wanted, "{kind} {selector}: {found:?}");
            Ok(())
        })?;
        asked.extend(selector.split(',').filter_map(|one| one.split('=').next()).map(|field| format!(".{field}")));
    }
    for (name, crd) in snapback_api::crd::all() {
        for field in crd["spec"]["versions"][0]["selectableFields"].as_array().into_iter().flatten() {
            let path = field["jsonPath"].as_str().unwrap_or_default().to_owned();
            ensure!(asked.contains(&path), "{name}: nobody asks for {path}");
        }
    }
    Ok(())
}

/// Before the first look an object says that nobody has seen it: kstatus would take it for ready.
pub(crate) fn unseen(bed: &Bed) -> Result<()> {
    // What the API server answers, before the operator has heard of it.
    let create = ["create", "-o", "jsonpath={.status}", "-f", "-"];
    let namespace = bed.namespace("unseen")?;
    let policy = crate::bed::policy(&namespace, "checkout", "targetRef: {kind: Deployment, name: checkout}");
    let rollback = format!(
        "apiVersion: snapback.dev/v1alpha1\nkind: Rollback\nmetadata: {{name: one, namespace: {namespace}}}\n\
         spec: {{target: {{kind: Deployment, name: checkout}}, trigger: {{type: Manual}}}}\n"
    );
    for manifest in [policy, rollback] {
        let status: Value = serde_json::from_str(&bed.tools.kubectl_with(&create, &manifest)?)?;
        ensure!(status["observedGeneration"] == -1, "{status}");
    }
    Ok(())
}
