//! Uninstalling Snapback while it holds: the chart's Job ends all holds first, whatever happens on the way. On a cluster of its
//! own, with the real program as the operator and as the Job.
//!
//! Nothing runs in the pods of the simulated node. So the test takes the place of its kubelet: it runs the program with what
//! the pod says, under the rights of its ServiceAccount, and says how that ended.

use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use kube::config::Kubeconfig;
use serde_json::{Value, json};
use snapback_api::v1alpha1::Rollback;
use snapback_tests::command_line;
use snapback_tests::releases::V2;
use snapback_tests::suite::Bed as _;

use crate::argocd::Applies;
use crate::bed::{Bed, lock, until};
use crate::undone::{argo_held, flux_held, heals, rollbacks};

const FLUX: &str = "uninstalled-flux";
const ARGOCD: &str = "uninstalled-argocd";
const NAMESPACE: &str = "--namespace=snapback-system";

pub(crate) fn ends_all_holds(bed: &Bed) -> Result<()> {
    let program = command_line::snapback()?;
    let own = bed.wait(Bed::start())?;
    let told = story(&own, &Kubelet { bed: &own, program });
    if told.is_err() {
        own.keep_logs()?;
    }
    let left = own.tear_down();
    told?;
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

fn story(bed: &Bed, kubelet: &Kubelet) -> Result<()> {
    bed.install()?;
    bed.tools.kubectl(&["create", "clusterrolebinding", "ada", "--clusterrole=cluster-admin", "--user=ada"])?;
    let operator = object(bed, "deployment", "snapback")?["spec"]["template"]["spec"].clone();
    *lock(&bed.program) = Some(bed.process("operator", &mut kubelet.container(&operator, "operator-0")?)?);
    let flux = flux_held(bed, FLUX)?;
    let argocd = argo_held(bed, ARGOCD, Applies::ServerSide)?;

    let tools = bed.tools.clone();
    let uninstall = std::thread::spawn(move || tools.helm(&["uninstall", "snapback", NAMESPACE, "--wait"]));
    let pod = hooks_pod(bed)?;
    let (name, spec) = (pod["metadata"]["name"].as_str().context("a name")?, &pod["spec"]);

    // It dies while it waits for the operator to stand by, which does.
    let killed = bed.process("end-holds", &mut kubelet.container(spec, name)?)?;
    until("the Lease to be taken", || Ok(holder(bed)? == name))?;
    killed.kill();
    let has_ended = || Ok(lock(&bed.program).as_mut().is_some_and(|operator| operator.check().is_err()));
    until("the operator to end", has_ended)?;
    *lock(&bed.program) = Some(bed.process("operator-again", &mut kubelet.container(&operator, "operator-1")?)?);
    ensure!(!heals(&argocd)? && is_labelled(bed)?, "a hold has ended too early");

    // Without the right to one of the tools it fails, says what a person can do, and the operator goes on.
    let binding = bed.tools.kubectl(&["-n", "argocd", "get", "rolebinding", "snapback-argocd", "-o", "json"])?;
    bed.tools.kubectl(&["-n", "argocd", "delete", "rolebinding", "snapback-argocd"])?;
    let mut short = spec.clone();
    let arguments = short["containers"][0]["args"].as_array_mut().context("arguments")?;
    arguments.retain(|argument| !argument.as_str().is_some_and(|text| text.starts_with("--within")));
    arguments.push("--within=20".into());
    let refused = kubelet.run(&short, "end-holds-refused")?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success(), "it succeeded without the right to: {said}");
    ensure!(!is_labelled(bed)?, "the hold that could be ended was not: {said}");
    let by_hand: Vec<&str> = said.lines().filter(|line| line.starts_with("kubectl ")).collect();
    ensure!(by_hand.len() == 2 && by_hand[0].contains(&format!("patch applications.argoproj.io {ARGOCD}")), "{said}");
    for line in by_hand {
        bed.tools.paste(&format!("{line} --dry-run=server"), "ada").with_context(|| line.to_owned())?;
    }
    until("the operator to lead again", || Ok(holder(bed)? == "operator-1"))?;
    let mut binding: Value = serde_json::from_str(&binding)?;
    binding["metadata"] =
        json!({"name": "snapback-argocd", "namespace": "argocd", "labels": binding["metadata"]["labels"]});
    bed.tools.apply(&binding.to_string())?;

    let done = kubelet.run(spec, name)?;
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    ensure!(done.status.success() && said.contains("no hold is left\n"), "{said}");
    ensure!(heals(&argocd)?, "Argo CD is still held: {said}");
    for namespace in [FLUX, ARGOCD] {
        let all = rollbacks(bed, namespace)?;
        let first = all
            .iter()
            .min_by_key(|one| one.metadata.creation_timestamp.as_ref().map(|at| at.0))
            .context("no Rollback")?;
        let because = hold(first)["because"].clone();
        ensure!(because.as_str().is_some_and(|because| because.contains("uninstalled")), "{namespace}: {because}");
        let is_free = |one: &Rollback| one.metadata.finalizers.as_ref().is_none_or(Vec::is_empty);
        ensure!(all.iter().all(is_free), "{namespace}: a finalizer is left");
    }
    // Whoever starts now stands by until the release is gone.
    let log = |of: &str| std::fs::read_to_string(bed.folder.join(of)).unwrap_or_default();
    *lock(&bed.program) = Some(bed.process("operator-late", &mut kubelet.container(&operator, "operator-2")?)?);
    until("an operator to stand by", || Ok(log("operator-late.log").contains("standing by")))?;
    ensure!(!uninstall.is_finished(), "Helm did not wait for its Job");
    kubelet.succeeded(&pod)?;
    uninstall.join().map_err(|_| anyhow::anyhow!("the thread of Helm"))??;
    lock(&bed.program).take();

    // The tools have their way, and the kinds can go.
    bed.until_live(FLUX, V2)?;
    bed.until_live(ARGOCD, V2)?;
    argocd.synced(&argocd.repository.head()?)?;
    flux.reconciled(1)?;
    ensure!(bed.managers(FLUX)? == ["kustomize-controller Apply"], "{:?}", bed.managers(FLUX)?);
    let kinds = ["rollbackpolicies.snapback.dev", "rollbacks.snapback.dev"];
    bed.tools.kubectl(&["delete", "crd", kinds[0], kinds[1], "--timeout=30s"])?;
    let left = ["get", "jobs,pods", "-n", "snapback-system", "-o", "name"];
    until("nothing to be left", || Ok(bed.tools.kubectl(&left)?.trim().is_empty())).map(drop)
}

