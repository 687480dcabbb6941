//! Version `v1alpha1` of the group `snapback.dev`.

mod check;
mod hold;
mod jobs;
mod metrics;
mod observed;
mod ordered;
mod policy;
mod policy_status;
mod probe;
mod rollback;
mod rollback_status;
mod windows;

pub use check::{
    BurnRateSpec, BurnWindowsSpec, CheckSpec, CrashRateSpec, ErrorRateSpec, LatencySpec, Of, QuantileName, QuerySpec,
    SaturationLimit, SaturationSpec, SeverityName, TrafficDropSpec,
};
pub use hold::{HeldKind, HoldStatus};
pub use jobs::{HelmSpec, JobStatus, RollbackJobs};
pub use metrics::{LabelNames, LatencyMetric, MetricsSpec, PresetName, RequestsMetric};
pub use observed::{CheckStatus, ConfigKindName, ConfigStatus, RevisionStatus, VerdictName};
pub use ordered::Ordered;
pub use policy::{
    AnalysisSpec, ConfigModeName, ControlKind, ControlRef, GateName, LabelSelectorSpec, MethodName, ModeName,
    OnInconclusiveName, OnNoDataName, Requirement, RollbackPolicy, RollbackPolicySpec, RollbackRulesSpec,
    SelectorOperator, SoakSpec, SpeedName, TargetKind, TargetRef, VerifySpec,
};
pub use policy_status::{
    FreezeName, PhaseName, QuarantinedStatus, ReadinessStatus, RollbackPolicyStatus, RolloutStatus, Summary,
    TargetStatus,
};
pub use probe::{HttpProbeSpec, SchemeName};
pub use rollback::{
    ApprovalDecision, ApprovalSpec, LimitSpec, ReleaseSpec, RevisionTo, Rollback, RollbackSpec, RollbackTarget,
    RollbackVerify, TriggerSpec, TriggerType,
};
pub use rollback_status::{
    ActionStatus, DeletedPod, FieldOwner, ResolvedStatus, RestorationStatus, RollbackPhase, RollbackStatus, Timeline,
};
pub use windows::{WindowKindName, WindowSpec};

/// Label on a `Rollback`: the policy that decided it.
pub const POLICY_LABEL: &str = "snapback.dev/policy";
/// Label on a `Rollback`: the workload it acts on.
pub const TARGET_LABEL: &str = "snapback.dev/target";
/// Finalizer on a `Rollback` that holds a GitOps tool: the hold is ended before the record goes.
pub const HOLD_FINALIZER: &str = "snapback.dev/hold";

/// A name as the value of a label. Names may be longer than values, and what is left of a cut one must not end in a
/// separator: the API server would refuse the whole object.
pub fn label_value(name: &str) -> String {
    let cut: String = name.chars().take(63).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::label_value;

    #[test]
    fn a_cut_name_is_a_value_that_the_api_server_takes() {
        assert_eq!(label_value("checkout"), "checkout");
        let name = |separators: &str| format!("{}{separators}b", "a".repeat(62));
        for (name, value) in [(name("-"), "a".repeat(62)), (name(".-"), "a".repeat(62)), (name(""), name(""))] {
            assert_eq!(label_value(&name), value, "{name}");
        }
    }
}
