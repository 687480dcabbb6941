//! Finding or building every program that the test bed runs.
//!
//! Order: `KUBEBUILDER_ASSETS`, our cache, then a build by Go from the small modules in `tests/testbed/go`, whose
//! `go.sum` pins every source. Built programs are kept by name and version.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::say;

/// The Kubernetes that is built.
pub const KUBERNETES: &str = "v1.36.3";

struct Tool {
    name: &'static str,
    version: &'static str,
    module: &'static str,
    package: &'static str,
    tags: &'static str,
    /// Usual time on a cold cache with two cores.
    seconds: u64,
}

const fn kubernetes(name: &'static str, package: &'static str, seconds: u64) -> Tool {
    Tool { name, version: KUBERNETES, module: "kubernetes", package, tags: "", seconds }
}

const TOOLS: [Tool; 15] = [
    Tool { name: "etcd", version: "v3.6.8", module: "etcd", package: ".", tags: "", seconds: 45 },
    kubernetes("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", 300),
    kubernetes("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", 80),
    kubernetes("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", 10),
    kubernetes("kubelet", "k8s.io/kubernetes/cmd/kubelet", 30),
    kubernetes("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy", 15),
    kubernetes("kubectl", "k8s.io/kubernetes/cmd/kubectl", 30),
    Tool {
        name: "prometheus",
        version: "v3.15.0",
        module: "prometheus",
        package: "github.com/prometheus/prometheus/cmd/prometheus",
        tags: "netgo,remove_all_sd,enable_kubernetes_sd,enable_file_sd",
        seconds: 275,
    },
    Tool {
        name: "helm",
        version: "v4.3.1",
        module: "helm",
        package: "helm.sh/helm/v4/cmd/helm",
        tags: "",
        seconds: 200,
    },
    Tool {
        name: "helm3",
        version: "v3.22.0",
        module: "helm3",
        package: "helm.sh/helm/v3/cmd/helm",
        tags: "",
        seconds: 90,
    },
    Tool {
        name: "kwok",
        version: "v0.8.0",
        module: "kwok",
        package: "sigs.k8s.io/kwok/cmd/kwok",
        tags: "",
        seconds: 60,
    },
    Tool {
        name: "kustomize-controller",
        version: "v1.9.5",
        module: "flux",
        package: "github.com/fluxcd/kustomize-controller",
        tags: "",
        seconds: 160,
    },
    // One program for all parts of Argo CD: which one it is, ARGOCD_BINARY_NAME says.
    Tool {
        name: "argocd",
        version: "v3.2.11",
        module: "argocd",
        package: "github.com/argoproj/argo-cd/v3/cmd",
        tags: "",
        seconds: 240,
    },
    // Argo CD's Lua engine alone. Without the program above it takes a minute.
    Tool { name: "argocd-lua", version: "v3.2.11", module: "argocd-lua", package: ".", tags: "", seconds: 30 },
    Tool { name: "kstatus", version: "v1.2.3", module: "kstatus", package: ".", tags: "", seconds: 30 },
];

/// What a cluster with real pods needs.
pub const NODE_TOOLS: [&str; 9] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
    "prometheus",
    "helm",
];

/// What a cluster with a simulated node needs.
pub const SIMULATED_TOOLS: [&str; 8] =
    ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok", "kubectl", "helm", "helm3"];

/// The GitOps tools.
pub const GITOPS_TOOLS: [&str; 2] = ["kustomize-controller", "argocd"];

/// What GitOps tools and Helm make of an object's status.
pub const CONVENTION_TOOLS: [&str; 2] = ["argocd-lua", "kstatus"];

/// Where built programs and downloads are kept.
pub fn cache() -> Result<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = from("SNAPBACK_CACHE")
        .or_else(|| from("XDG_CACHE_HOME").map(|base| base.join("snapback")))
        .or_else(|| from("HOME").map(|home| home.join(".cache/snapback")))
        .context("neither SNAPBACK_CACHE, XDG_CACHE_HOME nor HOME is set")?;
    std::fs::create_dir_all(base.join("bin"))?;
    Ok(base)
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Makes sure of these programs, building what is missing, with progress.
pub fn ensure(names: &[&str]) -> Result<()> {
    let missing: Vec<&Tool> =
        TOOLS.iter().filter(|tool| names.contains(&tool.name)).filter(|tool| find(tool).is_none()).collect();
    let total: u64 = missing.iter().map(|tool| tool.seconds).sum();
    if !missing.is_empty() {
        say(&format!(
            "{} programs have to be built once, about {} min on two cores without caches",
            missing.len(),
            total.div_ceil(60)
        ));
    }
    let _lock = Lock::take(&cache()?.join("build.lock"))?;
    for (index, tool) in missing.iter().enumerate() {
        if find(tool).is_none() {
            let after: u64 = missing.iter().skip(index + 1).map(|tool| tool.seconds).sum();
            build(tool, &format!("{} of {}", index + 1, missing.len()), after)?;
        }
    }
    Ok(())
}

/// The path of a program that [`ensure`] made sure of.
pub fn path(name: &str) -> Result<PathBuf> {
    let tool = TOOLS.iter().find(|tool| tool.name == name).with_context(|| format!("unknown program {name}"))?;
    find(tool).with_context(|| format!("{name} is not built; run `make tools`"))
}

/// Makes a folder with kubectl and helm under their usual names.
pub fn link(folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    for name in ["kubectl", "helm"] {
        std::os::unix::fs::symlink(path(name)?, folder.join(name))?;
    }
    Ok(folder.to_path_buf())
}

