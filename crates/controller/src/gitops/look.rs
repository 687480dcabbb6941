//! Reading the objects of GitOps tools, raw: of each only a few fields of one version count.

use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use snapback_core::gitops::{
    Application, HelmReleaseLook, Kustomization, Look, REQUESTED_AT, Tool, ToolKind, leaves_alone, set_leaves_alone,
};
use snapback_core::workload::Kind;

use crate::FIELD_MANAGER;
use crate::config::GitOpsConfig;
use crate::error::{Error, report};
use crate::workload::REQUEST_TIMEOUT;

/// Looks at a tool that may deliver `workload`: kind, namespace and name.
pub async fn look(client: &Client, config: &GitOpsConfig, tool: &Tool, workload: (Kind, &str, &str)) -> Look {
    let (is_on, switch) = match tool.kind {
        ToolKind::Application | ToolKind::PossibleApplication => (config.argocd.enabled, "gitops.argocd.enabled"),
        ToolKind::Kustomization | ToolKind::HelmRelease => (config.flux.enabled, "gitops.flux.enabled"),
    };
    if !is_on {
        return Look::Forbidden(format!("{switch} is off in the operator's chart"));
    }
    let raw = match get(&tools(client, config, tool), &tool.name).await {
        Ok(Some(raw)) => raw,
        Ok(None) => return Look::Absent,
        Err(Got::Forbidden(why)) => return Look::Forbidden(why),
        Err(Got::Unknown(why)) => return Look::Unknown(why),
    };
    match tool.kind {
        ToolKind::Application | ToolKind::PossibleApplication => {
            let mut application = Application::read(&raw, workload);
            match is_left_alone(client, config, tool, &application).await {
                Ok(true) => application.parent = None,
                Ok(false) => {}
                Err(why) => return Look::Unknown(why),
            }
            Look::Application(application)
        }
        ToolKind::Kustomization => Look::Kustomization(Kustomization::read(&raw, workload)),
        ToolKind::HelmRelease => Look::HelmRelease(HelmReleaseLook::read(&raw)),
    }
}

/// Whether the parent of an Application leaves the field of it alone that a hold switches off.
async fn is_left_alone(
    client: &Client,
    config: &GitOpsConfig,
    tool: &Tool,
    application: &Application,
) -> Result<bool, String> {
    let parent = application.parent.as_deref().and_then(|parent| parent.split_once(' '));
    let own = namespace(config, tool);
    let found = match parent {
        Some(("ApplicationSet", set)) => get(&dynamic(client, "ApplicationSet", &own), set).await,
        Some(("Application", above)) => {
            // Outside Argo CD's own namespace: `<namespace>_<name>`.
            let (place, above) = above.split_once('_').unwrap_or((&config.argocd.namespace, above));
            get(&dynamic(client, "Application", place), above).await
        }
        _ => return Ok(false),
    };
    match found {
        Ok(Some(set)) if set["kind"] == "ApplicationSet" => Ok(set_leaves_alone(&set)),
        Ok(Some(above)) => Ok(leaves_alone(&above, (&own, &tool.name))),
        Ok(None) | Err(Got::Forbidden(_)) => Ok(false),
        Err(Got::Unknown(why)) => Err(why),
    }
}

/// Asks a Kustomization to reconcile now, once for each `token`.
///
/// # Errors
/// The API server's. Without it the Kustomization comes at its interval.
pub async fn request(client: &Client, config: &GitOpsConfig, tool: &Tool, token: &str) -> Result<(), Error> {
    let patch = Patch::Merge(json!({"metadata": {"annotations": {REQUESTED_AT: token}}}));
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    crate::timed("the request to reconcile", tools(client, config, tool).patch(&tool.name, &params, &patch))
        .await
        .map(drop)
}

/// The objects of a tool's kind, in its namespace.
pub(super) fn tools(client: &Client, config: &GitOpsConfig, tool: &Tool) -> Api<DynamicObject> {
    dynamic(client, tool.kind.as_str(), &namespace(config, tool))
}

fn namespace(config: &GitOpsConfig, tool: &Tool) -> String {
    tool.namespace.clone().unwrap_or_else(|| config.argocd.namespace.clone())
}

fn dynamic(client: &Client, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let (group, version, plural) = match kind {
        "Kustomization" => ("kustomize.toolkit.fluxcd.io", "v1", "kustomizations"),
        "HelmRelease" => ("helm.toolkit.fluxcd.io", "v2", "helmreleases"),
        "ApplicationSet" => ("argoproj.io", "v1alpha1", "applicationsets"),
        _ => ("argoproj.io", "v1alpha1", "applications"),
    };
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
    Api::namespaced_with(client.clone(), namespace, &resource)
}

enum Got {
    Forbidden(String),
    Unknown(String),
}

async fn get(api: &Api<DynamicObject>, name: &str) -> Result<Option<Value>, Got> {
    match tokio::time::timeout(REQUEST_TIMEOUT, api.get_opt(name)).await {
        Ok(Ok(found)) => Ok(found.and_then(|found| serde_json::to_value(found).ok())),
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
            Err(Got::Forbidden(snapback_api::conditions::cut(&status.message, 512)))
        }
        Ok(Err(error)) => Err(Got::Unknown(report(&error))),
        Err(_) => Err(Got::Unknown(format!("no answer within {REQUEST_TIMEOUT:?}"))),
    }
}
