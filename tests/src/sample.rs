//! What the demo and the scenarios deploy: the sample service, its load, and the operator from its chart.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Pod, PodSpec};

use crate::images::{OPERATOR, SAMPLE, TAG};
use crate::tools;

/// Runs kubectl and helm as a user would.
#[derive(Debug, Clone)]
pub struct Tools {
    kubeconfig: PathBuf,
}

impl Tools {
    /// For the cluster of a kubeconfig.
    pub fn new(kubeconfig: &Path) -> Self {
        Self { kubeconfig: kubeconfig.to_path_buf() }
    }

    /// `kubectl ARGUMENTS`; gives its output.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.run("kubectl", arguments, None)
    }

    /// `kubectl apply -f -`.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        self.run("kubectl", &["apply", "-f", "-"], Some(manifest))
    }

    /// `kubectl COMMAND... -f -` with a manifest.
    pub fn kubectl_with(&self, arguments: &[&str], manifest: &str) -> Result<String> {
        self.run("kubectl", arguments, Some(manifest))
    }

    /// `helm ARGUMENTS`.
    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        self.run("helm", arguments, None)
    }

    /// `helm ARGUMENTS` of Helm 3.
    pub fn helm3(&self, arguments: &[&str]) -> Result<String> {
        self.run("helm3", arguments, None)
    }

    /// Who the API server takes us for.
    pub fn whoami(&self) -> Result<String> {
        self.kubectl(&["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"])
    }

    /// Runs a line as it is pasted into a shell by this user.
    pub fn paste(&self, line: &str, user: &str) -> Result<String> {
        let kubectl = tools::path("kubectl")?;
        let script = format!("kubectl() {{ '{}' --as='{user}' \"$@\"; }}\n{line}", kubectl.display());
        self.finish(line, Command::new("sh").args(["-c", &script]), None)
    }

    /// Runs a shell script with these variables as a container with Helm 3 would, under a ServiceAccount
    /// (`NAMESPACE:NAME`).
    pub fn script_with_helm3(&self, script: &[String], env: &[(String, String)], account: &str) -> Result<String> {
        let folder = std::env::temp_dir().join(format!("snapback-helm3-{}", account.replace(':', "-")));
        _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder)?;
        std::os::unix::fs::symlink(tools::path("helm3")?, folder.join("helm"))?;
        let (program, arguments) = script.split_first().context("an empty command")?;
        let output = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(env.iter().map(|(name, value)| (name, value)))
            .env("PATH", format!("{}:/usr/bin:/bin", folder.display()))
            .env("HOME", &folder)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HELM_KUBEASUSER", format!("system:serviceaccount:{account}"))
            .output();
        _ = std::fs::remove_dir_all(&folder);
        let output = output.with_context(|| format!("starting {program}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            bail!("the script failed: {}", said.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn run(&self, program: &str, arguments: &[&str], input: Option<&str>) -> Result<String> {
        let what = format!("{program} {}", arguments.join(" "));
        self.finish(&what, Command::new(tools::path(program)?).args(arguments), input)
    }

    fn finish(&self, what: &str, command: &mut Command, input: Option<&str>) -> Result<String> {
        use std::io::Write;
        let mut child = command
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {what}"))?;
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            stdin.write_all(input.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("{what}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Installs the operator from its chart, as a pod, with these sources (name, URL), the first being the default.
    pub fn install_operator(&self, sources: &[(&str, String)]) -> Result<()> {
        let list: Vec<serde_json::Value> =
            sources.iter().map(|(name, url)| serde_json::json!({"name": name, "url": url, "timeout": "3s"})).collect();
        let default = sources.first().map_or("", |(name, _)| *name);
        let chart = tools::repository().join("charts/snapback");
        self.helm(&[
            "upgrade",
            "--install",
            "snapback",
            &chart.to_string_lossy(),
            "--namespace=snapback-system",
            "--create-namespace",
            "--wait",
            "--timeout=90s",
            &format!("--set=image.repository={OPERATOR},image.tag={TAG},config.defaultSource={default}"),
            &format!("--set-json=config.sources={}", serde_json::Value::from(list)),
            "--set=restore.configMaps=true",
            "--set=jobs.enabled=true",
            // Many scenarios share one cluster, and each of them is bad on purpose.
            "--set-json=config.limits={\"perCluster\":1000,\"fleetBrake\":{\"targets\":1000}}",
        ])?;
        Ok(())
    }
}

/// The sample service as a workload.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// What it is: Deployment, StatefulSet or DaemonSet.
    pub kind: &'static str,
    /// Its replicas, where its kind has them.
    pub replicas: u32,
    /// The image; the sample's if empty.
    pub image: String,
    /// Its behaviour.
    pub env: Vec<(String, String)>,
    /// More annotations of its pods.
    pub annotations: Vec<(String, String)>,
}

impl Service {
    /// A healthy Deployment with three replicas.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            kind: "Deployment",
            replicas: 3,
            image: String::new(),
            env: Vec::new(),
            annotations: Vec::new(),
        }
    }

    /// The same with another environment.
    #[must_use]
    pub fn with(&self, env: &[(&str, &str)]) -> Self {
        let mut service = self.clone();
        for (name, value) in env {
            service.env.retain(|(known, _)| known != name);
            service.env.push(((*name).to_owned(), (*value).to_owned()));
        }
        service
    }

    /// The same with another image.
    #[must_use]
    pub fn image(&self, image: &str) -> Self {
        Self { image: image.to_owned(), ..self.clone() }
    }

    /// The same with another number of replicas.
    #[must_use]
    pub fn replicas(&self, replicas: u32) -> Self {
        Self { replicas, ..self.clone() }
    }

    /// The same as a workload of another kind.
    #[must_use]
    pub fn kind(&self, kind: &'static str) -> Self {
        Self { kind, ..self.clone() }
    }

    /// The same with one more annotation of its pods.
    #[must_use]
    pub fn annotated(&self, key: &str, value: &str) -> Self {
        let mut service = self.clone();
        service.annotations.push((key.to_owned(), value.to_owned()));
        service
    }

    /// The workload.
    pub fn manifest(&self) -> String {
        let Self { kind, name, namespace, replicas, .. } = self;
        let own = match *kind {
            "StatefulSet" => format!("\n  replicas: {replicas}\n  serviceName: {name}"),
            "DaemonSet" => String::new(),
            _ => format!("\n  replicas: {replicas}"),
        };
        let image = if self.image.is_empty() { format!("{SAMPLE}:{TAG}") } else { self.image.clone() };
        let mut env = String::new();
        for (key, value) in &self.env {
            _ = write!(env, "\n        - {{name: {key}, value: \"{value}\"}}");
        }
        let env = if env.is_empty() { " []".to_owned() } else { env };
        let mut annotations = String::new();
        for (key, value) in &self.annotations {
            _ = write!(annotations, ", {key}: \"{value}\"");
        }
        format!(
            r#"apiVersion: apps/v1
kind: {kind}
metadata:
  name: {name}
  namespace: {namespace}
  labels: {{app: {name}}}
spec:{own}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata:
      labels: {{app: {name}}}
      annotations: {{prometheus.io/scrape: "true", prometheus.io/port: "8080"{annotations}}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
      - name: app
        image: {image}
        args: [serve]
        ports: [{{containerPort: 8080}}]
        readinessProbe: {{httpGet: {{path: /readyz, port: 8080}}, periodSeconds: 1}}
        env:{env}
"#
        )
    }

    /// The Service in front of it, and a Deployment that sends it load.
    pub fn service_and_load(&self, rps: u32) -> String {
        let Self { name, namespace, .. } = self;
        let link = name.to_uppercase().replace('-', "_");
        format!(
            r#"apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{app: {name}}}
  ports: [{{port: 80, targetPort: 8080}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}-load, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {{app: {name}-load}}}}
  template:
    metadata: {{labels: {{app: {name}-load}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: load
        image: {SAMPLE}:{TAG}
        args: [load]
        env:
        # There need not be a DNS in the cluster: Kubernetes tells pods the addresses of older Services.
        - {{name: TARGET, value: "$({link}_SERVICE_HOST):$({link}_SERVICE_PORT)"}}
        - {{name: RPS, value: "{rps}"}}
        - {{name: DURATION, value: 30m}}
"#
        )
    }
}

/// Whether a pod of the sample service has this VERSION.
pub fn is_of(pod: &Pod, version: &str) -> bool {
    pod.spec.as_ref().is_some_and(|spec| runs(spec, version))
}

/// Whether what is started by this spec is of this version.
pub fn runs(spec: &PodSpec, version: &str) -> bool {
    let env = spec.containers.iter().filter_map(|one| one.env.as_ref()).flatten();
    let mut versions = env.filter(|env| env.name == "VERSION").filter_map(|env| env.value.as_deref());
    versions.any(|value| value == version)
}

/// Whether a pod is ready, and to stay.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    let mut ready = conditions.filter(|one| one.type_ == "Ready");
    pod.metadata.deletion_timestamp.is_none() && ready.any(|one| one.status == "True")
}
