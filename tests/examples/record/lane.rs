//! One rollout, from its namespace to what is recorded of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Client;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use snapback_controller::sampler::Grid;
use snapback_controller::workload::{Observed, observe};
use snapback_core::fingerprint::Fingerprint;
use snapback_core::policy::Soak;
use snapback_core::workload::{Kind, Workload, rolled_out};
use snapback_prometheus::Instants;
use snapback_recorded::{Behaviour, Facts, Plan, Planned, PodCounters, Rollout};
use snapback_tests::cluster::until;

use crate::lag::Operator;
use crate::manifests::{self, DEPENDENCY, TARGET};
use crate::{Site, sound, source};

/// Longest wait for each part of the old revision to be up.
const PATIENCE: Duration = Duration::from_mins(2);

/// Records one rollout.
pub(crate) async fn record(
    site: &Site,
    plan: &Plan,
    planned: &Planned,
    operator: Option<&Operator>,
) -> Result<Rollout> {
    let lane = Lane::new(site, planned);
    lane.set_up().await?;
    let watched = match operator {
        Some(operator) => Some(operator.watch(site, &planned.id).await?),
        None => None,
    };
    let Played { looks, start } = lane.play(plan).await?;
    let (start, decided) = match (operator, watched) {
        (Some(operator), Some(watched)) => {
            let (started, decided) = operator.decided(site, &planned.id, watched).await?;
            (Timestamp::from_second(started)?, Some(decided))
        }
        _ => (start, None),
    };
    // The newest scrapes have to arrive.
    tokio::time::sleep(Duration::from_millis(1500)).await;

    let mut facts = Facts::default();
    for (at, workload) in &looks {
        facts.note(at.as_second() - start.as_second(), workload, start);
    }
    // With an operator everything that it may have asked for.
    let before = if decided.is_some() { Soak::MOST_LOOKS } else { u32::try_from(plan.before / plan.interval)? };
    let (at, step) =
        (|second: i64| start + SignedDuration::from_secs(second), SignedDuration::from_secs(plan.interval));
    let grid = Grid::new(start, step, before, at(plan.after));
    let newest = grid.newest().context("the rollout has not begun")?;
    let instants = Instants { start: grid.first(), end: newest, step };
    let sets: BTreeSet<String> =
        looks.iter().flat_map(|(_, workload)| &workload.revisions).map(|set| set.name.clone()).collect();
    let sets: Vec<String> = sets.into_iter().collect();
    let series = source::ask(site, &planned.id, &sets, instants).await?;
    if decided.is_none() {
        sound::check(planned, &looks, &series, start)?;
    }
    let mut rollout = Rollout {
        plan: planned.clone(),
        interval: plan.interval,
        scale: plan.scale,
        first: grid.first().as_second() - start.as_second(),
        last: newest.as_second() - start.as_second(),
        operator: decided,
        facts,
        pods: Vec::new(),
    };
    let instants: Vec<Timestamp> = rollout.seconds().map(at).collect();
    rollout.pods = PodCounters::write(&series, &instants)?;
    Ok(rollout)
}

/// What was played: a look each second, and when the new template was first seen.
struct Played {
    looks: Vec<(Timestamp, Workload)>,
    start: Timestamp,
}

struct Lane<'a> {
    site: &'a Site,
    planned: &'a Planned,
    deployments: Api<Deployment>,
}

impl<'a> Lane<'a> {
    fn new(site: &'a Site, planned: &'a Planned) -> Self {
        Self { site, planned, deployments: Api::namespaced(site.client.clone(), &planned.id) }
    }

    /// The old revision under load.
    async fn set_up(&self) -> Result<()> {
        let Self { site, planned, .. } = self;
        let services: Api<Service> = Api::namespaced(site.client.clone(), &planned.id);
        create(&services, manifests::target_service()).await?;
        if planned.dependency.is_some() {
            create(&services, manifests::service(DEPENDENCY, &json!({"app": DEPENDENCY}))).await?;
            create(&self.deployments, manifests::dependency(planned)).await?;
            self.is_available(DEPENDENCY).await?;
        }
        create(&self.deployments, manifests::target(planned)).await?;
        create(&self.deployments, manifests::load(planned)).await?;
        self.is_available("load").await?;
        until(&format!("{} up", planned.id), PATIENCE, || async {
            let workload = look(&site.client, &planned.id).await?;
            Ok(rolled_out(&workload, &workload.live).is_ok().then_some(()))
        })
        .await
    }

    async fn is_available(&self, name: &str) -> Result<()> {
        until(&format!("{name} of {} available", self.planned.id), PATIENCE, || async {
            let status = self.deployments.get(name).await?.status;
            Ok((status.and_then(|status| status.available_replicas) >= Some(1)).then_some(()))
        })
        .await
    }

