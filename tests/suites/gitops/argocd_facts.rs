//! What the real Argo CD does with an undo, and with a hold: the facts that a hold relies on (docs/gitops-facts.md).

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use snapback_tests::releases::{V1, V2, V3};
use snapback_tests::say;

use crate::argocd::{Application, Applies};
use crate::bed::{Bed, until};

/// In which the Deployment controller counts what it rolled out.
const ROLLOUTS: &str = "deployment.kubernetes.io/revision";

/// v1 and v2 are live as in Git; by whom and as whose is told in the usual places.
pub(crate) fn applies(bed: &Bed, applies: Applies) -> Result<()> {
    let argocd = Application::new(bed, &name("applies", applies), applies, V1)?;
    let revision = argocd.released(V2)?;
    let (live, status) = (bed.live(&argocd.namespace)?, argocd.status()?);
    let (namespace, metadata) = (&argocd.namespace, &live["metadata"]);
    let tracking = &metadata["annotations"]["argocd.argoproj.io/tracking-id"];
    ensure!(*tracking == format!("{namespace}:apps/Deployment:{namespace}/checkout"), "{metadata:#}");
    ensure!(metadata["labels"].is_null(), "{metadata:#}");
    ensure!(metadata["annotations"]["argocd.argoproj.io/installation-id"].is_null(), "{metadata:#}");
    let last_applied = &metadata["annotations"]["kubectl.kubernetes.io/last-applied-configuration"];
    ensure!(last_applied.is_string() == (applies == Applies::ClientSide), "{metadata:#}");
    ensure!(bed.managers(namespace)? == [alone(applies)], "{:?}", bed.managers(namespace)?);
    ensure!(status["sync"]["revision"] == revision, "{status:#}");
    ensure!(status["operationState"]["syncResult"]["revision"] == revision, "{status:#}");
    ensure!(status["operationState"]["phase"] == "Succeeded", "{status:#}");
    let last = status["history"].as_array().and_then(|history| history.last()).cloned().unwrap_or_default();
    ensure!(last["revision"] == revision, "{status:#}");
    Ok(())
}

/// An undo is reverted at once, to v2 and what v2 lacks.
pub(crate) fn fights(bed: &Bed, applies: Applies) -> Result<()> {
    let argocd = Application::new(bed, &name("fights", applies), applies, V1)?;
    argocd.released(V2)?;
    let undone = bed.undo(&argocd.namespace, V1, &Value::Null)?;
    until("v2 to be back", || Ok(image(bed, &argocd)? == "shop/checkout:v2"))?;
    say(&format!("Argo CD ({applies:?}): v2 was back {:.1} s after an undo", undone.at.elapsed().as_secs_f64()));
    ensure!(bed.live(&argocd.namespace)?.to_string().contains("sidecar"), "no residue of v1");
    ensure!(bed.is_live(&argocd.namespace, V2).is_err(), "v2 exactly");
    Ok(())
}

/// v1, v2, the hold, and v1 again by an undo, handed back. Gives the bad revision.
fn held<'a>(bed: &'a Bed, namespace: &str, applies: Applies) -> Result<(Application<'a>, String)> {
    let argocd = Application::new(bed, namespace, applies, V1)?;
    let bad = argocd.released(V2)?;
    argocd.hold()?;
    let undone = bed.undo(namespace, V1, &Value::Null)?;
    bed.hand_back(namespace, &undone)?;
    Ok((argocd, bad))
}

/// Three comparisons do not touch what is held, and say that it differs; v3 is synced by itself all the same, exactly,
/// without a trace of us, and so it stays when the hold is taken off.
pub(crate) fn a_fix_is_synced_under_the_hold(bed: &Bed, applies: Applies) -> Result<()> {
    let (argocd, bad) = held(bed, &name("held", applies), applies)?;
    let syncs = syncs(&argocd)?;
    argocd.reconciled(3)?;
    bed.is_live(&argocd.namespace, V1)?;
    let status = argocd.until("healthy", |status| status["health"]["status"] == "Healthy")?;
    ensure!(status["sync"]["status"] == "OutOfSync" && status["sync"]["revision"] == bad, "{status:#}");
    ensure!(self::syncs(&argocd)? == syncs, "it synced: {status:#}");
    let managers = bed.managers(&argocd.namespace)?;
    ensure!(managers == [alone(applies)], "the hold left {managers:?}");

    let fix = argocd.commit(V3)?;
    let began = std::time::Instant::now();
    argocd.refresh()?;
    let status = argocd.synced(&fix)?;
    say(&format!("Argo CD ({applies:?}): v3 was synced {:.1} s after the refresh", began.elapsed().as_secs_f64()));
    bed.is_live(&argocd.namespace, V3)?;
    ensure!(status["operationState"]["syncResult"]["revision"] == fix, "{status:#}");
    argocd.let_go()?;
    argocd.reconciled(1)?;
    bed.is_live(&argocd.namespace, V3)?;
    let managers = bed.managers(&argocd.namespace)?;
    ensure!(managers == [alone(applies)], "left after the hold: {managers:?}");
    // The switch itself is ours from then on, whatever it says.
    let owners = owners(&argocd.get()?, "f:selfHeal");
    ensure!(owners == ["snapback"], "{owners:?}");
    Ok(())
}

