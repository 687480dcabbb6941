//! What is suspicious in the checks, as one condition. It stops nothing: they are judged as they are written.

use snapback_api::v1alpha1::TargetStatus;
use snapback_core::checks::{Unit, Why, format_value};
use snapback_core::policy::{Check, Rule};
use snapback_prometheus::lint::{self, Finding};

use super::guard::Guarded;

/// What the text of the checks tells, what the targets' histograms told, and which controls there are not; the surest first.
pub(super) fn doubts(guarded: &Guarded, targets: &[TargetStatus]) -> Vec<Finding> {
    let policy = &guarded.policy;
    let mut found = lint::policy(policy);
    found.extend(guarded.absent_controls.iter().map(|(field, name)| lint::control_not_found(field, name)));
    for (index, check) in policy.checks.iter().enumerate() {
        found.extend(targets.iter().find_map(|target| bucket_missing(index, check, target)));
    }
    found.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    found
}

/// Whether the last look at a target found no bucket for the limit that the check has now.
fn bucket_missing(index: usize, check: &Check, target: &TargetStatus) -> Option<Finding> {
    let Rule::Latency { max, max_ratio, .. } = &check.rule else { return None };
    let told = target.checks.iter().find(|told| told.name == check.name)?;
    let limit = told.limit.as_deref().filter(|_| told.reason == Why::NoBucketAbove.reason())?;
    let is_max = max.is_some_and(|max| format_value(Unit::Seconds, max) == limit);
    let field = match (is_max, max_ratio) {
        (true, _) => "max",
        (false, Some(_)) => "maxRatio",
        // Found under a limit that the policy has no more.
        (false, None) => return None,
    };
    Some(lint::limit_not_shown(&format!("spec.checks[{index}].latency.{field}"), limit))
}

/// One word and one sentence, or more.
pub(super) fn told(found: &[Finding]) -> Option<(&'static str, String)> {
    let first = found.first()?;
    let all: Vec<String> = found.iter().map(|finding| format!("{finding} ({})", finding.code.as_str())).collect();
    Some((first.code.as_str(), all.join(". ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use snapback_core::policy::Quantile;
    use snapback_core::policy::Severity;

    use super::*;

    fn target(reason: &str, limit: &str) -> TargetStatus {
        let check = json!({
            "name": "slow", "severity": "Critical", "verdict": "Inconclusive", "reason": reason, "limit": limit,
            "message": ""
        });
        let target = json!({
            "kind": "Deployment", "name": "web", "uid": "uid", "phase": "Idle", "reason": "", "message": "",
            "current": {"fingerprint": "a"}, "checks": [check]
        });
        serde_json::from_value(target).unwrap()
    }

    fn slow(max: Option<f64>, max_ratio: Option<f64>) -> Check {
        let rule = Rule::Latency { quantile: Quantile::P95, max, max_ratio };
        Check { name: "slow".to_owned(), severity: Severity::Critical, rule }
    }

    #[test]
    fn a_limit_that_no_bucket_showed_is_told_with_its_field_and_the_fix() {
        let found = bucket_missing(3, &slow(Some(30.0), None), &target("LatencyBucketMissing", "30s")).unwrap();
        assert_eq!(
            found.to_string(),
            "spec.checks[3].latency.max: no bucket of the pods' histogram can show a limit of 30s; lower it, or give the \
             histogram a bucket of 30s"
        );
        let found = bucket_missing(0, &slow(None, Some(9.0)), &target("LatencyBucketMissing", "45s")).unwrap();
        assert_eq!(found.field, "spec.checks[0].latency.maxRatio");
    }

    #[test]
    fn what_was_found_of_another_limit_is_not_told() {
        assert_eq!(bucket_missing(0, &slow(Some(5.0), None), &target("LatencyBucketMissing", "30s")), None);
        assert_eq!(bucket_missing(0, &slow(Some(5.0), None), &target("WithinLimit", "5s")), None);
    }
}
