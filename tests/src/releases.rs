//! Three releases of one workload that differ in everything that lists by name can differ in: environment, sidecar,
//! volume, labels, ports. Whatever a tool leaves behind shows.

use anyhow::{Result, ensure};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PostParams};
use kube::{Api, Client};

/// A healthy one with a sidecar, a volume and an environment that v2 has not.
pub const V1: &str = r#"
    metadata: {labels: {app: checkout, tier: one}, annotations: {example.com/owner: payments}}
    spec:
      containers:
      - name: app
        image: shop/checkout:v1
        env: [{name: KEPT, value: "1"}, {name: CHANGED, value: "1"}, {name: REMOVED, value: "1"}]
        ports: [{containerPort: 8080}, {containerPort: 9090}]
        volumeMounts: [{name: cache, mountPath: /cache}]
      - {name: sidecar, image: "shop/log:v1"}
      volumes: [{name: cache, emptyDir: {}}]"#;

/// A bad one: its pods crash, by its label.
pub const V2: &str = r#"
    metadata: {labels: {app: checkout, simulated: crash-loop}}
    spec:
      priorityClassName: system-cluster-critical
      containers:
      - name: app
        image: shop/checkout:v2
        env: [{name: KEPT, value: "1"}, {name: CHANGED, value: "2"}, {name: ADDED, value: "2"}]
        ports: [{containerPort: 8080}]
        volumeMounts: [{name: scratch, mountPath: /scratch}]
      volumes: [{name: scratch, emptyDir: {}}]"#;

/// The fix: nothing of what only v1 or only v2 had.
pub const V3: &str = r#"
    metadata: {labels: {app: checkout}}
    spec:
      containers:
      - name: app
        image: shop/checkout:v3
        env: [{name: KEPT, value: "1"}, {name: CHANGED, value: "3"}]
        ports: [{containerPort: 8080}]"#;

/// A workload named `checkout` with this template.
pub fn manifest(kind: &str, namespace: &str, template: &str) -> String {
    let own = match kind {
        "StatefulSet" => "replicas: 2\n  serviceName: checkout",
        "DaemonSet" => "revisionHistoryLimit: 5",
        _ => "replicas: 2",
    };
    format!(
        "apiVersion: apps/v1
kind: {kind}
metadata: {{name: checkout, namespace: {namespace}}}
spec:
  {own}
  selector: {{matchLabels: {{app: checkout}}}}
  template:{template}
"
    )
}

/// Workloads of a kind, in the version that all of them share.
pub fn workloads(client: &Client, namespace: &str, kind: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("apps", "v1", kind);
    let plural = format!("{}s", kind.kind.to_lowercase());
    Api::namespaced_with(client.clone(), namespace, &ApiResource::from_gvk_with_plural(&kind, &plural))
}

/// The live template of `checkout` is exactly what the API server makes of this manifest.
pub async fn exactly(client: &Client, namespace: &str, kind: &str, manifest: &str) -> Result<()> {
    let fresh = serde_yaml_ng::from_str(&manifest.replace("name: checkout, namespace", "name: fresh, namespace"))?;
    let tried = PostParams { dry_run: true, ..PostParams::default() };
    let workloads = workloads(client, namespace, kind);
    let fresh = workloads.create(&tried, &fresh).await?;
    let live = workloads.get("checkout").await?;
    let template = |object: DynamicObject| {
        let mut object = serde_json::to_value(object)?;
        if let Some(metadata) = object["spec"]["template"]["metadata"].as_object_mut() {
            metadata.retain(|_, value| !value.is_null());
        }
        Ok::<_, anyhow::Error>(object["spec"]["template"].take())
    };
    let (fresh, live) = (template(fresh)?, template(live)?);
    ensure!(fresh == live, "the live template is\n{live:#}\nnot\n{fresh:#}");
    Ok(())
}
