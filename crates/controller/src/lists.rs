//! Which first lists are in: nothing is judged before.

use kube::runtime::watcher;
use tokio::sync::watch;

/// Which first lists are in.
///
/// Noted on the streams: a kube store keeps the waker of one waiter only, and its controller is that one.
#[derive(Clone)]
pub(crate) struct Lists {
    /// Metadata of Deployments.
    pub(crate) deployments: watch::Sender<bool>,
    /// Metadata of StatefulSets.
    pub(crate) stateful_sets: watch::Sender<bool>,
    /// Metadata of DaemonSets.
    pub(crate) daemon_sets: watch::Sender<bool>,
    /// Policies.
    pub(crate) policies: watch::Sender<bool>,
    /// Records.
    pub(crate) rollbacks: watch::Sender<bool>,
}

impl Default for Lists {
    fn default() -> Self {
        let sender = || watch::channel(false).0;
        let (stateful_sets, daemon_sets) = (sender(), sender());
        Self { deployments: sender(), stateful_sets, daemon_sets, policies: sender(), rollbacks: sender() }
    }
}

impl Lists {
    /// An inspection that notes the end of the first list.
    pub(crate) fn note<K>(
        &self,
        which: fn(&Self) -> &watch::Sender<bool>,
    ) -> impl FnMut(&Result<watcher::Event<K>, watcher::Error>) + use<K> {
        let sender = which(self).clone();
        move |event| {
            if matches!(event, Ok(watcher::Event::InitDone)) {
                sender.send_replace(true);
            }
        }
    }

    /// Resolves when all are in.
    pub(crate) async fn all(&self) {
        self.workloads().await;
        for sender in [&self.policies, &self.rollbacks] {
            let _ = sender.subscribe().wait_for(|listed| *listed).await;
        }
    }

    /// Resolves when those of the workloads are in.
    pub(crate) async fn workloads(&self) {
        for sender in [&self.deployments, &self.stateful_sets, &self.daemon_sets] {
            let _ = sender.subscribe().wait_for(|listed| *listed).await;
        }
    }
}
