//! The record of a run: what it started, and how that is removed.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::say;

const PREFIX: &str = "snapback-bed-";

/// The name of the pods' network, by which the CNI plugins keep their notes.
pub const POD_NETWORK: &str = "snapback-bed";

/// Where they keep them.
const CNI_NOTES: &str = "/var/lib/cni/results";

/// A run directory; short, since sockets live in it.
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// A fresh one, after the leftovers of dead runs were removed.
    pub fn create() -> Result<Self> {
        collect_garbage();
        let pid = std::process::id();
        let mut number = 0;
        let path = loop {
            let path = base().join(format!("{PREFIX}{pid}-{number}"));
            match fs::create_dir(&path) {
                Ok(()) => break path,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error).context(format!("creating {}", path.display())),
            }
        };
        fs::write(path.join("owner"), format!("{pid} {}", start_time(pid).unwrap_or_default()))?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes something to remove: `pid N`, `link NAME`, `iptables`, `forward OLD`, `cgroups`.
    pub fn record(&self, line: &str) -> Result<()> {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(self.path.join("made"))?;
        writeln!(file, "{line}")?;
        Ok(())
    }

    /// Notes a process.
    pub fn record_process(&self, pid: u32) -> Result<()> {
        self.record(&format!("pid {pid} {}", start_time(pid).unwrap_or_default()))
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

fn base() -> PathBuf {
    std::env::temp_dir()
}

/// Removes what runs left behind whose owner is dead. Returns how many there were.
pub fn collect_garbage() -> usize {
    let Ok(entries) = fs::read_dir(base()) else { return 0 };
    let dead = entries.flatten().map(|entry| entry.path()).filter(|path| {
        let ours = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        ours && !fs::read_to_string(path.join("owner")).is_ok_and(|owner| is_alive(&owner))
    });
    let dead: Vec<PathBuf> = dead.collect();
    for path in &dead {
        say(&format!("removing what a killed run left in {}", path.display()));
        remove(path);
    }
    dead.len()
}

/// The processes that a run has started, as `PID START`.
pub fn processes(path: &Path) -> Vec<String> {
    let made = fs::read_to_string(path.join("made")).unwrap_or_default();
    made.lines().filter_map(|line| line.strip_prefix("pid ")).map(str::to_owned).collect()
}

/// `PID START`: is it still the same process?
pub fn is_alive(record: &str) -> bool {
    let mut words = record.split_whitespace();
    let pid = words.next().and_then(|pid| pid.parse().ok());
    let started = words.next().and_then(|started| started.parse().ok());
    matches!((pid, started), (Some(pid), Some(started)) if start_time(pid) == Some(started))
}

/// When a process started, in clock ticks since boot: with the pid, its identity.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let state = after_name.split_whitespace().next()?;
    (state != "Z").then(|| after_name.split_whitespace().nth(19)?.parse().ok()).flatten()
}

fn remove(path: &Path) {
    let made = fs::read_to_string(path.join("made")).unwrap_or_default();
    let lines: Vec<&str> = made.lines().rev().collect();
    for line in &lines {
        if let Some(process) = line.strip_prefix("pid ") {
            stop(process);
        }
    }
    if lines.contains(&"cgroups") {
        kill_pods(path);
    }
    if lines.contains(&"iptables") {
        remove_pod_networks(path);
    }
    unmount(path);
    for line in &lines {
        match line.split_once(' ') {
            Some(("link", link)) => run("ip", &["link", "delete", link]),
            Some(("forward", old)) => _ = fs::write("/proc/sys/net/ipv4/ip_forward", old),
            _ if *line == "iptables" => remove_iptables(),
            _ => {}
        }
    }
    if let Err(error) = fs::remove_dir_all(path) {
        say(&format!("{} could not be removed whole: {error}", path.display()));
    }
}

