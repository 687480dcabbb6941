//! One operator of several leads, by a Lease.
//!
//! It only reduces noise: that two leaders do no harm is the preconditions' doing (docs/invariants.md). So a leader fences
//! itself: it writes nothing once it could not renew for a while, well before another one may lead.

mod fence;
mod machine;

pub(crate) use fence::{Leadership, fenced};
pub use machine::Terms;

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::context::Clock;
use crate::error::report;
use crate::telemetry::Health;
use machine::{Bid, Candidate, Claim};

/// The Lease, and who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseOptions {
    /// Where the Lease is.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Our name in it: the pod's, so that a container that starts again goes on at once.
    pub identity: String,
    /// How long things may take.
    pub terms: Terms,
}

/// Our side of the Lease.
pub(crate) struct Elector {
    leases: Api<Lease>,
    options: LeaseOptions,
    candidate: Candidate,
    leadership: Leadership,
    /// The Lease as we wrote it last: a renewal need not read it first.
    ours: Option<Lease>,
    /// Whom we told of as the leader.
    told: String,
    /// For the times that people read in the Lease.
    clock: Clock,
}

impl Elector {
    pub(crate) fn new(client: Client, options: LeaseOptions, clock: Clock) -> Self {
        Self {
            leases: Api::namespaced(client, &options.namespace),
            candidate: Candidate::new(options.identity.clone(), options.terms),
            leadership: Leadership::none(),
            ours: None,
            told: String::new(),
            clock,
            options,
        }
    }

    /// Whether we lead, for whoever writes.
    pub(crate) fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Resolves once we lead.
    pub(crate) async fn acquire(&mut self, health: &Health) {
        let retry = self.options.terms.retry;
        loop {
            let begun = Instant::now();
            match self.look(begun, self.options.terms.deadline, health).await {
                Ok(None) => return,
                Ok(Some(wait)) => sleep(wait).await,
                Err(why) => {
                    tracing::warn!(lease = self.options.name, "the Lease could not be had: {why}");
                    sleep(retry).await;
                }
            }
        }
    }

    /// Renews, until that is over: another one leads, or may soon.
    pub(crate) async fn keep(&mut self, health: &Health) -> String {
        let Terms { deadline, retry, .. } = self.options.terms;
        let mut until = Instant::now() + deadline;
        let mut why = String::new();
        loop {
            sleep_until((Instant::now() + retry).min(until)).await;
            let begun = Instant::now();
            if begun >= until {
                return format!("the Lease could not be renewed for {deadline:?}: {why}");
            }
            match self.look(begun, (until - begun).min(deadline / 2), health).await {
                Ok(None) => until = begun + deadline,
                Ok(Some(_)) => return "another replica holds the Lease".to_owned(),
                Err(what) => why = what,
            }
        }
    }

    /// Lets another one lead at once. Nothing is written after this.
    pub(crate) async fn release(&mut self) {
        self.leave(|spec| spec.holder_identity = None).await;
    }

