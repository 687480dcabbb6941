//! Least privilege, by the audit log: every right that the chart gives was used by these tests, and nothing else was asked
//! for.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::access::OPERATOR;
use crate::bed::Bed;

/// `apps deployments patch`; a subresource as `rollbacks/status`.
type Right = (String, String, String);

/// The rights of the role.
fn granted(bed: &Bed) -> Result<BTreeSet<Right>> {
    let role: Value = serde_json::from_str(&bed.tools.kubectl(&["get", "clusterrole", "snapback", "-o", "json"])?)?;
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().context("no rules")? {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                rights.extend(texts(&rule["verbs"]).into_iter().map(|verb| (group.clone(), resource.clone(), verb)));
            }
        }
    }
    Ok(rights)
}

/// What the operator asked for, and what the API server said. Tests that try the operator's rights do so by kubectl.
fn asked(bed: &Bed) -> Result<Vec<(Right, u64, String)>> {
    let text = std::fs::read_to_string(bed.audit_log().context("the bed is taken down")?)?;
    let entries = text.lines().filter(|line| line.contains(OPERATOR));
    let entries = entries.filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter(|entry| {
        let agent = entry["userAgent"].as_str().unwrap_or_default();
        entry["impersonatedUser"]["username"] == OPERATOR && !agent.starts_with("kubectl")
    });
    let asked = entries.map(|entry| {
        let of = |key: &str| entry["objectRef"][key].as_str().unwrap_or_default().to_owned();
        let part = of("subresource");
        let resource = if part.is_empty() { of("resource") } else { format!("{}/{part}", of("resource")) };
        let right = (of("apiGroup"), resource, entry["verb"].as_str().unwrap_or_default().to_owned());
        (right, entry["responseStatus"]["code"].as_u64().unwrap_or_default(), entry["requestURI"].to_string())
    });
    Ok(asked.collect())
}

pub(crate) fn all_used_and_no_other(bed: &Bed) -> Result<()> {
    // A watch is logged when it ends.
    bed.stop_operator();
    let (granted, asked) = (granted(bed)?, asked(bed)?);
    ensure!(asked.len() > 1000, "only {} requests: is the log read?", asked.len());
    let used: BTreeSet<&Right> = asked.iter().filter(|(_, code, _)| *code < 400).map(|(right, ..)| right).collect();
    let idle: Vec<&Right> = granted.iter().filter(|right| !used.contains(right)).collect();
    ensure!(idle.is_empty(), "nothing needs these rights: {idle:?}");
    let others: BTreeSet<_> = asked.iter().filter(|(right, ..)| !granted.contains(right)).collect();
    ensure!(others.is_empty(), "asked for without a right: {others:#?}");
    // Whatever users called things: each part of a path is a plain word.
    let is_plain = |uri: &String| {
        let path = uri.trim_matches('"').split('?').next().unwrap_or_default();
        let is_word = |part: &str| {
            !["", ".", ".."].contains(&part) && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        };
        path.split('/').skip(1).all(is_word) && uri.matches('?').count() <= 1
    };
    let odd: BTreeSet<&String> = asked.iter().map(|(_, _, uri)| uri).filter(|uri| !is_plain(uri)).collect();
    ensure!(odd.is_empty(), "odd paths: {odd:?}");
    ensure!(granted.iter().all(|(group, resource, verb)| [group, resource, verb].iter().all(|word| *word != "*")));
    Ok(())
}
