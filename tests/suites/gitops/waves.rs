//! Syncs that are not over when the undo comes: several waves, a gate between them, and syncs by hand.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use snapback_api::v1alpha1::{Rollback, RollbackPhase};
use snapback_tests::releases::{V1, V2, V3, manifest};

use crate::argocd::{Application, Applies};
use crate::bed::{Bed, until};
use crate::git::APP;
use crate::undone::{adopted, argo_alone, argo_held, gate, heals, held, let_go, one_record, policy, rollbacks};

/// The file of what comes in the later wave.
const LATER: &str = "app/later.yaml";

/// What comes in a later wave, beside this version of `checkout`.
fn later(namespace: &str, version: &str) -> String {
    format!(
        "apiVersion: v1
kind: ConfigMap
metadata: {{name: later, namespace: {namespace}, annotations: {{argocd.argoproj.io/sync-wave: \"1\"}}}}
data: {{version: {version}}}
"
    )
}

/// One commit of all waves; `beside` are further objects of the first one.
fn commit(argocd: &Application, template: &str, version: &str, beside: &str) -> Result<String> {
    argocd.repository.write(LATER, &later(&argocd.namespace, version))?;
    let first = manifest("Deployment", &argocd.namespace, template);
    argocd.repository.commit(APP, &format!("{first}---\n{beside}"))
}

/// The version in what came in the later wave.
fn came(bed: &Bed, namespace: &str) -> Result<String> {
    bed.tools.kubectl(&["-n", namespace, "get", "configmap", "later", "-o", "jsonpath={.data.version}"])
}

fn phase(argocd: &Application) -> Result<Value> {
    Ok(argocd.status()?["operationState"]["phase"].clone())
}

/// An Application with this policy of syncs, that has not synced yet.
fn unsynced<'a>(bed: &'a Bed, namespace: &str, sync: &Value) -> Result<Application<'a>> {
    let argocd = Application::unmade(bed, namespace)?;
    let mut spec = argocd.spec(Applies::ServerSide);
    for (key, value) in sync.as_object().into_iter().flatten() {
        spec["syncPolicy"][key] = value.clone();
    }
    argocd.create_with(&spec)?;
    Ok(argocd)
}

/// A sync waits for its first wave, which never becomes healthy. The undo comes, the first wave is healthy, and so the later one
/// comes: what the sync then says is true of the later wave only. The hold is in place when it is over, and the fix comes by itself.
pub(crate) fn between_two_waves(bed: &Bed) -> Result<()> {
    let namespace = "undone-argo-waves";
    let argocd = unsynced(bed, namespace, &json!({}))?;
    let good = commit(&argocd, V1, "v1", "")?;
    argocd.refresh()?;
    argocd.synced(&good)?;
    adopted(bed, namespace)?;
    let bad = commit(&argocd, V2, "v2", "")?;
    argocd.refresh()?;
    argocd.until("the sync to wait for its first wave", |status| {
        let state = &status["operationState"];
        state["phase"] == "Running" && state["syncResult"]["revision"] == bad.as_str()
    })?;
    bed.until_live(namespace, V2)?;
    ensure!(came(bed, namespace)? == "v1", "the later wave came before the first one was healthy");
    let record = held(bed, namespace)?;
    ensure!(came(bed, namespace)? == "v2", "the later wave did not come");
    let state = argocd.status()?["operationState"].clone();
    ensure!(state["phase"] == "Succeeded" && state["syncResult"]["revision"] == bad, "no false green: {state:#}");
    argocd.reconciled(3)?;
    bed.is_live(namespace, V1)?;
    says_that_a_sync_was_under_way(bed, namespace, &record)?;
    let fix = commit(&argocd, V3, "v3", "")?;
    comes_through(bed, &argocd, namespace, &fix)
}

/// The fix of v3 is synced, and nothing of ours is left.
fn comes_through(bed: &Bed, argocd: &Application, namespace: &str, fix: &str) -> Result<()> {
    argocd.refresh()?;
    argocd.synced(fix)?;
    let_go(bed, namespace, &[argo_alone(Applies::ServerSide)])?;
    bed.is_live(namespace, V3)?;
    ensure!(came(bed, namespace)? == "v3" && heals(argocd)?, "not as it was");
    one_record(bed, namespace)
}

/// Half a minute is waited for a sync, and then it is undone under it: people hear that it may come back.
fn says_that_a_sync_was_under_way(bed: &Bed, namespace: &str, record: &Rollback) -> Result<()> {
    let name = record.metadata.name.as_deref().context("a name")?;
    let of_record = format!("regarding.name={name}");
    let events = ["-n", namespace, "get", "events.v1.events.k8s.io", "--field-selector", &of_record, "-o", "json"];
    until("the Event", || {
        let events: Value = serde_json::from_str(&bed.tools.kubectl(&events)?)?;
        let mut events = events["items"].as_array().into_iter().flatten();
        Ok(events.any(|event| {
            let note = event["note"].as_str().unwrap_or_default();
            event["reason"] == "HoldRefused" && note.contains("a sync of it is under way")
        }))
    })
    .map(drop)
}

/// v1 went through its gate, v2 is being synced.
fn gated<'a>(bed: &'a Bed, namespace: &str, sync: &Value) -> Result<(Application<'a>, String)> {
    bed.operator()?;
    let argocd = unsynced(bed, namespace, sync)?;
    let good = commit(&argocd, V1, "v1", &gate(namespace, "v1"))?;
    argocd.refresh()?;
    argocd.synced(&good)?;
    let told = policy(bed, namespace, "v1 known good", |_| true)?;
    let target = told.status.and_then(|status| status.targets.into_iter().next()).context("v1 was not judged")?;
    ensure!(
        target.known_good.is_some_and(|good| good.images[0] == "shop/checkout:v1"),
        "the later wave came too early"
    );
    ensure!(came(bed, namespace)? == "v1", "no later wave");
    let bad = commit(&argocd, V2, "v2", &gate(namespace, "v2"))?;
    argocd.refresh()?;
    Ok((argocd, bad))
}

/// A gate in the first wave keeps the later one away. The sync fails, is not tried again, and the fix comes through.
pub(crate) fn behind_a_gate(bed: &Bed) -> Result<()> {
    let namespace = "undone-argo-gate";
    let (argocd, bad) = gated(bed, namespace, &json!({"retry": {"limit": 0}}))?;
    held(bed, namespace)?;
    let status = argocd.until("the sync to fail", |status| status["operationState"]["phase"] == "Failed")?;
    ensure!(status["operationState"]["syncResult"]["revision"] == bad, "{status:#}");
    argocd.reconciled(3)?;
    bed.is_live(namespace, V1)?;
    ensure!(phase(&argocd)? == "Failed" && came(bed, namespace)? == "v1", "the later wave came: {status:#}");
    let fix = commit(&argocd, V3, "v3", &gate(namespace, "v3"))?;
    comes_through(bed, &argocd, namespace, &fix)
}

/// A sync that fails is begun again by Argo CD, five times by default, each time with all that it applies, whatever is held. So the bad
/// revision comes back under the hold, and that ends as any fight. While its sync waits, no fix is synced: a person ends it.
pub(crate) fn behind_a_gate_with_retries(bed: &Bed) -> Result<()> {
    let namespace = "undone-argo-retries";
    let retries = json!({"retry": {"limit": 5, "backoff": {"duration": "1s", "factor": 1, "maxDuration": "1s"}}});
    let (argocd, bad) = gated(bed, namespace, &retries)?;
    // Each round waits half a minute for the end of the sync.
    until("it to come back", || Ok(rollbacks(bed, namespace)?.len() >= 2))?;
    policy(bed, namespace, "the fight to end", |policy| {
        let mut targets = policy.status.iter().flat_map(|status| &status.targets);
        targets.any(|target| target.reason == "AwaitingApproval" || target.reason == "Contended")
    })?;
    let records = rollbacks(bed, namespace)?.len();
    ensure!((2..=4).contains(&records), "{records} records");
    let state = argocd.status()?["operationState"].clone();
    ensure!(state["phase"] == "Running" && state["retryCount"].as_u64() > Some(0), "{state:#}");
    let fix = commit(&argocd, V3, "v3", &gate(namespace, "v3"))?;
    argocd.refresh()?;
    argocd.until("the fix to be seen", |status| status["sync"]["revision"] == fix.as_str())?;
    argocd.reconciled(3)?;
    ensure!(argocd.status()?["operationState"]["operation"]["sync"]["revision"] == bad, "another sync");
    bed.is_live(namespace, V2)?;
    ensure!(came(bed, namespace)? == "v1", "the later wave came");
    // `argocd app terminate-op`
    argocd.patch(&json!({"status": {"operationState": {"phase": "Terminating"}}}))?;
    argocd.synced(&fix)?;
    bed.is_live(namespace, V3)?;
    ensure!(came(bed, namespace)? == "v3", "no later wave");
    until("it to heal", || heals(&argocd)).map(drop)
}

/// Automated, and without self-heal: nobody brings it back, so nothing is held.
pub(crate) fn without_self_heal(bed: &Bed) -> Result<()> {
    let namespace = "undone-argo-unhealed";
    let argocd = unsynced(bed, namespace, &json!({"automated": {"prune": true}}))?;
    argocd.released(V1)?;
    adopted(bed, namespace)?;
    argocd.commit(V2)?;
    argocd.refresh()?;
    succeeded(bed, namespace, 1)?;
    argocd.reconciled(3)?;
    bed.is_live(namespace, V1)?;
    let record = rollbacks(bed, namespace)?.pop().and_then(|record| record.status).context("no record")?;
    ensure!(record.hold.is_none(), "{:?}", record.hold);
    ensure!(argocd.get()?["metadata"]["annotations"]["snapback.dev/held-by"].is_null(), "it was held");
    let fix = argocd.commit(V3)?;
    argocd.refresh()?;
    argocd.synced(&fix)?;
    bed.is_live(namespace, V3)?;
    let managers = bed.managers(namespace)?;
    ensure!(managers == [argo_alone(Applies::ServerSide)], "left: {managers:?}");
    one_record(bed, namespace)
}

/// So many records, and all of them succeeded.
fn succeeded(bed: &Bed, namespace: &str, count: usize) -> Result<()> {
    let mut last = Vec::new();
    until("all undone", || {
        last = rollbacks(bed, namespace)?;
        let phase = |one: &Rollback| one.status.as_ref().and_then(|status| status.phase);
        Ok(last.len() == count && last.iter().all(|one| phase(one) == Some(RollbackPhase::Succeeded)))
    })
    .with_context(|| format!("{last:#?}"))
    .map(drop)
}

/// What `argocd app sync` asks for.
fn sync(argocd: &Application) -> Result<()> {
    let revision = argocd.repository.head()?;
    argocd.patch(&json!({"operation": {
        "initiatedBy": {"username": "admin"},
        "sync": {"revision": revision, "prune": true, "syncOptions": ["ServerSideApply=true"]}
    }}))
}

/// A person who syncs brings the bad revision back, hold or no hold. It is undone again, and held on.
pub(crate) fn a_sync_by_hand(bed: &Bed) -> Result<()> {
    let namespace = "undone-argo-by-hand";
    let argocd = argo_held(bed, namespace, Applies::ServerSide)?;
    sync(&argocd)?;
    succeeded(bed, namespace, 2)?;
    argocd.reconciled(3)?;
    bed.is_live(namespace, V1)?;
    ensure!(!heals(&argocd)?, "it heals");
    let fix = argocd.commit(V3)?;
    argocd.refresh()?;
    argocd.synced(&fix)?;
    until("both holds ended", || {
        let all = rollbacks(bed, namespace)?;
        let hold = |one: &Rollback| one.status.as_ref()?.hold.as_ref()?.ended_at.clone();
        Ok(all.iter().all(|one| hold(one).is_some()))
    })?;
    bed.is_live(namespace, V3)?;
    ensure!(heals(&argocd)?, "it does not heal");
    Ok(())
}

/// A sync by hand that waits for its first wave, of an Application that is not automated at all: undone under it, and nothing is
/// held, since nobody would bring it back.
pub(crate) fn during_a_sync_by_hand(bed: &Bed) -> Result<()> {
    let namespace = "undone-argo-manual";
    let argocd = unsynced(bed, namespace, &json!({"automated": null}))?;
    let release = |template: &str, version: &str| {
        commit(&argocd, template, version, "")?;
        argocd.refresh()?;
        sync(&argocd)
    };
    release(V1, "v1")?;
    argocd.synced(&argocd.repository.head()?)?;
    adopted(bed, namespace)?;
    release(V2, "v2")?;
    bed.until_live(namespace, V2)?;
    ensure!(came(bed, namespace)? == "v1", "the later wave came before the first one was healthy");
    succeeded(bed, namespace, 1)?;
    until("the sync to be over", || Ok(phase(&argocd)? == "Succeeded"))?;
    ensure!(came(bed, namespace)? == "v2", "the later wave did not come");
    argocd.reconciled(3)?;
    bed.is_live(namespace, V1)?;
    release(V3, "v3")?;
    argocd.synced(&argocd.repository.head()?)?;
    bed.is_live(namespace, V3)?;
    one_record(bed, namespace)
}
