//! Whose fields they are: giving the fields of an undone template back to those who applied them.
//!
//! An undo is an update by us, so the API server makes every field that it changes or brings back ours, and takes it
//! away from its manager. Left so, the next server-side apply of that manager conflicts with us, and what only the old
//! template had stays for ever: nobody who owns it ever removes it. Hence a second request gives our entry back
//! (`kubernetes-rollback`, section 3: executed with structured-merge-diff 6.3.3).
//!
//! Client-side `kubectl apply` computes deletions from an annotation instead, so that is made true as well.

mod fields;

use serde_json::{Value, json};

use fields::{Fields, below, count, difference, intersection, union};

use crate::workload::{FROZEN, HelmRelease};

/// Where `kubectl apply` notes what it applied last.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What an undo may touch: the template, and `maxSurge` for a fast one.
const TOUCHED: [[&str; 2]; 2] = [["f:spec", "f:template"], ["f:spec", "f:strategy"]];

/// What a freeze sets, besides its mark.
const PAUSED: [&str; 2] = ["f:spec", "f:paused"];

fn touched(all: &Fields) -> Fields {
    TOUCHED.iter().fold(Fields::new(), |found, path| union(&found, &below(all, path)))
}

/// A manager that owned fields of the template before the undo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// `metadata.managedFields[].manager`.
    pub manager: String,
    /// `Apply` or `Update`.
    pub operation: String,
    /// The version in which it wrote.
    pub api_version: String,
    /// What it owned of the template, as FieldsV1. Empty when it was too long to be kept.
    pub fields: Value,
}

impl Owner {
    /// Whether it applied the way that computes deletions from [`LAST_APPLIED`].
    pub fn applies_client_side(&self) -> bool {
        self.operation == "Update" && self.manager.starts_with("kubectl")
    }

    fn wrote(&self, entry: &Value) -> bool {
        entry["manager"] == self.manager.as_str()
            && entry["operation"] == self.operation.as_str()
            && entry["apiVersion"] == self.api_version.as_str()
            && is_main_resource(entry)
    }
}

/// The managers of a live object's template, the main one first: those that apply before those that update, then by the
/// number of fields.
pub fn owners(managed_fields: &[Value], ours: &str) -> Vec<Owner> {
    let mut found: Vec<(usize, Owner)> = managed_fields
        .iter()
        .filter(|entry| is_main_resource(entry) && entry["manager"] != ours)
        .filter_map(|entry| {
            let owned = touched(entry["fieldsV1"].as_object()?);
            let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
            let owner = Owner {
                manager: text("manager"),
                operation: text("operation"),
                api_version: text("apiVersion"),
                fields: Value::Object(owned.clone()),
            };
            (!owned.is_empty()).then_some((count(&owned), owner))
        })
        .collect();
    found.sort_by(|(more, one), (less, other)| {
        (one.operation != "Apply", std::cmp::Reverse(more), &one.manager).cmp(&(
            other.operation != "Apply",
            std::cmp::Reverse(less),
            &other.manager,
        ))
    });
    found.into_iter().map(|(_, owner)| owner).collect()
}

/// The managed fields in which our share of the template is its former owners' again: each field that somebody owned
/// goes back to them, and what nobody owned (only the old template had it) to the main owner.
///
/// `None` when there is nothing of ours, or nobody to give it to.
pub fn handed_back(managed_fields: &[Value], ours: &str, former: &[Owner]) -> Option<Vec<Value>> {
    let is_ours = |entry: &Value| entry["manager"] == ours && entry["operation"] == "Update" && is_main_resource(entry);
    let entry = managed_fields.iter().find(|entry| is_ours(entry))?;
    let all = entry["fieldsV1"].as_object()?;
    let mut left = touched(all);
    if left.is_empty() {
        return None;
    }
    let main = former.first()?;
    let mut next: Vec<Value> = managed_fields.iter().filter(|entry| !is_ours(entry)).cloned().collect();
    let taken = left.clone();
    for owner in former {
        let share = intersection(&taken, &owner.fields.as_object().cloned().unwrap_or_default());
        left = difference(&left, &share);
        give(&mut next, owner, &share, entry);
    }
    give(&mut next, main, &left, entry);
    let elsewhere = difference(all, &taken);
    if !elsewhere.is_empty() {
        let mut rest = entry.clone();
        rest["fieldsV1"] = Value::Object(elsewhere);
        next.push(rest);
    }
    Some(next)
}

