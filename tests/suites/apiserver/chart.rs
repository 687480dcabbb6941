//! The chart: what its values render, and which it refuses.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use snapback_tests::chart::{self, cases, objects};
use snapback_tests::tools;

use crate::bed::Bed;

/// The Prometheus Operator's kinds, as far as the chart writes them.
fn monitoring(bed: &Bed) -> Result<()> {
    let kinds = tools::repository().join("tests/testbed/monitoring.yaml").to_string_lossy().into_owned();
    bed.tools.kubectl(&["apply", "--server-side", "-f", &kinds])?;
    bed.tools.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "-f", &kinds]).map(drop)
}

/// Each file of values renders what is kept of it, the same by both Helms, and the API server takes it.
pub(crate) fn cases(bed: &Bed) -> Result<()> {
    monitoring(bed)?;
    let watched = bed.namespace("chart-watched")?;
    let (cases, default) = (cases::all()?, cases::default(&bed.tools)?);
    ensure!(cases.len() >= 12, "only {} cases were found", cases.len());
    for case in &cases {
        let kept = std::fs::read_to_string(case.path()).unwrap_or_default();
        let golden = case.golden(&bed.tools, &default)?;
        ensure!(
            kept == golden,
            "{}: another rendering than is kept: run `make manifests`, read the difference",
            case.name
        );
        let rendered = case.rendered(&bed.tools)?;
        // This build of Helm 3 knows no version of Kubernetes.
        let folder = chart::folder().to_string_lossy().into_owned();
        let values = case.values();
        let older =
            ["template", "snapback", &folder, "--namespace=snapback-system", "--skip-tests", "--kube-version=1.33.0"];
        let older = bed.tools.helm3(&[&older[..], &[&values]].concat())?;
        ensure!(objects::parse(&older)? == objects::parse(&rendered)?, "{}: Helm 3 renders something else", case.name);
        // Where rights are given there must be a namespace.
        let rendered = rendered.replace("namespace: shop\n", &format!("namespace: {watched}\n"));
        accepted(bed, &rendered).with_context(|| case.name.clone())?;
    }
    Ok(())
}

fn accepted(bed: &Bed, objects: &str) -> Result<()> {
    bed.tools.kubectl_with(&["apply", "--dry-run=server", "--validate=strict", "-f", "-"], objects).map(drop)
}

/// The stand-ins for the Prometheus Operator's kinds refuse what those refuse.
pub(crate) fn monitors_are_checked(bed: &Bed) -> Result<()> {
    monitoring(bed)?;
    let rule = |rule: &str| {
        format!(
            "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata: {{name: a, namespace: default}}\n\
             spec: {{groups: [{{name: a, rules: [{rule}]}}]}}\n"
        )
    };
    accepted(bed, &rule("{alert: A, expr: up == 0, for: 10m}"))?;
    for (wrong, said) in [("{alert: A}", "expr"), ("{expr: up, for: soon}", "for"), ("{expr: up, fore: 10m}", "fore")] {
        let refusal = accepted(bed, &rule(wrong)).err().with_context(|| format!("{wrong} was accepted"))?;
        ensure!(format!("{refusal:#}").contains(said), "{refusal:#}");
    }
    Ok(())
}

/// What is refused, and in which words.
pub(crate) fn refused(bed: &Bed) -> Result<()> {
    let source = |more: &str| format!("--set-json=config.sources=[{{\"name\":\"main\",\"url\":\"http://a\"{more}}}]");
    for (value, words) in [
        ("--set=replcas=2", "additional properties 'replcas' not allowed"),
        ("--set=config.limits.window=soon", "at '/config/limits/window': 'soon' does not match"),
        ("--set=config.limits.perTraget=1", "additional properties 'perTraget' not allowed"),
        ("--set=config.features.secretsInConfigRestore=true", "at '/config': additional properties 'features'"),
        ("--set=config.watchNamespaces={a,b}", "at '/config/watchNamespaces': maxItems: got 2, want 1"),
        ("--set=image.pullPolicy=Sometimes", "must be one of 'Always', 'IfNotPresent', 'Never'"),
        ("--set=image.digest=latest", "at '/image/digest'"),
        ("--set=jobs.enabled=maybe", "at '/jobs/enabled': got string, want boolean"),
        ("--set=podAnnotations.a=true", "at '/podAnnotations/a': got boolean, want string"),
        ("--set=networkPolicy.sources.ports={http}", "at '/networkPolicy/sources/ports/0': got string, want integer"),
        ("--set=monitoring.prometheusRule.disabled={Snapback}", "at '/monitoring/prometheusRule/disabled/0'"),
        (&source(",\"tiemout\":\"5s\""), "at '/config/sources/0': additional properties 'tiemout' not allowed"),
        (&source(",\"headers\":{\"a\":{}}"), "at '/config/sources/0/headers/a': minProperties: got 0, want 1"),
        (&source("},{\"name\":\"main\",\"url\":\"http://b\""), "config.sources: the name \"main\" is used twice"),
        ("--set-json=config.sources=[{\"name\":\"main\"}]", "at '/config/sources/0': missing property 'url'"),
        ("--set=config.defaultSource=main", "config.defaultSource: there is no source \"main\"; there are: none"),
        ("--set=serviceAccount.create=false", "serviceAccount.name: must name the ServiceAccount"),
        (
            "--set=monitoring.prometheusRule.enabled=true",
            "monitoring.prometheusRule: its alerts need the series of a monitor",
        ),
        (
            "--set=monitoring.serviceMonitor.enabled=true,monitoring.podMonitor.enabled=true",
            "monitoring: serviceMonitor and podMonitor would scrape each replica twice",
        ),
    ] {
        let refusal = chart::render(&bed.tools, &[value]).err().with_context(|| format!("{value} was accepted"))?;
        ensure!(format!("{refusal:#}").contains(words), "{value}: {words:?} is not in: {refusal:#}");
    }
    // Helm puts these into the values of a chart that another one depends on.
    chart::render(&bed.tools, &["--set=global.a=b,enabled=true"]).map(drop)
}

