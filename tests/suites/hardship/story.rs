//! What the operator does in one namespace, as far as a right is needed for it.

use anyhow::{Context, Result, ensure};
use kube::Api;
use kube::api::{DynamicObject, GroupVersionKind, ListParams};
use serde_json::Value;
use snapback_api::v1alpha1::{Rollback, RollbackPhase};

use crate::bed::{Bed, eventually};

/// One of the things that it does, each with what has to be done before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Story {
    /// A bad release of this kind of workload is undone, with its configuration.
    Undo(&'static str),
    /// A newer revision becomes known good: copies of the older one go.
    Newer,
    /// A record of long ago goes.
    OldRecord,
    /// A Job takes a change of data back.
    Job,
    /// A policy that cannot be read says so.
    Unreadable,
    /// Two replicas agree on who leads.
    Lease,
}

pub(crate) const ALL: [Story; 8] = [
    Story::Undo("Deployment"),
    Story::Undo("StatefulSet"),
    Story::Undo("DaemonSet"),
    Story::Newer,
    Story::OldRecord,
    Story::Job,
    Story::Unreadable,
    Story::Lease,
];

impl Story {
    pub(crate) fn name(self) -> String {
        format!("{self:?}").to_lowercase().replace("(\"", "-").replace("\")", "")
    }
}

/// A story under way.
pub(crate) struct Told<'a> {
    pub(crate) bed: &'a Bed,
    pub(crate) namespace: &'a str,
    pub(crate) story: Story,
}

