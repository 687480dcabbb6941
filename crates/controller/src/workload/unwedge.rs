//! Deleting a pod that keeps the good revision away.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Client};
use snapback_core::rollback::Stuck;
use snapback_core::workload::Workload;

use crate::error::Error;

/// Deletes the pod, provided that it is the very pod and in the very state that was looked at: one that has become ready
/// meanwhile stays. Whether it went, the next look tells.
pub async fn delete_pod(client: &Client, namespace: &str, workload: &Workload, pod: &Stuck) -> Result<(), Error> {
    let Some(seen) = workload.pods.iter().find(|seen| seen.uid == pod.uid) else { return Ok(()) };
    let preconditions =
        Preconditions { uid: Some(pod.uid.as_str().to_owned()), resource_version: Some(seen.version.clone()) };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    crate::timed("deleting a stuck pod", pods.delete(&pod.name, &params)).await.map(drop)
}
