//! Who delivers a workload: keeps it as some source says.

use std::collections::BTreeMap;
use std::fmt;

use crate::jobs::is_name;
use crate::workload::{HelmRelease, Kind};

/// Written by Argo CD: `<application>:<group>/<kind>:<namespace>/<name>`.
const TRACKING_ID: &str = "argocd.argoproj.io/tracking-id";
/// Written by Argo CD where it tracks by label; by every Helm chart as well.
const INSTANCE: &str = "app.kubernetes.io/instance";
const KUSTOMIZATION: [&str; 2] = ["kustomize.toolkit.fluxcd.io/name", "kustomize.toolkit.fluxcd.io/namespace"];
const HELM_RELEASE: [&str; 2] = ["helm.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/namespace"];

/// Who delivers a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deliverer {
    /// A GitOps tool, which may be held.
    Tool(Tool),
    /// Helm, run by a person or a pipeline: nothing comes back by itself.
    Helm(HelmRelease),
    /// Another operator made it, and makes it again as its own object says: `Kafka/orders`.
    Controller(String),
}

/// A GitOps tool's object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// What it is.
    pub kind: ToolKind,
    /// Its namespace; `None` where the workload does not say it (an Argo CD Application in Argo CD's own).
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// The kinds of objects by which GitOps tools deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolKind {
    /// Argo CD's.
    Application,
    /// Argo CD's, if one of that name says so itself: the label that it tracks by, others write as well.
    PossibleApplication,
    /// Flux's, of kustomize-controller.
    Kustomization,
    /// Flux's, of helm-controller.
    HelmRelease,
}

impl ToolKind {
    /// The kind's name in its API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Application | Self::PossibleApplication => "Application",
            Self::Kustomization => "Kustomization",
            Self::HelmRelease => "HelmRelease",
        }
    }

    /// The kind of this name.
    pub fn read(name: &str) -> Option<Self> {
        [Self::Application, Self::Kustomization, Self::HelmRelease].into_iter().find(|kind| kind.as_str() == name)
    }

    /// The product.
    pub fn product(self) -> &'static str {
        match self {
            Self::Application | Self::PossibleApplication => "Argo CD",
            Self::Kustomization | Self::HelmRelease => "Flux",
        }
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name } = self;
        write!(f, "{} {} ", kind.product(), kind.as_str())?;
        match namespace {
            Some(namespace) => write!(f, "{namespace}/{name}"),
            None => write!(f, "{name}"),
        }
    }
}

impl fmt::Display for Deliverer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tool(tool) => tool.fmt(f),
            Self::Helm(release) => write!(f, "Helm release {}/{}", release.namespace, release.name),
            Self::Controller(controller) => f.write_str(controller),
        }
    }
}

/// What a live workload carries.
#[derive(Debug, Clone, Copy)]
pub struct Marks<'a> {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: &'a BTreeMap<String, String>,
    /// The Helm release of its annotations.
    pub helm: Option<&'a HelmRelease>,
    /// Kind and name of the owner that controls it.
    pub controller: Option<(&'a str, &'a str)>,
}

/// Who delivers it, the one that writes it first. Several can be true: a HelmRelease is a Helm release as well.
pub fn deliverers(marks: &Marks) -> Vec<Deliverer> {
    let mut found = Vec::new();
    if let Some((kind, name)) = marks.controller {
        found.push(Deliverer::Controller(format!("{kind}/{name}")));
    }
    let flux = |kind, [name, namespace]: [&str; 2]| {
        let (name, namespace) = (marks.labels.get(name)?, marks.labels.get(namespace)?);
        let tool = Tool { kind, namespace: Some(namespace.clone()), name: name.clone() };
        (is_name(name) && is_name(namespace)).then_some(Deliverer::Tool(tool))
    };
    found.extend(flux(ToolKind::HelmRelease, HELM_RELEASE));
    found.extend(flux(ToolKind::Kustomization, KUSTOMIZATION));
    let tracked = application(marks);
    let is_tracked = tracked.is_some();
    found.extend(tracked.map(Deliverer::Tool));
    found.extend(marks.helm.cloned().map(Deliverer::Helm));
    if let Some(name) = marks.labels.get(INSTANCE).filter(|name| !is_tracked && found.is_empty() && is_name(name)) {
        let kind = ToolKind::PossibleApplication;
        found.push(Deliverer::Tool(Tool { kind, namespace: None, name: name.clone() }));
    }
    found
}

