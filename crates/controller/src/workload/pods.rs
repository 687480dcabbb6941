//! From a pod to its facts.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use kube::ResourceExt;
use snapback_core::ids::{PodUid, ReplicaSetUid};
use snapback_core::workload::{Container, Ended, Failure, PodFacts};

/// The facts of a pod that somebody controls. Its owner is that controller; who knows of a closer one puts it there.
pub(super) fn facts(pod: &Pod) -> Option<PodFacts> {
    let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true))?;
    let status = pod.status.clone().unwrap_or_default();
    let condition = |type_: &str, value: &str| {
        let mut conditions = status.conditions.iter().flatten();
        conditions.any(|condition| condition.type_ == type_ && condition.status == value)
    };
    let unschedulable = status.conditions.iter().flatten().any(|condition| {
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.reason.as_deref() == Some("Unschedulable")
    });
    let node_took_it = matches!(status.reason.as_deref(), Some("Evicted" | "Shutdown" | "NodeShutdown" | "Preempting"));
    Some(PodFacts {
        name: pod.name_any(),
        uid: PodUid::new(pod.uid().unwrap_or_default()),
        owner: ReplicaSetUid::new(owner.uid.clone()),
        // Of two address families the main one, as the kubelet's probes take it.
        ip: status.pod_ip.as_deref().and_then(|ip| ip.parse().ok()),
        version: pod.resource_version().unwrap_or_default(),
        created: pod.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        ready: condition("Ready", "True"),
        ready_since: ready_since(&status),
        leaving: pod.metadata.deletion_timestamp.is_some() || node_took_it || condition("DisruptionTarget", "True"),
        unschedulable,
        failure: Failure::of(&containers(&status)),
    })
}

fn ready_since(status: &PodStatus) -> Option<Timestamp> {
    let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready")?;
    ready.last_transition_time.as_ref().filter(|_| ready.status == "True").map(|time| time.0)
}

fn containers(status: &PodStatus) -> Vec<Container> {
    let init = status.init_container_statuses.iter().flatten();
    init.chain(status.container_statuses.iter().flatten()).map(container).collect()
}

fn container(status: &ContainerStatus) -> Container {
    let state = status.state.as_ref();
    let ended = state.and_then(|state| state.terminated.as_ref());
    let ended = ended.or_else(|| status.last_state.as_ref().and_then(|last| last.terminated.as_ref()));
    Container {
        name: status.name.clone(),
        restarts: status.restart_count,
        waiting: state.and_then(|state| state.waiting.as_ref()).and_then(|waiting| waiting.reason.clone()),
        ended: ended.map(|ended| Ended { code: ended.exit_code, reason: ended.reason.clone().unwrap_or_default() }),
    }
}