/// Runs the containers of pods as programs on this machine.
struct Kubelet<'a> {
    bed: &'a Bed,
    program: PathBuf,
}

impl Kubelet<'_> {
    /// What a pod's only container runs, with its files, its environment and its rights.
    fn container(&self, spec: &Value, pod: &str) -> Result<Command> {
        let container = &spec["containers"][0];
        let folder = self.bed.folder.join(format!("pod-{pod}"));
        std::fs::create_dir_all(&folder)?;
        let mount = &container["volumeMounts"][0];
        let map = spec["volumes"][0]["configMap"]["name"].as_str().context("a ConfigMap")?;
        ensure!(mount["subPath"] == "config.yaml", "{mount}");
        let config = object(self.bed, "configmap", map)?["data"]["config.yaml"].clone();
        std::fs::write(folder.join("config.yaml"), config.as_str().context("a configuration")?)?;
        let account = spec["serviceAccountName"].as_str().context("a ServiceAccount")?;
        let mut kubeconfig = Kubeconfig::read_from(&self.bed.kubeconfig)?;
        for known in kubeconfig.auth_infos.iter_mut().filter_map(|known| known.auth_info.as_mut()) {
            known.impersonate = Some(format!("system:serviceaccount:snapback-system:{account}"));
        }
        std::fs::write(folder.join("kubeconfig"), serde_yaml_ng::to_string(&kubeconfig)?)?;
        let here = |argument: &str| match argument.split_once('=') {
            Some(("--config", at)) if mount["mountPath"] == at => {
                format!("--config={}", folder.join("config.yaml").display())
            }
            Some(("--listen", _)) => "--listen=127.0.0.1:0".to_owned(),
            _ => argument.to_owned(),
        };
        let mut command = Command::new(&self.program);
        command.args(container["args"].as_array().into_iter().flatten().filter_map(Value::as_str).map(here));
        command.env_clear().env("KUBECONFIG", folder.join("kubeconfig"));
        for variable in container["env"].as_array().into_iter().flatten() {
            let name = variable["name"].as_str().context("a name")?;
            let is_name = variable["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name";
            command.env(name, if is_name { pod } else { variable["value"].as_str().unwrap_or_default() });
        }
        Ok(command)
    }

    /// Runs it to its end.
    fn run(&self, spec: &Value, pod: &str) -> Result<Output> {
        Ok(self.container(spec, pod)?.output()?)
    }

    /// Says that a pod has done what it was for.
    fn succeeded(&self, pod: &Value) -> Result<()> {
        let name = pod["metadata"]["name"].as_str().context("a name")?;
        let container = &pod["spec"]["containers"][0];
        let ended = json!({"status": {"phase": "Succeeded", "containerStatuses": [{
            "name": container["name"], "image": container["image"], "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}
        }]}});
        let patch = ["patch", "pod", name, "--subresource=status", "--type=merge", "-p", &ended.to_string()];
        self.bed.tools.kubectl(&[&["-n", "snapback-system"][..], &patch].concat()).map(drop)
    }
}

/// The pod of the chart's Job, once its node has it.
fn hooks_pod(bed: &Bed) -> Result<Value> {
    let mut pod = Value::Null;
    let label = ["-l", "app.kubernetes.io/name=snapback-end-holds", "-o", "json"];
    until("the pod of the Job", || {
        let pods = bed.tools.kubectl(&[&["-n", "snapback-system", "get", "pods"][..], &label].concat())?;
        let pods: Value = serde_json::from_str(&pods)?;
        pod = pods["items"][0].clone();
        Ok(pod["status"]["phase"] == "Running")
    })?;
    Ok(pod)
}

fn object(bed: &Bed, kind: &str, name: &str) -> Result<Value> {
    Ok(serde_json::from_str(&bed.tools.kubectl(&["-n", "snapback-system", "get", kind, name, "-o", "json"])?)?)
}

/// Whose the Lease is.
fn holder(bed: &Bed) -> Result<String> {
    let holder = object(bed, "lease", "snapback")?["spec"]["holderIdentity"].take();
    Ok(holder.as_str().unwrap_or_default().to_owned())
}

fn is_labelled(bed: &Bed) -> Result<bool> {
    Ok(bed.live(FLUX)?["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/reconcile"] == "disabled")
}

fn hold(record: &Rollback) -> Value {
    let hold = record.status.as_ref().and_then(|status| status.hold.as_ref());
    serde_json::to_value(hold).unwrap_or_default()
}
