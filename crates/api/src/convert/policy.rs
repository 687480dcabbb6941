//! A whole policy.

use jiff::SignedDuration;
use snapback_core::jobs::is_name;
use snapback_core::policy::{
    Analysis, Check, ConfigMode, Mode, OnNoData, Policy, Quantile, RollbackRules, Rule, Severity, Soak,
};

use super::{InvalidSpec, check, duration, probes, windows};
use crate::v1alpha1::{ConfigModeName, ModeName, OnNoDataName, RollbackPolicySpec, SoakSpec, SpeedName};

/// Names of the checks that a policy without any has.
pub const DEFAULT_CHECKS: [&str; 3] = ["errors", "latency", "crashes"];

const DEFAULT_SOAK: SignedDuration = SignedDuration::from_mins(15);
const DEFAULT_INTERVAL: SignedDuration = SignedDuration::from_secs(30);
const LONGEST_SOAK: SignedDuration = SignedDuration::from_hours(24);
const DEFAULT_FAILURES: u32 = 3;
const DEFAULT_MINIMUM_REQUESTS: u64 = 50;
const DEFAULT_DEADLINE: SignedDuration = SignedDuration::from_mins(10);
const DEFAULT_COOLDOWN: SignedDuration = SignedDuration::ZERO;
const DEFAULT_APPROVAL_TIMEOUT: SignedDuration = SignedDuration::from_hours(1);
const DEFAULT_VERIFY: SignedDuration = SignedDuration::from_mins(2);

/// The validated policy, defaults filled in. This is the one place where the defaults live.
pub fn policy(spec: &RollbackPolicySpec) -> Result<Policy, InvalidSpec> {
    if spec.target_ref.is_some() == spec.selector.is_some() {
        return Err(InvalidSpec::new("spec", "must set exactly one of targetRef and selector"));
    }
    let failures = spec.analysis.as_ref().and_then(|analysis| analysis.failures);
    let failures = match failures.map(u32::try_from) {
        None => DEFAULT_FAILURES,
        Some(Ok(failures)) if failures > 0 => failures,
        Some(_) => return Err(InvalidSpec::new("spec.analysis.failures", "must be at least 1")),
    };
    let minimum_requests = match spec.minimum_requests.map(u64::try_from) {
        None => DEFAULT_MINIMUM_REQUESTS,
        Some(Ok(minimum)) if minimum > 0 => minimum,
        Some(_) => return Err(InvalidSpec::new("spec.minimumRequests", "must be at least 1")),
    };
    let rules = spec.rollback.clone().unwrap_or_default();
    let verify = rules.verify.unwrap_or_default();
    if rules.helm.as_ref().is_some_and(|helm| !is_name(&helm.job)) {
        return Err(InvalidSpec::new("spec.rollback.helm.job", "must be the name of a CronJob or Job"));
    }
    let policy = Policy {
        mode: match spec.mode {
            None | Some(ModeName::Automatic) => Mode::Automatic,
            Some(ModeName::Approve) => Mode::Approve,
            Some(ModeName::Observe) => Mode::Observe,
        },
        suspend: spec.suspend.unwrap_or(false),
        soak: soak(spec.soak.as_ref())?,
        analysis: Analysis::Consecutive { failures },
        minimum_requests,
        on_no_data: match spec.on_no_data {
            None | Some(OnNoDataName::Hold) => OnNoData::Hold,
            Some(OnNoDataName::Pass) => OnNoData::Pass,
        },
        checks: checks(spec)?,
        rollback: RollbackRules {
            deadline: optional("spec.rollback.deadline", rules.deadline.as_deref(), DEFAULT_DEADLINE)?,
            verify: optional("spec.rollback.verify.duration", verify.duration.as_deref(), DEFAULT_VERIFY)?,
            config: match rules.config {
                Some(ConfigModeName::Ignore) => ConfigMode::Ignore,
                Some(ConfigModeName::Restore) => ConfigMode::Restore,
                Some(ConfigModeName::Warn) | None => ConfigMode::Warn,
            },
            probes: probes("spec.rollback.verify.http", &verify.http)?,
            fast: rules.speed == Some(SpeedName::Fast),
            cooldown: optional("spec.rollback.cooldown", rules.cooldown.as_deref(), DEFAULT_COOLDOWN)?,
            approval_timeout: approval_timeout(rules.approval_timeout.as_deref())?,
        },
        windows: windows::windows(&spec.windows)?,
    };
    Ok(policy)
}

fn optional(field: &str, text: Option<&str>, default: SignedDuration) -> Result<SignedDuration, InvalidSpec> {
    text.map_or(Ok(default), |text| duration(field, text))
}

fn approval_timeout(text: Option<&str>) -> Result<SignedDuration, InvalidSpec> {
    const FIELD: &str = "spec.rollback.approvalTimeout";
    let timeout = optional(FIELD, text, DEFAULT_APPROVAL_TIMEOUT)?;
    if timeout < SignedDuration::from_mins(1) {
        return Err(InvalidSpec::new(FIELD, "must be at least 1m: a person has to see it and answer"));
    }
    Ok(timeout)
}

fn soak(spec: Option<&SoakSpec>) -> Result<Soak, InvalidSpec> {
    let spec = spec.cloned().unwrap_or_default();
    let interval = optional("spec.soak.interval", spec.interval.as_deref(), DEFAULT_INTERVAL)?;
    let soak = optional("spec.soak.duration", spec.duration.as_deref(), DEFAULT_SOAK)?;
    if interval < SignedDuration::from_secs(1) {
        return Err(InvalidSpec::new("spec.soak.interval", "must be at least 1s"));
    }
    if soak < interval {
        return Err(InvalidSpec::new("spec.soak.duration", "must be at least spec.soak.interval"));
    }
    if soak > LONGEST_SOAK {
        return Err(InvalidSpec::new("spec.soak.duration", "must be at most 24h"));
    }
    Ok(Soak { duration: soak, interval })
}

fn checks(spec: &RollbackPolicySpec) -> Result<Vec<Check>, InvalidSpec> {
    let Some(specs) = &spec.checks else { return Ok(default_checks()) };
    if specs.is_empty() {
        return Err(InvalidSpec::new("spec.checks", "must name at least one check, or be left out for the defaults"));
    }
    let mut checks: Vec<Check> = Vec::with_capacity(specs.len());
    for (index, spec) in specs.iter().enumerate() {
        let check = check::check(&format!("spec.checks[{index}]"), spec)?;
        if checks.iter().any(|known| known.name == check.name) {
            let field = format!("spec.checks[{index}].name");
            return Err(InvalidSpec::new(field, format!("must be unique, but {:?} is used twice", check.name)));
        }
        checks.push(check);
    }
    Ok(checks)
}

fn default_checks() -> Vec<Check> {
    let [errors, latency, crashes] = DEFAULT_CHECKS;
    let critical = |name: &str, rule| Check { name: name.to_owned(), severity: Severity::Critical, rule };
    vec![
        critical(errors, Rule::ErrorRate { max: 0.05 }),
        critical(latency, Rule::Latency { quantile: Quantile::P95, max: None, max_ratio: Some(2.0) }),
        critical(crashes, Rule::CrashRate { max: 0.5 }),
    ]
}