fn stop(record: &str) {
    let Some(pid) = record.split_whitespace().next() else { return };
    // A paused process hears nothing.
    for signal in ["-CONT", "-TERM"] {
        if is_alive(record) {
            run("kill", &[signal, pid]);
        }
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while is_alive(record) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    if is_alive(record) {
        run("kill", &["-KILL", pid]);
    }
}

/// Kills the containers of our pods, by the cgroups that our kubelet made, and the shims that our containerd started,
/// by the address of that containerd; then removes the cgroups.
fn kill_pods(run: &Path) {
    let shims = || -> Vec<u32> {
        let needle = run.to_string_lossy().into_owned();
        let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
        let pids = processes.flatten().filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
        pids.filter(|pid| *pid != std::process::id())
            .filter(|pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line).into_owned();
                line.contains("containerd-shim") && line.contains(&needle)
            })
            .collect()
    };
    for _ in 0..50 {
        let mut pids: BTreeSet<u32> = shims().into_iter().collect();
        for folder in pod_cgroups() {
            let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
        }
        if pids.is_empty() {
            break;
        }
        for pid in pids {
            self::run("kill", &["-KILL", &pid.to_string()]);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    for _ in 0..20 {
        let mut folders = pod_cgroups();
        if folders.is_empty() {
            break;
        }
        folders.sort_by_key(|folder| std::cmp::Reverse(folder.components().count()));
        for folder in folders {
            _ = fs::remove_dir(folder);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// All cgroups of pods, in every hierarchy.
pub fn pod_cgroups() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let root = Path::new("/sys/fs/cgroup");
    let mut roots = vec![root.to_path_buf()];
    roots.extend(fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path()));
    let mut open: Vec<PathBuf> = roots.iter().map(|root| root.join("kubepods")).filter(|path| path.is_dir()).collect();
    while let Some(folder) = open.pop() {
        let inner = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
        open.extend(inner.filter(|path| path.is_dir() && !path.is_symlink()));
        found.push(folder);
    }
    found
}

/// Unmounts everything below the run directory, innermost first.
fn unmount(path: &Path) {
    for _ in 0..10 {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let mut below: Vec<&str> = mounts
            .lines()
            .filter_map(|line| line.split_whitespace().nth(1))
            .filter(|mount| Path::new(mount).starts_with(path))
            .collect();
        if below.is_empty() {
            return;
        }
        below.sort_by_key(|mount| std::cmp::Reverse(mount.len()));
        for mount in below {
            run("umount", &["-l", mount]);
        }
    }
}

/// Deletes the network namespaces of pods that nobody took down one by one; their ends of the bridge go with them. The
/// CNI plugins' notes name them, and are removed as well; so are those of the pods' loopbacks, which nobody else removes:
/// those that are younger than the run, since this machine is no other node.
fn remove_pod_networks(path: &Path) {
    let modified = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    let started = modified(&path.join("owner"));
    let Ok(notes) = fs::read_dir(CNI_NOTES) else { return };
    for note in notes.flatten().map(|entry| entry.path()) {
        let name = note.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("cni-loopback-") && modified(&note) >= started {
            _ = fs::remove_file(&note);
        }
        if !name.starts_with(POD_NETWORK) {
            continue;
        }
        let read = fs::read(&note).ok().and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
        let interfaces = read.as_ref().and_then(|note| note["result"]["interfaces"].as_array());
        for namespace in interfaces.into_iter().flatten().filter_map(|interface| interface["sandbox"].as_str()) {
            let name = Path::new(namespace).file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("cni-") {
                run("ip", &["netns", "delete", &name]);
            }
        }
        _ = fs::remove_file(&note);
    }
}

/// Removes the chains of kube-proxy and of the CNI plugins, and the rules that lead to them.
fn remove_iptables() {
    for table in ["nat", "filter", "mangle"] {
        let Ok(saved) = Command::new("iptables-save").args(["-t", table]).output() else { return };
        let saved = String::from_utf8_lossy(&saved.stdout).into_owned();
        let ours = |text: &str| text.contains("KUBE-") || text.contains("CNI-");
        let chains: Vec<&str> = saved
            .lines()
            .filter_map(|line| line.strip_prefix(':'))
            .filter_map(|line| line.split_whitespace().next())
            .filter(|chain| ours(chain))
            .collect();
        if chains.is_empty() {
            continue;
        }
        let mut script = format!("*{table}\n");
        for rule in saved.lines().filter(|line| line.starts_with("-A ") && ours(line)) {
            let chain = rule.split_whitespace().nth(1).unwrap_or_default();
            if !ours(chain) {
                script.push_str(&rule.replacen("-A ", "-D ", 1));
                script.push('\n');
            }
        }
        for verb in ["-F", "-X"] {
            for chain in &chains {
                script.push_str(&format!("{verb} {chain}\n"));
            }
        }
        script.push_str("COMMIT\n");
        let child = Command::new("iptables-restore")
            .arg("--noflush")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn();
        if let Ok(mut child) = child {
            if let Some(mut input) = child.stdin.take() {
                _ = input.write_all(script.as_bytes());
            }
            _ = child.wait();
        }
    }
}

fn run(program: &str, arguments: &[&str]) {
    _ = Command::new(program)
        .args(arguments)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status();
}
