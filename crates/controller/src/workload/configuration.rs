//! The ConfigMaps of the known good revision: remembering what was in them, keeping copies, and putting them back.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;
use snapback_api::v1alpha1::TARGET_LABEL;
use snapback_core::configuration::{
    Configured, Found, MOST_CONFIG_MAPS, Restoration, config_maps, copy_name, digest, original, restore,
};

use super::Live;
use crate::error::Error;

/// Remembers what is in the ConfigMaps that a template names. Those that are not there are left out: the template may
/// mark them optional.
///
/// # Errors
/// The API server's, such as the lack of a right.
pub async fn remember(client: &Client, namespace: &str, template: &Value) -> Result<Vec<Configured>, Error> {
    let mut configured: Vec<Configured> = Vec::new();
    for named in config_maps(template).into_iter().take(MOST_CONFIG_MAPS) {
        let name = original(&named).to_owned();
        if let Some(content) = read(client, namespace, &named).await?
            && configured.iter().all(|known| known.name != name)
        {
            configured.push(Configured { name, digest: digest(&content), copy: String::new() });
        }
    }
    Ok(configured)
}

/// Keeps copies of what was remembered, as immutable ConfigMaps that the workload owns, and removes those that neither the
/// known good revision nor the live template needs any more. One whose content has changed since is not kept.
///
/// # Errors
/// The API server's, such as the lack of a right.
pub async fn keep(
    client: &Client,
    namespace: &str,
    target: &str,
    live: &Live,
    template: &Value,
    configured: &mut [Configured],
) -> Result<(), Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let (uid, label) = (live.workload.uid.as_str(), target.chars().take(63).collect::<String>());
    for one in configured.iter_mut() {
        let named = config_maps(template).into_iter().find(|named| original(named) == one.name);
        let Some(content) = read(client, namespace, named.as_deref().unwrap_or(&one.name)).await? else { continue };
        if digest(&content) != one.digest {
            continue;
        }
        let copy = copy_name(&one.name, &one.digest);
        let part = |key: &str| serde_json::from_value(content[key].clone()).unwrap_or_default();
        let object = ConfigMap {
            metadata: ObjectMeta {
                name: Some(copy.clone()),
                namespace: Some(namespace.to_owned()),
                labels: Some(BTreeMap::from([(TARGET_LABEL.to_owned(), label.clone())])),
                owner_references: Some(vec![OwnerReference {
                    api_version: "apps/v1".to_owned(),
                    kind: live.workload.kind.as_str().to_owned(),
                    name: target.to_owned(),
                    uid: uid.to_owned(),
                    ..OwnerReference::default()
                }]),
                ..ObjectMeta::default()
            },
            data: part("data"),
            binary_data: serde_json::from_value(content["binaryData"].clone()).unwrap_or_default(),
            immutable: Some(true),
        };
        match crate::timed("the copy of a ConfigMap", api.create(&PostParams::default(), &object)).await {
            // Its name says what is in it.
            Ok(_) | Err(Error::Conflict(_)) => one.copy = copy,
            Err(error) => return Err(error),
        }
    }
    forget(&api, live, &label, configured).await
}

async fn forget(api: &Api<ConfigMap>, live: &Live, label: &str, configured: &[Configured]) -> Result<(), Error> {
    let needed = |name: &str| {
        configured.iter().any(|one| one.copy == name) || config_maps(&live.template).iter().any(|one| one == name)
    };
    let params = ListParams::default().labels(&format!("{TARGET_LABEL}={label}"));
    let all = crate::timed("the copies of ConfigMaps", api.list_metadata(&params)).await?;
    for old in all.items {
        let name = old.name_any();
        let ours = old.owner_references().iter().any(|owner| owner.uid == live.workload.uid.as_str());
        if ours && original(&name) != name && !needed(&name) {
            // Left over, it does no harm, and the next one that is kept removes it.
            _ = crate::timed("an old copy of a ConfigMap", api.delete(&name, &DeleteParams::default())).await;
        }
    }
    Ok(())
}

/// The template that puts a revision back with its configuration, and what became of that. What cannot be read now keeps
/// its name: an undo must not wait for it.
pub async fn restored(
    client: &Client,
    namespace: &str,
    template: &Value,
    configured: &[Configured],
    use_copies: bool,
) -> (Value, Restoration) {
    let mut found = BTreeMap::new();
    for one in configured {
        let Ok(now) = read(client, namespace, &one.name).await else { continue };
        let now = now.as_ref().map(digest);
        let changed = now.as_deref() != Some(one.digest.as_str());
        let copy = changed
            && use_copies
            && !one.copy.is_empty()
            && matches!(read(client, namespace, &one.copy).await, Ok(Some(content)) if digest(&content) == one.digest);
        found.insert(one.name.clone(), Found { now, copy });
    }
    restore(template, configured, |name| found.get(name).cloned())
}

/// Raw, so that nothing is lost or added.
async fn read(client: &Client, namespace: &str, name: &str) -> Result<Option<Value>, Error> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<ConfigMap>(&()));
    let object = crate::timed("a ConfigMap", api.get_opt(name)).await?;
    Ok(object.map(|object| object.data))
}
