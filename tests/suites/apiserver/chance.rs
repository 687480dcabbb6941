//! Objects by chance through a real API server, which decides what is valid; whatever it lets in, the operator looks at, says
//! what is wrong with it, and goes on with its work. After Acto (Gu et al., SOSP '23).
//!
//! `SEED=7` makes the same objects again, `OBJECTS=2000` more of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use snapback_tests::tools;

use crate::bed::Bed;
use crate::generator::{Chance, Generator};
use crate::operator::{deployment, undone_in};
use crate::words;

/// In CI.
const OBJECTS: usize = 200;

/// Namespaces, and writers in each: so many objects live at the same time.
const NAMESPACES: usize = 5;
const WRITERS: usize = 2;

/// Longest wait for a look.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of them.
#[derive(Default)]
struct Tally {
    accepted: AtomicUsize,
    refused: AtomicUsize,
    updated: AtomicUsize,
    statuses: AtomicUsize,
    /// Accepted and found to mean nothing.
    meaningless: AtomicUsize,
}

/// One of our kinds: where it is, and the schema of its parts.
struct Kind {
    resource: ApiResource,
    spec: Value,
    status: Value,
}

impl Kind {
    fn read(plural: &str, kind: &str) -> Result<Self> {
        let path = tools::repository().join(format!("crds/snapback.dev_{plural}.yaml"));
        let crd: Value = serde_yaml_ng::from_str(&std::fs::read_to_string(path)?)?;
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        let gvk = GroupVersionKind::gvk("snapback.dev", "v1alpha1", kind);
        ensure!(schema["spec"]["properties"].is_object() && schema["status"]["properties"].is_object(), "{schema}");
        Ok(Self {
            resource: ApiResource::from_gvk_with_plural(&gvk, plural),
            spec: schema["spec"].clone(),
            status: schema["status"].clone(),
        })
    }
}

pub(crate) fn objects(bed: &Bed) -> Result<()> {
    let number = |key: &str| std::env::var(key).ok().and_then(|text| text.parse::<usize>().ok());
    let seed = number("SEED").unwrap_or(1);
    let count = number("OBJECTS").unwrap_or(OBJECTS).div_ceil(NAMESPACES * WRITERS);
    println!("objects by chance: SEED={seed}");
    let kinds = [Kind::read("rollbackpolicies", "RollbackPolicy")?, Kind::read("rollbacks", "Rollback")?];
    let namespaces: Vec<String> =
        (0..NAMESPACES).map(|at| bed.namespace(&format!("chance-{at}"))).collect::<Result<_>>()?;
    for version in ["v1", "v2"] {
        let all: Vec<String> = namespaces.iter().map(|namespace| workloads(namespace, version)).collect();
        bed.tools.apply(&all.join("---\n"))?;
        for namespace in &namespaces {
            bed.tools.kubectl(&["-n", namespace, "rollout", "status", "deploy/checkout", "--timeout=60s"])?;
        }
    }
    let (tally, began) = (Tally::default(), Instant::now());
    let outcomes: Vec<Result<()>> = std::thread::scope(|scope| {
        let writers = (0..NAMESPACES * WRITERS).map(|writer| {
            let namespace = &namespaces[writer % NAMESPACES];
            let (kinds, tally) = (&kinds, &tally);
            scope.spawn(move || {
                let mut chance = Chance::of(u64::try_from(seed * 1000 + writer).unwrap_or_default());
                let mut writer = Writer { bed, namespace, writer, chance: &mut chance, seen: BTreeMap::new(), tally };
                (0..count).try_for_each(|at| writer.one(kinds, at).with_context(|| format!("SEED={seed}, object {at}")))
            })
        });
        let writers: Vec<_> = writers.collect();
        writers.into_iter().map(|writer| writer.join().unwrap_or_else(|_| bail!("a writer panicked"))).collect()
    });
    outcomes.into_iter().collect::<Result<Vec<()>>>()?;
    let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    println!(
        "{} objects in {} s: {} accepted (of which {} mean nothing, and say so), {} refused; {} changed, {} statuses overwritten",
        of(&tally.accepted) + of(&tally.refused),
        began.elapsed().as_secs(),
        of(&tally.accepted),
        of(&tally.meaningless),
        of(&tally.refused),
        of(&tally.updated),
        of(&tally.statuses),
    );
    ensure!(of(&tally.accepted) * 2 > of(&tally.refused), "most of them are refused: the generator is of no use");
    let panics = bed.panics();
    ensure!(panics.is_empty(), "SEED={seed}: {panics:#?}");
    ensure!(bed.operator_lives(), "the operator has ended");
    undone_in(bed, "after-chance")
}

