//! Wiring: streams, controllers, health, and an orderly end.

use std::hash::Hash;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{BoxFuture, Either, Ready, ready};
use futures::{FutureExt, Stream, StreamExt, TryStreamExt};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::controller::{Action, Error as ControllerError};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::{Controller, WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use snapback_api::v1alpha1::{Rollback, RollbackPolicy};
use snapback_core::workload::Kind;
use snapback_prometheus::{Source, SourceError};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::announce::Announcer;
use crate::backoff::{OfAWatch, OfAll};
use crate::bounded::bounded;
use crate::caught::caught;
use crate::concern::{policies_of, policies_of_record, questions_of, rollbacks_of};
use crate::config::OperatorConfig;
use crate::context::{BadNow, Clock, Context, Failures};
use crate::error::{Error, report};
use crate::lease::{Elector, Leadership, LeaseOptions, fenced};
use crate::lists::Lists;
use crate::pace::Pace;
use crate::pod_watch::{PodWatches, slim};
use crate::policy::overlap::{SpecChanges, concerned};
use crate::policy::{self, PolicyContext};
use crate::rights::noted;
use crate::rollback;
use crate::rollback::probe::{ProbeError, Prober, Refuses};
use crate::sampler::Sampler;
use crate::telemetry::{Health, Metrics, serve};
use crate::turns::Turns;
use crate::watched::Watched;

/// Longest wait for reconciles under way when the end has begun.
const DRAIN: Duration = Duration::from_secs(8);

/// Why the operator cannot run.
#[derive(Debug, Error)]
pub enum RunError {
    /// A source of the configuration cannot be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Pods could not be asked after an undo.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The configuration cannot be meant.
    #[error("the configuration: {0}")]
    Config(String),
    /// Another replica leads, or may soon.
    #[error("lost the lead: {0}")]
    Lost(String),
    /// The controllers ended by themselves, which is a bug of ours. A process that does nothing must not go on.
    #[error("the controllers have ended by themselves, please report it: {0}")]
    Ended(String),
    /// The port for metrics and health cannot be served.
    #[error("cannot serve metrics and health on {0}: {1}")]
    Serve(SocketAddr, std::io::Error),
}

/// Everything that is settled at start.
pub struct Options {
    /// The operator's configuration.
    pub config: OperatorConfig,
    /// Where metrics and health are served.
    pub listen: SocketAddr,
    /// Our instance's name, for Events.
    pub instance: Option<String>,
    /// The clock.
    pub clock: Clock,
    /// Where several replicas agree on who leads; `None` if there is only this one.
    pub lease: Option<LeaseOptions>,
    /// Which addresses of pods are not asked.
    pub refuses: Refuses,
}

/// Runs the operator until `stop` resolves, or another replica leads.
///
/// The end is in order, and bounded: not ready any more, no new reconciles, those under way drained, the Lease released,
/// then the port closed.
pub async fn run(
    client: Client,
    options: Options,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    let sources = options.config.sources.iter().map(Source::new).collect::<Result<Vec<_>, _>>()?;
    let (metrics, health) = (Arc::new(Metrics::default()), Arc::new(Health::default()));
    let client = noted(bounded(client), &metrics, &health);
    let (stopped, _) = watch::channel(false);
    let listen = options.listen;
    let listener = TcpListener::bind(listen).await.map_err(|error| RunError::Serve(listen, error))?;
    let server = tokio::spawn(serve(listener, Arc::clone(&metrics), Arc::clone(&health), wait(stopped.subscribe())));

    let mut stop = pin!(stop);
    let mut elector =
        options.lease.clone().map(|lease| Elector::new(client.clone(), lease, Arc::clone(&options.clock)));
    let mut is_ours = true;
    if let Some(elector) = &mut elector {
        health.shares();
        is_ours = tokio::select! {
            () = elector.acquire(&health) => true,
            () = &mut stop => false,
        };
    }
    let (mut lost, mut ended) = (None, None);
    if is_ours {
        let leadership = elector.as_ref().map_or_else(Leadership::alone, Elector::leadership);
        metrics.leads(true);
        let lists = Lists::default();
        let work = operate(&fenced(&client, &leadership), options, sources, &metrics, &lists, &stopped)?;
        let mut work = tokio::spawn(work);
        let synced = tokio::spawn(until_synced(lists.clone(), Arc::clone(&health)));
        tokio::select! {
            () = &mut stop => {}
            why = keep(elector.as_mut(), &health) => lost = Some(why),
            why = &mut work => ended = Some(why.map_or_else(|error| error.to_string(), |()| "no stream is left".to_owned())),
        }
        tracing::info!("stopping");
        health.stopping();
        stopped.send_replace(true);
        synced.abort();
        drain(work, &lists, lost.is_some() || ended.is_some()).await;
        leadership.end();
    }
    health.stopping();
    stopped.send_replace(true);
    if let (Some(elector), None) = (&mut elector, &lost) {
        elector.release().await;
    }
    match (server.await, lost.map(RunError::Lost).or(ended.map(RunError::Ended))) {
        (_, Some(why)) => Err(why),
        (Ok(Err(error)), None) => Err(RunError::Serve(listen, error)),
        _ => Ok(()),
    }
}

/// Resolves when we do not lead any more.
async fn keep(elector: Option<&mut Elector>, health: &Health) -> String {
    match elector {
        Some(elector) => elector.keep(health).await,
        None => std::future::pending().await,
    }
}

/// Lets reconciles under way come to their end, for a while. Whoever does not lead any more cannot write, and a controller
/// that is stopped before its first list never ends by itself: neither has anything to finish.
async fn drain(mut work: JoinHandle<()>, lists: &Lists, is_lost: bool) {
    let is_working = !is_lost && lists.all().now_or_never().is_some();
    if is_working && tokio::time::timeout(DRAIN, &mut work).await.is_err() {
        tracing::warn!("reconciles under way were cut off; the next start takes them up again");
    }
    work.abort();
}

/// Both controllers, and the watches that they share.
fn operate(
    client: &Client,
    options: Options,
    sources: Vec<Source>,
    metrics: &Arc<Metrics>,
    lists: &Lists,
    stopped: &watch::Sender<bool>,
) -> Result<impl Future<Output = ()> + use<>, RunError> {
    let namespace = options.config.watch_namespaces.first().cloned();
    let until_stopped = || wait(stopped.subscribe());

    // One metadata watch a kind for all workloads: names, labels, uids and generations.
    let (rolled, for_rollbacks) = mpsc::unbounded_channel::<String>();
    let watching = Watching { client, namespace: namespace.as_deref(), lists, rolled };
    let (deployments, deployment_events) = watching.metadata(|lists| &lists.deployments);
    let (stateful_sets, stateful_set_events) = watching.metadata(|lists| &lists.stateful_sets);
    let (daemon_sets, daemon_set_events) = watching.metadata(|lists| &lists.daemon_sets);

    // One watch of the records serves both controllers.
    let (rollback_store, rollback_writer) = reflector::store::<DeserializeGuard<Rollback>>();
    let (wake, woken) = mpsc::unbounded_channel();
    let shared = Arc::new(Context {
        client: client.clone(),
        workloads: Watched { deployments, stateful_sets, daemon_sets },
        lists: lists.clone(),
        sampler: Sampler::new(sources, options.config.default_source.clone()),
        prober: Prober::new(options.refuses)?,
        pod_watches: PodWatches::new(client.clone(), wake),
        announcer: Announcer::new(client.clone(), options.instance),
        metrics: Arc::clone(metrics),
        started: (options.clock)(),
        clock: options.clock,
        limits: options.config.limits.limits().map_err(RunError::Config)?,
        history: options.config.history().map_err(RunError::Config)?,
        retries: crate::policy::Retries::default(),
        away: crate::policy::Away::default(),
        features: options.config.features,
        gitops: options.config.gitops.clone(),
        ends_holds: false,
        bad_now: BadNow::default(),
        records: rollback_store.clone(),
        failures: Failures::default(),
        retold: Mutex::default(),
    });

    let (policy_store, policy_writer) = reflector::store::<DeserializeGuard<RollbackPolicy>>();
    metrics.watches(policy_store.clone());
    let policy_api = api::<DeserializeGuard<RollbackPolicy>>(client, namespace.as_deref());
    let (respecified, for_others) = mpsc::unbounded_channel();
    let (deleted, for_questions) = mpsc::unbounded_channel();
    let mut changes = SpecChanges::default();
    let forgetting = Arc::clone(&shared);
    let policy_events = watcher(policy_api, watch_config())
        .backoff(OfAWatch::default())
        .reflect(policy_writer)
        .inspect_ok(move |event| {
            for changed in changes.of(event) {
                if matches!(event, watcher::Event::Delete(_) | watcher::Event::InitDone) {
                    policy::forget(&forgetting, &changed);
                    _ = deleted.send(changed.clone());
                }
                _ = respecified.send(changed);
            }
        })
        .inspect(lists.note(|lists| &lists.policies))
        .applied_objects();
    let (turns, called) = Turns::new();
    let policies = Controller::for_stream(policy_events, policy_store.clone()).trigger_backoff(OfAll);
    let (of_record, of_policy) = (policy_store.clone(), policy_store.clone());
    let [of_deployment, of_stateful_set, of_daemon_set] = std::array::from_fn(|_| policy_store.clone());
    let (acted, for_policies) = mpsc::unbounded_channel();
    let rollback_api = api::<DeserializeGuard<Rollback>>(client, namespace.as_deref());
    let rollback_events = watcher(rollback_api, watch_config())
        .backoff(OfAWatch::default())
        .reflect(rollback_writer)
        .inspect(lists.note(|lists| &lists.rollbacks))
        .touched_objects()
        .inspect_ok(move |rollback| _ = acted.send(Ok(rollback.clone())));
    let policies = policies
        .watches_stream(deployment_events, move |one| policies_of(&of_deployment, Kind::Deployment, &one.metadata))
        .watches_stream(stateful_set_events, move |one| policies_of(&of_stateful_set, Kind::StatefulSet, &one.metadata))
        .watches_stream(daemon_set_events, move |one| policies_of(&of_daemon_set, Kind::DaemonSet, &one.metadata))
        .watches_stream(tokio_stream(for_policies), move |rollback| policies_of_record(&of_record, &rollback))
        .reconcile_on(tokio_stream(called))
        .reconcile_on(tokio_stream(woken))
        .reconcile_on(of_each(for_others, move |changed| concerned(&of_policy, &changed)))
        .graceful_shutdown_on(until_stopped());
    let policy_context = Arc::new(PolicyContext { shared: Arc::clone(&shared), policies: policy_store });

    let (of_workload, of_policy) = (rollback_store.clone(), rollback_store.clone());
    let (acting_turns, called) = Turns::new();
    let rollbacks = Controller::for_stream(rollback_events, rollback_store).trigger_backoff(OfAll);
    let rollbacks = rollbacks
        .reconcile_on(tokio_stream(called))
        .reconcile_on(of_each(for_rollbacks, move |uid: String| rollbacks_of(&of_workload, &uid)))
        .reconcile_on(of_each(for_questions, move |gone| questions_of(&of_policy, &gone)))
        .graceful_shutdown_on(until_stopped());

    let judging = policies.run(in_turn(turns.clone(), policy::reconcile), on_policy_error, policy_context).for_each(
        move |done| {
            log("policy", &turns, done);
            ready(())
        },
    );
    let acting = rollbacks.run(in_turn(acting_turns.clone(), rollback::reconcile), on_rollback_error, shared).for_each(
        move |done| {
            log("rollback", &acting_turns, done);
            ready(())
        },
    );
    Ok(async move {
        tokio::join!(judging, acting);
    })
}

async fn until_synced(lists: Lists, health: Arc<Health>) {
    lists.all().await;
    tracing::info!("watching: the first lists are in");
    health.synced();
}

/// Reconciles an object at once, or once it is its turn and its pace allows it.
fn in_turn<K, C, F>(
    turns: Turns<ObjectRef<K>>,
    reconcile: impl Fn(Arc<K>, Arc<C>) -> F,
) -> impl FnMut(Arc<K>, Arc<C>) -> InTurn
where
    K: Resource + 'static,
    K::DynamicType: Default + Clone + Eq + Hash + Send,
    F: Future<Output = Result<Action, Error>> + Send + 'static,
{
    let pace = Pace::default();
    move |object, context| {
        let who = ObjectRef::from_obj(&*object);
        let Some(turn) = turns.take(who.clone()) else {
            // It will be called.
            return Either::Right(ready(Ok(Action::await_change())));
        };
        if let Err(left) = pace.begin(who, Instant::now()) {
            return Either::Right(ready(Ok(Action::requeue(left))));
        }
        let look = caught(reconcile(object, context));
        Either::Left(
            async move {
                let _turn = turn;
                look.await
            }
            .boxed(),
        )
    }
}

/// A reconcile, or the answer that it is not yet time for it.
type InTurn = Either<BoxFuture<'static, Result<Action, Error>>, Ready<Result<Action, Error>>>;

/// How everything is watched. A watch is opened anew each minute: on one whose connection is dead and stays open nothing
/// comes any more, and nobody would know for five minutes.
pub(crate) fn watch_config() -> watcher::Config {
    watcher::Config::default().timeout(60)
}

/// What the metadata watches have in common.
struct Watching<'a> {
    client: &'a Client,
    namespace: Option<&'a str>,
    lists: &'a Lists,
    /// Gets the UID of every workload that changed.
    rolled: mpsc::UnboundedSender<String>,
}