fn give(entries: &mut Vec<Value>, owner: &Owner, share: &Fields, ours: &Value) {
    if share.is_empty() {
        return;
    }
    match entries.iter_mut().find(|entry| owner.wrote(entry)) {
        Some(entry) => {
            let known = entry["fieldsV1"].as_object().cloned().unwrap_or_default();
            entry["fieldsV1"] = Value::Object(union(&known, share));
        }
        // We had taken everything that it owned, and its entry with it.
        None => entries.push(json!({
            "manager": owner.manager, "operation": owner.operation, "apiVersion": owner.api_version,
            "time": ours["time"], "fieldsType": "FieldsV1", "fieldsV1": share
        })),
    }
}

/// The managed fields without what a freeze makes ours, the pause and its mark. `None` when neither is ours.
///
/// While a rollout is frozen nobody owns them: whoever applies a fix has nothing to conflict with.
pub fn disowned(managed_fields: &[Value], ours: &str) -> Option<Vec<Value>> {
    let mark = format!("f:{FROZEN}");
    let is_ours = |entry: &Value| entry["manager"] == ours && entry["operation"] == "Update" && is_main_resource(entry);
    let index = managed_fields.iter().position(is_ours)?;
    let all = managed_fields[index]["fieldsV1"].as_object()?;
    let paths: [&[&str]; 2] = [&PAUSED, &["f:metadata", "f:annotations", &mark]];
    let frozen = paths.iter().fold(Fields::new(), |found, path| union(&found, &below(all, path)));
    if frozen.is_empty() {
        return None;
    }
    let mut next = managed_fields.to_vec();
    match difference(all, &frozen) {
        rest if rest.is_empty() => _ = next.remove(index),
        rest => next[index]["fieldsV1"] = Value::Object(rest),
    }
    Some(next)
}

/// Whether somebody else's manifest asks for a pause: by its managed fields, or, since a client-side apply does not send
/// what is so already, by its annotation.
pub fn pause_is_applied(managed_fields: &[Value], ours: &str, annotation: Option<&str>) -> bool {
    let owns = |entry: &Value| entry["fieldsV1"].as_object().is_some_and(|all| !below(all, &PAUSED).is_empty());
    let manifest = annotation.and_then(|text| serde_json::from_str::<Value>(text).ok());
    managed_fields.iter().any(|entry| entry["manager"] != ours && is_main_resource(entry) && owns(entry))
        || manifest.is_some_and(|manifest| manifest["spec"]["paused"] == true)
}

/// The annotation of client-side apply with the template that is live now, or `None` if it holds no manifest with a
/// template. Defaults that the API server filled in do no harm there: what the next apply removes, the server fills in
/// again.
pub fn last_applied(annotation: &str, template: &Value) -> Option<String> {
    let mut manifest: Value = serde_json::from_str(annotation).ok()?;
    let place = manifest.pointer_mut("/spec/template")?;
    let mut template = template.clone();
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|_, value| !value.is_null());
    }
    *place = template;
    // kubectl writes a line.
    Some(format!("{manifest}\n"))
}

/// What stays behind although the fields were given back, and how to prevent it: Helm computes client-side what to
/// remove, from the manifest in its release, where nobody else may write. What only the undone-to template has would
/// survive the next upgrade (executed with Helm 3, see `docs/handing-back.md`).
pub fn residue(owners: &[Owner], release: Option<&HelmRelease>) -> Option<String> {
    let (main, release) = (owners.first()?, release?);
    if main.operation != "Update" || main.manager != "helm" {
        return None;
    }
    let HelmRelease { name, namespace } = release;
    Some(format!(
        "Helm's own record of release {name} still holds the undone manifest, so what only the good revision has would \
         survive the next upgrade; `helm rollback {name} --namespace {namespace}` before it prevents that"
    ))
}

