//! `make demo`: a bad release is undone on a real cluster, as it happens.
#![allow(clippy::print_stdout, reason = "the demo is its output")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use snapback_api::v1alpha1::{PhaseName, Rollback, RollbackPhase, RollbackPolicy};

use crate::cluster::{self, Cluster};
use crate::sample::{Service, Tools};
use crate::{images, say, tools};

const NAMESPACE: &str = "shop";
const POLICY: &str = "apiVersion: snapback.dev/v1alpha1
kind: RollbackPolicy
metadata: {name: checkout, namespace: shop}
spec:
  targetRef: {kind: Deployment, name: checkout}
  soak: {duration: 20s, interval: 2s}   # short, for the demo; the defaults are 15m and 30s
  minimumRequests: 20
  rollback: {verify: {duration: 8s}}
";

/// Runs the demo, and says PASS or FAIL in its last line.
pub async fn run() -> bool {
    match show().await {
        Ok(line) => {
            println!("{line}");
            true
        }
        Err(error) => {
            println!("demo: FAIL {}", format!("{error:#}").lines().collect::<Vec<_>>().join(" | "));
            false
        }
    }
}

/// Where the demo takes place.
struct Site {
    client: Client,
    kubeconfig: PathBuf,
    prometheus: String,
    own: Option<Cluster>,
}

async fn show() -> Result<String> {
    let site = match std::env::var_os("KUBECONFIG").filter(|path| !path.is_empty()) {
        Some(path) => existing(PathBuf::from(path)).await?,
        None => own().await?,
    };
    let tools = Tools::new(&site.kubeconfig);
    let started = Instant::now();
    step("installing the operator from charts/snapback (it runs as a pod)");
    blocking({
        let (tools, prometheus) = (tools.clone(), site.prometheus.clone());
        move || tools.install_operator(&[("default", prometheus)])
    })
    .await?;
    let outcome = story(&site, &tools, started).await;
    let keep = std::env::var("DEMO_KEEP").is_ok_and(|keep| keep == "1");
    if keep {
        step(&format!("DEMO_KEEP=1: the cluster stays until Ctrl-C; export KUBECONFIG={}", site.kubeconfig.display()));
        if let Ok(line) = &outcome {
            println!("{line}");
        }
        crate::stopped().await;
    }
    if site.own.is_none() && !keep {
        step("removing what the demo installed");
        _ = tools.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]);
        _ = tools.helm(&["uninstall", "snapback", "--namespace=snapback-system"]);
    }
    outcome
}

async fn own() -> Result<Site> {
    ensure!(
        cluster::is_root(),
        "the demo starts a real kubelet, which needs root: run it as root, or use a cluster of yours with KUBECONFIG=... make demo"
    );
    let cluster = Cluster::with_images().await?;
    Ok(Site {
        client: cluster.client.clone(),
        kubeconfig: cluster.kubeconfig.clone(),
        prometheus: cluster.prometheus.as_ref().context("no Prometheus")?.url.clone(),
        own: Some(cluster),
    })
}

/// A cluster of the user's: images are handed to it by `SNAPBACK_IMAGE_LOAD`, kind or k3d.
async fn existing(kubeconfig: PathBuf) -> Result<Site> {
    blocking(|| tools::ensure(&["kubectl", "helm"])).await?;
    let tools = Tools::new(&kubeconfig);
    let context = tools.kubectl(&["config", "current-context"])?.trim().to_owned();
    step(&format!("using the cluster of context {context}"));
    let load = match std::env::var("SNAPBACK_IMAGE_LOAD") {
        Ok(load) => load,
        Err(_) if context == "snapback-testbed" => String::new(),
        Err(_) => match (context.strip_prefix("kind-"), context.strip_prefix("k3d-")) {
            (Some(name), _) => format!("kind load image-archive {{}} --name {name}"),
            (_, Some(name)) => format!("k3d image import {{}} -c {name}"),
            _ => bail!(
                "set SNAPBACK_IMAGE_LOAD to the command that puts an image archive into your cluster's nodes, with {{}} for its path"
            ),
        },
    };
    if !load.is_empty() {
        let folder = tools::cache()?.join("images");
        std::fs::create_dir_all(&folder)?;
        for image in blocking(move || images::build(&folder)).await? {
            let command = load.replace("{}", &image.to_string_lossy());
            let status = Command::new("sh").args(["-c", &command]).status()?;
            ensure!(status.success(), "{command} failed");
        }
    }
    let prometheus = if let Ok(url) = std::env::var("SNAPBACK_PROMETHEUS_URL") {
        url
    } else {
        step("deploying a Prometheus (set SNAPBACK_PROMETHEUS_URL to use your own)");
        tools.apply(include_str!("../testbed/prometheus.yaml"))?;
        tools.kubectl(&["-n", "snapback-demo", "rollout", "status", "deploy/prometheus", "--timeout=180s"])?;
        "http://prometheus.snapback-demo:9090".to_owned()
    };
    Ok(Site { client: cluster::client(&kubeconfig).await?, kubeconfig, prometheus, own: None })
}

