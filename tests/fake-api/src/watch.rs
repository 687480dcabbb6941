//! Watches: what was missed first, then what comes.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};

use crate::route::Call;
use crate::server::{Body, Inner};
use crate::store::selects;

/// An endless body of watch events.
pub(crate) fn body(inner: Arc<Inner>, call: &Call) -> Body {
    let woken = inner.changed.subscribe();
    let start = (inner, call.clone(), call.since, woken);
    let events = stream::unfold(start, async |(inner, call, since, mut woken)| {
        loop {
            woken.borrow_and_update();
            let (lines, until) = lines(&inner, &call, since);
            if !lines.is_empty() {
                return Some((lines, (inner, call, until, woken)));
            }
            if woken.changed().await.is_err() {
                return None;
            }
        }
    });
    let frames = events.map(|lines| Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from(lines))));
    StreamBody::new(frames).boxed_unsync()
}

fn lines(inner: &Inner, call: &Call, since: u64) -> (String, u64) {
    let store = inner.store();
    let concerned = store.log.iter().filter(|change| {
        change.version > since
            && change.resource == call.resource
            && (call.namespace.is_empty() || change.object["metadata"]["namespace"] == call.namespace.as_str())
            && selects(&call.selector, &change.object)
    });
    let lines = concerned.map(|change| {
        let object = shown(call, &change.object);
        format!("{}\n", json!({"type": change.kind, "object": object}))
    });
    (lines.collect(), store.version())
}

/// An object as the request wants to see it.
pub(crate) fn shown(call: &Call, object: &Value) -> Value {
    if !call.metadata_only {
        return object.clone();
    }
    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"]})
}