fn find(tool: &Tool) -> Option<PathBuf> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(|assets| PathBuf::from(assets).join(tool.name));
    let built = cache().ok().map(|cache| cache.join("bin").join(format!("{}-{}", tool.name, tool.version)));
    let on_path = (tool.name == "kubectl").then(|| on_path("kubectl")).flatten();
    [assets, built, on_path].into_iter().flatten().find(|path| path.is_file())
}

/// A program of the system.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let more = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(more).map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn build(tool: &Tool, place: &str, after: u64) -> Result<()> {
    if on_path("go").is_none() {
        bail!(
            "{} has to be built, and there is no Go: install Go 1.26 or newer (https://go.dev/dl) and try again",
            tool.name
        );
    }
    let folder = repository().join("tests/testbed/go").join(tool.module);
    let target = cache()?.join("bin").join(format!("{}-{}", tool.name, tool.version));
    let unfinished = target.with_extension(format!("{}.unfinished", std::process::id()));
    let log = cache()?.join(format!("build-{}.log", tool.name));
    let flags = match tool.module {
        "kubernetes" => format!(
            "-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES} -X k8s.io/component-base/version.gitMajor=1 \
             -X k8s.io/component-base/version.gitMinor=36"
        ),
        _ => "-s -w".to_owned(),
    };
    let mut command = Command::new("go");
    command
        .args(["build", "-mod=readonly", "-trimpath", "-ldflags", &flags])
        .env("CGO_ENABLED", "0")
        .current_dir(folder);
    if !tool.tags.is_empty() {
        command.args(["-tags", tool.tags]);
    }
    let output = std::fs::File::create(&log)?;
    let mut child = command
        .arg("-o")
        .arg(&unfinished)
        .arg(tool.package)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .context("starting go")?;
    let started = Instant::now();
    say(&format!("building {} {} ({place}), usually {} s on a cold cache", tool.name, tool.version, tool.seconds));
    let mut told = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if told.elapsed() > Duration::from_secs(15) {
            told = Instant::now();
            let left = tool.seconds.saturating_sub(started.elapsed().as_secs()) + after;
            say(&format!(
                "  {} ({place}): {} s so far, about {left} s to go for all",
                tool.name,
                started.elapsed().as_secs()
            ));
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    if !status.success() {
        bail!("building {} failed; the end of {}:\n{}", tool.name, log.display(), tail(&log, 15));
    }
    std::fs::rename(&unfinished, &target)?;
    say(&format!("  {} built in {} s", tool.name, started.elapsed().as_secs()));
    Ok(())
}

/// The last lines of a file.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
}

/// Held while something must happen once at a time; freed by the system when its holder dies.
pub struct Lock(#[allow(dead_code, reason = "the lock lives as long as the file is open")] std::fs::File);

impl Lock {
    /// Waits for the lock, saying so.
    pub fn take(path: &Path) -> Result<Self> {
        let file = std::fs::File::create(path)?;
        if let Ok(()) = file.try_lock() {
        } else {
            say(&format!("waiting for another run to free {}", path.display()));
            file.lock()?;
        }
        Ok(Self(file))
    }
}

/// The folder of a Go module's source, in the version that `tests/testbed/go/<module>` pins: what is not in the module
/// cache is downloaded.
pub fn source(module: &str, path: &str) -> Result<PathBuf> {
    let folder = repository().join("tests/testbed/go").join(module);
    let output = Command::new("go")
        .args(["mod", "download", "-json", path])
        .current_dir(folder)
        .output()
        .with_context(|| format!("starting go for {path}"))?;
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    match told["Dir"].as_str() {
        Some(folder) if output.status.success() => Ok(PathBuf::from(folder)),
        _ => bail!("the source of {path}: {} {}", told["Error"], String::from_utf8_lossy(&output.stderr).trim()),
    }
}

/// Installs the packages of the system that real pods need, where they are missing.
pub fn ensure_node_packages() -> Result<()> {
    ensure_packages(&[
        ("containerd", on_path("containerd").is_some()),
        ("runc", on_path("runc").is_some()),
        ("containernetworking-plugins", Path::new(CNI_PLUGINS).join("bridge").is_file()),
        ("iptables", on_path("iptables").is_some()),
        ("iproute2", on_path("ip").is_some()),
        ("openssl", on_path("openssl").is_some()),
    ])
}

/// Installs what Argo CD needs beside its own program.
pub fn ensure_gitops_packages() -> Result<()> {
    ensure_packages(&[("git", on_path("git").is_some()), ("redis-tools", redis().is_some())])
}

/// Redis. In Debian's `redis-tools` it is the one program that all of them are, under the name of another: the package
/// `redis-server` would add nothing but that name, and a daemon that it starts at once.
pub fn redis() -> Option<PathBuf> {
    on_path("redis-server").or_else(|| on_path("redis-check-rdb"))
}

fn ensure_packages(packages: &[(&str, bool)]) -> Result<()> {
    let missing: Vec<&str> = packages.iter().filter(|(_, found)| !found).map(|(package, _)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if on_path("apt-get").is_none() {
        bail!("please install: {} (the names are Debian's; CNI plugins in {CNI_PLUGINS})", missing.join(", "));
    }
    say(&format!("installing {} with apt-get", missing.join(", ")));
    for arguments in
        [vec!["update", "-qq"], [vec!["install", "-y", "-qq", "--no-install-recommends"], missing].concat()]
    {
        let output = Command::new("apt-get").args(&arguments).env("DEBIAN_FRONTEND", "noninteractive").output()?;
        if !output.status.success() {
            bail!("apt-get {} failed:\n{}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        }
    }
    Ok(())
}

/// Where Debian puts the CNI plugins.
pub const CNI_PLUGINS: &str = "/usr/lib/cni";
