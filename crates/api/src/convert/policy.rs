//! A whole policy.

use jiff::SignedDuration;
use snapback_core::gate::Gate;
use snapback_core::jobs::is_name;
use snapback_core::number;
use snapback_core::policy::{
    Analysis, Check, ConfigMode, Mode, OnInconclusive, OnNoData, Policy, Quantile, RollbackRules, Rule, Severity, Soak,
};
use snapback_core::workload::LONGEST_NAME;

use super::{InvalidSpec, check, duration, probes, selector, windows};
use crate::v1alpha1::{
    AnalysisSpec, ConfigModeName, ControlRef, GateName, MethodName, ModeName, OnInconclusiveName, OnNoDataName,
    PresetName, RollbackPolicySpec, SoakSpec, SpeedName, TargetKind,
};

/// Names of the checks that a policy without any has.
pub const DEFAULT_CHECKS: [&str; 4] = ["errors", "latency", "crashes", "traffic"];

const DEFAULT_SOAK: SignedDuration = SignedDuration::from_mins(15);
const DEFAULT_INTERVAL: SignedDuration = SignedDuration::from_secs(30);
const LONGEST_SOAK: SignedDuration = SignedDuration::from_hours(24);
const DEFAULT_EXTENSION: i32 = 4;
/// As Kubernetes' own for Deployments.
const DEFAULT_PROGRESS_DEADLINE: SignedDuration = SignedDuration::from_mins(10);
const SHORTEST_PROGRESS_DEADLINE: SignedDuration = SignedDuration::from_secs(10);
const DEFAULT_FAILURES: u32 = 3;
const DEFAULT_FALSE_ALARMS: f64 = 0.001;
const SMALLEST_FALSE_ALARMS: f64 = 1e-6;
const LARGEST_FALSE_ALARMS: f64 = 0.1;
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
    if let Some(chosen) = &spec.selector {
        selector::is_meant(chosen)?;
    }
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
    let in_front = in_front(spec)?;
    let soak = soak(spec.soak.as_ref())?;
    let policy = Policy {
        mode: match spec.mode {
            None | Some(ModeName::Automatic) => Mode::Automatic,
            Some(ModeName::Approve) => Mode::Approve,
            Some(ModeName::Observe) => Mode::Observe,
        },
        suspend: spec.suspend.unwrap_or(false),
        soak,
        analysis: analysis(spec.analysis.as_ref())?,
        minimum_requests,
        on_no_data: match spec.on_no_data {
            None | Some(OnNoDataName::Hold) => OnNoData::Hold,
            Some(OnNoDataName::Pass) => OnNoData::Pass,
        },
        on_inconclusive: match spec.on_inconclusive {
            None | Some(OnInconclusiveName::Accept) => OnInconclusive::Accept,
            Some(OnInconclusiveName::Hold) => OnInconclusive::Hold,
        },
        controls: controls(spec, in_front)?,
        checks: checks(spec, soak.duration, in_front)?,
        in_front,
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
        gate: gate(spec)?,
    };
    Ok(policy)
}

