//! Fast: the good revision's pods all at once, by raising `maxSurge` for the undo only.
//!
//! A rolling update takes about ⌈N / (maxSurge + maxUnavailable)⌉ rounds, each as long as a pod takes to become ready
//! (`kubernetes-rollback` section 4). The strategy is no part of the template, so raising it makes no new revision.

use serde_json::Value;

/// What `maxSurge` is raised to: one round.
pub const RAISED: &str = "100%";

/// The rolling-update parameters of a Deployment, raw: a number or a percentage.
#[derive(Debug, Clone, PartialEq)]
pub struct RollingUpdate {
    /// `spec.strategy.rollingUpdate.maxSurge`.
    pub max_surge: Value,
    /// `spec.strategy.rollingUpdate.maxUnavailable`.
    pub max_unavailable: Value,
}

impl RollingUpdate {
    /// How many rounds an update of this many replicas takes. Kubernetes rounds the surge up and the unavailable down,
    /// and never lets both be 0.
    pub fn rounds(&self, replicas: i32) -> i32 {
        if replicas <= 0 {
            return 0;
        }
        let surge = scaled(&self.max_surge, replicas, true);
        let unavailable = scaled(&self.max_unavailable, replicas, false);
        let step = (surge + unavailable).max(1);
        (replicas + step - 1) / step
    }

    /// Whether raising the surge saves a round.
    pub fn is_slow(&self, replicas: i32) -> bool {
        self.rounds(replicas) > 1
    }
}

fn scaled(amount: &Value, replicas: i32, up: bool) -> i32 {
    let percent = amount.as_str().and_then(|text| text.strip_suffix('%')?.parse::<i32>().ok());
    match (amount.as_i64(), percent) {
        (Some(count), _) => i32::try_from(count).unwrap_or(i32::MAX).clamp(0, 1_000_000),
        (None, Some(percent)) => {
            let product = i64::from(percent.clamp(0, 100_000)) * i64::from(replicas);
            i32::try_from((product + if up { 99 } else { 0 }) / 100).unwrap_or(i32::MAX / 2)
        }
        (None, None) => 0,
    }
}

/// A raw amount as text, for the record.
pub fn amount_to_text(amount: &Value) -> String {
    amount.as_str().map_or_else(|| amount.to_string(), str::to_owned)
}

/// As it was: a percentage is a string, all else a number.
pub fn amount_from_text(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_| Value::String(text.to_owned()), Value::from)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rounds(surge: Value, unavailable: Value, replicas: i32) -> i32 {
        RollingUpdate { max_surge: surge, max_unavailable: unavailable }.rounds(replicas)
    }

    #[test]
    fn rounds_are_those_of_the_deployment_controller() {
        assert_eq!(rounds(json!("25%"), json!("25%"), 20), 2);
        assert_eq!(rounds(json!(1), json!(0), 20), 20);
        assert_eq!(rounds(json!("100%"), json!(0), 20), 1);
        assert_eq!(rounds(json!("30%"), json!(0), 7), 3);
        // One replica: the surge is rounded up, the unavailable down.
        assert_eq!(rounds(json!("25%"), json!("25%"), 1), 1);
        assert_eq!(rounds(json!(0), json!("10%"), 5), 5);
        assert_eq!(rounds(json!(1), json!(1), 0), 0);
    }

    #[test]
    fn an_amount_survives_the_record() {
        for amount in [json!("25%"), json!(3)] {
            assert_eq!(amount_from_text(&amount_to_text(&amount)), amount);
        }
    }
}
