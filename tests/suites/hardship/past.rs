//! A second API server over the same etcd, which is cut off from it for a while: what it shows is the past.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{GetParams, ListParams, Patch, PatchParams, VersionMatch};
use kube::{Api, Client};
use serde_json::{Value, json};
use snapback_api::v1alpha1::RollbackPhase;
use snapback_tests::cluster::ApiServer;

use crate::bed::{Bed, eventually};
use crate::lag::Lag;
use crate::operator::Operator;
use crate::story::{Story, Told};

pub(crate) type Test = fn(&Bed) -> Result<()>;

pub(crate) const TESTS: [(&str, Test); 4] = [
    ("what_a_cut_off_api_server_still_answers", answers),
    ("an_operator_that_moves_to_a_server_of_the_past_undoes_nothing", moves),
    ("an_operator_whose_server_falls_behind_undoes_nothing_newer", falls_behind),
    ("a_fix_that_the_server_does_not_show_during_a_rollback_stays", during),
];

/// A server that can be cut off.
fn cut_off(bed: &Bed, name: &str) -> Result<(ApiServer, Lag)> {
    let lag = bed.wait(Lag::start(&bed.etcd()?))?;
    Ok((bed.another_api_server(name, &lag.url)?, lag))
}

fn deployments(client: &Client, namespace: &str) -> Api<Deployment> {
    Api::namespaced(client.clone(), namespace)
}

fn image(deployment: &Deployment) -> String {
    let spec = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    spec.and_then(|spec| spec.containers.first()?.image.clone()).unwrap_or_default()
}

/// What its cache shows of the Deployment now.
fn shown(bed: &Bed, client: &Client, namespace: &str) -> Result<String> {
    let any = ListParams {
        resource_version: Some("0".to_owned()),
        version_match: Some(VersionMatch::NotOlderThan),
        ..ListParams::default()
    };
    let list = bed.wait(deployments(client, namespace).list(&any))?;
    Ok(list.items.first().map(image).unwrap_or_default())
}

fn live(bed: &Bed, namespace: &str) -> Result<(String, i64, String)> {
    let live = bed.wait(deployments(&bed.client, namespace).get("checkout"))?;
    let number = live.metadata.annotations.as_ref().and_then(|all| all.get("deployment.kubernetes.io/revision"));
    Ok((image(&live), live.metadata.generation.unwrap_or_default(), number.cloned().unwrap_or_default()))
}

/// The requests at this server that are not of any version, as they come (`RequestReceived`) or as they end
/// (`ResponseComplete`). Nobody but the operator asks so here.
fn asked(server: &ApiServer, stage: &str, namespace: &str) -> Result<Vec<(String, u64)>> {
    let text = std::fs::read_to_string(&server.audit_log)?;
    let entries = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let told = entries.filter(|one| one["stage"] == stage && one["objectRef"]["namespace"] == namespace).map(|one| {
        let (verb, uri) = (one["verb"].as_str().unwrap_or_default(), one["requestURI"].as_str().unwrap_or_default());
        (format!("{verb} {uri}"), one["responseStatus"]["code"].as_u64().unwrap_or_default())
    });
    Ok(told.filter(|(what, _)| !what.contains("resourceVersion=0")).collect())
}

/// Written down in docs/faults.md.
fn answers(bed: &Bed) -> Result<()> {
    let namespace = "past-answers";
    bed.namespace(namespace, &bed.rules)?;
    let told = Told { bed, namespace, story: Story::Undo("Deployment") };
    told.prepare()?;
    let (server, lag) = cut_off(bed, "past-answers")?;
    eventually("v1 in its cache", || Ok(shown(bed, &server.client, namespace)? == "shop/checkout:v1"))?;
    lag.hold();
    let patch = json!({"metadata": {"annotations": {"seen": "yes"}}});
    let fresh = deployments(&bed.client, namespace);
    bed.wait(fresh.patch("checkout", &PatchParams::default(), &Patch::Merge(&patch)))?;
    let stale = deployments(&server.client, namespace);
    let is_marked = |one: &Deployment| one.metadata.annotations.as_ref().is_some_and(|all| all.contains_key("seen"));
    // From the cache, and old.
    let any = GetParams { resource_version: Some("0".to_owned()) };
    ensure!(!is_marked(&bed.wait(stale.get_with("checkout", &any))?), "a GET of any version is not old");
    ensure!(shown(bed, &server.client, namespace)? == "shop/checkout:v1", "a LIST of any version has no answer");
    // Of etcd: no old answer, whatever comes.
    let limit = Duration::from_secs(8);
    let began = std::time::Instant::now();
    match bed.wait(async { tokio::time::timeout(limit, stale.get("checkout")).await }) {
        Ok(Ok(got)) => ensure!(is_marked(&got), "a GET is old"),
        other => println!(
            "cut off: GET after {:?}: {:?}",
            began.elapsed(),
            other.map(|answer| answer.err().map(|e| e.to_string()))
        ),
    }
    let began = std::time::Instant::now();
    match bed.wait(async { tokio::time::timeout(limit, stale.list(&ListParams::default())).await }) {
        Ok(Ok(got)) => ensure!(got.items.iter().all(is_marked), "a LIST is old"),
        other => println!(
            "cut off: LIST after {:?}: {:?}",
            began.elapsed(),
            other.map(|answer| answer.err().map(|e| e.to_string()))
        ),
    }
    let began = std::time::Instant::now();
    let (params, merge) = (PatchParams::default(), Patch::Merge(&patch));
    match bed.wait(async { tokio::time::timeout(limit, stale.patch("checkout", &params, &merge)).await }) {
        Ok(Ok(_)) => bail!("a write was carried out through a cut"),
        other => println!(
            "cut off: PATCH after {:?}: {:?}",
            began.elapsed(),
            other.map(|answer| answer.err().map(|e| e.to_string()))
        ),
    }
    lag.release();
    eventually("it is healed", || Ok(bed.wait(stale.get("checkout")).is_ok_and(|got| is_marked(&got))))
}

