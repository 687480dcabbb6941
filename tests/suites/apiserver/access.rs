//! Who may do what: the roles of people, and an approval that names the one who gives it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use snapback_api::v1alpha1::{Rollback, RollbackPhase};
use snapback_tests::tools;

use crate::bed::Bed;
use crate::operator::{TARGET, adopted, crashing, deployment};

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";
pub(crate) const OPERATOR: &str = "system:serviceaccount:snapback-system:snapback";

/// Tries until it succeeds: rights and admission policies reach the API server's caches a moment after they are stored.
pub(crate) fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(error) if Instant::now() > deadline => return Err(error.context(format!("waited 60 s for {what}"))),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

/// A Rollback that asks a person; `more` is further YAML of its spec.
pub(crate) fn asking(namespace: &str, trigger: &str, more: &str) -> String {
    // One of long ago would be deleted as soon as it has ended.
    let now = jiff::Timestamp::now();
    format!(
        r#"apiVersion: snapback.dev/v1alpha1
kind: Rollback
metadata: {{name: asking, namespace: {namespace}}}
spec:
  target: {{kind: Deployment, name: nobody, uid: 0a1b2c}}
  from: {{fingerprint: aaaa, images: ["shop:v2"]}}
  to: {{fingerprint: bbbb, images: ["shop:v1"]}}
  trigger: {{type: {trigger}}}
  requireApproval: true
  decidedAt: "{now}"
  deadline: 10m
  verify: {{duration: 2m, interval: 30s, minimumRequests: 50}}
  {more}
"#
    )
}

fn create_as(bed: &Bed, user: &str, manifest: &str) -> Result<String> {
    bed.tools.kubectl_with(&["--as", user, "create", "--dry-run=server", "-f", "-"], manifest)
}

fn approve_as(bed: &Bed, namespace: &str, user: &str, approval: &Value) -> Result<String> {
    let patch = json!({"spec": {"approval": approval}}).to_string();
    bed.tools.kubectl(&["-n", namespace, "--as", user, "patch", "rollback", "asking", "--type=merge", "-p", &patch])
}

pub(crate) fn bind(bed: &Bed, namespace: &str, role: &str, user: &str) -> Result<()> {
    let role_flag = format!("--clusterrole={role}");
    let name = format!("{role}-{}", user.replace([':', '@'], "-"));
    bed.tools
        .kubectl(&["-n", namespace, "create", "rolebinding", &name, &role_flag, &format!("--user={user}")])
        .map(drop)
}

fn bind_approver(bed: &Bed, namespace: &str, user: &str) -> Result<()> {
    bind(bed, namespace, "snapback-approver", user)?;
    let asked = ["-n", namespace, "--as", user, "auth", "can-i", "patch", "rollbacks.snapback.dev"];
    eventually("the approver's right", || bed.tools.kubectl(&asked)).map(drop)
}

/// Waits until the admission policy is in force: until it refuses what it must refuse.
fn in_force(bed: &Bed) -> Result<()> {
    eventually("the admission policy", || {
        let said = bed.refusal(&asking("default", "Policy", ""))?;
        ensure!(said.contains("spec.trigger.type must be Manual"), "{said}");
        Ok(())
    })
}

pub(crate) fn refused(result: Result<String>, words: &str) -> Result<()> {
    let said = format!("{:#}", result.err().with_context(|| format!("it was accepted, not refused with {words:?}"))?);
    ensure!(said.contains(words), "{words:?} is not in {said}");
    Ok(())
}

