//! What the operator says of policies that the schema lets in.

use anyhow::{Context, Result, ensure};
use snapback_api::v1alpha1::{PhaseName, RollbackPolicy};
use snapback_tests::tools;

use crate::bed::{Bed, condition};

pub(crate) const TARGET: &str = "targetRef: {kind: Deployment, name: checkout}";

pub(crate) fn deployment(namespace: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: checkout, namespace: {namespace}, labels: {{app: checkout}}}}
spec:
  selector: {{matchLabels: {{app: checkout}}}}
  template:
    metadata: {{labels: {{app: checkout}}}}
    spec: {{containers: [{{name: app, image: \"shop/checkout:v1\"}}]}}
"
    )
}

/// The next release of it: one whose pods crash.
pub(crate) fn crashing(namespace: &str) -> Result<String> {
    let v2 = deployment(namespace)
        .replace(
            "metadata: {labels: {app: checkout}}\n    spec",
            "metadata: {labels: {app: checkout, simulated: crash-loop}}\n    spec",
        )
        .replace("checkout:v1", "checkout:v2");
    ensure!(v2.contains("crash-loop}"), "{v2}");
    Ok(v2)
}

fn is(policy: &RollbackPolicy, type_: &str, status: &str, reason: &str) -> bool {
    condition(policy, type_).is_some_and(|(was, why, _)| was == status && why == reason)
}

pub(crate) fn adopted(policy: &RollbackPolicy) -> bool {
    let target = policy.status.as_ref().and_then(|status| status.targets.first());
    target.is_some_and(|target| target.phase == PhaseName::Idle && target.known_good.is_some())
}

/// The spec is refused in words: field, what is wrong, what to write; and kstatus reads it as failed.
fn refused(bed: &Bed, namespace: &str, spec: &str, words: &[&str]) -> Result<()> {
    bed.policy(namespace, "checkout", spec)?;
    let policy =
        bed.until(namespace, "checkout", "Accepted=False", |policy| is(policy, "Accepted", "False", "Invalid"))?;
    ensure!(
        is(&policy, "Ready", "False", "InvalidSpec") && is(&policy, "Stalled", "True", "InvalidSpec"),
        "{policy:?}"
    );
    let (_, _, message) = condition(&policy, "Accepted").context("just seen")?;
    for word in words {
        ensure!(message.contains(word), "{word:?} is not in {message:?}");
    }
    ensure!(
        policy.status.and_then(|status| status.observed_generation) == policy.metadata.generation,
        "observedGeneration is behind"
    );
    Ok(())
}

pub(crate) fn absent_target(bed: &Bed) -> Result<()> {
    let namespace = bed.namespace("absent-target")?;
    bed.policy(&namespace, "checkout", TARGET)?;
    let policy =
        bed.until(&namespace, "checkout", "TargetNotFound", |policy| is(policy, "Ready", "False", "TargetNotFound"))?;
    ensure!(
        is(&policy, "Accepted", "False", "TargetNotFound") && condition(&policy, "Enforced").is_none(),
        "{policy:?}"
    );
    let (_, _, message) = condition(&policy, "Ready").context("just seen")?;
    ensure!(message.contains("spec.targetRef.name") && message.contains("\"checkout\""), "{message}");
    bed.tools.apply(&deployment(&namespace))?;
    bed.until(&namespace, "checkout", "the target watched", |policy| {
        policy.status.as_ref().is_some_and(|status| status.targets.len() == 1)
            && is(policy, "Enforced", "True", "Enforced")
    })?;
    bed.tools.kubectl(&["-n", &namespace, "delete", "deployment", "checkout"])?;
    bed.until(&namespace, "checkout", "TargetNotFound again", |policy| is(policy, "Ready", "False", "TargetNotFound"))
        .map(drop)
}

pub(crate) fn unknown_source(bed: &Bed) -> Result<()> {
    let namespace = bed.namespace("unknown-source")?;
    refused(
        bed,
        &namespace,
        &format!("{TARGET}\nmetrics: {{source: thanos}}"),
        &["spec.metrics.source", "\"thanos\"", "main"],
    )
}

pub(crate) fn bad_window(bed: &Bed) -> Result<()> {
    let five = "must be a cron schedule of five fields such as \"0 9 * * 1-5\"";
    for (name, schedule, zone, words) in [
        ("bad-schedule", "0 25 * * *", "Etc/UTC", ["spec.windows[0].schedule", five]),
        ("bad-zone", "0 0 * * *", "Europe/Berln", ["spec.windows[0].timeZone", "\"Europe/Berln\""]),
    ] {
        let window = format!("{{kind: Deny, schedule: \"{schedule}\", duration: 8h, timeZone: {zone}}}");
        refused(bed, &bed.namespace(name)?, &format!("{TARGET}\nwindows: [{window}]"), &words)?;
    }
    Ok(())
}

pub(crate) fn bad_promql(bed: &Bed) -> Result<()> {
    let namespace = bed.namespace("bad-promql")?;
    let check = |promql: &str| format!("{TARGET}\nchecks: [{{name: own, query: {{promql: '{promql}', max: \"1\"}}}}]");
    let field = "spec.checks[0].query.promql";
    refused(bed, &namespace, &check("sum(rate(errors_total[1m])"), &[field, "at character"])?;
    refused(bed, &namespace, &check("errors_total[5m]"), &[field, "range vector"])?;
    refused(bed, &namespace, &check("up{pod=\"{{ pod }}\"}"), &[field, "{{ pods }}"])?;
    let spec = format!("{TARGET}\nchecks: [{{name: slow, latency: {{maxRatio: \"0.5\"}}}}]");
    refused(bed, &namespace, &spec, &["spec.checks[0].latency.maxRatio", "over 1"])?;
    let spec = format!("{TARGET}\nsoak: {{duration: 25h}}");
    refused(bed, &namespace, &spec, &["spec.soak.duration", "at most 24h"])
}

pub(crate) fn bad_beside_good(bed: &Bed) -> Result<()> {
    let namespace = bed.namespace("bad-beside-good")?;
    bed.policy(&namespace, "broken", "targetRef: {kind: Deployment, name: checkout}\nmetrics: {source: nowhere}")?;
    bed.until(&namespace, "broken", "refused", |policy| is(policy, "Accepted", "False", "Invalid"))?;
    bed.tools.apply(&deployment(&namespace))?;
    bed.rolled_out(&namespace, "deploy/checkout")?;
    // The broken one is older and names the same target; it does not stand in the way.
    bed.policy(&namespace, "checkout", TARGET)?;
    bed.until(&namespace, "checkout", "adopted", adopted).map(drop)
}

pub(crate) fn overlap(bed: &Bed) -> Result<()> {
    let namespace = bed.namespace("overlap")?;
    bed.tools.apply(&deployment(&namespace))?;
    bed.rolled_out(&namespace, "deploy/checkout")?;
    bed.policy(&namespace, "a-older", TARGET)?;
    bed.until(&namespace, "a-older", "adopted", adopted)?;
    bed.policy(&namespace, "b-newer", "selector: {matchLabels: {app: checkout}}")?;
    let policy =
        bed.until(&namespace, "b-newer", "overridden", |policy| is(policy, "Enforced", "False", "Overridden"))?;
    let (_, _, message) = condition(&policy, "Enforced").context("just seen")?;
    ensure!(message.contains("a-older") && message.contains("checkout"), "{message}");
    // It takes over when the older one goes.
    bed.tools.kubectl(&["-n", &namespace, "delete", "rbp", "a-older"])?;
    bed.until(&namespace, "b-newer", "in force", |policy| is(policy, "Enforced", "True", "Enforced") && adopted(policy))
        .map(drop)
}

pub(crate) fn corrected(bed: &Bed) -> Result<()> {
    let namespace = bed.namespace("corrected")?;
    bed.tools.apply(&deployment(&namespace))?;
    bed.rolled_out(&namespace, "deploy/checkout")?;
    bed.policy(&namespace, "checkout", TARGET)?;
    bed.until(&namespace, "checkout", "adopted", adopted)?;
    bed.policy(&namespace, "checkout", &format!("{TARGET}\nmetrics: {{source: thanos}}"))?;
    let policy = bed.until(&namespace, "checkout", "refused", |policy| is(policy, "Accepted", "False", "Invalid"))?;
    ensure!(adopted(&policy), "a typo made it forget the known good revision");
    bed.policy(&namespace, "checkout", &format!("{TARGET}\nmetrics: {{source: main}}"))?;
    bed.until(&namespace, "checkout", "in force again", |policy| {
        is(policy, "Accepted", "True", "Accepted") && adopted(policy)
    })
    .map(drop)
}

/// The whole loop without a node: a crash loop is seen in the pods, undone, and verified by the pods.
pub(crate) fn crash_loop(bed: &Bed) -> Result<()> {
    undone_in(bed, "crash-loop")
}

/// The same in a namespace of this name.
pub(crate) fn undone_in(bed: &Bed, namespace: &str) -> Result<()> {
    let namespace = bed.namespace(namespace)?;
    bed.tools.apply(&deployment(&namespace))?;
    bed.rolled_out(&namespace, "deploy/checkout")?;
    bed.adopted(&namespace, "Deployment", "checkout", "rollback: {verify: {duration: 2s}}")?;
    bed.tools.apply(&crashing(&namespace)?)?;
    bed.undone(&namespace, "checkout")?;
    let image =
        ["-n", &namespace, "get", "deploy", "checkout", "-o", "jsonpath={.spec.template.spec.containers[0].image}"];
    let image = bed.tools.kubectl(&image)?;
    ensure!(image == "shop/checkout:v1", "{image}");
    Ok(())
}

/// As in the tutorial: no more is written than what is meant.
pub(crate) fn by_hand(bed: &Bed) -> Result<()> {
    let namespace = bed.namespace("by-hand")?;
    let rollout = ["-n", &namespace, "rollout", "status", "deploy/checkout", "--timeout=60s"];
    for version in ["v1", "v2"] {
        bed.tools.apply(&deployment(&namespace).replace("checkout:v1", &format!("checkout:{version}")))?;
        bed.tools.kubectl(&rollout)?;
    }
    let example = std::fs::read_to_string(tools::repository().join("examples/rollback-by-hand.yaml"))?;
    let example = example.replace("namespace: shop", &format!("namespace: {namespace}"));
    let quickly = "spec:\n  verify: {duration: 2s, interval: 1s, minimumRequests: 1}\n";
    bed.tools.kubectl_with(&["create", "-f", "-"], &example.replace("spec:\n", quickly))?;
    let records = ["-n", &namespace, "wait", "rollback", "--all", "--for=condition=Ready", "--timeout=60s"];
    bed.tools.kubectl(&records)?;
    let table = bed.tools.kubectl(&["-n", &namespace, "get", "rollbacks"])?;
    ensure!(table.contains("Succeeded") && table.contains("Verified"), "{table}");
    ensure!(table.lines().all(|line| line.trim_end().len() <= 80), "wider than 80 columns:\n{table}");
    let wide = bed.tools.kubectl(&["-n", &namespace, "get", "rollbacks", "-o", "wide"])?;
    ensure!(wide.contains("shop/checkout:v2 (") && wide.contains("shop/checkout:v1 ("), "{wide}");
    // What it was found to mean is as fixed as what was asked.
    let name = bed.tools.kubectl(&["-n", &namespace, "get", "rollbacks", "-o", "name"])?;
    let patch = r#"{"status":{"resolved":{"uid":"another"}}}"#;
    let patch = [
        "-n",
        &namespace,
        "patch",
        name.trim(),
        "--subresource=status",
        "--type=merge",
        "--dry-run=server",
        "-p",
        patch,
    ];
    let said = bed.tools.kubectl(&patch).err().context("what it means was changed")?;
    ensure!(format!("{said:#}").contains("what the order means was already found out"), "{said:#}");
    let image =
        ["-n", &namespace, "get", "deploy", "checkout", "-o", "jsonpath={.spec.template.spec.containers[0].image}"];
    let image = bed.tools.kubectl(&image)?;
    ensure!(image == "shop/checkout:v1", "{image}");
    Ok(())
}
