//! Every way in which a hold begins, is kept, and ends.
#![allow(clippy::needless_pass_by_value, reason = "tests")]

mod beginning;
mod chance;
mod ending;
mod helm_releases;
mod trials;

use crate::support::*;
use snapback_core::fingerprint::Fingerprint;
use snapback_core::gitops::{
    Application, Deliverer, Hold, Kustomization, Look, Mark, Plan, Scene, Tended, Tool, ToolKind, begin, plan, tend,
};
use snapback_core::notice::Reason;
use snapback_core::rollback::{Progress, Step, step};

pub(super) fn tool(kind: ToolKind) -> Tool {
    Tool { kind, namespace: Some("flux".into()), name: "apps".into() }
}

pub(super) fn kustomization(revision: &str) -> Kustomization {
    Kustomization {
        delivers: true,
        attempted: Some(revision.into()),
        applied: Some(revision.into()),
        digest: Some(format!("digest of {revision}")),
        ready: true,
        ..Kustomization::default()
    }
}

pub(super) fn application(revision: &str) -> Application {
    Application {
        heals: true,
        settled: true,
        synced: true,
        compared: Some(revision.into()),
        applied: Some(revision.into()),
        delivers: true,
        ..Application::default()
    }
}

pub(super) fn held_application(revision: &str) -> Application {
    Application { heals: false, is_off: true, held_by: vec!["shop/one".into()], ..application(revision) }
}

pub(super) fn planned(kind: ToolKind, look: &Look) -> Plan {
    plan(&[Deliverer::Tool(tool(kind))], Some(look))
}

/// The step that would undo, with its hold.
pub(super) fn first(plan: &Plan, progress: &Progress, second: i64) -> Step {
    let next = step(&order(), progress, Some(&complete_v2()), None, at(second));
    begin(&order(), progress, next, plan, at(second))
}

pub(super) fn reasons(notices: &[snapback_core::notice::Notice]) -> Vec<Reason> {
    notices.iter().map(|notice| notice.reason).collect()
}

pub(super) fn hold(kind: ToolKind) -> Hold {
    Hold {
        tool: tool(kind),
        requested: at(1),
        placed: Some(at(2)),
        mark: Mark { revision: Some("v2".into()), digest: Some("digest of v2".into()) },
        tried: None,
        because: None,
        ended: None,
    }
}

pub(super) struct Stage {
    pub(super) bad: Vec<Fingerprint>,
    pub(super) good: Fingerprint,
    pub(super) live: Fingerprint,
}

impl Stage {
    pub(super) fn live(name: &str) -> Self {
        Self { bad: vec![version("v2")], good: version("v1"), live: version(name) }
    }

    pub(super) fn scene(&self) -> Scene<'_> {
        Scene {
            bad: &self.bad,
            good: &self.good,
            live: Some(&self.live),
            trial: None,
            is_labelled: true,
            record: "shop/one",
            unwanted: None,
            is_back: true,
            is_over: true,
            is_deleted: false,
            leads: true,
        }
    }
}

pub(super) fn tended(kind: ToolKind, look: Look, scene: &Scene) -> Tended {
    tend(&hold(kind), &look, scene, at(100))
}

pub(super) fn flux(look: Kustomization, scene: &Scene) -> Tended {
    tended(ToolKind::Kustomization, Look::Kustomization(look), scene)
}

pub(super) fn argo(look: Application, scene: &Scene) -> Tended {
    tended(ToolKind::Application, Look::Application(look), scene)
}
