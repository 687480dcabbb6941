//! The server: one service, one store.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, future};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::client::Connection;
use crate::fault::{Fault, Faults, HANGS, Trouble};
use crate::route::{Call, Verb};
use crate::store::{Change, Refusal, Store, not_found};
use crate::{watch, workloads};

/// What is answered: one piece, or an endless stream.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

pub(crate) struct Inner {
    store: Mutex<Store>,
    faults: Mutex<Faults>,
    calls: Mutex<Vec<Call>>,
    pub(crate) changed: tokio::sync::watch::Sender<u64>,
    clock: Clock,
}

impl Inner {
    /// Makes every open watch look what is new.
    fn wake(&self) {
        self.changed.send_modify(|_| ());
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fake API server. Clones share one state.
#[derive(Clone)]
pub struct FakeApi(Arc<Inner>);

impl FakeApi {
    /// An empty cluster, with this clock.
    pub fn new(clock: Clock) -> Self {
        Self(Arc::new(Inner {
            store: Mutex::default(),
            faults: Mutex::default(),
            calls: Mutex::default(),
            changed: tokio::sync::watch::channel(0).0,
            clock,
        }))
    }

    /// A client of its own: a fault that kills it leaves other clients alive.
    pub fn client(&self) -> Client {
        self.client_over(Connection::default())
    }

    /// A client of a server that is always so far behind: what its caches are filled from is old. What it reads by name, or
    /// lists for itself, is not: such reads are answered by a quorum.
    pub fn client_behind(&self, behind: Duration) -> Client {
        let connection = Connection::default();
        connection.falls_behind(behind, None);
        self.client_over(connection)
    }

    fn client_over(&self, connection: Connection) -> Client {
        let (inner, connection) = (Arc::clone(&self.0), Arc::new(connection));
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            answer(Arc::clone(&inner), Arc::clone(&connection), request).boxed()
        });
        Client::new(service, "default")
    }

    /// The first request from now on that matches fails like this.
    pub fn fault(&self, matches: impl Fn(&Call) -> bool + Send + 'static, fault: Fault) {
        self.0.faults.lock().unwrap_or_else(PoisonError::into_inner).add(Box::new(matches), fault);
    }

    /// Faults that no request has met.
    pub fn faults_left(&self) -> usize {
        self.0.faults.lock().unwrap_or_else(PoisonError::into_inner).left()
    }

    /// Every request so far, those that failed too.
    pub fn calls(&self) -> Vec<Call> {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many watches are open.
    pub fn watches(&self) -> usize {
        self.0.changed.receiver_count()
    }

    /// All that happened after a version, in the order in which it was accepted.
    pub fn history(&self, after: u64) -> Vec<Change> {
        self.0.store().after(after).cloned().collect()
    }

    /// The newest version of any object: while it stays, nothing has changed.
    pub fn version(&self) -> u64 {
        self.0.store().version()
    }

    /// An object as it is.
    pub fn object(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        self.0.store().get(resource, namespace, name).cloned()
    }

    /// All objects of a kind in a namespace.
    pub fn objects(&self, resource: &str, namespace: &str) -> Vec<Value> {
        self.0.store().list(resource, namespace, "")
    }

    /// Applies an object as a user would: creates it, or replaces all but its status.
    pub fn apply(&self, api_version: &str, resource: &str, object: &Value) {
        self.apply_as("user", api_version, resource, object);
    }

    /// The same in the name of another field manager.
    pub fn apply_as(&self, manager: &str, api_version: &str, resource: &str, object: &Value) {
        let call = update(manager, api_version, resource, object);
        let known = self.object(resource, &call.namespace, &call.name);
        let done = match known {
            None => carry_out(&self.0, &Call { verb: Verb::Create, ..call }, "", object.to_string().as_bytes()),
            Some(known) => {
                let mut next = known;
                json_patch::merge(&mut next, object);
                // Whoever applies does not take away a pause that he never wrote.
                let paused = next["spec"]["paused"].take();
                next["spec"] = object["spec"].clone();
                if !paused.is_null() {
                    next["spec"]["paused"] = paused;
                }
                carry_out(&self.0, &call, "", next.to_string().as_bytes())
            }
        };
        done.expect("the user's object is accepted");
    }

    /// Replaces an object's status, as its controller would.
    pub fn report(&self, api_version: &str, resource: &str, object: &Value) {
        let call = Call { subresource: "status".to_owned(), ..update("", api_version, resource, object) };
        carry_out(&self.0, &call, "", object.to_string().as_bytes()).expect("there is such an object");
    }

    /// Deletes an object as a user would.
    pub fn delete(&self, api_version: &str, resource: &str, namespace: &str, name: &str) {
        let root = if api_version.contains('/') { "apis" } else { "api" };
        let request = Request::delete(format!("/{root}/{api_version}/namespaces/{namespace}/{resource}/{name}"));
        let call = Call::parse(&request.body(()).expect("a request")).expect("a known path");
        carry_out(&self.0, &call, "", b"").expect("there is such an object");
    }
}

/// The request with which an object is replaced.
fn update(manager: &str, api_version: &str, resource: &str, object: &Value) -> Call {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    Call {
        verb: Verb::Update,
        resource: resource.to_owned(),
        api_version: api_version.to_owned(),
        namespace: text("namespace"),
        name: text("name"),
        subresource: String::new(),
        selector: String::new(),
        since: 0,
        dry_run: false,
        manager: manager.to_owned(),
        metadata_only: false,
        bookmarks: false,
        cached: false,
    }
}

async fn answer(
    inner: Arc<Inner>,
    client: Arc<Connection>,
    request: Request<kube::client::Body>,
) -> Result<Response<Body>, std::io::Error> {
    let Some(call) = Call::parse(&request) else {
        return Ok(refusal(&(404, "NotFound", request.uri().to_string())));
    };
    if client.is_dead() {
        return future::pending().await;
    }
    inner.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call.clone());
    let fault = inner.faults.lock().unwrap_or_else(PoisonError::into_inner).take(&call);
    let content_type = request.headers().get("content-type").and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    let body = request.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
    match fault {
        Some(Fault::Status(code)) => return Ok(refusal(&injected(code))),
        Some(Fault::Busy(code, seconds)) => {
            let mut response = refusal(&injected(code));
            response.headers_mut().insert("retry-after", seconds.into());
            return Ok(response);
        }
        Some(Fault::Denied(words)) => return Ok(refusal(&(403, "Forbidden", words.to_owned()))),
        Some(Fault::Lost) => return Err(lost()),
        Some(Fault::DiesBefore) => {
            client.dies();
            return future::pending().await;
        }
        Some(Fault::NoAnswer(later)) if !later.is_zero() => {
            tokio::spawn(async move {
                sleep(later).await;
                // Whatever comes of it, nobody hears.
                _ = carry_out(&inner, &call, &content_type, &body);
            });
            sleep(HANGS).await;
            return Err(lost());
        }
        Some(Fault::OlderServer { behind, lasting }) => {
            client.falls_behind(behind, Some(lasting));
            // The old connections are gone, and the caches are filled anew.
            client.trouble(Trouble::Expires);
            inner.wake();
        }
        _ => {}
    }
    let response = match carry_out_for(&inner, &client, &call, &content_type, &body) {
        Ok(None) => Response::new(watch::body(&inner, &client, &call)),
        Ok(Some(value)) => Response::new(whole(&value)),
        Err(refused) => refusal(&refused),
    };
    match fault {
        Some(Fault::AnswerLost) => return Err(lost()),
        Some(Fault::NoAnswer(_)) => {
            sleep(HANGS).await;
            return Err(lost());
        }
        Some(Fault::Slow(time)) => sleep(time).await,
        Some(Fault::DiesAfter) => {
            client.dies();
            return future::pending().await;
        }
        Some(Fault::Watches(trouble)) => {
            client.trouble(trouble);
            inner.wake();
        }
        _ => {}
    }
    Ok(response)
}

