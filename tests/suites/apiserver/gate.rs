//! Who waits for a release is told the truth about it: the real Helm 4, and `snapback wait`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kube::config::Kubeconfig;
use snapback_api::v1alpha1::{PhaseName, RollbackPolicy, TargetStatus};
use snapback_tests::command_line;
use snapback_tests::releases::manifest;

use crate::bed::Bed;

/// A chart with a Deployment and its policy. `bad` pods crash; `stamped` policies say what is expected.
const CHART: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: checkout}
spec:
  replicas: 2
  selector: {matchLabels: {app: checkout}}
  template:
    metadata: {labels: {app: checkout {{- if .Values.bad }}, simulated: crash-loop{{ end }}}}
    spec: {containers: [{name: app, image: "shop/checkout:{{ .Values.version }}"}]}
---
apiVersion: snapback.dev/v1alpha1
kind: RollbackPolicy
metadata: {name: checkout}
spec:
  targetRef: {kind: Deployment, name: checkout}
  soak: {duration: 3s, interval: 1s}
  checks: [{name: crashes, crashRate: {max: "50%"}}]
  rollback: {verify: {duration: 1s}}
  gate: Soak
  {{- if .Values.stamped }}
  expectedRevision: {{ .Values.version | quote }}
  {{- end }}
"#;

struct Release<'a> {
    bed: &'a Bed,
    namespace: String,
    chart: PathBuf,
}

impl Drop for Release<'_> {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.chart);
    }
}

impl<'a> Release<'a> {
    fn new(bed: &'a Bed, namespace: &str) -> Result<Self> {
        let chart = std::env::temp_dir().join(format!("snapback-chart-{}-{namespace}", std::process::id()));
        std::fs::create_dir_all(chart.join("templates"))?;
        std::fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: checkout\nversion: 0.1.0\n")?;
        std::fs::write(chart.join("values.yaml"), "bad: false\nstamped: true\n")?;
        std::fs::write(chart.join("templates/all.yaml"), CHART)?;
        Ok(Self { bed, namespace: bed.namespace(namespace)?, chart })
    }

    /// `helm upgrade --wait`.
    fn upgrade(&self, version: &str, timeout: &str, values: &[&str]) -> Result<()> {
        let (chart, version) = (self.chart.to_string_lossy(), format!("--set=version={version}"));
        let timeout = format!("--timeout={timeout}");
        let upgrade = ["upgrade", "--install", "checkout", &chart, "--wait", &timeout, &version];
        let arguments = [&upgrade, ["--namespace", &self.namespace].as_slice(), values].concat();
        self.bed.tools.helm(&arguments).map(drop)
    }

    /// What helm-controller does of a release that failed: `helm rollback --wait` to one that was good.
    fn remediate(&self, to: &str, timeout: &str) -> Result<()> {
        let (namespace, timeout) = (format!("--namespace={}", self.namespace), format!("--timeout={timeout}"));
        self.bed.tools.helm(&["rollback", "checkout", to, "--wait", &timeout, &namespace]).map(drop)
    }

    /// The live image, and Kubernetes' own number of the template, which moves when pods are replaced.
    fn live(&self) -> Result<String> {
        let live = "jsonpath={.spec.template.spec.containers[0].image} \
                    {.metadata.annotations.deployment\\.kubernetes\\.io/revision}";
        self.bed.tools.kubectl(&["-n", &self.namespace, "get", "deployment", "checkout", "-o", live])
    }

    /// The number of the newest release that is not a failed one.
    fn newest_good(&self) -> Result<String> {
        let history = ["history", "checkout", "--output=json", "--namespace", &self.namespace];
        let history: serde_json::Value = serde_json::from_str(&self.bed.tools.helm(&history)?)?;
        let all = history.as_array().context("no history")?;
        let good = all.iter().rfind(|one| one["status"] == "superseded" || one["status"] == "deployed");
        Ok(good.context("no good release")?["revision"].to_string())
    }

    /// Waits until so many records have undone something.
    fn undone(&self, times: usize) -> Result<()> {
        let phases = ["-n", &self.namespace, "get", "rollbacks", "-o", "jsonpath={.items[*].status.phase}"];
        until("the undo", || Ok(self.bed.tools.kubectl(&phases)? == vec!["Succeeded"; times].join(" ")))
    }

