//! After an undo the next apply of the same tool neither conflicts nor leaves residue: the real tools, on a real API
//! server. In every cell the live template equals exactly what the tool applied.
//!
//! The versions differ in everything that lists by name can differ in: environment, sidecar, volume, labels, ports.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use snapback_api::v1alpha1::{Rollback, RollbackPhase};
use snapback_tests::releases::{V1, V2, V3, exactly, manifest};

use crate::bed::Bed;

/// Who applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    KubectlClientSide,
    KubectlServerSide,
    Helm3,
    Helm4,
}

struct Cell<'a> {
    bed: &'a Bed,
    kind: &'a str,
    tool: Tool,
    namespace: String,
}

impl<'a> Cell<'a> {
    /// In a namespace of its own.
    fn new(bed: &'a Bed, kind: &'a str, tool: Tool, story: &str) -> Result<Self> {
        let namespace = format!("{story}-{kind}-{tool:?}").to_lowercase();
        Ok(Self { bed, kind, tool, namespace: bed.namespace(&namespace)? })
    }

    fn rolled_out(&self) -> Result<()> {
        self.bed.rolled_out(&self.namespace, &format!("{}/checkout", self.kind))
    }

    /// This version runs and is known good, under a policy with this `rollback`.
    fn adopted(&self, template: &str, rollback: &str) -> Result<()> {
        self.apply(template)?;
        self.rolled_out()?;
        self.bed.adopted(&self.namespace, self.kind, "checkout", &format!("rollback: {rollback}"))
    }

    fn apply(&self, template: &str) -> Result<()> {
        let manifest = manifest(self.kind, &self.namespace, template);
        match self.tool {
            Tool::KubectlClientSide => self.bed.tools.apply(&manifest).map(drop),
            Tool::KubectlServerSide => {
                self.bed.tools.kubectl_with(&["apply", "--server-side", "-f", "-"], &manifest).map(drop)
            }
            Tool::Helm3 | Tool::Helm4 => {
                let chart =
                    std::env::temp_dir().join(format!("snapback-chart-{}-{}", std::process::id(), self.namespace));
                std::fs::create_dir_all(chart.join("templates"))?;
                std::fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: checkout\nversion: 0.1.0\n")?;
                std::fs::write(chart.join("templates/workload.yaml"), manifest)?;
                let done = self.helm(&["upgrade", "--install", "checkout", &chart.to_string_lossy()]);
                _ = std::fs::remove_dir_all(chart);
                done
            }
        }
    }

    fn helm(&self, arguments: &[&str]) -> Result<()> {
        let arguments = [arguments, &["--namespace", &self.namespace]].concat();
        match self.tool {
            Tool::Helm3 => self.bed.tools.helm3(&arguments).map(drop),
            _ => self.bed.tools.helm(&arguments).map(drop),
        }
    }

    /// Back to v1 in the tool's own way.
    fn back_to_v1(&self) -> Result<()> {
        match self.tool {
            Tool::KubectlClientSide | Tool::KubectlServerSide => self.apply(V1),
            Tool::Helm3 | Tool::Helm4 => self.helm(&["rollback", "checkout", "1"]),
        }
    }

    fn live(&self) -> Result<Value> {
        let workloads = self.bed.workloads(&self.namespace, self.kind);
        Ok(serde_json::to_value(self.bed.wait(workloads.get("checkout"))?)?)
    }

    /// The live template is exactly what the API server makes of the manifest.
    fn is_exactly(&self, what: &str, template: &str) -> Result<()> {
        let manifest = manifest(self.kind, &self.namespace, template);
        let exactly = exactly(&self.bed.client, &self.namespace, self.kind, &manifest);
        self.bed.wait(exactly).with_context(|| format!("{self}, {what}"))
    }