/// A refusal as the real one words it.
fn injected(code: u16) -> Refusal {
    let reason = match code {
        403 => "Forbidden",
        409 => "Conflict",
        410 => "Expired",
        422 => "Invalid",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    };
    (code, reason, "an injected fault".to_owned())
}

fn lost() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::ConnectionReset, "an injected fault")
}

/// The same for a client, whose server may be behind: that shows in what its caches are filled from.
fn carry_out_for(
    inner: &Inner,
    client: &Connection,
    call: &Call,
    content_type: &str,
    body: &[u8],
) -> Result<Option<Value>, Refusal> {
    if call.verb == Verb::List && call.cached {
        let store = inner.store();
        return Ok(Some(listed(&store, call, client.visible(&store))));
    }
    carry_out(inner, call, content_type, body)
}

fn listed(store: &Store, call: &Call, version: u64) -> Value {
    json!({
        "apiVersion": call.api_version, "kind": "List",
        "metadata": {"resourceVersion": version.to_string()}, "items": watch::items(store, call, version)
    })
}

/// Carries a request out; `None` is an endless answer.
fn carry_out(inner: &Inner, call: &Call, content_type: &str, body: &[u8]) -> Result<Option<Value>, Refusal> {
    let now = (inner.clock)().to_string();
    let mut store = inner.store();
    let parsed = |body: &[u8]| -> Result<Value, Refusal> {
        serde_json::from_slice(body).map_err(|error| (400, "BadRequest", error.to_string()))
    };
    let done = match call.verb {
        Verb::Watch => return Ok(None),
        Verb::Get => {
            let found = store.get(&call.resource, &call.namespace, &call.name).ok_or_else(|| not_found(call))?;
            return Ok(Some(watch::shown(call, found)));
        }
        Verb::List => return Ok(Some(listed(&store, call, store.version()))),
        Verb::Create if call.dry_run => return store.trial().create(call, parsed(body)?, &now).map(Some),
        Verb::Create => {
            let object = parsed(body)?;
            store.create(call, object, &now)?
        }
        Verb::Update => {
            let object = parsed(body)?;
            store.update(call, object)?
        }
        Verb::Patch if call.dry_run => return store.trial().patch(call, content_type, body).map(Some),
        Verb::Patch => store.patch(call, content_type, body)?,
        Verb::Delete => store.delete(call, &serde_json::from_slice(body).unwrap_or_default())?,
    };
    if call.resource == "deployments" {
        workloads::roll_out(&mut store, &call.namespace, &call.name, &now);
    }
    if call.resource == "jobs" && call.verb == Verb::Create {
        workloads::run_job(&mut store, &call.namespace, done["metadata"]["name"].as_str().unwrap_or_default());
    }
    let version = store.version();
    drop(store);
    inner.changed.send_replace(version);
    Ok(Some(done))
}

fn refusal((code, reason, message): &Refusal) -> Response<Body> {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message
    });
    let response = Response::builder().status(*code).header("content-type", "application/json");
    response.body(whole(&status)).expect("a response")
}

fn whole(value: &Value) -> Body {
    Full::from(value.to_string().into_bytes()).boxed_unsync()
}