/// Adopted by an operator at a server that shows the present.
fn adopted<'a>(bed: &'a Bed, told: &Told<'_>, client: Client) -> Result<Operator<'a>> {
    bed.namespace(told.namespace, &bed.rules)?;
    told.prepare()?;
    let operator = Operator::start(bed, client, told.namespace, false)?;
    eventually("v1 known good", || Ok(told.known_good()?.0 == 1))?;
    Ok(operator)
}

/// v3 is there, was not touched, and is known good in the end.
fn fixed(bed: &Bed, told: &Told<'_>, records: usize, before: &(String, i64, String)) -> Result<()> {
    eventually("v3 known good", || {
        let policy =
            ["-n", told.namespace, "get", "rbp", "checkout", "-o", "jsonpath={.status.targets[0].knownGood.images[0]}"];
        Ok(bed.tools.kubectl(&policy)? == "shop/checkout:v3")
    })?;
    let after = live(bed, told.namespace)?;
    ensure!(after.0 == "shop/checkout:v3" && after.2 == before.2, "{before:?}, then {after:?}");
    let found = told.rollbacks()?;
    ensure!(found.len() == records, "{} records: {found:#?}", found.len());
    Ok(())
}

/// The undo is done and v3 applied, when the operator starts anew at a server that still shows the bad v2 and knows of no
/// undo.
fn moves(bed: &Bed) -> Result<()> {
    let namespace = "past-moves";
    let told = Told { bed, namespace, story: Story::Undo("Deployment") };
    let (server, lag) = cut_off(bed, namespace)?;
    let operator = adopted(bed, &told, bed.as_operator()?)?;
    told.release("v2", true)?;
    eventually("v2 in its cache", || Ok(shown(bed, &server.client, namespace)? == "shop/checkout:v2"))?;
    lag.hold();
    eventually("the undo", || told.is_undone())?;
    told.release("v3", false)?;
    bed.tools.kubectl(&["-n", namespace, "rollout", "status", "deploy/checkout", "--timeout=60s"])?;
    operator.stop()?;
    ensure!(shown(bed, &server.client, namespace)? == "shop/checkout:v2", "the other server is not of the past");
    let before = live(bed, namespace)?;
    let operator = Operator::start(bed, bed.as_operator_at(&server.kubeconfig)?, namespace, false)?;
    // All five first lists have been asked for, and one of them has been given up.
    eventually(
        "the operator asks the cut off server",
        || Ok(asked(&server, "RequestReceived", namespace)?.len() >= 5),
    )?;
    eventually("a list has ended", || Ok(!asked(&server, "ResponseComplete", namespace)?.is_empty()))?;
    let (is_ready, text) = operator.ready()?;
    println!("moved to the past: {text}; answers: {:?}", asked(&server, "ResponseComplete", namespace)?);
    ensure!(!is_ready, "it took the past for the present: {text}");
    ensure!(live(bed, namespace)? == before && told.rollbacks()?.len() == 1, "something was done in the past");
    lag.release();
    eventually("it is ready", || Ok(operator.ready()?.0))?;
    fixed(bed, &told, 1, &before)?;
    operator.stop()
}

/// Its server is cut off at rest; a bad v2 comes and the fix v3, unseen.
fn falls_behind(bed: &Bed) -> Result<()> {
    let namespace = "past-falls";
    let told = Told { bed, namespace, story: Story::Undo("Deployment") };
    let (server, lag) = cut_off(bed, namespace)?;
    let operator = adopted(bed, &told, bed.as_operator_at(&server.kubeconfig)?)?;
    lag.hold();
    told.release("v2", true)?;
    eventually("v2 rolls out", || Ok(live(bed, namespace)?.2 == "2"))?;
    told.release("v3", false)?;
    bed.tools.kubectl(&["-n", namespace, "rollout", "status", "deploy/checkout", "--timeout=60s"])?;
    let before = live(bed, namespace)?;
    ensure!(shown(bed, &server.client, namespace)? == "shop/checkout:v1", "its server is not of the past");
    lag.release();
    fixed(bed, &told, 0, &before)?;
    operator.stop()
}

/// The decision is made; then its server is cut off, and v3 is applied before the undo or after it.
fn during(bed: &Bed) -> Result<()> {
    let namespace = "past-during";
    let told = Told { bed, namespace, story: Story::Undo("Deployment") };
    let (server, lag) = cut_off(bed, namespace)?;
    let operator = adopted(bed, &told, bed.as_operator_at(&server.kubeconfig)?)?;
    told.release("v2", true)?;
    eventually("the decision", || Ok(!told.rollbacks()?.is_empty()))?;
    lag.hold();
    told.release("v3", false)?;
    bed.tools.kubectl(&["-n", namespace, "rollout", "status", "deploy/checkout", "--timeout=60s"])?;
    let before = live(bed, namespace)?;
    lag.release();
    fixed(bed, &told, 1, &before)?;
    eventually("the record's end", || {
        let found = told.rollbacks()?;
        let status = found.first().and_then(|one| one.status.clone()).context("no record")?;
        Ok(matches!(status.phase, Some(RollbackPhase::Superseded | RollbackPhase::Succeeded)))
    })?;
    operator.stop()
}
