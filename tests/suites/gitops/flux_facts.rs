//! What the real kustomize-controller does with an undo, and with a hold: the facts that a hold relies on
//! (docs/gitops-facts.md).

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use snapback_tests::releases::{V1, V2, V3};
use snapback_tests::say;

use crate::bed::{Bed, Undone, until};
use crate::flux::Kustomization;
use crate::git::APP;

/// What holds an object, as a label or as an annotation.
const RECONCILE: &str = "kustomize.toolkit.fluxcd.io/reconcile";

/// Who owns the template of an object that only Flux applies.
const ALONE: [&str; 1] = ["kustomize-controller Apply"];

/// v1 and v2 are live as in Git; by whom and as whose is told in the usual places.
pub(crate) fn applies(bed: &Bed) -> Result<()> {
    let flux = Kustomization::new(bed, "flux-applies")?;
    flux.released(V1)?;
    let revision = flux.released(V2)?;
    let (live, status) = (bed.live(&flux.namespace)?, flux.status()?);
    let labels = &live["metadata"]["labels"];
    ensure!(labels["kustomize.toolkit.fluxcd.io/name"] == "flux-applies", "{labels}");
    ensure!(labels["kustomize.toolkit.fluxcd.io/namespace"] == "flux-applies", "{labels}");
    ensure!(bed.managers(&flux.namespace)? == ALONE, "{:?}", bed.managers(&flux.namespace)?);
    ensure!(revision.starts_with("main@sha1:"), "{revision}");
    for field in ["lastAppliedRevision", "lastAttemptedRevision"] {
        ensure!(status[field] == revision, "{field}: {status:#}");
    }
    let newest = &status["history"][0];
    ensure!(newest["metadata"]["revision"] == revision, "{newest:#}");
    ensure!(newest["lastReconciledStatus"] == "ReconciliationSucceeded", "{newest:#}");
    // Nothing of Flux's is in the template: pods do not carry whose they are.
    ensure!(!live["spec"]["template"].to_string().contains("fluxcd.io"), "{live:#}");
    Ok(())
}

/// An undo is reverted within an interval: to v2 and what v2 lacks, or, by a manager whose name begins with `kubectl`,
/// to v2 exactly.
pub(crate) fn fights(bed: &Bed) -> Result<()> {
    let flux = Kustomization::new(bed, "flux-fights")?;
    flux.released(V1)?;
    flux.released(V2)?;
    let undone = bed.undo(&flux.namespace, V1, &Value::Null)?;
    until("v2 to be back", || Ok(image(bed, &flux)? == "shop/checkout:v2"))?;
    say(&format!("Flux: v2 was back {:.1} s after an undo", undone.at.elapsed().as_secs_f64()));
    ensure!(bed.live(&flux.namespace)?.to_string().contains("sidecar"), "no residue of v1");
    ensure!(bed.is_live(&flux.namespace, V2).is_err(), "v2 exactly");

    let flux = Kustomization::new(bed, "flux-fights-kubectl")?;
    flux.released(V1)?;
    flux.released(V2)?;
    bed.undo_as(&flux.namespace, V1, &Value::Null, "kubectl-patch")?;
    bed.until_live(&flux.namespace, V2)?;
    ensure!(bed.managers(&flux.namespace)? == ALONE, "{:?}", bed.managers(&flux.namespace)?);
    Ok(())
}

/// v1, v2, and v1 again by an undo with the hold in the same patch, handed back.
fn held<'a>(bed: &'a Bed, namespace: &str, section: &str) -> Result<(Kustomization<'a>, String, Undone)> {
    let flux = Kustomization::new(bed, namespace)?;
    flux.released(V1)?;
    let bad = flux.released(V2)?;
    let undone = bed.undo(namespace, V1, &json!({section: {RECONCILE: "disabled"}}))?;
    bed.hand_back(namespace, &undone)?;
    Ok((flux, bad, undone))
}

fn take_off(bed: &Bed, flux: &Kustomization, section: &str) -> Result<()> {
    let patch = json!([{"op": "remove", "path": format!("/metadata/{section}/{}", RECONCILE.replace('/', "~1"))}]);
    let (namespace, patch) = (flux.namespace.as_str(), patch.to_string());
    let arguments = ["patch", "deploy/checkout", "--type=json", "--field-manager=snapback", "-p", &patch];
    bed.tools.kubectl(&[&["-n", namespace][..], &arguments].concat()).map(drop)
}

/// Three looks of the controller do not touch what is held, by a label or by an annotation; it says that all is applied.
pub(crate) fn held_is_left_alone(bed: &Bed) -> Result<()> {
    for section in ["labels", "annotations"] {
        let (flux, bad, undone) = held(bed, &format!("flux-held-{section}"), section)?;
        flux.reconciled(3)?;
        bed.is_live(&flux.namespace, V1)?;
        say(&format!("Flux: held by {section} for 3 looks, {:.1} s", undone.at.elapsed().as_secs_f64()));
        // A false green: the bad revision counts as applied.
        let status = flux.status()?;
        ensure!(status["lastAppliedRevision"] == bad && is_ready(&status), "{status:#}");
        ensure!(status["history"][0]["metadata"]["revision"] == bad, "{status:#}");
        // The hold itself is the only thing of ours.
        let managers = bed.managers(&flux.namespace)?;
        ensure!(managers == ["kustomize-controller Apply", "snapback Update"], "{managers:?}");
        // Taken off while the bad revision is the newest, it is back within an interval.
        take_off(bed, &flux, section)?;
        let waited = bed.until_live(&flux.namespace, V2)?;
        say(&format!("Flux: v2 was back {:.1} s after the hold was taken off", waited.as_secs_f64()));
        let managers = bed.managers(&flux.namespace)?;
        ensure!(managers == ALONE, "left after the hold: {managers:?}");
    }
    Ok(())
}