/// The Application that tracks it by annotation. One that speaks of another object was copied with a manifest.
fn application(marks: &Marks) -> Option<Tool> {
    let id = marks.annotations.get(TRACKING_ID)?;
    let (application, object) = id.split_once(':')?;
    let own = format!("apps/{}:{}/{}", marks.kind.as_str(), marks.namespace, marks.name);
    if object != own {
        return None;
    }
    // Outside Argo CD's own namespace: `<namespace>_<name>`; neither may hold an underscore.
    let (namespace, name) = match application.split_once('_') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, application),
    };
    let is_valid = is_name(name) && namespace.is_none_or(is_name);
    is_valid.then(|| Tool {
        kind: ToolKind::Application,
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn told(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> Vec<String> {
        let (labels, annotations) = (map(labels), map(annotations));
        let marks = Marks {
            kind: Kind::Deployment,
            namespace: "shop",
            name: "checkout",
            labels: &labels,
            annotations: &annotations,
            helm: None,
            controller: None,
        };
        deliverers(&marks).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_application_is_found_by_its_tracking_id() {
        let id = |id| told(&[], &[(TRACKING_ID, id)]);
        assert_eq!(id("store:apps/Deployment:shop/checkout"), ["Argo CD Application store"]);
        assert_eq!(id("team-a_store:apps/Deployment:shop/checkout"), ["Argo CD Application team-a/store"]);
    }

    #[test]
    fn a_tracking_id_that_was_copied_from_another_object_says_nothing() {
        for id in ["store:apps/Deployment:shop/cart", "store:apps/StatefulSet:shop/checkout", "store", "", ":::"] {
            assert_eq!(told(&[], &[(TRACKING_ID, id)]), Vec::<String>::new(), "{id}");
        }
    }

    #[test]
    fn flux_is_found_by_its_labels_and_only_by_both() {
        let [name, namespace] = KUSTOMIZATION;
        assert_eq!(told(&[(name, "apps"), (namespace, "flux")], &[]), ["Flux Kustomization flux/apps"]);
        assert_eq!(told(&[(name, "apps")], &[]), Vec::<String>::new());
        let [name, namespace] = HELM_RELEASE;
        assert_eq!(told(&[(name, "shop"), (namespace, "flux")], &[]), ["Flux HelmRelease flux/shop"]);
        assert_eq!(told(&[(name, "../x"), (namespace, "flux")], &[]), Vec::<String>::new());
    }

    #[test]
    fn the_instance_label_is_a_hint_and_only_where_nothing_else_is_known() {
        assert_eq!(told(&[(INSTANCE, "store")], &[]), ["Argo CD Application store"]);
        let [name, namespace] = KUSTOMIZATION;
        let labels = [(INSTANCE, "store"), (name, "apps"), (namespace, "flux")];
        assert_eq!(told(&labels, &[]), ["Flux Kustomization flux/apps"]);
    }

    #[test]
    fn another_operators_workload_is_that_operators() {
        let none = BTreeMap::new();
        let marks = Marks {
            kind: Kind::StatefulSet,
            namespace: "shop",
            name: "orders",
            labels: &none,
            annotations: &none,
            helm: None,
            controller: Some(("Kafka", "orders")),
        };
        assert_eq!(deliverers(&marks), [Deliverer::Controller("Kafka/orders".to_owned())]);
    }

    #[test]
    fn a_tracking_id_whose_names_are_none_says_nothing() {
        for application in ["team-a_../x", "../x_store", "Store!"] {
            let id = format!("{application}:apps/Deployment:shop/checkout");
            assert_eq!(told(&[], &[(TRACKING_ID, &id)]), Vec::<String>::new(), "{id}");
        }
    }

    #[test]
    fn a_kind_is_read_by_its_name() {
        for kind in [ToolKind::Application, ToolKind::Kustomization, ToolKind::HelmRelease] {
            assert_eq!(ToolKind::read(kind.as_str()), Some(kind));
        }
        assert_eq!(ToolKind::read("Deployment"), None);
    }
}