impl Watching<'_> {
    fn metadata<K>(
        &self,
        which: fn(&Lists) -> &watch::Sender<bool>,
    ) -> (
        reflector::Store<PartialObjectMeta<K>>,
        impl Stream<Item = Result<PartialObjectMeta<K>, watcher::Error>> + Send + use<K>,
    )
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + Send
            + Sync
            + 'static,
    {
        let (store, writer) = reflector::store::<PartialObjectMeta<K>>();
        let rolled = self.rolled.clone();
        let events = watcher(api::<PartialObjectMeta<K>>(self.client, self.namespace), watch_config())
            .backoff(OfAWatch::default())
            .modify(slim)
            .reflect(writer)
            .inspect(self.lists.note(which))
            .touched_objects()
            .inspect_ok(move |one| _ = rolled.send(one.uid().unwrap_or_default()));
        (store, events)
    }
}

async fn wait(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone: that is the end, too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

pub(crate) fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope>,
    K::DynamicType: Default,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// What each of these concerns.
fn of_each<T, U>(
    receiver: mpsc::UnboundedReceiver<T>,
    mut concerned: impl FnMut(T) -> Vec<U> + Send + 'static,
) -> impl Stream<Item = U> + Send
where
    T: Send + 'static,
    U: Send + 'static,
{
    tokio_stream(receiver).flat_map(move |one| futures::stream::iter(concerned(one)))
}

fn tokio_stream<T: Send + 'static>(receiver: mpsc::UnboundedReceiver<T>) -> impl futures::Stream<Item = T> + Send {
    futures::stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|item| (item, receiver)))
}

