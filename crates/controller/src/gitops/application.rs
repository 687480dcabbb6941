//! Switching self-heal of an Argo CD Application off, and on again.

use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use snapback_core::gitops::{HELD_BY, REFRESH, Tool, holders};

use super::look::tools;
use crate::FIELD_MANAGER;
use crate::config::GitOpsConfig;
use crate::error::report;
use crate::workload::REQUEST_TIMEOUT;

/// How often a lost race is run again at once: Argo CD writes the status of an Application often.
const TRIES: usize = 8;

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// It is so.
    Done,
    /// It was not let in: why.
    Refused(String),
    /// Nobody knows: why.
    Unknown(String),
}

/// Switches self-heal off, notes that this record holds it, and asks Argo CD to look: only then has it seen that.
pub async fn hold(client: &Client, config: &GitOpsConfig, tool: &Tool, record: &str) -> Placed {
    change(client, config, tool, To::Hold, record).await
}

/// Notes that this record does not hold it any more, and switches self-heal on when it was the last: also where somebody has
/// taken the note off. That it is ours to switch on was decided before.
pub async fn heal(client: &Client, config: &GitOpsConfig, tool: &Tool, record: &str) -> Placed {
    change(client, config, tool, To::Heal, record).await
}

/// What a change is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    Hold,
    Heal,
}

/// Field and annotation change in one patch, on the very version that was read: nobody ever sees the one without the other.
async fn change(client: &Client, config: &GitOpsConfig, tool: &Tool, to: To, record: &str) -> Placed {
    let applications = tools(client, config, tool);
    let mut lost = String::new();
    for _ in 0..TRIES {
        let live = match tokio::time::timeout(REQUEST_TIMEOUT, applications.get_opt(&tool.name)).await {
            Ok(Ok(Some(live))) => serde_json::to_value(live).unwrap_or_default(),
            Ok(Ok(None)) => return Placed::Refused("it is gone".to_owned()),
            Ok(Err(error)) => return failed(&error),
            Err(_) => return Placed::Unknown(format!("no answer within {REQUEST_TIMEOUT:?}")),
        };
        let Some(body) = body(&live, to, record) else { return Placed::Done };
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match tokio::time::timeout(REQUEST_TIMEOUT, applications.patch(&tool.name, &params, &Patch::Merge(body))).await
        {
            Ok(Ok(_)) => return Placed::Done,
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => lost.clone_from(&status.message),
            Ok(Err(error)) => return failed(&error),
            Err(_) => return Placed::Unknown(format!("no answer within {REQUEST_TIMEOUT:?}")),
        }
    }
    Placed::Unknown(format!("{TRIES} tries lost a race: {lost}"))
}

/// The patch; `None` when it is so already.
fn body(live: &Value, to: To, record: &str) -> Option<Value> {
    let before = holders(live);
    let mut after = before.clone();
    after.retain(|one| one != record);
    if to == To::Hold {
        after.push(record.to_owned());
    }
    after.sort();
    // What somebody else switched on since, or automated no more, is theirs. Argo CD drops a `false` when it writes the object.
    let automated = &live["spec"]["syncPolicy"]["automated"];
    let heals = automated["selfHeal"] == true;
    let is_ours = automated.is_object()
        && match to {
            To::Hold => heals,
            To::Heal => after.is_empty() && !heals,
        };
    if before == after && !is_ours {
        return None;
    }
    let annotation = if after.is_empty() { Value::Null } else { json!(after.join(",")) };
    let mut body = json!({"metadata": {
        "resourceVersion": live["metadata"]["resourceVersion"],
        "annotations": {HELD_BY: annotation}
    }});
    if to == To::Hold && is_ours {
        body["metadata"]["annotations"][REFRESH] = json!("normal");
    }
    if is_ours {
        body["spec"] = json!({"syncPolicy": {"automated": {"selfHeal": to == To::Heal}}});
    }
    Some(body)
}

fn failed(error: &kube::Error) -> Placed {
    match error {
        kube::Error::Api(status) if matches!(status.code, 400 | 403 | 404 | 422) => {
            Placed::Refused(snapback_api::conditions::cut(&status.message, 512))
        }
        other => Placed::Unknown(report(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn application(heals: bool, holders: &[&str]) -> Value {
        let mut live = json!({
            "metadata": {"resourceVersion": "7"},
            "spec": {"syncPolicy": {"automated": {"selfHeal": heals}}}
        });
        if !holders.is_empty() {
            live["metadata"]["annotations"] = json!({HELD_BY: holders.join(",")});
        }
        live
    }

    fn held(live: &Value, record: &str) -> Option<Value> {
        body(live, To::Hold, record)
    }

    fn healed(live: &Value, record: &str) -> Option<Value> {
        body(live, To::Heal, record)
    }

    #[test]
    fn the_first_switches_off_and_the_last_switches_on() {
        let first = held(&application(true, &[]), "shop/b").unwrap();
        assert_eq!(first["spec"]["syncPolicy"]["automated"]["selfHeal"], false);
        assert_eq!(first["metadata"]["annotations"][HELD_BY], "shop/b");
        let second = held(&application(false, &["shop/b"]), "shop/a").unwrap();
        assert_eq!(second["spec"], Value::Null);
        assert_eq!(second["metadata"]["annotations"][HELD_BY], "shop/a,shop/b");
        let left = healed(&application(false, &["shop/a", "shop/b"]), "shop/b").unwrap();
        assert_eq!((&left["spec"], &left["metadata"]["annotations"][HELD_BY]), (&Value::Null, &json!("shop/a")));
        let last = healed(&application(false, &["shop/a"]), "shop/a").unwrap();
        assert_eq!(last["spec"]["syncPolicy"]["automated"]["selfHeal"], true);
        assert_eq!(last["metadata"]["annotations"][HELD_BY], Value::Null);
        assert_eq!(last["metadata"]["resourceVersion"], "7");
    }

    #[test]
    fn what_is_so_is_not_written_again() {
        assert_eq!(held(&application(false, &["shop/a"]), "shop/a"), None);
        assert_eq!(healed(&application(true, &[]), "shop/a"), None);
    }

    #[test]
    fn one_whose_note_is_gone_is_switched_on() {
        let last = healed(&application(false, &[]), "shop/a").unwrap();
        assert_eq!(last["spec"]["syncPolicy"]["automated"]["selfHeal"], true);
    }

    #[test]
    fn a_switch_that_argo_cd_dropped_is_off() {
        let mut live = application(false, &["shop/a"]);
        live["spec"]["syncPolicy"]["automated"] = json!({"prune": true});
        let last = healed(&live, "shop/a").unwrap();
        assert_eq!(last["spec"]["syncPolicy"]["automated"]["selfHeal"], true);
        live["spec"]["syncPolicy"] = json!({});
        assert_eq!(healed(&live, "shop/a").unwrap()["spec"], Value::Null, "it is automated no more");
    }

    #[test]
    fn what_somebody_switched_on_again_stays_on_when_the_hold_ends() {
        let over = healed(&application(true, &["shop/a"]), "shop/a").unwrap();
        assert_eq!((&over["spec"], &over["metadata"]["annotations"][HELD_BY]), (&Value::Null, &Value::Null));
        let over = healed(&application(true, &["shop/a", "shop/b"]), "shop/b").unwrap();
        assert_eq!((&over["spec"], &over["metadata"]["annotations"][HELD_BY]), (&Value::Null, &json!("shop/a")));
    }
}