    fn nothing_of_ours(&self, what: &str) -> Result<()> {
        let live = self.live()?;
        let managers = live["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        let ours = managers.iter().find(|entry| entry["manager"] == "snapback");
        ensure!(ours.is_none(), "{self}, {what}: fields of ours are left: {ours:?}");
        Ok(())
    }
}

impl std::fmt::Display for Cell<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} by {:?}", self.kind, self.tool)
    }
}

/// A healthy one that reads a ConfigMap and a Secret.
const CONFIGURED: &str = r"
    metadata: {labels: {app: checkout}}
    spec:
      containers:
      - name: app
        image: shop/checkout:v1
        envFrom: [{configMapRef: {name: settings}}, {secretRef: {name: creds}}]
        volumeMounts: [{name: settings, mountPath: /settings}, {name: creds, mountPath: /creds}]
      volumes: [{name: settings, configMap: {name: settings}}, {name: creds, secret: {secretName: creds}}]";

/// What is in the Secret: before, and in base64, as it is stored.
const SESAME: [&str; 2] = ["opensesame", "b3BlbnNlc2FtZQ=="];

/// The configuration of the good revision comes back by a copy, and the next apply names the original again.
pub(crate) fn restored(bed: &Bed, tool: Tool) -> Result<()> {
    let cell = Cell::new(bed, "Deployment", tool, "config")?;
    let set = |content: &str, password: &str| {
        bed.tools.apply(&format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings, namespace: {0}}}\ndata: {{mode: {content}}}\n---\n\
             apiVersion: v1\nkind: Secret\nmetadata: {{name: creds, namespace: {0}}}\ntype: example.com/password\n\
             stringData: {{password: {password}}}\n",
            cell.namespace
        ))
    };
    set("one", SESAME[0])?;
    cell.adopted(CONFIGURED, "{verify: {duration: 1s}, config: Restore}")?;
    bed.until(&cell.namespace, "checkout", "adopted with its configuration", |policy| {
        let targets = policy.status.iter().flat_map(|status| &status.targets);
        let mut kept = targets.filter_map(|target| target.known_good.as_ref()?.config.as_ref());
        kept.any(|config| config.len() == 2 && config.iter().all(|one| !one.copy.is_empty()))
    })?;
    set("two", "changedsesame")?;
    let bad = CONFIGURED.replace("{app: checkout}", "{app: checkout, simulated: crash-loop}").replace(":v1", ":v2");
    cell.apply(&bad)?;
    bed.undone(&cell.namespace, "checkout")?;
    let volumes = cell.live()?["spec"]["template"]["spec"]["volumes"].clone();
    let settings = volumes[0]["configMap"]["name"].as_str().context("no ConfigMap")?;
    let creds = volumes[1]["secret"]["secretName"].as_str().context("no Secret")?;
    ensure!(settings.starts_with("settings-snapback-") && creds.starts_with("creds-snapback-"), "{tool:?}: {volumes}");
    let held = |what: &str, name: &str, path: &str| {
        bed.tools.kubectl(&["-n", &cell.namespace, "get", what, name, "-o", &format!("jsonpath={path}")])
    };
    ensure!(held("configmap", settings, "{.data.mode} {.immutable}")? == "one true", "{tool:?}: another ConfigMap");
    let secret = held("secret", creds, "{.data.password} {.type} {.immutable}")?;
    ensure!(secret == format!("{} example.com/password true", SESAME[1]), "{tool:?}: another Secret");
    let expected = CONFIGURED.replace("name: settings}}", &format!("name: {settings}}}}}"));
    let expected = expected.replace("secretRef: {name: creds}", &format!("secretRef: {{name: {creds}}}"));
    cell.is_exactly("after the undo", &expected.replace("secretName: creds", &format!("secretName: {creds}")))?;
    // Who reads what we write does not learn what is in a Secret.
    let kinds = "rollbackpolicies,rollbacks,events,controllerrevisions,configmaps,deployments";
    let written = bed.tools.kubectl(&["-n", &cell.namespace, "get", kinds, "-o", "json"])?;
    ensure!(written.contains("Secret creds"), "{tool:?}: it is not told");
    ensure!(!SESAME.iter().any(|content| written.contains(content)), "{tool:?}: the Secret's content was written");
    cell.nothing_of_ours("after the undo")?;
    if tool == Tool::Helm3 {
        cell.helm(&["rollback", "checkout"])?;
    }
    let fixed = CONFIGURED.replace(":v1", ":v3");
    cell.apply(&fixed)?;
    cell.is_exactly("v3", &fixed)?;
    cell.nothing_of_ours("v3")
}

