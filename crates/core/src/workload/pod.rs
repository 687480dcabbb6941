//! A pod, and whether it fails for reasons of its own.

use std::net::IpAddr;

use jiff::Timestamp;

use crate::ids::{PodUid, ReplicaSetUid};

/// One pod of a target.
#[derive(Debug, Clone, PartialEq)]
pub struct PodFacts {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: PodUid,
    /// UID of its revision: of the ReplicaSet that controls it, or of its ControllerRevision.
    pub owner: ReplicaSetUid,
    /// Its address; `None` before it has one.
    pub ip: Option<IpAddr>,
    /// Its `resourceVersion`.
    pub version: String,
    /// When it was made.
    pub created: Timestamp,
    /// The `Ready` condition.
    pub ready: bool,
    /// Since when it is; `None` while it is not.
    pub ready_since: Option<Timestamp>,
    /// Since when it is not ready though all its containers run and have passed their startup probes, as its kubelet says;
    /// `None` otherwise. A lost node changes the pod's conditions, but not this.
    pub hanging_since: Option<Timestamp>,
    /// Being deleted, evicted, preempted or shut down with its node: no evidence about the release.
    pub leaving: bool,
    /// The scheduler found no place for it: a matter of capacity, not of the release.
    pub unschedulable: bool,
    /// What is wrong with it, the clearest reason first.
    pub failure: Option<Failure>,
    /// The limits of its containers that have any.
    pub limits: Vec<ContainerLimits>,
}

/// What one container may use at most.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ContainerLimits {
    /// Its name.
    pub container: String,
    /// CPU, in cores.
    pub cpu: Option<f64>,
    /// Memory, in bytes.
    pub memory: Option<f64>,
}

impl PodFacts {
    /// The number at the end of a StatefulSet's pod's name.
    pub fn ordinal(&self) -> Option<i32> {
        self.name.rsplit_once('-')?.1.parse().ok()
    }
}

/// Why a pod counts as failing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// A container ends again and again: in back-off, or restarted at least twice after failing.
    CrashLoop {
        /// The container.
        container: String,
        /// Its exit code, where known.
        exit_code: Option<i32>,
        /// Times it was restarted.
        restarts: i32,
    },
    /// A container was killed for its memory.
    OutOfMemory {
        /// The container.
        container: String,
    },
    /// The image cannot be had.
    ImagePull {
        /// The container.
        container: String,
        /// Kubernetes' reason, such as `ImagePullBackOff`.
        reason: String,
    },
    /// The container cannot be made from its specification: a missing ConfigMap, Secret or command.
    Config {
        /// The container.
        container: String,
        /// Kubernetes' reason, such as `CreateContainerConfigError`.
        reason: String,
    },
}

impl Failure {
    /// One phrase for messages: `container web in crash loop (exit 1, 3 restarts)`.
    pub fn describe(&self) -> String {
        match self {
            Self::CrashLoop { container, exit_code, restarts } => {
                let exit = exit_code.map_or_else(String::new, |code| format!("exit {code}, "));
                let times = if *restarts == 1 { "restart" } else { "restarts" };
                format!("container {container} in crash loop ({exit}{restarts} {times})")
            }
            Self::OutOfMemory { container } => format!("container {container} killed for its memory (OOMKilled)"),
            Self::ImagePull { container, reason } => {
                format!("container {container}: image cannot be pulled ({reason})")
            }
            Self::Config { container, reason } => format!("container {container} cannot be created ({reason})"),
        }
    }

    /// A word for tables.
    pub fn word(&self) -> &'static str {
        match self {
            Self::CrashLoop { .. } => "CrashLoop",
            Self::OutOfMemory { .. } => "OOMKilled",
            Self::ImagePull { .. } => "ImagePull",
            Self::Config { .. } => "ConfigError",
        }
    }
}
