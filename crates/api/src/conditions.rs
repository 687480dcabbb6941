//! Setting conditions so that they change only when something did.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// What a condition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said<'a> {
    /// `Ready`, `Accepted`, ...
    pub type_: &'a str,
    /// `Some(true)` is True, `None` is Unknown.
    pub status: Option<bool>,
    /// CamelCase.
    pub reason: &'a str,
    /// For people; no clocks and no ages.
    pub message: &'a str,
}

/// Sets a condition. `lastTransitionTime` moves only when the status does; the list stays sorted by type.
pub fn set(conditions: &mut Vec<Condition>, said: &Said<'_>, generation: Option<i64>, now: Timestamp) {
    let status = match said.status {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let since = conditions
        .iter()
        .find(|known| known.type_ == said.type_ && known.status == status)
        .map_or(Time(now), |known| known.last_transition_time.clone());
    conditions.retain(|known| known.type_ != said.type_);
    conditions.push(Condition {
        type_: said.type_.to_owned(),
        status: status.to_owned(),
        reason: said.reason.to_owned(),
        message: cut(said.message, 1024),
        last_transition_time: since,
        observed_generation: generation,
    });
    conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
}

/// The text, cut to at most `bytes` at a character boundary.
pub fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = (0..=bytes.saturating_sub(3)).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0);
    format!("{}...", text.get(..end).unwrap_or_default())
}

/// What is wrong with a list of conditions by the rules of kstatus and the API conventions; empty when nothing is.
/// Every tier of tests calls it.
pub fn violations(conditions: &[Condition]) -> Vec<String> {
    let mut found = Vec::new();
    for condition in conditions {
        let camel = condition.reason.chars().next().is_some_and(char::is_uppercase)
            && condition.reason.chars().all(char::is_alphanumeric);
        if !camel {
            found.push(format!("{}: reason {:?} is not CamelCase", condition.type_, condition.reason));
        }
        if !["True", "False", "Unknown"].contains(&condition.status.as_str()) {
            found.push(format!("{}: status {:?}", condition.type_, condition.status));
        }
        if condition.observed_generation.is_none() {
            found.push(format!("{}: no observedGeneration", condition.type_));
        }
    }
    let is_true = |wanted: &str| conditions.iter().any(|one| one.type_ == wanted && one.status == "True");
    for abnormal in ["Reconciling", "Stalled"] {
        if is_true("Ready") && is_true(abnormal) {
            found.push(format!("Ready and {abnormal} are both True"));
        }
        if conditions.iter().any(|one| one.type_ == abnormal && one.status == "False") {
            found.push(format!("{abnormal} is False: an abnormal-true condition is absent instead"));
        }
    }
    found
}

/// Removes a condition; abnormal-true conditions are absent while all is well.
pub fn clear(conditions: &mut Vec<Condition>, type_: &str) {
    conditions.retain(|known| known.type_ != type_);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: bool, message: &str) -> Said<'_> {
        Said { type_: "Ready", status: Some(status), reason: "Because", message }
    }

    #[test]
    fn the_time_moves_only_with_the_status() {
        let mut conditions = Vec::new();
        let at = |second| Timestamp::from_second(second).unwrap();
        set(&mut conditions, &said(true, "one"), Some(1), at(1));
        set(&mut conditions, &said(true, "two"), Some(2), at(2));
        assert_eq!(conditions[0].last_transition_time, Time(at(1)));
        assert_eq!((conditions[0].message.as_str(), conditions[0].observed_generation), ("two", Some(2)));
        set(&mut conditions, &said(false, "three"), Some(2), at(3));
        assert_eq!(conditions[0].last_transition_time, Time(at(3)));
        assert_eq!(conditions.len(), 1);
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("größer", 6), "gr...");
        assert_eq!(cut("ok", 6), "ok");
    }
}
