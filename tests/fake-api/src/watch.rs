//! Watches: what was missed first, then what comes, with whatever goes wrong on the way.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, pending, select};
use futures::stream::{self, StreamExt};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep_until};

use crate::client::Connection;
use crate::fault::Trouble;
use crate::route::Call;
use crate::server::{Body, Inner};
use crate::store::{Change, Store, selects};

/// How often a watch that asked for bookmarks gets one.
const BOOKMARK: Duration = Duration::from_mins(1);

/// One open watch.
struct Watch {
    inner: Arc<Inner>,
    client: Arc<Connection>,
    call: Call,
    /// The version up to which all was told, or will never be.
    since: u64,
    woken: Receiver<u64>,
    /// Troubles that were heard of.
    heard: usize,
    /// The one that lasts, and until when.
    trouble: Option<(Trouble, Instant)>,
    bookmark: Instant,
    is_over: bool,
}

/// An endless body of watch events.
pub(crate) fn body(inner: &Arc<Inner>, client: &Arc<Connection>, call: &Call) -> Body {
    let watch = Watch {
        inner: Arc::clone(inner),
        client: Arc::clone(client),
        call: call.clone(),
        since: call.since,
        woken: inner.changed.subscribe(),
        heard: client.troubles(),
        trouble: None,
        bookmark: Instant::now() + BOOKMARK,
        is_over: false,
    };
    let lines = stream::unfold(watch, async |mut watch| watch.next().await.map(|lines| (lines, watch)));
    let frames = lines.map(|lines| Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from(lines))));
    StreamBody::new(frames).boxed_unsync()
}

impl Watch {
    /// What comes next on the wire; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            self.woken.borrow_and_update();
            if self.is_over {
                return None;
            }
            if let Some(trouble) = self.client.trouble_after(self.heard) {
                self.heard += 1;
                match trouble {
                    Trouble::Ends => return None,
                    Trouble::Expires => return Some(self.expired()),
                    Trouble::Silent => pending::<()>().await,
                    Trouble::Drops(time) | Trouble::Repeats(time) | Trouble::Reorders(time) | Trouble::Late(time) => {
                        self.trouble = Some((trouble, Instant::now() + time));
                    }
                }
            }
            if let Some(held) = self.held_back() {
                self.wait(Some(held)).await;
                continue;
            }
            if let Some((Trouble::Drops(_), _)) = self.trouble {
                return Some(self.expired());
            }
            let (lines, again) = self.lines();
            if !lines.is_empty() {
                return Some(lines);
            }
            if self.call.bookmarks && Instant::now() >= self.bookmark {
                self.bookmark = Instant::now() + BOOKMARK;
                return Some(self.bookmarked());
            }
            let bookmark = self.call.bookmarks.then_some(self.bookmark);
            self.wait([again, bookmark].into_iter().flatten().min()).await;
        }
    }

    /// Until when nothing is told.
    fn held_back(&self) -> Option<Instant> {
        let (trouble, until) = self.trouble?;
        (!matches!(trouble, Trouble::Repeats(_)) && Instant::now() < until).then_some(until)
    }

    /// Until something changes, or it is time.
    async fn wait(&mut self, next: Option<Instant>) {
        let timer = async {
            match next {
                Some(next) => sleep_until(next).await,
                None => pending().await,
            }
        };
        let (timer, changed) = (std::pin::pin!(timer), std::pin::pin!(self.woken.changed()));
        if let Either::Right((Err(_), _)) = select(timer, changed).await {
            self.is_over = true;
        }
    }

    /// The events that are due, and when a server that is behind has the next one.
    fn lines(&mut self) -> (String, Option<Instant>) {
        let store = self.inner.store();
        let visible = self.client.visible(&store).max(self.since);
        let mut due: Vec<&Change> = store.after(self.since).filter(|change| change.version <= visible).collect();
        due.retain(|change| concerns(&self.call, change));
        let times = match self.trouble {
            Some((Trouble::Repeats(_), until)) if Instant::now() < until => 2,
            Some((Trouble::Reorders(_), _)) => {
                reorder(&mut due);
                1
            }
            _ => 1,
        };
        if times == 1 {
            self.trouble = None;
        }
        let line = |change: &&Change| {
            let object = shown(&self.call, &change.object);
            format!("{}\n", json!({"type": change.kind, "object": object})).repeat(times)
        };
        let lines: String = due.iter().map(line).collect();
        let next = store.after(visible).next().map(|change| change.at);
        let again = self.client.lag().and_then(|lag| Some(next? + lag));
        self.since = visible;
        (lines, [again, self.client.caught_up()].into_iter().flatten().min())
    }

    fn expired(&mut self) -> String {
        self.is_over = true;
        let status = json!({
            "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 410, "reason": "Expired",
            "message": format!("too old resource version: {}", self.since)
        });
        format!("{}\n", json!({"type": "ERROR", "object": status}))
    }

    fn bookmarked(&self) -> String {
        let object = json!({
            "apiVersion": self.call.api_version, "kind": "Object", "metadata": {"resourceVersion": self.since.to_string()}
        });
        format!("{}\n", json!({"type": "BOOKMARK", "object": object}))
    }
}

fn concerns(call: &Call, change: &Change) -> bool {
    change.resource == call.resource
        && (call.namespace.is_empty() || change.object["metadata"]["namespace"] == call.namespace.as_str())
        && selects(&call.selector, &change.object)
}

/// The newest object first; what happened to one object stays in its order.
fn reorder(due: &mut [&Change]) {
    let place =
        |change: &Change| (change.object["metadata"]["namespace"].clone(), change.object["metadata"]["name"].clone());
    let newest: Vec<((Value, Value), u64)> = due.iter().map(|change| (place(change), change.version)).collect();
    let last = |change: &Change| newest.iter().rev().find(|(of, _)| *of == place(change)).map(|(_, version)| *version);
    due.sort_by_key(|change| (std::cmp::Reverse(last(change)), change.version));
}

/// An object as the request wants to see it.
pub(crate) fn shown(call: &Call, object: &Value) -> Value {
    if !call.metadata_only {
        return object.clone();
    }
    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"]})
}

/// The objects of a list, as its server knows them.
pub(crate) fn items(store: &Store, call: &Call, version: u64) -> Vec<Value> {
    let found = if version == store.version() {
        store.list(&call.resource, &call.namespace, &call.selector)
    } else {
        store.list_of(version, &call.resource, &call.namespace, &call.selector)
    };
    found.iter().map(|object| shown(call, object)).collect()
}
