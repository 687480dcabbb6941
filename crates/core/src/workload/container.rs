//! From container statuses to a failure.
//!
//! Kubelet's words are few and stable; the list is that of `kubernetes-rollback` section 7.1. `CrashLoopBackOff`
//! blinks between two tries, so restarts of failed containers count as well.

use super::pod::Failure;

/// What the pod's status says of one container (init and restartable init containers too).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// `restartCount`.
    pub restarts: i32,
    /// `state.waiting.reason`.
    pub waiting: Option<String>,
    /// The last end: `state.terminated`, else `lastState.terminated`.
    pub ended: Option<Ended>,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Exit code.
    pub code: i32,
    /// Kubernetes' reason, such as `OOMKilled`.
    pub reason: String,
}

/// Restarts of a failed container that are a loop. One may be a start-up race (a database that was not ready yet).
const LOOP: i32 = 2;

impl Failure {
    /// The clearest failure among a pod's containers.
    pub fn of(containers: &[Container]) -> Option<Self> {
        containers.iter().find_map(one)
    }
}

fn one(container: &Container) -> Option<Failure> {
    let name = container.name.clone();
    if let Some(reason) = container.waiting.clone() {
        match reason.as_str() {
            // ErrImagePull is the first try, over a network that may blink; the back-off is the second.
            "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
                return Some(Failure::ImagePull { container: name, reason });
            }
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
                return Some(Failure::Config { container: name, reason });
            }
            _ => {}
        }
    }
    let ended = container.ended.as_ref().filter(|ended| !innocent(ended));
    if container.restarts >= 1 && ended.is_some_and(|ended| ended.reason == "OOMKilled") {
        return Some(Failure::OutOfMemory { container: name });
    }
    let backing_off = container.waiting.as_deref() == Some("CrashLoopBackOff");
    if (backing_off && container.restarts >= 1) || (container.restarts >= LOOP && ended.is_some()) {
        let exit_code = container.ended.as_ref().map(|ended| ended.code);
        return Some(Failure::CrashLoop { container: name, exit_code, restarts: container.restarts });
    }
    None
}

/// Ends that the release did not cause: success, and what a node does to its pods.
fn innocent(ended: &Ended) -> bool {
    ended.code == 0 || matches!(ended.reason.as_str(), "ContainerStatusUnknown" | "NodeShutdown" | "Evicted")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(restarts: i32, waiting: Option<&str>, ended: Option<(i32, &str)>) -> Container {
        Container {
            name: "web".to_owned(),
            restarts,
            waiting: waiting.map(str::to_owned),
            ended: ended.map(|(code, reason)| Ended { code, reason: reason.to_owned() }),
        }
    }

    fn word(container: Container) -> Option<&'static str> {
        Failure::of(&[Container::default(), container]).map(|failure| failure.word())
    }

    #[test]
    fn a_container_in_back_off_or_restarted_twice_is_in_a_crash_loop() {
        assert_eq!(word(container(1, Some("CrashLoopBackOff"), Some((1, "Error")))), Some("CrashLoop"));
        assert_eq!(word(container(2, None, Some((1, "Error")))), Some("CrashLoop"));
    }

    #[test]
    fn one_restart_is_not_a_loop() {
        assert_eq!(word(container(1, None, Some((1, "Error")))), None);
    }

    #[test]
    fn a_container_that_exits_well_again_and_again_in_back_off_is_in_a_crash_loop() {
        assert_eq!(word(container(3, Some("CrashLoopBackOff"), Some((0, "Completed")))), Some("CrashLoop"));
    }

    #[test]
    fn a_kill_for_memory_counts_at_once() {
        assert_eq!(word(container(1, None, Some((137, "OOMKilled")))), Some("OOMKilled"));
    }

    #[test]
    fn the_first_failed_pull_is_not_yet_a_failure() {
        assert_eq!(word(container(0, Some("ErrImagePull"), None)), None);
        assert_eq!(word(container(0, Some("ImagePullBackOff"), None)), Some("ImagePull"));
    }

    #[test]
    fn a_missing_config_map_is_a_failure() {
        assert_eq!(word(container(0, Some("CreateContainerConfigError"), None)), Some("ConfigError"));
    }

    #[test]
    fn what_a_node_does_is_no_evidence() {
        assert_eq!(word(container(2, None, Some((137, "ContainerStatusUnknown")))), None);
        assert_eq!(word(container(0, Some("ContainerCreating"), None)), None);
    }
}