fn is_main_resource(entry: &Value) -> bool {
    entry["subresource"].as_str().is_none_or(str::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, template: &Value) -> Value {
        json!({
            "manager": manager, "operation": operation, "apiVersion": "apps/v1", "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}, "f:template": template}}
        })
    }

    fn of<'a>(entries: &'a [Value], manager: &str) -> &'a Value {
        &entries.iter().find(|entry| entry["manager"] == manager).unwrap()["fieldsV1"]["f:spec"]["f:template"]
    }

    #[test]
    fn changed_fields_go_to_their_owner_and_revived_ones_to_the_main_one() {
        let before = [
            entry("helm", "Apply", &json!({"f:image": {}, "f:ports": {}, "f:labels": {}})),
            entry("kubectl-set", "Update", &json!({"f:cpu": {}})),
        ];
        let former = owners(&before, "snapback");
        assert_eq!(former.iter().map(|one| one.manager.as_str()).collect::<Vec<_>>(), ["helm", "kubectl-set"]);
        // The undo changed image and cpu, and brought env back.
        let ours = json!({
            "manager": "snapback", "operation": "Update", "apiVersion": "apps/v1", "time": "2026-01-02T00:00:00Z",
            "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:template": {"f:image": {}, "f:cpu": {}, "f:env": {}}}}
        });
        let after = [entry("helm", "Apply", &json!({"f:ports": {}, "f:labels": {}})), ours];
        let next = handed_back(&after, "snapback", &former).unwrap();
        assert_eq!(of(&next, "helm"), &json!({"f:image": {}, "f:ports": {}, "f:labels": {}, "f:env": {}}));
        // Its whole entry was gone; it is made anew.
        assert_eq!(of(&next, "kubectl-set"), &json!({"f:cpu": {}}));
        assert!(next.iter().all(|entry| entry["manager"] != "snapback"), "something of ours is left: {next:?}");
    }

    #[test]
    fn without_anything_of_ours_or_anybody_to_give_it_to_nothing_is_done() {
        let theirs = [entry("helm", "Apply", &json!({"f:image": {}}))];
        assert_eq!(handed_back(&theirs, "snapback", &owners(&theirs, "snapback")), None);
        let ours = [entry("snapback", "Update", &json!({"f:image": {}}))];
        assert_eq!(handed_back(&ours, "snapback", &[]), None);
        assert!(owners(&ours, "snapback").is_empty());
    }

    #[test]
    fn what_we_own_elsewhere_stays_ours() {
        let former = owners(&[entry("helm", "Apply", &json!({"f:image": {}}))], "snapback");
        let next = handed_back(&[entry("snapback", "Update", &json!({"f:image": {}}))], "snapback", &former).unwrap();
        let ours = next.iter().find(|entry| entry["manager"] == "snapback").unwrap();
        assert_eq!(ours["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    }

    #[test]
    fn status_and_other_subresources_own_no_template() {
        let mut status = entry("kube-controller-manager", "Update", &json!({"f:image": {}}));
        status["subresource"] = json!("status");
        assert!(owners(&[status], "snapback").is_empty());
    }

    #[test]
    fn a_freeze_is_disowned_and_the_rest_stays_ours() {
        let fields = |fields: &Value| json!({"manager": "snapback", "operation": "Update", "fieldsV1": fields});
        let mark = format!("f:{FROZEN}");
        let frozen = json!({"f:metadata": {"f:annotations": {&mark: {}}}, "f:spec": {"f:paused": {}}});
        let user = entry("helm", "Apply", &json!({"f:image": {}}));
        assert_eq!(disowned(&[user.clone(), fields(&frozen)], "snapback"), Some(vec![user.clone()]));
        let more = json!({"f:metadata": {"f:annotations": {&mark: {}}}, "f:spec": {"f:paused": {}, "f:template": {}}});
        let left = disowned(&[fields(&more)], "snapback").unwrap();
        assert_eq!(left, [fields(&json!({"f:spec": {"f:template": {}}}))]);
        assert_eq!(disowned(&left, "snapback"), None);
        assert_eq!(disowned(&[user], "snapback"), None);
    }

    #[test]
    fn a_pause_is_applied_by_whoever_owns_it_or_wrote_it_down() {
        let paused = |manager: &str| {
            vec![json!({"manager": manager, "operation": "Apply", "fieldsV1": {"f:spec": {"f:paused": {}}}})]
        };
        assert!(pause_is_applied(&paused("helm"), "snapback", None));
        assert!(!pause_is_applied(&paused("snapback"), "snapback", None));
        assert!(pause_is_applied(&[], "snapback", Some(r#"{"spec":{"paused":true}}"#)));
        assert!(!pause_is_applied(&[], "snapback", Some(r#"{"spec":{"paused":false}}"#)));
        assert!(!pause_is_applied(&[], "snapback", Some("not JSON")));
    }

    #[test]
    fn the_annotation_says_what_is_live() {
        let annotation = r#"{"kind":"Deployment","spec":{"replicas":3,"template":{"spec":{"image":"v2"}}}}"#;
        let template = json!({"metadata": {"creationTimestamp": null}, "spec": {"image": "v1"}});
        let next = last_applied(annotation, &template).unwrap();
        let next: Value = serde_json::from_str(&next).unwrap();
        assert_eq!(next["spec"], json!({"replicas": 3, "template": {"metadata": {}, "spec": {"image": "v1"}}}));
        assert_eq!(last_applied("not JSON", &template), None);
        assert_eq!(last_applied("{}", &template), None);
    }

    #[test]
    fn the_main_owner_is_who_applies_and_among_equals_who_owns_more() {
        let few = json!({"f:image": {}});
        let many = json!({"f:image": {}, "f:ports": {}, "f:labels": {}});
        let names = |entries: &[Value]| -> Vec<String> {
            owners(entries, "snapback").into_iter().map(|one| one.manager).collect()
        };
        let entries =
            [entry("b-set", "Update", &many), entry("a-apply", "Apply", &few), entry("c-apply", "Apply", &many)];
        assert_eq!(names(&entries), ["c-apply", "a-apply", "b-set"]);
    }

    #[test]
    fn a_manager_that_also_updates_gets_back_what_it_applied_where_it_applied_it() {
        let former = owners(&[entry("helm", "Apply", &json!({"f:image": {}}))], "snapback");
        let mut old = entry("helm", "Apply", &json!({"f:old": {}}));
        old["apiVersion"] = json!("apps/v1beta2");
        let mut scale = entry("helm", "Apply", &json!({"f:scale": {}}));
        scale["subresource"] = json!("scale");
        let other =
            [entry("argo", "Apply", &json!({"f:b": {}})), entry("helm", "Update", &json!({"f:a": {}})), old, scale];
        let after = [&other[..], &[entry("snapback", "Update", &json!({"f:image": {}}))]].concat();
        let next = handed_back(&after, "snapback", &former).unwrap();
        assert_eq!(next[..4], other, "what others wrote, or it in another way, is as it was");
        assert_eq!(next[4]["fieldsV1"], json!({"f:spec": {"f:template": {"f:image": {}}}}));
        assert_eq!((&next[4]["manager"], &next[4]["operation"]), (&json!("helm"), &json!("Apply")));
    }

    #[test]
    fn what_is_ours_is_what_we_updated_of_the_object_itself() {
        let former = owners(&[entry("helm", "Apply", &json!({"f:image": {}}))], "snapback");
        let mark = format!("f:{FROZEN}");
        let fields = json!({
            "f:metadata": {"f:annotations": {&mark: {}}}, "f:spec": {"f:paused": {}, "f:template": {"f:image": {}}}
        });
        let wrote = |manager: &str, operation: &str, subresource: &str| {
            vec![json!({
                "manager": manager, "operation": operation, "subresource": subresource, "fieldsV1": fields
            })]
        };
        for others in
            [wrote("helm", "Update", ""), wrote("snapback", "Apply", ""), wrote("snapback", "Update", "status")]
        {
            assert_eq!(handed_back(&others, "snapback", &former), None, "{others:?}");
            assert_eq!(disowned(&others, "snapback"), None, "{others:?}");
        }
        assert!(handed_back(&wrote("snapback", "Update", ""), "snapback", &former).is_some());
        assert!(disowned(&wrote("snapback", "Update", ""), "snapback").is_some());
    }

    #[test]
    fn only_kubectl_computes_deletions_from_its_annotation() {
        let owner = |manager: &str, operation: &str| {
            owners(&[entry(manager, operation, &json!({"f:image": {}}))], "snapback").remove(0)
        };
        assert!(owner("kubectl-client-side-apply", "Update").applies_client_side());
        assert!(!owner("kubectl", "Apply").applies_client_side());
        assert!(!owner("helm", "Update").applies_client_side());
    }
}
