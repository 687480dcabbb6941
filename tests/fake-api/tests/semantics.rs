//! What the fake does that is not obvious: its faults, and what a client gets to see of the past.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions, WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use snapback_fake_api::{Call, FakeApi, Fault, Trouble, Verb};
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

fn server() -> FakeApi {
    FakeApi::new(Arc::new(|| Timestamp::UNIX_EPOCH))
}

fn set(api: &FakeApi, name: &str, value: &str) {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": {"is": value}
    });
    api.apply("v1", "configmaps", &object);
}

fn maps(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), "default")
}

fn pages() -> ListParams {
    ListParams::default().limit(500)
}

fn value(map: &ConfigMap) -> String {
    map.data.as_ref().unwrap()["is"].clone()
}

/// `name=value` of each change, or what else came, as the client hears of it within a minute from the version on.
async fn told(client: &Client, since: &str) -> Vec<String> {
    let events = maps(client).watch(&WatchParams::default().timeout(290), since).await.unwrap();
    let read = |event: WatchEvent<ConfigMap>| match event {
        WatchEvent::Added(map) | WatchEvent::Modified(map) => format!("{}={}", map.name_any(), value(&map)),
        WatchEvent::Deleted(map) => format!("{} gone", map.name_any()),
        WatchEvent::Bookmark(mark) => format!("bookmark {}", mark.metadata.resource_version),
        WatchEvent::Error(status) => format!("error {}", status.code),
    };
    let mut all = Vec::new();
    let mut events = events.map_ok(read).boxed();
    let end = Instant::now() + 59 * SECOND;
    while let Ok(event) = timeout(end - Instant::now(), events.next()).await {
        let Some(event) = event else {
            all.push("end".to_owned());
            break;
        };
        all.push(event.unwrap());
    }
    all
}

