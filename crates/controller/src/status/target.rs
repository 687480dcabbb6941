//! Targets.

use snapback_api::conditions::cut;
use snapback_api::v1alpha1::{
    CheckStatus, FreezeName, PhaseName, QuarantinedStatus, ReadinessStatus, RolloutStatus, TargetStatus,
};
use snapback_core::fingerprint::Fingerprint;
use snapback_core::ids::WorkloadUid;
use snapback_core::policy::Policy;
use snapback_core::watch::{FreezeState, Phase, Quarantined, Rollout, Standing, Target};
use snapback_core::workload::Kind;

use super::{revision_ref, revision_status, stored};

/// As stored.
pub fn target_status(
    (kind, name): (Kind, &str),
    target: &Target,
    policy: &Policy,
    generation: i64,
    checks: Vec<CheckStatus>,
    readiness: ReadinessStatus,
) -> TargetStatus {
    let rollout = target.rollout.as_ref().map(|rollout| RolloutStatus {
        started_at: stored(rollout.started),
        completed_at: rollout.completed.map(stored),
        returned: rollout.returned.clone(),
        freeze: rollout.freeze.map(|freeze| match freeze {
            FreezeState::Frozen => FreezeName::Frozen,
            FreezeState::Resumed => FreezeName::Resumed,
        }),
        soak_ends_at: rollout.completed.and_then(|at| at.checked_add(policy.soak.duration).ok()).map(stored),
    });
    TargetStatus {
        kind: kind.into(),
        name: name.to_owned(),
        uid: target.uid.as_str().to_owned(),
        phase: phase_name(target.phase),
        reason: target.standing.reason.clone(),
        message: cut(&target.standing.message, 1024),
        observed_generation: Some(generation),
        delivered_by: None,
        current: revision_status(&target.current),
        known_good: target.known_good.as_ref().map(revision_status),
        readiness: Some(readiness),
        drifted: Vec::new(),
        rollout,
        checks,
        rollback: target.rollback.clone(),
        quarantined: target
            .quarantined
            .iter()
            .map(|bad| QuarantinedStatus {
                fingerprint: bad.fingerprint.as_str().to_owned(),
                rollback: bad.rollback.clone(),
                called: bad.called.clone(),
                at: stored(bad.at),
            })
            .collect(),
    }
}

/// As read back.
pub fn target_from_status(status: &TargetStatus) -> Target {
    Target {
        uid: WorkloadUid::new(status.uid.clone()),
        phase: phase(status.phase),
        standing: Standing { reason: status.reason.clone(), message: status.message.clone() },
        current: revision_ref(&status.current),
        known_good: status.known_good.as_ref().map(revision_ref),
        rollout: status.rollout.as_ref().map(|rollout| Rollout {
            started: rollout.started_at.0,
            completed: rollout.completed_at.as_ref().map(|time| time.0),
            returned: rollout.returned.clone(),
            freeze: rollout.freeze.map(|freeze| match freeze {
                FreezeName::Frozen => FreezeState::Frozen,
                FreezeName::Resumed => FreezeState::Resumed,
            }),
        }),
        rollback: status.rollback.clone(),
        quarantined: status
            .quarantined
            .iter()
            .map(|bad| Quarantined {
                fingerprint: Fingerprint::recorded(bad.fingerprint.clone()),
                rollback: bad.rollback.clone(),
                called: bad.called.clone(),
                at: bad.at.0,
            })
            .collect(),
    }
}

fn phase_name(phase: Phase) -> PhaseName {
    match phase {
        Phase::Idle => PhaseName::Idle,
        Phase::Progressing => PhaseName::Progressing,
        Phase::Soaking => PhaseName::Soaking,
        Phase::AwaitingApproval => PhaseName::AwaitingApproval,
        Phase::RollingBack => PhaseName::RollingBack,
        Phase::Verifying => PhaseName::Verifying,
        Phase::Held => PhaseName::Held,
        Phase::Escalated => PhaseName::Escalated,
    }
}

fn phase(name: PhaseName) -> Phase {
    match name {
        PhaseName::Idle => Phase::Idle,
        PhaseName::Progressing => Phase::Progressing,
        PhaseName::Soaking => Phase::Soaking,
        PhaseName::AwaitingApproval => Phase::AwaitingApproval,
        PhaseName::RollingBack => Phase::RollingBack,
        PhaseName::Verifying => Phase::Verifying,
        PhaseName::Held => Phase::Held,
        PhaseName::Escalated => Phase::Escalated,
    }
}
