//! Every transition of a `Rollback`, and every point at which the process may die.

mod hand_back;
mod jobs;
mod surge;
mod undo;
mod verify;

use crate::support::*;
use snapback_core::ownership::Owner;
use snapback_core::rollback::{Progress, Step, step, undo_accepted};
use snapback_core::workload::Workload;

fn look(progress: &Progress, workload: &Workload, second: i64) -> Step {
    step(&order(), progress, Some(workload), None, at(second))
}

/// The undo was accepted at second 2.
fn undone() -> Progress {
    let asked = look(&Progress::default(), &complete_v2(), 1);
    undo_accepted(asked, &order(), at(2)).progress
}

/// `v1` runs again, as revision 3.
fn back() -> Workload {
    workload("v1", vec![revision("v1", 3, 3, 3), revision("v2", 2, 0, 0)])
}

fn owned(workload: Workload) -> Workload {
    let owner = Owner {
        manager: "helm".into(),
        operation: "Apply".into(),
        api_version: "apps/v1".into(),
        fields: serde_json::json!({"f:spec": {"f:template": {}}}),
    };
    Workload { owners: vec![owner], ..workload }
}