    fn target(&self) -> Result<TargetStatus> {
        let policies: kube::Api<RollbackPolicy> = kube::Api::namespaced(self.bed.client.clone(), &self.namespace);
        let policy = self.bed.wait(policies.get("checkout"))?;
        policy.status.and_then(|status| status.targets.into_iter().next()).context("nobody has looked")
    }

    /// The release that just ended was judged, and is this one.
    fn is_known_good(&self, image: &str) -> Result<()> {
        let target = self.target()?;
        let is_good = target.known_good.as_ref().is_some_and(|good| good.images == [image]);
        ensure!(target.phase == PhaseName::Idle && is_good, "{target:#?}");
        Ok(())
    }
}

/// `helm upgrade --wait` succeeds when the soak has passed, and fails for what is undone.
pub(crate) fn helm(bed: &Bed) -> Result<()> {
    let release = Release::new(bed, "gate-helm")?;
    release.upgrade("v1", "60s", &[])?;
    release.is_known_good("shop/checkout:v1")?;

    let began = Instant::now();
    let Err(told) = release.upgrade("v2", "60s", &["--set=bad=true"]) else { bail!("a false green") };
    let told = format!("{told:#}");
    ensure!(told.contains("RollbackPolicy/gate-helm/checkout not ready. status: Failed"), "{told}");
    ensure!(began.elapsed() < Duration::from_secs(50), "it waited for its timeout");
    bed.undone(&release.namespace, "checkout")?;

    release.upgrade("v3", "60s", &[])?;
    release.is_known_good("shop/checkout:v3")
}

/// The steps of a HelmRelease with `upgrade.remediation.retries`, as helm-controller goes through them: a rollback by Helm does
/// not disturb what was undone, each retry is undone once more, and the next release comes through. What waits for a rollback
/// is told that it is well only where the chart says what it expects.
pub(crate) fn remediated(bed: &Bed) -> Result<()> {
    let release = Release::new(bed, "gate-remediated")?;
    release.upgrade("v1", "60s", &[])?;
    for attempt in 1..=2 {
        ensure!(release.upgrade("v2", "60s", &["--set=bad=true"]).is_err(), "a false green");
        release.undone(attempt)?;
        let undone = release.live()?;
        ensure!(undone.starts_with("shop/checkout:v1 "), "{undone}");
        release.remediate("1", "60s")?;
        ensure!(release.live()? == undone, "Helm's rollback replaced pods: {undone}, then {}", release.live()?);
    }
    release.upgrade("v3", "60s", &[])?;
    release.is_known_good("shop/checkout:v3")?;

    release.upgrade("v4", "60s", &["--set=stamped=false"])?;
    ensure!(release.upgrade("v5", "60s", &["--set=bad=true", "--set=stamped=false"]).is_err(), "a false green");
    release.undone(3)?;
    let unstamped = release.newest_good()?;
    let Err(told) = release.remediate(&unstamped, "60s") else { bail!("it is not known any more that this fails") };
    ensure!(format!("{told:#}").contains("not ready. status: Failed"), "{told:#}");
    ensure!(release.live()?.starts_with("shop/checkout:v4 "), "{}", release.live()?);
    Ok(())
}

/// A wait that begins before the operator has looked is not answered with the verdict on the release before, as it is
/// where nothing is stamped; nor with none at all.
pub(crate) fn late(bed: &Bed) -> Result<()> {
    let release = Release::new(bed, "gate-late")?;
    release.upgrade("v1", "60s", &[])?;
    silence(bed, &release.namespace)?;
    let Err(told) = release.upgrade("v2", "10s", &[]) else { bail!("nobody has judged v2") };
    let told = format!("{told:#}");
    ensure!(told.contains("RollbackPolicy/gate-late/checkout not ready. status: InProgress"), "{told}");

    let new = crate::bed::policy(&release.namespace, "new", "targetRef: {kind: Deployment, name: none}\ngate: Soak");
    bed.tools.apply(&new)?;
    let seen = ["-n", &release.namespace, "get", "rbp", "new", "-o", "jsonpath={.status.observedGeneration}"];
    ensure!(bed.tools.kubectl(&seen)? == "-1", "what nobody has looked at seems to be current");
    bed.tools.kubectl(&["-n", &release.namespace, "delete", "rbp", "new"])?;

    hear(bed, &release.namespace)?;
    release.upgrade("v3", "60s", &["--set=stamped=false"])?;
    release.is_known_good("shop/checkout:v3")?;
    silence(bed, &release.namespace)?;
    release.upgrade("v4", "60s", &["--set=stamped=false"]).context("it is known that this is answered too early")?;
    release.is_known_good("shop/checkout:v3").context("v4 was judged")?;
    hear(bed, &release.namespace)
}

