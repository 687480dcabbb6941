//! A watch on the policies of a namespace, until they have a verdict.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use anyhow::Context as _;
use futures::{Stream, TryStreamExt as _};
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use kube::{Api, Client, ResourceExt};
use snapback_api::v1alpha1::RollbackPolicy;
use snapback_core::gate::Word;
use tokio::time::{Instant, timeout_at};

use super::named::Named;
use super::release::look;
use super::verdict::{Asked, Stands};

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Good,
    Bad,
    TimedOut,
    Unjudged,
    Superseded,
}

impl Ended {
    /// The exit code. 2 is for those that could not wait.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Bad => 1,
            Self::TimedOut => 3,
            Self::Unjudged => 4,
            Self::Superseded => 5,
        }
    }
}

/// A policy, or an object that is none though it says so.
type Guarded = DeserializeGuard<RollbackPolicy>;

/// Follows a release to its verdict. `tell` gets a line per change. Gives how it ended, and the last word.
pub(crate) async fn follow(
    client: &Client,
    namespace: &str,
    named: &Named,
    revision: Option<&str>,
    timeout: Duration,
    mut tell: impl FnMut(&str),
) -> anyhow::Result<(Ended, String)> {
    let deadline = Instant::now() + timeout;
    let release =
        timeout_at(deadline, look(client, namespace, named)).await.context("the API server does not answer")??;
    let mut asked = Asked::new(named.clone(), release, revision.map(str::to_owned));
    let policies: Api<Guarded> = Api::namespaced(client.clone(), namespace);
    // Opened anew each minute: on a connection that is dead and stays open nothing comes any more.
    let mut events = pin!(watch(policies, watcher::Config::default().timeout(60)).default_backoff());
    let mut known = Known::default();
    let mut last: Option<Word> = None;
    loop {
        let stands = match timeout_at(deadline, changed(&mut events, &mut known, &mut tell)).await {
            Ok(changed) => {
                changed?;
                asked.stands(&known.policies())
            }
            Err(_) => return Ok((Ended::TimedOut, late(timeout, last.as_ref()))),
        };
        let (ended, word) = match stands {
            Stands::Waiting(word) => {
                if last.as_ref() != Some(&word) {
                    tell(&format!("{named}: {}: {}", word.reason, word.message));
                    last = Some(word);
                }
                continue;
            }
            Stands::Good(word) => (Ended::Good, format!("good ({}): {}", word.reason, word.message)),
            Stands::Bad(word) => (Ended::Bad, format!("bad ({}): {}", word.reason, word.message)),
            Stands::Superseded(word) => (Ended::Superseded, format!("superseded: {}", word.message)),
            Stands::Unjudged(word) => (Ended::Unjudged, format!("not judged ({}): {}", word.reason, word.message)),
        };
        return Ok((ended, word));
    }
}

fn late(timeout: Duration, last: Option<&Word>) -> String {
    let timeout = jiff::SignedDuration::try_from(timeout).map(snapback_core::duration::format).unwrap_or_default();
    let last =
        last.map_or_else(|| "nothing is known of it".to_owned(), |word| format!("{}: {}", word.reason, word.message));
    format!("no verdict within {timeout} ({last})")
}

/// The policies of the namespace, as far as the watch has told.
#[derive(Default)]
struct Known {
    by_name: BTreeMap<String, Guarded>,
    /// What a list has shown so far.
    listing: BTreeMap<String, Guarded>,
    /// Whether the first list is in.
    is_listed: bool,
}

impl Known {
    fn policies(&self) -> Vec<&RollbackPolicy> {
        self.by_name.values().filter_map(|policy| policy.0.as_ref().ok()).collect()
    }

    /// Whether there is something new to look at.
    fn see(&mut self, event: Event<Guarded>) -> bool {
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(policy) => _ = self.listing.insert(policy.name_any(), policy),
            Event::InitDone => {
                self.by_name = std::mem::take(&mut self.listing);
                self.is_listed = true;
                return true;
            }
            Event::Apply(policy) => {
                self.by_name.insert(policy.name_any(), policy);
                return true;
            }
            Event::Delete(policy) => {
                self.by_name.remove(&policy.name_any());
                return true;
            }
        }
        false
    }
}

