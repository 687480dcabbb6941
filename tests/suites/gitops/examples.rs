//! What Argo CD says of a policy.

use anyhow::Result;
use serde_json::Value;
use snapback_tests::releases::V1;

use crate::argocd::{Application, Applies};
use crate::bed::Bed;

/// Argo CD tells the health of a policy, and with it that of its Application, as docs/argocd.md has it.
pub(crate) fn argocd_health(bed: &Bed) -> Result<()> {
    const POLICY: &str = "app/policy.yaml";
    bed.operator()?;
    let namespace = "argo-health";
    let argocd = Application::new(bed, namespace, Applies::ServerSide, V1)?;
    let policy = |soak: &str| {
        format!(
            "apiVersion: snapback.dev/v1alpha1
kind: RollbackPolicy
metadata: {{name: checkout, namespace: {namespace}}}
spec:
  targetRef: {{kind: Deployment, name: checkout}}
  soak: {{duration: {soak}, interval: 1s}}
  checks: [{{name: crashes, crashRate: {{max: \"50%\"}}}}]
"
        )
    };
    let is = |health: &'static str| {
        move |status: &Value| status["sync"]["status"] == "Synced" && status["health"]["status"] == health
    };
    for (soak, health) in [("2s", "Healthy"), ("25h", "Degraded"), ("3s", "Healthy")] {
        let revision = argocd.repository.commit(POLICY, &policy(soak))?;
        argocd.refresh()?;
        argocd.synced(&revision)?;
        argocd.until(health, is(health))?;
    }
    // Not by its Deployment alone.
    let suspended = policy("3s") + "  suspend: true\n";
    argocd.repository.commit(POLICY, &suspended)?;
    argocd.refresh()?;
    argocd.until("Suspended", is("Suspended")).map(drop)
}
