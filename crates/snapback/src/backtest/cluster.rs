//! The rollouts that the cluster remembers: one per revision, as long as its ReplicaSet is kept.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::ListParams;
use kube::config::KubeConfigOptions;
use kube::core::PartialObjectMeta;
use kube::{Api, Client, Config, ResourceExt};
use snapback_api::convert;
use snapback_controller::workload::{Observed, observe};
use snapback_core::fingerprint::Fingerprint;
use snapback_core::workload::{Kind, Revision, Workload};

use super::given::Given;
use super::subject::Subject;

/// What the cluster knows of the targets.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// Oldest first.
    pub(crate) rollouts: Vec<Given>,
    /// The fingerprints of the ReplicaSets that still exist, by workload.
    pub(crate) known: BTreeMap<String, BTreeMap<String, Fingerprint>>,
    /// What it cannot remember.
    pub(crate) notes: Vec<String>,
}

/// Connects to the cluster of a context, or to the current one.
///
/// # Errors
/// There is no such cluster in the kubeconfig.
pub(crate) async fn connect(context: Option<&str>) -> anyhow::Result<(Client, String)> {
    let config = match context {
        None => Config::infer().await.context("cannot find a cluster: neither a kubeconfig nor a service account")?,
        Some(name) => {
            let options = KubeConfigOptions { context: Some(name.to_owned()), ..KubeConfigOptions::default() };
            Config::from_kubeconfig(&options).await.with_context(|| format!("--context {name}"))?
        }
    };
    let namespace = config.default_namespace.clone();
    Ok((Client::try_from(config)?, namespace))
}

/// Reads the rollouts of a policy's targets since `from`.
///
/// # Errors
/// The cluster cannot be read, or the target does not exist.
pub(crate) async fn remembered(
    client: &Client,
    namespace: &str,
    subject: &Subject,
    from: Timestamp,
) -> anyhow::Result<Remembered> {
    let mut remembered = Remembered::default();
    for name in targets(client, namespace, subject).await? {
        let Observed::Live(live) = observe(client, namespace, Kind::Deployment, &name).await? else {
            bail!("there is no Deployment {name} in the namespace {namespace}");
        };
        let workload = &live.workload;
        remembered.rollouts.extend(rollouts(workload).into_iter().filter(|one| one.at >= from));
        let sets = workload.revisions.iter().map(|one| (one.name.clone(), one.fingerprint.clone()));
        remembered.known.insert(name.clone(), sets.collect());
        if workload.revisions.iter().all(|one| one.created >= from) {
            remembered.notes.push(format!(
                "the cluster keeps {} ReplicaSets of {name}, all of them newer than --since; older rollouts are not \
                 known (revisionHistoryLimit is {})",
                workload.revisions.len(),
                workload.revision_history_limit
            ));
        }
    }
    remembered.rollouts.sort_by(|a, b| (a.at, &a.workload).cmp(&(b.at, &b.workload)));
    Ok(remembered)
}

async fn targets(client: &Client, namespace: &str, subject: &Subject) -> anyhow::Result<Vec<String>> {
    if let Some(target) = &subject.target {
        return Ok(vec![target.clone()]);
    }
    let Some(selector) = subject.selector.as_ref().map(convert::selector) else { return Ok(Vec::new()) };
    let api: Api<PartialObjectMeta<Deployment>> = Api::namespaced(client.clone(), namespace);
    let found = api.list_metadata(&ListParams::default().labels_from(&selector)).await;
    let found = found.with_context(|| format!("listing the Deployments of the namespace {namespace}"))?;
    let names: Vec<String> = found.items.iter().map(ResourceExt::name_any).collect();
    if names.is_empty() {
        bail!("no Deployment in the namespace {namespace} has the labels of spec.selector");
    }
    Ok(names)
}