/// From now on nobody can write what became of the policies of a namespace: as with an operator that is down, or late.
fn silence(bed: &Bed, namespace: &str) -> Result<()> {
    bed.tools.apply(&format!(
        "apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: {namespace}}}
spec:
  matchConstraints:
    namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}
    resourceRules:
    - {{apiGroups: [snapback.dev], apiVersions: [v1alpha1], operations: [UPDATE], resources: [rollbackpolicies/status]}}
  validations: [{{expression: \"false\", message: nobody is heard}}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: {namespace}}}
spec: {{policyName: {namespace}, validationActions: [Deny]}}
"
    ))?;
    until("nobody to be heard", || Ok(write_status(bed, namespace).is_err()))
}

/// The end of that.
fn hear(bed: &Bed, namespace: &str) -> Result<()> {
    bed.tools.kubectl(&["delete", "validatingadmissionpolicy,validatingadmissionpolicybinding", namespace])?;
    until("statuses to be written", || Ok(write_status(bed, namespace).is_ok()))
}

fn write_status(bed: &Bed, namespace: &str) -> Result<String> {
    let patch =
        r#"{"status": {"summary": {"target": "x", "phase": "x", "why": "x", "knownGood": "x", "message": "x"}}}"#;
    let patched = ["patch", "rbp", "checkout", "--subresource=status", "--type=merge", "--dry-run=server", "-p", patch];
    bed.tools.kubectl(&[["-n", namespace].as_slice(), &patched].concat())
}

fn until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so()? {
        ensure!(Instant::now() < deadline, "waited 30 s for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

const GOOD: &str = "
    metadata: {labels: {app: checkout}}
    spec: {containers: [{name: app, image: 'shop/checkout:VERSION'}]}";
const BAD: &str = "
    metadata: {labels: {app: checkout, simulated: crash-loop}}
    spec: {containers: [{name: app, image: 'shop/checkout:VERSION'}]}";

/// `snapback wait` in a namespace, with the rights of somebody who may read.
struct Waits<'a> {
    bed: &'a Bed,
    namespace: String,
    snapback: PathBuf,
    reader: PathBuf,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        _ = std::fs::remove_file(&self.reader);
    }
}

/// What it said: its exit code, its last line, and what it told meanwhile.
struct Told {
    code: i32,
    last: String,
    lines: String,
}

impl Told {
    fn of(output: &Output) -> Result<Self> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let code = output.status.code().context("it was killed")?;
        Ok(Self { code, last: text(&output.stdout), lines: text(&output.stderr) })
    }

    fn is(self, code: i32, part: &str) -> Result<Self> {
        let is_so = self.code == code && (self.last.contains(part) || code == 2 && self.lines.contains(part));
        ensure!(is_so, "not {code} with {part:?}: {} with {:?} after\n{}", self.code, self.last, self.lines);
        Ok(self)
    }
}

impl Waits<'_> {
    fn command(&self, kubeconfig: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.snapback);
        command.arg("wait").args(["-n", &self.namespace]).args(arguments).env("KUBECONFIG", kubeconfig);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn wait(&self, arguments: &[&str]) -> Result<Told> {
        Told::of(&self.command(&self.reader, arguments).output()?)
    }

    /// Begins to wait, and does something once it has told the first thing.
    fn wait_while(&self, arguments: &[&str], act: impl FnOnce() -> Result<()>) -> Result<Told> {
        let mut waiting = self.command(&self.reader, arguments).spawn()?;
        let mut said = BufReader::new(waiting.stderr.take().context("no standard error")?);
        let mut lines = String::new();
        said.read_line(&mut lines)?;
        let acted = act();
        said.read_to_string(&mut lines)?;
        let told = Told::of(&waiting.wait_with_output()?)?;
        acted.map(|()| Told { lines, ..told })
    }

    fn deploy(&self, template: &str, version: &str) -> Result<()> {
        let template = template.replace("VERSION", version);
        self.bed.tools.apply(&manifest("Deployment", &self.namespace, &template)).map(drop)
    }

    fn policy(&self, soak: &str, more: &str) -> Result<()> {
        let spec = format!(
            "targetRef: {{kind: Deployment, name: checkout}}\nsoak: {{duration: {soak}, interval: 1s}}\n\
             checks: [{{name: crashes, crashRate: {{max: \"50%\"}}}}]\nrollback: {{verify: {{duration: 1s}}}}\n{more}"
        );
        self.bed.policy(&self.namespace, "checkout", &spec).map(drop)
    }
}