/// What is waited for has no meaning where nobody waits.
fn gate(spec: &RollbackPolicySpec) -> Result<Option<Gate>, InvalidSpec> {
    const EXPECTED: &str = "spec.expectedRevision";
    let expected = spec.expected_revision.clone();
    if spec.gate != Some(GateName::Soak) {
        let problem = || InvalidSpec::new(EXPECTED, "must be set only with gate: Soak");
        return expected.map_or(Ok(None), |_| Err(problem()));
    }
    let is_a_name =
        |name: &str| (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    match &expected {
        Some(name) if !is_a_name(name) => {
            let problem = "must be a name without spaces, such as v2, sha256:... or a commit";
            Err(InvalidSpec::new(EXPECTED, problem))
        }
        _ => Ok(Some(Gate { expected })),
    }
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
    let longest = optional("spec.soak.maxDuration", spec.max_duration.as_deref(), soak * DEFAULT_EXTENSION)?;
    if longest < soak {
        return Err(InvalidSpec::new("spec.soak.maxDuration", "must be at least spec.soak.duration"));
    }
    let deadline = spec.progress_deadline.as_deref();
    let progress_deadline = optional("spec.soak.progressDeadline", deadline, DEFAULT_PROGRESS_DEADLINE)?;
    if progress_deadline < SHORTEST_PROGRESS_DEADLINE {
        return Err(InvalidSpec::new("spec.soak.progressDeadline", "must be at least 10s"));
    }
    Ok(Soak { duration: soak, interval, longest, progress_deadline })
}

fn analysis(spec: Option<&AnalysisSpec>) -> Result<Analysis, InvalidSpec> {
    const RATE: &str = "spec.analysis.falseAlarmRate";
    let spec = spec.cloned().unwrap_or_default();
    match spec.method.unwrap_or(MethodName::Sequential) {
        MethodName::Sequential => {
            if spec.failures.is_some() {
                let problem = "must be set only with method: Consecutive";
                return Err(InvalidSpec::new("spec.analysis.failures", problem));
            }
            let rate = spec.false_alarm_rate.as_deref().map(number::share).transpose();
            let rate = rate.map_err(|error| InvalidSpec::new(RATE, error))?.unwrap_or(DEFAULT_FALSE_ALARMS);
            if !(SMALLEST_FALSE_ALARMS..=LARGEST_FALSE_ALARMS).contains(&rate) {
                return Err(InvalidSpec::new(RATE, "must be between 0.000001 and 0.1"));
            }
            Ok(Analysis::Sequential { false_alarms: rate })
        }
        MethodName::Consecutive => match spec.failures.map(u32::try_from) {
            _ if spec.false_alarm_rate.is_some() => {
                Err(InvalidSpec::new(RATE, "must be set only with method: Sequential"))
            }
            None => Ok(Analysis::Consecutive { failures: DEFAULT_FAILURES }),
            Some(Ok(failures)) if failures > 0 => Ok(Analysis::Consecutive { failures }),
            Some(_) => Err(InvalidSpec::new("spec.analysis.failures", "must be at least 1")),
        },
    }
}

/// Whether a proxy in front of all pods counts, and nothing is said that has no meaning then, or only then.
fn in_front(spec: &RollbackPolicySpec) -> Result<bool, InvalidSpec> {
    let metrics = spec.metrics.as_ref();
    let in_front = metrics.and_then(|metrics| metrics.preset).is_some_and(PresetName::is_in_front);
    if metrics.is_some_and(|metrics| metrics.labels.is_some()) && in_front {
        let problem = "must not be set with a preset that counts by Service: it has labels of its own";
        return Err(InvalidSpec::new("spec.metrics.labels", problem));
    }
    if metrics.is_some_and(|metrics| metrics.service.is_some()) {
        const SERVICE: &str = "spec.metrics.service";
        if !in_front {
            let problem = "must be set only with the presets IngressNginx, Traefik and EnvoyGateway";
            return Err(InvalidSpec::new(SERVICE, problem));
        }
        if spec.selector.is_some() {
            let problem = "must be set only with targetRef: of a selector's targets each has its own name";
            return Err(InvalidSpec::new(SERVICE, problem));
        }
    }
    Ok(in_front)
}

fn controls(spec: &RollbackPolicySpec, in_front: bool) -> Result<Vec<String>, InvalidSpec> {
    const CONTROLS: &str = "spec.controls";
    let mut names: Vec<String> = Vec::with_capacity(spec.controls.len());
    let target = spec.target_ref.as_ref().filter(|target| target.kind == TargetKind::Deployment);
    if in_front && !spec.controls.is_empty() {
        let problem = "must not be set with a preset that counts by Service: only pods tell whether a control was released itself";
        return Err(InvalidSpec::new(CONTROLS, problem));
    }
    for ControlRef { kind: _, name } in &spec.controls {
        if target.is_some_and(|target| target.name == *name) {
            let problem = "must not name the target: what is judged cannot say whether it is to blame";
            return Err(InvalidSpec::new(CONTROLS, problem));
        }
        if names.contains(name) {
            return Err(InvalidSpec::new(CONTROLS, format!("must be unique, but {name:?} is named twice")));
        }
        names.push(name.clone());
    }
    Ok(names)
}

fn checks(spec: &RollbackPolicySpec, soak: SignedDuration, in_front: bool) -> Result<Vec<Check>, InvalidSpec> {
    let Some(specs) = &spec.checks else { return Ok(default_checks(in_front)) };
    if specs.is_empty() {
        return Err(InvalidSpec::new("spec.checks", "must name at least one check, or be left out for the defaults"));
    }
    let mut checks: Vec<Check> = Vec::with_capacity(specs.len());
    for (index, spec) in specs.iter().enumerate() {
        let check = check::check(&format!("spec.checks[{index}]"), spec, soak)?;
        if checks.iter().any(|known| known.name == check.name) {
            let field = format!("spec.checks[{index}].name");
            return Err(InvalidSpec::new(field, format!("must be unique, but {:?} is used twice", check.name)));
        }
        if in_front && matches!(check.rule, Rule::TrafficDrop { .. }) {
            let field = format!("spec.checks[{index}].trafficDrop");
            let problem =
                "must not be set with a preset that counts by Service: it does not tell new pods from old ones";
            return Err(InvalidSpec::new(field, problem));
        }
        checks.push(check);
    }
    Ok(checks)
}

fn default_checks(in_front: bool) -> Vec<Check> {
    let [errors, latency, crashes, traffic] = DEFAULT_CHECKS;
    let critical = |name: &str, rule| Check { name: name.to_owned(), severity: Severity::Critical, rule };
    let mut checks = vec![
        critical(errors, Rule::ErrorRate { max: Some(0.05), max_ratio: Some(2.0), floor: check::FLOOR }),
        critical(latency, Rule::Latency { quantile: Quantile::P95, max: None, max_ratio: Some(2.0) }),
        critical(crashes, Rule::CrashRate { max: 0.5 }),
    ];
    if !in_front {
        checks.push(critical(traffic, Rule::TrafficDrop { max: 0.75 }));
    }
    checks
}
