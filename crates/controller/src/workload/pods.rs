//! From a pod to its facts.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use kube::ResourceExt;
use snapback_core::ids::{PodUid, ReplicaSetUid};
use snapback_core::workload::{Container, Ended, Failure, PodFacts};

use super::limits::limits;

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
        ip: address(pod),
        version: pod.resource_version().unwrap_or_default(),
        created: pod.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        ready: condition("Ready", "True"),
        ready_since: ready_since(&status),
        hanging_since: hanging_since(&status),
        leaving: pod.metadata.deletion_timestamp.is_some() || node_took_it || condition("DisruptionTarget", "True"),
        unschedulable,
        failure: Failure::of(&containers(&status)),
        limits: pod.spec.as_ref().map(limits).unwrap_or_default(),
    })
}

/// Of two address families the main one, as the kubelet's probes take it. The node's own is a pod's only if it shares the
/// node's network; else somebody wrote it there to have the node asked.
fn address(pod: &Pod) -> Option<IpAddr> {
    let status = pod.status.as_ref()?;
    let address: IpAddr = status.pod_ip.as_deref()?.parse().ok()?;
    let shares = pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
    let mut nodes = status.host_ip.iter().chain(status.host_ips.iter().flatten().map(|one| &one.ip));
    let is_of_the_node = nodes.any(|ip| ip.parse() == Ok(address));
    (shares || !is_of_the_node).then_some(address)
}

fn ready_since(status: &PodStatus) -> Option<Timestamp> {
    let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready")?;
    ready.last_transition_time.as_ref().filter(|_| ready.status == "True").map(|time| time.0)
}

/// The `Ready` condition alone would not do: it is false for a pod whose node is lost, and for one that waits for a
/// readiness gate of somebody else.
fn hanging_since(status: &PodStatus) -> Option<Timestamp> {
    let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready")?;
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    if ready.status != "False" || containers.iter().all(|container| container.ready) {
        return None;
    }
    let running = |container: &ContainerStatus| {
        let started = container.state.as_ref()?.running.as_ref()?.started_at.as_ref()?;
        (container.started != Some(false)).then_some(started.0)
    };
    let started = containers.iter().map(running).collect::<Option<Vec<_>>>()?;
    let unready = ready.last_transition_time.as_ref().map(|time| time.0);
    started.into_iter().chain(unready).max()
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const LATER: &str = "2026-01-01T00:00:07Z";

    /// Since which second of its time a pod hangs.
    fn hangs(ready: (&str, &str), containers: impl Into<Value>) -> Option<i64> {
        let conditions = json!([{"type": "Ready", "status": ready.0, "lastTransitionTime": ready.1}]);
        let status = json!({"conditions": conditions, "containerStatuses": containers.into()});
        let since = hanging_since(&serde_json::from_value(status).unwrap())?;
        Some(since.as_second() % 60)
    }

    fn running(ready: bool, started: bool) -> Value {
        let state = json!({"running": {"startedAt": "2026-01-01T00:00:05Z"}});
        json!({"name": "app", "image": "", "imageID": "", "restartCount": 0, "ready": ready, "started": started, "state": state})
    }

    #[test]
    fn a_pod_hangs_from_the_later_of_its_start_and_its_end_of_readiness() {
        assert_eq!(hangs(("False", "2026-01-01T00:00:01Z"), json!([running(false, true)])), Some(5));
        assert_eq!(hangs(("False", LATER), json!([running(false, true), running(true, true)])), Some(7));
        assert_eq!(hangs(("True", LATER), json!([running(true, true)])), None);
    }

    #[test]
    fn a_pod_of_a_lost_node_does_not_hang() {
        // Its conditions are the node controller's; its containers are as the kubelet last told them.
        assert_eq!(hangs(("False", LATER), json!([running(true, true)])), None);
        assert_eq!(hangs(("Unknown", LATER), json!([running(false, true)])), None);
    }

    #[test]
    fn a_nodes_address_is_a_pods_only_if_it_shares_the_nodes_network() {
        let address = |shares: bool, ip: &str| {
            let pod = json!({
                "spec": {"containers": [], "hostNetwork": shares},
                "status": {"podIP": ip, "hostIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}
            });
            super::address(&serde_json::from_value(pod).unwrap()).map(|ip| ip.to_string())
        };
        assert_eq!(address(true, "10.0.0.1").as_deref(), Some("10.0.0.1"));
        assert_eq!(address(false, "10.0.0.9").as_deref(), Some("10.0.0.9"));
        for node in ["10.0.0.1", "fd00::1", "fd00:0::1"] {
            assert_eq!(address(false, node), None, "{node}");
        }
        for no_address in
            ["0177.0.0.1", "2130706433", "0x7f000001", "localhost", "10.0.0.7@127.0.0.1", "fe80::1%eth0", ""]
        {
            assert_eq!(address(true, no_address), None, "{no_address}");
        }
    }

    #[test]
    fn a_pod_that_is_not_started_does_not_hang() {
        assert_eq!(
            hangs(("False", LATER), json!([running(false, false)])),
            None,
            "its startup probe has its own limit"
        );
        let mut pulling = running(false, false);
        pulling["state"] = json!({"waiting": {"reason": "ContainerCreating"}});
        assert_eq!(hangs(("False", LATER), json!([running(false, true), pulling])), None);
        assert_eq!(hangs(("False", LATER), Value::Null), None);
    }
}
