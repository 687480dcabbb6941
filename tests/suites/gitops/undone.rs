//! What the operator and a tool make of a bad release together: the undo sticks, the fix rolls out untouched, and nothing of
//! ours is left. Both are real.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use snapback_api::v1alpha1::{Rollback, RollbackPhase, RollbackPolicy};
use snapback_tests::releases::{V1, V2, V3};

use crate::argocd::{Application, Applies};
use crate::bed::{Bed, until};
use crate::flux::Kustomization;
use crate::in_process::OPERATOR;
use crate::many::{self, Fault};

/// A policy that looks at crashes, and the known good v1 under it.
pub(crate) fn adopted(bed: &Bed, namespace: &str) -> Result<()> {
    bed.operator()?;
    bed.tools.kubectl(&["-n", namespace, "rollout", "status", "deploy/checkout", "--timeout=60s"])?;
    bed.older_than_now(namespace)?;
    bed.tools.apply(&format!(
        "apiVersion: snapback.dev/v1alpha1
kind: RollbackPolicy
metadata: {{name: checkout, namespace: {namespace}}}
spec:
  targetRef: {{kind: Deployment, name: checkout}}
  soak: {{duration: 10s, interval: 1s}}
  checks: [{{name: crashes, crashRate: {{max: \"50%\"}}}}]
  rollback: {{verify: {{duration: 1s}}}}
"
    ))?;
    policy(bed, namespace, "adopted", |policy| {
        let mut targets = policy.status.iter().flat_map(|status| &status.targets);
        targets.any(|target| target.known_good.as_ref().is_some_and(|good| !good.snapshot.is_empty()))
    })
    .map(drop)
}

pub(crate) fn policy(
    bed: &Bed,
    namespace: &str,
    what: &str,
    is_so: impl Fn(&RollbackPolicy) -> bool,
) -> Result<RollbackPolicy> {
    let policies: Api<RollbackPolicy> = Api::namespaced(bed.client.clone(), namespace);
    let mut last = None;
    until(what, || {
        let policy = bed.wait(policies.get("checkout"))?;
        let is_so = is_so(&policy);
        last = Some(policy);
        Ok(is_so)
    })
    .with_context(|| format!("{last:#?}"))?;
    last.context("no policy")
}

pub(crate) fn rollbacks(bed: &Bed, namespace: &str) -> Result<Vec<Rollback>> {
    let rollbacks: Api<Rollback> = Api::namespaced(bed.client.clone(), namespace);
    Ok(bed.wait(rollbacks.list(&ListParams::default()))?.items)
}

/// The one record, once it is so.
fn record(bed: &Bed, namespace: &str, what: &str, is_so: impl Fn(&Rollback) -> bool) -> Result<Rollback> {
    let mut last = Vec::new();
    until(what, || {
        last = rollbacks(bed, namespace)?;
        Ok(last.len() == 1 && last.iter().all(&is_so))
    })
    .with_context(|| format!("{last:#?}"))?;
    last.pop().context("no Rollback")
}

/// It succeeded, and its tool is held.
pub(crate) fn held(bed: &Bed, namespace: &str) -> Result<Rollback> {
    record(bed, namespace, "undone and held", |record| {
        let Some(status) = &record.status else { return false };
        let is_held = status.hold.as_ref().is_some_and(|hold| hold.placed_at.is_some() && hold.ended_at.is_none());
        status.phase == Some(RollbackPhase::Succeeded) && is_held
    })
}

/// The hold has ended, and nothing of it is left.
pub(crate) fn let_go(bed: &Bed, namespace: &str, managers: &[String]) -> Result<Rollback> {
    let over = record(bed, namespace, "the end of the hold", |record| {
        let hold = record.status.as_ref().and_then(|status| status.hold.as_ref());
        hold.is_some_and(|hold| hold.ended_at.is_some())
            && record.metadata.finalizers.as_ref().is_none_or(Vec::is_empty)
    })?;
    let live = bed.live(namespace)?;
    let ours = |section: &str| {
        let keys = live["metadata"][section].as_object().into_iter().flatten().map(|(key, _)| key.clone());
        keys.filter(|key| key.contains("snapback.dev") || key.ends_with("/reconcile")).collect::<Vec<_>>()
    };
    ensure!(ours("labels").is_empty() && ours("annotations").is_empty(), "{:#}", live["metadata"]);
    ensure!(live["spec"]["paused"] != true, "it is paused");
    let left = bed.managers(namespace)?;
    ensure!(left == managers, "left: {left:?}");
    Ok(over)
}

/// How often anybody asked for another number of pods of v2: the generation of its ReplicaSet, which has none.
fn asked_for_v2(bed: &Bed, namespace: &str) -> Result<Value> {
    let sets = bed.tools.kubectl(&["-n", namespace, "get", "rs", "-o", "json"])?;
    let sets: Value = serde_json::from_str(&sets)?;
    let mut sets = sets["items"].as_array().into_iter().flatten();
    let is_of = |set: &&Value| set["spec"]["template"]["spec"]["containers"][0]["image"] == "shop/checkout:v2";
    let set = sets.find(is_of).context("no ReplicaSet of v2")?;
    ensure!(set["spec"]["replicas"] == 0, "pods of v2 are asked for");
    Ok(set["metadata"]["generation"].clone())
}

/// The generation of the live object's template as its controller counts it: it rises when pods are to change.
fn revision(bed: &Bed, namespace: &str) -> Result<Value> {
    Ok(bed.live(namespace)?["metadata"]["annotations"]["deployment.kubernetes.io/revision"].clone())
}

const ALONE: &str = "kustomize-controller Apply";

/// v1 known good, v2 from Git undone, its Kustomization held.
pub(crate) fn flux_held<'a>(bed: &'a Bed, namespace: &str) -> Result<Kustomization<'a>> {
    let flux = Kustomization::new(bed, namespace)?;
    flux.released(V1)?;
    adopted(bed, namespace)?;
    flux.release(V2)?;
    held(bed, namespace)?;
    bed.is_live(namespace, V1)?;
    Ok(flux)
}

/// v1, bad v2, the undo sticks for three intervals, v3 rolls out untouched, the hold is gone.
pub(crate) fn flux_from_commit_to_commit(bed: &Bed) -> Result<()> {
    many::told("Flux Kustomization", |run| {
        let namespace = format!("undone-flux-{run}");
        let flux = flux_held(bed, &namespace).map_err(Fault::Stuck)?;
        says_who_delivers(bed, &namespace).map_err(Fault::Stuck)?;
        let stays = || flux.reconciled(3).and_then(|()| bed.is_live(&namespace, V1));
        stays().map_err(Fault::Stuck)?;
        let fix = flux.release(V3).map_err(Fault::Stuck)?;
        let is_synced = || Ok(flux.status()?["lastAppliedRevision"] == fix);
        let ended = ended(bed, &namespace, is_synced).map_err(Fault::Stuck)?;
        bed.until_live(&namespace, V3).map_err(Fault::Residue)?;
        let_go(bed, &namespace, &[ALONE.to_owned()]).map_err(Fault::Residue)?;
        let newest = flux.status().map_err(Fault::Conflict)?["history"][0].clone();
        let is_well = newest["lastReconciledStatus"] == "ReconciliationSucceeded";
        is_well.then_some(()).with_context(|| format!("{newest:#}")).map_err(Fault::Conflict)?;
        one_record(bed, &namespace).map_err(Fault::Loop)?;
        bed.tools.kubectl(&["delete", "namespace", &namespace, "--wait=false"]).map_err(Fault::Stuck)?;
        Ok(ended)
    })
}

fn says_who_delivers(bed: &Bed, namespace: &str) -> Result<()> {
    let told = policy(bed, namespace, "told who delivers", |policy| {
        let mut targets = policy.status.iter().flat_map(|status| &status.targets);
        targets.any(|target| target.delivered_by.is_some())
    })?;
    let by = told.status.and_then(|status| status.targets.into_iter().next()?.delivered_by);
    ensure!(by == Some(format!("Flux Kustomization {namespace}/{namespace}")), "{by:?}");
    Ok(())
}

pub(crate) fn one_record(bed: &Bed, namespace: &str) -> Result<()> {
    let records = rollbacks(bed, namespace)?.len();
    ensure!(records == 1, "{records} records");
    Ok(())
}

/// How long after its tool had synced the newer commit the hold had ended.
fn ended(bed: &Bed, namespace: &str, is_synced: impl Fn() -> Result<bool>) -> Result<Duration> {
    let (mut synced, mut ended) = (None, None);
    until("the end of the hold", || {
        if synced.is_none() && is_synced()? {
            synced = Some(Instant::now());
        }
        let all = rollbacks(bed, namespace)?;
        let mut holds = all.iter().filter_map(|one| one.status.as_ref()?.hold.as_ref());
        if ended.is_none() && holds.any(|hold| hold.ended_at.is_some()) {
            ended = Some(Instant::now());
        }
        Ok(synced.is_some() && ended.is_some())
    })?;
    let (synced, ended) = synced.zip(ended).context("both were seen")?;
    Ok(ended.saturating_duration_since(synced))
}

/// A commit elsewhere that builds otherwise and still says v2: seen on trial, put away, and no pod of v2 started.
pub(crate) fn flux_a_commit_elsewhere(bed: &Bed) -> Result<()> {
    let namespace = "undone-flux-elsewhere";
    let flux = flux_held(bed, namespace)?;
    until("v2 to have no pod", || Ok(asked_for_v2(bed, namespace).is_ok()))?;
    let before = asked_for_v2(bed, namespace)?;
    let other = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: other, namespace: {namespace}}}\n");
    flux.repository.commit("app/other.yaml", &other)?;
    let elsewhere = flux.publish()?;
    record(bed, namespace, "the trial", |record| {
        let hold = record.status.as_ref().and_then(|status| status.hold.as_ref());
        hold.is_some_and(|hold| hold.tried_at.is_some() && hold.revision.as_ref() == Some(&elsewhere))
    })?;
    bed.until_live(namespace, V1)?;
    flux.reconciled(3)?;
    bed.is_live(namespace, V1)?;
    ensure!(asked_for_v2(bed, namespace)? == before, "a pod of v2 was asked for");
    ensure!(rollbacks(bed, namespace)?.len() == 1, "a loop");
    flux.release(V3)?;
    bed.until_live(namespace, V3)?;
    let_go(bed, namespace, &[ALONE.to_owned()]).map(drop)
}

/// A revert in Git: the hold ends, and no pod changes.
pub(crate) fn flux_a_revert(bed: &Bed) -> Result<()> {
    let namespace = "undone-flux-revert";
    let flux = flux_held(bed, namespace)?;
    let before = revision(bed, namespace)?;
    flux.repository.revert()?;
    flux.publish()?;
    let_go(bed, namespace, &[ALONE.to_owned()])?;
    bed.is_live(namespace, V1)?;
    ensure!(revision(bed, namespace)? == before, "its pods changed");
    Ok(())
}

/// Who deletes the record, ends its hold, and the tool has its way; nobody is left with a label.
pub(crate) fn flux_a_deleted_policy(bed: &Bed) -> Result<()> {
    let namespace = "undone-flux-deleted";
    let _flux = flux_held(bed, namespace)?;
    bed.tools.kubectl(&["-n", namespace, "delete", "rollbackpolicy", "checkout"])?;
    bed.until_live(namespace, V2)?;
    let_go(bed, namespace, &[ALONE.to_owned()])?;
    bed.tools.kubectl(&["-n", namespace, "delete", "rollbacks", "--all", "--timeout=30s"]).map(drop)
}

/// Without a policy nobody holds the Application any more, and it does as it would without us.
pub(crate) fn argo_a_deleted_policy(bed: &Bed) -> Result<()> {
    let namespace = "undone-argo-deleted";
    let argocd = argo_held(bed, namespace, Applies::ServerSide)?;
    bed.tools.kubectl(&["-n", namespace, "delete", "rollbackpolicy", "checkout"])?;
    bed.until_live(namespace, V2)?;
    let_go(bed, namespace, &[argo_alone(Applies::ServerSide)])?;
    ensure!(heals(&argocd)?, "it does not heal");
    bed.tools.kubectl(&["-n", namespace, "delete", "rollbacks", "--all", "--timeout=30s"]).map(drop)
}

/// A policy with a gate that waits for this version.
pub(crate) fn gate(namespace: &str, version: &str) -> String {
    format!(
        "apiVersion: snapback.dev/v1alpha1
kind: RollbackPolicy
metadata: {{name: checkout, namespace: {namespace}}}
spec:
  targetRef: {{kind: Deployment, name: checkout}}
  soak: {{duration: 3s, interval: 1s}}
  checks: [{{name: crashes, crashRate: {{max: \"50%\"}}}}]
  rollback: {{verify: {{duration: 1s}}}}
  gate: Soak
  expectedRevision: {version}
"
    )
}

/// A commit of a release with its policy, which waits for the verdict.
fn gated(flux: &Kustomization, template: &str, version: &str) -> Result<String> {
    flux.repository.commit("app/policy.yaml", &gate(&flux.namespace, version))?;
    flux.release(template)
}

fn ready(flux: &Kustomization) -> Result<Value> {
    let status = flux.status()?;
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|one| one["type"] == "Ready").context("it is not said whether it is ready")
}

/// The Kustomization waits for the gate of what it delivers: ready for what passed its soak, not ready for what was undone,
/// and a fix comes through, though it is kept from the workload while it waits.
pub(crate) fn flux_waits_for_the_gate(bed: &Bed) -> Result<()> {
    let namespace = "undone-flux-gate";
    bed.operator()?;
    let flux = Kustomization::new(bed, namespace)?;
    let waits = r#"{"spec": {"wait": true, "timeout": "50s"}}"#;
    let patch = ["-n", namespace, "patch", "kustomization", namespace, "--type=merge", "-p", waits];
    bed.tools.kubectl(&patch)?;
    let good = gated(&flux, V1, "v1")?;
    flux.applied(&good)?;
    let told = policy(bed, namespace, "v1 known good", |_| true)?;
    let target = told.status.and_then(|status| status.targets.into_iter().next()).context("v1 was not judged")?;
    ensure!(target.known_good.is_some_and(|good| good.images[0] == "shop/checkout:v1"), "it was applied too early");

    let bad = gated(&flux, V2, "v2")?;
    held(bed, namespace)?;
    until("the Kustomization to have failed", || {
        let ready = ready(&flux)?;
        Ok(ready["status"] == "False" && ready["reason"] == "HealthCheckFailed")
    })?;
    flux.reconciled(2)?;
    let status = flux.status()?;
    ensure!(
        status["lastAttemptedRevision"] == bad && status["lastAppliedRevision"] == good,
        "a false green: {status:#}"
    );
    bed.until_live(namespace, V1)?;
    // As long as it fails, it applies the same again and again: that is no news.
    let before = asked_for_v2(bed, namespace)?;
    flux.reconciled(2)?;
    ensure!(asked_for_v2(bed, namespace)? == before, "a pod of v2 was asked for");

    let fix = gated(&flux, V3, "v3")?;
    let waited = bed.until_live(namespace, V3)?;
    snapback_tests::say(&format!(
        "Flux: v3 was live {:.1} s after its commit, from under a hold and a gate",
        waited.as_secs_f64()
    ));
    flux.applied(&fix)?;
    let_go(bed, namespace, &[ALONE.to_owned()])?;
    ensure!(rollbacks(bed, namespace)?.len() == 1, "a loop");
    Ok(())
}

/// A person releases the revision: the hold ends, and it is judged anew.
pub(crate) fn flux_a_release(bed: &Bed) -> Result<()> {
    let namespace = "undone-flux-released";
    let _flux = flux_held(bed, namespace)?;
    let record = rollbacks(bed, namespace)?.pop().context("no Rollback")?;
    let rollbacks: Api<Rollback> = Api::namespaced(bed.client.clone(), namespace);
    let patch = Patch::Merge(json!({"spec": {"released": {"by": "admin", "reason": "the database is back"}}}));
    let name = record.metadata.name.context("a name")?;
    bed.wait(rollbacks.patch(&name, &PatchParams::default(), &patch))?;
    until("v2 to be back, and undone by another decision", || Ok(self::rollbacks(bed, namespace)?.len() == 2)).map(drop)
}

pub(crate) fn argo_alone(applies: Applies) -> String {
    let how = if applies == Applies::ServerSide { "Apply" } else { "Update" };
    format!("argocd-controller {how}")
}

pub(crate) fn heals(argocd: &Application) -> Result<bool> {
    let object = argocd.get()?;
    let note = &object["metadata"]["annotations"]["snapback.dev/held-by"];
    let heals = object["spec"]["syncPolicy"]["automated"]["selfHeal"] == true;
    ensure!(heals == note.is_null(), "{note} and {heals}");
    Ok(heals)
}

pub(crate) fn argo_held<'a>(bed: &'a Bed, namespace: &str, applies: Applies) -> Result<Application<'a>> {
    let argocd = Application::new(bed, namespace, applies, V1)?;
    adopted(bed, namespace)?;
    argocd.commit(V2)?;
    argocd.refresh()?;
    held(bed, namespace)?;
    bed.is_live(namespace, V1)?;
    ensure!(!heals(&argocd)?, "it heals");
    Ok(argocd)
}

/// The same story.
pub(crate) fn argo_from_commit_to_commit(bed: &Bed, applies: Applies) -> Result<()> {
    many::told(&format!("Argo CD, {applies:?}"), |run| {
        let namespace = format!("undone-argo-{applies:?}-{run}").to_lowercase();
        let argocd = argo_held(bed, &namespace, applies).map_err(Fault::Stuck)?;
        let stays = || argocd.reconciled(3).and_then(|()| bed.is_live(&namespace, V1));
        stays().map_err(Fault::Stuck)?;
        let release = || {
            let fix = argocd.commit(V3)?;
            argocd.refresh().map(|()| fix)
        };
        let fix = release().map_err(Fault::Stuck)?;
        let is_synced = || {
            let sync = argocd.status()?["sync"].clone();
            Ok(sync["status"] == "Synced" && sync["revision"] == fix)
        };
        let ended = ended(bed, &namespace, is_synced).map_err(Fault::Stuck)?;
        bed.until_live(&namespace, V3).map_err(Fault::Residue)?;
        let_go(bed, &namespace, &[argo_alone(applies)]).map_err(Fault::Residue)?;
        let heals = || heals(&argocd)?.then_some(()).context("it does not heal");
        heals().map_err(Fault::Residue)?;
        let stays = || argocd.reconciled(1).and_then(|()| bed.is_live(&namespace, V3));
        stays().map_err(Fault::Residue)?;
        let last = argocd.status().map_err(Fault::Conflict)?["operationState"].clone();
        let is_well = last["phase"] == "Succeeded" && last["retryCount"].is_null();
        is_well.then_some(()).with_context(|| format!("{last:#}")).map_err(Fault::Conflict)?;
        one_record(bed, &namespace).map_err(Fault::Loop)?;
        bed.tools.kubectl(&["-n", "argocd", "delete", "application", &namespace]).map_err(Fault::Stuck)?;
        bed.tools.kubectl(&["delete", "namespace", &namespace, "--wait=false"]).map_err(Fault::Stuck)?;
        Ok(ended)
    })
}

/// A revert in Git is synced without a sync: the hold ends all the same.
pub(crate) fn argo_a_revert(bed: &Bed) -> Result<()> {
    let namespace = "undone-argo-revert";
    let argocd = argo_held(bed, namespace, Applies::ServerSide)?;
    let before = revision(bed, namespace)?;
    argocd.repository.revert()?;
    argocd.refresh()?;
    let_go(bed, namespace, &[argo_alone(Applies::ServerSide)])?;
    ensure!(heals(&argocd)?, "it does not heal");
    argocd.reconciled(1)?;
    bed.is_live(namespace, V1)?;
    ensure!(revision(bed, namespace)? == before, "its pods changed");
    Ok(())
}

/// Any other commit brings v2 back: undone at once, by a record that says why, and held on.
pub(crate) fn argo_a_commit_elsewhere(bed: &Bed) -> Result<()> {
    let namespace = "undone-argo-elsewhere";
    let argocd = argo_held(bed, namespace, Applies::ServerSide)?;
    argocd.repository.commit("README.md", "Nothing that is deployed.\n")?;
    argocd.refresh()?;
    until("undone again, and held", || {
        let all = rollbacks(bed, namespace)?;
        let held = all.iter().filter(|one| {
            let status = one.status.as_ref();
            let hold = status.and_then(|status| status.hold.as_ref());
            status.is_some_and(|status| status.phase == Some(RollbackPhase::Succeeded))
                && hold.is_some_and(|hold| hold.placed_at.is_some())
        });
        Ok(held.count() == 2)
    })?;
    bed.is_live(namespace, V1)?;
    argocd.reconciled(3)?;
    bed.is_live(namespace, V1)?;
    ensure!(!heals(&argocd)?, "it heals");
    let fix = argocd.commit(V3)?;
    argocd.refresh()?;
    argocd.synced(&fix)?;
    until("both holds ended", || {
        let all = rollbacks(bed, namespace)?;
        Ok(all.iter().all(|one| {
            let hold = one.status.as_ref().and_then(|status| status.hold.as_ref());
            hold.is_some_and(|hold| hold.ended_at.is_some())
        }))
    })?;
    ensure!(heals(&argocd)?, "it does not heal");
    Ok(())
}

/// What this parent keeps is not held, people hear why, and nobody fights on.
pub(crate) fn ends_its_fight(bed: &Bed, argocd: &Application, parent: &str) -> Result<()> {
    let namespace = &argocd.namespace;
    until("the reason", || {
        Ok(rollbacks(bed, namespace)?.iter().any(|one| {
            let hold = one.status.as_ref().and_then(|status| status.hold.as_ref());
            let because = hold.and_then(|hold| hold.because.as_ref());
            because.is_some_and(|because| because.contains(parent))
        }))
    })?;
    ensure!(argocd.get()?["metadata"]["annotations"]["snapback.dev/held-by"].is_null(), "it was held");
    // What comes back between an undo and its hand-back is v2 with what only v1 has: to us another revision, which is judged
    // and then held by the limit of automatic rollbacks instead.
    policy(bed, namespace, "the fight to end", |policy| {
        let mut targets = policy.status.iter().flat_map(|status| &status.targets);
        targets.any(|target| target.reason == "AwaitingApproval" || target.reason == "Contended")
    })?;
    let written = rollbacks(bed, namespace)?.len();
    ensure!(written <= 4, "{written} records");
    let generation = bed.live(namespace)?["metadata"]["generation"].clone();
    argocd.reconciled(3)?;
    let after = bed.live(namespace)?["metadata"]["generation"].clone();
    ensure!(after == generation, "somebody still writes: {generation}, {after}");
    Ok(())
}

/// Of what it may patch, the operator's own rights let nothing through but a hold.
pub(crate) fn confined(bed: &Bed) -> Result<()> {
    let namespace = "undone-argo-confined";
    let argocd = Application::new(bed, namespace, Applies::ServerSide, V1)?;
    let flux = Kustomization::new(bed, "undone-flux-confined")?;
    flux.released(V1)?;
    bed.operator()?;
    bed.tools.apply(&format!(
        "apiVersion: snapback.dev/v1alpha1\nkind: Rollback\nmetadata: {{name: waits, namespace: {namespace}}}\n\
         spec: {{target: {{kind: Deployment, name: none}}, trigger: {{type: Manual}}}}\n"
    ))?;
    let refused = |namespace: &str, object: &str, patch: Value| -> Result<()> {
        let (patch, who) = (patch.to_string(), format!("--as={OPERATOR}"));
        let arguments = ["-n", namespace, &who, "patch", object, "--type=merge", "-p", &patch];
        let Err(refusal) = bed.tools.kubectl(&arguments) else { bail!("{object} took {patch}") };
        let refusal = format!("{refusal:#}");
        ensure!(refusal.contains("the operator may"), "{object}, {patch}: {refusal}");
        Ok(())
    };
    for patch in [
        json!({"spec": {"source": {"path": "elsewhere"}}}),
        json!({"spec": {"syncPolicy": {"automated": {"prune": false}}}}),
        json!({"spec": {"syncPolicy": {"automated": null}}}),
        json!({"spec": {"syncPolicy": {"syncOptions": ["Replace=true"]}}}),
        json!({"operation": {"sync": {}}}),
        json!({"status": {"sync": {"status": "Unknown"}}}),
        json!({"metadata": {"annotations": {"argocd.argoproj.io/skip-reconcile": "true"}}}),
        json!({"metadata": {"finalizers": ["resources-finalizer.argocd.argoproj.io"]}}),
    ] {
        refused("argocd", &format!("application/{}", argocd.namespace), patch)?;
    }
    for patch in [
        json!({"spec": {"suspend": true}}),
        json!({"metadata": {"labels": {"a": "b"}}}),
        json!({"metadata": {"annotations": {"a": "b"}}}),
    ] {
        refused(&flux.namespace, &format!("kustomization.kustomize.toolkit.fluxcd.io/{}", flux.namespace), patch)?;
    }
    for patch in [
        json!({"metadata": {"labels": {"app": "other"}}}),
        json!({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/reconcile": "enabled"}}}),
    ] {
        refused(&flux.namespace, "deployment/checkout", patch)?;
    }
    // Its spec is kept by the schema, and its approval by the rule for people.
    refused(namespace, "rollback/waits", json!({"metadata": {"labels": {"a": "b"}}}))?;
    argocd.hold()
}