    async fn leave(&mut self, last: impl FnOnce(&mut LeaseSpec)) {
        self.leadership.end();
        let found = timeout(self.options.terms.retry, self.leases.get_opt(&self.options.name)).await;
        let Ok(Ok(Some(mut lease))) = found else { return };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&self.options.identity) {
            return;
        }
        last(spec);
        // It runs out by itself if this fails.
        let params = Self::params();
        let left = self.leases.replace(&self.options.name, &params, &lease);
        _ = timeout(self.options.terms.retry, left).await;
    }

    /// Takes the Lease from whoever holds it, and resolves once that one writes nothing any more.
    ///
    /// # Errors
    /// Why it was lost again meanwhile.
    pub(crate) async fn seize(&mut self, health: &Health) -> Result<(), String> {
        let lasts = loop {
            match timeout(self.options.terms.deadline, self.grab(health)).await {
                Ok(Ok(lasts)) => break lasts,
                Ok(Err(why)) => tracing::warn!(lease = self.options.name, "the Lease could not be taken yet: {why}"),
                Err(_) => tracing::warn!(lease = self.options.name, "the Lease could not be taken yet: no answer"),
            }
            sleep(self.options.terms.retry / 10).await;
        };
        // Renewed meanwhile, or a replica that stands by would take it.
        tokio::select! {
            why = self.keep(health) => Err(why),
            () = sleep(lasts) => Ok(()),
        }
    }

    /// Writes our name over that of whoever holds it. Gives how long that one may go on: also a process before us in the same
    /// pod may have taken it from one that does.
    async fn grab(&mut self, health: &Health) -> Result<Duration, String> {
        let begun = Instant::now();
        let found = self.leases.get_opt(&self.options.name).await.map_err(|error| report(&error))?;
        let claim = found.as_ref().map(|lease| self.claim(lease)).filter(|claim| !claim.holder.is_empty());
        match found {
            Some(lease) => self.write(lease).await,
            None => self.create().await,
        }
        .map_err(|error| report(&error))?;
        self.leads(begun, health);
        Ok(claim.map_or(Duration::ZERO, |claim| claim.lasts.max(self.options.terms.lasts)))
    }

    /// Leaves the Lease in our name for a while in which nobody is to lead. Nothing is written after this.
    pub(crate) async fn retire(&mut self, lasts: Duration) {
        self.leave(|spec| spec.lease_duration_seconds = i32::try_from(lasts.as_secs()).ok()).await;
    }

    /// One look at the Lease, and one bid. `None`: it is ours for a while. Otherwise how long to wait.
    async fn look(&mut self, begun: Instant, within: Duration, health: &Health) -> Result<Option<Duration>, String> {
        let attempt = timeout(within, self.attempt(begun)).await;
        let (bid, holder) = attempt.unwrap_or_else(|_| Err(format!("no answer within {within:?}")))?;
        if holder != self.told {
            let does = if bid.is_none() { "leading" } else { "standing by" };
            tracing::info!(lease = self.options.name, leader = holder, "{does}");
            self.told.clone_from(&holder);
        }
        match bid {
            None => self.leads(begun, health),
            Some(_) => health.stands_by(holder, begun + self.options.terms.lasts),
        }
        Ok(bid)
    }

    async fn attempt(&mut self, begun: Instant) -> Result<(Option<Duration>, String), String> {
        if let Some(lease) = self.ours.take()
            && self.write(lease).await.is_ok()
        {
            return Ok((None, self.options.identity.clone()));
        }
        let found = self.leases.get_opt(&self.options.name).await.map_err(|error| report(&error))?;
        let claim = found.as_ref().map(|lease| self.claim(lease));
        let holder = claim.as_ref().map(|claim| claim.holder.clone()).unwrap_or_default();
        match self.candidate.look(claim, begun) {
            Bid::Wait(wait) => return Ok((Some(wait), holder)),
            Bid::Take => self.write(found.unwrap_or_default()).await,
            Bid::Create => self.create().await,
        }
        .map_err(|error| report(&error))?;
        Ok((None, self.options.identity.clone()))
    }

    /// We lead from the moment before the request was sent: by the Lease it is later, never earlier.
    fn leads(&self, begun: Instant, health: &Health) {
        self.leadership.extend(begun + self.options.terms.deadline);
        health.leads(begun + self.options.terms.deadline);
    }

    async fn create(&mut self) -> Result<(), kube::Error> {
        let metadata = ObjectMeta { name: Some(self.options.name.clone()), ..ObjectMeta::default() };
        let lease = Lease { metadata, spec: Some(self.spec(None)) };
        self.ours = Some(self.leases.create(&Self::params(), &lease).await?);
        Ok(())
    }

    /// Writes our name, over the very version that was read: who loses this race waits.
    async fn write(&mut self, mut lease: Lease) -> Result<(), kube::Error> {
        lease.spec = Some(self.spec(lease.spec.take()));
        self.ours = Some(self.leases.replace(&self.options.name, &Self::params(), &lease).await?);
        Ok(())
    }

    fn params() -> PostParams {
        PostParams { field_manager: Some(crate::FIELD_MANAGER.to_owned()), ..PostParams::default() }
    }

    fn claim(&self, lease: &Lease) -> Claim {
        let spec = lease.spec.clone().unwrap_or_default();
        let lasts = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        Claim {
            holder: spec.holder_identity.unwrap_or_default(),
            version: lease.resource_version().unwrap_or_default(),
            lasts: lasts.map_or(self.options.terms.lasts, Duration::from_secs),
        }
    }

    fn spec(&self, known: Option<LeaseSpec>) -> LeaseSpec {
        let now = MicroTime((self.clock)());
        let known = known.unwrap_or_default();
        let is_ours = known.holder_identity.as_deref() == Some(&self.options.identity);
        let seconds = i32::try_from(self.options.terms.lasts.as_secs()).unwrap_or(i32::MAX);
        LeaseSpec {
            holder_identity: Some(self.options.identity.clone()),
            lease_duration_seconds: Some(seconds),
            acquire_time: if is_ours { known.acquire_time } else { Some(now.clone()) },
            renew_time: Some(now),
            lease_transitions: Some(known.lease_transitions.unwrap_or_default() + i32::from(!is_ours)),
            ..known
        }
    }
}
