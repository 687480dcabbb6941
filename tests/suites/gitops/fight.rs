//! What becomes of an undo when nobody holds the tool that applies the bad revision.

use anyhow::{Result, ensure};
use kube::Api;
use kube::api::ListParams;
use serde_json::Value;
use snapback_api::v1alpha1::{Rollback, RollbackPolicy};
use snapback_tests::releases::{V1, V2};
use snapback_tests::say;

use crate::bed::{Bed, until};
use crate::flux::Kustomization;

const POLICY: &str = "apiVersion: snapback.dev/v1alpha1
kind: RollbackPolicy
metadata: {name: checkout, namespace: NAMESPACE}
spec:
  targetRef: {kind: Deployment, name: checkout}
  soak: {duration: 10s, interval: 1s}
  checks: [{name: crashes, crashRate: {max: \"50%\"}}]
  rollback: {verify: {duration: 1s}}
";

/// Snapback and Flux put each other's template back a few times, and then Snapback stops and calls a person.
pub(crate) fn ends(bed: &Bed) -> Result<()> {
    bed.operator()?;
    let flux = Kustomization::new(bed, "flux-fight")?;
    flux.released(V1)?;
    let namespace = flux.namespace.as_str();
    bed.tools.kubectl(&["-n", namespace, "rollout", "status", "deploy/checkout", "--timeout=60s"])?;
    // A policy of the same second would judge v1, not adopt it.
    std::thread::sleep(std::time::Duration::from_secs(1));
    bed.tools.apply(&POLICY.replace("NAMESPACE", namespace))?;
    let policies: Api<RollbackPolicy> = Api::namespaced(bed.client.clone(), namespace);
    let status = || -> Result<Value> {
        let policy = bed.wait(policies.get("checkout"))?;
        Ok(serde_json::to_value(policy.status)?.pointer("/targets/0").cloned().unwrap_or_default())
    };
    until("v1 to be known good", || Ok(!status()?["knownGood"]["snapshot"].is_null()))?;
    flux.release(V2)?;
    let rollbacks: Api<Rollback> = Api::namespaced(bed.client.clone(), namespace);
    let records = || -> Result<Vec<Value>> {
        let found = bed.wait(rollbacks.list(&ListParams::default()))?.items;
        Ok(found.iter().map(serde_json::to_value).collect::<Result<_, _>>()?)
    };
    // What comes back between an undo and its hand-back is v2 with what only v1 has: to us another revision, which is judged
    // and then held by the limit of automatic rollbacks instead.
    let is_over = || {
        let status = status()?;
        let asks = status["reason"] == "AwaitingApproval";
        Ok(asks || status["phase"] == "Escalated" && status["reason"] == "Contended")
    };
    let waited = until("the fight to end", is_over);
    let told = || -> Result<String> {
        let ends = records()?.into_iter().map(|record| record["status"]["message"].clone()).collect::<Vec<_>>();
        Ok(format!("{:#}; {ends:#?}", status()?))
    };
    ensure!(waited.is_ok(), "{}", told()?);
    let written = records()?.len();
    say(&format!(
        "Flux: after {:.1} s and {written} records: {}",
        waited?.as_secs_f64(),
        status()?["message"].as_str().unwrap_or_default()
    ));
    // The limit of one target and hour is three; a fourth record may ask.
    ensure!(written <= 4, "{written} records: {}", told()?);
    // Nobody writes any more.
    flux.reconciled(1)?;
    let generation = bed.live(namespace)?["metadata"]["generation"].clone();
    flux.reconciled(3)?;
    let after = bed.live(namespace)?["metadata"]["generation"].clone();
    ensure!(after == generation, "the generation went from {generation} to {after}: {}", told()?);
    let image = bed.live(namespace)?["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    ensure!(image == "shop/checkout:v2", "{image}");
    Ok(())
}