/// Somebody else's kubeconfig, made from the administrator's.
fn kubeconfig_of(user: &str, known: &Path) -> Result<PathBuf> {
    let mut read = Kubeconfig::read_from(known)?;
    for known in read.auth_infos.iter_mut().filter_map(|known| known.auth_info.as_mut()) {
        known.impersonate = Some(user.to_owned());
    }
    let file = std::env::temp_dir().join(format!("snapback-{user}-{}.yaml", std::process::id()));
    std::fs::write(&file, serde_yaml_ng::to_string(&read)?)?;
    Ok(file)
}

/// Each end of a wait has its exit code, and the built-in role `view` is enough to wait.
pub(crate) fn wait(bed: &Bed) -> Result<()> {
    let namespace = bed.namespace("gate-wait")?;
    let administrators = bed.kubeconfig().context("the bed is taken down")?;
    let reader = kubeconfig_of("gate-reader", &administrators)?;
    let waits = Waits { bed, namespace: namespace.clone(), snapback: command_line::snapback()?, reader };
    bed.tools.kubectl(&[
        "-n",
        &namespace,
        "create",
        "rolebinding",
        "reader",
        "--clusterrole=view",
        "--user=gate-reader",
    ])?;

    waits.deploy(GOOD, "v1")?;
    waits.wait(&["deploy/checkout"])?.is(4, "no RollbackPolicy of its namespace covers it")?;
    waits.wait(&["deploy/cart"])?.is(2, "there is no deployment/cart in the namespace gate-wait")?;
    waits.wait(&["pod/checkout"])?.is(2, "must be such as deploy/checkout")?;
    let stranger = kubeconfig_of("gate-stranger", &administrators)?;
    let refused = waits.command(&stranger, &["deploy/checkout"]).output();
    _ = std::fs::remove_file(&stranger);
    Told::of(&refused?)?.is(2, "forbidden")?;

    bed.rolled_out(&namespace, "Deployment/checkout")?;
    waits.policy("3s", "")?;
    waits.wait(&["deployments.apps/checkout", "--revision=v1"])?.is(0, "good (Adopted)")?;

    waits.deploy(BAD, "v2")?;
    let bad = waits.wait(&["deploy/checkout"])?.is(1, "deployment/checkout: bad (")?;
    ensure!(bad.last.lines().count() == 1, "{}", bad.last);
    bed.undone(&namespace, "checkout")?;
    waits.wait(&["deploy/checkout", "--revision=v2"])?.is(1, "bad (RolledBack)")?;
    waits.wait(&["deploy/checkout"])?.is(1, "bad (RolledBack)")?;
    waits.wait(&["deploy/checkout", "--revision=v1"])?.is(0, "good (RolledBack)")?;

    // It waits for what is not there yet.
    let good = waits.wait_while(&["deploy/checkout", "--revision=v3"], || waits.deploy(GOOD, "v3"))?;
    let good = good.is(0, "good (KnownGood): shop/checkout:v3")?;
    ensure!(good.lines.contains("Soaking"), "nothing was told meanwhile: {}", good.lines);

    waits.policy("1h", "")?;
    waits.deploy(GOOD, "v4")?;
    waits.wait(&["deploy/checkout", "--timeout=3s"])?.is(3, "no verdict within 3s (")?;
    let superseded = waits.wait_while(&["deploy/checkout"], || waits.deploy(GOOD, "v5"))?;
    superseded.is(5, "superseded: shop/checkout:v5")?;

    waits.policy("1h", "suspend: true")?;
    waits.wait(&["deploy/checkout"])?.is(4, "not judged (Suspended)")?;
    waits.policy("1h", "minimumRequests: 50\nmetrics: {source: nobody}")?;
    bed.until(&namespace, "checkout", "refused", |policy| {
        policy.status.as_ref().is_some_and(|status| status.summary.as_ref().is_some_and(|one| one.why == "InvalidSpec"))
    })?;
    waits.wait(&["deploy/checkout"])?.is(4, "not judged (InvalidSpec): RollbackPolicy checkout cannot be meant")?;
    Ok(())
}