pub(crate) fn approval(bed: &Bed) -> Result<()> {
    in_force(bed)?;
    let namespace = bed.namespace("access-approval")?;
    for user in [ADA, BOB] {
        bind_approver(bed, &namespace, user)?;
    }
    bed.tools.apply(&asking(&namespace, "Manual", ""))?;
    let ada = |approval: Value| approve_as(bed, &namespace, ADA, &approval);
    let names_her = r#"spec.approval must name you: set spec.approval.by to "ada@example.com""#;
    refused(ada(json!({"decision": "Approved", "by": BOB})), names_her)?;
    refused(ada(json!({"decision": "Rejected", "by": BOB})), names_her)?;
    refused(ada(json!({"decision": "Approved"})), names_her)?;
    refused(ada(json!({"decision": "Approved", "by": ""})), names_her)?;
    ada(json!({"decision": "Approved", "by": ADA, "reason": "errors are real"}))?;
    // What she said stands, and does not stand in the way of others.
    let annotate = ["-n", &namespace, "--as", BOB, "annotate", "rollback", "asking", "seen=yes"];
    bed.tools.kubectl(&annotate)?;
    refused(approve_as(bed, &namespace, BOB, &json!({"decision": "Approved", "by": BOB})), "was already given")?;
    let by = ["-n", &namespace, "get", "rollback", "asking", "-o", "jsonpath={.spec.approval.by}"];
    ensure!(bed.tools.kubectl(&by)? == ADA, "the record names somebody else");
    // Nor may one be created with another's word.
    let born = asking(&namespace, "Manual", &format!("approval: {{decision: Approved, by: {BOB}}}"));
    refused(bed.tools.kubectl_with(&["create", "--dry-run=server", "-f", "-"], &born), "must name you")
}

pub(crate) fn operator_approves_nothing(bed: &Bed) -> Result<()> {
    in_force(bed)?;
    let namespace = bed.namespace("access-operator")?;
    let of_a_person = "spec.approval must be the word of a person";
    let approval = format!("approval: {{decision: Approved, by: \"{OPERATOR}\"}}");
    create_as(bed, OPERATOR, &asking(&namespace, "Policy", ""))?;
    refused(create_as(bed, OPERATOR, &asking(&namespace, "Policy", &approval)), of_a_person)?;
    bed.tools.apply(&asking(&namespace, "Manual", ""))?;
    let word = || approve_as(bed, &namespace, OPERATOR, &json!({"decision": "Approved", "by": OPERATOR}));
    refused(word(), "cannot patch")?;
    // Not even with the right to.
    bind_approver(bed, &namespace, OPERATOR)?;
    refused(word(), of_a_person)
}

pub(crate) fn policy_decides(bed: &Bed) -> Result<()> {
    in_force(bed)?;
    let namespace = bed.namespace("access-trigger")?;
    let manual = "spec.trigger.type must be Manual: only the operator creates Rollbacks of other types";
    let create = |trigger: &str| create_as(bed, ADA, &asking(&namespace, trigger, ""));
    bind(bed, &namespace, "snapback-operator", ADA)?;
    eventually("the right to create", || create("Manual"))?;
    refused(create("Policy"), manual)?;
    refused(create("Quarantine"), manual)?;
    create_as(bed, OPERATOR, &asking(&namespace, "Policy", "")).map(drop)
}

/// The admission policy of an operator with one namespace leaves other operators' namespaces alone.
pub(crate) fn confined(bed: &Bed) -> Result<()> {
    in_force(bed)?;
    let namespace = bed.namespace("access-confined")?;
    let chart = tools::repository().join("charts/snapback").to_string_lossy().into_owned();
    let render = ["template", "other", &chart, "--namespace=other-system", "--show-only=templates/admission.yaml"];
    let watched = format!("--set=config.watchNamespaces={{{namespace}}}");
    let policy = bed.tools.helm(&[&render[..], &[&watched]].concat())?;
    bed.tools.apply(&policy)?;
    let inside = eventually("the other admission policy", || {
        refused(create_as(bed, OPERATOR, &asking(&namespace, "Policy", "")), "'other-snapback-rollbacks'")
    });
    let outside = create_as(bed, OPERATOR, &asking("default", "Policy", ""));
    bed.tools.kubectl_with(&["delete", "-f", "-"], &policy)?;
    inside.and(outside.map(drop))
}