/// v1 known good, v2 applied, undone and handed back.
fn undone<'a>(bed: &'a Bed, kind: &'a str, tool: Tool, speed: &str) -> Result<(Cell<'a>, Rollback)> {
    let cell = Cell::new(bed, kind, tool, &format!("hand-{speed}"))?;
    cell.adopted(V1, &format!("{{verify: {{duration: 1s}}, speed: {speed}}}"))?;
    cell.apply(V2)?;
    let rollback = bed.undone(&cell.namespace, "checkout")?;
    let status = rollback.status.clone().unwrap_or_default();
    ensure!(status.timeline.handed_back_at.is_some(), "{cell}: not handed back: {:?}", status.conditions);
    ensure!(serde_json::to_string(&rollback)?.len() < 32 * 1024, "the record is too long");
    if kind == "Deployment" {
        // A fast undo borrows maxSurge as well.
        let borrowed = status.original_max_surge;
        ensure!(borrowed.is_some() == (speed == "Fast"), "{cell} {speed}: {borrowed:?}");
        let surge = &cell.live()?["spec"]["strategy"]["rollingUpdate"]["maxSurge"];
        ensure!(surge == "25%", "{cell} {speed}: maxSurge is {surge}");
    }
    cell.is_exactly("after the undo", V1)?;
    cell.nothing_of_ours("after the undo")?;
    Ok((cell, rollback))
}

/// Everything that a tool may do after an undo.
pub(crate) fn matrix(bed: &Bed, kind: &str, tool: Tool) -> Result<()> {
    let (cell, rollback) = undone(bed, kind, tool, "Normal")?;
    let residue =
        rollback.status.iter().flat_map(|status| &status.conditions).find(|one| one.type_ == "ResidueExpected");
    match (tool, residue) {
        (Tool::Helm3, Some(residue)) => {
            // The one command that it names.
            let command = residue.message.split('`').nth(1).context("no command")?;
            ensure!(command == format!("helm rollback checkout --namespace {}", cell.namespace), "{command}");
            cell.helm(&["rollback", "checkout"])?;
            cell.is_exactly("after the rollback of the release", V1)?;
        }
        (Tool::Helm3, None) => bail!("the residue to come is not told"),
        (_, Some(residue)) => bail!("{cell}: residue is expected without reason: {}", residue.message),
        (_, None) => {}
    }
    cell.apply(V3)?;
    cell.is_exactly("v3", V3)?;
    cell.nothing_of_ours("v3")?;
    cell.back_to_v1()?;
    cell.is_exactly("v1 again, from v3", V1)?;

    let (cell, _) = undone(bed, kind, tool, "Fast")?;
    if tool == Tool::Helm3 {
        cell.helm(&["rollback", "checkout"])?;
    }
    // A revision that was undone and comes back is undone again, unless a person wants it otherwise.
    let suspend = r#"{"spec":{"suspend":true}}"#;
    bed.tools.kubectl(&["-n", &cell.namespace, "patch", "rbp", "checkout", "--type=merge", "-p", suspend])?;
    bed.until(&cell.namespace, "checkout", "suspended", |policy| {
        policy.status.as_ref().and_then(|status| status.observed_generation) == policy.metadata.generation
    })?;
    cell.apply(V2)?;
    cell.is_exactly("v2 again", V2)?;
    cell.nothing_of_ours("v2 again")
}

