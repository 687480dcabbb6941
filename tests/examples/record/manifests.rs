//! The objects of a rollout.

use serde_json::{Value, json};
use snapback_recorded::{Broken, Planned};
use snapback_tests::images::{SAMPLE, TAG};

/// The Deployment that is watched.
pub(crate) const TARGET: &str = "web";

/// What it depends on.
pub(crate) const DEPENDENCY: &str = "dependency";

/// Kubernetes' default of ten minutes, when a second stands for half a minute.
const PROGRESS_DEADLINE: i32 = 20;

/// A Service in front of the pods with these labels.
pub(crate) fn service(name: &str, selector: &Value) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"selector": selector, "ports": [{"port": 80, "targetPort": 8080}]},
    })
}

/// The Service of the target: it selects what serves.
pub(crate) fn target_service() -> Value {
    service(TARGET, &json!({"app": TARGET, "serves": "yes"}))
}

/// The Deployment with its old revision.
pub(crate) fn target(planned: &Planned) -> Value {
    json!({
        "metadata": {"name": TARGET},
        "spec": {
            "replicas": planned.replicas,
            "minReadySeconds": planned.min_ready,
            "progressDeadlineSeconds": PROGRESS_DEADLINE,
            "selector": {"matchLabels": {"app": TARGET}},
            "template": template(planned, false),
        },
    })
}

/// The pods of a revision.
pub(crate) fn template(planned: &Planned, is_new: bool) -> Value {
    let fault = planned.fault.clone().filter(|_| is_new).unwrap_or_default();
    let behaviour = planned.at_start(is_new);
    let mut env = vec![
        ("VERSION", if is_new { "v2" } else { "v1" }.to_owned()),
        ("SEED", planned.seed.to_string()),
        ("ERROR_RATIO", behaviour.errors.to_string()),
        ("LATENCY", format!("{}ms", behaviour.latency)),
    ];
    if planned.dependency.is_some() {
        env.push(("DEPENDENCY", address(DEPENDENCY)));
    }
    if let Some(after) = fault.crash_after {
        env.push(("CRASH_AFTER", format!("{after}ms")));
    }
    let is = |broken: Broken| fault.broken == Some(broken);
    if is(Broken::NotReady) {
        env.push(("NOT_READY", "true".to_owned()));
    }
    let mut container = json!({
        "name": "app",
        "image": if is(Broken::NoImage) { "localhost:1/no-such-image:v2".to_owned() } else { format!("{SAMPLE}:{TAG}") },
        "args": ["serve"],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
        "env": variables(&env),
    });
    if is(Broken::NoConfig) {
        container["envFrom"] = json!([{"configMapRef": {"name": "no-such-config"}}]);
    }
    json!({
        "metadata": {
            "labels": {"app": TARGET, "serves": if is(Broken::Silent) { "no" } else { "yes" }},
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"},
        },
        "spec": {"terminationGracePeriodSeconds": 2, "containers": [container]},
    })
}

/// What the target depends on.
pub(crate) fn dependency(planned: &Planned) -> Value {
    let env = [("VERSION", "v1".to_owned()), ("SEED", planned.seed.to_string()), ("METRICS", "none".to_owned())];
    single(DEPENDENCY, "serve", &env)
}

/// Who asks the target.
pub(crate) fn load(planned: &Planned) -> Value {
    let env = [
        ("TARGET", address(TARGET)),
        ("SEED", planned.seed.to_string()),
        ("RPS", planned.load.rps.to_string()),
        ("SWING", planned.load.swing.to_string()),
        ("PERIOD", format!("{}s", planned.load.period)),
        ("DURATION", "20m".to_owned()),
    ];
    single("load", "load", &env)
}

fn single(name: &str, command: &str, env: &[(&str, String)]) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [
                        {"name": name, "image": format!("{SAMPLE}:{TAG}"), "args": [command], "env": variables(env)},
                    ],
                },
            },
        },
    })
}

/// Of an older Service: Kubernetes tells it to pods, and there need not be a DNS in the cluster.
fn address(service: &str) -> String {
    let name = service.to_uppercase();
    format!("$({name}_SERVICE_HOST):$({name}_SERVICE_PORT)")
}

fn variables(env: &[(&str, String)]) -> Vec<Value> {
    env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use k8s_openapi::api::apps::v1::Deployment;
    use k8s_openapi::api::core::v1::{PodTemplateSpec, Service};
    use snapback_core::fingerprint::Fingerprint;
    use snapback_recorded::Plan;

    use super::*;

    #[test]
    fn every_planned_rollout_is_made_of_objects_and_changes_its_template() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/detect/rollouts/plan.yaml");
        let plan = Plan::read(&folder).unwrap();
        for planned in &plan.rollouts {
            for deployment in [target(planned), dependency(planned), load(planned)] {
                // What does not survive is no field of it.
                let typed: Deployment = serde_json::from_value(deployment.clone()).unwrap();
                let read = serde_json::to_value(&typed).unwrap();
                assert_eq!(read["spec"], deployment["spec"], "{}", planned.id);
            }
            let new = template(planned, true);
            let typed: PodTemplateSpec = serde_json::from_value(new.clone()).unwrap();
            assert_eq!(serde_json::to_value(&typed).unwrap(), new, "{}", planned.id);
            assert_ne!(Fingerprint::of_template(&new), Fingerprint::of_template(&template(planned, false)));
            assert!(PROGRESS_DEADLINE > planned.min_ready, "{}: the API server refuses it", planned.id);
        }
        let service: Service = serde_json::from_value(target_service()).unwrap();
        assert_eq!(serde_json::to_value(&service).unwrap()["spec"], target_service()["spec"]);
    }
}
