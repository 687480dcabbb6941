//! The one change we make to a workload.

use json_patch::{Patch as Operations, PatchOperation, ReplaceOperation, TestOperation, jsonptr::PointerBuf};
use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::Value;
use snapback_core::fingerprint::{Fingerprint, without_hash_label};
use snapback_core::gitops::Hold;
use snapback_core::rollback::RAISED;
use snapback_core::watch::RevisionRef;

use super::observe::{Live, REQUEST_TIMEOUT};
use super::surge::MAX_SURGE;
use super::{ConfigRules, PutBack, configuration, snapshot};
use crate::FIELD_MANAGER;

/// How the API server took the undo.
#[derive(Debug)]
pub enum Undone {
    /// It is in effect.
    Accepted,
    /// The template or the workload is not the one that was judged any more. Look again.
    Outdated,
    /// It was refused for another reason (admission, quota, permission).
    Refused(String),
    /// Nobody knows whether it took effect. Look again.
    Unknown(String),
}

/// What goes along with an undo, in the same patch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Along<'a> {
    /// The workload's own `maxSurge`, if that is to be raised.
    pub surge: Option<&'a Value>,
    /// The hold whose label is put on.
    pub hold: Option<&'a Hold>,
}

/// Puts `template` into the workload, provided that it is the very workload and the very template that `live` read.
/// A dry run goes through admission and quota, and changes nothing.
///
/// The template is the good revision's as [`put_back`] gives it, raw: typed objects would drop fields that are newer
/// than this program. A `test` on `resourceVersion` would fail with every status update of the rollout; one on the
/// template says exactly what is meant. That on `generation` is for an undo that arrives late: after the bad template was
/// undone and applied again, the template is the same, and the generation is not.
pub async fn undo(
    client: &Client,
    namespace: &str,
    name: &str,
    live: &Live,
    template: Value,
    along: Along<'_>,
    dry_run: bool,
) -> Undone {
    let at = |tokens: [&str; 2]| PointerBuf::from_tokens(tokens);
    let uid = Value::String(live.workload.uid.as_str().to_owned());
    let mut operations = vec![
        PatchOperation::Test(TestOperation { path: at(["metadata", "uid"]), value: uid }),
        PatchOperation::Test(TestOperation {
            path: at(["metadata", "generation"]),
            value: live.workload.generation.into(),
        }),
        PatchOperation::Test(TestOperation { path: at(["spec", "template"]), value: live.template.clone() }),
        PatchOperation::Replace(ReplaceOperation { path: at(["spec", "template"]), value: template }),
    ];
    // In the same patch: nobody ever sees the one without the other.
    if let Some(original) = along.surge {
        let path = PointerBuf::from_tokens(MAX_SURGE);
        let raised = Value::String(RAISED.to_owned());
        operations.push(PatchOperation::Test(TestOperation { path: path.clone(), value: original.clone() }));
        operations.push(PatchOperation::Replace(ReplaceOperation { path, value: raised }));
    }
    operations.extend(crate::gitops::labels(along.hold));
    let workloads = super::raw_api(client, namespace, live.workload.kind);
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), dry_run, ..PatchParams::default() };
    let patch = Patch::Json::<()>(Operations(operations));
    match tokio::time::timeout(REQUEST_TIMEOUT, workloads.patch(name, &params, &patch)).await {
        Ok(Ok(_)) => Undone::Accepted,
        // A failed `test` is a 422 without causes; admission refuses with a message of its own.
        Ok(Err(kube::Error::Api(status))) if status.code == 422 && status.message.contains("rejected our request") => {
            Undone::Outdated
        }
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Undone::Outdated,
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 400 | 403 | 422) => {
            Undone::Refused(snapback_api::conditions::cut(&status.message, 512))
        }
        Ok(Err(error)) => Undone::Unknown(crate::error::report(&error)),
        Err(_) => Undone::Unknown(format!("no answer within {REQUEST_TIMEOUT:?}")),
    }
}

/// The template that puts a revision back, and what becomes of its configuration.
pub async fn put_back(
    client: &Client,
    namespace: &str,
    live: &Live,
    good: &RevisionRef,
    rules: ConfigRules,
) -> Option<PutBack> {
    let template = good_template(client, namespace, live, good).await?;
    let known = good.config.as_deref().unwrap_or_default();
    Some(configuration::restored(client, namespace, live, &template, known, rules).await)
}

/// The raw template of a revision, less the hash label: that of its own object, else the copy that was kept.
async fn good_template(client: &Client, namespace: &str, live: &Live, good: &RevisionRef) -> Option<Value> {
    if let Some(template) = template_of(live, &good.fingerprint) {
        return Some(template);
    }
    if good.snapshot.is_empty() {
        return None;
    }
    snapshot::read(client, namespace, &good.snapshot, &good.fingerprint).await
}

/// The raw template of a revision that is live or that there is an object of.
pub fn template_of(live: &Live, fingerprint: &Fingerprint) -> Option<Value> {
    if live.workload.live == *fingerprint {
        return Some(live.template.clone());
    }
    let revision = live.workload.revision(fingerprint)?;
    let (_, raw) = live.templates.iter().find(|(uid, _)| *uid == revision.uid)?;
    let template = without_hash_label(raw);
    (Fingerprint::of_template(&template) == *fingerprint).then_some(template)
}