/// v3 is not applied to what is held, though it counts as applied; it is once the hold is off, exactly, without a trace of
/// us. Without the hand-back, what only v1 had stays.
pub(crate) fn a_fix_waits_for_the_hold(bed: &Bed) -> Result<()> {
    let (flux, bad, _) = held(bed, "flux-fix", "labels")?;
    let digest = flux.status()?["history"][0]["digest"].clone();
    let fix = flux.release(V3)?;
    let status = flux.applied(&fix)?;
    flux.reconciled(1)?;
    bed.is_live(&flux.namespace, V1)?;
    ensure!(is_ready(&status) && fix != bad, "{status:#}");
    ensure!(status["history"][0]["digest"] != digest, "what was built is the same: {status:#}");
    take_off(bed, &flux, "labels")?;
    let waited = bed.until_live(&flux.namespace, V3)?;
    say(&format!("Flux: v3 was live {:.1} s after the hold was taken off", waited.as_secs_f64()));
    ensure!(bed.managers(&flux.namespace)? == ALONE, "{:?}", bed.managers(&flux.namespace)?);

    let flux = Kustomization::new(bed, "flux-fix-residue")?;
    flux.released(V1)?;
    flux.released(V2)?;
    bed.undo(&flux.namespace, V1, &json!({"labels": {RECONCILE: "disabled"}}))?;
    let fix = flux.release(V3)?;
    flux.applied(&fix)?;
    take_off(bed, &flux, "labels")?;
    until("v3", || Ok(image(bed, &flux)? == "shop/checkout:v3"))?;
    ensure!(bed.live(&flux.namespace)?.to_string().contains("sidecar"), "no residue of v1");
    Ok(())
}

/// A commit that takes v2 back builds what v1 built: the digest moves back to that of v1, and with the hold off nothing
/// happens to the pods.
pub(crate) fn a_revert_changes_no_pod(bed: &Bed) -> Result<()> {
    let flux = Kustomization::new(bed, "flux-revert")?;
    flux.released(V1)?;
    let good = flux.status()?["history"][0]["digest"].clone();
    flux.released(V2)?;
    let undone = bed.undo(&flux.namespace, V1, &json!({"labels": {RECONCILE: "disabled"}}))?;
    bed.hand_back(&flux.namespace, &undone)?;
    flux.repository.revert()?;
    let status = flux.applied(&flux.publish()?)?;
    ensure!(status["history"][0]["digest"] == good, "{status:#}");
    let generation = bed.live(&flux.namespace)?["metadata"]["generation"].clone();
    take_off(bed, &flux, "labels")?;
    flux.reconciled(2)?;
    bed.is_live(&flux.namespace, V1)?;
    let after = bed.live(&flux.namespace)?["metadata"]["generation"].clone();
    ensure!(after == generation, "the generation went from {generation} to {after}");
    ensure!(bed.managers(&flux.namespace)? == ALONE, "{:?}", bed.managers(&flux.namespace)?);
    Ok(())
}

/// A commit of something else moves the revision and not the digest.
pub(crate) fn another_commit_is_told_by_the_digest(bed: &Bed) -> Result<()> {
    let (flux, bad, _) = held(bed, "flux-other", "labels")?;
    let digest = flux.status()?["history"][0]["digest"].clone();
    flux.repository.commit("README.md", "Nothing that is deployed.\n")?;
    let revision = flux.publish()?;
    let status = flux.applied(&revision)?;
    ensure!(revision != bad && status["history"][0]["digest"] == digest, "{status:#}");
    ensure!(status["history"][0]["metadata"]["revision"] == revision, "{status:#}");
    flux.reconciled(1)?;
    bed.is_live(&flux.namespace, V1)
}

/// What is held is not pruned either, and is then nobody's: a hold on what Git no longer has must not stay.
pub(crate) fn held_is_not_pruned(bed: &Bed) -> Result<()> {
    let (flux, _, _) = held(bed, "flux-prune", "labels")?;
    flux.repository.commit("app/other.yaml", OTHER)?;
    flux.repository.delete(APP)?;
    let status = flux.applied(&flux.publish()?)?;
    flux.reconciled(1)?;
    bed.is_live(&flux.namespace, V1)?;
    ensure!(!status["inventory"].to_string().contains("checkout"), "{status:#}");
    take_off(bed, &flux, "labels")?;
    flux.reconciled(2)?;
    bed.is_live(&flux.namespace, V1)
}

const OTHER: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other, namespace: flux-prune}\n";

fn image(bed: &Bed, flux: &Kustomization) -> Result<Value> {
    Ok(bed.live(&flux.namespace)?["spec"]["template"]["spec"]["containers"][0]["image"].clone())
}

fn is_ready(status: &Value) -> bool {
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.any(|one| one["type"] == "Ready" && one["status"] == "True")
}
