//! Parsing a record.

use jiff::Timestamp;
use kube::ResourceExt;
use snapback_api::conditions::cut;
use snapback_api::convert::probes;
use snapback_api::v1alpha1::{
    ApprovalDecision, ConfigModeName, FieldOwner, HeldKind, HoldStatus, JobStatus, Rollback, RollbackPhase, SpeedName,
    TriggerType, VerdictName,
};
use snapback_core::duration;
use snapback_core::gitops::{Hold, Mark, Tool, ToolKind};
use snapback_core::ids::{PodUid, WorkloadUid};
use snapback_core::jobs::{Purpose, job_name};
use snapback_core::ownership::Owner;
use snapback_core::policy::ConfigMode;
use snapback_core::rollback::{
    Act, Approval, JobRun, Order, Phase, PlannedJob, PlannedJobs, Progress, Step, Stuck, amount_from_text,
};

use super::read;
use crate::status::{restoration, revision_ref};

/// The order, and what has happened so far.
///
/// # Errors
/// What the record says that cannot be meant.
pub fn guard(rollback: &Rollback) -> Result<(Order, Progress), String> {
    let spec = &rollback.spec;
    let verify = rollback.verify();
    let ordered = rollback.ordered().ok_or("spec must have target.uid, from and to")?;
    let field = |name: &str, text: &str| duration::parse(text).map_err(|error| format!("spec.{name} {error}"));
    let approval = spec.approval.as_ref().map(|approval| match approval.decision {
        ApprovalDecision::Approved => Approval::Approved,
        ApprovalDecision::Rejected => Approval::Rejected { by: approval.by.clone(), reason: approval.reason.clone() },
    });
    let order = Order {
        uid: WorkloadUid::new(ordered.uid),
        from: revision_ref(ordered.from),
        to: revision_ref(ordered.to),
        needs_approval: spec.require_approval.unwrap_or(false),
        ask: spec.approval_reason.clone(),
        cause: cause(rollback),
        handle: format!("-n {} rollback {}", rollback.namespace().unwrap_or_default(), rollback.name_any()),
        approval,
        withdrawn: None,
        rival: None,
        config: match spec.config {
            Some(ConfigModeName::Restore) => ConfigMode::Restore,
            Some(ConfigModeName::Warn) => ConfigMode::Warn,
            Some(ConfigModeName::Ignore) | None => ConfigMode::Ignore,
        },
        fast: spec.speed == Some(SpeedName::Fast),
        decided: rollback.decided_at().0,
        approval_timeout: spec.approval_timeout.as_deref().map(|text| field("approvalTimeout", text)).transpose()?,
        deadline: field("deadline", rollback.deadline())?,
        verify: field("verify.duration", &verify.duration)?,
        probes: probes("spec.verify.http", &verify.http).map_err(|error| error.to_string())?,
        jobs: jobs(rollback),
    };
    if order.from.fingerprint == order.to.fingerprint {
        return Err("spec.to must be another revision than spec.from".to_owned());
    }
    let status = rollback.status.clone().unwrap_or_default();
    let times = &status.timeline;
    let progress = Progress {
        phase: status.phase.map(phase),
        approved: read(times.approved_at.as_ref()),
        migration: status.migration.as_ref().map(job),
        helm: status.helm.as_ref().map(job),
        hold: status.hold.as_ref().map(hold),
        undo_requested: read(times.undo_requested_at.as_ref()),
        number_at_request: status.revision_at_request,
        generation_at_request: status.generation_at_request,
        owners: status.owners.iter().map(owner).collect(),
        surge: status.original_max_surge.as_deref().map(amount_from_text),
        config: status.config.as_ref().map(restoration),
        surge_restored: read(times.surge_restored_at.as_ref()),
        handed_back: read(times.handed_back_at.as_ref()),
        refused: status.refusal.clone(),
        deleted: status
            .deleted_pods
            .iter()
            .map(|pod| Stuck { name: pod.name.clone(), uid: PodUid::new(pod.uid.clone()) })
            .collect(),
        undo_accepted: read(times.undo_accepted_at.as_ref()),
        rolled_out: read(times.rolled_out_at.as_ref()),
        recovered: read(times.recovered_at.as_ref()),
        ended: read(times.ended_at.as_ref()),
    };
    Ok((order, progress))
}

