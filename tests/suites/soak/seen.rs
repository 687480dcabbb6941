//! What the API server tells: how things are now, and everything that happened, by its version.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use snapback_api::v1alpha1::{Rollback, RollbackPhase, RollbackPolicy, TargetStatus};
use tokio::sync::watch;

/// Something that happened to an object `NAMESPACE/NAME`.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// A Deployment has this UID and image now.
    Template { key: String, uid: String, image: String },
    /// A Deployment is gone.
    Gone { key: String },
    /// A policy judges, or does not.
    Policy { key: String, judges: bool },
    /// A record was created.
    Decided(Box<Rollback>),
    /// A record ended.
    Ended { record: String, phase: RollbackPhase },
    /// An Event about a record.
    Told { record: String, reason: String },
}

/// A pod that serves.
#[derive(Debug, Clone)]
pub(crate) struct Serving {
    pub(crate) since: Instant,
    pub(crate) fails: bool,
}

#[derive(Default)]
pub(crate) struct Now {
    pub(crate) deployments: BTreeMap<String, Deployment>,
    pub(crate) policies: BTreeMap<String, RollbackPolicy>,
    pub(crate) rollbacks: BTreeMap<String, Rollback>,
    pub(crate) pods: BTreeMap<String, Serving>,
    /// By version, in which all kinds share one order.
    pub(crate) history: BTreeMap<u64, Change>,
    /// Records about each image that were decided so far, and that ended well.
    pub(crate) undone: BTreeMap<String, (usize, usize)>,
    /// Records that ended so far.
    pub(crate) ended: u64,
    /// Lists after the first ones: what happened before them may be missing from the history.
    pub(crate) lists: u64,
}

impl Now {
    /// What the policy of a target says of it.
    pub(crate) fn target(&self, key: &str) -> Option<&TargetStatus> {
        self.policies.get(key)?.status.as_ref()?.targets.first()
    }

    /// Records about this image, and those of them that have ended well. What was pruned since counts, too.
    pub(crate) fn undone(&self, image: &str) -> (usize, usize) {
        self.undone.get(image).copied().unwrap_or_default()
    }
}

/// The image that a record is about.
pub(crate) fn from(record: &Rollback) -> &str {
    record.spec.from.as_ref().and_then(|from| from.images.first()).map_or("", String::as_str)
}

/// The image that it goes back to.
pub(crate) fn to(record: &Rollback) -> &str {
    let known = record.spec.to.as_ref().and_then(|to| to.known.as_ref());
    known.and_then(|known| known.images.first()).map_or("", String::as_str)
}

pub(crate) fn image(deployment: &Deployment) -> String {
    let spec = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    spec.and_then(|spec| spec.containers.first()?.image.clone()).unwrap_or_default()
}

fn key<K: ResourceExt>(object: &K) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

fn is_over(record: &Rollback) -> Option<RollbackPhase> {
    let phase = record.status.as_ref()?.phase?;
    let acts = matches!(phase, RollbackPhase::AwaitingApproval | RollbackPhase::Running | RollbackPhase::Verifying);
    (!acts).then_some(phase)
}

/// All namespaces with this in front are ours.
pub(crate) const PREFIX: &str = "soak-";

#[derive(Clone)]
pub(crate) struct Seen {
    now: Arc<Mutex<Now>>,
    changed: watch::Sender<()>,
}

impl Seen {
    /// Watches everything from now on.
    pub(crate) fn start(client: &Client) -> Self {
        let seen = Self { now: Arc::default(), changed: watch::channel(()).0 };
        seen.watch::<Deployment>(client, watcher::Config::default(), Now::deployment);
        seen.watch::<RollbackPolicy>(client, watcher::Config::default(), Now::policy);
        seen.watch::<Rollback>(client, watcher::Config::default(), Now::record);
        seen.watch::<Pod>(client, watcher::Config::default().labels("soak=yes"), Now::pod);
        let ours = watcher::Config::default().fields("reportingComponent=snapback.dev/operator");
        seen.watch::<Event>(client, ours, Now::event);
        seen
    }

