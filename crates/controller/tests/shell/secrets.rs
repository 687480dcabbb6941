//! Secrets in `rollback.config`: only where the administrator allows it, and never a word of what is in them.

use std::cell::Cell;
use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use snapback_core::fingerprint::Fingerprint;
use snapback_fake_api::{Call, Fault, Verb};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

use crate::configuration::{condition, die_everywhere, set};
use crate::world::{NAMESPACE, World, deployment};

const COPY: &str = "creds-snapback-";

/// "opensesame", as Secrets hold it.
const ONE: &str = "b3BlbnNlc2FtZQ==";
/// "changedsesame".
const TWO: &str = "Y2hhbmdlZHNlc2FtZQ==";

fn secret(name: &str, content: &str, more: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE},
        "type": "example.com/password", "data": {"password": content}
    });
    json_patch::merge(&mut object, more);
    object
}

fn set_secret(world: &World, content: &str) {
    world.api.apply("v1", "secrets", &secret("creds", content, &json!({})));
}

/// A version that reads a ConfigMap and Secrets in all ways; one that is not well crash-loops.
fn apply(world: &World, version: &str, well: bool) {
    let mut object = deployment(version, well);
    let spec = &mut object["spec"]["template"]["spec"];
    spec["imagePullSecrets"] = json!([{"name": "registry"}]);
    spec["volumes"] = json!([
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "creds", "secret": {"secretName": "creds"}},
        {"name": "token", "secret": {"secretName": "token"}}
    ]);
    spec["containers"][0]["env"] =
        json!([{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "creds", "key": "password"}}}]);
    world.api.apply("apps/v1", "deployments", &object);
}

fn without_operator(config: &str) -> World {
    let world = World::without_operator();
    set(&world, "one");
    set_secret(&world, ONE);
    let token = json!({
        "metadata": {"annotations": {"kubernetes.io/service-account.name": "robot"}},
        "type": "kubernetes.io/service-account-token"
    });
    world.api.apply("v1", "secrets", &secret("token", ONE, &token));
    world.api.apply("v1", "secrets", &secret("registry", ONE, &json!({})));
    apply(&world, "v1", true);
    world.policy(&json!({"rollback": {"config": config, "verify": {"duration": "3s"}}}));
    world
}

/// v1 known good with its Secret.
async fn adopted(config: &str) -> World {
    let mut world = without_operator(config).with_secrets();
    world.start();
    world
        .until("v1 known good with its configuration", |world| {
            world.target().and_then(|target| target.known_good?.config).is_some_and(|config| config.len() == 2)
        })
        .await;
    world
}

fn bad(world: &World) {
    apply(world, "v2", false);
}

async fn back(world: &World) -> snapback_api::v1alpha1::RollbackStatus {
    bad(world);
    world.until("a Rollback", |world| !world.rollbacks().is_empty()).await;
    world.at_rest("the rollback").await;
    assert_eq!(world.image(), "shop/checkout:v1");
    world.rollbacks()[0].status.clone().unwrap()
}

/// The Secret that the live template names, by its two ways.
fn named(world: &World) -> String {
    let live = world.api.object("deployments", NAMESPACE, "checkout").unwrap();
    let spec = &live["spec"]["template"]["spec"];
    let name = &spec["volumes"][1]["secret"]["secretName"];
    assert_eq!(name, &spec["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"]["name"]);
    assert_eq!(spec["imagePullSecrets"], json!([{"name": "registry"}]));
    name.as_str().unwrap().to_owned()
}

fn copies(world: &World) -> Vec<Value> {
    world.api.objects("secrets", NAMESPACE).into_iter().filter(|one| one["immutable"] == true).collect()
}

/// Requests about Secrets, but not whether they exist.
fn asked(world: &World) -> Vec<String> {
    let calls = world.api.calls();
    let about =
        calls.iter().filter(|call| call.resource == "secrets" && !(call.verb == Verb::Get && call.metadata_only));
    about.map(|call| format!("{:?} {}", call.verb, call.name)).collect()
}