/// What a watch hears of two objects that change in turns, when its connection fares so half a second later.
async fn told_in(trouble: Trouble) -> Vec<String> {
    let api = server();
    let client = api.client();
    set(&api, "a", "0");
    api.fault(|call: &Call| call.verb == Verb::Get, Fault::Watches(trouble));
    let (told, ()) = tokio::join!(told(&client, "1"), async {
        sleep(SECOND / 2).await;
        maps(&client).get("a").await.unwrap();
        for (name, value) in [("a", "1"), ("b", "1"), ("a", "2"), ("c", "1")] {
            set(&api, name, value);
            sleep(SECOND).await;
        }
        sleep(10 * SECOND).await;
        set(&api, "d", "1");
    });
    told
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_expires_or_goes_silent() {
    assert_eq!(told_in(Trouble::Ends).await, ["end"]);
    assert_eq!(told_in(Trouble::Expires).await, ["error 410", "end"]);
    assert_eq!(told_in(Trouble::Silent).await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn events_are_dropped_repeated_reordered_and_late() {
    let time = 5 * SECOND;
    assert_eq!(told_in(Trouble::Drops(time)).await, ["error 410", "end"], "what was missed has to be listed");
    assert_eq!(told_in(Trouble::Late(time)).await, ["a=1", "b=1", "a=2", "c=1", "d=1"]);
    assert_eq!(told_in(Trouble::Reorders(time)).await, ["c=1", "a=1", "a=2", "b=1", "d=1"]);
    let repeated = ["a=1", "a=1", "b=1", "b=1", "a=2", "a=2", "c=1", "c=1", "d=1"];
    assert_eq!(told_in(Trouble::Repeats(time)).await, repeated);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_gets_bookmarks() {
    let api = server();
    set(&api, "a", "0");
    let client = api.client();
    let events = maps(&client).watch(&WatchParams::default(), "1").await.unwrap();
    let first = timeout(61 * SECOND, events.boxed().next()).await.unwrap().unwrap().unwrap();
    let WatchEvent::Bookmark(mark) = first else { panic!("{first:?}") };
    assert_eq!(mark.metadata.resource_version, "1");
}

#[tokio::test(start_paused = true)]
async fn caches_are_filled_from_a_server_that_is_behind_and_a_quorum_is_not() {
    let api = server();
    let client = api.client_behind(10 * SECOND);
    set(&api, "a", "old");
    sleep(20 * SECOND).await;
    set(&api, "a", "new");
    set(&api, "b", "new");
    let cached = maps(&client).list(&pages()).await.unwrap();
    assert_eq!(cached.items.iter().map(value).collect::<Vec<_>>(), ["old"]);
    assert_eq!(maps(&client).list(&ListParams::default()).await.unwrap().items.len(), 2);
    assert_eq!(value(&maps(&client).get("a").await.unwrap()), "new");
    let (began, since) = (Instant::now(), cached.metadata.resource_version.unwrap());
    let first = maps(&client).watch(&WatchParams::default(), &since).await.unwrap().boxed().next().await;
    assert!(matches!(first, Some(Ok(WatchEvent::Modified(_)))), "{first:?}");
    assert_eq!(began.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_gets_to_an_older_server_sees_the_past_and_then_the_present() {
    let api = server();
    let client = api.client();
    set(&api, "a", "old");
    sleep(20 * SECOND).await;
    set(&api, "a", "new");
    let older = Fault::OlderServer { behind: 10 * SECOND, lasting: 5 * SECOND };
    api.fault(|call: &Call| call.verb == Verb::Get, older);
    maps(&client).get("a").await.unwrap();
    let past = maps(&client).list(&pages()).await.unwrap();
    assert_eq!(past.items.iter().map(value).collect::<Vec<_>>(), ["old"]);
    assert_eq!(told(&client, &past.metadata.resource_version.unwrap()).await, ["a=new"]);
    assert_eq!(value(&maps(&client).list(&pages()).await.unwrap().items[0]), "new");
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_is_carried_out_at_once_or_later() {
    for late in [Duration::ZERO, 15 * SECOND] {
        let api = server();
        let client = api.client();
        set(&api, "a", "old");
        api.fault(|call: &Call| call.verb == Verb::Patch, Fault::NoAnswer(late));
        let patch = Patch::Merge(json!({"data": {"is": "new"}}));
        let (maps, params) = (maps(&client), PatchParams::default());
        assert!(timeout(10 * SECOND, maps.patch("a", &params, &patch)).await.is_err(), "{late:?}");
        let now = value(&maps.get("a").await.unwrap());
        assert_eq!(now == "old", late > Duration::ZERO, "{late:?}");
        sleep(6 * SECOND).await;
        assert_eq!(value(&maps.get("a").await.unwrap()), "new", "{late:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_comes_and_a_busy_server_says_when_to_come_again() {
    let api = server();
    let client = api.client();
    set(&api, "a", "0");
    api.fault(|_| true, Fault::Slow(5 * SECOND));
    let began = Instant::now();
    maps(&client).get("a").await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 5);
    api.fault(|_| true, Fault::Busy(429, 7));
    let request =
        http::Request::get("/api/v1/namespaces/default/configmaps/a").body(kube::client::Body::empty()).unwrap();
    let answer = client.send(request).await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (429, &7.into()));
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_is_what_was_meant() {
    let api = server();
    let client = api.client();
    set(&api, "a", "0");
    let mean = |version: &str| DeleteParams {
        preconditions: Some(Preconditions { uid: None, resource_version: Some(version.to_owned()) }),
        ..DeleteParams::default()
    };
    set(&api, "a", "1");
    let refused = maps(&client).delete("a", &mean("1")).await;
    assert!(matches!(&refused, Err(kube::Error::Api(status)) if status.code == 409), "{refused:?}");
    maps(&client).delete("a", &mean("2")).await.unwrap();
    assert!(api.objects("configmaps", "default").is_empty());
}
