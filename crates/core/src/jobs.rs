//! Jobs around an undo: the template that a namespace offers, the Job that is made of it, and how that Job fares.
//!
//! All of it is raw JSON, so that fields that are newer than this program survive.

use serde_json::{Map, Value, json};

/// On a CronJob or Job, `"true"`: Jobs may be made of it around an undo. Whoever may write a policy or a pod template
/// can name a template, and its Jobs run with the rights of its own ServiceAccount: so its owner has to agree.
pub const ALLOW: &str = "snapback.dev/allow-rollback-jobs";

/// On a Job: the `Rollback` that it was made for.
pub const ROLLBACK_LABEL: &str = "snapback.dev/rollback";

/// Labels that the Job controller gives to the pods of one Job: a copy must not carry those of another.
const GENERATED: [&str; 4] =
    ["controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"];

/// What a Job around an undo is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Takes the change of data back, before the undo.
    Migration,
    /// Brings Helm's own record up to date, after it.
    Helm,
}

/// The name of the one Job of a `Rollback` for a purpose: the same for everybody who creates it. At most 63 characters,
/// for it is a label value too.
pub fn job_name(rollback: &str, uid: &str, purpose: Purpose) -> String {
    let uid: String = uid.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    let rollback: String = rollback.chars().take(44).collect();
    let purpose = match purpose {
        Purpose::Migration => "migrate",
        Purpose::Helm => "helm",
    };
    format!("{}-{uid}-{purpose}", rollback.trim_end_matches(['-', '.']))
}

/// Whether a text can be the name of an object. One that cannot is not asked for: names become parts of the request's path,
/// and `../other` or `a?b=c` would ask for something else.
pub fn is_name(text: &str) -> bool {
    let is_inner = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    text.len() <= 253
        && text.starts_with(is_inner)
        && text.ends_with(is_inner)
        && text.chars().all(|letter| is_inner(letter) || letter == '-' || letter == '.')
}

/// What a CronJob or Job offers as a template.
#[derive(Debug, Clone, PartialEq)]
pub struct JobTemplate {
    spec: Value,
    labels: Map<String, Value>,
    annotations: Map<String, Value>,
}

/// A Job to be made of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// Its name.
    pub name: String,
    /// Its namespace: that of the template and of the `Rollback`.
    pub namespace: String,
    /// Name and UID of the `Rollback` that it belongs to, and is deleted with.
    pub owner: Option<(String, String)>,
    /// Added to the environment of its containers.
    pub env: Vec<(String, String)>,
    /// Seconds after which Kubernetes stops it: nobody waits for it any longer.
    pub seconds: i64,
}

impl JobTemplate {
    /// Reads a raw CronJob. The error says what its owner has to do.
    pub fn of_cron_job(object: &Value) -> Result<Self, String> {
        usable("CronJob", object)?;
        let template = &object["spec"]["jobTemplate"];
        let map = |key: &str| template["metadata"][key].as_object().cloned().unwrap_or_default();
        Ok(Self { spec: template["spec"].clone(), labels: map("labels"), annotations: map("annotations") })
    }

    /// Reads a raw Job. Its own labels stay behind: those of a GitOps tool would make the copy seem to be its.
    pub fn of_job(object: &Value) -> Result<Self, String> {
        usable("Job", object)?;
        Ok(Self { spec: object["spec"].clone(), labels: Map::new(), annotations: Map::new() })
    }

    /// The raw Job.
    pub fn job(&self, new: &NewJob) -> Value {
        let mut spec = self.spec.clone();
        if let Some(spec) = spec.as_object_mut() {
            // The API server chooses them anew. Without a time to live the outcome can be read for as long as its
            // `Rollback` is kept.
            for own in ["selector", "manualSelector", "ttlSecondsAfterFinished"] {
                spec.remove(own);
            }
        }
        spec["suspend"] = json!(false);
        let seconds = spec["activeDeadlineSeconds"].as_i64().map_or(new.seconds, |own| own.min(new.seconds));
        spec["activeDeadlineSeconds"] = json!(seconds.max(1));
        if let Some(labels) = spec.pointer_mut("/template/metadata/labels").and_then(Value::as_object_mut) {
            labels.retain(|label, _| !GENERATED.contains(&label.as_str()));
        }
        for containers in ["/template/spec/initContainers", "/template/spec/containers"] {
            for container in spec.pointer_mut(containers).and_then(Value::as_array_mut).into_iter().flatten() {
                add_env(container, &new.env);
            }
        }
        let mut labels = self.labels.clone();
        let mut metadata = json!({"name": new.name, "namespace": new.namespace, "annotations": self.annotations});
        // Without it, admission lets nothing of ours in; a trial before there is a Rollback has none to name.
        let label: String = new.owner.as_ref().map(|(name, _)| name.chars().take(63).collect()).unwrap_or_default();
        labels.insert(ROLLBACK_LABEL.to_owned(), json!(label.trim_end_matches(['-', '.'])));
        if let Some((name, uid)) = &new.owner {
            metadata["ownerReferences"] =
                json!([{"apiVersion": "snapback.dev/v1alpha1", "kind": "Rollback", "name": name, "uid": uid}]);
        }
        metadata["labels"] = Value::Object(labels);
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec})
    }
}

