//! What an Argo CD Application says.

use serde_json::Value;

use super::hold::Mark;
use crate::workload::Kind;

/// The field that a hold switches off.
pub const SELF_HEAL: &str = "/spec/syncPolicy/automated/selfHeal";

/// One look at an Application.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Application {
    /// Whether it puts back by itself what somebody changed.
    pub heals: bool,
    /// Whether it syncs by itself, but does not heal: so a hold leaves it.
    pub is_off: bool,
    /// Whether all that it delivers is as the commit says that it compared with.
    pub synced: bool,
    /// That commit, or several joined by commas.
    pub compared: Option<String>,
    /// The commit of its last sync.
    pub applied: Option<String>,
    /// Whether it says that this workload is one of its resources.
    pub delivers: bool,
    /// Whether no sync is under way, and it has looked since the last request. A controller whose copy of the Application is
    /// old heals once more.
    pub settled: bool,
    /// The `Rollback`s that hold it, as our annotation says. It heals again when the last one has let go.
    pub held_by: Vec<String>,
    /// Who writes the Application itself again: `ApplicationSet stores`.
    pub parent: Option<String>,
}

impl Application {
    /// Reads one. `workload` is what it may deliver: kind, namespace and name.
    pub fn read(raw: &Value, (kind, namespace, name): (Kind, &str, &str)) -> Self {
        let automated = &raw["spec"]["syncPolicy"]["automated"];
        let is_automated = automated.is_object() && automated["enabled"] != false;
        let status = &raw["status"];
        let is_it = |one: &Value| {
            one["kind"] == kind.as_str()
                && one["namespace"] == namespace
                && one["name"] == name
                && one["group"] == "apps"
        };
        let heals = is_automated && automated["selfHeal"] == true;
        Self {
            heals,
            is_off: is_automated && !heals,
            synced: status["sync"]["status"] == "Synced",
            compared: revision(&status["sync"]),
            applied: revision(&status["operationState"]["syncResult"]),
            delivers: status["resources"].as_array().is_some_and(|all| all.iter().any(is_it)),
            settled: raw["metadata"]["annotations"][super::REFRESH].is_null()
                && raw["operation"].is_null()
                && status["operationState"]["phase"] != "Running",
            held_by: holders(raw),
            parent: parent(&raw["metadata"]),
        }
    }

    /// What it had applied.
    pub fn mark(&self) -> Mark {
        Mark { revision: self.applied.clone().or_else(|| self.compared.clone()), digest: None }
    }

    /// Whether it has taken a newer commit over. Only then may it heal again: before, it would bring the bad one back.
    pub fn has_moved(&self, mark: &Mark) -> bool {
        self.synced && self.compared.is_some() && self.compared != mark.revision
    }
}

