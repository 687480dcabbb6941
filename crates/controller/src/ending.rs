//! Ending every hold, before the operator and its rights go.
//!
//! A hold that outlived the operator would stay for ever: nobody would know when the source has moved on, and its finalizer
//! would keep the record, and with it the kind, from being deleted.
//!
//! ```text
//! seize   take the Lease, and wait until no operator writes any more
//! end     every hold, by the code by which the operator ends one that nobody wants
//! retire  nobody leads for a minute: until then the replicas are gone
//! ```
//! Whoever dies in between leaves a Lease that runs out, and holds that the operator keeps as before.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::Client;
use kube::core::DeserializeGuard;
use kube::runtime::reflector;
use snapback_api::v1alpha1::{Rollback, RollbackPolicy};
use thiserror::Error;
use tokio::time::Instant;

use crate::announce::Announcer;
use crate::bounded::bounded;
use crate::config::OperatorConfig;
use crate::context::{BadNow, Clock, Context, Failures};
use crate::error::{Error, report};
use crate::lease::{Elector, Leadership, LeaseOptions, fenced};
use crate::lists::Lists;
use crate::pod_watch::PodWatches;
use crate::rollback::probe::{ProbeError, Prober, Refuses};
use crate::rollback::{Left, end_all};
use crate::run::api;
use crate::sampler::Sampler;
use crate::telemetry::{Health, Metrics};
use crate::watched::Watched;

/// For how long nobody leads once all holds have ended. Long enough for the operator's pods to go, and short for one that is
/// installed again.
const RETIRED: Duration = Duration::from_mins(1);

/// Why holds are left.
#[derive(Debug, Error)]
pub enum EndError {
    /// The configuration cannot be meant.
    #[error("the configuration: {0}")]
    Config(String),
    /// Nothing could be begun.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// Another process took the lead meanwhile, or nobody answers.
    #[error("the Lease was not to be had: {0}")]
    Lease(String),
    /// The records cannot be read.
    #[error("{}", report(.0))]
    Records(Error),
    /// Some are.
    #[error("{}", told(.0))]
    Left(Vec<Left>),
}

/// Everything that is settled at start.
pub struct Ending {
    /// The operator's configuration: what it may hold, and where.
    pub config: OperatorConfig,
    /// The Lease of the operator that is to stand by; `None` if none runs.
    pub lease: Option<LeaseOptions>,
    /// Our instance's name, for Events.
    pub instance: Option<String>,
    /// The clock.
    pub clock: Clock,
    /// How long it may take.
    pub within: Duration,
    /// Which addresses of pods are not asked.
    pub refuses: Refuses,
}

/// Ends every hold. Gives the records whose holds it ended.
///
/// # Errors
/// What is left, and what a person can do about it.
pub async fn end_holds(client: Client, options: Ending) -> Result<Vec<String>, EndError> {
    let until = Instant::now() + options.within;
    let (client, health) = (bounded(client), Health::default());
    let mut elector =
        options.lease.clone().map(|lease| Elector::new(client.clone(), lease, Arc::clone(&options.clock)));
    let leadership = elector.as_ref().map_or_else(Leadership::alone, Elector::leadership);
    if let Some(elector) = &mut elector {
        let seized = tokio::time::timeout_at(until, elector.seize(&health)).await;
        seized.unwrap_or_else(|_| Err("not in time".to_owned())).map_err(EndError::Lease)?;
    }
    let ended = {
        let client = fenced(&client, &leadership);
        let work = end(&client, options, until);
        match &mut elector {
            Some(elector) => tokio::select! {
                ended = work => ended,
                why = elector.keep(&health) => Err(EndError::Lease(why)),
            },
            None => work.await,
        }
    };
    match (&mut elector, &ended) {
        (Some(elector), Ok(_)) => elector.retire(RETIRED).await,
        // What is left the operator goes on with.
        (Some(elector), Err(_)) => elector.release().await,
        (None, _) => {}
    }
    ended
}

async fn end(client: &Client, options: Ending, until: Instant) -> Result<Vec<String>, EndError> {
    let namespace = options.config.watch_namespaces.first().cloned();
    let (store, mut writer) = reflector::store::<DeserializeGuard<Rollback>>();
    let (wake, _) = tokio::sync::mpsc::unbounded_channel::<reflector::ObjectRef<DeserializeGuard<RollbackPolicy>>>();
    let ctx = Context {
        client: client.clone(),
        // Nothing is watched, sampled or judged.
        workloads: Watched {
            deployments: reflector::store().0,
            stateful_sets: reflector::store().0,
            daemon_sets: reflector::store().0,
        },
        lists: Lists::default(),
        sampler: Sampler::new(Vec::new(), None),
        prober: Prober::new(options.refuses)?,
        pod_watches: PodWatches::new(client.clone(), wake),
        announcer: Announcer::new(client.clone(), options.instance),
        metrics: Arc::new(Metrics::default()),
        started: (options.clock)(),
        clock: options.clock,
        limits: options.config.limits.limits().map_err(EndError::Config)?,
        history: options.config.history().map_err(EndError::Config)?,
        retries: crate::policy::Retries::default(),
        away: crate::policy::Away::default(),
        features: options.config.features,
        gitops: options.config.gitops,
        ends_holds: true,
        bad_now: BadNow::default(),
        records: store,
        failures: Failures::default(),
        retold: Mutex::default(),
    };
    let rollbacks = api::<DeserializeGuard<Rollback>>(client, namespace.as_deref());
    match end_all(&ctx, &rollbacks, &mut writer, until).await {
        Ok((ended, left)) if left.is_empty() => Ok(ended),
        Ok((_, left)) => Err(EndError::Left(left)),
        Err(error) => Err(EndError::Records(error)),
    }
}

fn told(left: &[Left]) -> String {
    let each = left.iter().map(|one| format!("{}: {}\n{}", one.record, one.why, one.by_hand));
    format!("these holds are left; run this again, or end them by hand:\n{}", each.collect::<Vec<_>>().join("\n"))
}