#[allow(clippy::needless_pass_by_value, reason = "the signature that kube asks for")]
fn on_policy_error(object: Arc<DeserializeGuard<RollbackPolicy>>, error: &Error, ctx: Arc<PolicyContext>) -> Action {
    let key = policy::key_of(object.meta());
    count_panic(&ctx.shared.metrics, "policy", error);
    Action::requeue(error.retry_after(ctx.shared.failures.failed(&key, Instant::now())))
}

#[allow(clippy::needless_pass_by_value, reason = "the signature that kube asks for")]
fn on_rollback_error(object: Arc<DeserializeGuard<Rollback>>, error: &Error, ctx: Arc<Context>) -> Action {
    let meta = object.meta();
    let key = format!("rollback {}/{}", meta.namespace.as_deref().unwrap_or_default(), object.name_any());
    count_panic(&ctx.metrics, "rollback", error);
    Action::requeue(error.retry_after(ctx.failures.failed(&key, Instant::now())))
}

/// All other outcomes are counted where they come from.
fn count_panic(metrics: &Metrics, controller: &'static str, error: &Error) {
    if matches!(error, Error::Panic(_)) {
        metrics.reconciled(controller, error.reason());
    }
}

fn log<K>(
    controller: &'static str,
    turns: &Turns<ObjectRef<K>>,
    done: Result<(ObjectRef<K>, Action), ControllerError<Error, watcher::Error>>,
) where
    K: Resource + std::fmt::Debug,
    K::DynamicType: std::fmt::Debug + Default + Clone + Eq + Hash,
{
    match done {
        Ok(_) => {}
        Err(ControllerError::ObjectNotFound(gone)) => {
            turns.pass(&ObjectRef::new(&gone.name).within(gone.namespace.as_deref().unwrap_or_default()));
        }
        Err(ControllerError::ReconcilerFailed(error @ Error::Conflict(_), object)) => {
            tracing::debug!(controller, object = object.name, "{}", report(&error));
        }
        Err(ControllerError::ReconcilerFailed(error, object)) => {
            tracing::warn!(controller, object = object.name, "{}", report(&error));
        }
        Err(error) => tracing::warn!(controller, "the watch is broken: {error}"),
    }
}
