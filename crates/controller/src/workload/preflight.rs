//! Would going back work? Looked at long before it is needed, and once more right before.

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret, ServiceAccount};
use kube::api::Api;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use snapback_core::gitops::Deliverer;
use snapback_core::jobs::{NewJob, Purpose, is_name, job_name};
use snapback_core::readiness::Readiness;
use snapback_core::watch::RevisionRef;
use snapback_core::workload::{Reference, ReferenceKind, references};

use super::{Along, ConfigRules, Live, PutBack, Started, Undone, start, undo};

/// Most references that are looked up.
const MOST_REFERENCES: usize = 64;

/// Looks whether the revision could be put back: its template is there, what it refers to exists, and the API server
/// would take the very patch (a dry run, through admission and quota). Where a Job of the template `job` has to take a
/// change of data back before, whether that could be made.
///
/// What may not be read is not counted as missing: Secrets are looked at only where the administrator allows it.
pub async fn preflight(
    client: &Client,
    namespace: &str,
    name: &str,
    live: &Live,
    good: &RevisionRef,
    rules: ConfigRules,
    job: Option<&str>,
) -> Readiness {
    let controller = live.workload.delivery.by.iter().find_map(|one| match one {
        Deliverer::Controller(controller) => Some(controller),
        Deliverer::Tool(_) | Deliverer::Helm(_) => None,
    });
    if let Some(controller) = controller {
        return Readiness::controlled(good, controller);
    }
    let Some(PutBack { template, .. }) = super::put_back(client, namespace, live, good, rules).await else {
        return Readiness::gone(good, live.workload.kind);
    };
    let mut missing = Vec::new();
    for reference in references(&template).into_iter().take(MOST_REFERENCES) {
        if is_missing(client, namespace, &reference).await {
            missing.push(reference);
        }
    }
    if !missing.is_empty() {
        return Readiness::missing(good, &missing);
    }
    if live.workload.live != good.fingerprint
        && let Undone::Refused(why) = undo(client, namespace, name, live, template, Along::default(), true).await
    {
        return Readiness::refused(good, &why);
    }
    if let Some(job) = job.filter(|_| live.workload.live != good.fingerprint)
        && let Some(why) = cannot_run(client, namespace, name, job, Purpose::Migration).await
    {
        return Readiness::no_job(&why);
    }
    Readiness::ready(good)
}

/// Why no Job could be made of a template: the template is not there or not meant for it, or the API server would
/// refuse the very Job (a dry run).
pub async fn cannot_run(
    client: &Client,
    namespace: &str,
    target: &str,
    template: &str,
    purpose: Purpose,
) -> Option<String> {
    let new = NewJob {
        name: job_name(target, "dry-run", purpose),
        namespace: namespace.to_owned(),
        owner: None,
        env: Vec::new(),
        seconds: 1,
    };
    match start(client, template, &new, true).await {
        Started::Refused(why) => Some(why),
        Started::Created | Started::Exists | Started::Unknown(_) => None,
    }
}

async fn is_missing(client: &Client, namespace: &str, reference: &Reference) -> bool {
    match reference.kind {
        ReferenceKind::ConfigMap => absent::<ConfigMap>(client, namespace, &reference.name).await,
        ReferenceKind::Secret => absent::<Secret>(client, namespace, &reference.name).await,
        ReferenceKind::ServiceAccount => absent::<ServiceAccount>(client, namespace, &reference.name).await,
        ReferenceKind::PersistentVolumeClaim => {
            absent::<PersistentVolumeClaim>(client, namespace, &reference.name).await
        }
    }
}

/// Whether the API server says that there is none, or no object can have such a name. Only metadata is asked for.
async fn absent<K>(client: &Client, namespace: &str, name: &str) -> bool
where
    K: Resource<Scope = kube::core::NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
    K::DynamicType: Default,
{
    if !is_name(name) {
        return true;
    }
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    matches!(crate::timed("a referenced object", api.get_metadata_opt(name)).await, Ok(None))
}