/// What there is to aim at.
fn workloads(namespace: &str, version: &str) -> String {
    let deployment = deployment(namespace).replace("checkout:v1", &format!("checkout:{version}"));
    let others = words::TARGETS.iter().filter(|(_, name)| !["checkout", "absent"].contains(name)).map(|(kind, name)| {
        let more = if *kind == "StatefulSet" { "serviceName: x, " } else { "" };
        format!(
            "apiVersion: apps/v1
kind: {kind}
metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {name}}}}}
spec:
  {{{more}selector: {{matchLabels: {{app: {name}}}}}, template: {{metadata: {{labels: {{app: {name}}}}}, spec: {{containers: [{{name: app, image: \"shop/{name}:{version}\"}}]}}}}}}
"
        )
    });
    let mut all = vec![deployment];
    all.extend(others);
    all.join("---\n")
}

struct Writer<'a> {
    bed: &'a Bed,
    namespace: &'a str,
    writer: usize,
    chance: &'a mut Chance,
    /// Texts of real statuses.
    seen: BTreeMap<String, Vec<String>>,
    tally: &'a Tally,
}

impl Writer<'_> {
    /// Creates one, changes it or what is said of it, and deletes it.
    fn one(&mut self, kinds: &[Kind; 2], at: usize) -> Result<()> {
        let kind = &kinds[usize::from(self.chance.percent(30))];
        let api: Api<DynamicObject> = Api::namespaced_with(self.bed.client.clone(), self.namespace, &kind.resource);
        if self.chance.percent(15) {
            self.release()?;
        }
        let mut name = format!("by-chance-{}-{at}", self.writer);
        if self.chance.percent(10) {
            // As long as a name may be, with a separator where a label would end.
            name = format!("{name}{}-{}", "x".repeat(62 - name.len()), "y".repeat(190));
        }
        let spec = self.spec(kind);
        let object = self.object(kind, &name, &spec)?;
        match self.bed.wait(api.create(&PostParams::default(), &object)) {
            Ok(_) => self.tally.accepted.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                Self::is_refusal(error, &object)?;
                self.tally.refused.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
        };
        self.looked_at(&api, &name, false)?;
        if self.chance.percent(35) {
            let changed = self.changed(kind, &spec);
            let patch = json!({"spec": changed});
            match self.bed.wait(api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch))) {
                Ok(_) => {
                    self.tally.updated.fetch_add(1, Ordering::Relaxed);
                    self.looked_at(&api, &name, false)?;
                }
                Err(error) => Self::is_refusal(error, &patch)?,
            }
        }
        if self.chance.percent(35) {
            let mut status = self.value(&kind.status, "status");
            // Wrong on purpose: so it is seen when the operator has looked.
            status["observedGeneration"] = json!(-7);
            let patch = json!({"status": status});
            match self.bed.wait(api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch))) {
                Ok(_) => {
                    self.tally.statuses.fetch_add(1, Ordering::Relaxed);
                    self.looked_at(&api, &name, true)?;
                }
                Err(error) => Self::is_refusal(error, &patch)?,
            }
        }
        match self.bed.wait(api.delete(&name, &DeleteParams::default())) {
            // A record of long ago, as it says, is deleted by the operator.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            deleted => Ok(deleted.map(drop)?),
        }
    }

    /// A release of the target that most aim at, which crashes or not.
    fn release(&mut self) -> Result<()> {
        let simulated = if self.chance.percent(50) { json!("crash-loop") } else { Value::Null };
        let image = format!("shop/checkout:r{}", self.chance.below(1000));
        let template = json!({
            "metadata": {"labels": {"simulated": simulated}}, "spec": {"containers": [{"name": "app", "image": image}]}
        });
        let patch = Patch::Strategic(json!({"spec": {"template": template}}));
        let deployments = self.bed.workloads(self.namespace, "Deployment");
        self.bed.wait(deployments.patch("checkout", &PatchParams::default(), &patch))?;
        Ok(())
    }

    fn value(&mut self, schema: &Value, field: &str) -> Value {
        // What is wild in one place is refused for it, however well the rest may be: so most are wild nowhere.
        let careful = self.chance.percent(80);
        Generator { chance: &mut *self.chance, seen: &self.seen, careful }.value(schema, field)
    }

    fn spec(&mut self, kind: &Kind) -> Value {
        self.value(&kind.spec, if kind.resource.kind == "Rollback" { "rollback-by-hand" } else { "policy" })
    }

    /// Of a record only two fields may change, whatever the rest would be.
    fn changed(&mut self, kind: &Kind, spec: &Value) -> Value {
        if kind.resource.kind != "Rollback" {
            // A merge keeps what is not named.
            let mut next = self.spec(kind);
            for (key, _) in spec.as_object().into_iter().flatten() {
                if next[key].is_null() {
                    next[key] = Value::Null;
                }
            }
            return next;
        }
        let part = if self.chance.percent(50) { "approval" } else { "released" };
        let mut said = self.value(&kind.spec["properties"][part], part);
        said["by"] = json!("admin");
        json!({part: said})
    }

    fn object(&mut self, kind: &Kind, name: &str, spec: &Value) -> Result<DynamicObject> {
        let (mut labels, mut annotations) = (BTreeMap::new(), BTreeMap::new());
        if self.chance.percent(30) {
            let careful = self.chance.percent(90);
            let value =
                if careful { "x".repeat(self.chance.below(64)) } else { words::free(self.chance, 0, 20, false) };
            labels.insert(words::label_key(self.chance, careful), value);
        }
        if self.chance.percent(30) {
            annotations.insert("example.com/note".to_owned(), words::free(self.chance, 0, 2000, true));
        }
        Ok(serde_json::from_value(json!({
            "apiVersion": kind.resource.api_version, "kind": kind.resource.kind,
            "metadata": {"name": name, "namespace": self.namespace, "labels": labels, "annotations": annotations},
            "spec": spec
        }))?)
    }

    /// The author's fault, never the server's.
    fn is_refusal(error: kube::Error, what: &impl serde::Serialize) -> Result<()> {
        match error {
            kube::Error::Api(status) if (400..500).contains(&status.code) => Ok(()),
            error => bail!("{error}: {}", serde_json::to_string(what)?),
        }
    }

    /// Waits until the operator has looked at it: its status speaks of the newest spec, and keeps its contract.
    fn looked_at(&mut self, api: &Api<DynamicObject>, name: &str, is_forged: bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Some(object) = self.bed.wait(api.get_opt(name))? else {
                ensure!(is_forged, "{name} is gone");
                return Ok(());
            };
            let status = &object.data["status"];
            let phase = status["phase"].as_str().unwrap_or_default();
            // A record that has ended is not looked at again; whoever may write its status may end it.
            let is_over = status["conditions"].is_array() || is_forged;
            if is_over && ["Succeeded", "Failed", "Superseded", "Escalated", "Rejected"].contains(&phase) {
                return Ok(());
            }
            if status["observedGeneration"].as_i64() == object.metadata.generation && !status["conditions"].is_null() {
                let conditions: Vec<Condition> = serde_json::from_value(status["conditions"].clone())?;
                let wrong = snapback_api::conditions::violations(&conditions);
                ensure!(is_forged || wrong.is_empty(), "the status breaks its contract: {wrong:?}: {status:#}");
                let says = |type_: &str, value: &str| {
                    conditions.iter().any(|one| one.type_ == type_ && one.status == value && !one.message.is_empty())
                };
                ensure!(says("Ready", "True") || says("Ready", "False") || says("Ready", "Unknown"), "{status:#}");
                if says("Stalled", "True") && !is_forged {
                    self.tally.meaningless.fetch_add(1, Ordering::Relaxed);
                }
                if !is_forged {
                    keep(status, "", &mut self.seen);
                }
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("nobody looked at {}", serde_json::to_string(&object)?);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Keeps the texts of a status, by the names of their fields.
fn keep(value: &Value, field: &str, seen: &mut BTreeMap<String, Vec<String>>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(field, value)| keep(value, field, seen)),
        Value::Array(items) => items.iter().for_each(|value| keep(value, field, seen)),
        Value::String(text) if !["message", "lastTransitionTime"].contains(&field) => {
            let known = seen.entry(field.to_owned()).or_default();
            if known.len() < 16 && !known.contains(text) {
                known.push(text.clone());
            }
        }
        _ => {}
    }
}