/// The `Rollback`s that hold an Application, sorted.
pub fn holders(application: &Value) -> Vec<String> {
    let text = application["metadata"]["annotations"][super::HELD_BY].as_str().unwrap_or_default();
    text.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

/// One revision, or those of several sources.
fn revision(place: &Value) -> Option<String> {
    let one = place["revision"].as_str().filter(|one| !one.is_empty()).map(str::to_owned);
    one.or_else(|| {
        let several: Vec<&str> = place["revisions"].as_array()?.iter().filter_map(Value::as_str).collect();
        (!several.is_empty()).then(|| several.join(","))
    })
}

fn parent(metadata: &Value) -> Option<String> {
    let owners = metadata["ownerReferences"].as_array().into_iter().flatten();
    let set = owners.filter(|owner| owner["kind"] == "ApplicationSet").find_map(|owner| owner["name"].as_str());
    if let Some(set) = set {
        return Some(format!("ApplicationSet {set}"));
    }
    let own = format!(
        ":argoproj.io/Application:{}/{}",
        metadata["namespace"].as_str().unwrap_or_default(),
        metadata["name"].as_str().unwrap_or_default()
    );
    let tracked = metadata["annotations"]["argocd.argoproj.io/tracking-id"].as_str();
    if let Some(above) = tracked.and_then(|id| id.strip_suffix(own.as_str())) {
        return Some(format!("Application {above}"));
    }
    let flux = metadata["labels"]["kustomize.toolkit.fluxcd.io/name"].as_str();
    flux.map(|name| format!("Kustomization {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const CHECKOUT: (Kind, &str, &str) = (Kind::Deployment, "shop", "checkout");

    fn synced(revision: &str) -> Value {
        json!({
            "metadata": {"name": "store", "namespace": "argocd"},
            "spec": {"syncPolicy": {"automated": {"selfHeal": true}}},
            "status": {
                "sync": {"status": "Synced", "revision": revision},
                "operationState": {"phase": "Succeeded", "syncResult": {"revision": revision}},
                "resources": [{"group": "apps", "kind": "Deployment", "namespace": "shop", "name": "checkout"}]
            }
        })
    }

    #[test]
    fn it_heals_only_when_automated() {
        let mut raw = synced("b4d");
        assert!(Application::read(&raw, CHECKOUT).heals);
        raw["spec"]["syncPolicy"]["automated"]["enabled"] = json!(false);
        assert!(!Application::read(&raw, CHECKOUT).heals);
        assert!(!Application::read(&raw, CHECKOUT).is_off, "it does nothing by itself");
        // Argo CD drops a `false` when it writes the object.
        raw["spec"]["syncPolicy"]["automated"] = json!({"prune": true});
        assert!(Application::read(&raw, CHECKOUT).is_off);
        raw["spec"]["syncPolicy"] = json!({});
        assert!(!Application::read(&raw, CHECKOUT).heals);
    }

    #[test]
    fn it_has_moved_when_a_newer_commit_is_synced_and_not_before() {
        let mark = Application::read(&synced("b4d"), CHECKOUT).mark();
        assert_eq!(mark.revision.as_deref(), Some("b4d"));
        assert!(!Application::read(&synced("b4d"), CHECKOUT).has_moved(&mark));
        let mut newer = synced("f1x");
        newer["status"]["sync"]["status"] = json!("OutOfSync");
        assert!(!Application::read(&newer, CHECKOUT).has_moved(&mark));
        assert!(Application::read(&synced("f1x"), CHECKOUT).has_moved(&mark));
        // A commit that says what is live needs no sync.
        let mut reverted = synced("b4d");
        reverted["status"]["sync"]["revision"] = json!("r3v");
        assert!(Application::read(&reverted, CHECKOUT).has_moved(&mark));
    }

    #[test]
    fn of_several_sources_each_counts() {
        let mut raw = synced("");
        raw["status"]["sync"]["revisions"] = json!(["a", "b"]);
        assert_eq!(Application::read(&raw, CHECKOUT).compared.as_deref(), Some("a,b"));
    }

    #[test]
    fn it_is_settled_when_it_has_looked_and_nothing_is_under_way() {
        assert!(Application::read(&synced("a"), CHECKOUT).settled);
        let with = |place: &str, value: Value| {
            let mut raw = synced("a");
            match place {
                "annotation" => raw["metadata"]["annotations"][super::super::REFRESH] = value,
                "operation" => raw["operation"] = value,
                _ => raw["status"]["operationState"]["phase"] = value,
            }
            Application::read(&raw, CHECKOUT).settled
        };
        assert!(!with("annotation", json!("normal")));
        assert!(!with("operation", json!({"sync": {}})));
        assert!(!with("phase", json!("Running")));
    }

    #[test]
    fn it_delivers_what_it_lists() {
        assert!(Application::read(&synced("a"), CHECKOUT).delivers);
        assert!(!Application::read(&synced("a"), (Kind::Deployment, "shop", "cart")).delivers);
        assert!(!Application::read(&synced("a"), (Kind::StatefulSet, "shop", "checkout")).delivers);
    }

    #[test]
    fn who_writes_it_again_is_found() {
        let with = |metadata: Value| {
            let mut raw = synced("a");
            raw["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
            Application::read(&raw, CHECKOUT).parent
        };
        assert_eq!(with(json!({})), None);
        let owners = json!({"ownerReferences": [{"kind": "ApplicationSet", "name": "stores"}]});
        assert_eq!(with(owners).as_deref(), Some("ApplicationSet stores"));
        let id = "root:argoproj.io/Application:argocd/store";
        let tracked = json!({"annotations": {"argocd.argoproj.io/tracking-id": id}});
        assert_eq!(with(tracked).as_deref(), Some("Application root"));
        let labels = json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "infra"}});
        assert_eq!(with(labels).as_deref(), Some("Kustomization infra"));
    }

    #[test]
    fn all_records_that_hold_it_are_known() {
        let held = |by: &str| holders(&json!({"metadata": {"annotations": {"snapback.dev/held-by": by}}}));
        assert_eq!(held("shop/one,shop/two"), ["shop/one", "shop/two"]);
        assert_eq!(held("shop/one,"), ["shop/one"]);
        assert!(held("").is_empty() && holders(&json!({})).is_empty());
    }
}