/// A second bad one, on top of the first.
const V2B: &str = r#"
    metadata: {labels: {app: checkout, simulated: crash-loop}}
    spec:
      containers:
      - name: app
        image: shop/checkout:v2b
        env: [{name: KEPT, value: "1"}, {name: ADDED, value: "2b"}]"#;

/// The documented template, under the documented rights, with the real Helm 3: the work of the Job's container is done
/// here, for the node is simulated.
pub(crate) fn helm3_by_a_job(bed: &Bed) -> Result<()> {
    for (suffix, bad) in [("one", &[V2][..]), ("two", &[V2, V2B])] {
        let namespace = bed.namespace(&format!("helm-job-{suffix}"))?;
        let template = crate::documents::block("docs/handing-back.md", "kind: CronJob")?;
        bed.tools.apply(&template.replace("namespace: shop", &format!("namespace: {namespace}")))?;
        let cell = Cell { bed, kind: "Deployment", tool: Tool::Helm3, namespace };
        let namespace = cell.namespace.as_str();
        cell.adopted(V1, "{verify: {duration: 1s}, helm: {job: snapback-helm}}")?;
        // Both are there before anybody judges.
        let suspended = |suspend: bool| {
            let patch = format!("{{\"spec\":{{\"suspend\":{suspend}}}}}");
            bed.tools.kubectl(&["-n", namespace, "patch", "rbp", "checkout", "--type=merge", "-p", &patch])
        };
        suspended(true)?;
        for version in bad {
            cell.apply(version)?;
        }
        suspended(false)?;
        let job = crate::jobs::made(bed, namespace)?;
        let container = &job["spec"]["template"]["spec"]["containers"][0];
        let texts = |list: &Value| {
            let list = list.as_array().cloned().unwrap_or_default();
            list.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        let env: Vec<(String, String)> = container["env"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| {
                (
                    one["name"].as_str().unwrap_or_default().to_owned(),
                    one["value"].as_str().unwrap_or_default().to_owned(),
                )
            })
            .collect();
        let script = [texts(&container["command"]), texts(&container["args"])].concat();
        bed.tools.script_with_helm3(&script, &env, &format!("{namespace}:snapback-helm"))?;
        // Run again, it sees that all is done.
        bed.tools.script_with_helm3(&script, &env, &format!("{namespace}:snapback-helm"))?;
        let history = bed.tools.helm3(&["history", "checkout", "--namespace", namespace])?;
        ensure!(history.trim_end().ends_with("Rollback to 1"), "{suffix}: {history}");
        crate::jobs::ends(bed, namespace, "Succeeded")?;
        let rollback = crate::jobs::until(bed, namespace, "the record of Helm", |rollback| {
            let status = rollback.status.clone().unwrap_or_default();
            let told = status.conditions.iter().find(|one| one.type_ == "ResidueExpected");
            told.is_some_and(|told| told.status == "False" && told.reason == "ReleaseRolledBack")
                && status.phase == Some(RollbackPhase::Succeeded)
        })?;
        ensure!(rollback.status.is_some_and(|status| status.timeline.handed_back_at.is_some()), "not handed back");
        cell.is_exactly("after the Job", V1)?;
        cell.apply(V3)?;
        cell.is_exactly("v3", V3)?;
        cell.nothing_of_ours("v3")?;
        // A newer release is not undone, and what cannot be told apart is left to a person.
        let mut alike = env.clone();
        alike.iter_mut().filter(|(name, _)| name.ends_with("IMAGES")).for_each(|(_, value)| "one:v1".clone_into(value));
        for (env, wanted) in [(&env, "newer than the undo"), (&alike, "choose the release by hand")] {
            let said = bed.tools.script_with_helm3(&script, env, &format!("{namespace}:snapback-helm"));
            let said = format!("{:#}", said.err().context("it did something")?);
            ensure!(said.contains(wanted), "{said}");
        }
        cell.is_exactly("v3 as before", V3)?;
    }
    Ok(())
}