/// What the API server's own reading of the expressions, with the schema at hand, finds: nothing.
pub(crate) fn type_checked(bed: &Bed) -> Result<()> {
    let kind = "validatingadmissionpolicies";
    let policy = |name: &str| bed.tools.kubectl(&["get", kind, name, "-o", "json"]);
    let warnings = |policy: &str, name: &str, change: (&str, &str)| -> Result<Value> {
        let spec: Value = serde_json::from_str::<Value>(&policy.replace(change.0, change.1))?["spec"].take();
        let copy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": spec,
        });
        bed.tools.apply(&copy.to_string())?;
        let checked = eventually("type checking", || {
            let read: Value = serde_json::from_str(&bed.tools.kubectl(&["get", kind, name, "-o", "json"])?)?;
            ensure!(read["status"]["observedGeneration"] == read["metadata"]["generation"], "{}", read["status"]);
            Ok(read["status"]["typeChecking"]["expressionWarnings"].clone())
        });
        bed.tools.kubectl(&["delete", kind, name])?;
        checked
    };
    // The controller learns of new kinds with a delay, and knows nothing wrong of a kind that it does not know.
    let rollbacks = policy("snapback-rollbacks")?;
    eventually("a warning of a misspelt field", || {
        let warned = warnings(&rollbacks, "access-misspelt", ("approval.by", "approval.buy"))?;
        ensure!(warned.to_string().contains("undefined field 'buy'"), "{warned}");
        Ok(())
    })?;
    for part in ["rollbacks", "deployments", "statefulsets", "daemonsets", "own"] {
        let warned = warnings(&policy(&format!("snapback-{part}"))?, &format!("access-{part}"), ("", ""))?;
        ensure!(warned.is_null(), "{part}: {warned:#}");
    }
    Ok(())
}

/// What people do.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Deed {
    Look,
    Approve,
    RollBack,
    DeleteRecord,
    AddPolicy,
    ChangePolicy,
    DeletePolicy,
}

impl Deed {
    const ALL: [Self; 7] = [
        Self::Look,
        Self::Approve,
        Self::RollBack,
        Self::DeleteRecord,
        Self::AddPolicy,
        Self::ChangePolicy,
        Self::DeletePolicy,
    ];