fn usable(kind: &str, object: &Value) -> Result<(), String> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if object["metadata"]["annotations"][ALLOW] != "true" {
        return Err(format!("{kind} {name} is not meant for this: to allow it, annotate it with {ALLOW}: \"true\""));
    }
    if object["spec"]["suspend"] != true {
        return Err(format!("{kind} {name} is not suspended and runs by itself: set spec.suspend: true"));
    }
    Ok(())
}

/// First in the list, so that what the template says may refer to them.
fn add_env(container: &mut Value, env: &[(String, String)]) {
    let mut all: Vec<Value> = env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    let own = container["env"].as_array().cloned().unwrap_or_default();
    all.extend(own.into_iter().filter(|one| env.iter().all(|(name, _)| one["name"] != name.as_str())));
    container["env"] = Value::Array(all);
}

/// How a Job of ours fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobLook {
    /// There is none of that name.
    NotThere,
    /// There is one of that name, and it is not ours.
    Foreign,
    /// It has not ended.
    Running,
    /// It succeeded.
    Succeeded,
    /// It failed; the text says why.
    Failed(String),
    /// It may not be read; the text says why.
    Unreadable(String),
}

impl JobLook {
    /// Reads a raw Job that should be the one of the `Rollback` with this UID.
    pub fn read(job: &Value, rollback: &str) -> Self {
        let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
        if !items(&job["metadata"]["ownerReferences"]).iter().any(|owner| owner["uid"] == rollback) {
            return Self::Foreign;
        }
        let conditions = items(&job["status"]["conditions"]);
        let is = |wanted: &str| conditions.iter().find(|one| one["type"] == wanted && one["status"] == "True");
        if is("Complete").is_some() {
            return Self::Succeeded;
        }
        let Some(failed) = is("Failed") else { return Self::Running };
        let text = |key: &str| failed[key].as_str().unwrap_or_default();
        Self::Failed([text("reason"), text("message")].join(": ").trim_matches([':', ' ']).chars().take(256).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron_job(allow: &str, suspend: bool) -> Value {
        json!({
            "kind": "CronJob",
            "metadata": {"name": "down", "annotations": {ALLOW: allow}, "labels": {"argocd": "app"}},
            "spec": {"suspend": suspend, "schedule": "0 0 1 1 *", "jobTemplate": {
                "metadata": {"labels": {"team": "shop"}},
                "spec": {
                    "backoffLimit": 2, "ttlSecondsAfterFinished": 0, "suspend": true, "newerThanWe": true,
                    "template": {"spec": {
                        "serviceAccountName": "migrator",
                        "initContainers": [{"name": "wait"}],
                        "containers": [{"name": "down", "env": [
                            {"name": "URL", "value": "db"}, {"name": "SNAPBACK_TARGET", "value": "theirs"}
                        ]}]
                    }}
                }
            }}
        })
    }

    fn new() -> NewJob {
        NewJob {
            name: "web-1".into(),
            namespace: "shop".into(),
            owner: Some(("web-roll".into(), "uid-7".into())),
            env: vec![("SNAPBACK_TARGET".into(), "web".into())],
            seconds: 600,
        }
    }

    #[test]
    fn a_job_is_the_templates_with_our_name_owner_deadline_and_environment() {
        let job = JobTemplate::of_cron_job(&cron_job("true", true)).unwrap().job(&new());
        let env = json!([{"name": "SNAPBACK_TARGET", "value": "web"}]);
        let whole = json!([{"name": "SNAPBACK_TARGET", "value": "web"}, {"name": "URL", "value": "db"}]);
        assert_eq!(
            job,
            json!({
                "apiVersion": "batch/v1", "kind": "Job",
                "metadata": {
                    "name": "web-1", "namespace": "shop", "annotations": {},
                    "labels": {"team": "shop", ROLLBACK_LABEL: "web-roll"},
                    "ownerReferences": [
                        {"apiVersion": "snapback.dev/v1alpha1", "kind": "Rollback", "name": "web-roll", "uid": "uid-7"}
                    ]
                },
                "spec": {
                    "backoffLimit": 2, "suspend": false, "newerThanWe": true, "activeDeadlineSeconds": 600,
                    "template": {"spec": {
                        "serviceAccountName": "migrator",
                        "initContainers": [{"name": "wait", "env": env}],
                        "containers": [{"name": "down", "env": whole}]
                    }}
                }
            })
        );
    }

    #[test]
    fn a_suspended_job_is_a_template_without_what_makes_it_itself() {
        let object = json!({
            "metadata": {"name": "down", "annotations": {ALLOW: "true"}, "labels": {"argocd": "app"}},
            "spec": {
                "suspend": true, "selector": {"matchLabels": {"controller-uid": "1"}}, "activeDeadlineSeconds": 30,
                "template": {
                    "metadata": {"labels": {"app": "down", "controller-uid": "1", "batch.kubernetes.io/job-name": "down"}},
                    "spec": {"containers": []}
                }
            }
        });
        let job = JobTemplate::of_job(&object).unwrap().job(&new());
        assert_eq!(job["spec"]["selector"], Value::Null);
        assert_eq!(job["spec"]["template"]["metadata"]["labels"], json!({"app": "down"}));
        assert_eq!(job["metadata"]["labels"], json!({ROLLBACK_LABEL: "web-roll"}));
        assert_eq!(job["spec"]["activeDeadlineSeconds"], 30, "the template's own deadline is the shorter one");
    }

    #[test]
    fn a_template_whose_owner_did_not_agree_or_that_runs_by_itself_is_refused_with_what_to_do() {
        for (allow, suspend, wanted) in
            [("yes", true, "annotate it with snapback.dev/allow-rollback-jobs"), ("true", false, "spec.suspend: true")]
        {
            let why = JobTemplate::of_cron_job(&cron_job(allow, suspend)).unwrap_err();
            assert!(why.contains("CronJob down") && why.contains(wanted), "{why}");
        }
        assert!(JobTemplate::of_job(&json!({"metadata": {"name": "down"}})).is_err());
    }

    #[test]
    fn a_job_is_ours_by_its_owner_and_over_by_its_conditions() {
        let job = |owner: &str, type_: &str, status: &str| {
            json!({
                "metadata": {"ownerReferences": [{"uid": owner}]},
                "status": {"conditions": [{"type": type_, "status": status, "reason": "BackoffLimitExceeded", "message": "gone"}]}
            })
        };
        assert_eq!(JobLook::read(&job("other", "Complete", "True"), "mine"), JobLook::Foreign);
        assert_eq!(JobLook::read(&job("mine", "Complete", "True"), "mine"), JobLook::Succeeded);
        assert_eq!(JobLook::read(&job("mine", "Failed", "False"), "mine"), JobLook::Running);
        // It will fail, and its pods are not gone yet.
        assert_eq!(JobLook::read(&job("mine", "FailureTarget", "True"), "mine"), JobLook::Running);
        let failed = JobLook::Failed("BackoffLimitExceeded: gone".to_owned());
        assert_eq!(JobLook::read(&job("mine", "Failed", "True"), "mine"), failed);
    }

    #[test]
    fn the_name_is_the_same_for_the_same_record_and_fits_a_label() {
        let long = job_name(&"checkout-".repeat(20), "0b9b-44aa-11", Purpose::Migration);
        assert!(long.len() <= 63 && long.ends_with("-0b9b44aa-migrate"), "{long}");
        assert_ne!(job_name("a", "u", Purpose::Helm), job_name("a", "u", Purpose::Migration));
        assert_ne!(job_name("a", "u", Purpose::Helm), job_name("a", "v", Purpose::Helm));
        assert!(is_name("down-v2.db"));
        for wrong in ["", "Down", "down/../secrets", "-down", "down.", "a b"] {
            assert!(!is_name(wrong), "{wrong:?}");
        }
    }
}
