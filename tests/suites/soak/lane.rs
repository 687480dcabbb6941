//! One target, and the people who release it, story after story. What each release has to come to is noted before it is made.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use snapback_api::v1alpha1::{PhaseName, RollbackPolicy, TargetStatus};

use crate::seen::{Now, Seen, image};

/// Longest wait for anything. An outage is a part of it.
const PATIENCE: Duration = Duration::from_mins(4);

/// How often a release has to be undone: at least, and at most.
pub(crate) type Undos = (usize, usize);

/// What was released, by image.
pub(crate) type Ledger = Arc<Mutex<BTreeMap<String, Undos>>>;

/// How the pods of a release fare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fare {
    Well,
    Crash,
    Fail,
}

/// What people do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Story {
    Good,
    Crashes,
    Fails,
    /// A bad one is applied again after it was undone.
    Again,
    /// A good one is applied as soon as a bad one is decided on.
    Overtaken,
    /// The Deployment is deleted while it is judged, and made anew.
    NewDeployment,
    /// The policy is.
    NewPolicy,
    /// The policy is suspended, a bad one comes, and is replaced by people.
    Suspended,
    /// People go back before the soak is over.
    BackByHand,
    /// Replicas are changed while it is judged.
    Scaled,
}

/// How many of 100 are which.
const STORIES: [(Story, u64); 10] = [
    (Story::Good, 42),
    (Story::Crashes, 14),
    (Story::Fails, 12),
    (Story::Again, 6),
    (Story::Overtaken, 6),
    (Story::NewDeployment, 5),
    (Story::NewPolicy, 5),
    (Story::Suspended, 3),
    (Story::BackByHand, 3),
    (Story::Scaled, 4),
];

/// Numbers by chance, always the same of a seed (SplitMix64).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }

    fn story(&mut self) -> Story {
        let mut left = self.below(100);
        for (story, share) in STORIES {
            if left < share {
                return story;
            }
            left -= share;
        }
        Story::Good
    }
}

pub(crate) struct Lane {
    pub(crate) client: Client,
    pub(crate) seen: Seen,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) chance: Chance,
    pub(crate) ledger: Ledger,
    /// How often each story was told.
    pub(crate) told: Arc<Mutex<BTreeMap<Story, u32>>>,
    releases: u32,
    good: String,
}

impl Lane {
    pub(crate) fn new(
        (client, seen): (&Client, &Seen),
        (namespace, name): (&str, &str),
        seed: u64,
        ledger: &Ledger,
        told: &Arc<Mutex<BTreeMap<Story, u32>>>,
    ) -> Self {
        Self {
            client: client.clone(),
            seen: seen.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            chance: Chance(seed),
            ledger: Arc::clone(ledger),
            told: Arc::clone(told),
            releases: 0,
            good: String::new(),
        }
    }

    /// Stories until the end.
    pub(crate) async fn run(mut self, end: Instant) -> Result<()> {
        // It is there before its policy, and adopted.
        self.good = self.expect((0, 0));
        let first = self.good.clone();
        self.apply(&first, Fare::Well).await?;
        self.rolled_out(&first).await?;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        self.create_policy().await?;
        self.settled(&first).await?;
        while Instant::now() < end {
            let story = self.chance.story();
            let what = format!("{story:?} on {}, release {}", self.key(), self.releases + 1);
            self.tell(story).await.with_context(|| self.state(&what))?;
            *self.told.lock().unwrap_or_else(PoisonError::into_inner).entry(story).or_default() += 1;
        }
        Ok(())
    }

    async fn tell(&mut self, story: Story) -> Result<()> {
        match story {
            Story::Good => self.good_one().await,
            Story::Crashes => self.bad_one(Fare::Crash, 1).await.map(drop),
            Story::Fails => self.bad_one(Fare::Fail, 1).await.map(drop),
            Story::Again => self.again().await,
            Story::Overtaken => self.overtaken().await,
            Story::NewDeployment => self.new_deployment().await,
            Story::NewPolicy => self.new_policy().await,
            Story::Suspended => self.suspended().await,
            Story::BackByHand => self.back_by_hand().await,
            Story::Scaled => self.scaled().await,
        }
    }

    async fn good_one(&mut self) -> Result<()> {
        let image = self.expect((0, 0));
        self.apply(&image, Fare::Well).await?;
        self.becomes_good(image).await
    }