    /// Plays it, second by second.
    async fn play(&self, plan: &Plan) -> Result<Played> {
        let planned = self.planned;
        let (mut looks, mut start) = (Vec::new(), None::<Timestamp>);
        let mut pods = Pods::new(self).await?;
        let began = next_second().await;
        let old = look(&self.site.client, &planned.id).await?.live;
        let (mut is_applied, mut is_scaled) = (false, false);
        loop {
            let now = next_second().await;
            // A little more than asked for: the series begin when the pods are scraped.
            if !is_applied && now.as_second() - began.as_second() >= plan.before + 5 {
                is_applied = true;
                self.patch(&json!({"spec": {"template": manifests::template(planned, true)}})).await?;
            }
            let workload = look(&self.site.client, &planned.id).await?;
            if start.is_none() && workload.live != old {
                start = Some(now);
            }
            let second = start.map_or(i64::MIN, |start| now.as_second() - start.as_second());
            if let Some(scaling) = planned.scaling.as_ref().filter(|scaling| !is_scaled && second >= scaling.at) {
                is_scaled = true;
                self.patch(&json!({"spec": {"replicas": scaling.to}})).await?;
            }
            pods.tell(&workload, &old, if start.is_some() { second } else { now.as_second() }).await;
            looks.push((now, workload));
            if let Some(start) = start.filter(|_| second >= plan.after) {
                return Ok(Played { looks, start });
            }
            if is_applied && start.is_none() && now.as_second() - began.as_second() > plan.before + 30 {
                bail!("the new template was never seen");
            }
        }
    }

    async fn patch(&self, patch: &Value) -> Result<()> {
        self.deployments.patch(TARGET, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }
}

/// The pods, and what each was told last.
struct Pods<'a> {
    site: &'a Site,
    planned: &'a Planned,
    told: BTreeMap<String, Behaviour>,
    /// New pods in the order in which they became ready.
    new: Vec<String>,
    dependency: Vec<IpAddr>,
    outage: f64,
}

impl<'a> Pods<'a> {
    async fn new(lane: &Lane<'a>) -> Result<Self> {
        let pods: Api<Pod> = Api::namespaced(lane.site.client.clone(), &lane.planned.id);
        let found = pods.list(&ListParams::default().labels(&format!("app={DEPENDENCY}"))).await?;
        let addresses = found.items.iter().filter_map(|pod| pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok());
        let (site, planned, dependency) = (lane.site, lane.planned, addresses.collect());
        Ok(Self { site, planned, told: BTreeMap::new(), new: Vec::new(), dependency, outage: 0.0 })
    }

    /// Tells each ready pod how to behave at this second, if that is something new.
    async fn tell(&mut self, workload: &Workload, old: &Fingerprint, second: i64) {
        let mut due = Vec::new();
        for pod in workload.pods.iter().filter(|pod| pod.ready && !pod.leaving) {
            let is_new =
                workload.revisions.iter().any(|revision| revision.uid == pod.owner && revision.fingerprint != *old);
            if is_new && !self.new.contains(&pod.name) {
                self.new.push(pod.name.clone());
            }
            let place = self.new.iter().position(|name| *name == pod.name);
            let wanted = self.planned.at(&pod.name, place, second);
            let told = self.told.get(&pod.name).copied().unwrap_or_else(|| self.planned.at_start(is_new));
            if let Some(ip) = pod.ip.filter(|_| told != wanted) {
                due.push((pod.name.clone(), ip, wanted));
            }
        }
        let outage = self.planned.outage(second);
        if outage != self.outage {
            let behaviour = Behaviour { errors: outage, latency: 0 };
            let all = self.dependency.iter().map(|ip| tell(&self.site.http, *ip, behaviour));
            if join_all(all).await.into_iter().all(|done| done) {
                self.outage = outage;
            }
        }
        let done = join_all(due.iter().map(|(_, ip, wanted)| tell(&self.site.http, *ip, *wanted))).await;
        // Who did not hear is told again.
        let heard = due.into_iter().zip(done).filter(|(_, done)| *done);
        self.told.extend(heard.map(|((name, _, wanted), _)| (name, wanted)));
    }
}

async fn tell(http: &reqwest::Client, ip: IpAddr, behaviour: Behaviour) -> bool {
    let Behaviour { errors, latency } = behaviour;
    let url = format!("http://{ip}:8080/behaviour/{errors}/{latency}ms");
    http.put(url).send().await.is_ok_and(|answer| answer.status().is_success())
}

/// As the operator observes it.
pub(crate) async fn look(client: &Client, namespace: &str) -> Result<Workload> {
    match observe(client, namespace, Kind::Deployment, TARGET).await? {
        Observed::Live(live) => Ok(live.workload),
        Observed::Absent => bail!("the Deployment is gone"),
    }
}

async fn create<K>(api: &Api<K>, object: Value) -> Result<()>
where
    K: Clone + std::fmt::Debug + DeserializeOwned + serde::Serialize,
{
    let object: K = serde_json::from_value(object).context("an object of the recorder")?;
    api.create(&PostParams::default(), &object).await?;
    Ok(())
}

/// Waits for the next whole second of the clock.
async fn next_second() -> Timestamp {
    let past = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    tokio::time::sleep(Duration::from_nanos(1_000_000_000 - u64::from(past))).await;
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