/// Longest text of what is wrong: a message must have room for the command that answers it.
const LONGEST_CAUSE: usize = 320;

/// What is wrong, in the words of the checks that decided. Of what came back: what was wrong with it before.
fn cause(rollback: &Rollback) -> Option<String> {
    let spec = &rollback.spec;
    let breached = spec.evidence.iter().filter(|check| check.verdict == VerdictName::Breached);
    let said: Vec<String> = breached.map(|check| format!("{}: {}", check.name, check.message)).collect();
    let said = if said.is_empty() { spec.trigger.checks.join(", ") } else { said.join("; ") };
    let text = match &spec.trigger.previous {
        Some(previous) if spec.trigger.type_ == TriggerType::Quarantine => {
            format!("it was undone before, by Rollback {previous} ({said}), and is back")
        }
        _ => said,
    };
    (!text.is_empty()).then(|| cut(&text, LONGEST_CAUSE))
}

fn jobs(rollback: &Rollback) -> PlannedJobs {
    let spec = rollback.jobs().cloned().unwrap_or_default();
    let planned = |template: String, purpose| {
        let job = job_name(&rollback.name_any(), &rollback.uid().unwrap_or_default(), purpose);
        let handle = format!("-n {} job/{job}", rollback.namespace().unwrap_or_default());
        PlannedJob { template, job, handle }
    };
    PlannedJobs {
        migration: spec.migration.map(|template| planned(template, Purpose::Migration)),
        helm: spec.helm.map(|template| planned(template, Purpose::Helm)),
    }
}

fn job(status: &JobStatus) -> JobRun {
    JobRun {
        job: status.job.clone(),
        requested: status.requested_at.0,
        created: read(status.created_at.as_ref()),
        refused: status.refusal.clone(),
        ended: read(status.ended_at.as_ref()),
        failure: status.failure.clone(),
    }
}

fn hold(status: &HoldStatus) -> Hold {
    let kind = match status.kind {
        HeldKind::Application => ToolKind::Application,
        HeldKind::Kustomization => ToolKind::Kustomization,
        HeldKind::HelmRelease => ToolKind::HelmRelease,
    };
    Hold {
        tool: Tool { kind, namespace: status.namespace.clone(), name: status.name.clone() },
        requested: status.requested_at.0,
        placed: read(status.placed_at.as_ref()),
        mark: Mark { revision: status.revision.clone(), digest: status.digest.clone() },
        tried: read(status.tried_at.as_ref()),
        because: status.because.clone(),
        ended: read(status.ended_at.as_ref()),
    }
}

fn owner(status: &FieldOwner) -> Owner {
    Owner {
        manager: status.manager.clone(),
        operation: status.operation.clone(),
        api_version: status.api_version.clone(),
        fields: status.fields.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default(),
    }
}

/// A record that means nothing ends at once.
pub(super) fn refused(rollback: &Rollback, problem: &str, now: Timestamp) -> Step {
    let before = rollback.status.as_ref().and_then(|status| status.revision_at_request);
    Step {
        progress: Progress {
            phase: Some(Phase::Failed),
            number_at_request: before,
            ended: Some(now),
            ..Progress::default()
        },
        reason: "InvalidSpec",
        message: problem.to_owned(),
        act: Act::Nothing,
        notices: Vec::new(),
        verified: None,
        residue: None,
        next_look: None,
    }
}

/// The phase of a stored word.
pub(crate) fn phase(name: RollbackPhase) -> Phase {
    match name {
        RollbackPhase::AwaitingApproval => Phase::AwaitingApproval,
        RollbackPhase::Running => Phase::Running,
        RollbackPhase::Verifying => Phase::Verifying,
        RollbackPhase::Succeeded => Phase::Succeeded,
        RollbackPhase::Failed => Phase::Failed,
        RollbackPhase::Superseded => Phase::Superseded,
        RollbackPhase::Escalated => Phase::Escalated,
        RollbackPhase::Rejected => Phase::Rejected,
    }
}