/// A commit that takes v2 back is synced under the hold and changes no pod: after a hand-back by a sync, since the defaults
/// that the undo wrote out are then the tool's to remove; without one by no sync at all, and then the last operation
/// names the bad revision for ever. `status.sync` is right either way.
pub(crate) fn a_revert_is_synced(bed: &Bed, applies: Applies, handed_back: bool) -> Result<()> {
    let story = if handed_back { "revert" } else { "revert-ours" };
    let argocd = Application::new(bed, &name(story, applies), applies, V1)?;
    let bad = argocd.released(V2)?;
    argocd.hold()?;
    let undone = bed.undo(&argocd.namespace, V1, &Value::Null)?;
    if handed_back {
        bed.hand_back(&argocd.namespace, &undone)?;
    }
    argocd.until("the difference seen", |status| status["sync"]["status"] == "OutOfSync")?;
    argocd.reconciled(1)?;
    let rollouts = || Ok::<_, anyhow::Error>(bed.live(&argocd.namespace)?["metadata"]["annotations"][ROLLOUTS].clone());
    let (syncs, rolled_out) = (syncs(&argocd)?, rollouts()?);
    let fix = argocd.repository.revert()?;
    argocd.refresh()?;
    let status = argocd.synced(&fix)?;
    let last = &status["operationState"]["syncResult"]["revision"];
    ensure!(*last == if handed_back { &fix } else { &bad }.as_str(), "{status:#}");
    argocd.let_go()?;
    argocd.reconciled(2)?;
    bed.is_live(&argocd.namespace, V1)?;
    ensure!(self::syncs(&argocd)? == syncs + usize::from(handed_back), "{:#}", argocd.status()?);
    ensure!(rollouts()? == rolled_out, "pods were changed");
    Ok(())
}

/// To Argo CD any new commit is a new release: one that changes nothing of the workload puts the bad one back, hold or no
/// hold.
pub(crate) fn another_commit_breaks_the_hold(bed: &Bed) -> Result<()> {
    let (argocd, _) = held(bed, "argocd-other", Applies::ServerSide)?;
    let other = argocd.repository.commit("README.md", "Nothing that is deployed.\n")?;
    argocd.refresh()?;
    let status = argocd.synced(&other)?;
    bed.is_live(&argocd.namespace, V2)?;
    ensure!(status["operationState"]["syncResult"]["revision"] == other, "{status:#}");
    Ok(())
}

/// Not where the Application says which paths are its own.
pub(crate) fn another_commit_and_the_paths(bed: &Bed) -> Result<()> {
    let argocd = Application::new(bed, "argocd-paths", Applies::ServerSide, V1)?;
    argocd.patch(&json!({"metadata": {"annotations": {"argocd.argoproj.io/manifest-generate-paths": "."}}}))?;
    let bad = argocd.released(V2)?;
    argocd.hold()?;
    let undone = bed.undo(&argocd.namespace, V1, &Value::Null)?;
    bed.hand_back(&argocd.namespace, &undone)?;
    argocd.until("the difference seen", |status| status["sync"]["status"] == "OutOfSync")?;
    let other = argocd.repository.commit("README.md", "Nothing that is deployed.\n")?;
    argocd.refresh()?;
    argocd.reconciled(3)?;
    bed.is_live(&argocd.namespace, V1)?;
    let status = argocd.status()?;
    ensure!(status["operationState"]["syncResult"]["revision"] == bad, "{status:#}");
    ensure!(status["sync"]["status"] == "OutOfSync" && status["sync"]["revision"] == other, "{status:#}");
    Ok(())
}

/// The hold taken off while the bad revision is the newest puts it back at once.
pub(crate) fn taken_off_too_early(bed: &Bed) -> Result<()> {
    let (argocd, _) = held(bed, "argocd-early", Applies::ServerSide)?;
    argocd.until("the difference seen", |status| status["sync"]["status"] == "OutOfSync")?;
    argocd.let_go()?;
    let waited = bed.until_live(&argocd.namespace, V2)?;
    say(&format!("Argo CD: v2 was back {:.1} s after the hold was taken off", waited.as_secs_f64()));
    Ok(())
}

fn name(story: &str, applies: Applies) -> String {
    format!("argocd-{story}-{applies:?}").to_lowercase()
}

/// Who owns the template of an object that only Argo CD applies.
fn alone(applies: Applies) -> String {
    let how = if applies == Applies::ServerSide { "Apply" } else { "Update" };
    format!("argocd-controller {how}")
}

/// How many syncs are in the history.
fn syncs(argocd: &Application) -> Result<usize> {
    Ok(argocd.status()?["history"].as_array().context("no history")?.len())
}

/// Who is recorded as the owner of a field of an object.
fn owners(object: &Value, field: &str) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let of_field = entries.filter(|entry| entry["fieldsV1"].to_string().contains(field));
    of_field.filter_map(|entry| entry["manager"].as_str()).map(str::to_owned).collect()
}

fn image(bed: &Bed, argocd: &Application) -> Result<Value> {
    Ok(bed.live(&argocd.namespace)?["spec"]["template"]["spec"]["containers"][0]["image"].clone())
}
