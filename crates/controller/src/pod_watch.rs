//! Pods are watched only while their target is judged: crashes are seen in seconds, and idle targets cost nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::core::{DeserializeGuard, PartialObjectMeta, Selector};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use snapback_api::v1alpha1::RollbackPolicy;
use snapback_core::workload::FROZEN;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use crate::backoff::OfAWatch;
use crate::run::watch_config;

/// Pod events come in bursts; one look serves them all.
const GATHER: Duration = Duration::from_millis(200);

/// The watches under way, by policy and target.
pub struct PodWatches {
    client: Client,
    wake: UnboundedSender<ObjectRef<DeserializeGuard<RollbackPolicy>>>,
    running: Mutex<HashMap<(String, String, String), AbortHandle>>,
}

impl PodWatches {
    /// No watch yet; `wake` gets the policies whose pods changed.
    pub fn new(client: Client, wake: UnboundedSender<ObjectRef<DeserializeGuard<RollbackPolicy>>>) -> Self {
        Self { client, wake, running: Mutex::new(HashMap::new()) }
    }

    /// Watches a target's pods for a policy, unless that is done already.
    pub fn start(&self, namespace: &str, policy: &str, target: &str, selector: &Selector) {
        let key = (namespace.to_owned(), policy.to_owned(), target.to_owned());
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.get(&key).is_some_and(|task| !task.is_finished()) {
            return;
        }
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let config = watch_config().labels_from(selector);
        let policy = ObjectRef::<DeserializeGuard<RollbackPolicy>>::new(policy).within(namespace);
        let wake = self.wake.clone();
        let task = tokio::spawn(async move {
            let mut events = watcher(pods, config).backoff(OfAWatch::default()).touched_objects().map_ok(drop).boxed();
            while let Some(event) = events.next().await {
                if event.is_err() {
                    continue;
                }
                let gather = tokio::time::sleep(GATHER);
                tokio::pin!(gather);
                loop {
                    tokio::select! {
                        () = &mut gather => break,
                        more = events.next() => if more.is_none() { return },
                    }
                }
                if wake.send(policy.clone()).is_err() {
                    return;
                }
            }
        });
        running.insert(key, task.abort_handle());
    }

    /// How many targets are watched.
    pub fn count(&self) -> usize {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Ends a watch.
    pub fn stop(&self, namespace: &str, policy: &str, target: &str) {
        let key = (namespace.to_owned(), policy.to_owned(), target.to_owned());
        if let Some(task) = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&key) {
            task.abort();
        }
    }

    /// Ends all watches of a policy but those of `targets`.
    pub fn retain(&self, namespace: &str, policy: &str, targets: &[String]) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).retain(|(ns, of, target), task| {
            let keep = ns != namespace || of != policy || targets.contains(target);
            if !keep {
                task.abort();
            }
            keep
        });
    }
}

/// What a metadata watch keeps of an object: enough to find and compare it.
pub(crate) fn slim<K>(object: &mut PartialObjectMeta<K>) {
    object.metadata.managed_fields = None;
    // Our own mark is the one annotation that says something before a live look.
    let mark = object.metadata.annotations.take().and_then(|mut all| all.remove_entry(FROZEN));
    object.metadata.annotations = mark.map(|mark| BTreeMap::from([mark]));
}