    /// Tries it, and leaves nothing behind.
    fn attempt(self, bed: &Bed, namespace: &str, user: &str) -> Result<String> {
        let ask = |arguments: &[&str]| bed.tools.kubectl(&[&["-n", namespace, "--as", user], arguments].concat());
        let dry = "--dry-run=server";
        match self {
            Self::Look => ask(&["get", "rbp,rollbacks"]),
            Self::Approve => {
                let patch = json!({"spec": {"approval": {"decision": "Approved", "by": user}}}).to_string();
                ask(&["patch", "rollback", "asking", dry, "--type=merge", "-p", &patch])
            }
            Self::RollBack => {
                let manifest = asking(namespace, "Manual", "").replace("name: asking", "name: another");
                create_as(bed, user, &manifest)
            }
            Self::DeleteRecord => ask(&["delete", "rollback", "asking", dry]),
            Self::AddPolicy => create_as(bed, user, &crate::bed::policy(namespace, "another", TARGET)),
            Self::ChangePolicy => {
                ask(&["patch", "rbp", "checkout", dry, "--type=merge", "-p", r#"{"spec":{"suspend":true}}"#])
            }
            Self::DeletePolicy => ask(&["delete", "rbp", "checkout", dry]),
        }
    }
}

const OPERATING: [Deed; 6] =
    [Deed::Look, Deed::RollBack, Deed::DeleteRecord, Deed::AddPolicy, Deed::ChangePolicy, Deed::DeletePolicy];

/// Each may do what is listed, and is refused everything else by the authorizer.
fn rights(bed: &Bed, namespace: &str, roles: &[(&str, &[Deed])]) -> Result<()> {
    bed.tools.apply(&asking(namespace, "Manual", ""))?;
    bed.policy(namespace, "checkout", TARGET)?;
    let user = |role: &str| format!("{role}@example.com");
    for (role, may) in roles {
        bind(bed, namespace, role, &user(role))?;
        for deed in *may {
            eventually(&format!("{role}: {deed:?}"), || deed.attempt(bed, namespace, &user(role)))?;
        }
    }
    for (role, may) in roles {
        for deed in Deed::ALL.into_iter().filter(|deed| !may.contains(deed)) {
            let words = format!("User \"{}\" cannot", user(role));
            refused(deed.attempt(bed, namespace, &user(role)), &words).with_context(|| format!("{role}: {deed:?}"))?;
        }
    }
    Ok(())
}

pub(crate) fn roles(bed: &Bed) -> Result<()> {
    let namespace = bed.namespace("access-roles")?;
    let roles: [(&str, &[Deed]); 3] = [
        ("snapback-viewer", &[Deed::Look]),
        ("snapback-approver", &[Deed::Look, Deed::Approve]),
        ("snapback-operator", &OPERATING),
    ];
    rights(bed, &namespace, &roles)
}

/// The built-in roles hold ours.
pub(crate) fn aggregated(bed: &Bed) -> Result<()> {
    let namespace = bed.namespace("access-aggregated")?;
    let roles: [(&str, &[Deed]); 3] =
        [("admin", &Deed::ALL), ("edit", &[Deed::Look, Deed::Approve]), ("view", &[Deed::Look])];
    rights(bed, &namespace, &roles)
}

/// The command in a waiting Rollback's message does it, pasted as it is, for whoever may approve.
pub(crate) fn printed_command(bed: &Bed) -> Result<()> {
    in_force(bed)?;
    let namespace = bed.namespace("access-command")?;
    bind_approver(bed, &namespace, ADA)?;
    bed.tools.apply(&deployment(&namespace))?;
    bed.rolled_out(&namespace, "deploy/checkout")?;
    let checks = "checks: [{name: crashes, crashRate: {max: \"50%\"}}]";
    let rules = "mode: Approve\nsoak: {duration: 10s, interval: 1s}\nrollback: {verify: {duration: 2s}}";
    bed.policy(&namespace, "checkout", &format!("{TARGET}\n{checks}\n{rules}"))?;
    bed.until(&namespace, "checkout", "adopted", adopted)?;
    bed.tools.apply(&crashing(&namespace)?)?;
    let rollbacks: Api<Rollback> = Api::namespaced(bed.client.clone(), &namespace);
    let is = |wanted: RollbackPhase| {
        eventually(&format!("{wanted:?}"), || {
            let found = bed.wait(rollbacks.list(&ListParams::default()))?.items.pop().context("no Rollback")?;
            let status = found.status.clone().unwrap_or_default();
            if status.phase == Some(wanted) { Ok((found, status.message)) } else { bail!("{status:?}") }
        })
    };
    let (_, message) = is(RollbackPhase::AwaitingApproval)?;
    let (_, command) = message.split_once("To approve (or Rejected): ").with_context(|| message.clone())?;
    bed.tools.paste(command, ADA)?;
    let (record, _) = is(RollbackPhase::Succeeded)?;
    let by = record.spec.approval.and_then(|approval| approval.by);
    ensure!(by.as_deref() == Some(ADA), "the record names {by:?}");
    Ok(())
}

/// With its own values the chart gives no right to Secrets; with `restore.secrets` those that keeping copies takes.
pub(crate) fn secrets(bed: &Bed) -> Result<()> {
    let verbs = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
    let namespace = bed.namespace("access-secrets")?;
    for (name, value, granted) in
        [("plain", "false", &[][..]), ("keeping", "true", &["get", "list", "create", "delete"])]
    {
        let objects = crate::manifests::chart_objects(bed, &[&format!("--set=restore.secrets={value}")])?;
        let feature = format!("secretsInConfigRestore: {value}");
        ensure!(objects.contains(&feature), "restore.secrets does not set the feature: no {feature}");
        // The rules alone, for a user of this test's own.
        let mut roles = objects.split("\n---\n").filter(|object| object.contains("\nkind: ClusterRole\n"));
        let role =
            roles.find(|role| role.contains("\n  name: snapback\n")).context("no ClusterRole of the operator")?;
        bed.tools.apply(&role.replace("\n  name: snapback\n", &format!("\n  name: access-secrets-{name}\n")))?;
        let user = format!("{name}@example.com");
        bind(bed, &namespace, &format!("access-secrets-{name}"), &user)?;
        let may = |verb: &str, what: &str| {
            bed.tools.kubectl(&["-n", &namespace, "--as", &user, "auth", "can-i", verb, what]).is_ok()
        };
        eventually("the role", || if may("get", "configmaps") { Ok(()) } else { bail!("{user} may not") })?;
        let found: Vec<&str> = verbs.into_iter().filter(|verb| may(verb, "secrets")).collect();
        ensure!(
            found.iter().all(|verb| granted.contains(verb)) && found.len() == granted.len(),
            "{name} may {found:?}"
        );
    }
    Ok(())
}
