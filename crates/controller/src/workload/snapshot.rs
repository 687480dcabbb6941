//! A copy of the known good template, so that `revisionHistoryLimit` and pruned revisions do not matter.
//!
//! It is a ControllerRevision, Kubernetes' own kind for this, owned by the workload and so deleted with it. One a
//! target: an older one goes once it is written that the newer one is the known good one's.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use snapback_api::v1alpha1::{TARGET_LABEL, label_value};
use snapback_core::fingerprint::Fingerprint;
use snapback_core::jobs::is_name;
use snapback_core::watch::Kept;
use snapback_core::workload::Kind;

use crate::error::Error;

/// The name of the copy of a template: the same for everybody who keeps it.
pub fn name(target: &str, uid: &str, fingerprint: &Fingerprint) -> String {
    let uid: String = uid.chars().filter(char::is_ascii_alphanumeric).take(5).collect();
    let target: String = target.chars().take(40).collect();
    format!("{}-{uid}-{}", target.trim_end_matches(['-', '.']), fingerprint.short())
}

/// Keeps a copy of a template. Gives its name.
pub async fn keep(
    client: &Client,
    namespace: &str,
    (kind, target): (Kind, &str),
    uid: &str,
    fingerprint: &Fingerprint,
    template: &Value,
) -> Result<String, Error> {
    let revisions: Api<ControllerRevision> = Api::namespaced(client.clone(), namespace);
    let name = name(target, uid, fingerprint);
    let label = label_value(target);
    let copy = ControllerRevision {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.to_owned()),
            labels: Some([(TARGET_LABEL.to_owned(), label.clone())].into()),
            // Not as a controller, and above without the labels of the pods: the controllers of StatefulSets and
            // DaemonSets take what has those for their own history, and prune it.
            owner_references: Some(vec![OwnerReference {
                api_version: "apps/v1".to_owned(),
                kind: kind.as_str().to_owned(),
                name: target.to_owned(),
                uid: uid.to_owned(),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(json!({"spec": {"template": template}}))),
        revision: 1,
    };
    match crate::timed("the copy of the template", revisions.create(&PostParams::default(), &copy)).await {
        Ok(_) | Err(Error::Conflict(_)) => Ok(name),
        Err(error) => Err(error),
    }
}

/// Removes the copies of other templates than the one of this name. Left over, they do no harm, and the next time removes
/// them.
///
/// # Errors
/// They cannot be listed.
pub async fn forget(client: &Client, namespace: &str, target: &str, uid: &str, keep: &str) -> Result<(), Error> {
    let revisions: Api<ControllerRevision> = Api::namespaced(client.clone(), namespace);
    let all = of_target(client, namespace, target, uid).await?;
    for old in all.iter().map(ResourceExt::name_any).filter(|other| other != keep) {
        _ = crate::timed("an old copy of a template", revisions.delete(&old, &DeleteParams::default())).await;
    }
    Ok(())
}

/// The copies of a workload's templates, for those who do not know which of them is needed.
///
/// # Errors
/// They cannot be listed.
pub async fn all(client: &Client, namespace: &str, target: &str, uid: &str) -> Result<Vec<Kept>, Error> {
    let copies = of_target(client, namespace, target, uid).await?;
    let kept = copies.into_iter().filter_map(|copy| {
        let (name, made) = (copy.name_any(), copy.metadata.creation_timestamp.as_ref()?.0);
        let fingerprint = Fingerprint::of_template(copy.data?.0.pointer("/spec/template")?);
        Some(Kept { fingerprint, name, made }).filter(|kept| is_name(&kept.name))
    });
    Ok(kept.collect())
}

async fn of_target(
    client: &Client,
    namespace: &str,
    target: &str,
    uid: &str,
) -> Result<Vec<ControllerRevision>, Error> {
    let revisions: Api<ControllerRevision> = Api::namespaced(client.clone(), namespace);
    let params = ListParams::default().labels(&format!("{TARGET_LABEL}={}", label_value(target)));
    let mut all = crate::timed("the copies of templates", revisions.list(&params)).await?.items;
    all.retain(|one| one.owner_references().iter().any(|owner| owner.uid == uid));
    Ok(all)
}

/// The template of a copy, if it is there and is what it should be.
pub async fn read(client: &Client, namespace: &str, name: &str, fingerprint: &Fingerprint) -> Option<Value> {
    if !is_name(name) {
        return None;
    }
    let revisions: Api<ControllerRevision> = Api::namespaced(client.clone(), namespace);
    let copy = crate::timed("the copy of the template", revisions.get_opt(name)).await.ok()??;
    let template = copy.data?.0.pointer("/spec/template")?.clone();
    (Fingerprint::of_template(&template) == *fingerprint).then_some(template)
}