    async fn becomes_good(&mut self, image: String) -> Result<()> {
        self.settled(&image).await?;
        self.good = image;
        Ok(())
    }

    async fn bad_one(&mut self, fare: Fare, times: usize) -> Result<String> {
        let image = self.expect((times, times));
        self.apply(&image, fare).await?;
        self.undone(&image, 1).await?;
        Ok(image)
    }

    async fn undone(&self, image: &str, times: usize) -> Result<()> {
        self.until("the undo", |now| now.undone(image) == (times, times)).await?;
        self.settled(&self.good).await
    }

    async fn again(&mut self) -> Result<()> {
        let fare = if self.chance.below(2) == 0 { Fare::Crash } else { Fare::Fail };
        let image = self.bad_one(fare, 2).await?;
        self.apply(&image, fare).await?;
        self.undone(&image, 2).await
    }

    async fn overtaken(&mut self) -> Result<()> {
        let bad = self.expect((0, 1));
        self.apply(&bad, Fare::Crash).await?;
        self.until("a decision", |now| now.undone(&bad).0 > 0).await?;
        self.good_one().await
    }

    async fn new_deployment(&mut self) -> Result<()> {
        let (image, fare) = self.good_or_failing();
        self.apply(&image, fare).await?;
        self.judged(&image).await?;
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        deployments.delete(&self.name, &DeleteParams::background()).await?;
        let key = self.key();
        self.until("the Deployment gone", |now| !now.deployments.contains_key(&key)).await?;
        self.good_one().await
    }

    async fn new_policy(&mut self) -> Result<()> {
        let (image, fare) = self.good_or_failing();
        self.apply(&image, fare).await?;
        self.judged(&image).await?;
        let policies: Api<RollbackPolicy> = Api::namespaced(self.client.clone(), &self.namespace);
        policies.delete(&self.name, &DeleteParams::default()).await?;
        let good = self.expect((0, 0));
        self.apply(&good, Fare::Well).await?;
        self.rolled_out(&good).await?;
        self.create_policy().await?;
        self.becomes_good(good).await
    }

    async fn suspended(&mut self) -> Result<()> {
        self.suspend(true).await?;
        let key = self.key();
        self.until("suspended", |now| {
            let policy = now.policies.get(&key);
            policy.and_then(|policy| policy.status.as_ref()?.observed_generation)
                == policy.and_then(|policy| policy.metadata.generation)
        })
        .await?;
        let bad = self.expect((0, 0));
        self.apply(&bad, Fare::Crash).await?;
        // Several looks of one that judged.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let good = self.expect((0, 0));
        self.apply(&good, Fare::Well).await?;
        self.rolled_out(&good).await?;
        self.suspend(false).await?;
        self.becomes_good(good).await
    }

    async fn back_by_hand(&mut self) -> Result<()> {
        let (image, good) = (self.expect((0, 0)), self.good.clone());
        self.apply(&image, Fare::Well).await?;
        self.judged(&image).await?;
        self.apply(&good, Fare::Well).await?;
        self.settled(&good).await
    }

    async fn scaled(&mut self) -> Result<()> {
        let image = self.expect((0, 0));
        self.apply(&image, Fare::Well).await?;
        self.judged(&image).await?;
        for replicas in [4, 2] {
            let patch = json!({"spec": {"replicas": replicas}});
            let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
            deployments.patch(&self.name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        }
        self.becomes_good(image).await
    }

    /// It may be found bad before people are faster.
    fn good_or_failing(&mut self) -> (String, Fare) {
        let fails = self.chance.below(2) == 0;
        (self.expect((0, usize::from(fails))), if fails { Fare::Fail } else { Fare::Well })
    }

    /// A new release, and how often it has to be undone.
    fn expect(&mut self, undos: Undos) -> String {
        self.releases += 1;
        let image = format!("{}/{}:v{}", self.namespace, self.name, self.releases);
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).insert(image.clone(), undos);
        image
    }

    fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Now) -> bool) -> Result<()> {
        self.seen.until(what, PATIENCE, is_so).await
    }

    /// The revision is judged.
    async fn judged(&self, image: &str) -> Result<()> {
        let key = self.key();
        let is_judged = |target: &TargetStatus| is(&target.current.images, image) && target.rollout.is_some();
        // Or was, when it was fast.
        self.until("it judged", |now| now.target(&key).is_some_and(is_judged) || now.undone(image).0 > 0).await
    }

    /// The revision runs, is known good, and nothing is under way.
    async fn settled(&self, image: &str) -> Result<()> {
        let key = self.key();
        let is_settled = |target: &TargetStatus| {
            target.phase == PhaseName::Idle
                && target.rollout.is_none()
                && target.rollback.is_none()
                && is(&target.current.images, image)
                && target.known_good.as_ref().is_some_and(|good| is(&good.images, image) && !good.snapshot.is_empty())
        };
        self.until(&format!("{image} known good"), |now| now.target(&key).is_some_and(is_settled)).await
    }

    async fn rolled_out(&self, name: &str) -> Result<()> {
        let key = self.key();
        self.until("it rolled out", |now| {
            now.deployments.get(&key).is_some_and(|deployment| {
                let status = deployment.status.clone().unwrap_or_default();
                let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
                image(deployment) == name
                    && status.observed_generation == deployment.metadata.generation
                    && status.updated_replicas == wanted
                    && status.available_replicas == wanted
                    && status.replicas == wanted
            })
        })
        .await
    }

    async fn apply(&self, image: &str, fare: Fare) -> Result<()> {
        let (name, namespace) = (&self.name, &self.namespace);
        let as_deployer = PatchParams::apply("deployer").force();
        let settings = format!("{name}-settings");
        let config = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": settings}, "data": {"release": image}
        });
        let config_maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        config_maps.patch(&settings, &as_deployer, &Patch::Apply(&config)).await?;
        let mut labels = json!({"app": name, "soak": "yes"});
        match fare {
            Fare::Well => {}
            Fare::Crash => labels["simulated"] = Value::from("crash-loop"),
            Fare::Fail => labels["fails"] = Value::from("yes"),
        }
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": {"app": name}},
            "spec": {
                "replicas": 2, "revisionHistoryLimit": 3, "selector": {"matchLabels": {"app": name}},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "containers": [{"name": "app", "image": image}],
                        "volumes": [{"name": "settings", "configMap": {"name": settings}}]
                    }
                }
            }
        });
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        deployments.patch(name, &as_deployer, &Patch::Apply(&deployment)).await?;
        Ok(())
    }

    async fn create_policy(&self) -> Result<()> {
        let policy = serde_json::from_value(json!({
            "apiVersion": "snapback.dev/v1alpha1", "kind": "RollbackPolicy", "metadata": {"name": self.name},
            "spec": {
                "targetRef": {"kind": "Deployment", "name": self.name},
                "soak": {"duration": "5s", "interval": "1s"},
                "minimumRequests": 20,
                "checks": [
                    {"name": "errors", "errorRate": {"max": "5%"}},
                    {"name": "crashes", "crashRate": {"max": "50%"}}
                ],
                "rollback": {"config": "Restore", "cooldown": "0s", "deadline": "5m", "verify": {"duration": "1s"}}
            }
        }))?;
        let policies: Api<RollbackPolicy> = Api::namespaced(self.client.clone(), &self.namespace);
        policies.create(&PostParams::default(), &policy).await?;
        Ok(())
    }

    async fn suspend(&self, suspend: bool) -> Result<()> {
        let policies: Api<RollbackPolicy> = Api::namespaced(self.client.clone(), &self.namespace);
        let patch = json!({"spec": {"suspend": suspend}});
        policies.patch(&self.name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }

    /// How things stand, for a story that went wrong.
    fn state(&self, what: &str) -> String {
        let now = self.seen.now();
        let records: Vec<String> = now
            .rollbacks
            .iter()
            .filter(|(key, _)| key.starts_with(&format!("{}/{}-", self.namespace, self.name)))
            .map(|(key, record)| {
                let status = record.status.clone().unwrap_or_default();
                format!("{key} about {}: {:?} {}", crate::seen::from(record), status.phase, status.message)
            })
            .collect();
        let live = now.deployments.get(&self.key()).map(image);
        let target = now.target(&self.key()).map(|target| {
            let known_good = target.known_good.as_ref().map(|good| good.images.clone());
            format!(
                "{:?} {} {}; current {:?}, known good {known_good:?}; {:?}",
                target.phase, target.reason, target.message, target.current.images, target.checks
            )
        });
        format!("{what}; the live image is {live:?}; the target is {target:?}; records: {records:#?}")
    }
}

fn is(images: &[String], image: &str) -> bool {
    images.first().is_some_and(|first| first == image)
}