impl Told<'_> {
    fn kind(&self) -> &'static str {
        if let Story::Undo(kind) = self.story { kind } else { "Deployment" }
    }

    fn workload(&self, version: &str, crashes: bool) -> String {
        let kind = self.kind();
        let more = match kind {
            "StatefulSet" => "replicas: 2\n  serviceName: checkout\n  ",
            "Deployment" => "replicas: 2\n  ",
            // Without a history v1 comes back from our copy.
            _ => "revisionHistoryLimit: 0\n  ",
        };
        let simulated = if crashes { ", simulated: crash-loop" } else { "" };
        let annotations = if self.story == Story::Job && crashes {
            "{snapback.dev/migration: Reversible, snapback.dev/migration-job: down}"
        } else {
            "{}"
        };
        format!(
            "apiVersion: v1
kind: ConfigMap
metadata: {{name: settings, namespace: {namespace}}}
data: {{version: {version}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: token, namespace: {namespace}}}
stringData: {{version: {version}}}
---
apiVersion: apps/v1
kind: {kind}
metadata: {{name: checkout, namespace: {namespace}, labels: {{app: checkout}}}}
spec:
  {more}selector: {{matchLabels: {{app: checkout}}}}
  template:
    metadata: {{labels: {{app: checkout{simulated}}}, annotations: {annotations}}}
    spec:
      serviceAccountName: runner
      nodeName: simulated
      containers: [{{name: app, image: \"shop/checkout:{version}\"}}]
      volumes:
      - {{name: settings, configMap: {{name: settings}}}}
      - {{name: token, secret: {{secretName: token}}}}
      - {{name: disk, persistentVolumeClaim: {{claimName: disk}}}}
",
            namespace = self.namespace
        )
    }

    /// All that is there before the operator is.
    pub(crate) fn prepare(&self) -> Result<()> {
        let namespace = self.namespace;
        self.bed.tools.apply(&format!(
            "apiVersion: v1
kind: ServiceAccount
metadata: {{name: runner, namespace: {namespace}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: disk, namespace: {namespace}}}
spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}, storageClassName: none, volumeName: none}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {{name: down, namespace: {namespace}, annotations: {{snapback.dev/allow-rollback-jobs: \"true\"}}}}
spec: {{suspend: true, schedule: \"0 0 1 1 *\", jobTemplate: {{spec: {{template: {{spec: {{restartPolicy: Never, containers: [{{name: a, image: a}}]}}}}}}}}}}
---
{}",
            self.workload("v1", false)
        ))?;
        let workload = format!("{}/checkout", self.kind().to_lowercase());
        self.bed.tools.kubectl(&["-n", namespace, "rollout", "status", &workload, "--timeout=60s"])?;
        // A policy of the same second would judge v1, not adopt it.
        let made = jiff::Timestamp::now().as_second();
        eventually("the next second", || Ok(jiff::Timestamp::now().as_second() > made))?;
        let soak = if self.story == Story::Newer { "2s" } else { "10s" };
        let policy = format!(
            "apiVersion: snapback.dev/v1alpha1
kind: RollbackPolicy
metadata: {{name: checkout, namespace: {namespace}}}
spec:
  targetRef: {{kind: {}, name: checkout}}
  soak: {{duration: {soak}, interval: 1s}}
  checks: [{{name: crashes, crashRate: {{max: \"50%\"}}}}]
  rollback: {{config: Restore, verify: {{duration: 1s}}}}
",
            self.kind()
        );
        let odd = format!(
            "---\napiVersion: snapback.dev/v1alpha1\nkind: RollbackPolicy\nmetadata: {{name: odd, namespace: {namespace}}}\nspec: {{mode: 7}}\n"
        );
        let odd = if self.story == Story::Unreadable { odd } else { String::new() };
        self.bed.tools.apply(&format!("{policy}{odd}")).map(drop)
    }

    /// Goes through it; `is_enough` ends it early, as soon as it has seen what it wants to.
    pub(crate) fn go(&self, is_enough: &dyn Fn() -> Result<bool>) -> Result<()> {
        let until = |what: &str, is_so: &dyn Fn() -> Result<bool>| -> Result<bool> {
            let mut enough = false;
            eventually(what, || {
                enough = is_enough()?;
                Ok(enough || is_so()?)
            })
            .with_context(|| format!("{:?} in {}", self.story, self.namespace))?;
            Ok(enough)
        };
        if until("v1 known good", &|| Ok(self.known_good()?.0 == 1))? {
            return Ok(());
        }
        match self.story {
            Story::Undo(_) => {
                self.release("v2", true)?;
                until("the undo", &|| self.is_undone())?;
            }
            Story::Newer => {
                for version in ["v2", "v3"] {
                    let copies = self.copies()?;
                    ensure!(copies.len() == 3, "there are {copies:?}");
                    self.release(version, false)?;
                    let is_newer = || {
                        let now = self.copies()?;
                        Ok(now.len() == 3 && now.iter().all(|copy| !copies.contains(copy)))
                    };
                    if until("the copies of the newer one only", &is_newer)? {
                        return Ok(());
                    }
                }
            }
            Story::OldRecord => {
                let record = format!(
                    "apiVersion: snapback.dev/v1alpha1\nkind: Rollback\nmetadata: {{name: old, namespace: {}}}\n\
                     spec: {{target: {{kind: Deployment, name: nobody}}, trigger: {{type: Manual}}}}\n",
                    self.namespace
                );
                self.bed.tools.apply(&record)?;
                let get = ["-n", self.namespace, "get", "rollback", "old", "--ignore-not-found", "-o"];
                let field = |path: &str| self.bed.tools.kubectl(&[&get[..], &[path]].concat());
                if until("its end", &|| Ok(!field("jsonpath={.status.timeline.endedAt}")?.is_empty()))? {
                    return Ok(());
                }
                let long_ago = r#"{"status":{"timeline":{"endedAt":"2020-01-02T03:04:05Z"}}}"#;
                let patch = ["patch", "rollback", "old", "--subresource=status", "--type=merge", "-p", long_ago];
                self.bed.tools.kubectl(&[&["-n", self.namespace][..], &patch].concat())?;
                until("the record gone", &|| Ok(field("name")?.is_empty()))?;
            }
            Story::Job => {
                self.release("v2", true)?;
                let pods = ["-n", self.namespace, "get", "pods", "-o", "name", "-l", "batch.kubernetes.io/job-name"];
                if until("the Job's pod", &|| Ok(!self.bed.tools.kubectl(&pods)?.is_empty()))? {
                    return Ok(());
                }
                let pod = self.bed.tools.kubectl(&pods)?;
                let ended = r#"{"status":{"phase":"Succeeded"}}"#;
                let patch = ["patch", pod.trim(), "--subresource=status", "--type=merge", "-p", ended];
                self.bed.tools.kubectl(&[&["-n", self.namespace][..], &patch].concat())?;
                until("the undo", &|| self.is_undone())?;
            }
            Story::Unreadable => {
                until("it is said", &|| {
                    let said = "jsonpath={.status.conditions[?(@.type==\"Ready\")].message}";
                    let said = self.bed.tools.kubectl(&["-n", self.namespace, "get", "rbp", "odd", "-o", said])?;
                    Ok(said.contains("the object cannot be read"))
                })?;
            }
            Story::Lease => {
                until("the Lease renewed", &|| {
                    let path = "jsonpath={.spec.acquireTime} {.spec.renewTime}";
                    let get = ["-n", self.namespace, "get", "lease", "snapback", "-o", path];
                    let times = self.bed.tools.kubectl(&get)?;
                    Ok(times.split_once(' ').is_some_and(|(taken, renewed)| !taken.is_empty() && taken != renewed))
                })?;
            }
        }
        Ok(())
    }

    /// How many targets have a known good revision of which everything is kept, and how many have come back.
    pub(crate) fn known_good(&self) -> Result<(usize, usize)> {
        let kind = GroupVersionKind::gvk("snapback.dev", "v1alpha1", "RollbackPolicy");
        let kind = kube::api::ApiResource::from_gvk_with_plural(&kind, "rollbackpolicies");
        let policies: Api<DynamicObject> = Api::namespaced_with(self.bed.client.clone(), self.namespace, &kind);
        let policy = self.bed.wait(policies.get("checkout"))?;
        let targets = policy.data["status"]["targets"].as_array().cloned().unwrap_or_default();
        let good = targets.iter().filter(|target| {
            let config = target["knownGood"]["config"].as_array().cloned().unwrap_or_default();
            let is_kept = |one: &Value| one["copy"].as_str().is_some_and(|copy| !copy.is_empty());
            target["knownGood"]["snapshot"].is_string()
                && config.len() == 2
                && config.iter().all(is_kept)
                && target["readiness"]["ready"] == true
        });
        let undone = targets.iter().filter(|target| {
            target["quarantined"].as_array().is_some_and(|bad| bad.len() == 1) && target["rollback"].is_null()
        });
        Ok((good.count(), undone.count()))
    }

    pub(crate) fn rollbacks(&self) -> Result<Vec<Rollback>> {
        let rollbacks: Api<Rollback> = Api::namespaced(self.bed.client.clone(), self.namespace);
        Ok(self.bed.wait(rollbacks.list(&ListParams::default()))?.items)
    }

    /// The next release is applied.
    pub(crate) fn release(&self, version: &str, crashes: bool) -> Result<()> {
        self.bed.tools.apply(&self.workload(version, crashes)).map(drop)
    }

    pub(crate) fn is_undone(&self) -> Result<bool> {
        let ended = self.rollbacks()?.iter().all(|one| {
            let status = one.status.as_ref();
            status.is_some_and(|status| {
                status.phase == Some(RollbackPhase::Succeeded) && status.timeline.handed_back_at.is_some()
            })
        });
        let told = ["-n", self.namespace, "get", "events.events.k8s.io", "-o", "name"];
        Ok(ended && self.known_good()?.1 == 1 && !self.bed.tools.kubectl(&told)?.is_empty())
    }

    /// Our copies: of the template, the ConfigMap and the Secret.
    fn copies(&self) -> Result<Vec<String>> {
        let copies = "controllerrevisions,configmaps,secrets";
        let list = ["-n", self.namespace, "get", copies, "-l", "snapback.dev/target", "-o", "name"];
        Ok(self.bed.tools.kubectl(&list)?.lines().map(str::to_owned).collect())
    }
}
