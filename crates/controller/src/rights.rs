//! Rights that the operator asked for and does not hold, by the words in which the API server refuses.
//!
//! Most of what needs a right is retried, or done without: whoever runs the operator must not have to guess which one is
//! missing.

use std::sync::Arc;

use axum::http::{Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;

use crate::telemetry::{Health, Metrics};

/// A verb on a resource, as `kubectl auth can-i` takes them: `list` and `deployments.apps`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Right {
    /// Such as `list`.
    pub verb: String,
    /// With its subresource and its group, such as `rollbacks/status.snapback.dev`.
    pub resource: String,
}

/// The same client, which notes every right that it is refused.
pub(crate) fn noted(client: Client, metrics: &Arc<Metrics>, health: &Arc<Health>) -> Client {
    let namespace = client.default_namespace().to_owned();
    let (metrics, health) = (Arc::clone(metrics), Arc::clone(health));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (inner, metrics, health) = (client.clone(), Arc::clone(&metrics), Arc::clone(&health));
        async move {
            let answer = inner.send(request).await?;
            if answer.status() != StatusCode::FORBIDDEN {
                return Ok(answer);
            }
            let (head, body) = answer.into_parts();
            let said = body.collect_bytes().await?;
            if let Some(right) = refused(&String::from_utf8_lossy(&said)) {
                metrics.refused(&right);
                if health.lacks(&right) {
                    let Right { verb, resource } = &right;
                    tracing::warn!(verb, resource, "the operator's role does not hold a right that it asked for");
                }
            }
            Ok::<_, kube::Error>(Response::from_parts(head, Body::from(said)))
        }
    });
    Client::new(service, namespace)
}

/// The right in the words of the API server's authorizer: `User "x" cannot list resource "pods" in API group ""`. Quotas and
/// admission refuse with the same code and other words.
fn refused(said: &str) -> Option<Right> {
    // In JSON, the quotes are escaped.
    let said = said.replace("\\\"", "\"");
    let (_, after) = said.split_once("\" cannot ")?;
    let (verb, after) = after.split_once(" resource \"")?;
    let (resource, after) = after.split_once("\" in API group \"")?;
    let (group, _) = after.split_once('"')?;
    let resource = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
    Some(Right { verb: verb.to_owned(), resource })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(verb: &str, resource: &str) -> Right {
        Right { verb: verb.to_owned(), resource: resource.to_owned() }
    }

    #[test]
    fn the_right_is_read_from_the_authorizers_words() {
        let said = |words: &str| refused(&serde_json::json!({"kind": "Status", "message": words}).to_string());
        let who = "User \"system:serviceaccount:snapback-system:snapback\"";
        let words = format!(
            "pods is forbidden: {who} cannot list resource \"pods\" in API group \"\" in the namespace \"shop\""
        );
        assert_eq!(said(&words), Some(right("list", "pods")));
        let words = format!(
            "deployments.apps is forbidden: {who} cannot watch resource \"deployments\" in API group \"apps\" at the cluster scope"
        );
        assert_eq!(said(&words), Some(right("watch", "deployments.apps")));
        let words = format!(
            "rollbacks.snapback.dev \"x\" is forbidden: {who} cannot update resource \"rollbacks/status\" in API group \
             \"snapback.dev\" in the namespace \"shop\""
        );
        assert_eq!(said(&words), Some(right("update", "rollbacks/status.snapback.dev")));
    }

    #[test]
    fn what_a_quota_or_admission_refuses_is_no_matter_of_rights() {
        for words in [
            "pods \"x\" is forbidden: exceeded quota: none, requested: pods=1, used: pods=1, limited: pods=1",
            "admission webhook \"policy.example\" denied the request: images cannot come from \"docker.io\"",
            "deployments.apps \"checkout\" is forbidden: ValidatingAdmissionPolicy 'x' denied request: no",
            "",
        ] {
            assert_eq!(refused(&serde_json::json!({"message": words}).to_string()), None, "{words}");
        }
    }
}