#[tokio::test(start_paused = true)]
async fn unless_it_is_allowed_secrets_are_neither_read_nor_copied_nor_told() {
    for mode in ["Warn", "Restore"] {
        let mut world = without_operator(mode);
        world.start();
        let remembered = |world: &World| world.target().and_then(|target| target.known_good?.config);
        world.until("remembered", |world| remembered(world).is_some()).await;
        set_secret(&world, TWO);
        let status = back(&world).await;
        assert_eq!((condition(&status), named(&world).as_str()), (None, "creds"), "{mode}");
        assert_eq!(asked(&world), [""; 0], "{mode}");
        let config = remembered(&world).unwrap();
        assert_eq!(config.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["settings"], "{mode}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_secret_comes_back_by_its_copy() {
    let world = adopted("Restore").await;
    set_secret(&world, TWO);
    let status = back(&world).await;
    assert_eq!(condition(&status), Some(("True".into(), "CopiesUsed".into())));
    assert_eq!(status.config.unwrap().restored, ["Secret creds"]);
    let name = named(&world);
    assert!(name.starts_with(COPY), "{name}");
    let copy = world.api.object("secrets", NAMESPACE, &name).unwrap();
    assert_eq!((&copy["data"], &copy["type"]), (&json!({"password": ONE}), &json!("example.com/password")));
    assert_eq!(
        (&copy["immutable"], &copy["metadata"]["ownerReferences"][0]["name"]),
        (&json!(true), &json!("checkout"))
    );
    let shared = world.api.object("secrets", NAMESPACE, "creds").unwrap();
    assert_eq!(shared["data"]["password"], TWO, "what others may read was changed");

    // It runs, reads the copy, and that is remembered of it: no copy of the copy.
    world.settle().await;
    assert_eq!(copies(&world).len(), 1);
    assert!(!asked(&world).iter().any(|call| call.ends_with("registry")), "{:?}", asked(&world));

    // The next release names its own, is judged, and the copy that nobody needs any more goes.
    apply(&world, "v3", true);
    let v3 = |world: &World| {
        let good = world.target().and_then(|target| target.known_good);
        good.is_some_and(|good| good.images == ["shop/checkout:v3"] && good.config.is_some())
    };
    world.until("v3 known good", v3).await;
    let held: Vec<Value> = copies(&world).iter().map(|copy| copy["data"]["password"].clone()).collect();
    assert_eq!((named(&world).as_str(), held), ("creds", vec![json!(TWO)]));
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_holds_the_same_under_a_new_label_has_not_changed() {
    let world = adopted("Restore").await;
    world.api.apply("v1", "secrets", &secret("creds", ONE, &json!({"metadata": {"labels": {"release": "2"}}})));
    let status = back(&world).await;
    assert_eq!((condition(&status), named(&world).as_str()), (None, "creds"));
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_was_pruned_comes_back_by_its_copy() {
    let world = adopted("Restore").await;
    world.api.delete("v1", "secrets", NAMESPACE, "creds");
    let status = back(&world).await;
    assert_eq!(condition(&status), Some(("True".into(), "CopiesUsed".into())));
    assert!(named(&world).starts_with(COPY));
}

#[tokio::test(start_paused = true)]
async fn to_tell_that_a_secret_changed_its_content_is_not_asked_for() {
    let world = adopted("Warn").await;
    set_secret(&world, TWO);
    let status = back(&world).await;
    assert_eq!(condition(&status), Some(("False".into(), "Drifted".into())));
    assert_eq!(status.config.unwrap().drifted, ["Secret creds"]);
    assert_eq!((asked(&world), copies(&world).len()), (Vec::new(), 0));
}

#[tokio::test(start_paused = true)]
async fn copies_of_secrets_that_may_not_be_made_are_asked_for_and_made_soon_after() {
    let mut world = without_operator("Restore").with_secrets();
    // At the first look, and at the one that follows what that wrote.
    for _ in 0..2 {
        world.api.fault(|call| call.verb == Verb::Create && call.resource == "secrets", Fault::Status(403));
    }
    world.start();
    let readiness = |world: &World| world.target()?.readiness;
    world.until("told", |world| readiness(world).is_some_and(|found| found.reason == "ConfigNotKept")).await;
    let message = readiness(&world).unwrap().message;
    assert!(message.contains("the API server answered 403") && message.contains("restore.secrets"), "{message}");
    assert!(!message.contains("an injected fault"), "the API server was quoted: {message}");
    let config_maps = world.api.objects("configmaps", NAMESPACE);
    assert!(config_maps.iter().any(|one| one["immutable"] == true), "what may be kept was not");
    world.until("kept", |world| copies(world).len() == 1 && readiness(world).unwrap().ready).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_allowed_and_is_not_any_more_is_left_alone() {
    let mut world = adopted("Restore").await;
    world.kill().await;
    world.forbid_secrets();
    set_secret(&world, TWO);
    let before = asked(&world).len();
    world.start();
    let status = back(&world).await;
    assert_eq!((condition(&status), named(&world).as_str()), (None, "creds"));
    assert_eq!(asked(&world).len(), before);
}

#[tokio::test(start_paused = true)]
async fn a_record_cannot_make_pods_read_any_secret_as_a_copy() {
    for copy in ["admin", "creds-snapback-0123456789"] {
        let world = adopted("Restore").await;
        world.api.apply("v1", "secrets", &secret(copy, ONE, &json!({"immutable": true})));
        set_secret(&world, TWO);
        let v1 = world.target().unwrap();
        world.policy(&json!({"suspend": true}));
        apply(&world, "v2", true);
        let live = world.api.object("deployments", NAMESPACE, "checkout").unwrap();
        let from = Fingerprint::of_template(&live["spec"]["template"]);
        let mut to = serde_json::to_value(v1.known_good).unwrap();
        to["config"] = json!([{"kind": "Secret", "name": "creds", "digest": "0", "copy": copy}]);
        let record = json!({
            "apiVersion": "snapback.dev/v1alpha1", "kind": "Rollback",
            "metadata": {"name": "by-hand", "namespace": NAMESPACE},
            "spec": {
                "target": {"kind": "Deployment", "name": "checkout", "uid": v1.uid}, "trigger": {"type": "Manual"},
                "from": {"fingerprint": from}, "to": to, "config": "Restore", "decidedAt": "2026-01-02T03:04:05Z"
            }
        });
        world.api.apply("snapback.dev/v1alpha1", "rollbacks", &record);
        world.until("undone", |world| world.image() == "shop/checkout:v1").await;
        assert_eq!(named(&world), "creds", "{copy}");
        let status = world.rollbacks()[0].status.clone().unwrap();
        assert_eq!(status.config.unwrap().drifted, ["Secret creds"], "{copy}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_comes_back_wherever_the_process_dies() {
    let change = |world: &World| {
        set_secret(world, TWO);
        bad(world);
    };
    die_everywhere(async || adopted("Restore").await, change, |world| named(world).starts_with(COPY)).await;
}

#[tokio::test(start_paused = true)]
async fn a_process_that_dies_while_it_keeps_a_copy_finds_it_again() {
    for fault in [Fault::DiesBefore, Fault::DiesAfter] {
        let mut world = without_operator("Restore").with_secrets();
        world.api.fault(|call: &Call| call.verb == Verb::Create && call.resource == "secrets", fault);
        world.start();
        world.until("dead", |world| world.api.faults_left() == 0).await;
        world.kill().await;
        world.start();
        let kept = |world: &World| {
            let config = world.target().and_then(|target| target.known_good?.config).unwrap_or_default();
            config.len() == 2 && config.iter().all(|one| !one.copy.is_empty())
        };
        world.until("kept", kept).await;
        assert_eq!(copies(&world).len(), 1, "{fault:?}");
    }
}

thread_local! {
    /// Whether this thread's test wants to know what is logged.
    static LISTENING: Cell<bool> = const { Cell::new(false) };
}

/// Everything that is logged by the thread that listens, at all levels. It is the process' one subscriber: what a thread
/// has for itself is lost when another thread meets a line of code first, which remembers that nobody listens to it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        writeln!(self.0.lock().unwrap(), "{field}={value:?}").unwrap();
    }
}

impl Subscriber for Log {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        LISTENING.get()
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut self.clone());
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut self.clone());
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_secrets_content_is_written_or_logged_anywhere() {
    let log = Log::default();
    tracing::subscriber::set_global_default(log.clone()).unwrap();
    LISTENING.set(true);
    for mode in ["Warn", "Restore"] {
        let mut world = without_operator(mode).with_secrets();
        for verb in [Verb::Get, Verb::Create, Verb::List, Verb::Delete] {
            world.api.fault(move |call| call.verb == verb && call.resource == "secrets", Fault::Status(403));
            world.api.fault(move |call| call.verb == verb && call.resource == "secrets", Fault::AnswerLost);
        }
        world.start();
        let remembered = |world: &World| world.target().and_then(|target| target.known_good?.config).is_some();
        world.until("remembered", remembered).await;
        world.settle().await;
        set_secret(&world, TWO);
        back(&world).await;
        world.until("told, too", |world| !world.api.objects("events", NAMESPACE).is_empty()).await;
        let mut written = String::new();
        for resource in ["rollbackpolicies", "rollbacks", "events", "deployments", "controllerrevisions", "configmaps"]
        {
            let all = world.api.objects(resource, NAMESPACE);
            assert!(!all.is_empty(), "{resource}");
            for object in all {
                write!(written, "{object}").unwrap();
            }
        }
        let logged = log.0.lock().unwrap().clone();
        assert!(logged.contains("RollbackSucceeded") && written.contains("Secret creds"), "{mode}: {logged}");
        for content in [ONE, TWO, "opensesame", "changedsesame"] {
            assert!(!written.contains(content), "{mode}: {content} was written");
            assert!(!logged.contains(content), "{mode}: {content} was logged");
        }
        world.kill().await;
    }
}
