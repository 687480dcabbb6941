//! An Application that an ApplicationSet makes, with the real controller of those.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use snapback_tests::releases::{V1, V2, V3};
use snapback_tests::say;

use crate::argocd::{Application, Applies};
use crate::bed::{Bed, until};
use crate::undone::{adopted, argo_alone, ends_its_fight, heals, held, let_go, one_record};

/// Whether the set is told to leave the field alone that a hold switches off, in the words of docs/gitops.md.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    ToLeaveItAlone,
    /// And to keep the annotation that says who holds it.
    ToLeaveBothAlone,
}

/// The Application of a set, which has delivered v1.
fn made<'a>(bed: &'a Bed, namespace: &str, told: Told) -> Result<Application<'a>> {
    let argocd = Application::unmade(bed, namespace)?;
    bed.argocd()?.with_sets(bed)?;
    argocd.commit(V1)?;
    let ignored = (told != Told::Nothing).then(|| json!([{"jsonPointers": ["/spec/syncPolicy"]}]));
    let kept = (told == Told::ToLeaveBothAlone).then(|| json!({"annotations": ["snapback.dev/held-by"]}));
    let set = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet",
        "metadata": {"name": namespace, "namespace": "argocd"},
        "spec": {
            "generators": [{"list": {"elements": [{}]}}],
            "template": {"metadata": {"name": namespace}, "spec": argocd.spec(Applies::ServerSide)},
            "ignoreApplicationDifferences": ignored, "preservedFields": kept
        }
    });
    bed.tools.apply(&set.to_string())?;
    until("the Application of the set", || Ok(argocd.get().is_ok()))?;
    argocd.synced(&argocd.repository.head()?)?;
    let owner = argocd.get()?["metadata"]["ownerReferences"][0]["kind"].clone();
    ensure!(owner == "ApplicationSet", "{owner}");
    Ok(argocd)
}

/// A change of the set's own is carried out, and so its controller has looked at what we did.
fn changes_its_application(bed: &Bed, argocd: &Application) -> Result<()> {
    changes(bed, argocd, &json!({"template": {"spec": {"info": [{"name": "seen", "value": "yes"}]}}}))?;
    until("the set's change", || Ok(argocd.get()?["spec"]["info"][0]["value"] == "yes")).map(drop)
}

fn changes(bed: &Bed, argocd: &Application, spec: &Value) -> Result<()> {
    let patch = json!({"spec": spec}).to_string();
    bed.tools.kubectl(&["-n", "argocd", "patch", "appset", &argocd.namespace, "--type=merge", "-p", &patch]).map(drop)
}

/// The annotation that says who holds it.
fn note(argocd: &Application) -> Result<Value> {
    Ok(argocd.get()?["metadata"]["annotations"]["snapback.dev/held-by"].clone())
}

/// An ApplicationSet puts selfHeal back, unless it is told to leave it; and takes off any annotation that it is not told to
/// keep.
pub(crate) fn puts_back(bed: &Bed) -> Result<()> {
    for (namespace, told) in [
        ("argocd-set", Told::Nothing),
        ("argocd-set-ignoring", Told::ToLeaveItAlone),
        ("argocd-set-keeping", Told::ToLeaveBothAlone),
    ] {
        let argocd = made(bed, namespace, told)?;
        argocd.patch(&json!({
            "metadata": {"annotations": {"snapback.dev/held-by": "shop/one"}},
            "spec": {"syncPolicy": {"automated": {"selfHeal": false}}}
        }))?;
        let heals = || Ok::<_, anyhow::Error>(argocd.get()?["spec"]["syncPolicy"]["automated"]["selfHeal"] == true);
        if told == Told::Nothing {
            let waited = until("selfHeal to be back", heals)?;
            say(&format!("Argo CD: an ApplicationSet put selfHeal back after {:.1} s", waited.as_secs_f64()));
            continue;
        }
        changes_its_application(bed, &argocd)?;
        ensure!(!heals()?, "selfHeal is back");
        ensure!(note(&argocd)?.is_null() == (told == Told::ToLeaveItAlone), "{}", note(&argocd)?);
    }
    Ok(())
}

/// What an ApplicationSet keeps is not held, and people hear why. Snapback and Argo CD put each other's template back a few
/// times, and then Snapback stops and calls a person. It is the same where only our annotation would be lost: who holds it is
/// not known then.
pub(crate) fn kept_by_its_set(bed: &Bed) -> Result<()> {
    let namespace = "undone-argo-set";
    let argocd = made(bed, namespace, Told::ToLeaveItAlone)?;
    adopted(bed, namespace)?;
    argocd.commit(V2)?;
    argocd.refresh()?;
    ends_its_fight(bed, &argocd, "ApplicationSet undone-argo-set")
}

/// What a set leaves alone is held as any other, also while the set changes something else of it; and when the set comes to
/// take our annotation off, it is held on, and heals in the end.
pub(crate) fn left_alone_by_its_set(bed: &Bed) -> Result<()> {
    let namespace = "undone-argo-set-left-alone";
    let argocd = made(bed, namespace, Told::ToLeaveBothAlone)?;
    adopted(bed, namespace)?;
    argocd.commit(V2)?;
    argocd.refresh()?;
    held(bed, namespace)?;
    changes_its_application(bed, &argocd)?;
    argocd.reconciled(3)?;
    bed.is_live(namespace, V1)?;
    ensure!(!heals(&argocd)?, "it heals");
    changes(bed, &argocd, &json!({"preservedFields": null}))?;
    until("our annotation to be gone", || Ok(note(&argocd)?.is_null()))?;
    argocd.reconciled(3)?;
    bed.is_live(namespace, V1)?;
    let fix = argocd.commit(V3)?;
    argocd.refresh()?;
    argocd.synced(&fix)?;
    let_go(bed, namespace, &[argo_alone(Applies::ServerSide)])?;
    bed.is_live(namespace, V3)?;
    ensure!(heals(&argocd)?, "it does not heal");
    one_record(bed, namespace)
}
