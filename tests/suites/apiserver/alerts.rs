//! The alerts of the chart, against what the operator really tells.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use promql_parser::parser::{Expr, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};
use serde_json::Value;
use snapback_controller::telemetry::Metrics;
use snapback_tests::chart::{self, objects};
use snapback_tests::tools;

use crate::bed::Bed;

fn rules(bed: &Bed) -> Result<Vec<Value>> {
    let enabled = "--set=monitoring.podMonitor.enabled=true,monitoring.prometheusRule.enabled=true";
    let objects = objects::parse(&chart::render(&bed.tools, &[enabled])?)?;
    let rule = objects.get("PrometheusRule snapback-system/snapback").context("no alerts")?;
    Ok(rule["spec"]["groups"][0]["rules"].as_array().context("no rules")?.clone())
}

/// Series that the operator has from its start, or once it has done something.
fn told() -> Result<BTreeSet<String>> {
    let metrics = Metrics::default();
    metrics.reconciled("policy", "Ok");
    let text = metrics.encode()?;
    let series = text.lines().filter(|line| !line.starts_with('#'));
    Ok(series.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect())
}

struct Selected(Vec<VectorSelector>);

impl ExprVisitor for Selected {
    type Error = String;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, String> {
        match expr {
            Expr::VectorSelector(selector) => self.0.push(selector.clone()),
            Expr::MatrixSelector(matrix) => self.0.push(matrix.vs.clone()),
            _ => {}
        }
        Ok(true)
    }
}

/// Every expression is PromQL, and asks for what the operator tells, of its own namespace.
pub(crate) fn expressions(bed: &Bed) -> Result<()> {
    let (rules, told) = (rules(bed)?, told()?);
    ensure!(rules.len() >= 12 && told.len() >= 8, "{} alerts, {} series", rules.len(), told.len());
    for rule in &rules {
        let text = rule["expr"].as_str().context("no expression")?;
        let name = rule["alert"].to_string();
        let parsed = promql_parser::parser::parse(text).map_err(|error| anyhow::anyhow!("{name}: {error}"))?;
        let mut selected = Selected(Vec::new());
        walk_expr(&mut selected, &parsed).map_err(anyhow::Error::msg)?;
        ensure!(!selected.0.is_empty(), "{name} asks for nothing");
        for selector in selected.0 {
            let metric = selector.name.clone().unwrap_or_default();
            ensure!(told.contains(&metric), "{name}: the operator tells no {metric}, but {told:?}");
            let namespace = selector.matchers.find_matchers("namespace");
            ensure!(namespace.iter().any(|matcher| matcher.value == "snapback-system"), "{name}: {selector:?}");
            for (label, of) in [("outcome", "rollbacks"), ("phase", "targets")] {
                for asked in selector.matchers.find_matchers(label).iter().filter(|_| metric.contains(of)) {
                    let series = format!("{metric}{{{label}=\"{}\"}} 0", asked.value);
                    ensure!(Metrics::default().encode()?.contains(&series), "{name}: there is no {series}");
                }
            }
        }
    }
    Ok(())
}

/// Every alert says how bad it is and what to do, and can be left out by its name.
pub(crate) fn documented(bed: &Bed) -> Result<()> {
    let runbooks = std::fs::read_to_string(tools::repository().join("docs/alerts.md"))?;
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(chart::folder().join("values.schema.json"))?)?;
    let may_be_disabled = schema
        .pointer("/properties/monitoring/properties/prometheusRule/properties/disabled/items/enum")
        .context("the schema names no alerts")?;
    let rules = rules(bed)?;
    for rule in &rules {
        let name = rule["alert"].as_str().context("no name")?;
        let severity = rule["labels"]["severity"].as_str().unwrap_or_default();
        ensure!(["critical", "warning", "info"].contains(&severity), "{name}: severity {severity:?}");
        for text in ["summary", "description"] {
            ensure!(rule["annotations"][text].as_str().is_some_and(|text| text.len() > 10), "{name} has no {text}");
        }
        ensure!(runbooks.contains(&format!("\n## {name}\n")), "docs/alerts.md does not tell of {name}");
        let anchor = format!("docs/alerts.md#{}", name.to_lowercase());
        ensure!(rule["annotations"]["runbook_url"].as_str().is_some_and(|url| url.ends_with(&anchor)), "{name}");
    }
    let names: Value = rules.iter().map(|rule| rule["alert"].clone()).collect();
    ensure!(may_be_disabled == &names, "the schema's names of alerts are not those that there are: {names}");
    Ok(())
}