    pub(crate) fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is so.
    pub(crate) async fn until(&self, what: &str, limit: Duration, is_so: impl Fn(&Now) -> bool) -> Result<()> {
        let deadline = Instant::now() + limit;
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            if is_so(&self.now()) {
                return Ok(());
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                bail!("waited {} s for {what}", limit.as_secs());
            };
            // An error is the end of the time, seen above.
            _ = tokio::time::timeout(left, changed.changed()).await;
        }
    }

    fn watch<K>(&self, client: &Client, config: watcher::Config, fold: fn(&mut Now, u64, &K, bool))
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
    {
        let (api, seen) = (Api::<K>::all(client.clone()), self.clone());
        tokio::spawn(async move {
            // Once the server is gone for good, each try fails at once: a task that never waits cannot be ended.
            let mut events = watcher(api, config).default_backoff().boxed();
            let mut is_listed = false;
            loop {
                let event = match events.try_next().await {
                    Ok(Some(event)) => event,
                    Ok(None) => return,
                    // The watcher goes on by itself.
                    Err(_) => continue,
                };
                let (object, is_gone) = match event {
                    watcher::Event::Apply(object) | watcher::Event::InitApply(object) => (object, false),
                    watcher::Event::Delete(object) => (object, true),
                    watcher::Event::Init => continue,
                    watcher::Event::InitDone => {
                        seen.now().lists += u64::from(is_listed);
                        is_listed = true;
                        continue;
                    }
                };
                if object.meta().namespace.as_deref().is_some_and(|namespace| namespace.starts_with(PREFIX)) {
                    let version = object.resource_version().and_then(|text| text.parse().ok()).unwrap_or_default();
                    fold(&mut seen.now(), version, &object, is_gone);
                    seen.changed.send_replace(());
                }
            }
        });
    }
}

impl Now {
    fn deployment(&mut self, version: u64, deployment: &Deployment, is_gone: bool) {
        let (key, uid, now) = (key(deployment), deployment.uid().unwrap_or_default(), image(deployment));
        if is_gone {
            self.deployments.remove(&key);
            self.history.insert(version, Change::Gone { key });
            return;
        }
        let before = self.deployments.insert(key.clone(), deployment.clone());
        if before.is_none_or(|before| before.uid().as_ref() != Some(&uid) || image(&before) != now) {
            self.history.insert(version, Change::Template { key, uid, image: now });
        }
    }

    fn policy(&mut self, version: u64, policy: &RollbackPolicy, is_gone: bool) {
        let key = key(policy);
        let judges = |policy: &RollbackPolicy| policy.spec.suspend != Some(true);
        let before = self.policies.remove(&key);
        if is_gone {
            self.history.insert(version, Change::Policy { key, judges: false });
            return;
        }
        if before.is_none_or(|before| before.uid() != policy.uid() || judges(&before) != judges(policy)) {
            self.history.insert(version, Change::Policy { key: key.clone(), judges: judges(policy) });
        }
        self.policies.insert(key, policy.clone());
    }

    fn record(&mut self, version: u64, record: &Rollback, is_gone: bool) {
        let key = key(record);
        if is_gone {
            self.rollbacks.remove(&key);
            return;
        }
        let before = self.rollbacks.insert(key, record.clone());
        let before = before.filter(|before| before.uid() == record.uid());
        let undone = self.undone.entry(from(record).to_owned()).or_default();
        if before.is_none() {
            undone.0 += 1;
            self.history.insert(version, Change::Decided(Box::new(record.clone())));
        } else if let (None, Some(phase)) = (before.as_ref().and_then(is_over), is_over(record)) {
            undone.1 += usize::from(phase == RollbackPhase::Succeeded);
            self.ended += 1;
            let record = record.uid().unwrap_or_default();
            self.history.insert(version, Change::Ended { record, phase });
        }
    }

    fn pod(&mut self, _: u64, pod: &Pod, is_gone: bool) {
        let key = key(pod);
        let labels = pod.labels();
        let serves = pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"))
            && !labels.contains_key("simulated")
            && pod.meta().deletion_timestamp.is_none();
        if is_gone || !serves {
            self.pods.remove(&key);
        } else {
            let fails = labels.contains_key("fails");
            self.pods.entry(key).or_insert_with(|| Serving { since: Instant::now(), fails });
        }
    }

    fn event(&mut self, version: u64, event: &Event, is_gone: bool) {
        let object = &event.involved_object;
        if !is_gone && object.kind.as_deref() == Some("Rollback") {
            let record = object.uid.clone().unwrap_or_default();
            let reason = event.reason.clone().unwrap_or_default();
            self.history.insert(version, Change::Told { record, reason });
        }
    }
}
