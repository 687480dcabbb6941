//! Making Jobs of the templates that a namespace offers, and looking how they fare.

use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::{Api, Client, Resource};
use serde_json::Value;
use snapback_core::jobs::{JobLook, JobTemplate, NewJob, is_name};

use super::observe::REQUEST_TIMEOUT;
use crate::FIELD_MANAGER;

/// What the administrator has to do when we have no right.
const NO_RIGHT: &str = "the operator may not create Jobs: set jobs.enabled in the chart";

/// How the creation of a Job went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// It is there.
    Created,
    /// There is one of that name. Look whose it is.
    Exists,
    /// It cannot be made; the text says what to do.
    Refused(String),
    /// Nobody knows. Look again.
    Unknown(String),
}

/// Makes a Job of the CronJob or Job named `template`. A dry run goes through permissions, admission and quota, and
/// changes nothing.
pub async fn start(client: &Client, template: &str, new: &NewJob, dry_run: bool) -> Started {
    let template = match read(client, &new.namespace, template).await {
        Ok(template) => template,
        Err(not_started) => return not_started,
    };
    let job: DynamicObject = match serde_json::from_value(template.job(new)) {
        Ok(job) => job,
        Err(error) => return Started::Refused(error.to_string()),
    };
    let params = PostParams { dry_run, field_manager: Some(FIELD_MANAGER.to_owned()) };
    match tokio::time::timeout(REQUEST_TIMEOUT, api::<Job>(client, &new.namespace).create(&params, &job)).await {
        Ok(Ok(_)) => Started::Created,
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => Started::Exists,
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 400 | 403 | 404 | 422) => {
            Started::Refused(said(&status.message))
        }
        Ok(Err(error)) => Started::Unknown(crate::error::report(&error)),
        Err(_) => Started::Unknown(format!("no answer within {REQUEST_TIMEOUT:?}")),
    }
}

/// How a Job fares that should belong to the `Rollback` with this UID. `None`: nobody knows, look again.
pub async fn look_at_job(client: &Client, namespace: &str, job: &str, rollback: &str) -> Option<JobLook> {
    if !is_name(job) {
        return Some(JobLook::NotThere);
    }
    match tokio::time::timeout(REQUEST_TIMEOUT, api::<Job>(client, namespace).get_opt(job)).await {
        Ok(Ok(None)) => Some(JobLook::NotThere),
        Ok(Ok(Some(job))) => Some(JobLook::read(&serde_json::to_value(job).unwrap_or_default(), rollback)),
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => Some(JobLook::Unreadable(said(&status.message))),
        Ok(Err(_)) | Err(_) => None,
    }
}

async fn read(client: &Client, namespace: &str, name: &str) -> Result<JobTemplate, Started> {
    if let Some(cron_job) = get::<CronJob>(client, namespace, name).await? {
        return JobTemplate::of_cron_job(&cron_job).map_err(Started::Refused);
    }
    match get::<Job>(client, namespace, name).await? {
        Some(job) => JobTemplate::of_job(&job).map_err(Started::Refused),
        None => Err(Started::Refused(format!("there is no CronJob or Job {name} in namespace {namespace}: create it"))),
    }
}

async fn get<K>(client: &Client, namespace: &str, name: &str) -> Result<Option<Value>, Started>
where
    K: Resource<DynamicType = ()>,
{
    if !is_name(name) {
        return Ok(None);
    }
    match tokio::time::timeout(REQUEST_TIMEOUT, api::<K>(client, namespace).get_opt(name)).await {
        Ok(Ok(found)) => Ok(found.and_then(|object| serde_json::to_value(object).ok())),
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => Err(Started::Refused(said(&status.message))),
        Ok(Err(error)) => Err(Started::Unknown(crate::error::report(&error))),
        Err(_) => Err(Started::Unknown(format!("no answer within {REQUEST_TIMEOUT:?}"))),
    }
}

/// Raw, so that fields that are newer than our types survive.
fn api<K: Resource<DynamicType = ()>>(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<K>(&()))
}

/// The API server's words; where they are about our rights, what to do about it. A full quota is forbidden as well.
fn said(message: &str) -> String {
    if message.contains("cannot get resource") || message.contains("cannot create resource") {
        return NO_RIGHT.to_owned();
    }
    snapback_api::conditions::cut(message, 400)
}