/// Dashboards are taken as they are: what looks like a template in them is Grafana's.
pub(crate) fn dashboards(bed: &Bed) -> Result<()> {
    let copy = Copy::new("dashboards")?;
    let dashboard = r#"{"title": "On call", "legend": "{{namespace}}"}"#;
    std::fs::write(copy.0.join("dashboards/on-call.json"), dashboard)?;
    let enabled = "--set=monitoring.dashboards.enabled=true";
    let render = ["template", "snapback", &copy.0.to_string_lossy(), "--show-only=templates/dashboards.yaml", enabled];
    let objects = objects::parse(&bed.tools.helm(&render)?)?;
    let (_, object) = objects.first_key_value().context("no dashboard")?;
    ensure!(object["metadata"]["name"] == "snapback-on-call", "{object}");
    ensure!(object["metadata"]["labels"]["grafana_dashboard"] == "1", "{object}");
    ensure!(object["data"]["on-call.json"].as_str().map(str::trim) == Some(dashboard), "{object}");
    ensure!(!chart::render(&bed.tools, &[])?.contains("grafana_dashboard"), "dashboards without being asked");
    Ok(())
}

/// A copy of the chart that may be changed; removed at the end.
pub(crate) struct Copy(pub(crate) std::path::PathBuf);

impl Copy {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let to = std::env::temp_dir().join(format!("snapback-chart-{name}-{}", std::process::id()));
        _ = std::fs::remove_dir_all(&to);
        copy(&chart::folder(), &to)?;
        Ok(Self(to))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        if path.is_dir() { copy(&path, &to.join(name))? } else { std::fs::copy(&path, to.join(name)).map(drop)? }
    }
    Ok(())
}

/// What `helm test` makes is taken, and its pod runs under the same restrictions as the operator.
pub(crate) fn hooks(bed: &Bed) -> Result<()> {
    let folder = chart::folder().to_string_lossy().into_owned();
    let render = ["template", "snapback", &folder, "--namespace=snapback-system", "--show-only=templates/test.yaml"];
    let text = bed.tools.helm(&render)?;
    accepted(bed, &text)?;
    let objects = objects::parse(&text)?;
    ensure!(objects.len() == 3, "{:?}", objects.keys());
    for (name, object) in &objects {
        ensure!(object["metadata"]["annotations"]["helm.sh/hook"] == "test", "{name} is no hook of `helm test`");
    }
    let rendered = chart::render(&bed.tools, &["--set=config.gitops.flux.enabled=true"])?;
    let rendered = objects::parse(&rendered)?;
    let operator = rendered.get("Deployment snapback-system/snapback").context("no operator")?;
    ends_holds(bed, &rendered)?;
    let pod = objects.get("Pod snapback-system/snapback-test").context("no pod")?;
    let safe = |spec: &Value| (spec["securityContext"].clone(), spec["containers"][0]["securityContext"].clone());
    ensure!(safe(&pod["spec"]) == safe(&operator["spec"]["template"]["spec"]), "{pod}");
    ensure!(pod["spec"]["automountServiceAccountToken"] == false, "{pod}");
    // The policy of the test is one that `snapback lint` is given.
    let linted = objects.get("ConfigMap snapback-system/snapback-test").context("no policy to lint")?;
    let linted: Value = serde_yaml_ng::from_str(linted["data"]["policy.yaml"].as_str().context("no text")?)?;
    ensure!(objects.get("RollbackPolicy snapback-system/snapback-test") == Some(&linted), "{linted}");
    Ok(())
}

/// The Job that ends all holds before the release goes: as the operator is, with its account and its Lease, and only where
/// something may be held.
fn ends_holds(bed: &Bed, rendered: &objects::Objects) -> Result<()> {
    const JOB: &str = "Job snapback-system/snapback-end-holds";
    for without in ["--set=replicas=2", "--set=config.gitops.flux.enabled=true,uninstall.endHolds=false"] {
        ensure!(!objects::parse(&chart::render(&bed.tools, &[without])?)?.contains_key(JOB), "{without}");
    }
    let operator = rendered.get("Deployment snapback-system/snapback").context("no operator")?;
    let job = rendered.get(JOB).context("nothing ends the holds")?;
    ensure!(job["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete", "{job}");
    let (pod, of) = (&job["spec"]["template"], &operator["spec"]["template"]);
    for same in [
        "/spec/serviceAccountName",
        "/spec/securityContext",
        "/spec/volumes",
        "/spec/containers/0/image",
        "/spec/containers/0/securityContext",
        "/spec/containers/0/volumeMounts",
    ] {
        ensure!(pod.pointer(same).is_some() && pod.pointer(same) == of.pointer(same), "{same}: {pod}");
    }
    let arguments = |pod: &Value| pod["spec"]["containers"][0]["args"].to_string();
    for argument in ["\"--config=/etc/snapback/config.yaml\"", "\"--lease=snapback-system/snapback\""] {
        ensure!(arguments(pod).contains(argument) && arguments(of).contains(argument), "{argument}: {pod}");
    }
    let service = rendered.get("Service snapback-system/snapback").context("no Service")?;
    let selects = service["spec"]["selector"].as_object().context("a selector")?;
    ensure!(selects.iter().any(|(key, value)| pod["metadata"]["labels"][key] != *value), "the Service has it, too");
    Ok(())
}
