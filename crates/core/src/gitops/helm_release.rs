//! What a Flux HelmRelease says.

use jiff::Timestamp;
use serde_json::Value;

use super::hold::Mark;

/// The label that keeps helm-controller's correction of drift from one object.
pub const DRIFT_DETECTION: &str = "helm.toolkit.fluxcd.io/driftDetection";

/// One look at a HelmRelease.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HelmReleaseLook {
    /// Whether it delivers to another cluster.
    pub remote: bool,
    /// Whether it puts back what differs from the release. Without that an undo stays until chart or values change.
    pub corrects: bool,
    /// Version and digest of the newest release. One that still waits for its pods is none yet.
    pub release: Option<String>,
    /// When Helm began with that, in full seconds.
    pub begun: Option<Timestamp>,
}

impl HelmReleaseLook {
    /// Reads one.
    pub fn read(raw: &Value) -> Self {
        let newest = &raw["status"]["history"][0];
        let release = newest["version"].as_i64().map(|version| {
            let digest = newest["digest"].as_str().unwrap_or_default();
            format!("v{version} {digest}").trim_end().to_owned()
        });
        Self {
            remote: raw["spec"]["kubeConfig"].is_object(),
            corrects: raw["spec"]["driftDetection"]["mode"] == "enabled",
            release,
            begun: newest["lastDeployed"].as_str().and_then(|at| at.parse().ok()),
        }
    }

    /// The release that was newest.
    pub fn mark(&self) -> Mark {
        Mark { revision: self.release.clone(), digest: None }
    }

    /// Whether there is a newer one. It has written the workload already: an upgrade heeds no label.
    pub fn has_moved(&self, mark: &Mark) -> bool {
        self.release.is_some() && self.release != mark.revision
    }

    /// Whether the newest one may be what was undone at that time: an upgrade that waits for its pods becomes a release only
    /// when they are ready, and ready they are because it was undone.
    pub fn was_begun_by(&self, undone: Timestamp) -> bool {
        self.begun.is_some_and(|begun| begun <= undone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn it_is_read_and_moves_with_its_releases() {
        let release = |version: i64| {
            HelmReleaseLook::read(&json!({
                "spec": {"driftDetection": {"mode": "enabled"}},
                "status": {"history": [{"version": version, "digest": "sha256:aa"}, {"version": 1}]}
            }))
        };
        assert!(release(2).corrects);
        assert!(!HelmReleaseLook::read(&json!({"spec": {"driftDetection": {"mode": "warn"}}})).corrects);
        let mark = release(2).mark();
        assert_eq!(mark.revision.as_deref(), Some("v2 sha256:aa"));
        assert!(!release(2).has_moved(&mark));
        assert!(release(3).has_moved(&mark));
        assert!(!HelmReleaseLook::default().has_moved(&mark));
    }

    #[test]
    fn a_release_is_as_old_as_its_beginning() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let begun = |history: serde_json::Value| HelmReleaseLook::read(&json!({"status": {"history": [history]}}));
        let waited = begun(json!({"version": 2, "lastDeployed": "1970-01-01T00:01:40Z"}));
        assert!(waited.was_begun_by(at(100)) && waited.was_begun_by(at(101)) && !waited.was_begun_by(at(99)));
        assert!(!begun(json!({"version": 2})).was_begun_by(at(100)), "of what is not told nothing is said");
    }
}