/// A rollout per revision but the first, at the time when its first ReplicaSet was made. A restart is none: it makes a
/// ReplicaSet of the same template.
fn rollouts(workload: &Workload) -> Vec<Given> {
    let mut sets: Vec<&Revision> = workload.revisions.iter().collect();
    sets.sort_by(|a, b| (a.created, a.number, &a.name).cmp(&(b.created, b.number, &b.name)));
    let mut seen = BTreeSet::new();
    let first = sets.into_iter().filter(|one| seen.insert(one.fingerprint.clone()));
    let given = first.skip(1).map(|one| Given {
        workload: workload.name.clone(),
        at: one.created,
        until: None,
        completed: None,
        replica_set: Some(one.name.clone()),
        label: None,
        fault_from: None,
    });
    given.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};
    use snapback_fake_api::FakeApi;

    use super::*;
    use crate::backtest::subject;

    const START: &str = "2026-01-05T12:00:00Z";

    fn subject(spec: &str) -> Subject {
        let text = format!(
            "apiVersion: snapback.dev/v1alpha1\nkind: RollbackPolicy\nmetadata: {{name: shop}}\nspec: {spec}\n"
        );
        subject::read(&text).unwrap()
    }

    fn deployment(name: &str, image: &str) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": "shop", "labels": {"team": "payments"}},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": image}]}
            }}
        })
    }

    /// A cluster in which `checkout` got a second and a third image, and was restarted in between.
    fn cluster() -> FakeApi {
        let now = Arc::new(std::sync::Mutex::new(START.parse::<Timestamp>().unwrap()));
        let clock = Arc::clone(&now);
        let api = FakeApi::new(Arc::new(move || *clock.lock().unwrap()));
        let restarted = |mut object: Value| {
            object["spec"]["template"]["metadata"]["annotations"] =
                json!({"kubectl.kubernetes.io/restartedAt": "2026-01-05T13:30:00Z"});
            object
        };
        let steps = [
            deployment("checkout", "checkout:v1"),
            deployment("checkout", "checkout:v2"),
            restarted(deployment("checkout", "checkout:v2")),
            deployment("checkout", "checkout:v3"),
        ];
        for object in steps {
            api.apply("apps/v1", "deployments", &object);
            *now.lock().unwrap() += jiff::SignedDuration::from_hours(1);
        }
        api
    }

    #[tokio::test]
    async fn each_template_but_the_first_is_a_rollout_and_a_restart_is_none() {
        let api = cluster();
        let by_name = subject("{targetRef: {kind: Deployment, name: checkout}}");
        let found = remembered(&api.client(), "shop", &by_name, Timestamp::MIN).await.unwrap();
        let at: Vec<String> = found.rollouts.iter().map(|one| one.at.to_string()).collect();
        assert_eq!(at, ["2026-01-05T13:00:00Z", "2026-01-05T15:00:00Z"]);
        assert!(found.rollouts.iter().all(|one| one.replica_set.is_some()));
        assert_eq!(found.known["checkout"].len(), 4, "the ReplicaSet of the restart is known as one of its revision");
    }

    #[tokio::test]
    async fn what_is_older_is_left_out_and_that_the_cluster_forgets_is_said() {
        let api = cluster();
        let by_label = subject("{selector: {matchLabels: {team: payments}}}");
        let later = "2026-01-05T14:30:00Z".parse().unwrap();
        let found = remembered(&api.client(), "shop", &by_label, later).await.unwrap();
        assert_eq!((found.rollouts.len(), found.notes.len()), (1, 0));
        let all = remembered(&api.client(), "shop", &by_label, Timestamp::MIN).await.unwrap();
        assert!(all.notes[0].contains("older rollouts are not known"), "{:?}", all.notes);
    }

    #[tokio::test]
    async fn a_target_that_does_not_exist_is_named() {
        let api = cluster();
        let error = |spec: &str| {
            let (client, subject) = (api.client(), subject(spec));
            async move { remembered(&client, "shop", &subject, Timestamp::MIN).await.unwrap_err().to_string() }
        };
        assert!(error("{targetRef: {kind: Deployment, name: cart}}").await.contains("no Deployment cart"));
        assert!(error("{selector: {matchLabels: {team: x}}}").await.contains("labels of spec.selector"));
    }
}