/// Waits for news. Before the first list, a failure is one of ours to tell and end with; later, the watch goes on by itself.
async fn changed(
    events: &mut (impl Stream<Item = Result<Event<Guarded>, watcher::Error>> + Unpin),
    known: &mut Known,
    tell: &mut impl FnMut(&str),
) -> anyhow::Result<()> {
    loop {
        match events.try_next().await {
            Ok(Some(event)) => {
                if known.see(event) {
                    return Ok(());
                }
            }
            Ok(None) => anyhow::bail!("the watch on RollbackPolicies has ended"),
            Err(error) if !known.is_listed => return Err(error).context("listing the RollbackPolicies"),
            Err(error) => tell(&format!("the watch on RollbackPolicies broke, and is tried again: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::Mutex;

    use serde_json::{Value, json};
    use snapback_core::fingerprint::Fingerprint;
    use snapback_fake_api::{Call, FakeApi, Fault, Verb};

    use super::super::named;
    use super::*;

    const POLICIES: (&str, &str) = ("snapback.dev/v1alpha1", "rollbackpolicies");
    const LONG: Duration = Duration::from_mins(30);

    fn deployment(version: &str) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": format!("shop/web:{version}")}]}
            }}
        })
    }

    fn policy(name: &str, spec: &Value) -> Value {
        json!({
            "apiVersion": POLICIES.0, "kind": "RollbackPolicy", "metadata": {"name": name, "namespace": "shop"}, "spec": spec
        })
    }

    /// A cluster in which v1 was deployed, with a policy.
    fn cluster() -> FakeApi {
        let api = FakeApi::new(Arc::new(|| "2026-01-02T03:04:05Z".parse().unwrap()));
        api.apply("apps/v1", "deployments", &deployment("v1"));
        let spec = json!({"targetRef": {"kind": "Deployment", "name": "web"}});
        api.apply(POLICIES.0, POLICIES.1, &policy("web", &spec));
        api
    }

    /// What the operator reports of what is live.
    fn report(api: &FakeApi, phase: &str, reason: &str, message: &str) {
        let live = api.object("deployments", "shop", "web").unwrap();
        let template = &live["spec"]["template"];
        let current = json!({"fingerprint": Fingerprint::of_template(template), "called": snapback_core::workload::called(template)});
        let rollout = (phase == "Soaking").then(|| json!({"startedAt": "2026-01-02T03:04:05Z"}));
        let mut policy = api.object(POLICIES.1, "shop", "web").unwrap();
        policy["status"] = json!({"targets": [{
            "kind": "Deployment", "name": "web", "uid": live["metadata"]["uid"], "phase": phase, "reason": reason,
            "message": message, "observedGeneration": live["metadata"]["generation"], "current": current,
            "knownGood": current, "rollout": rollout
        }]});
        api.report(POLICIES.0, POLICIES.1, &policy);
    }

    struct Waiting {
        lines: Arc<Mutex<Vec<String>>>,
        task: tokio::task::JoinHandle<anyhow::Result<(Ended, String)>>,
    }

    impl Waiting {
        fn on(api: &FakeApi, workload: &str, revision: Option<&str>, timeout: Duration) -> Self {
            let lines = Arc::new(Mutex::new(Vec::new()));
            let (heard, client, named) = (Arc::clone(&lines), api.client(), named::parse(workload).unwrap());
            let revision = revision.map(str::to_owned);
            let task = tokio::spawn(async move {
                let tell = |line: &str| heard.lock().unwrap().push(line.to_owned());
                follow(&client, "shop", &named, revision.as_deref(), timeout, tell).await
            });
            Self { lines, task }
        }

        /// Until so many lines were told.
        async fn told(&self, lines: usize) -> Vec<String> {
            loop {
                let told = self.lines.lock().unwrap().clone();
                if told.len() >= lines || self.task.is_finished() {
                    return told;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }

        async fn ended(self) -> (Ended, String) {
            self.task.await.unwrap().unwrap()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_is_told_per_change_until_the_verdict() {
        let api = cluster();
        let waiting = Waiting::on(&api, "deploy/web", None, LONG);
        assert!(waiting.told(1).await[0].contains("NotSeen"));
        report(&api, "Soaking", "Judging", "errors: not proven");
        waiting.told(2).await;
        // Nothing new.
        report(&api, "Soaking", "Judging", "errors: not proven");
        report(&api, "Soaking", "WithinLimits", "all is well");
        let lines = waiting.told(3).await;
        assert_eq!(
            lines[1..],
            [
                "deployment/web: Judging: Soaking, errors: not proven",
                "deployment/web: WithinLimits: Soaking, all is well"
            ]
        );
        report(&api, "Idle", "KnownGood", "web:v1 is known good");
        let ended = waiting.ended().await;
        assert_eq!(ended, (Ended::Good, "good (KnownGood): web:v1 is known good".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_bad_release_ends_the_wait() {
        let api = cluster();
        report(&api, "Held", "ObservedOnly", "it would go back");
        let ended = Waiting::on(&api, "deploy/web", Some("v1"), LONG).ended().await;
        assert_eq!(ended, (Ended::Bad, "bad (ObservedOnly): it would go back".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_revision_that_is_not_there_yet_is_waited_for() {
        let api = cluster();
        report(&api, "Idle", "KnownGood", "web:v1 is known good");
        let waiting = Waiting::on(&api, "deploy/web", Some("v2"), LONG);
        assert!(waiting.told(1).await[0].contains("v2 is expected"));
        api.apply("apps/v1", "deployments", &deployment("v2"));
        report(&api, "Idle", "KnownGood", "web:v2 is known good");
        assert_eq!(waiting.ended().await.0, Ended::Good);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_verdict_in_time_it_says_how_it_stands() {
        let api = cluster();
        report(&api, "Soaking", "Judging", "errors: not proven");
        let ended = Waiting::on(&api, "deploy/web", None, Duration::from_secs(90)).ended().await;
        let message = "no verdict within 1m30s (Judging: Soaking, errors: not proven)";
        assert_eq!(ended, (Ended::TimedOut, message.to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_breaks_is_opened_again() {
        let api = cluster();
        report(&api, "Soaking", "Judging", "errors: not proven");
        let is_watch = |call: &Call| call.verb == Verb::Watch;
        api.fault(is_watch, Fault::Status(500));
        api.fault(is_watch, Fault::Lost);
        api.fault(is_watch, Fault::Status(410));
        let waiting = Waiting::on(&api, "deploy/web", None, LONG);
        let lines = waiting.told(4).await;
        assert!(lines[1..].iter().all(|line| line.contains("broke, and is tried again")), "{lines:?}");
        report(&api, "Idle", "KnownGood", "web:v1 is known good");
        assert_eq!(waiting.ended().await.0, Ended::Good);
        assert_eq!(api.faults_left(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_policy_that_goes_leaves_nobody_to_judge() {
        let api = cluster();
        report(&api, "Soaking", "Judging", "errors: not proven");
        let waiting = Waiting::on(&api, "deploy/web", None, LONG);
        waiting.told(1).await;
        api.delete(POLICIES.0, POLICIES.1, "shop", "web");
        assert_eq!(waiting.ended().await.0, Ended::Unjudged);
    }

    #[tokio::test(start_paused = true)]
    async fn a_policy_that_cannot_be_read_does_not_hide_the_others() {
        let api = cluster();
        report(&api, "Idle", "KnownGood", "web:v1 is known good");
        api.apply(POLICIES.0, POLICIES.1, &policy("broken", &json!({"soak": 7})));
        assert_eq!(Waiting::on(&api, "deploy/web", None, LONG).ended().await.0, Ended::Good);
    }

    #[tokio::test(start_paused = true)]
    async fn who_cannot_be_asked_is_an_error() {
        let api = cluster();
        let failed = |waiting: Waiting| async move { format!("{:#}", waiting.task.await.unwrap().unwrap_err()) };
        let absent = failed(Waiting::on(&api, "deploy/cart", None, LONG)).await;
        assert_eq!(absent, "there is no deployment/cart in the namespace shop");
        api.fault(|call| call.verb == Verb::List, Fault::Status(403));
        let refused = failed(Waiting::on(&api, "deploy/web", None, LONG)).await;
        assert!(refused.starts_with("listing the RollbackPolicies"), "{refused}");
        api.fault(|call| call.resource == "deployments", Fault::NoAnswer(Duration::ZERO));
        let silent = failed(Waiting::on(&api, "deploy/web", None, Duration::from_secs(5))).await;
        assert!(silent.contains("does not answer"), "{silent}");
    }
}