async fn story(site: &Site, tools: &Tools, started: Instant) -> Result<String> {
    let v1 = Service::new(NAMESPACE, "checkout").image(images::DEMO[0]).with(&[("VERSION", "v1")]);
    let v2 = v1.image(images::DEMO[1]).with(&[("VERSION", "v2"), ("ERROR_RATIO", "0.2")]);
    _ = tools.kubectl(&["create", "namespace", NAMESPACE]);
    step("kubectl apply: checkout v1 (healthy), a Service, 40 requests a second, and this policy:");
    for line in POLICY.lines() {
        println!("        {line}");
    }
    tools.apply(&v1.service_and_load(40))?;
    tools.apply(&v1.manifest())?;
    tools.apply(POLICY)?;
    let mut tale = Tale::new(site, started);
    tale.until("v1 known good", 120, |policy, _| {
        let target = policy.status.as_ref().and_then(|status| status.targets.first());
        target.is_some_and(|target| target.phase == PhaseName::Idle && target.known_good.is_some())
    })
    .await?;

    step("kubectl apply: checkout v2, which answers every fifth request with an error");
    tools.apply(&v2.manifest())?;
    tale.until("the rollback ended and the target at rest", 150, |policy, rollbacks| {
        let ended = rollbacks.first().and_then(|rollback| rollback.status.as_ref()?.phase).is_some_and(|phase| {
            !matches!(phase, RollbackPhase::AwaitingApproval | RollbackPhase::Running | RollbackPhase::Verifying)
        });
        let target = policy.status.as_ref().and_then(|status| status.targets.first());
        ended && target.is_some_and(|target| target.rollback.is_none() && target.rollout.is_none())
    })
    .await?;

    let rollbacks: Api<Rollback> = Api::namespaced(site.client.clone(), NAMESPACE);
    let rollback = rollbacks.list(&ListParams::default()).await?.items.pop().context("there is no Rollback")?;
    for command in [
        &["-n", NAMESPACE, "get", "rbp,rollbacks"][..],
        &["-n", NAMESPACE, "describe", "rollbacks"],
        &[
            "-n",
            NAMESPACE,
            "get",
            "events.events.k8s.io",
            "--field-selector=regarding.kind=Deployment,regarding.name=checkout",
        ],
    ] {
        println!("\n$ kubectl {}", command.join(" "));
        println!("{}", tools.kubectl(command)?.trim_end());
    }
    println!();
    let status = rollback.status.clone().unwrap_or_default();
    ensure!(status.phase == Some(RollbackPhase::Succeeded), "the Rollback is {:?}: {}", status.phase, status.message);
    let live = tools.kubectl(&[
        "-n",
        NAMESPACE,
        "get",
        "deploy",
        "checkout",
        "-o",
        "jsonpath={.spec.template.spec.containers[0].image}",
    ])?;
    ensure!(live == images::DEMO[0], "the live image is {live}");
    let seconds = |from: Option<jiff::Timestamp>, to: Option<jiff::Timestamp>| match (from, to) {
        (Some(from), Some(to)) => to.duration_since(from).as_secs(),
        _ => -1,
    };
    let time = |time: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| time.map(|time| time.0);
    let timeline = &status.timeline;
    let accepted = time(timeline.undo_accepted_at.as_ref());
    Ok(format!(
        "demo: PASS in {}s (breach to undo {}s, undo to recovered {}s)",
        started.elapsed().as_secs(),
        seconds(time(timeline.first_bad_at.as_ref()), accepted),
        seconds(accepted, time(timeline.recovered_at.as_ref())),
    ))
}

/// Tells what changes, once each, with the time since the start.
struct Tale {
    policies: Api<RollbackPolicy>,
    rollbacks: Api<Rollback>,
    started: Instant,
    told: BTreeSet<String>,
    last: String,
}

impl Tale {
    fn new(site: &Site, started: Instant) -> Self {
        Self {
            policies: Api::namespaced(site.client.clone(), NAMESPACE),
            rollbacks: Api::namespaced(site.client.clone(), NAMESPACE),
            started,
            told: BTreeSet::new(),
            last: String::new(),
        }
    }

    async fn until(
        &mut self,
        what: &str,
        seconds: u64,
        is_so: impl Fn(&RollbackPolicy, &[Rollback]) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            let policy = self.policies.get("checkout").await?;
            let rollbacks = self.rollbacks.list(&ListParams::default()).await?.items;
            self.tell(&policy, &rollbacks);
            if is_so(&policy, &rollbacks) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "waited {seconds} s for: {what}");
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    fn tell(&mut self, policy: &RollbackPolicy, rollbacks: &[Rollback]) {
        if let Some(target) = policy.status.as_ref().and_then(|status| status.targets.first()) {
            let line = format!("{:<12} {}", format!("{:?}", target.phase), target.message);
            if line != self.last {
                self.last.clone_from(&line);
                self.line("policy", &line);
            }
        }
        for rollback in rollbacks {
            let name = rollback.name_any();
            if self.told.insert(format!("decided {name}")) {
                for check in &rollback.spec.evidence {
                    let verdict = format!("{:?}", check.verdict);
                    self.line("evidence", &format!("{verdict:<12} {}: {}", check.name, check.message));
                }
                if let Some(ordered) = rollback.ordered() {
                    let (from, to) = (images(ordered.from), images(ordered.to));
                    self.line("rollback", &format!("Decided      {name}: {from} -> {to}"));
                }
            }
            for action in rollback.status.iter().flat_map(|status| &status.actions) {
                if self.told.insert(format!("{name} {} {}", action.at.0, action.action)) {
                    self.line("rollback", &format!("{:<12} {}", action.action, action.message));
                }
            }
        }
    }

    fn line(&self, who: &str, text: &str) {
        println!("  {:>4}s  {who:<9} {text}", self.started.elapsed().as_secs());
    }
}

fn images(revision: &snapback_api::v1alpha1::RevisionStatus) -> String {
    revision.images.join(", ")
}

fn step(text: &str) {
    say(text);
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}
