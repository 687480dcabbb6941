//! GitOps tools, and holds that keep one from bringing a quarantined revision back.
//!
//! A tool that keeps a workload as its source says puts the bad revision back within seconds of an undo, since the source
//! still says so. The source is not ours to write. So the tool is told to leave this one workload alone ([`plan`]), until
//! its source has moved on; then the hold ends by itself ([`tend`]).
//!
//! ```text
//!            Argo CD Application          Flux Kustomization             Flux HelmRelease
//! hold       selfHeal: false, before      label on the workload,         label on the workload,
//!            the undo                     in the undo's own patch        in the undo's own patch
//! ends       a newer commit has synced    a trial: see [`Trial`]         another chart or other values
//! ```
//! Facts: `kubernetes-rollback`, section 5, executed with the real tools. Decisions: ADR 0024.

mod application;
mod deliverer;
mod helm_release;
mod hold;
mod kustomization;
mod parent;
mod tend;

pub use application::{Application, SELF_HEAL, holders};
pub use deliverer::{Deliverer, Marks, Tool, ToolKind, deliverers};
pub use helm_release::{DRIFT_DETECTION, HelmReleaseLook};
pub use hold::{Hold, Look, Mark, Plan, begin, plan};
pub use kustomization::{Kustomization, RECONCILE, REQUESTED_AT};
pub use parent::{leaves_alone, set_leaves_alone};
pub use tend::{Claim, HoldAct, Scene, Tended, Trial, leads, tend};

/// On a workload, by us: its tool is let at it to see what it brings. A label, since a workload under Flux always has
/// some, and a patch cannot add to what is absent.
pub const TRIAL: &str = "snapback.dev/trial";

/// What switches a tool off on one object.
pub const DISABLED: &str = "disabled";

/// On an Application, by us: the `Rollback` that holds it, `shop/checkout-7f5aa-6870515aab`.
pub const HELD_BY: &str = "snapback.dev/held-by";

/// On an Application: asks Argo CD to look at it now; gone when it has.
pub const REFRESH: &str = "argocd.argoproj.io/refresh";

/// What a live workload says of who delivers it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delivery {
    /// Who does, the one that writes it first.
    pub by: Vec<Deliverer>,
    /// The trial that is under way.
    pub trial: Option<Trial>,
    /// The labels of holds that it carries.
    pub labels: Vec<&'static str>,
}

impl Delivery {
    /// Reads what a workload carries.
    pub fn read(marks: &Marks) -> Self {
        let is_disabled = |key: &&str| marks.labels.get(*key).is_some_and(|value| value == DISABLED);
        Self {
            by: deliverers(marks),
            trial: marks.labels.get(TRIAL).map(|value| Trial::read(value)),
            labels: [RECONCILE, DRIFT_DETECTION].into_iter().filter(is_disabled).collect(),
        }
    }

    /// As told in status. A mere possibility is not told.
    pub fn told(&self) -> Option<String> {
        self.sure().map(ToString::to_string)
    }

    /// What a person does so that a bad revision does not come back once more.
    pub fn how_to_stop(&self) -> String {
        match self.sure() {
            Some(Deliverer::Tool(tool @ Tool { kind: ToolKind::Application, .. })) => format!(
                "revert it in Git, where {tool} has it from; if a sync of that failed and is tried again, set its \
                 spec.syncPolicy.retry.limit to 0 and end the sync"
            ),
            Some(Deliverer::Tool(tool @ Tool { kind: ToolKind::HelmRelease, .. })) => format!(
                "revert it where {tool} has it from; if an upgrade of that failed and is tried again, set its \
                 spec.upgrade.remediation.retries to 0"
            ),
            Some(Deliverer::Tool(tool)) => format!("revert it in Git, where {tool} has it from"),
            Some(Deliverer::Helm(_) | Deliverer::Controller(_)) | None => {
                "stop what applies it (a GitOps tool? revert it in Git)".to_owned()
            }
        }
    }

    fn sure(&self) -> Option<&Deliverer> {
        self.by.iter().find(|one| !matches!(one, Deliverer::Tool(Tool { kind: ToolKind::PossibleApplication, .. })))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::workload::Kind;

    #[test]
    fn a_hold_is_seen_by_a_label_that_switches_its_tool_off() {
        let read = |labels: &[(&str, &str)]| {
            let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            let marks = Marks {
                kind: Kind::Deployment,
                namespace: "shop",
                name: "checkout",
                labels: &labels,
                annotations: &BTreeMap::new(),
                helm: None,
                controller: None,
            };
            Delivery::read(&marks)
        };
        assert_eq!(read(&[(RECONCILE, "disabled")]).labels, [RECONCILE]);
        assert_eq!(
            read(&[(DRIFT_DETECTION, "disabled"), (RECONCILE, "disabled")]).labels,
            [RECONCILE, DRIFT_DETECTION]
        );
        assert!(read(&[(RECONCILE, "enabled")]).labels.is_empty());
        let delivery =
            read(&[("kustomize.toolkit.fluxcd.io/name", "apps"), ("kustomize.toolkit.fluxcd.io/namespace", "flux")]);
        assert_eq!(delivery.told().as_deref(), Some("Flux Kustomization flux/apps"));
        let hint = read(&[("app.kubernetes.io/instance", "store")]);
        assert_eq!((hint.by.len(), hint.told()), (1, None), "a possibility is not told");
    }

    #[test]
    fn who_may_bring_it_back_is_told_how_to_stop_that() {
        let stop = |kind: ToolKind| {
            let tool = Tool { kind, namespace: Some("shop".to_owned()), name: "store".to_owned() };
            Delivery { by: vec![Deliverer::Tool(tool)], ..Delivery::default() }.how_to_stop()
        };
        let application = stop(ToolKind::Application);
        assert!(application.contains("Argo CD Application shop/store"), "{application}");
        assert!(application.contains("spec.syncPolicy.retry.limit to 0 and end the sync"), "{application}");
        let release = stop(ToolKind::HelmRelease);
        assert!(release.contains("Flux HelmRelease shop/store"), "{release}");
        assert!(release.contains("spec.upgrade.remediation.retries to 0"), "{release}");
        let kustomization = stop(ToolKind::Kustomization);
        assert_eq!(kustomization, "revert it in Git, where Flux Kustomization shop/store has it from");
        let unknown = "stop what applies it (a GitOps tool? revert it in Git)";
        assert_eq!(stop(ToolKind::PossibleApplication), unknown, "a possibility is not told");
        assert_eq!(Delivery::default().how_to_stop(), unknown);
    }
}
