//! App of apps: an Application that another Application delivers, as its own repository says.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use snapback_tests::releases::{V1, V2, V3};
use snapback_tests::say;

use crate::argocd::{Application, Applies};
use crate::bed::{Bed, until};
use crate::undone::{adopted, argo_alone, ends_its_fight, heals, held, let_go, one_record};

/// The file of the parent's repository that the child is in.
const CHILD: &str = "app/child.yaml";

/// What docs/gitops.md tells people to add to the parent.
fn leaves_alone() -> Value {
    json!({
        "syncPolicy": {
            "automated": {"prune": true, "selfHeal": true},
            "syncOptions": ["RespectIgnoreDifferences=true"]
        },
        "ignoreDifferences": [
            {"group": "argoproj.io", "kind": "Application", "jsonPointers": ["/spec/syncPolicy"]}
        ]
    })
}

/// A parent that heals, and its child, which delivers v1.
struct Family<'a> {
    parent: Application<'a>,
    child: Application<'a>,
}

impl<'a> Family<'a> {
    fn new(bed: &'a Bed, namespace: &str, more: &Value) -> Result<Self> {
        let parent = Application::unmade(bed, &format!("{namespace}-root"))?;
        let child = Application::unmade(bed, namespace)?;
        child.commit(V1)?;
        let family = Self { parent, child };
        family.commit(&Value::Null)?;
        let mut spec = family.parent.spec(Applies::ServerSide);
        for (key, value) in more.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        family.parent.create_with(&spec)?;
        until("the child", || Ok(family.child.get().is_ok()))?;
        family.child.synced(&family.child.repository.head()?)?;
        bed.until_live(namespace, V1)?;
        Ok(family)
    }

    /// Commits the child's manifest with this `info`.
    fn commit(&self, info: &Value) -> Result<String> {
        let mut spec = self.child.spec(Applies::ServerSide);
        if !info.is_null() {
            spec["info"] = json!([{"name": "seen", "value": info}]);
        }
        let child = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": self.child.namespace, "namespace": "argocd"}, "spec": spec
        });
        self.parent.repository.commit(CHILD, &child.to_string())
    }

    /// A change of the child's manifest, carried out.
    fn changes_the_child(&self) -> Result<()> {
        let newer = self.commit(&json!("yes"))?;
        self.parent.refresh()?;
        self.parent.synced(&newer)?;
        until("the parent's change", || Ok(self.child.get()?["spec"]["info"][0]["value"] == "yes")).map(drop)
    }
}

/// A parent puts selfHeal of its child back, unless it is told to leave it.
pub(crate) fn puts_back(bed: &Bed) -> Result<()> {
    for (namespace, more) in [("argocd-child", Value::Null), ("argocd-child-left-alone", leaves_alone())] {
        let family = Family::new(bed, namespace, &more)?;
        let child = &family.child;
        let tracked = child.get()?["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"].clone();
        ensure!(tracked == format!("{namespace}-root:argoproj.io/Application:argocd/{namespace}"), "{tracked}");
        child.patch(&json!({"spec": {"syncPolicy": {"automated": {"selfHeal": false}}}}))?;
        let heals = || Ok::<_, anyhow::Error>(child.get()?["spec"]["syncPolicy"]["automated"]["selfHeal"] == true);
        if more.is_null() {
            let waited = until("selfHeal to be back", heals)?;
            say(&format!("Argo CD: an Application put selfHeal of its child back after {:.1} s", waited.as_secs_f64()));
            continue;
        }
        family.parent.reconciled(3)?;
        ensure!(!heals()?, "selfHeal is back");
        // Not by a sync of something else in it, either.
        family.changes_the_child()?;
        ensure!(!heals()?, "selfHeal is back");
    }
    Ok(())
}

/// What a parent keeps is not held, people hear why, and nobody fights on.
pub(crate) fn kept_by_its_parent(bed: &Bed) -> Result<()> {
    let namespace = "undone-argo-child";
    let family = Family::new(bed, namespace, &Value::Null)?;
    adopted(bed, namespace)?;
    family.child.commit(V2)?;
    family.child.refresh()?;
    ends_its_fight(bed, &family.child, "Application undone-argo-child-root")
}

/// What a parent leaves alone is held as any other, also while the parent changes something else of it.
pub(crate) fn left_alone_by_its_parent(bed: &Bed) -> Result<()> {
    let namespace = "undone-argo-child-left-alone";
    let family = Family::new(bed, namespace, &leaves_alone())?;
    adopted(bed, namespace)?;
    family.child.commit(V2)?;
    family.child.refresh()?;
    held(bed, namespace)?;
    family.changes_the_child()?;
    family.child.reconciled(3)?;
    bed.is_live(namespace, V1)?;
    ensure!(!heals(&family.child)?, "it heals");
    let fix = family.child.commit(V3)?;
    family.child.refresh()?;
    family.child.synced(&fix)?;
    let_go(bed, namespace, &[argo_alone(Applies::ServerSide)])?;
    bed.is_live(namespace, V3)?;
    ensure!(heals(&family.child)?, "it does not heal");
    one_record(bed, namespace)
}
